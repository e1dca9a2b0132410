//! An NVIDIA GPU, through the driver's shared library, which is opened when it is first asked for.
//!
//! Memory is allocated at once and for good, not from the driver's stream-ordered pool, so that what the ledger says is
//! what the device has given. Locked host memory for inputs is write-combined: quick to write, slow to read back.
//!
//! A stream holds every block that work in it touches until it was waited for. Blocks are freed by whoever lets go last,
//! so neither order of drops nor a stream that is never dropped lets the GPU touch memory that is gone.

mod graph;

pub use graph::CudaGraph;

use std::ffi::c_void;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;

use super::{Class, Device, Memory, MemoryInfo};
use crate::error::{Error, Result};

/// A GPU.
#[derive(Clone)]
pub struct Cuda {
    context: Arc<Context>,
}

struct Context {
    device: sys::CUdevice,
    raw: sys::CUcontext,
    name: String,
    compute_capability: (u32, u32),
    start: Instant,
}

// SAFETY: a primary context belongs to the process, not to a thread; every use makes it current on its own thread first.
unsafe impl Send for Context {}
// SAFETY: as above; the driver's calls may be made from several threads at once.
unsafe impl Sync for Context {}

impl Cuda {
    /// The GPU of that number, from 0.
    ///
    /// # Errors
    /// [`Error::NoGpu`] without a driver, when it does not start, or has no such GPU.
    pub fn open(number: u32) -> Result<Self> {
        let none = |reason: String| Error::NoGpu { reason };
        // SAFETY: opens the driver's library, whose initialisers any program may run.
        if !unsafe { sys::is_culib_present() } {
            return Err(none("the NVIDIA driver (libcuda.so.1) is not installed".to_owned()));
        }
        let failed = |what: &str, error: DriverError| Error::NoGpu { reason: format!("{what}: {}", text(error)) };
        result::init().map_err(|error| failed("the driver does not start", error))?;
        let count = result::device::get_count().map_err(|error| failed("the driver lists no GPU", error))?;
        let ordinal = i32::try_from(number).ok().filter(|ordinal| *ordinal < count);
        let ordinal = ordinal.ok_or_else(|| none(format!("there is no GPU {number}; the driver lists {count}")))?;
        let context = Context::new(ordinal).map_err(|error| failed("the GPU cannot be used", error))?;
        Ok(Self { context: Arc::new(context) })
    }

    /// Compute capability, such as 8 and 6.
    #[must_use]
    pub fn compute_capability(&self) -> (u32, u32) {
        self.context.compute_capability
    }

    /// Whether it is the same GPU, with memory that both can address.
    #[cfg(feature = "tensorrt")]
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.context.raw == other.context.raw
    }

    /// A new event that also keeps the time at which it passed, for [`CudaEvent::since`].
    ///
    /// # Errors
    /// The device makes none.
    pub fn timed_event(&self) -> Result<CudaEvent> {
        self.make_event(sys::CUevent_flags::CU_EVENT_DEFAULT)
    }

    fn make_event(&self, flags: sys::CUevent_flags) -> Result<CudaEvent> {
        let raw = self.context.call("cuEventCreate", |_| result::event::create(flags))?;
        Ok(CudaEvent { context: Arc::clone(&self.context), raw })
    }

    /// Makes this GPU the one that calls from this thread go to.
    #[cfg(feature = "tensorrt")]
    pub(crate) fn make_current(&self) -> Result<()> {
        self.context.call("cuCtxSetCurrent", |_| Ok(()))
    }
}

impl Context {
    fn new(ordinal: i32) -> std::result::Result<Self, DriverError> {
        let device = result::device::get(ordinal)?;
        let name = result::device::get_name(device)?;
        let attribute = |attribute| {
            // SAFETY: the device was just given by the driver.
            unsafe { result::device::get_attribute(device, attribute) }.map(i32::unsigned_abs)
        };
        let major = attribute(sys::CUdevice_attribute_enum::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(sys::CUdevice_attribute_enum::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        // SAFETY: as above; what is retained here is released by `Drop`.
        let raw = unsafe { result::primary_ctx::retain(device)? };
        Ok(Self { device, raw, name, compute_capability: (major, minor), start: Instant::now() })
    }

    /// Makes the context current on this thread and calls the driver.
    fn call<T>(&self, call: &'static str, run: impl FnOnce(&Self) -> std::result::Result<T, DriverError>) -> Result<T> {
        // SAFETY: the context is retained as long as this lives.
        let current = unsafe { result::ctx::set_current(self.raw) };
        current.and_then(|()| run(self)).map_err(|error| self.error(call, error))
    }

    fn error(&self, call: &'static str, error: DriverError) -> Error {
        Error::Device { device: self.name.clone(), call, reason: text(error) }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: retained once in `new`; blocks, streams and events keep the context alive, so none is left. A failure
        // means that the driver is going down with the process, and nobody could do anything about it.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}

fn text(error: DriverError) -> String {
    error.error_string().map_or_else(|_| format!("{:?}", error.0), |text| text.to_string_lossy().into_owned())
}

/// A block of GPU memory, or of locked host memory.
pub struct CudaMemory {
    block: Arc<Block>,
}

struct Block {
    context: Arc<Context>,
    class: Class,
    /// Valid on the device, and for locked memory on the host too; 0 where there are no bytes.
    address: sys::CUdeviceptr,
    bytes: u64,
}

impl CudaMemory {
    /// Its address on the device.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.block.address
    }
}

impl Memory for CudaMemory {
    fn class(&self) -> Class {
        self.block.class
    }

    fn len(&self) -> u64 {
        self.block.bytes
    }

    fn bytes(&mut self) -> Option<&mut [u8]> {
        let block = Arc::get_mut(&mut self.block)?;
        if !block.class.is_pinned() {
            return None;
        }
        if block.bytes == 0 {
            return Some(&mut []);
        }
        // SAFETY: locked host memory of that many bytes, zeroed when it was allocated and owned by the block, of which
        // this is the only holder: no stream has work on it.
        Some(unsafe { std::slice::from_raw_parts_mut(block.address as *mut u8, block.bytes as usize) })
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        // An error here is one of earlier work, which whoever waited for that was told.
        let _ = self.context.call("free", |_| {
            // SAFETY: allocated in `allocate` by the matching call, freed once, and no stream holds the block any more.
            unsafe {
                if self.class.is_pinned() {
                    result::free_host(self.address as *mut c_void)
                } else {
                    result::free_sync(self.address)
                }
            }
        });
    }
}

impl fmt::Debug for CudaMemory {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "CudaMemory({}, {} bytes)", self.block.class, self.block.bytes)
    }
}

/// Work in order on a GPU.
pub struct CudaStream {
    context: Arc<Context>,
    raw: sys::CUstream,
    /// What work in it touches, until it was waited for.
    held: Vec<Arc<Block>>,
}

// SAFETY: a stream is tied to no thread; owning it makes its user the only one.
unsafe impl Send for CudaStream {}

impl CudaStream {
    /// The driver's handle.
    #[must_use]
    pub fn as_raw(&self) -> *mut c_void {
        self.raw.cast()
    }

    /// Keeps a block from showing its bytes, and from going, until the stream was waited for. A session's blocks are
    /// held from its first run on, so this allocates nothing later.
    pub fn hold(&mut self, memory: &CudaMemory) {
        if !self.held.iter().any(|held| Arc::ptr_eq(held, &memory.block)) {
            self.held.push(Arc::clone(&memory.block));
        }
    }

    fn synchronize(&mut self) -> Result<()> {
        let raw = self.raw;
        // SAFETY: the stream lives.
        let waited = self.context.call("cuStreamSynchronize", |_| unsafe { result::stream::synchronize(raw) });
        if let Err(Error::Device { device, reason, .. }) = waited {
            return Err(Error::Late { device, reason });
        }
        self.held.clear();
        waited
    }
}

impl Drop for CudaStream {
    fn drop(&mut self) {
        if self.synchronize().is_err() {
            // The GPU may still be at work on these: they stay.
            self.held.drain(..).for_each(std::mem::forget);
        }
        let raw = self.raw;
        // SAFETY: made by `stream`, destroyed once.
        let _ = self.context.call("cuStreamDestroy", |_| unsafe { result::stream::destroy(raw) });
    }
}

/// A point in a GPU's stream.
pub struct CudaEvent {
    context: Arc<Context>,
    raw: sys::CUevent,
}

// SAFETY: an event is tied to no thread, and the driver's calls on one may be made from several.
unsafe impl Send for CudaEvent {}
// SAFETY: as above.
unsafe impl Sync for CudaEvent {}

impl CudaEvent {
    /// Blocks until what it marks is done.
    ///
    /// # Errors
    /// [`Error::Late`] when work before it failed.
    pub fn synchronize(&self) -> Result<()> {
        // SAFETY: the event lives.
        let waited = self.context.call("cuEventSynchronize", |_| unsafe { result::event::synchronize(self.raw) });
        waited.map_err(|error| match error {
            Error::Device { device, reason, .. } => Error::Late { device, reason },
            other => other,
        })
    }

    /// Time on the GPU from when `earlier` passed to when this one did; both are [`Cuda::timed_event`]s that have passed.
    ///
    /// # Errors
    /// One of them was never recorded, has not passed, or keeps no time.
    pub fn since(&self, earlier: &Self) -> Result<Duration> {
        // SAFETY: both events live.
        let elapsed = |_: &Context| unsafe { result::event::elapsed(earlier.raw, self.raw) };
        let milliseconds = self.context.call("cuEventElapsedTime", elapsed)?;
        Ok(Duration::try_from_secs_f64(f64::from(milliseconds) / 1e3).unwrap_or_default())
    }
}

impl Drop for CudaEvent {
    fn drop(&mut self) {
        // SAFETY: made by `event`, destroyed once; the driver defers that until streams have passed it.
        let _ = self.context.call("cuEventDestroy", |_| unsafe { result::event::destroy(self.raw) });
    }
}

impl Device for Cuda {
    type Memory = CudaMemory;
    type Stream = CudaStream;
    type Event = CudaEvent;

    fn name(&self) -> &str {
        &self.context.name
    }

    fn memory_info(&self) -> Result<MemoryInfo> {
        let (free, total) = self.context.call("cuMemGetInfo", |_| result::mem_get_info())?;
        Ok(MemoryInfo { total_bytes: total as u64, free_bytes: free as u64 })
    }

    fn now(&self) -> Duration {
        self.context.start.elapsed()
    }

    fn is_unified(&self) -> bool {
        false
    }

    fn allocate(&self, class: Class, bytes: u64) -> Result<CudaMemory> {
        let context = Arc::clone(&self.context);
        let refused = |free_bytes| Error::OutOfMemory { device: context.name.clone(), class, bytes, free_bytes };
        let Ok(length) = usize::try_from(bytes) else { return Err(refused(None)) };
        let address = match self.context.call("allocation", |_| Ok(reserve(class, length)))? {
            Ok(address) => address,
            Err(error) if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                return Err(refused(self.memory_info().ok().map(|info| info.free_bytes)));
            }
            Err(error) => return Err(self.context.error("allocation", error)),
        };

        Ok(CudaMemory { block: Arc::new(Block { context, class, address, bytes }) })
    }

    fn stream(&self) -> Result<CudaStream> {
        // Not ordered against the default stream, which other libraries use.
        let create = || result::stream::create(result::stream::StreamKind::NonBlocking);
        let raw = self.context.call("cuStreamCreate", |_| create())?;
        Ok(CudaStream { context: Arc::clone(&self.context), raw, held: Vec::new() })
    }

    fn event(&self) -> Result<CudaEvent> {
        self.make_event(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING)
    }

    fn copy(&self, stream: &mut CudaStream, from: &CudaMemory, to: &CudaMemory, bytes: u64) -> Result<()> {
        if let Some(short) = [from, to].into_iter().find(|memory| memory.len() < bytes) {
            let reason = format!("{bytes} bytes of a block of {}", short.len());
            return Err(Error::Device { device: self.name().to_owned(), call: "copy", reason });
        }
        if bytes == 0 {
            return Ok(());
        }
        stream.hold(from);
        stream.hold(to);
        let (source, target, raw) = (from.address(), to.address(), stream.raw);
        // SAFETY: both blocks are at least that long, unified addresses tell which is where, and the stream holds them
        // until it was waited for.
        let copied = |_: &Context| unsafe { sys::cuMemcpyAsync(target, source, bytes as usize, raw) }.result();
        self.context.call("cuMemcpyAsync", copied)
    }

    fn record(&self, event: &CudaEvent, stream: &mut CudaStream) -> Result<()> {
        // SAFETY: both live.
        self.context.call("cuEventRecord", |_| unsafe { result::event::record(event.raw, stream.raw) })
    }

    fn wait(&self, stream: &mut CudaStream, event: &CudaEvent) -> Result<()> {
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: both live.
        self.context.call("cuStreamWaitEvent", |_| unsafe { result::stream::wait_event(stream.raw, event.raw, flags) })
    }

    fn is_done(&self, event: &CudaEvent) -> Result<bool> {
        // SAFETY: the event lives.
        let answer = |_: &Context| match unsafe { result::event::query(event.raw) } {
            Ok(()) => Ok(true),
            Err(error) if error.0 == sys::CUresult::CUDA_ERROR_NOT_READY => Ok(false),
            Err(error) => Err(error),
        };
        self.context.call("cuEventQuery", answer)
    }

    fn synchronize(&self, stream: &mut CudaStream) -> Result<()> {
        stream.synchronize()
    }
}

/// Memory of `bytes` bytes where `class` belongs; the context is current.
fn reserve(class: Class, bytes: usize) -> std::result::Result<sys::CUdeviceptr, DriverError> {
    if bytes == 0 {
        return Ok(0);
    }
    if !class.is_pinned() {
        // SAFETY: the context is current; the block frees it by the matching call.
        return unsafe { result::malloc_sync(bytes) };
    }
    let flags = if class == Class::PinnedInput { sys::CU_MEMHOSTALLOC_WRITECOMBINED } else { 0 };
    // SAFETY: as above; what is written lies within what was just given.
    unsafe {
        let address = result::malloc_host(bytes, flags)?;
        std::ptr::write_bytes(address.cast::<u8>(), 0, bytes);
        Ok(address as sys::CUdeviceptr)
    }
}

impl fmt::Debug for Cuda {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Cuda({})", self.context.name)
    }
}
