//! Finds the quantized form of a network that reaches an accuracy floor with as much INT8 as possible.
//!
//! The cheapest means come first ([`repair`]). Every tensor gets the threshold, and where it helps the centre and the equalisation, that sends least noise to what reads it;
//! weights are rounded for what they multiply; biases take back mean errors. None of this costs anything to speak of at run time. Where the result does not reach what is
//! asked for, each tensor is taken out of the whole once, to see what that wins; the ones that win most choose again among all ways to quantize them, now by what the
//! whole loses. Only then are tensors left in FP16 ([`leave`]), the one that wins most per unit of work first. What counts is always measured on the whole.

mod leave;
mod memory;
mod remedies;
mod repair;

pub use memory::Weigh;

use crate::calibration::{Histogram, Method, half_scale, scale_of, threshold};
use crate::int8::correction::corrections;
use crate::int8::loss::Loss;
use crate::int8::plan::Plan;
use crate::int8::policy::{Form, Int8Policy, left_to_half};
use crate::int8::survey::{Survey, survey};
use crate::int8::trial::TrialGround;
use crate::int8::work::Work;
use crate::precision::{Keep, PrecisionTable};
use crate::{AccuracyFloor, Progress, Result};
use std::collections::{BTreeMap, HashMap};
use trtforge_graph::{NodeId, ValueId};
/// Multiply-accumulate operations that a round of trials may take: about a minute of two processors.
const TRIAL_OPERATIONS: f64 = 2e12;

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
    /// What is reached beyond the floor where it costs little.
    pub wanted: Option<Wanted>,
    /// What a plan takes, where that can be found out: what is only wanted must not take more memory.
    pub memory: Option<&'a Weigh<'a>>,
    /// What is quantized beside the inputs of nodes with weights.
    pub form: Form,
    /// Whether depthwise convolutions compute in INT8 as well.
    pub depthwise: bool,
    /// Whether anything is done to reach the floor.
    pub improve: bool,
    /// Hears of progress.
    pub progress: &'a dyn Progress,
}

/// Accuracy beyond the floor, and what it may cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wanted {
    /// Decibel over the channels of an output.
    pub channel_db: f64,
    /// Share of the arithmetic, and of the weights, that may leave INT8 for it, from 0 to 1.
    pub expendable: f64,
}

impl Wanted {
    fn floor(&self) -> AccuracyFloor {
        AccuracyFloor { sqnr_db: None, cosine: None, channel_db: Some(self.channel_db) }
    }
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
        let mut survey = state.look()?;
        state.correct(&survey);
        let plain = self.ground.loss(&state.plan)?;
        let mut loss = plain.clone();
        if self.improve && self.scales.is_empty() && !state.plan.placement.is_empty() {
            (loss, survey) = state.start(plain.clone(), survey)?;
        }
        if self.improve && !self.satisfied(&loss) && !state.plan.placement.is_empty() {
            loss = state.improve(loss, survey)?;
        }
        let reached = loss.reaches(&self.floor);
        let State { plan, methods, left, notes, .. } = state;
        Ok(Found { plan, loss, reached, plain, methods, left, notes })
    }

    fn satisfied(&self, loss: &Loss) -> bool {
        loss.reaches(&self.floor) && self.wanted.is_none_or(|wanted| loss.reaches(&wanted.floor()))
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
        let method = self.search.method.unwrap_or(Method::Mse);
        for group in self.plan.placement.groups() {
            let known = group.iter().find_map(|value| self.plan.scales.get(value)).copied();
            let scale = known.unwrap_or_else(|| self.search.scale(&group, method));
            self.plan.scales.extend(group.iter().map(|&value| (value, scale)));
        }
        let placement = &self.plan.placement;
        self.plan.equalizations.retain(|value, _| placement.tensors.contains_key(value));
        self.plan.corrections.retain(|node, _| placement.weights.contains_key(node));
    }

    /// Fits thresholds and rounds weights, and takes back what leaves the whole worse off: noise at one tensor's readers is not yet noise at the outputs.
    fn start(&mut self, plain: Loss, survey: Survey) -> Result<(Loss, Survey)> {
        let floor = &self.search.floor;
        let nodes: Vec<NodeId> = self.plan.placement.weights.keys().copied().collect();
        let mut best = (plain.clone(), survey.clone(), self.plan.clone(), self.methods.clone());
        for fitted in [true, false] {
            (self.plan, self.methods) = (best.2.clone(), best.3.clone());
            if fitted {
                self.fit(&survey)?;
            }
            self.round(&nodes)?;
            let seen = self.look()?;
            self.correct(&seen);
            let loss = self.search.ground.loss(&self.plan)?;
            if loss.share(floor) < best.0.share(floor) {
                best = (loss, seen, self.plan.clone(), self.methods.clone());
                break;
            }
        }
        let (loss, survey);
        (loss, survey, self.plan, self.methods) = best;
        let (before, after) = (plain.decibel(floor), loss.decibel(floor));
        self.notes.push(format!("thresholds and weights fitted: {before:.1} dB became {after:.1} dB"));
        Ok((loss, survey))
    }

    /// Looks at the channels under the plan's present scales.
    fn look(&self) -> Result<Survey> {
        Ok(survey(self.search.ground, &[&self.plan], self.search.ground.surveyed())?.remove(0))
    }

    /// Takes back the mean errors of the plan.
    fn correct(&mut self, survey: &Survey) {
        self.plan.corrections = corrections(self.search.ground.graph(), &self.plan, survey);
    }

    fn improve(&mut self, mut loss: Loss, mut survey: Survey) -> Result<Loss> {
        let groups = self.plan.placement.groups();
        let mut wins = self.wins(&groups, &loss)?;
        if self.search.scales.is_empty()
            && let Some(changed) = self.repair(&groups, &wins, &survey, &mut loss)?
        {
            survey = changed;
            // For what is only wanted, a look at a sample or two is not worth a second one.
            if !loss.reaches(&self.search.floor) || self.samples_for(groups.len()) == self.search.ground.samples() {
                wins = self.wins(&groups, &loss)?;
            }
        }
        self.leave(&groups, &wins, &survey, &mut loss)?;
        Ok(loss)
    }

    /// Samples that each of so many trials may run.
    fn samples_for(&self, trials: usize) -> usize {
        let one = Work::of(self.search.ground.graph()).total() * trials.max(1) as f64;
        ((TRIAL_OPERATIONS / one.max(1.0)) as usize).clamp(1, self.search.ground.samples())
    }

    /// What the whole wins, as a share of the signal, where one group alone is not quantized.
    fn wins(&self, groups: &[Vec<ValueId>], loss: &Loss) -> Result<Vec<f64>> {
        let (ground, progress) = (self.search.ground, self.search.progress);
        let samples = self.samples_for(groups.len());
        let whole = match samples == ground.samples() {
            true => loss.share(&self.search.floor),
            false => self.share_of(std::slice::from_ref(&self.plan), samples)?[0],
        };
        let losses = ground.losses(
            groups.len(),
            samples,
            |index| self.without(&groups[index]),
            |done| progress.advance("tensors tried", done as u64, groups.len() as u64),
        )?;
        Ok(losses.iter().map(|loss| whole - loss.share(&self.search.floor)).collect())
    }

    fn share_of(&self, plans: &[Plan], samples: usize) -> Result<Vec<f64>> {
        let losses = self.search.ground.losses(plans.len(), samples, |index| plans[index].clone(), |_| ())?;
        Ok(losses.iter().map(|loss| loss.share(&self.search.floor)).collect())
    }

    /// The plan in which one group is not quantized, nor the weights that read it.
    fn without(&self, group: &[ValueId]) -> Plan {
        let mut plan = self.plan.clone();
        let placement = &mut plan.placement;
        for value in group {
            let reads = placement.tensors.remove(value).map(|tensor| tensor.reads).unwrap_or_default();
            for (node, _) in reads {
                placement.weights.remove(&node);
                plan.corrections.remove(&node);
            }
            plan.equalizations.remove(value);
        }
        plan
    }
}

/// The share that a floor allows; 0 where it speaks of something else than decibel.
fn decibel_to_share(floor: AccuracyFloor) -> f64 {
    floor.channel_db.or(floor.sqnr_db).map_or(0.0, |decibel| 10f64.powf(-decibel / 10.0))
}
