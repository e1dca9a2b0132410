//! Runs a detector over image files: what `detect` and `eval` share.
//!
//! Files are read and fitted on threads of their own while the network runs; between all of them are short queues, so that
//! memory does not grow with the number of files, and everything comes out in the order of the files.

mod input;
mod lane;
mod network;
mod outputs;
mod photo;
mod pipeline;
mod settings;

pub use lane::Lane;
pub use network::Network;
pub use photo::{Answer, NO_PROBABILITY, Photo};
pub use pipeline::{Job, run};
pub use settings::{Purpose, Settings, model_and_config};
