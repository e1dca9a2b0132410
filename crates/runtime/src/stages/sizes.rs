//! Bytes that runs in stages hold, and when. Pure.

use std::sync::Arc;

use super::Chain;
use crate::device::Class;
use crate::ledger::Plan;
use crate::shape::Shape;

/// Bytes of a chain at the largest shapes of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) chain: Arc<Chain>,
    /// Bytes of each tensor.
    pub(crate) tensors: Vec<u64>,
    /// The shape of each tensor.
    pub(crate) largest: Vec<Shape>,
    /// Bytes that each stage needs beside its tensors; none where activations lie in a block of others.
    pub(crate) activations: Vec<u64>,
    pub(crate) slots: u64,
    /// Whether the host reads and writes inputs and outputs in place, so that those of the whole stay.
    pub(crate) unified: bool,
}

impl Sizes {
    /// Whether a tensor has its block for as long as a slot is there, not just while it is live.
    pub(crate) fn stays(&self, tensor: usize) -> bool {
        self.unified && self.chain.tensors[tensor].is_external()
    }

    fn numbers(&self) -> std::ops::Range<usize> {
        0..self.tensors.len()
    }

    /// Bytes on the device that all slots hold whether they run or not.
    pub(crate) fn kept_bytes(&self) -> u64 {
        let kept: u64 = self.numbers().filter(|&it| self.stays(it)).map(|it| self.tensors[it]).sum();
        kept.saturating_mul(self.slots)
    }

    /// Bytes of tensors that are there while `stage` runs and not at other times.
    pub(crate) fn live_bytes(&self, stage: usize) -> u64 {
        let live = |&it: &usize| !self.stays(it) && self.chain.tensors[it].is_live(stage);
        self.numbers().filter(live).map(|it| self.tensors[it]).sum()
    }

    /// Bytes that a run holds while `stage` runs, weights apart, beside what is kept.
    pub(crate) fn turn_bytes(&self, stage: usize) -> u64 {
        self.live_bytes(stage).saturating_add(self.activations[stage])
    }

    /// The most of [`Self::turn_bytes`].
    pub(crate) fn most_turn_bytes(&self) -> u64 {
        (0..self.activations.len()).map(|stage| self.turn_bytes(stage)).max().unwrap_or(0)
    }

    /// The largest activation.
    pub(crate) fn activation_bytes(&self) -> u64 {
        self.activations.iter().copied().max().unwrap_or(0)
    }

    fn pinned(&self) -> Plan {
        if self.unified {
            return Plan::default();
        }
        let bytes = |numbers: &[usize]| {
            let sum: u64 = numbers.iter().map(|&it| self.tensors[it]).sum();
            sum.saturating_mul(self.slots)
        };
        let (inputs, outputs) = (bytes(&self.chain.inputs), bytes(&self.chain.outputs));
        Plan::of(Class::PinnedInput, inputs) + Plan::of(Class::PinnedOutput, outputs)
    }

    /// What is held where all stages and blocks stay.
    pub(crate) fn resident(&self, weights: &[u64]) -> Plan {
        let all: u64 = self.tensors.iter().sum();
        Plan::of(Class::Weights, weights.iter().sum())
            + Plan::of(Class::Activation, self.activation_bytes().saturating_mul(self.slots))
            + Plan::of(Class::Io, all.saturating_mul(self.slots))
            + self.pinned()
    }

    /// What is held at least where stages and blocks come and go: while the stage runs that takes most. `pinned_weights` is
    /// whether all stages stay loaded for another session.
    pub(crate) fn streaming(&self, weights: &[u64], pinned_weights: bool) -> Plan {
        let all: u64 = weights.iter().sum();
        let held = |stage: usize| if pinned_weights { all } else { weights[stage] };
        let sum = |stage: &usize| held(*stage).saturating_add(self.turn_bytes(*stage));
        let Some(most) = (0..weights.len()).rev().max_by_key(sum) else { return self.pinned() };
        Plan::of(Class::Weights, held(most))
            + Plan::of(Class::Activation, self.activations[most])
            + Plan::of(Class::Io, self.live_bytes(most).saturating_add(self.kept_bytes()))
            + self.pinned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::ElementType::Int8;
    use crate::engine::{Signature, TensorInfo};

    fn sizes(unified: bool, slots: u64) -> Sizes {
        let tensors = |names: &[&str]| names.iter().map(|name| TensorInfo::fixed(name, Int8, &[1])).collect();
        let signature = |inputs: &[&str], outputs: &[&str]| Signature {
            inputs: tensors(inputs),
            outputs: tensors(outputs),
            ..Signature::default()
        };
        let stages = [signature(&["x"], &["a", "b"]), signature(&["a"], &["c"]), signature(&["b", "c"], &["y"])];
        let chain = Chain::new(stages.iter().map(|stage| ("it", stage)), &["y"]).unwrap();
        Sizes {
            chain: Arc::new(chain),
            tensors: vec![1, 10, 20, 40, 2],
            largest: vec![],
            activations: vec![5, 7, 3],
            slots,
            unified,
        }
    }

    #[test]
    fn on_the_host_inputs_and_outputs_of_the_whole_stay() {
        let sizes = sizes(true, 2);
        assert_eq!(sizes.kept_bytes(), 2 * (1 + 2));
        assert_eq!([0, 1, 2].map(|stage| sizes.live_bytes(stage)), [10 + 20, 10 + 20 + 40, 20 + 40]);
        let resident = sizes.resident(&[100, 200, 300]);
        assert_eq!(
            resident,
            Plan::of(Class::Weights, 600) + Plan::of(Class::Activation, 14) + Plan::of(Class::Io, 146)
        );
        let streaming = sizes.streaming(&[100, 200, 300], false);
        assert_eq!(streaming, Plan::of(Class::Weights, 300) + Plan::of(Class::Activation, 3) + Plan::of(Class::Io, 66));
        assert_eq!(sizes.streaming(&[100, 200, 300], true)[Class::Io], 76);
    }

    #[test]
    fn on_a_gpu_they_are_there_while_they_are_used_and_locked_memory_stays() {
        let sizes = sizes(false, 2);
        assert_eq!(sizes.kept_bytes(), 0);
        assert_eq!([0, 1, 2].map(|stage| sizes.live_bytes(stage)), [31, 70, 62]);
        let pinned = Plan::of(Class::PinnedInput, 2) + Plan::of(Class::PinnedOutput, 4);
        let streaming = Plan::of(Class::Weights, 9) + Plan::of(Class::Activation, 7) + Plan::of(Class::Io, 70);
        assert_eq!(sizes.streaming(&[9, 9, 9], false), streaming + pinned);
    }
}
