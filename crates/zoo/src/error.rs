//! What can be wrong with a request for a generated model. Each variant carries what was asked and what is allowed.

use crate::options::{LARGEST_SIZE, SIZE_STEP};
use crate::variants::Variant;

/// Why a model was not generated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No network of that name.
    #[error("the zoo has no network named `{name}`")]
    UnknownVariant {
        /// The name that was asked for.
        name: String,
    },
    /// The input cannot be halved five times.
    #[error("an input of {size} x {size} pixels does not fit the network")]
    Size {
        /// The size that was asked for, in pixels.
        size: u32,
    },
    /// A fixed batch of no images.
    #[error("a fixed batch needs at least one image")]
    EmptyBatch,
}

impl Error {
    /// What to do next, if there is something to say beyond the message.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownVariant { .. } => {
                let names: Vec<_> = Variant::ALL.iter().map(|variant| variant.name()).collect();
                Some(format!("one of: {}", names.join(", ")))
            }
            Self::Size { .. } => Some(format!("use a multiple of {SIZE_STEP} from {SIZE_STEP} to {LARGEST_SIZE}")),
            Self::EmptyBatch => Some("use a batch of 1 or more, or a dynamic batch".to_owned()),
        }
    }
}
