//! Engines: a TensorRT plan on a GPU, an ONNX model on the CPU, or a Rust function, behind one type.

mod bundle;
mod fault;
pub(crate) mod function;
#[cfg(feature = "tensorrt")]
#[allow(unsafe_code)]
pub(crate) mod gpu_lane;
mod kind;
mod layout;
mod manifest;
#[cfg(feature = "onnx")]
pub(crate) mod onnx;
mod options;
mod plan_file;
#[cfg_attr(not(feature = "tensorrt"), allow(dead_code))]
mod replay;
mod request;
mod signature;
mod source;
#[cfg(feature = "tensorrt")]
#[allow(unsafe_code)]
pub(crate) mod tensorrt;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use fault::EngineFault;
pub use function::{Call, Function, Inputs, MAX_TENSORS, Outputs};
pub use options::EngineOptions;
pub use request::Request;
pub use signature::{Declared, Direction, Profile, ShapeRange, Signature, TensorInfo};

pub(crate) use kind::Kind;
pub(crate) use layout::{Layout, shape_by_name};
pub(crate) use signature::Formats;

use crate::device::Class;
use crate::error::Result;
use crate::ledger::{Entry, Ledger, Plan};
use crate::session::{Session, SessionOptions};
use crate::stages::StageStatistics;

/// An engine, loaded. Cheap to clone, usable from any thread; sessions keep it alive.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    name: Arc<str>,
    signature: Signature,
    kind: Kind,
    ledger: Ledger,
    weights: Entry,
    sessions: AtomicU64,
}

impl Engine {
    /// Opens a file with the default options: an `.onnx` model on the CPU, an `.engine` on the first GPU.
    ///
    /// # Errors
    /// As for [`EngineOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        EngineOptions::default().open(path)
    }

    /// A Rust function as an engine.
    ///
    /// # Errors
    /// As for [`EngineOptions::function`].
    pub fn function(name: &str, function: impl Function) -> Result<Self> {
        EngineOptions { name: Some(name.to_owned()), ..EngineOptions::default() }.function(function)
    }

    pub(crate) fn new(name: &str, signature: Signature, kind: Kind, ledger: Ledger, weights: Entry) -> Self {
        let (name, sessions) = (Arc::from(name), AtomicU64::new(0));
        Self { inner: Arc::new(Inner { name, signature, kind, ledger, weights, sessions }) }
    }

    /// The name that its weights are entered under in the ledger.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// What it takes and gives.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.inner.signature
    }

    /// The ledger that it and its sessions are in.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.inner.ledger
    }

    /// Name of the device that it runs on.
    #[must_use]
    pub fn device(&self) -> &str {
        self.inner.kind.device()
    }

    /// Whether inputs and outputs are read and written in place, so that nothing is copied to and fro.
    #[must_use]
    pub fn is_unified(&self) -> bool {
        self.inner.kind.is_unified()
    }

    /// What became of its stages so far, in order; none where it does not run in stages.
    #[must_use]
    pub fn stages(&self) -> Vec<StageStatistics> {
        match &self.inner.kind {
            Kind::Staged(staged) => staged.statistics(),
            #[cfg(feature = "tensorrt")]
            Kind::StagedOnGpu(staged) => staged.statistics(),
            _ => Vec::new(),
        }
    }

    /// Bytes that it holds itself.
    pub(crate) fn weights_bytes(&self) -> u64 {
        self.inner.weights.bytes()
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.inner.kind
    }

    /// Memory that this engine and one session of this kind take together; nothing is allocated for the answer.
    ///
    /// The ledger shows exactly this once the session is there. Of an engine that runs in stages this is the most at one time:
    /// with all stages, where the ledger's budget has room for them, otherwise at the stage that takes most; what a limit
    /// allows beyond that is used to keep more stages. Weights and activations of an ONNX model lie in memory
    /// that ONNX Runtime manages by itself: of it the plan has the weights as the file holds them.
    ///
    /// # Errors
    /// The request fits no profile of the engine, or leaves a dimension open.
    pub fn plan(&self, request: &Request) -> Result<Plan> {
        Ok(self.plan_of(&self.layout(request)?, request))
    }

    pub(crate) fn plan_of(&self, layout: &Layout, request: &Request) -> Plan {
        match &self.inner.kind {
            Kind::Staged(staged) => return staged.plan(layout, request),
            #[cfg(feature = "tensorrt")]
            Kind::StagedOnGpu(staged) => return staged.plan(layout, request),
            _ => {}
        }
        let slots = request.slots as u64;
        let (inputs, outputs) = (layout.inputs_total(), layout.outputs_total());
        let mut plan = Plan::of(Class::Weights, self.inner.weights.bytes());
        plan += Plan::of(Class::Io, (inputs + outputs).saturating_mul(slots));
        if !self.inner.kind.is_unified() {
            plan += Plan::of(Class::PinnedInput, inputs.saturating_mul(slots));
            plan += Plan::of(Class::PinnedOutput, outputs.saturating_mul(slots));
        }
        if !request.shares_activations {
            plan += Plan::of(Class::Activation, self.activation_bytes(layout).saturating_mul(slots));
        }
        plan
    }

    /// Bytes of the block that sessions of this kind can share with others through a [`crate::Workspace`].
    ///
    /// # Errors
    /// As for [`Self::plan`].
    pub fn workspace_bytes(&self, request: &Request) -> Result<u64> {
        Ok(self.activation_bytes(&self.layout(request)?))
    }

    pub(crate) fn activation_bytes(&self, layout: &Layout) -> u64 {
        self.inner.kind.activation_bytes(layout)
    }

    pub(crate) fn layout(&self, request: &Request) -> Result<Layout> {
        self.inner.kind.layout(&self.inner.signature, request)
    }

    /// A session: everything that runs need is allocated here, and nothing later.
    ///
    /// # Errors
    /// As for [`Self::plan`]; [`crate::Error::OverBudget`] before anything is allocated; [`crate::Error::OutOfMemory`],
    /// after which everything is as it was before.
    pub fn session(&self, options: SessionOptions) -> Result<Session> {
        let number = self.inner.sessions.fetch_add(1, Ordering::Relaxed);
        Session::new(self, options, number)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Engine").field("name", &self.name()).field("device", &self.device()).finish_non_exhaustive()
    }
}
