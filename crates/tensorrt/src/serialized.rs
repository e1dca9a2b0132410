//! A serialised engine in the memory that TensorRT allocated for it: read in place, never copied.

use std::fmt;
use std::ops::Deref;

use cxx::UniquePtr;
use trtx_sys::nvinfer1::IHostMemory;

/// A serialised engine (TensorRT calls it a plan); read it as a byte slice.
///
/// It owns its memory and depends on no other object, so the builder may go first.
pub struct SerializedEngine(UniquePtr<IHostMemory>);

// SAFETY: plain memory of the heap with nothing else behind it; reading it touches no shared state
// and freeing it may happen on any thread.
unsafe impl Send for SerializedEngine {}
// SAFETY: as for `Send`; shared access only reads.
unsafe impl Sync for SerializedEngine {}

impl SerializedEngine {
    /// Takes over host memory that TensorRT returned; `None` for null.
    ///
    /// # Safety
    /// `memory` is null or an `IHostMemory` that nobody else owns.
    pub(crate) unsafe fn take(memory: *mut IHostMemory) -> Option<Self> {
        if memory.is_null() {
            return None;
        }
        // SAFETY: by this function's contract the caller gives it away.
        Some(Self(unsafe { UniquePtr::from_raw(memory) }))
    }
}

impl Deref for SerializedEngine {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let data = self.0.data().cast::<u8>();
        if data.is_null() {
            return &[];
        }
        // SAFETY: TensorRT guarantees `size` bytes at `data` for as long as the object lives, which
        // the borrow of `self` ensures; nobody writes to them.
        unsafe { std::slice::from_raw_parts(data, self.0.size()) }
    }
}

impl fmt::Debug for SerializedEngine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SerializedEngine({} bytes)", self.len())
    }
}
