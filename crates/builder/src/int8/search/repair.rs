//! Repairs that leave the arithmetic in INT8: thresholds, centres and equalisation fitted to tensors, weights rounded for what they multiply.

use super::remedies::Remedy;
use super::{State, TRIAL_OPERATIONS};
use crate::Result;
use crate::counted::counted;
use crate::int8::correction::corrections;
use crate::int8::local;
use crate::int8::loss::Loss;
use crate::int8::plan::Plan;
use crate::int8::rounding;
use crate::int8::survey::{Survey, survey};
use crate::int8::work::Work;
use std::sync::Arc;
use trtforge_graph::{NodeId, ValueId};

/// Groups look for something better than their threshold until the rest costs no more than this part of what the floor allows.
const NEGLIGIBLE: f64 = 0.1;
/// At most so many groups look for something better.
const MOST_REPAIRED: usize = 24;
/// Groups that look for something better however heavy the network is.
const LEAST_REPAIRED: usize = 4;
/// About how many remedies a tensor tries.
const REMEDIES_PER_TENSOR: f64 = 10.0;
/// Share of the loss that another way to quantize a tensor must win.
const LEAST_WIN: f64 = 0.01;
/// Equalisation adds a multiplication, so it must leave less than this share of what the best threshold leaves.
const EQUALIZATION_MUST_LEAVE: f64 = 0.6;
/// Samples on which thresholds are fitted to tensors.
const FITTED_SAMPLES: usize = 16;

impl State<'_, '_> {
    /// Chooses for every group the way to quantize it that sends least noise to what reads it, by looking at its elements alone.
    pub(super) fn fit(&mut self, seen: &Survey) -> Result<()> {
        let graph = self.search.ground.graph();
        let groups = self.plan.placement.groups();
        let all: Vec<usize> = (0..groups.len()).collect();
        // Ranges that have seen the samples on which they are tried would always seem wide enough.
        let (ranged, fitted) = held_out(self.search.ground.surveyed());
        let ranges = survey(self.search.ground, &[&self.plan], &ranged)?.remove(0);
        let remedies: Vec<Vec<Remedy>> = groups.iter().map(|group| self.remedies(group, &ranges)).collect();
        let rounds = remedies.iter().map(Vec::len).max().unwrap_or(0);
        let mut plans: Vec<Plan> =
            (0..rounds).map(|round| self.with_remedies(&groups, &all, &remedies, round)).collect();
        plans.push(self.plan.clone());
        let surveys = survey(self.search.ground, &plans.iter().collect::<Vec<_>>(), &fitted)?;
        for (group, remedies) in groups.iter().zip(&remedies) {
            let noise = |round: usize| local::noise(graph, &plans[round], &surveys[round], group);
            let Some(present) = noise(rounds) else { continue };
            // What proves itself is made anew from ranges that have seen everything.
            let remade = self.remedies(group, seen);
            let tried = remedies.iter().zip(&remade).enumerate();
            let tried = tried.filter_map(|(round, (_, remedy))| Some((remedy, noise(round)?)));
            let (moved, scaled): (Vec<_>, Vec<_>) = tried.partition(|(remedy, _)| remedy.is_equalization());
            let scaled = least(scaled).filter(|(_, noise)| *noise < present);
            let without = scaled.map_or(present, |(_, noise)| noise);
            let moved = least(moved).filter(|(_, noise)| *noise < without * EQUALIZATION_MUST_LEAVE);
            if let Some((remedy, _)) = moved.or(scaled) {
                self.choose(group, remedy);
            }
        }
        Ok(())
    }

    /// Rounds the weights of these nodes for what they multiply.
    pub(super) fn round(&mut self, nodes: &[NodeId]) -> Result<()> {
        let rounded = rounding::rounded(self.search.ground, &self.plan, nodes)?;
        self.plan.rounded.extend(rounded.into_iter().map(|(node, rounded)| (node, Arc::new(rounded))));
        Ok(())
    }

    /// Lets the groups that cost most choose again, by what the whole loses. Returns what channels hold then, where anything changed.
    pub(super) fn repair(
        &mut self,
        groups: &[Vec<ValueId>],
        wins: &[f64],
        seen: &Survey,
        loss: &mut Loss,
    ) -> Result<Option<Survey>> {
        let most = self.most_repaired();
        let worst = costliest(wins, loss.share(&self.search.floor), most);
        let remedies: Vec<Vec<Remedy>> = worst.iter().map(|&index| self.remedies(&groups[index], seen)).collect();
        // The n-th remedy of every group in one plan: one look at the channels serves them all.
        let rounds = remedies.iter().map(Vec::len).max().unwrap_or(0);
        let plans: Vec<Plan> = (0..rounds).map(|round| self.with_remedies(groups, &worst, &remedies, round)).collect();
        let (_, tried) = held_out(self.search.ground.surveyed());
        let surveys = survey(self.search.ground, &plans.iter().collect::<Vec<_>>(), &tried)?;
        let tries: Vec<(usize, &Remedy, usize)> = worst
            .iter()
            .zip(&remedies)
            .flat_map(|(&index, own)| own.iter().enumerate().map(move |(round, remedy)| (index, remedy, round)))
            .collect();
        if tries.is_empty() {
            return Ok(None);
        }
        let (ground, progress) = (self.search.ground, self.search.progress);
        let samples = self.samples_for(tries.len());
        let present = self.share_of(std::slice::from_ref(&self.plan), samples)?[0];
        let losses = ground.losses(
            tries.len(),
            samples,
            |index| {
                let (group, remedy, round) = tries[index];
                self.with(&groups[group], remedy, &surveys[round])
            },
            |done| progress.advance("remedies tried", done as u64, tries.len() as u64),
        )?;
        let before = self.plan.clone();
        let methods = self.methods.clone();
        let (mut changed, mut stale) = (0, Vec::new());
        for &index in &worst {
            let own = tries.iter().zip(&losses).filter(|((group, ..), _)| *group == index);
            let best = own
                .map(|((_, remedy, _), loss)| (*remedy, loss.share(&self.search.floor)))
                .filter(|(_, share)| *share < present - LEAST_WIN * present)
                .min_by(|a, b| a.1.total_cmp(&b.1));
            if let Some((remedy, _)) = best {
                self.choose(&groups[index], remedy);
                let reads = groups[index].iter().filter_map(|value| self.plan.placement.tensors.get(value));
                stale.extend(reads.flat_map(|tensor| tensor.reads.iter().map(|&(node, _)| node)));
                changed += 1;
            }
        }
        if changed == 0 {
            return Ok(None);
        }
        self.round(&stale)?;
        let survey = self.look()?;
        self.correct(&survey);
        let found = ground.loss(&self.plan)?;
        if found.share(&self.search.floor) >= loss.share(&self.search.floor) {
            self.plan = before;
            self.methods = methods;
            return Ok(None);
        }
        self.notes.push(format!(
            "{changed} of {} quantized in another way: {:.1} dB became {:.1} dB",
            counted(worst.len(), "tensor"),
            loss.decibel(&self.search.floor),
            found.decibel(&self.search.floor)
        ));
        *loss = found;
        Ok(Some(survey))
    }

    /// Groups that may look for something better.
    fn most_repaired(&self) -> usize {
        let one = Work::of(self.search.ground.graph()).total() * REMEDIES_PER_TENSOR;
        ((TRIAL_OPERATIONS / one.max(1.0)) as usize).clamp(LEAST_REPAIRED, MOST_REPAIRED)
    }

    /// The whole plan with another way to quantize one group.
    fn with(&self, group: &[ValueId], remedy: &Remedy, survey: &Survey) -> Plan {
        let mut plan = self.plan.clone();
        plan.equalizations.retain(|value, _| !group.contains(value));
        remedy.apply(&mut plan, group);
        let mut own = plan.clone();
        own.placement.tensors.retain(|value, _| group.contains(value));
        plan.corrections.extend(corrections(self.search.ground.graph(), &own, survey));
        plan
    }

    fn choose(&mut self, group: &[ValueId], remedy: &Remedy) {
        self.plan.equalizations.retain(|value, _| !group.contains(value));
        remedy.apply(&mut self.plan, group);
        for &value in group {
            self.methods.insert(self.search.name(value).to_owned(), remedy.name());
        }
    }
}

/// The positions of the largest numbers, largest first, until what remains no longer matters beside what the floor allows.
fn costliest(single: &[f64], allowed: f64, most: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..single.len()).collect();
    order.sort_by(|&a, &b| single[b].total_cmp(&single[a]).then(a.cmp(&b)));
    let total: f64 = single.iter().filter(|win| **win > 0.0).sum();
    let negligible = NEGLIGIBLE * if allowed > 0.0 { allowed.min(total) } else { total };
    let mut remaining = total;
    let mut matters = |&index: &usize| {
        let more = remaining > negligible && single[index] > 0.0;
        remaining -= single[index];
        more
    };
    order.into_iter().take_while(&mut matters).take(most).collect()
}

/// Samples for ranges, and up to [`FITTED_SAMPLES`] others, evenly spread, to try them on; the same for both where there is but one.
fn held_out(samples: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let count = FITTED_SAMPLES.min(samples.len() / 2);
    if count == 0 {
        return (samples.to_vec(), samples.to_vec());
    }
    let tried: Vec<usize> = (0..count).map(|position| samples[position * samples.len() / count]).collect();
    (samples.iter().copied().filter(|sample| !tried.contains(sample)).collect(), tried)
}

fn least(remedies: Vec<(&Remedy, f64)>) -> Option<(&Remedy, f64)> {
    remedies.into_iter().min_by(|a, b| a.1.total_cmp(&b.1))
}
