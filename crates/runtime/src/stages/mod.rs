//! Networks that run in stages, so that memory holds the part that runs and not the whole.
//!
//! A [`Stage`] is a part of a network that is loaded by itself. What stages give to each other, the boundary tensors, is all
//! that stays between them. Where everything fits, everything stays; where it does not, stages come and go: the next is
//! loaded while the current one runs, and the one that is needed last is given up. Planning (`chain`, `sizes`, `policy`) is
//! pure; `store` holds what is loaded, `lane` the blocks of a slot, and `device` says what differs between host and GPU.

mod admission;
mod chain;
mod device;
#[cfg(feature = "tensorrt")]
#[allow(unsafe_code)]
mod gpu;
mod host;
mod lane;
mod loaded;
mod policy;
mod sizes;
mod stage;
mod staged;
mod statistics;
mod store;

pub(crate) use admission::{Admitted, Terms};
pub(crate) use chain::Chain;
pub(crate) use lane::{StagedLane, StagedLaneOptions};
pub use stage::Stage;
pub(crate) use staged::Staged;
#[cfg(feature = "tensorrt")]
pub(crate) use staged::staged_on_gpu;
#[cfg(feature = "onnx")]
pub(crate) use staged::staged_on_host;
pub use statistics::StageStatistics;
