//! TensorRT engines on a GPU.
//!
//! Loading, with every check that can be made before, and what a session of it needs; runs are in `gpu_lane`. What has run
//! of this without a GPU is loading up to the GPU's absence.

use std::sync::{Arc, Mutex, PoisonError};

use trtforge_tensorrt as trt;
use trtforge_tensorrt::{ContextMemory, DataType, ExecutionContext, TensorMode};

use super::manifest::Manifest;
use super::{
    Declared, Engine, EngineFault, EngineOptions, Formats, Kind, Layout, Profile, Request, ShapeRange, Signature,
    TensorInfo, plan_file,
};
use crate::device::{Class, Cuda, CudaStream, Device};
use crate::element::ElementType;
use crate::error::{Error, Result};
use crate::ledger::Plan;
use crate::shape::Shape;

/// TensorRT's name of the order that sessions hold elements in.
const ROW_MAJOR: &str = "linear";

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

/// Loads a plan, after every check that can be made before. Elements of its tensors lie in row-major order, but for those of `formats`.
pub(crate) fn load(
    options: &EngineOptions,
    source_name: &str,
    plan: &[u8],
    name: &str,
    manifest: Option<&Manifest>,
    formats: &Formats,
) -> Result<Engine> {
    let unfit = |fault| Error::Unfit { source_name: source_name.to_owned(), fault: Box::new(fault) };
    let Prepared { runtime, gpu } = prepare(options, source_name, plan, manifest)?;
    // Without a manifest the file's size stands for the weights, of which it is mostly made.
    let expected = manifest.map_or(plan.len() as u64, |manifest| manifest.memory.weights_bytes);
    options.ledger.admits(&Plan::of(Class::Weights, expected))?;
    gpu.make_current()?;
    let engine = runtime.deserialize(plan)?;
    let weights = options.ledger.enter(&Arc::from(name), Class::Weights, engine.weights_bytes())?;
    engine.io_tensors().iter().try_for_each(|tensor| check_format(tensor, formats)).map_err(unfit)?;
    let signature = signature(&engine).map_err(unfit)?;
    let probe = Probe { context: engine.context(ContextMemory::Caller)?, stream: gpu.stream()? };
    let kind = Kind::TensorRt(TensorRt { probe: Mutex::new(probe), engine, gpu });
    Ok(Engine::new(name, signature, kind, options.ledger.clone(), weights))
}

/// What a plan is loaded with, after every check that can be made before.
pub(crate) struct Prepared {
    runtime: trt::Runtime,
    pub(crate) gpu: Cuda,
}

/// Makes every check of a plan that can be made before it is loaded.
pub(crate) fn prepare(
    options: &EngineOptions,
    source_name: &str,
    plan: &[u8],
    manifest: Option<&Manifest>,
) -> Result<Prepared> {
    let unfit = |fault| Error::Unfit { source_name: source_name.to_owned(), fault: Box::new(fault) };
    let library = trt::TensorRt::load()?;
    check_version(plan, &library, manifest).map_err(unfit)?;
    let runtime = library.runtime()?;
    check_validity(&runtime, plan).map_err(unfit)?;
    let gpu = Cuda::open(options.gpu)?;
    manifest.map_or(Ok(()), |manifest| manifest.check_gpu(gpu.compute_capability())).map_err(unfit)?;
    Ok(Prepared { runtime, gpu })
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

fn check_format(tensor: &trt::IoTensor, formats: &Formats) -> Result<(), EngineFault> {
    let (is, expected) = (tensor.format.to_string(), formats.get(&tensor.name).map_or(ROW_MAJOR, String::as_str));
    let reason = format!("its elements lie in memory in the order {is}, not {expected}");
    if is == expected { Ok(()) } else { Err(EngineFault::Tensor { name: tensor.name.clone(), reason }) }
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
pub(super) fn sizes(dimensions: &[i64]) -> Option<Shape> {
    let mut sizes = [0; crate::MAX_RANK];
    for (to, &size) in sizes.iter_mut().zip(dimensions) {
        *to = u64::try_from(size).ok()?;
    }
    Shape::new(sizes.get(..dimensions.len())?)
}

fn signed(shape: &Shape) -> [i64; crate::MAX_RANK] {
    let mut sizes = [0; crate::MAX_RANK];
    sizes.iter_mut().zip(shape.iter()).for_each(|(to, &size)| *to = i64::try_from(size).unwrap_or(i64::MAX));
    sizes
}

/// Gives a context its profile and input shapes, and reads the shapes of outputs.
pub(crate) fn set_shapes(
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

/// Gives outputs whose size only a run tells the most bytes that they can take.
fn bound_open_outputs(signature: &Signature, layout: &mut Layout, bounds: &[u64]) -> Result<()> {
    for ((bytes, bound), output) in layout.output_bytes.iter_mut().zip(bounds).zip(&signature.outputs) {
        match (*bytes, *bound) {
            (Some(_), _) => {}
            (None, 0) => {
                let (name, reason) = (output.name.clone(), "only a run tells its size, and it has no bound".to_owned());
                let fault = Box::new(EngineFault::Tensor { name, reason });
                return Err(Error::Unfit { source_name: "the engine".to_owned(), fault });
            }
            (None, bound) => *bytes = Some(bound),
        }
    }
    Ok(())
}

impl TensorRt {
    pub(crate) fn layout(&self, signature: &Signature, request: &Request) -> Result<Layout> {
        self.gpu.make_current()?;
        let mut probe = self.probe.lock().unwrap_or_else(PoisonError::into_inner);
        let Probe { context, stream } = &mut *probe;
        let mut bounds = vec![0; signature.outputs.len()];
        let mut layout = Layout::new(signature, request, |profile, inputs, outputs| {
            set_shapes(context, stream, signature, profile, inputs, outputs)?;
            for (most, output) in bounds.iter_mut().zip(&signature.outputs) {
                *most = context.most_output_bytes(&output.name)?.unwrap_or(0).max(*most);
            }
            self.gpu.synchronize(stream)
        })?;
        bound_open_outputs(signature, &mut layout, &bounds)?;
        Ok(layout)
    }

    /// Bytes of activations over all profiles.
    #[must_use]
    pub(crate) fn most_activation_bytes(&self) -> u64 {
        self.engine.device_memory_bytes()
    }

    pub(crate) fn activation_bytes(&self, layout: &Layout) -> u64 {
        let bytes = layout.profiles.iter().map(|(number, _)| self.engine.device_memory_bytes_of_profile(*number));
        bytes.max().unwrap_or(0)
    }

    /// A context for one slot, without memory.
    pub(crate) fn context(&self) -> Result<ExecutionContext> {
        Ok(self.engine.context(ContextMemory::Caller)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_settled_or_none() {
        assert_eq!(&*sizes(&[2, 3]).unwrap(), [2, 3]);
        assert_eq!(sizes(&[]).unwrap().len(), 0);
        for open in [&[2, -1][..], &[1; crate::MAX_RANK + 1]] {
            assert!(sizes(open).is_none());
        }
    }

    #[test]
    fn an_open_output_gets_its_bound_and_one_without_is_refused() {
        let output = |name: &str| TensorInfo::fixed(name, ElementType::Float32, &[2]);
        let signature = Signature { outputs: vec![output("known"), output("found")], ..Signature::default() };
        let layout = |bytes| Layout { profiles: vec![], input_bytes: vec![], output_bytes: bytes };
        let mut open = layout(vec![Some(8), None]);
        bound_open_outputs(&signature, &mut open, &[999, 640]).unwrap();
        assert_eq!(open.output_bytes, [Some(8), Some(640)]);
        let error = bound_open_outputs(&signature, &mut layout(vec![Some(8), None]), &[8, 0]).unwrap_err();
        assert!(error.to_string().contains(r#""found""#), "{error}");
    }
}
