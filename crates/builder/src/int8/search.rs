//! Finds the quantized form of a network that reaches an accuracy floor with as much INT8 as possible.
//!
//! The cheapest means come first. Thresholds and bias correction cost nothing at run time; where the result already reaches the floor, that is all. Otherwise every tensor
//! is quantized alone once, to see what it costs at the outputs. The few that cost most try other thresholds and equalisation. Only then are tensors left in FP16,
//! the one that wins most per unit of work first, until the floor is reached. Single losses nearly add up, so they say where to start and how far to go; what counts is
//! measured on the whole.

use super::correction::corrections;
use super::equalization::{Equalization, can_equalize, can_shift, weight_rms};
use super::loss::Loss;
use super::plan::Plan;
use super::policy::{Form, Int8Policy, left_to_half};
use super::survey::{ChannelStatistics, Survey, survey};
use super::trial::TrialGround;
use crate::calibration::{Histogram, LEVELS, Method, half_scale, scale_of, threshold};
use crate::int8::work::Work;
use crate::precision::{Keep, PrecisionTable};
use crate::{AccuracyFloor, Progress, Result};
use std::collections::{BTreeMap, HashMap};
use trtforge_graph::{NodeId, ValueId};

/// Groups look for something better than their threshold until the rest costs no more than this part of what the floor allows.
const NEGLIGIBLE: f64 = 0.25;
/// At most so many groups look for something better.
const MOST_REPAIRED: usize = 64;
/// What leaving a tensor in FP16 counts besides its work, in mean tensors: among tensors of little work the one that costs most accuracy goes first.
const COST_OF_A_TENSOR: f64 = 0.2;
/// Most groups that are left in FP16 between two looks at the whole.
const MOST_AT_ONCE: usize = 8;
/// How much of what is missing one step wins back.
const STEP: f64 = 0.6;
/// Equalisation adds a multiplication, so it must leave less than this share of what the best threshold leaves.
const EQUALIZATION_MUST_LEAVE: f64 = 0.6;
/// Thresholds that equalised tensors try, relative to their largest magnitude.
const CLIPS: [f32; 2] = [1.0, 0.7];
/// Samples for what is tried on single tensors; the whole is always judged on all.
const SAMPLES_PER_TENSOR: usize = 4;
/// The same for a network of more than [`HEAVY`] operations.
const SAMPLES_PER_TENSOR_OF_HEAVY: usize = 2;
/// Multiply-accumulate operations of one run from which a network counts as heavy.
const HEAVY: f64 = 5e9;
/// Operations that looking for remedies may take in all: some minutes of one processor.
const REMEDY_OPERATIONS: f64 = 6e12;
/// About how many remedies a tensor tries.
const REMEDIES_PER_TENSOR: f64 = 8.0;
/// Groups that look for something better however heavy the network is.
const LEAST_REPAIRED: usize = 8;

/// What a search is given.
pub struct Search<'a> {
    /// Samples, and the network in 32 bits.
    pub ground: &'a TrialGround<'a>,
    /// What the half-precision policy decided.
    pub half: &'a PrecisionTable,
    /// The user's exceptions.
    pub keep: &'a [Keep],
    /// Histograms by tensor name.
    pub histograms: &'a BTreeMap<String, Histogram>,
    /// Scales that are given, by tensor name, from a cache; they are taken as they are.
    pub scales: &'a HashMap<String, f32>,
    /// Whether a tensor has a histogram or a scale; others are not quantized.
    pub known: &'a (dyn Fn(&str) -> bool + Sync),
    /// How thresholds are chosen; `None` for the one per tensor that serves the outputs best.
    pub method: Option<Method>,
    /// The least accuracy.
    pub floor: AccuracyFloor,
    /// What is quantized beside the inputs of nodes with weights.
    pub form: Form,
    /// Whether depthwise convolutions compute in INT8 as well.
    pub depthwise: bool,
    /// Whether anything is done to reach the floor.
    pub improve: bool,
    /// Hears of progress.
    pub progress: &'a dyn Progress,
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The quantized form.
    pub plan: Plan,
    /// What it loses on the search's samples.
    pub loss: Loss,
    /// Whether that reaches the floor.
    pub reached: bool,
    /// What the first, plain form loses.
    pub plain: Loss,
    /// How each tensor's threshold was chosen, where it was chosen per tensor.
    pub methods: BTreeMap<String, String>,
    /// Tensors left in FP16, in the order in which they were.
    pub left: Vec<ValueId>,
    /// What was done, in words.
    pub notes: Vec<String>,
}

struct State<'a, 'b> {
    search: &'b Search<'a>,
    plan: Plan,
    methods: BTreeMap<String, String>,
    excluded_tensors: HashMap<ValueId, String>,
    left: Vec<ValueId>,
    notes: Vec<String>,
}

impl Search<'_> {
    /// Searches.
    ///
    /// # Errors
    /// Those of ONNX Runtime; [`crate::Error::Cancelled`].
    pub fn run(&self) -> Result<Found> {
        let mut state = State {
            search: self,
            plan: Plan::default(),
            methods: BTreeMap::new(),
            excluded_tensors: self.unknown_tensors(),
            left: vec![],
            notes: vec![],
        };
        state.place();
        let survey = state.look()?;
        state.correct(&survey);
        let plain = self.ground.loss(&state.plan)?;
        let mut loss = plain.clone();
        if self.improve && !plain.reaches(&self.floor) && !state.plan.placement.is_empty() {
            loss = state.improve(plain.clone(), survey)?;
        }
        let reached = loss.reaches(&self.floor);
        let State { plan, methods, left, notes, .. } = state;
        Ok(Found { plan, loss, reached, plain, methods, left, notes })
    }

    fn policy<'p>(
        &'p self,
        excluded: &'p HashMap<NodeId, String>,
        tensors: &'p HashMap<ValueId, String>,
    ) -> Int8Policy<'p> {
        Int8Policy { half: self.half, keep: self.keep, excluded, excluded_tensors: tensors, form: self.form }
    }

    fn unknown_tensors(&self) -> HashMap<ValueId, String> {
        let graph = self.ground.graph();
        let unknown = graph.value_ids().filter(|&value| !(self.known)(self.name(value)));
        unknown.map(|value| (value, "its input has no calibrated scale".to_owned())).collect()
    }

    fn name(&self, value: ValueId) -> &str {
        &self.ground.graph().value(value).name
    }

    /// The scale of a group of tensors under a method: that of the union of what they held.
    fn scale(&self, group: &[ValueId], method: Method) -> f32 {
        let given = group.iter().filter_map(|&value| self.scales.get(self.name(value)));
        if let Some(largest) = given.copied().reduce(f32::max) {
            return half_scale(largest);
        }
        let mut histograms = group.iter().filter_map(|&value| self.histograms.get(self.name(value)));
        let Some(mut union) = histograms.next().cloned() else { return half_scale(scale_of(0.0)) };
        histograms.for_each(|histogram| union.merge(histogram));
        half_scale(scale_of(threshold(&union, method)))
    }
}

impl State<'_, '_> {
    fn place(&mut self) {
        let graph = self.search.ground.graph();
        let excluded = left_to_half(graph, self.search.depthwise);
        self.plan.placement = self.search.policy(&excluded, &self.excluded_tensors).place(graph);
        let method = self.search.method.unwrap_or(Method::Entropy);
        for group in self.plan.placement.groups() {
            let known = group.iter().find_map(|value| self.plan.scales.get(value)).copied();
            let scale = known.unwrap_or_else(|| self.search.scale(&group, method));
            self.plan.scales.extend(group.iter().map(|&value| (value, scale)));
        }
        let placement = &self.plan.placement;
        self.plan.equalizations.retain(|value, _| placement.tensors.contains_key(value));
        self.plan.corrections.retain(|node, _| placement.weights.contains_key(node));
    }

    /// Looks at the channels under the plan's present scales.
    fn look(&self) -> Result<Survey> {
        Ok(survey(self.search.ground, &[&self.plan])?.remove(0))
    }

    /// Takes back the mean errors of the plan.
    fn correct(&mut self, survey: &Survey) {
        self.plan.corrections = corrections(self.search.ground.graph(), &self.plan, survey);
    }

    fn improve(&mut self, plain: Loss, mut survey: Survey) -> Result<Loss> {
        let floor = &self.search.floor;
        let groups = self.plan.placement.groups();
        let mut single = self.sensitivities(&groups, &survey)?;
        if self.search.scales.is_empty() {
            self.repair(&groups, &mut single, &survey)?;
            survey = self.look()?;
            self.correct(&survey);
        }
        let mut loss = self.search.ground.loss(&self.plan)?;
        self.notes.push(format!("plain {:.1} dB, repaired {:.1} dB", plain.decibel(floor), loss.decibel(floor)));
        self.leave(&groups, &single, &survey, &mut loss)?;
        Ok(loss)
    }

    fn samples_per_tensor(&self) -> usize {
        let heavy = Work::of(self.search.ground.graph()).total() > HEAVY;
        self.search.ground.samples().min(if heavy { SAMPLES_PER_TENSOR_OF_HEAVY } else { SAMPLES_PER_TENSOR })
    }

    fn most_repaired(&self) -> usize {
        let one = Work::of(self.search.ground.graph()).total() * self.samples_per_tensor() as f64 * REMEDIES_PER_TENSOR;
        ((REMEDY_OPERATIONS / one.max(1.0)) as usize).clamp(LEAST_REPAIRED, MOST_REPAIRED)
    }

    /// The plan in which one group is quantized and no weight, with the mean error taken back as it will be.
    fn alone(&self, plan: &Plan, group: &[ValueId], survey: &Survey) -> Plan {
        let mut plan = plan.only(group);
        plan.corrections = corrections(self.search.ground.graph(), &plan, survey);
        plan
    }

    /// What each group costs alone.
    fn sensitivities(&self, groups: &[Vec<ValueId>], survey: &Survey) -> Result<Vec<f64>> {
        let (ground, progress) = (self.search.ground, self.search.progress);
        let samples = self.samples_per_tensor();
        let losses = ground.losses(
            groups.len(),
            samples,
            |index| self.alone(&self.plan, &groups[index], survey),
            |done| progress.advance("tensors tried", done as u64, groups.len() as u64),
        )?;
        Ok(losses.iter().map(|loss| loss.share(&self.search.floor)).collect())
    }

    /// Lets the groups that cost most choose among thresholds and equalisation.
    fn repair(&mut self, groups: &[Vec<ValueId>], single: &mut [f64], seen: &Survey) -> Result<()> {
        let worst = costliest(single, decibel_to_share(self.search.floor), self.most_repaired());
        let remedies: Vec<Vec<Remedy>> = worst.iter().map(|&index| self.remedies(&groups[index], seen)).collect();
        // The n-th remedy of every group in one plan: one more look at the channels serves them all.
        let rounds = remedies.iter().map(Vec::len).max().unwrap_or(0);
        let plans: Vec<Plan> = (0..rounds).map(|round| self.with_remedies(groups, &worst, &remedies, round)).collect();
        let surveys = survey(self.search.ground, &plans.iter().collect::<Vec<_>>())?;
        let tries: Vec<(usize, &Remedy, usize)> = worst
            .iter()
            .zip(&remedies)
            .flat_map(|(&index, own)| own.iter().enumerate().map(move |(round, remedy)| (index, remedy, round)))
            .collect();
        let (ground, progress) = (self.search.ground, self.search.progress);
        let losses = ground.losses(
            tries.len(),
            self.samples_per_tensor(),
            |index| {
                let (group, _, round) = tries[index];
                self.alone(&plans[round], &groups[group], &surveys[round])
            },
            |done| progress.advance("remedies tried", done as u64, tries.len() as u64),
        )?;
        let shares: Vec<f64> = losses.iter().map(|loss| loss.share(&self.search.floor)).collect();
        let mut equalized = 0;
        for &index in &worst {
            let own = || tries.iter().zip(&shares).filter(|((group, ..), _)| *group == index);
            let least = |equalize: bool| {
                own()
                    .filter(|((_, remedy, _), _)| remedy.is_equalization() == equalize)
                    .min_by(|a, b| a.1.total_cmp(b.1))
                    .map(|((_, remedy, _), &share)| (*remedy, share))
            };
            let mut best: Option<(&Remedy, f64)> = least(false).filter(|(_, share)| *share < single[index]);
            let without = best.map_or(single[index], |(_, share)| share);
            if let Some(found) = least(true).filter(|(_, share)| *share < without * EQUALIZATION_MUST_LEAVE) {
                equalized += 1;
                best = Some(found);
            }
            if let Some((remedy, share)) = best {
                remedy.apply(&mut self.plan, &groups[index]);
                single[index] = share;
                for &value in &groups[index] {
                    self.methods.insert(self.search.name(value).to_owned(), remedy.name());
                }
            }
        }
        self.notes.push(format!("{} tensors looked for a better threshold; {equalized} were equalised", worst.len()));
        Ok(())
    }

    fn remedies(&self, group: &[ValueId], survey: &Survey) -> Vec<Remedy> {
        let mut remedies: Vec<Remedy> = Vec::new();
        if self.search.method.is_none() {
            let current = group.first().and_then(|value| self.plan.scales.get(value)).copied().unwrap_or(0.0);
            let mut seen = vec![current];
            for method in Method::CANDIDATES {
                let scale = self.search.scale(group, method);
                if seen.iter().all(|&known| (known / scale - 1.0).abs() > 0.03) {
                    seen.push(scale);
                    remedies.push(Remedy::Scale { scale, method });
                }
            }
        }
        let graph = self.search.ground.graph();
        if let [value] = group
            && let Some(channels) = survey.get(value)
            && let Some(tensor) = self.plan.placement.tensors.get(value)
            && can_equalize(graph, &self.plan, *value, tensor, channels.len())
            && let Some((rms, depthwise)) = weight_rms(graph, tensor, channels.len())
        {
            let shift = can_shift(graph, tensor);
            if shift {
                remedies.extend(self.centred(group, channels));
            }
            let strengths: &[f32] = if depthwise { &[1.0] } else { &[0.75, 0.5] };
            let found = strengths.iter().filter_map(|&strength| Equalization::of(channels, &rms, strength, shift));
            for (equalization, threshold) in found {
                for clip in CLIPS {
                    let scale = half_scale(scale_of(threshold * clip));
                    remedies.push(Remedy::Equalize { equalization: equalization.clone(), scale });
                }
            }
        }
        remedies
    }

    /// The tensor moved to lie around zero, with each method's threshold as its upper end.
    fn centred(&self, group: &[ValueId], channels: &[ChannelStatistics]) -> Vec<Remedy> {
        let mut seen: Vec<f32> = Vec::new();
        let mut remedies = Vec::new();
        for method in self.search.method.map_or(Method::CANDIDATES.to_vec(), |method| vec![method]) {
            let upper = self.search.scale(group, method) * LEVELS as f32;
            if seen.iter().all(|known| (known / upper - 1.0).abs() > 0.03) {
                seen.push(upper);
                let (equalization, threshold) = Equalization::centre(channels, upper);
                remedies.push(Remedy::Equalize { equalization, scale: half_scale(scale_of(threshold)) });
            }
        }
        remedies
    }

    fn with_remedies(&self, groups: &[Vec<ValueId>], worst: &[usize], remedies: &[Vec<Remedy>], round: usize) -> Plan {
        let mut plan = self.plan.clone();
        plan.placement.tensors.retain(|value, _| worst.iter().any(|&index| groups[index].contains(value)));
        for (&index, remedies) in worst.iter().zip(remedies) {
            if let Some(remedy) = remedies.get(round) {
                remedy.apply(&mut plan, &groups[index]);
            }
        }
        plan
    }

    /// Leaves groups in FP16 until the floor is reached: the one that wins most for the work it takes out of INT8 first.
    fn leave(&mut self, groups: &[Vec<ValueId>], single: &[f64], survey: &Survey, loss: &mut Loss) -> Result<()> {
        let graph = self.search.ground.graph();
        let work = Work::of(graph);
        let cost = |group: &[ValueId]| {
            let readers = group.iter().filter_map(|value| self.plan.placement.tensors.get(value));
            let nodes = readers.flat_map(|tensor| tensor.reads.iter().map(|&(node, _)| node));
            nodes.map(|node| work.share(node)).sum::<f64>()
        };
        let least = COST_OF_A_TENSOR / groups.len().max(1) as f64;
        let worth: Vec<f64> = groups.iter().zip(single).map(|(group, share)| share / (cost(group) + least)).collect();
        let mut order: Vec<usize> = (0..groups.len()).collect();
        order.sort_by(|&a, &b| worth[b].total_cmp(&worth[a]).then(a.cmp(&b)));
        let mut order = order.into_iter().peekable();
        let target = decibel_to_share(self.search.floor);
        while !loss.reaches(&self.search.floor) && order.peek().is_some() {
            // Losses nearly add up: leave as many at once as should do, but a part of what is missing at most, and look again.
            let missing = (loss.share(&self.search.floor) - target).max(0.0) * STEP;
            let (mut won, mut batch) = (0.0, Vec::new());
            for index in order.by_ref() {
                won += single[index];
                batch.push(index);
                if won >= missing || batch.len() >= MOST_AT_ONCE {
                    break;
                }
            }
            let before = self.plan.clone();
            self.leave_out(groups, single, &batch);
            self.place();
            self.correct(survey);
            let found = self.search.ground.loss(&self.plan)?;
            if found.share(&self.search.floor) >= loss.share(&self.search.floor) {
                // Errors may cancel each other out: what leaves the whole worse off goes back.
                self.take_back(groups, &batch);
                self.plan = before;
                continue;
            }
            *loss = found;
            self.search.progress.note(&format!(
                "{} tensors in fp16: {:.1} dB, {:.1} % of the arithmetic in int8",
                self.left.len(),
                loss.decibel(&self.search.floor),
                100.0 * work.share_of(self.plan.placement.weights.keys().copied())
            ));
        }
        Ok(())
    }

    fn leave_out(&mut self, groups: &[Vec<ValueId>], single: &[f64], batch: &[usize]) {
        for &index in batch {
            let reason = format!("in INT8 it alone leaves {:.1} dB at the outputs", -10.0 * single[index].log10());
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

/// The share that a floor allows; 0 where it speaks of something else than decibel.
fn decibel_to_share(floor: AccuracyFloor) -> f64 {
    floor.channel_db.or(floor.sqnr_db).map_or(0.0, |decibel| 10f64.powf(-decibel / 10.0))
}

/// Another way to quantize a tensor.
#[derive(Clone, Debug)]
enum Remedy {
    Scale { scale: f32, method: Method },
    Equalize { equalization: Equalization, scale: f32 },
}

impl Remedy {
    fn is_equalization(&self) -> bool {
        matches!(self, Remedy::Equalize { .. })
    }

    fn name(&self) -> String {
        match self {
            Remedy::Scale { method, .. } => method.to_string(),
            Remedy::Equalize { equalization, .. } if equalization.factors.iter().all(|&factor| factor == 1.0) => {
                "centred".into()
            }
            Remedy::Equalize { .. } => "equalised".into(),
        }
    }

    fn apply(&self, plan: &mut Plan, group: &[ValueId]) {
        match self {
            Remedy::Scale { scale, .. } => plan.scales.extend(group.iter().map(|&value| (value, *scale))),
            Remedy::Equalize { equalization, scale } => {
                plan.scales.extend(group.iter().map(|&value| (value, *scale)));
                plan.equalizations.extend(group.iter().map(|&value| (value, equalization.clone())));
            }
        }
    }
}

/// The positions of the largest numbers, largest first, until what remains no longer matters beside what the floor allows.
fn costliest(single: &[f64], allowed: f64, most: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..single.len()).collect();
    order.sort_by(|&a, &b| single[b].total_cmp(&single[a]).then(a.cmp(&b)));
    let total: f64 = single.iter().sum();
    let negligible = NEGLIGIBLE * if allowed > 0.0 { allowed.min(total) } else { total };
    let mut remaining = total;
    let mut matters = |&index: &usize| {
        let more = remaining > negligible && single[index] > 0.0;
        remaining -= single[index];
        more
    };
    order.into_iter().take_while(&mut matters).take(most).collect()
}
