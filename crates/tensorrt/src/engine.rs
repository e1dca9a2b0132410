//! A loaded engine: what it takes and gives, what memory it needs, and contexts to run it.
//!
//! Reading it is safe from several threads. Its contexts keep it alive.

use std::sync::Arc;

use cxx::UniquePtr;
use trtx_sys::nvinfer1::ICudaEngine;
use trtx_sys::{OptProfileSelector, nvinfer1};

use crate::dimensions::from_raw;
use crate::runtime::RuntimeHandle;
use crate::shim::{
    c_string, copied, trtforge_engine_tensor_format, trtforge_engine_tensor_mode, trtforge_engine_tensor_type,
    trtforge_engine_weights_bytes,
};
use crate::{ContextMemory, DataType, Error, ExecutionContext, Result, TensorFormat};

/// Whether a tensor goes in or comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TensorMode {
    /// An input.
    Input,
    /// An output.
    Output,
}

/// An input or output of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoTensor {
    /// Name, as in the model.
    pub name: String,
    /// Input or output.
    pub mode: TensorMode,
    /// Element type.
    pub data_type: DataType,
    /// Elements per dimension, -1 where it is open.
    pub dimensions: Vec<i64>,
    /// Order of its elements in memory.
    pub format: TensorFormat,
}

/// Shapes of one input in one profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileShape {
    /// Smallest shape.
    pub minimum: Vec<i64>,
    /// Shape it is tuned for.
    pub optimum: Vec<i64>,
    /// Largest shape.
    pub maximum: Vec<i64>,
}

/// The raw engine with what must outlive it.
pub(crate) struct EngineHandle {
    /// First field: destroyed before the runtime may go.
    raw: UniquePtr<ICudaEngine>,
    pub(crate) runtime: Arc<RuntimeHandle>,
}

// SAFETY: TensorRT documents an engine as usable from any thread.
unsafe impl Send for EngineHandle {}
// SAFETY: shared use is limited to reading and to making contexts, which TensorRT documents as safe
// from several threads.
unsafe impl Sync for EngineHandle {}

/// A loaded engine; made by [`crate::Runtime::deserialize`].
#[derive(Clone)]
pub struct Engine {
    handle: Arc<EngineHandle>,
}

impl Engine {
    /// # Safety
    /// `raw` is an engine that nobody else owns, loaded by `runtime`.
    pub(crate) unsafe fn new(raw: *mut ICudaEngine, runtime: Arc<RuntimeHandle>) -> Self {
        // SAFETY: by contract.
        let raw = unsafe { UniquePtr::from_raw(raw) };
        Self { handle: Arc::new(EngineHandle { raw, runtime }) }
    }

    fn raw(&self) -> &ICudaEngine {
        &self.handle.raw
    }

    /// Inputs and outputs.
    #[must_use]
    pub fn io_tensors(&self) -> Vec<IoTensor> {
        (0..self.raw().getNbIOTensors()).filter_map(|index| self.io_tensor(index)).collect()
    }

    fn io_tensor(&self, index: i32) -> Option<IoTensor> {
        let name = self.raw().getIOTensorName(index);
        // SAFETY: the name is null or lives in the engine.
        let text = unsafe { copied(name)? };
        // SAFETY: the engine lives, and the name is its own and not null.
        let (mode, number, format, dimensions) = unsafe {
            (
                trtforge_engine_tensor_mode(self.raw(), name),
                trtforge_engine_tensor_type(self.raw(), name),
                trtforge_engine_tensor_format(self.raw(), name),
                self.raw().getTensorShape(name),
            )
        };
        let mode = match mode {
            1 => TensorMode::Input,
            2 => TensorMode::Output,
            _ => return None,
        };
        Some(IoTensor {
            name: text,
            mode,
            data_type: DataType::from_number(number),
            dimensions: from_raw(&dimensions).unwrap_or_default(),
            format: TensorFormat::from_number(format),
        })
    }

    /// Number of optimisation profiles.
    #[must_use]
    pub fn profile_count(&self) -> usize {
        usize::try_from(self.raw().getNbOptimizationProfiles()).unwrap_or_default()
    }

    /// The shapes of an input in a profile.
    ///
    /// # Errors
    /// [`Error::NoSuchTensor`] when there is no such input or profile.
    pub fn profile_shape(&self, input: &str, profile: usize) -> Result<ProfileShape> {
        let name = c_string(input)?;
        let index = i32::try_from(profile).unwrap_or(i32::MAX);
        let shape = |selector: OptProfileSelector| {
            let selector: nvinfer1::OptProfileSelector = selector.into();
            // SAFETY: the engine lives and the name is terminated; a wrong one is answered.
            from_raw(&unsafe { self.raw().getProfileShape(name.as_ptr(), index, selector) })
        };
        let shapes =
            (shape(OptProfileSelector::kMIN), shape(OptProfileSelector::kOPT), shape(OptProfileSelector::kMAX));
        let (Some(minimum), Some(optimum), Some(maximum)) = shapes else {
            return Err(self.no_such_tensor(input));
        };
        Ok(ProfileShape { minimum, optimum, maximum })
    }

    pub(crate) fn no_such_tensor(&self, name: &str) -> Error {
        Error::NoSuchTensor {
            name: name.to_owned(),
            tensors: self.io_tensors().into_iter().map(|it| it.name).collect(),
        }
    }

    /// Device memory one context needs for activations, in bytes, over all profiles.
    #[must_use]
    pub fn device_memory_bytes(&self) -> u64 {
        u64::try_from(self.raw().getDeviceMemorySizeV2()).unwrap_or_default()
    }

    /// Device memory one context needs for activations in one profile, in bytes.
    #[must_use]
    pub fn device_memory_bytes_of_profile(&self, profile: usize) -> u64 {
        let index = i32::try_from(profile).unwrap_or(i32::MAX);
        u64::try_from(self.raw().getDeviceMemorySizeForProfileV2(index)).unwrap_or_default()
    }

    /// Weights of the engine, in bytes.
    #[must_use]
    pub fn weights_bytes(&self) -> u64 {
        // SAFETY: the engine lives.
        u64::try_from(unsafe { trtforge_engine_weights_bytes(self.raw()) }).unwrap_or_default()
    }

    /// Number of layers after fusion.
    #[must_use]
    pub fn layer_count(&self) -> usize {
        usize::try_from(self.raw().getNbLayers()).unwrap_or_default()
    }

    /// A context to run the engine with.
    ///
    /// # Errors
    /// [`Error::Create`] when TensorRT makes none, as when memory is short.
    pub fn context(&self, memory: ContextMemory) -> Result<ExecutionContext> {
        let raw = self.handle.raw.as_ptr().cast_mut();
        // SAFETY: the engine lives; making contexts is documented as safe from several threads,
        // so the exclusive access the bindings ask for is not needed.
        let context = unsafe { std::pin::Pin::new_unchecked(&mut *raw).createExecutionContext(memory.to_raw()) };
        if context.is_null() {
            return Err(Error::Create { what: "an execution context", log: self.handle.runtime.logger.tail() });
        }
        // SAFETY: a new object that only this context owns, of this engine.
        Ok(unsafe { ExecutionContext::new(context, self.clone()) })
    }

    pub(crate) fn handle(&self) -> &EngineHandle {
        &self.handle
    }
}
