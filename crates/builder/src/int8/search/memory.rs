//! Holds what is only wanted against the memory that it takes.
//!
//! Tensors in FP16 take memory that no rule tells: their own size matters only where the engine's arena is fullest, and how tensors pack around them is luck. So plans are built.

use crate::Result;
use crate::int8::plan::Plan;

/// Weights and activation, in bytes, of the engine that a plan gives.
pub type Weigh<'a> = dyn Fn(&Plan) -> Result<u64> + Sync + 'a;

/// How much larger, as a share, an engine may become for accuracy beyond the floor.
const GROWTH: f64 = 0.01;
/// Most plans that are built.
const MOST_BUILDS: usize = 16;

/// The memory that plans may take.
pub(super) struct Allowance<'a> {
    weigh: Option<&'a Weigh<'a>>,
    most_bytes: Option<u64>,
    builds: usize,
}

impl<'a> Allowance<'a> {
    /// An allowance that nothing was taken from yet; none is kept where plans cannot be weighed.
    pub(super) fn new(weigh: Option<&'a Weigh<'a>>) -> Self {
        Allowance { weigh, most_bytes: None, builds: 0 }
    }

    /// Whether `next` takes hardly more memory than the plan that this was asked of first. A plan that gives no engine does not, nor does any once there were builds
    /// enough.
    ///
    /// # Errors
    /// [`crate::Error::Cancelled`]; that of building `present`.
    pub(super) fn covers(&mut self, present: &Plan, next: &Plan) -> Result<bool> {
        let Some(weigh) = self.weigh else { return Ok(true) };
        if self.builds >= MOST_BUILDS {
            return Ok(false);
        }
        let most_bytes = match self.most_bytes {
            Some(bytes) => bytes,
            None => *self.most_bytes.insert((weigh(present)? as f64 * (1.0 + GROWTH)) as u64),
        };
        self.builds += 1;
        match weigh(next) {
            Ok(bytes) => Ok(bytes <= most_bytes),
            Err(crate::Error::Cancelled) => Err(crate::Error::Cancelled),
            Err(_) => Ok(false),
        }
    }
}
