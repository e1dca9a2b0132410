//! The kinds of engines, and what each answers. One `match` per question, so that runs go through no table of functions.

use std::sync::Arc;

use super::function::{Function, MAX_TENSORS};
use super::layout::shapes_by_name;
use super::{EngineFault, Layout, Request, ShapeRange, Signature};
use crate::device::{Device, Host, MemoryInfo};
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::stages::Staged;

/// What runs.
pub(crate) enum Kind {
    #[cfg(feature = "onnx")]
    Onnx {
        model: trtforge_onnxruntime::SharedSession,
        host: Host,
    },
    Function {
        function: Arc<dyn Function>,
        host: Host,
    },
    /// Stages on the host.
    Staged(Arc<Staged<Host>>),
    #[cfg(feature = "tensorrt")]
    TensorRt(super::tensorrt::TensorRt),
    /// Stages on a GPU.
    #[cfg(feature = "tensorrt")]
    StagedOnGpu(Arc<Staged<crate::device::Cuda>>),
}

impl Kind {
    pub(crate) fn device(&self) -> &str {
        match self {
            #[cfg(feature = "onnx")]
            Self::Onnx { host, .. } => host.name(),
            Self::Function { host, .. } => host.name(),
            Self::Staged(staged) => staged.device.name(),
            #[cfg(feature = "tensorrt")]
            Self::TensorRt(engine) => engine.gpu.name(),
            #[cfg(feature = "tensorrt")]
            Self::StagedOnGpu(staged) => staged.device.name(),
        }
    }

    /// Whether the host reads and writes the engine's inputs and outputs in place.
    pub(crate) fn is_unified(&self) -> bool {
        match self {
            #[cfg(feature = "onnx")]
            Self::Onnx { host, .. } => host.is_unified(),
            Self::Function { host, .. } => host.is_unified(),
            Self::Staged(staged) => staged.device.is_unified(),
            #[cfg(feature = "tensorrt")]
            Self::TensorRt(engine) => engine.gpu.is_unified(),
            #[cfg(feature = "tensorrt")]
            Self::StagedOnGpu(staged) => staged.device.is_unified(),
        }
    }

    /// Tells the memory of its device, without keeping the engine.
    pub(crate) fn memory(&self) -> Box<dyn Fn() -> Result<MemoryInfo> + Send> {
        fn of<D: Device>(device: &D) -> Box<dyn Fn() -> Result<MemoryInfo> + Send> {
            let device = device.clone();
            Box::new(move || device.memory_info())
        }
        match self {
            #[cfg(feature = "onnx")]
            Self::Onnx { host, .. } => of(host),
            Self::Function { host, .. } => of(host),
            Self::Staged(staged) => of(&staged.device),
            #[cfg(feature = "tensorrt")]
            Self::TensorRt(engine) => of(&engine.gpu),
            #[cfg(feature = "tensorrt")]
            Self::StagedOnGpu(staged) => of(&staged.device),
        }
    }

    pub(crate) fn layout(&self, signature: &Signature, request: &Request) -> Result<Layout> {
        #[cfg(feature = "tensorrt")]
        if let Self::TensorRt(engine) = self {
            return engine.layout(signature, request);
        }
        let layout = Layout::new(signature, request, |_, inputs, outputs| {
            self.output_shapes(signature, inputs, outputs);
            Ok(())
        })?;
        if let Self::Function { .. } = self {
            check_function(signature, &layout)?;
        }
        Ok(layout)
    }

    /// Shapes of outputs for those of inputs; nothing where only a run tells.
    pub(crate) fn output_shapes(&self, signature: &Signature, inputs: &[Shape], outputs: &mut [Option<Shape>]) {
        shapes_by_name(signature, inputs, outputs);
        if let Self::Function { function, .. } = self {
            function.output_shapes(inputs, outputs);
        }
    }

    /// Bytes of activations that one slot needs, over all profiles.
    pub(crate) fn activation_bytes(&self, layout: &Layout) -> u64 {
        match self {
            #[cfg(feature = "onnx")]
            Self::Onnx { .. } => 0,
            Self::Function { function, .. } => {
                let most = |ranges: &[ShapeRange]| ranges.iter().map(|range| range.max).collect::<Vec<_>>();
                let each = layout.profiles.iter().map(|(_, ranges)| function.activation_bytes(&most(ranges)));
                each.max().unwrap_or(0)
            }
            Self::Staged(staged) => staged.activation_bytes(),
            #[cfg(feature = "tensorrt")]
            Self::TensorRt(engine) => engine.activation_bytes(layout),
            #[cfg(feature = "tensorrt")]
            Self::StagedOnGpu(staged) => staged.activation_bytes(),
        }
    }
}

fn check_function(signature: &Signature, layout: &Layout) -> Result<()> {
    let fault = |name: &str, reason: &str| {
        let (name, reason) = (name.to_owned(), reason.to_owned());
        let fault = Box::new(EngineFault::Tensor { name, reason });
        Err(Error::Unfit { source_name: "the function".to_owned(), fault })
    };
    if let Some(extra) = signature.inputs.get(MAX_TENSORS).or(signature.outputs.get(MAX_TENSORS)) {
        return fault(&extra.name, "a function has at most 16 inputs and 16 outputs");
    }
    match layout.output_bytes.iter().position(Option::is_none) {
        Some(index) => fault(&signature.outputs[index].name, "the function does not tell its shape"),
        None => Ok(()),
    }
}
