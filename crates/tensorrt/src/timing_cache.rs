//! What a builder measured on this GPU, kept so that the next build need not measure again.
//!
//! TensorRT-RTX measures nothing while building, so only TensorRT itself has this.

use std::rc::Rc;

use cxx::UniquePtr;
use trtx_sys::nvinfer1::{IBuilderConfig, ITimingCache};

use crate::builder::BuilderHandle;
use crate::shim::{address, trtforge_timing_cache_serialize};
use crate::{Error, Result, SerializedEngine};

/// A timing cache; attached by [`crate::BuilderConfig::set_timing_cache`].
///
/// The configuration has its own reference to the measurements; this one reads them out.
pub struct TimingCache {
    raw: UniquePtr<ITimingCache>,
    _builder: Rc<BuilderHandle>,
}

impl TimingCache {
    pub(crate) fn attach(
        builder: &Rc<BuilderHandle>,
        config: &mut UniquePtr<IBuilderConfig>,
        data: &[u8],
    ) -> Result<Self> {
        // SAFETY: the data is valid for the call, and copied by it.
        let raw = unsafe { config.createTimingCache(address(data), data.len()) };
        if raw.is_null() {
            return Err(builder.not_created("a timing cache"));
        }
        // SAFETY: a new object that only this cache owns.
        let raw = unsafe { UniquePtr::from_raw(raw) };
        if !config.pin_mut().setTimingCache(&raw, false) {
            return Err(Error::Setting {
                setting: "timing cache",
                value: format!("{} bytes", data.len()),
                log: builder.logger.tail(),
            });
        }
        Ok(Self { raw, _builder: Rc::clone(builder) })
    }

    /// The measurements, to be kept in a file.
    ///
    /// # Errors
    /// [`Error::Create`] when TensorRT gives none.
    pub fn serialize(&self) -> Result<SerializedEngine> {
        // SAFETY: the cache lives; the caller owns the host memory returned.
        let memory = unsafe { SerializedEngine::take(trtforge_timing_cache_serialize(self.raw.as_ptr().cast())) };
        memory.ok_or_else(|| self._builder.not_created("a copy of the timing cache"))
    }
}
