//! What a session is to be able to do.

use std::collections::BTreeMap;

use super::ShapeRange;

/// What a session is to be able to do; answered with a [`crate::Plan`] before anything is allocated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Largest batch: the first dimension of every input that is open there. Without, the largest that the engine's
    /// profile allows, or 1 for a model that allows any.
    pub batch: Option<u64>,
    /// Runs that can be under way at a time; each has buffers of its own.
    pub slots: usize,
    /// Ranges of inputs whose other dimensions are open, by name; only for engines without profiles.
    pub shapes: BTreeMap<String, ShapeRange>,
    /// The only profile to be ready for; without, all of them.
    pub profile: Option<usize>,
    /// Whether activations lie in a block that is shared with other sessions, and so are not this one's.
    pub shares_activations: bool,
}

impl Default for Request {
    fn default() -> Self {
        Self { batch: None, slots: 1, shapes: BTreeMap::new(), profile: None, shares_activations: false }
    }
}

impl Request {
    /// A request for runs of up to `batch`, one at a time.
    #[must_use]
    pub fn batch(batch: u64) -> Self {
        Self { batch: Some(batch), ..Self::default() }
    }

    /// The same with that many slots.
    #[must_use]
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = slots;
        self
    }

    /// The same with a range for an input.
    #[must_use]
    pub fn shape(mut self, input: &str, range: ShapeRange) -> Self {
        self.shapes.insert(input.to_owned(), range);
        self
    }
}
