//! Checks a whole model and lists everything that is wrong with it.

pub(crate) mod types;
