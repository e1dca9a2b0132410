//! The program's allocator: the system's, which counts while somebody wants to know.
//!
//! Only `bench` does. Otherwise an allocation costs one load of a flag that nobody writes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static WANTED: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// Counts from now on, on all threads.
pub fn start() {
    WANTED.store(true, Ordering::Relaxed);
}

/// Allocations since [`start`], those that moved to another place to grow included.
pub fn so_far() -> u64 {
    ALLOCATIONS.load(Ordering::Relaxed)
}

fn count() {
    if WANTED.load(Ordering::Relaxed) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    // The default would write zeros where the system knows that there are some.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_is_counted_once_somebody_wants_to_know() {
        start();
        let before = so_far();
        let mut values = std::hint::black_box(vec![0u8; 100]);
        values.reserve_exact(10_000);
        assert!(so_far() >= before + 2, "one that was zeroed and one that grew");
    }
}
