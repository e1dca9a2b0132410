//! From a network in 32 bits and calibration samples to the plan of its quantized form: the pass over the samples, or a cache in its place, and the search.

use super::correction::corrections;
use super::plan::Plan;
use super::policy::{Form, left_to_half};
use super::search::{Found, Search, Wanted, Weigh};
use super::survey::{ChannelStatistics, Survey};
use super::trial::TrialGround;
use super::work::Work;
use crate::calibration::{
    Binding, CalibrateOptions, CalibrationCache, Histogram, Method, Observation, Pass, Saved, Sidecar, calibrate,
    calibrated_tensors, check_tensors, concatenations_of, half_scale, histograms_path, load_observation, observe,
};
use crate::config::CalibrationMethod;
use crate::precision::{HalfPolicy, PrecisionRow, PrecisionTable, Ranges};
use crate::prepare::PrepareOptions;
use crate::samples::Samples;
use crate::{AccuracyFloor, CancelFlag, Error, Progress, Result, digest};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use trtforge_graph::{Graph, Model, ValueId};
use trtforge_onnxruntime::OnnxRuntime;

/// Samples that quantized forms are tried on.
pub const TRIED_SAMPLES: usize = 16;
/// Most and fewest samples that channels are looked at on.
const SURVEYED_SAMPLES: (usize, usize) = (64, 16);
/// Multiply-accumulate operations that a look at the channels may take, as far as the fewest samples allow: means and ranges change little after some dozen images.
const SURVEY_OPERATIONS: f64 = 5e11;
/// What the search reaches beyond the floor, in decibel, because the rest is rounded to half precision afterwards.
const MARGIN_DB: f64 = 0.3;

/// The floor of INT8 where nothing is said.
pub const DEFAULT_FLOOR: AccuracyFloor = AccuracyFloor { sqnr_db: None, cosine: None, channel_db: Some(10.0) };

/// What is reached beyond the default floor where it costs little.
pub const WANTED: Wanted = Wanted { channel_db: 26.0, expendable: 0.05 };

/// How a network is calibrated and what it must keep.
#[derive(Clone, Debug)]
pub struct Int8Options {
    /// How thresholds are chosen.
    pub method: CalibrationMethod,
    /// The calibration cache: read where it exists, written where it does not.
    pub cache: Option<PathBuf>,
    /// Whether a cache or histograms made from something else are used, or thrown away, all the same.
    pub force: bool,
    /// Inputs to run at once; 0 is one per processor.
    pub threads: usize,
    /// The least accuracy; [`DEFAULT_FLOOR`] where nothing is said.
    pub floor: Option<AccuracyFloor>,
    /// Whether depthwise convolutions compute in INT8 as well. TensorRT pads their channels there, which may take more memory than FP16; a build finds out.
    pub depthwise: bool,
    /// Whether tensors may be repaired and left in FP16 to reach the floor.
    pub search: bool,
}

impl Default for Int8Options {
    fn default() -> Self {
        Int8Options {
            method: CalibrationMethod::Auto,
            cache: None,
            force: false,
            threads: 0,
            floor: None,
            depthwise: true,
            search: true,
        }
    }
}

/// A decision, with what it was made from.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The quantized form, and how it was found.
    pub found: Found,
    /// Which floating-point precision every node has where it is not INT8.
    pub half: PrecisionTable,
    /// What is known of the ranges of values.
    pub ranges: Ranges,
    /// What it was calibrated on.
    pub calibration: CalibrationSummary,
    /// Share of the arithmetic of nodes with weights that is done in INT8.
    pub int8_share: f64,
}

/// What a quantized network was calibrated on.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CalibrationSummary {
    /// The method asked for; where scales are taken from a cache the one that made it, or `imported`.
    pub method: String,
    /// Number of images or samples; 0 where a cache was imported.
    pub images: usize,
    /// SHA-256 over the calibration files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_sha256: Option<String>,
    /// SHA-256 of the `preprocess` block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocess_sha256: Option<String>,
    /// SHA-256 of the cache, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_sha256: Option<String>,
    /// What was done to tensors one by one: another threshold, equalisation, centring.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tensors: BTreeMap<String, String>,
}

/// What calibration gives the search.
struct Calibrated {
    histograms: BTreeMap<String, Histogram>,
    scales: HashMap<String, f32>,
    ranges: Ranges,
    images: usize,
    binding: Option<Binding>,
    /// How the scales of a cache were found, where they are taken as they are.
    made_by: Option<String>,
}

/// As [`Weigh`], given which precision nodes have where they are not INT8.
pub(crate) type WeighWith<'a> = dyn Fn(&Plan, &PrecisionTable) -> Result<u64> + Sync + 'a;

/// Everything a decision needs.
pub(crate) struct Deciding<'a> {
    pub(crate) runtime: &'a OnnxRuntime,
    pub(crate) graph: &'a Graph,
    /// Names of the network's tensors before it was laid out anew; a cache may speak of them.
    pub(crate) names: &'a HashSet<String>,
    pub(crate) model: &'a Model,
    pub(crate) samples: &'a Samples,
    pub(crate) options: &'a PrepareOptions,
    /// Largest magnitude that half precision may have been seen with.
    pub(crate) half_limit: f32,
    /// What the engine of a plan takes, where that can be found out.
    pub(crate) memory: Option<&'a WeighWith<'a>>,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) cancel: &'a CancelFlag,
}

impl Deciding<'_> {
    /// Calibrates and searches.
    ///
    /// # Errors
    /// Those of the pass, the cache and the search; [`Error::NothingToCalibrate`] where no node can compute in INT8.
    pub(crate) fn run(&self) -> Result<Decision> {
        let calibrated = self.calibrated()?;
        if let Some(note) = calibrated.note_of_dead_tensors() {
            self.progress.note(&note);
        }
        let (options, keep) = (&self.options.int8, &self.options.keep);
        let ranges = self.options.observe_ranges.then_some(&calibrated.ranges).filter(|ranges| !ranges.is_empty());
        let half = HalfPolicy { ranges, limit: self.half_limit, keep }.decide(self.graph);
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let ground = TrialGround::new(
            self.runtime,
            self.graph,
            self.samples,
            TRIED_SAMPLES,
            surveyed_samples(Work::of(self.graph).total()),
            threads,
            self.cancel,
        )?
        .heard_by(self.progress);
        let known = |name: &str| calibrated.histograms.contains_key(name) || calibrated.scales.contains_key(name);
        let weigh = self.memory.map(|weigh| |plan: &Plan| weigh(plan, &half));
        let search = Search {
            ground: &ground,
            half: &half,
            keep,
            histograms: &calibrated.histograms,
            scales: &calibrated.scales,
            known: &known,
            method: Method::of(options.method),
            floor: beyond(options.floor.unwrap_or(DEFAULT_FLOOR)),
            wanted: options.floor.is_none().then_some(WANTED),
            memory: weigh.as_ref().map(|weigh| weigh as &Weigh<'_>),
            form: self.options.form.placement,
            depthwise: options.depthwise,
            improve: options.search,
            progress: self.progress,
        };
        let found = search.run()?;
        if found.plan.placement.is_empty() && found.left.is_empty() {
            return Err(self.nothing_to_quantize(found.plan.placement.rows.into_values().collect()));
        }
        let nodes = found.plan.placement.weights.keys().copied();
        let int8_share = Work::of(self.graph).share_of(nodes);
        let calibration = self.summary(&calibrated, &found);
        Ok(Decision { found, half, ranges: calibrated.ranges, calibration, int8_share })
    }

    fn nothing_to_quantize(&self, rows: Vec<PrecisionRow>) -> Error {
        let is_kept = |row: &&PrecisionRow| self.options.keep.iter().any(|keep| keep.pattern.is_match(&row.node));
        let kept = rows.iter().filter(is_kept).count();
        Error::NothingToCalibrate { rows, kept }
    }

    fn summary(&self, calibrated: &Calibrated, found: &Found) -> CalibrationSummary {
        let binding = calibrated.binding.as_ref();
        let cache = self.options.int8.cache.as_deref();
        CalibrationSummary {
            method: calibrated.made_by.clone().unwrap_or_else(|| self.options.int8.method.name().into()),
            images: calibrated.images,
            data_sha256: binding.and_then(|binding| binding.data_sha256.clone()),
            preprocess_sha256: binding.and_then(|binding| binding.preprocess_sha256.clone()),
            cache_sha256: cache.and_then(|cache| digest::of_file(cache).ok()),
            tensors: found.methods.clone(),
        }
    }

    fn calibrated(&self) -> Result<Calibrated> {
        match &self.options.int8.cache {
            Some(cache) if cache.exists() => self.read_cache(cache),
            Some(cache) => {
                let options = CalibrateOptions {
                    method: self.options.int8.method,
                    threads: self.options.int8.threads,
                    force: self.options.int8.force,
                    ..CalibrateOptions::new(self.options.clone(), cache)
                };
                calibrate(&options, self.progress, self.cancel)?;
                self.read_cache(cache)
            }
            None => self.observed(),
        }
    }

    /// One pass over the samples, nothing kept on disk.
    fn observed(&self) -> Result<Calibrated> {
        let tensors = calibrated_tensors(self.graph);
        let pass = Pass {
            runtime: self.runtime,
            graph: self.graph,
            model: self.model,
            samples: self.samples,
            tensors: &tensors,
            ranges: self.options.observe_ranges,
            threads: self.options.int8.threads,
            checkpoint: &|_| Ok(()),
            progress: self.progress,
            cancel: self.cancel,
        };
        let observation = observe(&pass, Observation::default())?;
        self.cancel.check()?;
        Ok(Calibrated::of(&observation, crate::calibration::binding(self.options, self.samples).ok()))
    }

    /// The scales of a cache. Where the histograms behind it lie beside it, they serve the search, which can then choose again.
    fn read_cache(&self, path: &Path) -> Result<Calibrated> {
        let cache = CalibrationCache::read(path)?;
        let sidecar = Sidecar::read(path)?;
        let binding = crate::calibration::binding(self.options, self.samples)?;
        let force = self.options.int8.force;
        if let (Some(sidecar), false) = (&sidecar, force) {
            let bytes = std::fs::read(path).map_err(|source| Error::io(path, source))?;
            sidecar.require(&Binding { method: None, ..binding.clone() }, &bytes, path)?;
        }
        let joined = concatenations_of(self.graph, &|name| cache.scale(name).is_some());
        let mut needed = self.needed();
        needed.retain(|name| joined.iter().all(|(whole, _)| whole != name));
        let known = |name: &str| self.names.contains(name);
        let fit = check_tensors(&cache, &needed, &known);
        if !force {
            fit.require(path)?;
        }
        if let Saved::Observation(saved) = load_observation(&histograms_path(path))?
            && saved.0.differences(&binding).is_empty()
            && sidecar.is_some()
        {
            let mut calibrated = Calibrated::of(&saved.1, Some(saved.0));
            if self.options.int8.method != CalibrationMethod::Auto {
                calibrated.scales = scales_of(&cache);
            }
            return Ok(calibrated.with_concatenations(&joined));
        }
        self.progress.note("scales are those of the cache; ranges are observed on the samples");
        let ranges = match self.options.observe_ranges {
            true => crate::calibration::observe_ranges(
                self.runtime,
                self.graph,
                self.model,
                self.samples,
                self.progress,
                self.cancel,
            )?,
            false => Ranges::default(),
        };
        let made = sidecar.map(|sidecar| sidecar.binding).unwrap_or_default();
        let images = made.images.unwrap_or_default();
        let made_by = Some(made.method.clone().unwrap_or_else(|| "imported".into()));
        let (histograms, scales) = (BTreeMap::new(), scales_of(&cache));
        let calibrated = Calibrated { histograms, scales, ranges, images, binding: Some(made), made_by };
        Ok(calibrated.with_concatenations(&joined))
    }

    /// Tensors without which nodes with weights cannot be quantized.
    fn needed(&self) -> Vec<String> {
        let half = HalfPolicy { ranges: None, limit: self.half_limit, keep: &self.options.keep }.decide(self.graph);
        let excluded = left_to_half(self.graph, self.options.int8.depthwise);
        let excluded_tensors = HashMap::new();
        let policy = super::Int8Policy {
            half: &half,
            keep: &self.options.keep,
            excluded: &excluded,
            excluded_tensors: &excluded_tensors,
            form: Form::INPUTS_ONLY,
        };
        let tensors = policy.place(self.graph).tensors;
        tensors.keys().map(|&value| self.graph.value(value).name.clone()).collect()
    }
}

impl Calibrated {
    fn of(observation: &Observation, binding: Option<Binding>) -> Calibrated {
        Calibrated {
            histograms: observation
                .histograms()
                .map(|(name, histogram)| (name.to_owned(), histogram.clone()))
                .collect(),
            scales: HashMap::new(),
            ranges: observation.ranges(),
            images: observation.samples(),
            binding,
            made_by: None,
        }
    }

    fn note_of_dead_tensors(&self) -> Option<String> {
        let mut dead = self.histograms.iter().filter(|(_, seen)| seen.min() == 0.0 && seen.max() == 0.0);
        let (name, _) = dead.next()?;
        Some(match dead.count() {
            0 => format!("tensor `{name}` is zero on every input: its scale says nothing of others"),
            more => {
                format!("tensor `{name}` and {more} more are zero on every input: their scales say nothing of others")
            }
        })
    }

    /// Adds what is known of concatenations through their parts: the widest scale, the union of the histograms.
    fn with_concatenations(mut self, joined: &[(&str, Vec<&str>)]) -> Calibrated {
        for (whole, parts) in joined {
            if let Some(scale) = parts.iter().filter_map(|&part| self.scales.get(part)).copied().reduce(f32::max) {
                self.scales.insert((*whole).to_owned(), scale);
            }
            let mut histograms = parts.iter().filter_map(|&part| self.histograms.get(part));
            if let Some(mut union) = histograms.next().cloned() {
                histograms.for_each(|histogram| union.merge(histogram));
                self.histograms.insert((*whole).to_owned(), union);
            }
        }
        self
    }
}

fn scales_of(cache: &CalibrationCache) -> HashMap<String, f32> {
    cache.entries().iter().map(|(name, scale)| (name.clone(), *scale)).collect()
}

/// Samples that channels of a network of so many operations are looked at on.
fn surveyed_samples(operations: f64) -> usize {
    let (most, fewest) = SURVEYED_SAMPLES;
    ((SURVEY_OPERATIONS / operations.max(1.0)) as usize).clamp(fewest, most)
}

/// A floor a little above another.
fn beyond(floor: AccuracyFloor) -> AccuracyFloor {
    let raise = |decibel: Option<f64>| decibel.map(|decibel| decibel + MARGIN_DB);
    AccuracyFloor { sqnr_db: raise(floor.sqnr_db), channel_db: raise(floor.channel_db), ..floor }
}

/// A plan with scales that mean nothing, for builds that only look at memory: everything that can be quantized is, and whatever else decides how an engine is packed is
/// there as a calibration leaves it: no tensor without a scale, a scale of its own for every group, corrected biases. `cached` are the tensors of a calibration cache;
/// without one it is what a calibration of `graph` looks at.
pub fn plan_for_memory(
    graph: &Graph,
    half: &PrecisionTable,
    options: &PrepareOptions,
    placement: Form,
    cached: Option<&HashSet<String>>,
) -> Plan {
    let mut known = cached.cloned().unwrap_or_else(|| calibrated_tensors(graph).into_iter().collect());
    let joined = concatenations_of(graph, &|name| known.contains(name));
    known.extend(joined.into_iter().map(|(whole, _)| whole.to_owned()).collect::<Vec<_>>());
    let unknown = graph.value_ids().filter(|&value| !known.contains(&graph.value(value).name));
    let (excluded, excluded_tensors) =
        (left_to_half(graph, options.int8.depthwise), unknown.map(|value| (value, String::new())).collect());
    let policy = super::Int8Policy {
        half,
        keep: &options.keep,
        excluded: &excluded,
        excluded_tensors: &excluded_tensors,
        form: placement,
    };
    let placement = policy.place(graph);
    let scale = |group: usize| half_scale((1.0 + group as f32 / 256.0) / 64.0);
    let scales = placement.tensors.iter().map(|(&value, tensor)| (value, scale(tensor.group))).collect();
    let mut plan = Plan { placement, scales, ..Plan::default() };
    plan.corrections = corrections(graph, &plan, &even_survey(graph, &plan));
    plan
}

/// What a survey says of the tensors of a plan, as if every element were 1.
fn even_survey(graph: &Graph, plan: &Plan) -> Survey {
    let even = ChannelStatistics { min: 1.0, max: 1.0, mean: 1.0, quantized_mean: 1.0, noise: 0.0, variance: 0.0 };
    let channels = |value: ValueId| match graph.value(value).ty.as_ref()?.tensor()?.shape.as_deref()? {
        [_, channels, _, ..] => channels.fixed(),
        _ => None,
    };
    let values = plan.placement.tensors.keys();
    values.filter_map(|&value| Some((value, vec![even; channels(value)? as usize]))).collect()
}
