//! An execution context: one run of an engine at a time, with its shapes, addresses and memory.
//!
//! It may move between threads and is used by one at a time. Device memory is the caller's: it goes
//! in as addresses, which is why the functions that take or use them are unsafe.

use std::ffi::{CString, c_void};
use std::pin::Pin;

use cxx::UniquePtr;
use trtx_sys::nvinfer1::{ExecutionContextAllocationStrategy, IExecutionContext};

use crate::dimensions::{from_raw, to_raw};
use crate::output::OutputBlock;
#[cfg(not(feature = "enterprise"))]
use crate::shim::trtforge_context_capturable;
use crate::shim::{c_string, trtforge_context_most_output_bytes, trtforge_context_set_output};
use crate::{Engine, Error, Result};

/// Who gives a context the device memory for its activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContextMemory {
    /// TensorRT, enough for every profile, at once.
    AllProfiles,
    /// TensorRT, enough for the profile in use, whenever that changes.
    CurrentProfile,
    /// The caller, through [`ExecutionContext::set_device_memory`].
    Caller,
}

impl ContextMemory {
    pub(crate) fn to_raw(self) -> ExecutionContextAllocationStrategy {
        match self {
            Self::AllProfiles => ExecutionContextAllocationStrategy::kSTATIC,
            Self::CurrentProfile => ExecutionContextAllocationStrategy::kON_PROFILE_CHANGE,
            Self::Caller => ExecutionContextAllocationStrategy::kUSER_MANAGED,
        }
    }
}

/// Runs an engine; made by [`Engine::context`].
pub struct ExecutionContext {
    /// First field: destroyed before the engine may go.
    raw: UniquePtr<IExecutionContext>,
    /// Places of outputs whose size only a run tells, by name.
    outputs: Vec<(CString, OutputBlock)>,
    engine: Engine,
}

// SAFETY: TensorRT ties a context to no thread; it asks for one user at a time, which owning it
// ensures.
unsafe impl Send for ExecutionContext {}

impl ExecutionContext {
    /// # Safety
    /// `raw` is a context of `engine` that nobody else owns.
    pub(crate) unsafe fn new(raw: *mut IExecutionContext, engine: Engine) -> Self {
        // SAFETY: by contract.
        let raw = unsafe { UniquePtr::from_raw(raw) };
        Self { raw, outputs: Vec::new(), engine }
    }

    fn raw(&mut self) -> Pin<&mut IExecutionContext> {
        self.raw.pin_mut()
    }

    /// The engine it runs.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Sets the shape of an input for the next runs.
    ///
    /// # Errors
    /// [`Error::NoSuchTensor`], or [`Error::Execute`] for a shape outside the profile.
    pub fn set_input_shape(&mut self, input: &str, shape: &[i64]) -> Result<()> {
        let name = c_string(input)?;
        let Some(dimensions) = to_raw(shape) else {
            return Err(self.failed("set the shape of an input"));
        };
        // SAFETY: the context lives; name and dimensions are valid for the call.
        let taken = unsafe { self.raw().setInputShape(name.as_ptr(), &dimensions) };
        self.check(taken, "set the shape of an input")
    }

    /// The shape of a tensor with the input shapes set so far; -1 where it is still open.
    ///
    /// # Errors
    /// [`Error::NoSuchTensor`].
    pub fn tensor_shape(&self, tensor: &str) -> Result<Vec<i64>> {
        let name = c_string(tensor)?;
        // SAFETY: the context lives; the name is valid for the call.
        let dimensions = unsafe { self.raw.getTensorShape(name.as_ptr()) };
        from_raw(&dimensions).ok_or_else(|| self.engine.no_such_tensor(tensor))
    }

    /// Device memory the input shapes set so far need, in bytes; every input must have its shape.
    #[must_use]
    pub fn device_memory_bytes_for_shapes(&mut self) -> u64 {
        self.raw().updateDeviceMemorySizeForShapes() as u64
    }

    /// Chooses the optimisation profile.
    ///
    /// # Errors
    /// [`Error::Execute`] when there is no such profile.
    ///
    /// # Safety
    /// `stream` is a CUDA stream, or null for the default one; runs enqueued before are finished or
    /// on that stream.
    pub unsafe fn set_profile(&mut self, profile: usize, stream: *mut c_void) -> Result<()> {
        let index = i32::try_from(profile).unwrap_or(i32::MAX);
        // SAFETY: the context lives; the stream is by contract one of CUDA.
        let taken = unsafe { self.raw().setOptimizationProfileAsync(index, stream.cast()) };
        self.check(taken, "choose the optimisation profile")
    }

    /// Gives the device memory for activations of a context made with [`ContextMemory::Caller`].
    ///
    /// # Safety
    /// `address` is device memory of `bytes` bytes, aligned to 256, which stays there and belongs
    /// to this context alone while a run may be under way.
    pub unsafe fn set_device_memory(&mut self, address: *mut c_void, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        // SAFETY: by contract.
        unsafe { self.raw().setDeviceMemoryV2(address.cast(), bytes) };
    }

    /// Gives the address of an input or output.
    ///
    /// # Errors
    /// [`Error::Execute`] when TensorRT does not take it.
    ///
    /// # Safety
    /// `address` is device memory (host memory for a tensor that TensorRT wants there) as large as
    /// the tensor, which stays there while a run may be under way.
    pub unsafe fn set_tensor_address(&mut self, tensor: &str, address: *mut c_void) -> Result<()> {
        let name = c_string(tensor)?;
        // SAFETY: by contract; the name is valid for the call.
        let taken = unsafe { self.raw().setTensorAddress(name.as_ptr(), address.cast()) };
        self.check(taken, "take the address of a tensor")
    }

    /// The most bytes that an output can take with the input shapes set so far, where TensorRT knows a bound.
    ///
    /// # Errors
    /// [`Error::NoSuchTensor`] for a name with a zero in it; other unknown names have no bound.
    pub fn most_output_bytes(&self, output: &str) -> Result<Option<u64>> {
        let name = c_string(output)?;
        // SAFETY: the context lives; the name is valid for the call.
        let bytes = unsafe { trtforge_context_most_output_bytes(&*self.raw, name.as_ptr()) };
        Ok(u64::try_from(bytes).ok())
    }

    /// Gives the place of an output whose size only a run tells. A run that needs more than `bytes` fails.
    ///
    /// # Errors
    /// [`Error::Execute`] when TensorRT does not take it.
    ///
    /// # Safety
    /// As for [`Self::set_tensor_address`], with `bytes` bytes at `address`.
    pub unsafe fn set_output_block(&mut self, output: &str, address: *mut c_void, bytes: u64) -> Result<()> {
        let name = c_string(output)?;
        let block = OutputBlock::new(address, bytes)?;
        let raw = self.raw.as_mut_ptr();
        // SAFETY: the context lives, the name is valid for the call, and the block is kept below until the context is gone
        // or has another.
        let taken = unsafe { trtforge_context_set_output(raw, name.as_ptr(), block.as_ptr()) };
        self.check(taken, "take the place of an output")?;
        self.outputs.retain(|(known, _)| *known != name);
        self.outputs.push((name, block));
        Ok(())
    }

    /// The shape that the last run gave an output of [`Self::set_output_block`]; nothing before a run, and where it failed.
    pub fn output_shape<'s>(&self, output: &str, sizes: &'s mut [i64; 8]) -> Option<&'s [i64]> {
        let mut blocks = self.outputs.iter().filter(|(name, _)| name.as_bytes() == output.as_bytes());
        blocks.next().and_then(|(_, block)| block.shape(sizes))
    }

    /// Bytes that the last run asked for an output of [`Self::set_output_block`], whether it got them or not.
    #[must_use]
    pub fn output_bytes(&self, output: &str) -> Option<u64> {
        let mut blocks = self.outputs.iter().filter(|(name, _)| name.as_bytes() == output.as_bytes());
        blocks.next().map(|(_, block)| block.wanted_bytes())
    }

    /// Whether a run started on `stream` now could be captured in a CUDA graph, as far as TensorRT tells beforehand.
    ///
    /// # Safety
    /// `stream` is a CUDA stream.
    #[must_use]
    pub unsafe fn is_capturable(&self, stream: *mut c_void) -> bool {
        #[cfg(not(feature = "enterprise"))]
        // SAFETY: the context lives; the stream is by contract one of CUDA.
        return unsafe { trtforge_context_capturable(&*self.raw, stream) };
        #[cfg(feature = "enterprise")]
        {
            let _ = stream;
            true
        }
    }

    /// Starts a run on a stream and returns before it ends.
    ///
    /// # Errors
    /// [`Error::Execute`] when the run cannot start.
    ///
    /// # Safety
    /// `stream` is a CUDA stream, or null for the default one; every address given is still good
    /// and stays so until the stream has passed the run; the context is not dropped before that.
    pub unsafe fn enqueue(&mut self, stream: *mut c_void) -> Result<()> {
        self.outputs.iter_mut().for_each(|(_, block)| block.forget());
        // SAFETY: by contract.
        let started = unsafe { self.raw().enqueueV3(stream.cast()) };
        self.check(started, "run the engine")
    }

    fn check(&self, done: bool, what: &'static str) -> Result<()> {
        if done { Ok(()) } else { Err(self.failed(what)) }
    }

    fn failed(&self, what: &'static str) -> Error {
        Error::Execute { what, log: self.engine.handle().runtime.logger.tail() }
    }
}
