//! Leaves tensors in FP16, as few and as cheap ones as will do.

use super::memory::Allowance;
use super::{State, decibel_to_share};
use crate::Result;
use crate::counted::counted;
use crate::int8::loss::Loss;
use crate::int8::survey::Survey;
use crate::int8::work::Work;
use trtforge_graph::ValueId;

/// What leaving a tensor in FP16 counts besides its work, in mean tensors: among tensors of little work the one that costs most accuracy goes first.
const COST_OF_A_TENSOR: f64 = 0.2;
/// Most groups that are left in FP16 between two looks at the whole.
const MOST_AT_ONCE: usize = 8;
/// How much of what is missing one step wins back.
const STEP: f64 = 0.6;

impl State<'_, '_> {
    /// Leaves groups in FP16 until the floor is reached: the one that wins most for the work it takes out of INT8 first.
    pub(super) fn leave(
        &mut self,
        groups: &[Vec<ValueId>],
        wins: &[f64],
        survey: &Survey,
        loss: &mut Loss,
    ) -> Result<()> {
        let graph = self.search.ground.graph();
        let (work, bytes) = (Work::of(graph), Work::of_bytes(graph));
        // In FP16 a node computes longer, and its weights take twice the memory: whichever is more of the whole.
        let cost = |group: &[ValueId]| {
            let readers = group.iter().filter_map(|value| self.plan.placement.tensors.get(value));
            let nodes = readers.flat_map(|tensor| tensor.reads.iter().map(|&(node, _)| node));
            nodes.map(|node| work.share(node).max(bytes.share(node))).sum::<f64>()
        };
        let least = COST_OF_A_TENSOR / groups.len().max(1) as f64;
        let costs: Vec<f64> = groups.iter().map(|group| cost(group)).collect();
        let worth = |index: usize| wins[index] / (costs[index] + least);
        let mut order: Vec<usize> = (0..groups.len()).collect();
        order.sort_by(|&a, &b| worth(b).total_cmp(&worth(a)).then(a.cmp(&b)));
        // What made the whole worse is tried again at the end, where the floor cannot be reached without it.
        let (mut spent, mut put_off, mut last_resort) = (0.0, Vec::new(), false);
        let (mut memory, mut at_once) = (Allowance::new(self.search.memory), MOST_AT_ONCE);
        loop {
            let reached = loss.reaches(&self.search.floor);
            let wanted =
                self.search.wanted.filter(|wanted| loss.share(&self.search.floor) > decibel_to_share(wanted.floor()));
            let target = match (reached, wanted) {
                (false, _) => decibel_to_share(self.search.floor),
                (true, Some(wanted)) => decibel_to_share(wanted.floor()),
                (true, None) => break,
            };
            // What is only wanted must be cheap.
            let affordable = |index: usize, spent: f64| {
                !reached || wins[index] > 0.0 && wanted.is_none_or(|wanted| spent + costs[index] <= wanted.expendable)
            };
            // Losses nearly add up: leave as many at once as should do, but a part of what is missing at most, and look again.
            let missing = (loss.share(&self.search.floor) - target).max(0.0) * STEP;
            let (mut won, mut batch, mut price) = (0.0, Vec::new(), 0.0);
            order.retain(|&index| {
                let take =
                    (won < missing || batch.is_empty()) && batch.len() < at_once && affordable(index, spent + price);
                if take {
                    won += wins[index];
                    price += costs[index];
                    batch.push(index);
                }
                !take
            });
            if batch.is_empty() {
                if reached || last_resort || put_off.is_empty() {
                    break;
                }
                (order, last_resort) = (std::mem::take(&mut put_off), true);
                continue;
            }
            let before = self.plan.clone();
            self.leave_out(groups, wins, &batch);
            self.place();
            self.correct(survey);
            if reached && !memory.covers(&before, &self.plan)? {
                self.take_back(groups, &batch);
                self.plan = before;
                // Halves of a batch find the group that takes too much, which is out.
                at_once = match batch.len() {
                    0..=1 => MOST_AT_ONCE,
                    several => {
                        order.splice(0..0, batch);
                        several / 2
                    }
                };
                continue;
            }
            at_once = MOST_AT_ONCE;
            let found = self.search.ground.loss(&self.plan)?;
            if !last_resort && found.share(&self.search.floor) >= loss.share(&self.search.floor) {
                // Errors may cancel each other out: what leaves the whole worse off goes back.
                self.take_back(groups, &batch);
                self.plan = before;
                put_off.extend(batch);
                continue;
            }
            *loss = found;
            spent += price;
            self.search.progress.note(&format!(
                "{} in fp16: {:.1} dB, {:.1} % of the arithmetic in int8",
                counted(self.left.len(), "tensor"),
                loss.decibel(&self.search.floor),
                100.0 * work.share_of(self.plan.placement.weights.keys().copied())
            ));
        }
        Ok(())
    }

    fn leave_out(&mut self, groups: &[Vec<ValueId>], wins: &[f64], batch: &[usize]) {
        for &index in batch {
            let reason = format!("in INT8 it costs {:.3} % of the outputs", 100.0 * wins[index].max(0.0));
            for &value in &groups[index] {
                self.excluded_tensors.insert(value, reason.clone());
                self.left.push(value);
            }
        }
    }

    fn take_back(&mut self, groups: &[Vec<ValueId>], batch: &[usize]) {
        for value in batch.iter().flat_map(|&index| &groups[index]) {
            self.excluded_tensors.remove(value);
            self.left.retain(|left| left != value);
        }
    }
}
