//! The segments of a network, compiled each by itself, and how many there are to be.

use super::{Divisible, Segment};
use crate::compile::{CompileOptions, Compiled, Watch, compile};
use crate::manifest::MemoryInfo;
use crate::stage::Timings;
use crate::{Error, Result, format_bytes};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use trtforge_graph::segmentation::SegmentMemory;
use trtforge_tensorrt::TensorRt;

/// Most stages that are tried where their number is left open.
const MOST_STAGES: usize = 8;
/// Part of the peak, one in so many, that a stage's activation must pass what was expected by for a cut anew.
const LEAST_EXCESS: u64 = 100;
/// Most times that a network is cut anew once it is known what its segments really take.
const CORRECTIONS: usize = 3;
/// Most times that cuts are moved by one place after that.
const MOST_MOVES: usize = 8;
/// Most cuts that are moved at a time.
const MOST_PASSED_ON: usize = 3;
/// Stored tensors from this size on are weights: the memory of an engine depends on their types and shapes alone.
const WEIGHTS_BYTES: usize = 4096;
/// The share of the peak that one more stage has to save where no budget says when it is enough.
const LEAST_SAVING: f64 = 0.05;

/// Into how many stages a network is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stages {
    /// As many as this.
    Count(usize),
    /// As few as fit the memory budget; without one, as many as one more saves at least 5 % of the peak.
    Auto,
}

/// Why a text is no number of stages.
#[derive(Debug, thiserror::Error)]
#[error("write a number of at least 1, or auto")]
pub struct StagesParseError;

impl FromStr for Stages {
    type Err = StagesParseError;

    fn from_str(text: &str) -> std::result::Result<Self, StagesParseError> {
        match (text, text.parse()) {
            ("auto", _) => Ok(Self::Auto),
            (_, Ok(0)) | (_, Err(_)) => Err(StagesParseError),
            (_, Ok(count)) => Ok(Self::Count(count)),
        }
    }
}

impl fmt::Display for Stages {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(out),
            Self::Auto => out.write_str("auto"),
        }
    }
}

/// A segment with its engine and what that takes.
pub(crate) struct CompiledStage {
    pub(crate) segment: Segment,
    pub(crate) compiled: Compiled,
    pub(crate) memory: SegmentMemory,
}

/// A segment and what its engine takes.
struct Weighed {
    segment: Segment,
    memory: SegmentMemory,
    /// Its engine, where it was not weighed before.
    compiled: Option<Compiled>,
}

/// Compiles the segments of networks. What a segment takes is remembered: cuts and forms that are compared have most of them in common.
pub(crate) struct StageCompiler<'a> {
    tensorrt: &'a TensorRt,
    options: &'a CompileOptions,
    watch: &'a Watch<'a>,
    /// Weights and activation of segments, by their digests.
    weighed: RefCell<HashMap<String, (u64, u64)>>,
}

impl<'a> StageCompiler<'a> {
    pub(crate) fn new(tensorrt: &'a TensorRt, options: &'a CompileOptions, watch: &'a Watch<'a>) -> Self {
        Self { tensorrt, options, watch, weighed: RefCell::default() }
    }

    /// Compiles `network` in that many stages. Where the number is open: in the fewest that fit `budget`; where none do, in those with the smallest peak.
    pub(crate) fn compile(
        &self,
        network: &Divisible,
        stages: Stages,
        budget: Option<u64>,
        timings: &mut Timings,
    ) -> Result<Vec<CompiledStage>> {
        let weighed = match (stages, budget) {
            (Stages::Count(count), _) => self.cut(network, count, None, timings),
            (Stages::Auto, None) => self.cut(network, worthwhile(network)?, None, timings),
            (Stages::Auto, Some(budget)) => self.fitting(network, budget, timings),
        };
        weighed?.into_iter().map(|stage| self.finish(stage, timings)).collect()
    }

    /// What the stage that takes most takes, of `count`.
    pub(crate) fn least_peak(&self, network: &Divisible, count: usize) -> Result<u64> {
        Ok(peak(&self.cut(network, count, None, &mut Timings::default())?))
    }

    fn fitting(&self, network: &Divisible, budget: u64, timings: &mut Timings) -> Result<Vec<Weighed>> {
        let mut best: Option<Vec<Weighed>> = None;
        for count in 2..=network.most().min(MOST_STAGES) {
            // The estimate leaves out gaps between tensors and nothing else, so what it says is too much is too much.
            let hopeless = network.expected_peak(count).is_none_or(|bytes| bytes > budget);
            let is_last = count == network.most().min(MOST_STAGES);
            let compiled = match (hopeless, is_last) {
                (true, false) => continue,
                // Only to tell how far from it that is.
                (true, true) => self.stages(network.cut(count)?, timings)?,
                (false, _) => self.cut(network, count, Some(budget), timings)?,
            };
            let peak = peak(&compiled);
            if best.as_ref().is_none_or(|best| peak < self::peak(best)) {
                best = Some(compiled);
            }
            if peak <= budget {
                break;
            }
        }
        best.ok_or_else(|| network.too_many(2))
    }

    /// Cuts and compiles; where the worst stage takes more than was expected of it, cuts anew with that in mind, and keeps the best. Goes no further once it takes no more
    /// than is `enough`.
    fn cut(
        &self,
        network: &Divisible,
        count: usize,
        enough: Option<u64>,
        timings: &mut Timings,
    ) -> Result<Vec<Weighed>> {
        let is_enough = |stages: &[Weighed]| enough.is_some_and(|enough| peak(stages) <= enough);
        let mut best = self.stages(network.cut(count)?, timings)?;
        let (mut last, mut excess) = (None, vec![0; network.kernels()]);
        for _ in 0..CORRECTIONS {
            let latest = last.as_ref().unwrap_or(&best);
            let Some(worst) = latest.iter().max_by_key(|stage| stage.memory.total_bytes()) else { break };
            let expected = worst.segment.estimate.activation_bytes;
            let more = worst.memory.activation_bytes.saturating_sub(expected);
            if more * LEAST_EXCESS < worst.memory.total_bytes() || is_enough(&best) {
                break;
            }
            worst.segment.steps.clone().for_each(|step| excess[step as usize] += more);
            let again = self.stages(network.cut_expecting(count, &excess)?, timings)?;
            if peak(&again) < peak(&best) {
                (best, last) = (again, None);
            } else {
                last = Some(again);
            }
        }
        if !is_enough(&best) {
            best = self.even_out(network, best, timings)?;
        }
        let peak = format_bytes(peak(&best));
        self.watch.progress.note(&format!("in {count} stages it takes {peak} at its peak"));
        Ok(best)
    }

    /// Moves the cuts of the stage that takes most by one place, alone or with those beyond, as long as that makes the peak smaller.
    fn even_out(&self, network: &Divisible, mut stages: Vec<Weighed>, timings: &mut Timings) -> Result<Vec<Weighed>> {
        for _ in 0..MOST_MOVES {
            let most = peak(&stages);
            let Some(worst) = stages.iter().position(|stage| stage.memory.total_bytes() == most) else { break };
            // Its beginning comes later, or its end sooner; what it gives away may be passed on.
            let later = (1..=worst).rev().take(MOST_PASSED_ON).map(|first| (first..=worst, true));
            let sooner = (worst + 1..stages.len()).take(MOST_PASSED_ON).map(|last| (worst + 1..=last, false));
            let mut least: Option<(u64, usize, Vec<Weighed>)> = None;
            for (cuts, forward) in later.chain(sooner) {
                let below = least.as_ref().map_or(most, |(least, ..)| *least);
                if let Some(changed) = self.moved(network, &stages, cuts.clone(), forward, below, timings)? {
                    least = Some((peak(&changed), cuts.start() - 1, changed));
                }
            }
            let Some((_, first, changed)) = least else { break };
            stages.splice(first..first + changed.len(), changed);
        }
        Ok(stages)
    }

    /// The stages on both sides of the cuts, each of which is moved by one place; nothing where one cannot be moved, or a stage then takes `below` bytes or more.
    fn moved(
        &self,
        network: &Divisible,
        stages: &[Weighed],
        cuts: RangeInclusive<usize>,
        forward: bool,
        below: u64,
        timings: &mut Timings,
    ) -> Result<Option<Vec<Weighed>>> {
        let mut steps: Vec<_> = stages.iter().map(|stage| stage.segment.steps.clone()).collect();
        if !cuts.clone().all(|cut| network.move_cut(&mut steps, cut, forward)) {
            return Ok(None);
        }
        let Some(segments) = network.cut_at(&steps)? else { return Ok(None) };
        let mut weighed = Vec::new();
        for segment in segments.into_iter().skip(cuts.start() - 1).take(cuts.count() + 1) {
            let stage = self.weigh(segment, timings)?;
            if stage.memory.total_bytes() >= below {
                return Ok(None);
            }
            weighed.push(stage);
        }
        Ok(Some(weighed))
    }

    fn stages(&self, segments: Vec<Segment>, timings: &mut Timings) -> Result<Vec<Weighed>> {
        let count = segments.len();
        let mut stages = Vec::with_capacity(count);
        for (number, segment) in (1..).zip(segments) {
            self.watch.progress.step(&format!("stage {number} of {count}"));
            stages.push(self.weigh(segment, timings)?);
            self.watch.cancel.check()?;
        }
        Ok(stages)
    }

    fn weigh(&self, segment: Segment, timings: &mut Timings) -> Result<Weighed> {
        let digest = digest(&segment)?;
        let known = self.weighed.borrow().get(&digest).copied();
        let ((weights_bytes, activation_bytes), compiled) = match known {
            Some(known) => (known, None),
            None => {
                let compiled = self.engine(&segment, timings)?;
                let weights = compiled.memory.weights_bytes.unwrap_or_else(|| segment.model.weights_bytes());
                let found = (weights, compiled.memory.activation_bytes.unwrap_or_default());
                self.weighed.borrow_mut().insert(digest, found);
                (found, Some(compiled))
            }
        };
        let memory = SegmentMemory { weights_bytes, activation_bytes, boundary_bytes: segment.boundary_bytes };
        Ok(Weighed { segment, memory, compiled })
    }

    fn finish(&self, Weighed { segment, memory, compiled }: Weighed, timings: &mut Timings) -> Result<CompiledStage> {
        let compiled = compiled.map_or_else(|| self.engine(&segment, timings), Ok)?;
        Ok(CompiledStage { segment, compiled, memory })
    }

    fn engine(&self, segment: &Segment, timings: &mut Timings) -> Result<Compiled> {
        let options = CompileOptions { formats: segment.formats(), ..self.options.clone() };
        compile(self.tensorrt, &segment.model, &segment.shapes, &options, timings, self.watch)
    }
}

/// Digest of all that the memory of a segment's engine depends on: everything but the values of its weights.
fn digest(segment: &Segment) -> Result<String> {
    let (skeleton, _) = segment.model.split_weights(WEIGHTS_BYTES).map_err(Error::pass("stages"))?;
    let asked = format!("{:?} {:?}", segment.shapes.ranges, segment.formats());
    Ok(crate::digest::of_bytes(&[&skeleton, asked.as_bytes()].concat()))
}

/// The number of stages beyond which one more is expected to save little.
pub(crate) fn worthwhile(network: &Divisible) -> Result<usize> {
    let peak = |count: usize| network.expected_peak(count).unwrap_or(u64::MAX) as f64;
    if network.most() < 2 {
        return Err(network.too_many(2));
    }
    let more_pays = |&count: &usize| peak(count + 1) < peak(count) * (1.0 - LEAST_SAVING);
    Ok((2..network.most().min(MOST_STAGES)).take_while(more_pays).last().map_or(2, |count| count + 1))
}

/// What the stage that takes most takes.
fn peak(stages: &[Weighed]) -> u64 {
    stages.iter().map(|stage| stage.memory.total_bytes()).max().unwrap_or(0)
}

/// Memory of the stage that takes most, in whose time the peak is.
pub(crate) fn peak_memory(stages: &[CompiledStage]) -> MemoryInfo {
    let most = stages.iter().max_by_key(|stage| stage.memory.total_bytes());
    let memory = most.map(|stage| stage.memory).unwrap_or_default();
    MemoryInfo {
        weights_bytes: memory.weights_bytes,
        activation_bytes: memory.activation_bytes,
        io_bytes: memory.boundary_bytes,
        total_bytes: memory.total_bytes(),
        scratch_bytes: stages.iter().filter_map(|stage| stage.compiled.memory.scratch_bytes).max().unwrap_or_default(),
        by_batch: vec![],
    }
}
