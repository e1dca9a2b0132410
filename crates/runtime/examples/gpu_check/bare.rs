//! The engine without the runtime: a context, a stream and a loop around TensorRT's own call. The measure for what the
//! runtime costs.

use std::ffi::c_void;
use std::path::Path;
use std::time::Instant;

use trtforge_runtime::device::{Cuda, CudaMemory, CudaStream};
use trtforge_runtime::{Class, Device, Engine, Error, Memory, Request, Result, Shape};
use trtforge_tensorrt as trt;

use super::inputs::RunShape;
use super::report::{Check, Subject};

/// Share of the bare loop's throughput that a session must reach.
const LEAST_SHARE: f64 = 0.97;
/// Most microseconds that a session may add to a run.
const MOST_OVERHEAD_US: f64 = 10.0;
/// Turns that the two take, one after the other, so that a clock that changes meets both.
const TURNS: usize = 8;

/// An engine as TensorRT has it, and its buffers at the largest shapes of its first profile.
pub struct Bare {
    /// First field: its end waits for what is under way.
    stream: CudaStream,
    context: trt::ExecutionContext,
    /// Locked and device memory of inputs, then of outputs.
    inputs: Vec<(CudaMemory, CudaMemory)>,
    outputs: Vec<(CudaMemory, CudaMemory)>,
    activation: CudaMemory,
    gpu: Cuda,
}

/// The smallest, tuned and largest shapes of every profile.
pub fn shapes(path: &Path) -> Result<Vec<RunShape>> {
    let engine = load(path)?;
    let inputs = engine.io_tensors().into_iter().filter(|it| it.mode == trt::TensorMode::Input);
    let inputs: Vec<trt::IoTensor> = inputs.collect();
    let mut shapes: Vec<RunShape> = Vec::new();
    for profile in 0..engine.profile_count() {
        for (place, label) in ["min", "opt", "max"].into_iter().enumerate() {
            let shape = |input: &trt::IoTensor| {
                let fixed = input.dimensions.clone();
                let of = engine.profile_shape(&input.name, profile);
                let sizes = of.map_or(fixed, |of| [of.minimum, of.optimum, of.maximum][place].clone());
                let sizes: Vec<u64> = sizes.into_iter().map(|size| size.max(0) as u64).collect();
                (input.name.clone(), Shape::new(&sizes).unwrap_or_default())
            };
            let label = format!("profile {profile} {label}");
            let inputs = inputs.iter().map(shape).collect();
            if shapes.iter().all(|known| known.inputs != inputs) {
                shapes.push(RunShape { label, inputs });
            }
        }
    }
    Ok(shapes)
}

fn load(path: &Path) -> Result<trt::Engine> {
    let bytes = std::fs::read(path).map_err(|source| Error::Io { action: "read", path: path.to_owned(), source })?;
    Ok(trt::TensorRt::load()?.runtime()?.deserialize(&bytes)?)
}

impl Bare {
    fn new(path: &Path, gpu: &Cuda, engine: &Engine) -> Result<Self> {
        let loaded = load(path)?;
        let plan = engine.signature();
        let largest = shapes(path)?.into_iter().rfind(|shape| shape.label.starts_with("profile 0"));
        let largest = largest.ok_or_else(|| Error::Run { reason: "the engine has no profile".to_owned() })?;
        let mut context = loaded.context(trt::ContextMemory::Caller)?;
        let pair = |pinned, bytes| -> Result<(CudaMemory, CudaMemory)> {
            Ok((gpu.allocate(pinned, bytes)?, gpu.allocate(Class::Io, bytes)?))
        };
        let mut inputs = Vec::new();
        for (input, (name, shape)) in plan.inputs.iter().zip(&largest.inputs) {
            let sizes: Vec<i64> = shape.iter().map(|&size| size as i64).collect();
            context.set_input_shape(name, &sizes)?;
            inputs.push(pair(Class::PinnedInput, input.bytes_at(shape).unwrap_or(0))?);
        }
        let mut outputs = Vec::new();
        for output in &plan.outputs {
            let bytes = context.most_output_bytes(&output.name)?.unwrap_or(0);
            outputs.push(pair(Class::PinnedOutput, bytes)?);
        }
        let activation = gpu.allocate(Class::Activation, loaded.device_memory_bytes())?;
        let mut bare = Self { stream: gpu.stream()?, context, inputs, outputs, activation, gpu: gpu.clone() };
        bare.bind(engine)?;
        Ok(bare)
    }

    fn bind(&mut self, engine: &Engine) -> Result<()> {
        let tensors = engine.signature().inputs.iter().chain(&engine.signature().outputs);
        for (tensor, (_, device)) in tensors.zip(self.inputs.iter().chain(&self.outputs)) {
            // SAFETY: device memory for the shape that was set, which goes after the stream has waited.
            unsafe { self.context.set_tensor_address(&tensor.name, device.address() as *mut c_void)? };
        }
        if !self.activation.is_empty() {
            // SAFETY: as above, of the size that TensorRT asks for.
            unsafe { self.context.set_device_memory(self.activation.address() as *mut c_void, self.activation.len()) };
        }
        Ok(())
    }

    fn run(&mut self) -> Result<()> {
        for (host, device) in &self.inputs {
            self.gpu.copy(&mut self.stream, host, device, host.len())?;
        }
        self.stream.hold(&self.activation);
        // SAFETY: the stream lives, and so does everything that was bound until it was waited for.
        unsafe { self.context.enqueue(self.stream.as_raw())? };
        for (host, device) in &self.outputs {
            self.gpu.copy(&mut self.stream, device, host, host.len())?;
        }
        self.gpu.synchronize(&mut self.stream)
    }
}

/// Seconds of one run, over `runs` of them.
fn seconds(runs: usize, mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    (0..runs).try_for_each(|_| run())?;
    Ok(start.elapsed().as_secs_f64() / runs as f64)
}

/// A session's runs beside the bare loop's, in turns.
pub fn overhead(path: &Path, engine: &Engine, gpu: &Cuda, runs: usize) -> Result<Vec<Check>> {
    let mut bare = Bare::new(path, gpu, engine)?;
    let mut session = engine.session(Request { profile: Some(0), ..Request::default() }.into())?;
    (0..super::running::WARM_UP).try_for_each(|_| bare.run().and_then(|()| session.run()))?;
    let (mut bare_seconds, mut session_seconds) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..TURNS {
        bare_seconds = bare_seconds.min(seconds(runs / TURNS + 1, || bare.run())?);
        session_seconds = session_seconds.min(seconds(runs / TURNS + 1, || session.run())?);
    }
    let of = |name| Subject { engine: engine.name(), name };
    Ok(vec![
        of("seconds of a bare run").told(bare_seconds),
        of("seconds of a run in a session").told(session_seconds),
        of("throughput as a share of the bare loop's").at_least(bare_seconds / session_seconds, LEAST_SHARE),
        of("host overhead of a run, µs").at_most((session_seconds - bare_seconds) * 1e6, MOST_OVERHEAD_US),
    ])
}
