//! TensorRT engines on a GPU.
//!
//! Inputs go from locked host memory to the device, the engine runs, outputs come back, all in one stream per slot. Every
//! address is given to TensorRT once. What has run of this without a GPU is loading up to the GPU's absence; runs need one.

use std::sync::{Arc, Mutex, PoisonError};

use trtforge_tensorrt as trt;
use trtforge_tensorrt::{ContextMemory, DataType, ExecutionContext, TensorMode};

use super::manifest::Manifest;
use super::{
    Declared, Engine, EngineFault, EngineOptions, Kind, Layout, Profile, Request, ShapeRange, Signature, TensorInfo,
    plan_file,
};
use crate::device::{Class, Cuda, CudaEvent, CudaStream, Device};
use crate::element::ElementType;
use crate::error::{Error, Result};
use crate::ledger::{Allocation, Allocator, Ledger, Plan};
use crate::session::workspace::Block;
use crate::session::{LaneOptions, RunTiming};
use crate::shape::Shape;

/// An engine on a GPU.
pub(crate) struct TensorRt {
    /// First field: goes before the engine. Asked for shapes only, so it has no memory.
    probe: Mutex<Probe>,
    engine: trt::Engine,
    pub(crate) gpu: Cuda,
}

struct Probe {
    context: ExecutionContext,
    stream: CudaStream,
}

/// Loads a plan, after every check that can be made before.
pub(crate) fn load(
    options: &EngineOptions,
    source_name: &str,
    plan: &[u8],
    name: &str,
    manifest: Option<&Manifest>,
) -> Result<Engine> {
    let unfit = |fault| Error::Unfit { source_name: source_name.to_owned(), fault: Box::new(fault) };
    let library = trt::TensorRt::load()?;
    check_version(plan, &library, manifest).map_err(unfit)?;
    let runtime = library.runtime()?;
    check_validity(&runtime, plan).map_err(unfit)?;
    let gpu = Cuda::open(options.gpu)?;
    manifest.map_or(Ok(()), |manifest| manifest.check_gpu(gpu.compute_capability())).map_err(unfit)?;
    // Without a manifest the file's size stands for the weights, of which it is mostly made.
    let expected = manifest.map_or(plan.len() as u64, |manifest| manifest.memory.weights_bytes);
    options.ledger.admits(&Plan::of(Class::Weights, expected))?;
    gpu.make_current()?;
    let engine = runtime.deserialize(plan)?;
    let weights = options.ledger.enter(&Arc::from(name), Class::Weights, engine.weights_bytes())?;
    let signature = signature(&engine).map_err(unfit)?;
    let probe = Probe { context: engine.context(ContextMemory::Caller)?, stream: gpu.stream()? };
    let kind = Kind::TensorRt(TensorRt { probe: Mutex::new(probe), engine, gpu });
    Ok(Engine::new(name, signature, kind, options.ledger.clone(), weights))
}

fn check_version(plan: &[u8], library: &trt::TensorRt, manifest: Option<&Manifest>) -> Result<(), EngineFault> {
    let here = library.version();
    if let Some(manifest) = manifest {
        manifest.check_library(library.flavour().name(), &here.to_string())?;
    }
    let Some(built) = plan_file::version(plan) else { return Ok(()) };
    if library.flavour() != trt::Flavour::Rtx {
        let (built, here) = (trt::Flavour::Rtx.name().to_owned(), library.flavour().name().to_owned());
        return Err(EngineFault::Flavour { built, here });
    }
    let [major, minor, patch] = built.map(u32::from);
    if (major, minor, patch) == (here.major, here.minor, here.patch) {
        return Ok(());
    }
    Err(EngineFault::Version { built: format!("{major}.{minor}.{patch}"), here: here.to_string() })
}

#[cfg(not(feature = "tensorrt-enterprise"))]
fn check_validity(runtime: &trt::Runtime, plan: &[u8]) -> Result<(), EngineFault> {
    match runtime.validity(&plan[..plan.len().min(runtime.header_bytes())]) {
        trt::Validity::Invalid(faults) => {
            Err(EngineFault::Refused { reasons: faults.iter().map(|fault| reason(*fault)).collect() })
        }
        _ => Ok(()),
    }
}

#[cfg(feature = "tensorrt-enterprise")]
fn check_validity(_: &trt::Runtime, _: &[u8]) -> Result<(), EngineFault> {
    Ok(())
}

#[cfg(not(feature = "tensorrt-enterprise"))]
fn reason(fault: trt::EngineFault) -> String {
    match fault {
        trt::EngineFault::VersionMismatch => "another version of TensorRT built it".to_owned(),
        trt::EngineFault::UnsupportedComputeCapability => "it was not built for this kind of GPU".to_owned(),
        trt::EngineFault::OldDriver => "the driver is too old for it".to_owned(),
        trt::EngineFault::OldCudaRuntime => "the CUDA runtime is too old for it".to_owned(),
        trt::EngineFault::InsufficientGpuMemory => "the GPU's memory does not hold its weights".to_owned(),
        trt::EngineFault::Malformed => "it is damaged, or is no engine".to_owned(),
        trt::EngineFault::CudaError => "CUDA does not work".to_owned(),
        other => format!("{other:?}"),
    }
}

fn signature(engine: &trt::Engine) -> Result<Signature, EngineFault> {
    let tensors = engine.io_tensors();
    let of = |mode: TensorMode| tensors.iter().filter(|it| it.mode == mode).map(tensor).collect::<Result<Vec<_>, _>>();
    let (inputs, outputs) = (of(TensorMode::Input)?, of(TensorMode::Output)?);
    let profile = |number| {
        let ranges = inputs.iter().map(|input| range(engine, input, number)).collect::<Result<_, _>>()?;
        Ok(Profile { inputs: ranges })
    };
    let profiles = (0..engine.profile_count()).map(profile).collect::<Result<_, _>>()?;
    Ok(Signature { inputs, outputs, profiles })
}

fn tensor(tensor: &trt::IoTensor) -> Result<TensorInfo, EngineFault> {
    let element = match tensor.data_type {
        DataType::Float32 => ElementType::Float32,
        DataType::Float16 => ElementType::Float16,
        DataType::Int8 => ElementType::Int8,
        DataType::UInt8 => ElementType::UInt8,
        DataType::Int32 => ElementType::Int32,
        DataType::Int64 => ElementType::Int64,
        DataType::Bool => ElementType::Bool,
        other => {
            let reason = format!("sessions hold no {other}");
            return Err(EngineFault::Tensor { name: tensor.name.clone(), reason });
        }
    };
    let declared = |&size: &i64| u64::try_from(size).map_or(Declared::Open(String::new()), Declared::Fixed);
    let dimensions = Some(tensor.dimensions.iter().map(declared).collect());
    Ok(TensorInfo { name: tensor.name.clone(), element, dimensions })
}

fn range(engine: &trt::Engine, input: &TensorInfo, profile: usize) -> Result<ShapeRange, EngineFault> {
    if let Some(shape) = input.fixed_shape() {
        return Ok(ShapeRange { min: shape, max: shape });
    }
    let read = engine.profile_shape(&input.name, profile).ok();
    let range = read.and_then(|shapes| Some(ShapeRange { min: sizes(&shapes.minimum)?, max: sizes(&shapes.maximum)? }));
    let reason = || format!("profile {profile} says nothing of it");
    range.ok_or_else(|| EngineFault::Tensor { name: input.name.clone(), reason: reason() })
}

/// A shape that is settled; nothing where a dimension is open.
fn sizes(dimensions: &[i64]) -> Option<Shape> {
    let sizes: Option<Vec<u64>> = dimensions.iter().map(|&size| u64::try_from(size).ok()).collect();
    Shape::new(&sizes?)
}

fn signed(shape: &Shape) -> [i64; crate::MAX_RANK] {
    let mut sizes = [0; crate::MAX_RANK];
    sizes.iter_mut().zip(shape.iter()).for_each(|(to, &size)| *to = i64::try_from(size).unwrap_or(i64::MAX));
    sizes
}

/// Gives a context its profile and input shapes, and reads the shapes of outputs.
fn set_shapes(
    context: &mut ExecutionContext,
    stream: &CudaStream,
    signature: &Signature,
    profile: usize,
    inputs: &[Shape],
    outputs: &mut [Option<Shape>],
) -> Result<()> {
    // SAFETY: the stream is one of the driver's and lives; the caller has waited for earlier runs.
    unsafe { context.set_profile(profile, stream.as_raw())? };
    for (input, shape) in signature.inputs.iter().zip(inputs) {
        context.set_input_shape(&input.name, &signed(shape)[..shape.len()])?;
    }
    for (output, shape) in signature.outputs.iter().zip(outputs) {
        *shape = sizes(&context.tensor_shape(&output.name)?);
    }
    Ok(())
}

impl TensorRt {
    pub(crate) fn layout(&self, signature: &Signature, request: &Request) -> Result<Layout> {
        self.gpu.make_current()?;
        let mut probe = self.probe.lock().unwrap_or_else(PoisonError::into_inner);
        let Probe { context, stream } = &mut *probe;
        let layout = Layout::new(signature, request, |profile, inputs, outputs| {
            set_shapes(context, stream, signature, profile, inputs, outputs)?;
            self.gpu.synchronize(stream)
        })?;
        match layout.output_bytes.iter().position(Option::is_none) {
            None => Ok(layout),
            Some(index) => {
                let name = signature.outputs[index].name.clone();
                let reason = "its size is known only after a run".to_owned();
                let fault = Box::new(EngineFault::Tensor { name, reason });
                Err(Error::Unfit { source_name: "the engine".to_owned(), fault })
            }
        }
    }

    pub(crate) fn activation_bytes(&self, layout: &Layout) -> u64 {
        let bytes = layout.profiles.iter().map(|(number, _)| self.engine.device_memory_bytes_of_profile(*number));
        bytes.max().unwrap_or(0)
    }

    pub(crate) fn shared_block(&self, ledger: &Ledger, owner: &str, bytes: u64) -> Result<SharedBlock> {
        let allocator = Allocator::new(self.gpu.clone(), ledger.clone(), owner);
        let block = allocator.allocate(Class::Activation, bytes)?;
        Ok(SharedBlock { block, passed: Mutex::new(self.gpu.event()?) })
    }

    pub(crate) fn lane(
        &self,
        engine: &Engine,
        owner: &str,
        layout: &Layout,
        shared: Option<&Block>,
        options: &LaneOptions<'_>,
    ) -> Result<GpuLane> {
        let allocator = Allocator::new(self.gpu.clone(), engine.ledger().clone(), owner);
        let blocks = |class, bytes: &mut dyn Iterator<Item = u64>| -> Result<Vec<Allocation<Cuda>>> {
            bytes.map(|bytes| allocator.allocate(class, bytes)).collect()
        };
        let (inputs, outputs) = (&layout.input_bytes, &layout.output_bytes);
        let bytes = self.activation_bytes(layout);
        let activation = match shared {
            Some(Block::Cuda(block)) => Activation::Shared(Arc::clone(block)),
            _ => Activation::Own(allocator.allocate(Class::Activation, bytes)?),
        };
        self.gpu.make_current()?;
        let mut lane = GpuLane {
            stream: self.gpu.stream()?,
            done: self.gpu.event()?,
            context: self.engine.context(ContextMemory::Caller)?,
            host_inputs: blocks(Class::PinnedInput, &mut inputs.iter().copied())?,
            host_outputs: blocks(Class::PinnedOutput, &mut outputs.iter().flatten().copied())?,
            inputs: blocks(Class::Io, &mut inputs.iter().copied())?,
            outputs: blocks(Class::Io, &mut outputs.iter().flatten().copied())?,
            activation,
            marks: options.timed.then(|| Marks::new(&self.gpu)).transpose()?,
            copies: !options.without_copies,
            used: vec![0; inputs.len() + outputs.len()],
            engine: engine.clone(),
            gpu: self.gpu.clone(),
        };
        lane.bind(engine.signature(), bytes)?;
        Ok(lane)
    }
}

/// A block for activations that sessions use in turn, and the end of its last use.
pub(crate) struct SharedBlock {
    block: Allocation<Cuda>,
    passed: Mutex<CudaEvent>,
}

enum Activation {
    Own(Allocation<Cuda>),
    Shared(Arc<SharedBlock>),
}

impl Activation {
    fn block(&self) -> &Allocation<Cuda> {
        match self {
            Self::Own(block) => block,
            Self::Shared(shared) => &shared.block,
        }
    }
}

/// Points in the stream of a slot between which the time of a run is told.
struct Marks {
    start: CudaEvent,
    copied_in: CudaEvent,
    computed: CudaEvent,
    copied_out: CudaEvent,
}

impl Marks {
    fn new(gpu: &Cuda) -> Result<Self> {
        let event = || gpu.timed_event();
        Ok(Self { start: event()?, copied_in: event()?, computed: event()?, copied_out: event()? })
    }

    /// What a run that is done took.
    fn timing(&self) -> Result<RunTiming> {
        Ok(RunTiming {
            copy_in: self.copied_in.since(&self.start)?,
            compute: self.computed.since(&self.copied_in)?,
            copy_out: self.copied_out.since(&self.computed)?,
        })
    }
}

/// A slot on a GPU.
pub(crate) struct GpuLane {
    /// First field: its end waits for what is under way, before context and blocks go.
    stream: CudaStream,
    done: CudaEvent,
    context: ExecutionContext,
    host_inputs: Vec<Allocation<Cuda>>,
    host_outputs: Vec<Allocation<Cuda>>,
    inputs: Vec<Allocation<Cuda>>,
    outputs: Vec<Allocation<Cuda>>,
    activation: Activation,
    /// Present where runs are timed.
    marks: Option<Marks>,
    /// Whether inputs and outputs are copied to and fro.
    copies: bool,
    /// Bytes of inputs, then outputs, at the current shapes.
    used: Vec<u64>,
    engine: Engine,
    gpu: Cuda,
}

impl GpuLane {
    /// Gives TensorRT all addresses.
    fn bind(&mut self, signature: &Signature, activation_bytes: u64) -> Result<()> {
        let names = signature.inputs.iter().chain(&signature.outputs).map(|tensor| &tensor.name);
        for (name, block) in names.zip(self.inputs.iter().chain(&self.outputs)) {
            let address = block.memory().address() as *mut std::ffi::c_void;
            // SAFETY: device memory for the largest shape of this tensor, which the lane owns; it goes after the stream,
            // whose end waits for every run.
            unsafe { self.context.set_tensor_address(name, address)? };
        }
        let address = self.activation.block().memory().address() as *mut std::ffi::c_void;
        if activation_bytes > 0 {
            // SAFETY: device memory of at least that many bytes, aligned as the driver does, owned or shared for as long
            // as the lane is there; users of a shared block wait for each other by its event.
            unsafe { self.context.set_device_memory(address, activation_bytes) };
        }
        Ok(())
    }

    pub(crate) fn input(&mut self, input: usize) -> Result<&mut [u8]> {
        host_bytes(&mut self.host_inputs, input)
    }

    pub(crate) fn output(&mut self, output: usize) -> Result<&mut [u8]> {
        host_bytes(&mut self.host_outputs, output)
    }

    pub(crate) fn reshape(&mut self, profile: usize, inputs: &[Shape], outputs: &mut [Option<Shape>]) -> Result<()> {
        self.gpu.make_current()?;
        let engine = self.engine.clone();
        let signature = engine.signature();
        set_shapes(&mut self.context, &self.stream, signature, profile, inputs, outputs)?;
        let shapes = inputs.iter().copied().map(Some).chain(outputs.iter().copied());
        let blocks = self.inputs.iter().chain(&self.outputs);
        let tensors = signature.inputs.iter().chain(&signature.outputs);
        for (((used, shape), block), tensor) in self.used.iter_mut().zip(shapes).zip(blocks).zip(tensors) {
            let bytes = shape.and_then(|shape| tensor.bytes_at(&shape)).filter(|bytes| *bytes <= block.len());
            let reason = || format!("{:?} is larger than for the largest inputs", tensor.name);
            *used = bytes.ok_or_else(|| Error::Run { reason: reason() })?;
        }
        Ok(())
    }

    /// Starts copies and the run; returns at once.
    pub(crate) fn start(&mut self) -> Result<()> {
        self.gpu.make_current()?;
        let started = self.enqueue();
        if started.is_err() {
            // What got under way ends before anybody sees the buffers; its own failure is told by the first error.
            let _ = self.gpu.synchronize(&mut self.stream);
        }
        started
    }

    fn enqueue(&mut self) -> Result<()> {
        let count = self.inputs.len();
        self.mark(|marks| &marks.start)?;
        for (index, (host, device)) in self.host_inputs.iter().zip(&self.inputs).enumerate().filter(|_| self.copies) {
            self.gpu.copy(&mut self.stream, host.memory(), device.memory(), self.used[index])?;
        }
        self.mark(|marks| &marks.copied_in)?;
        self.stream.hold(self.activation.block().memory());
        let shared = match &self.activation {
            Activation::Own(_) => None,
            Activation::Shared(shared) => Some(shared.passed.lock().unwrap_or_else(PoisonError::into_inner)),
        };
        if let Some(passed) = &shared {
            self.gpu.wait(&mut self.stream, passed)?;
        }
        // SAFETY: the stream lives, addresses are those of `bind`, the blocks stay until the stream was waited for, and the
        // stream goes before the context.
        let ran = unsafe { self.context.enqueue(self.stream.as_raw()) };
        if let Some(passed) = &shared {
            self.gpu.record(passed, &mut self.stream)?;
        }
        drop(shared);
        ran?;
        self.mark(|marks| &marks.computed)?;
        for (index, (device, host)) in self.outputs.iter().zip(&self.host_outputs).enumerate().filter(|_| self.copies) {
            self.gpu.copy(&mut self.stream, device.memory(), host.memory(), self.used[count + index])?;
        }
        self.mark(|marks| &marks.copied_out)?;
        self.gpu.record(&self.done, &mut self.stream)
    }

    /// Records one of the marks, where there are any.
    fn mark(&mut self, which: impl Fn(&Marks) -> &CudaEvent) -> Result<()> {
        self.marks.as_ref().map_or(Ok(()), |marks| self.gpu.record(which(marks), &mut self.stream))
    }

    pub(crate) fn is_done(&self) -> Result<bool> {
        self.gpu.is_done(&self.done)
    }

    pub(crate) fn finish(&mut self) -> Result<Option<RunTiming>> {
        self.gpu.synchronize(&mut self.stream)?;
        self.marks.as_ref().map(Marks::timing).transpose()
    }
}

fn host_bytes(blocks: &mut [Allocation<Cuda>], index: usize) -> Result<&mut [u8]> {
    let what = || format!("the buffer of tensor {index}");
    blocks.get_mut(index).and_then(Allocation::bytes).ok_or_else(|| Error::InFlight { what: what() })
}
