//! One stage of a network: what it takes and gives, what it weighs, and how it is loaded.

use std::fmt;

use crate::engine::{Engine, EngineOptions, Signature};
use crate::error::Result;

type Load = dyn Fn(&EngineOptions) -> Result<Engine> + Send + Sync;

/// One stage of a network that runs in several, one after another. Tensors of one name are the same tensor in all stages.
pub struct Stage {
    pub(crate) name: String,
    pub(crate) signature: Signature,
    pub(crate) weights_bytes: u64,
    pub(crate) activation_bytes: u64,
    pub(crate) load: Box<Load>,
}

impl Stage {
    /// A stage that `load` brings into memory, again and again where memory is short. Open dimensions of its tensors have
    /// names that inputs of the whole network have.
    pub fn new(
        name: &str,
        signature: Signature,
        load: impl Fn(&EngineOptions) -> Result<Engine> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.to_owned(), signature, weights_bytes: 0, activation_bytes: 0, load: Box::new(load) }
    }

    /// The same with the bytes that it holds while it is loaded, and those that a run needs beside its tensors, at the
    /// largest shapes.
    #[must_use]
    pub fn with_memory(mut self, weights_bytes: u64, activation_bytes: u64) -> Self {
        (self.weights_bytes, self.activation_bytes) = (weights_bytes, activation_bytes);
        self
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Stage")
            .field("name", &self.name)
            .field("weights_bytes", &self.weights_bytes)
            .field("activation_bytes", &self.activation_bytes)
            .finish_non_exhaustive()
    }
}
