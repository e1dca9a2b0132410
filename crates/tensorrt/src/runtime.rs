//! The runtime, which loads engines.
//!
//! It may be used from several threads: TensorRT asks only that the settings, which are not offered
//! here, stay alone. An engine keeps its runtime alive.

use std::sync::Arc;

use cxx::UniquePtr;
use trtx_sys::nvinfer1::{ICudaEngine, IRuntime};

use crate::logger::LoggerLease;
use crate::shim::address;
#[cfg(not(feature = "enterprise"))]
use crate::shim::trtforge_engine_validity;
use crate::{Device, Engine, Error, LogLine, Result, TensorRt};

/// Whether an engine will run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Validity {
    /// It will.
    Valid,
    /// It will, slower than one built for this machine.
    Suboptimal,
    /// It will not.
    Invalid(Vec<EngineFault>),
    /// TensorRT cannot tell, which is its answer on a machine without a GPU.
    Unknown,
}

/// Why an engine will not run here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EngineFault {
    /// It was built by another version of TensorRT.
    VersionMismatch,
    /// It was not built for this kind of GPU.
    UnsupportedComputeCapability,
    /// The driver is older than the one it was built with.
    OldDriver,
    /// The CUDA runtime is older than the one it was built with.
    OldCudaRuntime,
    /// The GPU's memory does not hold its weights.
    InsufficientGpuMemory,
    /// It is damaged, or is no engine.
    Malformed,
    /// CUDA does not work.
    CudaError,
    /// A reason that a newer TensorRT added, by its bit.
    Other(u32),
}

/// The raw runtime with what must outlive it.
pub(crate) struct RuntimeHandle {
    /// First field: destroyed before the logger goes back.
    raw: UniquePtr<IRuntime>,
    pub(crate) logger: LoggerLease,
}

// SAFETY: TensorRT documents a runtime as usable from any thread; nothing here is tied to one.
unsafe impl Send for RuntimeHandle {}
// SAFETY: shared use is limited to loading engines and reading headers, which TensorRT documents as
// safe from several threads as long as nobody changes the runtime's settings; nothing here does.
unsafe impl Sync for RuntimeHandle {}

/// Loads engines; made by [`TensorRt::runtime`].
#[derive(Clone)]
pub struct Runtime {
    handle: Arc<RuntimeHandle>,
}

impl Runtime {
    pub(crate) fn new(tensorrt: TensorRt) -> Result<Self> {
        let logger = LoggerLease::new()?;
        let raw = tensorrt.create_runtime(logger.interface()).cast::<IRuntime>();
        if raw.is_null() {
            return Err(Error::Create { what: "a runtime", log: logger.tail() });
        }
        // SAFETY: a new object that only this handle owns.
        let raw = unsafe { UniquePtr::from_raw(raw) };
        Ok(Self { handle: Arc::new(RuntimeHandle { raw, logger }) })
    }

    /// Loads an engine onto the GPU; the bytes are not needed afterwards.
    ///
    /// # Errors
    /// [`Error::NoDevice`] without a GPU, [`Error::Deserialize`] when TensorRT refuses the engine.
    pub fn deserialize(&self, engine: &[u8]) -> Result<Engine> {
        Device::all().map_err(Error::NoDevice)?;
        // A shared runtime is called through a raw pointer: the bindings ask for exclusive access,
        // which TensorRT does not need here.
        let raw = self.handle.raw.as_ptr().cast_mut();
        // SAFETY: the runtime is alive and may load engines from several threads; the bytes are
        // valid for the call.
        let loaded: *mut ICudaEngine =
            unsafe { std::pin::Pin::new_unchecked(&mut *raw).deserializeCudaEngine(address(engine), engine.len()) };
        if loaded.is_null() {
            return Err(Error::Deserialize { log: self.handle.logger.tail() });
        }
        // SAFETY: a new object that only this engine owns.
        Ok(unsafe { Engine::new(loaded, Arc::clone(&self.handle)) })
    }

    /// Bytes of an engine's header, which is all that [`Self::validity`] needs.
    #[cfg(not(feature = "enterprise"))]
    #[must_use]
    pub fn header_bytes(&self) -> usize {
        usize::try_from(self.handle.raw.getEngineHeaderSize()).unwrap_or_default()
    }

    /// Whether an engine that begins with `header` will run here.
    #[cfg(not(feature = "enterprise"))]
    #[must_use]
    pub fn validity(&self, header: &[u8]) -> Validity {
        if header.len() < self.header_bytes() {
            return Validity::Invalid(vec![EngineFault::Malformed]);
        }
        let mut diagnostics = 0_u64;
        let length = i64::try_from(header.len()).unwrap_or(i64::MAX);
        let runtime = self.handle.raw.as_ptr();
        // SAFETY: the runtime lives; the header is valid for the call, and one number is written.
        let answer = unsafe { trtforge_engine_validity(runtime, address(header), length, &mut diagnostics) };
        Validity::from_answer(answer, diagnostics)
    }

    /// What TensorRT has logged for this runtime and its engines, verbose lines left out.
    #[must_use]
    pub fn log(&self) -> Vec<LogLine> {
        self.handle.logger.lines()
    }
}

impl Validity {
    /// Reads TensorRT's answer; "invalid" without a reason is how it says that it cannot tell.
    #[cfg(not(feature = "enterprise"))]
    fn from_answer(answer: i32, diagnostics: u64) -> Self {
        match (answer, diagnostics) {
            (0, _) => Self::Valid,
            (1, _) => Self::Suboptimal,
            (_, 0) => Self::Unknown,
            (_, bits) => {
                Self::Invalid((0..u64::BITS).filter(|bit| bits >> bit & 1 == 1).map(EngineFault::from_bit).collect())
            }
        }
    }
}

impl EngineFault {
    #[cfg(not(feature = "enterprise"))]
    fn from_bit(bit: u32) -> Self {
        match bit {
            0 => Self::VersionMismatch,
            1 => Self::UnsupportedComputeCapability,
            2 => Self::OldDriver,
            3 => Self::OldCudaRuntime,
            4 => Self::InsufficientGpuMemory,
            5 => Self::Malformed,
            6 => Self::CudaError,
            other => Self::Other(other),
        }
    }
}

#[cfg(all(test, not(feature = "enterprise")))]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        assert_eq!(Validity::from_answer(0, 0), Validity::Valid);
        assert_eq!(Validity::from_answer(1, 0), Validity::Suboptimal);
        assert_eq!(Validity::from_answer(2, 0), Validity::Unknown);
        assert_eq!(
            Validity::from_answer(2, 0b10_0001),
            Validity::Invalid(vec![EngineFault::VersionMismatch, EngineFault::Malformed])
        );
        let newest = Validity::Invalid(vec![EngineFault::Other(63)]);
        assert_eq!(Validity::from_answer(2, 1 << 63), newest);
    }
}
