//! One block for the activations of sessions that do not run at the same time.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Shared;
use crate::device::{Class, Host};
use crate::engine::{Engine, Kind};
use crate::error::{Error, Result};
use crate::ledger::{Allocation, Allocator};

/// A block for activations that several sessions use in turn. Cheap to clone; clones are the same block.
///
/// Where two sessions run at once, one waits for the other, so a mistake costs time and nothing else.
#[derive(Clone)]
pub struct Workspace {
    block: Block,
    bytes: u64,
}

#[derive(Clone)]
pub(crate) enum Block {
    Host(Shared<Allocation<Host>>),
    #[cfg(feature = "tensorrt")]
    Cuda(Arc<crate::engine::gpu_lane::SharedBlock>),
}

impl Workspace {
    /// A block of `bytes` bytes on the device of `engine`, in its ledger under the name `owner`. Take the largest
    /// [`Engine::workspace_bytes`] of the sessions that share it.
    ///
    /// # Errors
    /// [`Error::OverBudget`], [`Error::OutOfMemory`].
    pub fn new(engine: &Engine, owner: &str, bytes: u64) -> Result<Self> {
        let on_host = |host: &Host| -> Result<Block> {
            let block =
                Allocator::new(host.clone(), engine.ledger().clone(), owner).allocate(Class::Activation, bytes)?;
            Ok(Block::Host(Arc::new(Mutex::new(block))))
        };
        #[cfg(feature = "tensorrt")]
        let on_gpu = |gpu: &crate::device::Cuda| -> Result<Block> {
            let block = crate::engine::gpu_lane::SharedBlock::new(gpu, engine.ledger(), owner, bytes)?;
            Ok(Block::Cuda(Arc::new(block)))
        };
        let block = match engine.kind() {
            #[cfg(feature = "onnx")]
            Kind::Onnx { host, .. } => on_host(host),
            Kind::Function { host, .. } => on_host(host),
            Kind::Staged(staged) => on_host(&staged.device),
            #[cfg(feature = "tensorrt")]
            Kind::TensorRt(rt) => on_gpu(&rt.gpu),
            #[cfg(feature = "tensorrt")]
            Kind::StagedOnGpu(staged) => on_gpu(&staged.device),
        };
        Ok(Self { block: block?, bytes })
    }

    /// Its size in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The block, if it is large enough for `needed` bytes and lies where `engine` runs.
    pub(crate) fn block(&self, engine: &Engine, needed: u64) -> Result<&Block> {
        let refused = |reason| Err(Error::Request { what: "workspace", value: self.bytes, reason });
        if needed > self.bytes {
            return refused("the session's activations need a larger workspace");
        }
        let is_there = match (&self.block, engine.kind()) {
            #[cfg(feature = "tensorrt")]
            (Block::Cuda(block), Kind::TensorRt(rt)) => block.gpu.is(&rt.gpu),
            #[cfg(feature = "tensorrt")]
            (Block::Cuda(block), Kind::StagedOnGpu(staged)) => block.gpu.is(&staged.device),
            #[cfg(feature = "tensorrt")]
            (Block::Cuda(_), _) | (_, Kind::TensorRt(_) | Kind::StagedOnGpu(_)) => false,
            (Block::Host(_), _) => true,
        };
        if is_there { Ok(&self.block) } else { refused("it lies on another device than the engine runs on") }
    }
}

impl fmt::Debug for Workspace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Workspace({} bytes)", self.bytes)
    }
}

/// Scratch memory of a lane on the host.
pub(crate) enum Scratch {
    Own(Allocation<Host>),
    Shared(Shared<Allocation<Host>>),
}

/// Scratch memory while a run uses it.
pub(crate) enum Taken<'a> {
    Own(&'a mut Allocation<Host>),
    Shared(MutexGuard<'a, Allocation<Host>>),
}

impl Scratch {
    pub(crate) fn take(&mut self) -> Taken<'_> {
        match self {
            Self::Own(block) => Taken::Own(block),
            Self::Shared(block) => Taken::Shared(block.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

impl Taken<'_> {
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        match self {
            Self::Own(block) => block.bytes().unwrap_or_default(),
            Self::Shared(block) => block.bytes().unwrap_or_default(),
        }
    }
}
