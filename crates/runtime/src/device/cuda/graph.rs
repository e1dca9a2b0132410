//! Work that is recorded once and started again and again by one call.

use std::sync::Arc;

use cudarc::driver::result;
use cudarc::driver::sys;

use super::{Context, Cuda, CudaMemory, CudaStream};
use crate::device::Device;
use crate::error::{Error, Result};

/// Work captured from a stream, in a form that the driver starts as a whole.
pub struct CudaGraph {
    context: Arc<Context>,
    raw: sys::CUgraphExec,
    /// Address and bytes of every block that the work touches.
    blocks: Vec<(u64, u64)>,
}

// SAFETY: an executable graph is tied to no thread; owning it makes its user the only one.
unsafe impl Send for CudaGraph {}

impl Drop for CudaGraph {
    fn drop(&mut self) {
        let raw = self.raw;
        // SAFETY: made by `capture`, destroyed once; the driver lets a launch that is under way end first.
        let _ = self.context.call("cuGraphExecDestroy", |_| unsafe { result::graph::exec_destroy(raw) });
    }
}

impl Cuda {
    /// Records what `work` gives `stream` instead of doing it. Calls into libraries that `work` makes must be good for every
    /// launch.
    ///
    /// # Errors
    /// [`Error::InFlight`] for a stream that was given work and not waited for since; what `work` fails with, or the driver when something in it cannot be captured; the stream works as before then.
    pub fn capture(
        &self,
        stream: &mut CudaStream,
        work: impl FnOnce(&mut CudaStream) -> Result<()>,
    ) -> Result<CudaGraph> {
        if !stream.held.is_empty() {
            return Err(Error::InFlight { what: "the stream".to_owned() });
        }
        let raw = stream.raw;
        // Other threads go on allocating meanwhile; only this one may do nothing that cannot be captured.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives.
        self.context.call("cuStreamBeginCapture", |_| unsafe { result::stream::begin_capture(raw, mode) })?;
        let given = work(stream);
        // SAFETY: as above. Ends the capture however `work` ended.
        let ended = self.context.call("cuStreamEndCapture", |_| unsafe { result::stream::end_capture(raw) });
        // Nothing was done yet, so nothing needs what the work would touch.
        let blocks = stream.held.drain(..).map(|block| (block.address, block.bytes)).collect();
        given?;
        let graph = ended?;
        if graph.is_null() {
            let reason = "the capture was broken off".to_owned();
            return Err(Error::Device { device: self.name().to_owned(), call: "cuStreamEndCapture", reason });
        }
        // SAFETY: a graph that the driver just gave; the executable one does not need it any more.
        let made = self.context.call("cuGraphInstantiate", |_| unsafe {
            let made = result::graph::instantiate(graph, sys::CUgraphInstantiate_flags_enum(0));
            let _ = result::graph::destroy(graph);
            made
        });
        Ok(CudaGraph { context: Arc::clone(&self.context), raw: made?, blocks })
    }

    /// Starts captured work in `stream`, which holds `memory` until it was waited for; returns at once.
    ///
    /// # Errors
    /// A block that the work touches is not in `memory`; the driver refuses.
    pub fn launch<'m>(
        &self,
        graph: &CudaGraph,
        stream: &mut CudaStream,
        memory: impl Iterator<Item = &'m CudaMemory>,
    ) -> Result<()> {
        memory.for_each(|memory| stream.hold(memory));
        let is_held = |block: &&(u64, u64)| stream.held.iter().any(|held| (held.address, held.bytes) == **block);
        if let Some((_, bytes)) = graph.blocks.iter().find(|block| !is_held(block)) {
            let reason = format!("a block of {bytes} bytes that the graph touches is not among those given");
            return Err(Error::Device { device: self.name().to_owned(), call: "launch of a graph", reason });
        }
        let (executable, raw) = (graph.raw, stream.raw);
        // SAFETY: both live; the stream holds every block that the work touches.
        self.context.call("cuGraphLaunch", |_| unsafe { result::graph::launch(executable, raw) })
    }
}
