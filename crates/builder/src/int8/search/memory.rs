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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use trtforge_graph::{Graph, Model, ValueId, construct};

    /// A plan whose only scale stands for its bytes.
    fn plan(bytes: usize) -> Plan {
        let mut graph = trtforge_graph::proto::GraphProto::new();
        graph.node.push(construct::node("Relu", "relu", ["x"], ["y"]));
        graph.input.push(construct::tensor_value("x", trtforge_graph::ElementType::Float32, [1]));
        let graph = Graph::new(Model::from_proto(construct::model(graph, 10, 17))).unwrap();
        let value: ValueId = graph.graph_inputs()[0];
        Plan { scales: [(value, bytes as f32)].into(), ..Plan::default() }
    }

    fn bytes(plan: &Plan) -> u64 {
        plan.scales.values().sum::<f32>() as u64
    }

    #[test]
    fn a_hundredth_more_than_the_first_plan_is_covered() {
        let weigh = |plan: &Plan| Ok(bytes(plan));
        let mut memory = Allowance::new(Some(&weigh));
        assert!(memory.covers(&plan(1000), &plan(1010)).unwrap());
        assert!(!memory.covers(&plan(1010), &plan(1011)).unwrap(), "growth adds up");
        assert!(memory.covers(&plan(1010), &plan(900)).unwrap());
    }

    #[test]
    fn builds_come_to_an_end() {
        let built = AtomicUsize::new(0);
        let weigh = |plan: &Plan| {
            built.fetch_add(1, Ordering::Relaxed);
            Ok(bytes(plan))
        };
        let mut memory = Allowance::new(Some(&weigh));
        let covered = (0..100).filter(|_| memory.covers(&plan(1000), &plan(1000)).unwrap()).count();
        assert_eq!((covered, built.into_inner()), (MOST_BUILDS, MOST_BUILDS + 1));
    }

    #[test]
    fn what_cannot_be_built_is_not_covered() {
        let weigh = |plan: &Plan| match bytes(plan) {
            0 => Err(Error::Cancelled),
            1 => Err(Error::Usage("does not build".into())),
            bytes => Ok(bytes),
        };
        let mut memory = Allowance::new(Some(&weigh));
        assert!(memory.covers(&plan(1), &plan(1000)).is_err(), "without the present plan there is nothing to compare");
        assert!(!memory.covers(&plan(1000), &plan(1)).unwrap());
        assert!(matches!(memory.covers(&plan(1000), &plan(0)), Err(Error::Cancelled)));
        assert!(Allowance::new(None).covers(&plan(1), &plan(1)).unwrap());
    }
}
