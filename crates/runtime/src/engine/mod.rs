//! Engines.

mod fault;
mod signature;

pub use fault::EngineFault;
pub use signature::{Declared, Direction, Profile, ShapeRange, Signature, TensorInfo};
