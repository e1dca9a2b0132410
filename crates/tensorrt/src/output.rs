//! The place for an output whose size only a run tells.
//!
//! TensorRT asks for memory while a run starts. What it gets is one block of a size that was settled before, so that no run
//! allocates; an output that turns out larger makes the run fail.

use std::ffi::c_void;
use std::ptr::NonNull;

use crate::dimensions::MOST_DIMENSIONS;
use crate::shim::{
    RawOutput, trtforge_output_create, trtforge_output_destroy, trtforge_output_forget, trtforge_output_shape,
    trtforge_output_wanted,
};
use crate::{Error, Result};

/// A block for one output, as TensorRT sees it; the context that uses it must be gone before it goes.
pub(crate) struct OutputBlock {
    raw: NonNull<RawOutput>,
}

// SAFETY: a plain object on the heap that belongs to one context, whose user is the only one.
unsafe impl Send for OutputBlock {}

impl OutputBlock {
    /// A place of `bytes` bytes at `memory`, which is not looked at here.
    pub(crate) fn new(memory: *mut c_void, bytes: u64) -> Result<Self> {
        // SAFETY: keeps the address and nothing else.
        let raw = NonNull::new(unsafe { trtforge_output_create(memory, bytes) });
        Ok(Self { raw: raw.ok_or(Error::Create { what: "a place for an output", log: Vec::new() })? })
    }

    pub(crate) fn as_ptr(&self) -> *mut RawOutput {
        self.raw.as_ptr()
    }

    /// Forgets the last run.
    pub(crate) fn forget(&mut self) {
        // SAFETY: made by `new`, and alive.
        unsafe { trtforge_output_forget(self.raw.as_ptr()) };
    }

    /// Bytes that the last run asked for; 0 if it did not.
    pub(crate) fn wanted_bytes(&self) -> u64 {
        // SAFETY: as above.
        unsafe { trtforge_output_wanted(self.raw.as_ptr()) }
    }

    /// The shape that the last run told, in the first of `sizes`; nothing if it told none.
    pub(crate) fn shape<'s>(&self, sizes: &'s mut [i64; MOST_DIMENSIONS]) -> Option<&'s [i64]> {
        // SAFETY: as above; at most as many sizes are written as there is room for.
        let rank = unsafe { trtforge_output_shape(self.raw.as_ptr(), sizes.as_mut_ptr(), MOST_DIMENSIONS as i32) };
        sizes.get(..usize::try_from(rank).ok()?)
    }
}

impl Drop for OutputBlock {
    fn drop(&mut self) {
        // SAFETY: made by `new`, destroyed once; by this type's contract no context points to it any more.
        unsafe { trtforge_output_destroy(self.raw.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shim::trtforge_output_run;

    fn run(block: &OutputBlock, bytes: u64, alignment: u64, sizes: &[i64]) -> *mut c_void {
        // SAFETY: the block lives, and so do the sizes.
        unsafe { trtforge_output_run(block.as_ptr(), bytes, alignment, sizes.as_ptr(), sizes.len() as i32) }
    }

    #[test]
    fn a_run_gets_the_block_where_it_fits_and_tells_its_shape() {
        let memory = 0x1000 as *mut c_void;
        let mut block = OutputBlock::new(memory, 100).expect("memory for a few words");
        let mut sizes = [0; MOST_DIMENSIONS];
        assert_eq!(block.shape(&mut sizes), None);
        for (bytes, given) in [(1, true), (100, true), (101, false), (u64::MAX, false)] {
            let got = run(&block, bytes, 256, &[5, 4]);
            assert_eq!(got == memory, given, "{bytes}");
            assert_eq!(got.is_null(), !given);
            assert_eq!(block.wanted_bytes(), bytes);
        }
        assert_eq!(block.shape(&mut sizes), Some(&[5, 4][..]));
        assert!(run(&block, 1, 0x2000, &[]).is_null(), "not so aligned");
        assert_eq!(block.shape(&mut sizes), Some(&[][..]), "a scalar has a shape");
        block.forget();
        assert_eq!((block.shape(&mut sizes), block.wanted_bytes()), (None, 0));
    }
}
