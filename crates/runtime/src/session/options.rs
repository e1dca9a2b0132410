//! How a session is made.

use super::Workspace;
use crate::engine::Request;

/// How a session is made.
#[derive(Debug, Clone, Default)]
pub struct SessionOptions {
    /// What it is to be able to do.
    pub request: Request,
    /// Most device memory for the engine's weights and this session together, in bytes; the ledger's budget holds
    /// beside it.
    pub budget_bytes: Option<u64>,
    /// Whether runs are to be captured as CUDA graphs; [`super::Session::cuda_graph`] tells what came of it.
    pub cuda_graph: bool,
    /// Whether runs are timed, for [`super::Session::timing`]. On a GPU that is four events per run.
    pub timed: bool,
    /// Whether inputs and outputs stay on the device and nothing is copied, to see what the copies cost. Outputs are then
    /// those of no run; where nothing is ever copied this changes nothing.
    pub without_copies: bool,
    /// A block for activations that other sessions use too. Runs that share one happen one after another.
    pub workspace: Option<Workspace>,
}

impl From<Request> for SessionOptions {
    fn from(request: Request) -> Self {
        Self { request, ..Self::default() }
    }
}
