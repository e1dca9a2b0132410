//! From a model file to the model that TensorRT gets: every step before verification and compilation, in one place and one order.

use crate::calibration::observe_ranges;
use crate::form::LeanForm;
use crate::int8::{Deciding, Decision, Form, Int8Options, Plan, WeighWith, plan_for_memory};
use crate::passes::{
    CancelCasts, ConvertToHalf, HalfInputsOutputs, Pass, PluginNodes, RaiseOpset, RemoveIdentities, RepairEfficientNms,
    ResolvedShapes, WeightForm, freeze_shapes, resolve_shapes, run_pass,
};
use crate::precision::node_label;
use crate::precision::{HALF_MAX, HalfPolicy, Keep, Precision, PrecisionTable, Ranges};
use crate::quantization::existing::{self, Existing};
use crate::samples::{SampleInput, SampleSource, Samples, sample_inputs};
use crate::shapes::ShapeRequest;
use crate::stage::{Stage, Timings};
use crate::{CancelFlag, Error, Progress, Result};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use trtforge_graph::{ElementType, Graph, Model, ValueType};
use trtforge_onnxruntime::{OnnxRuntime, release_freed_memory};
use trtforge_vision::Preprocess;

/// Observed magnitudes on the user's own samples may reach a quarter of the half range: other inputs may go further.
const LIMIT_ON_REAL_SAMPLES: f32 = HALF_MAX / 4.0;

/// What is to be made of a model.
#[derive(Clone, Debug)]
pub struct PrepareOptions {
    /// The ONNX file.
    pub model: PathBuf,
    /// Precision of the result.
    pub precision: Precision,
    /// Shapes asked for.
    pub shapes: ShapeRequest,
    /// Batch size for open first dimensions.
    pub batch: Option<u64>,
    /// Whether every open dimension must be settled (an engine needs it) or only those that were asked for.
    pub settle_shapes: bool,
    /// Sample inputs for ranges and verification.
    pub samples: SampleSource,
    /// Most samples to use: images, or entries of arrays.
    pub sample_count: Option<usize>,
    /// How many images may be unreadable; one in twenty, but at least one, where nothing is said.
    pub max_unreadable: Option<usize>,
    /// How images become inputs.
    pub preprocess: Option<Preprocess>,
    /// Whether ranges are observed before precision is decided.
    pub observe_ranges: bool,
    /// Nodes to keep in a precision.
    pub keep: Vec<Keep>,
    /// How INT8 is calibrated and what it must keep.
    pub int8: Int8Options,
    /// The form in which an INT8 network is laid out.
    pub form: LeanForm,
    /// Whether 32-bit inputs and outputs become half precision too.
    pub half_io: bool,
    /// Last step to run.
    pub stop_after: Option<Stage>,
    /// Steps after which the model is written to [`PrepareOptions::dump_folder`].
    pub dump_after: Vec<Stage>,
    /// Where dumps go.
    pub dump_folder: PathBuf,
}

impl PrepareOptions {
    /// Options for a model in a precision, everything else at its default.
    pub fn new(model: impl Into<PathBuf>, precision: Precision) -> Self {
        PrepareOptions {
            model: model.into(),
            precision,
            shapes: ShapeRequest::default(),
            batch: None,
            settle_shapes: true,
            samples: SampleSource::Synthetic,
            sample_count: None,
            max_unreadable: None,
            preprocess: None,
            observe_ranges: true,
            keep: vec![],
            int8: Int8Options::default(),
            form: LeanForm::default(),
            half_io: false,
            stop_after: None,
            dump_after: vec![],
            dump_folder: PathBuf::from("."),
        }
    }
}

/// A model ready for verification and compilation.
pub struct Prepared {
    /// The rewritten model.
    pub model: Model,
    /// The model as it was read, shapes settled: the reference of every comparison.
    pub reference: Model,
    /// Shape ranges of the inputs.
    pub shapes: ResolvedShapes,
    /// The precision of every node; empty where nothing was decided.
    pub table: PrecisionTable,
    /// What ranges were seen, where they were observed.
    pub ranges: Option<Ranges>,
    /// How INT8 was decided, where it was.
    pub decision: Option<Decision>,
    /// Wall time of the steps so far.
    pub timings: Timings,
}

/// Runs the pipeline up to the rewritten model.
///
/// # Errors
/// [`Error::NoCache`] where INT8 is to be read from a cache that neither is there nor can be made; those of the steps. Nothing is written except dumps that were asked for.
pub fn prepare(options: &PrepareOptions, progress: &dyn Progress, cancel: &CancelFlag) -> Result<Prepared> {
    prepare_weighed(options, None, progress, cancel)
}

/// As [`prepare`]; where there is someone who can say what the engine of a model takes, INT8 keeps an eye on it.
///
/// # Errors
/// As for [`prepare`].
pub(crate) fn prepare_weighed(
    options: &PrepareOptions,
    weigh: Option<&WeighModel<'_>>,
    progress: &dyn Progress,
    cancel: &CancelFlag,
) -> Result<Prepared> {
    if options.precision == Precision::Auto {
        return Err(Error::PrecisionUnavailable { precision: options.precision.name() });
    }
    if let (Precision::Int8, SampleSource::Synthetic, Some(cache)) =
        (options.precision, &options.samples, &options.int8.cache)
        && !cache.exists()
    {
        return Err(Error::NoCache { path: cache.clone() });
    }
    Preparation { options, weigh, progress, cancel, timings: Timings::default() }.run()
}

impl Prepared {
    /// Whether precisions were decided and not applied, because the pipeline was stopped in between.
    pub fn is_undecided(&self, options: &PrepareOptions) -> bool {
        !self.table.rows().is_empty() && options.stop_after.is_some_and(|stage| stage < Stage::Convert)
    }
}

/// Weights and activation, in bytes, of the engine of a converted model.
pub(crate) type WeighModel<'a> = dyn Fn(&Model, &ResolvedShapes) -> Result<u64> + Sync + 'a;

struct Preparation<'a> {
    options: &'a PrepareOptions,
    weigh: Option<&'a WeighModel<'a>>,
    progress: &'a dyn Progress,
    cancel: &'a CancelFlag,
    timings: Timings,
}

impl Preparation<'_> {
    fn run(mut self) -> Result<Prepared> {
        let path = self.options.model.clone();
        let read = self.stage(Stage::Read, |_| Model::read(&path).map_err(|source| Error::model(&path, source)))?;
        self.dump(Stage::Read, &read)?;
        if self.stops(Stage::Read) {
            return Ok(self.prepared(read.clone(), read, ResolvedShapes::default(), PrecisionTable::default(), None));
        }
        self.stage(Stage::Check, |_| {
            trtforge_graph::ensure_valid(&read).map_err(|source| Error::model(&path, source))
        })?;
        self.dump(Stage::Check, &read)?;
        if self.stops(Stage::Check) {
            return Ok(self.prepared(read.clone(), read, ResolvedShapes::default(), PrecisionTable::default(), None));
        }
        let (reference, shapes) = self.stage(Stage::FreezeShapes, |this| this.freeze(read))?;
        self.dump(Stage::FreezeShapes, &reference)?;
        if self.stops(Stage::FreezeShapes) {
            return Ok(self.prepared(reference.clone(), reference, shapes, PrecisionTable::default(), None));
        }
        let runtime = OnnxRuntime::load()?;
        let simplified = self.stage(Stage::Simplify, |this| this.simplify(&runtime, &reference))?;
        self.dump(Stage::Simplify, &simplified)?;
        if self.stops(Stage::Simplify) {
            return Ok(self.prepared(simplified, reference, shapes, PrecisionTable::default(), None));
        }
        let repaired = self.stage(Stage::Repair, |this| this.repair(&runtime, simplified))?;
        let repaired = self.restructure(&runtime, repaired)?;
        self.dump(Stage::Repair, &repaired)?;
        if self.stops(Stage::Repair) {
            return Ok(self.prepared(repaired, reference, shapes, PrecisionTable::default(), None));
        }
        if self.options.precision == Precision::Fp32 {
            let converted = band(repaired, self.options)?;
            self.dump(Stage::Convert, &converted)?;
            return Ok(self.prepared(converted, reference, shapes, PrecisionTable::default(), None));
        }
        if self.options.precision == Precision::Int8 {
            return self.int8(&runtime, reference, repaired, shapes);
        }
        let graph = typed_graph(&runtime, repaired.clone(), "decide-precision")?;
        let ranges = self.stage(Stage::ObserveRanges, |this| this.ranges(&runtime, &graph, &repaired, &shapes))?;
        let table = self.stage(Stage::DecidePrecision, |this| Ok(this.decide(&graph, ranges.as_ref())))?;
        self.dump(Stage::ObserveRanges, &repaired)?;
        self.dump(Stage::DecidePrecision, &repaired)?;
        if self.stops(Stage::ObserveRanges) || self.stops(Stage::DecidePrecision) {
            return Ok(self.prepared(repaired, reference, shapes, table, ranges));
        }
        drop(repaired);
        let converted = self
            .stage(Stage::Convert, |this| band(convert(graph, &table, this.options, this.progress)?, this.options))?;
        self.dump(Stage::Convert, &converted)?;
        Ok(self.prepared(converted, reference, shapes, table, ranges))
    }

    fn stage<T>(&mut self, stage: Stage, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.cancel.check()?;
        self.progress.step(stage.name());
        let start = std::time::Instant::now();
        let result = work(self);
        release_freed_memory();
        self.timings.add(stage, start.elapsed().as_secs_f64() * 1e3);
        result
    }

    fn stops(&self, stage: Stage) -> bool {
        self.options.stop_after == Some(stage)
    }

    fn dump(&self, stage: Stage, model: &Model) -> Result<()> {
        if !self.options.dump_after.contains(&stage) {
            return Ok(());
        }
        let stem = self.options.model.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let path = self.options.dump_folder.join(format!("{stem}.{stage}.onnx"));
        model.write(&path).map_err(|source| Error::model(&path, source))?;
        self.progress.note(&format!("wrote {}", path.display()));
        Ok(())
    }

    fn prepared(
        self,
        model: Model,
        reference: Model,
        shapes: ResolvedShapes,
        table: PrecisionTable,
        ranges: Option<Ranges>,
    ) -> Prepared {
        Prepared { model, reference, shapes, table, ranges, decision: None, timings: self.timings }
    }

    /// Settles the shapes. Where only the asked ones are wanted and one is open, the others stay as they are.
    fn freeze(&mut self, mut model: Model) -> Result<(Model, ResolvedShapes)> {
        let nothing_asked = self.options.shapes.is_empty() && self.options.batch.is_none();
        if !self.options.settle_shapes && nothing_asked {
            return Ok((model, ResolvedShapes::default()));
        }
        let shapes = resolve_shapes(&model, &self.options.shapes, self.options.batch)?;
        for note in &shapes.notes {
            self.progress.note(note);
        }
        freeze_shapes(&mut model, &shapes);
        Ok((model, shapes))
    }

    fn simplify(&mut self, runtime: &OnnxRuntime, model: &Model) -> Result<Model> {
        let (plain, plugins) = PluginNodes::set_aside(model)?;
        let simplified = match runtime.optimize(plain.as_ref().unwrap_or(model)) {
            // TensorRT may well have what ONNX Runtime lacks on a CPU.
            Err(error @ trtforge_onnxruntime::Error::NoKernel { .. }) => {
                self.progress.note(&format!("not simplified: {error}"));
                return Ok(model.clone());
            }
            other => other?,
        };
        Ok(plugins.put_back(simplified))
    }

    fn repair(&mut self, runtime: &OnnxRuntime, model: Model) -> Result<Model> {
        let mut graph = typed_graph(runtime, model, "repair")?;
        for pass in [&RepairEfficientNms as &dyn Pass, &RemoveIdentities, &CancelCasts] {
            run_pass(pass, &mut graph, self.progress)?;
        }
        if self.options.precision == Precision::Int8
            || self.options.precision == Precision::Fp16
                && graph.node_ids().any(|node| graph.op_type(node) == "Upsample")
        {
            self.raise_opset(&mut graph)?;
        }
        graph.into_model().map_err(Error::pass("repair"))
    }

    /// The form's rewrites of convolutions, where the network is not quantized; for INT8 they come before calibration.
    fn restructure(&mut self, runtime: &OnnxRuntime, model: Model) -> Result<Model> {
        if self.options.precision == Precision::Int8 || self.options.form.is_plain() {
            return Ok(model);
        }
        let mut graph = typed_graph(runtime, model, "form")?;
        self.options.form.restructure(&mut graph, self.progress)?;
        graph.into_model().map_err(Error::pass("form"))
    }

    /// `Upsample` has no half-precision kernel; its successor has. Where the model cannot be raised it stays as it is, with a note.
    fn raise_opset(&mut self, graph: &mut Graph) -> Result<()> {
        match run_pass(&RaiseOpset { target: 19 }, graph, self.progress) {
            Err(Error::Opset { node, operator, reason, .. }) => {
                self.progress.note(&format!("the opset stays as it is: {operator} `{node}`: {reason}"));
                Ok(())
            }
            other => other.map(drop),
        }
    }

    fn ranges(
        &mut self,
        runtime: &OnnxRuntime,
        graph: &Graph,
        model: &Model,
        shapes: &ResolvedShapes,
    ) -> Result<Option<Ranges>> {
        if !self.options.observe_ranges {
            return Ok(None);
        }
        let (plain, _) = PluginNodes::set_aside(model)?;
        if plain.as_ref().is_some_and(|plain| plain.proto().graph.input.len() > model.proto().graph.input.len()) {
            self.progress.note(
                "ranges were not observed: what plugins write is read by other nodes, and plugins cannot run here",
            );
            return Ok(None);
        }
        let samples = open_samples(self.options, &self.options.model, model, shapes)?;
        let observed = match plain {
            Some(plain) => {
                let graph = typed_graph(runtime, plain.clone(), "observe-ranges")?;
                observe_ranges(runtime, &graph, &plain, &samples, self.progress, self.cancel)
            }
            None => observe_ranges(runtime, graph, model, &samples, self.progress, self.cancel),
        };
        observed.map(Some)
    }

    fn half_limit(&self) -> f32 {
        if !matches!(self.options.samples, SampleSource::Synthetic) { LIMIT_ON_REAL_SAMPLES } else { HALF_MAX }
    }

    fn decide(&mut self, graph: &Graph, ranges: Option<&Ranges>) -> PrecisionTable {
        let policy = HalfPolicy { ranges, limit: self.half_limit(), keep: &self.options.keep };
        for pattern in policy.unmatched_keeps(graph) {
            self.progress.note(&format!("--keep pattern `{pattern}` matches no node"));
        }
        policy.decide(graph)
    }

    /// Explicit quantization, the rest in half precision.
    fn int8(
        mut self,
        runtime: &OnnxRuntime,
        reference: Model,
        repaired: Model,
        shapes: ResolvedShapes,
    ) -> Result<Prepared> {
        let (plain, plugins) = PluginNodes::set_aside(&repaired)?;
        if plain.as_ref().is_some_and(|plain| plain.proto().graph.input.len() > repaired.proto().graph.input.len()) {
            return Err(Error::Samples(
                "what plugins write is read by other nodes, and plugins cannot run here, so INT8 cannot be judged"
                    .into(),
            ));
        }
        let mut graph = typed_graph(runtime, plain.unwrap_or(repaired), "calibrate")?;
        let existing = existing::settle(&mut graph, self.progress)?;
        if !matches!(existing, Existing::None) {
            self.progress.note("the model comes quantized: its own scales are kept, and the rest stays as it is");
            let model = plugins.put_back(graph.into_model().map_err(Error::pass("convert"))?);
            self.dump(Stage::Convert, &model)?;
            return Ok(self.prepared(model, reference, shapes, PrecisionTable::default(), None));
        }
        let names = graph.value_ids().map(|value| graph.value(value).name.clone()).collect();
        self.options.form.restructure(&mut graph, self.progress)?;
        let decision =
            self.stage(Stage::Calibrate, |this| this.calibrate(runtime, &graph, &names, &shapes, &plugins))?;
        let mut table = decision.half.clone();
        decision.found.plan.placement.rows.iter().for_each(|(&node, row)| table.set(node, row.clone()));
        let before = graph.clone().into_model().map_err(Error::pass("calibrate"))?;
        self.dump(Stage::Calibrate, &before)?;
        if self.stops(Stage::ObserveRanges) || self.stops(Stage::DecidePrecision) || self.stops(Stage::Calibrate) {
            let mut prepared = self.prepared(before, reference, shapes, table, Some(decision.ranges.clone()));
            prepared.decision = Some(decision);
            return Ok(prepared);
        }
        let converted = self.stage(Stage::Convert, |this| {
            let (plan, half) = (&decision.found.plan, &decision.half);
            convert_plan(graph, plan, half, this.options, this.progress)
        })?;
        let converted = plugins.put_back(converted);
        self.dump(Stage::Convert, &converted)?;
        let mut prepared = self.prepared(converted, reference, shapes, table, Some(decision.ranges.clone()));
        prepared.decision = Some(decision);
        Ok(prepared)
    }

    fn calibrate(
        &mut self,
        runtime: &OnnxRuntime,
        graph: &Graph,
        names: &HashSet<String>,
        shapes: &ResolvedShapes,
        plugins: &PluginNodes,
    ) -> Result<Decision> {
        let model = graph.clone().into_model().map_err(Error::pass("calibrate"))?;
        let samples = open_samples(self.options, &self.options.model, &model, shapes)?;
        if samples.is_synthetic() {
            let made = if self.options.int8.cache.is_some() { "judged" } else { "calibrated" };
            self.progress.note(&format!(
                "{made} on synthetic inputs: give real ones with --calibration for a result to rely on"
            ));
        }
        let patterns = self
            .options
            .keep
            .iter()
            .filter(|keep| !graph.node_ids().any(|node| keep.pattern.is_match(&node_label(graph, node))));
        patterns.for_each(|keep| self.progress.note(&format!("--keep pattern `{}` matches no node", keep.pattern)));
        let weigh = self.weigh.map(|weigh| {
            |plan: &Plan, half: &PrecisionTable| {
                let converted = convert_plan(graph.clone(), plan, half, self.options, &())?;
                weigh(&plugins.clone().put_back(converted), shapes)
            }
        });
        let deciding = Deciding {
            runtime,
            graph,
            names,
            model: &model,
            samples: &samples,
            options: self.options,
            half_limit: self.half_limit(),
            memory: weigh.as_ref().map(|weigh| weigh as &WeighWith<'_>),
            progress: self.progress,
            cancel: self.cancel,
        };
        let decision = deciding.run()?;
        decision.found.notes.iter().for_each(|note| self.progress.note(note));
        Ok(decision)
    }
}

/// Applies a plan, converts what is left to half precision, and cuts the bands.
fn convert_plan(
    mut graph: Graph,
    plan: &Plan,
    half: &PrecisionTable,
    options: &PrepareOptions,
    progress: &dyn Progress,
) -> Result<Model> {
    let inserted = plan.apply(&mut graph, WeightForm::Integers)?;
    let mut half = half.clone();
    inserted.carry_over(&graph, &mut half);
    band(convert(graph, &half, options, progress)?, options)
}

/// Cuts the bands of a converted network.
fn band(converted: Model, options: &PrepareOptions) -> Result<Model> {
    if options.form.is_plain() {
        return Ok(converted);
    }
    let mut graph = Graph::new(converted).map_err(Error::pass("bands"))?;
    options.form.band(&mut graph)?;
    graph.into_model().map_err(Error::pass("bands"))
}

fn convert(
    mut graph: Graph,
    table: &PrecisionTable,
    options: &PrepareOptions,
    progress: &dyn Progress,
) -> Result<Model> {
    to_half(&mut graph, table)?;
    if options.half_io {
        run_pass(&HalfInputsOutputs, &mut graph, progress)?;
    }
    run_pass(&CancelCasts, &mut graph, progress)?;
    graph.remove_dead();
    graph.into_model().map_err(Error::pass("convert-to-half"))
}

/// The graph of a model with the type of every value: those recorded in the model, completed by ONNX Runtime where some are missing.
pub(crate) fn typed_graph(runtime: &OnnxRuntime, model: Model, pass: &'static str) -> Result<Graph> {
    let (plain, _) = PluginNodes::set_aside(&model)?;
    let graph = Graph::new(model.clone()).map_err(Error::pass(pass))?;
    if all_typed(&graph) {
        return Ok(graph);
    }
    let mut graph = graph;
    match runtime.infer_types(plain.as_ref().unwrap_or(&model)) {
        Err(trtforge_onnxruntime::Error::NoKernel { .. }) => {}
        types => {
            graph.set_types(types?);
        }
    }
    Ok(graph)
}

/// The graph of a model with every input at its largest shape and with the type of every value.
pub(crate) fn at_largest_shapes(runtime: &OnnxRuntime, model: &Model, shapes: &ResolvedShapes) -> Result<Graph> {
    let mut model = model.clone();
    if shapes.is_dynamic() {
        freeze_shapes(&mut model, &shapes.largest());
        model.proto_mut().graph.mut_or_insert_default().value_info.clear();
    }
    typed_graph(runtime, model, "account")
}

fn all_typed(graph: &Graph) -> bool {
    graph.node_ids().all(|node| graph.outputs(node).iter().flatten().all(|&value| graph.value(value).ty.is_some()))
}

/// Opens the samples of `options` for the inputs of `model`.
pub(crate) fn open_samples(
    options: &PrepareOptions,
    path: &Path,
    model: &Model,
    shapes: &ResolvedShapes,
) -> Result<Samples> {
    let graph = Graph::new(model.clone()).map_err(|source| Error::model(path, source))?;
    let resolved =
        if shapes.ranges.is_empty() { resolve_shapes(model, &options.shapes, options.batch)? } else { shapes.clone() };
    let inputs = fillable_inputs(&graph, &resolved)?;
    let samples = Samples::open(&options.samples, options.sample_count, options.preprocess.as_ref(), inputs)?;
    Ok(samples.with_max_unreadable(options.max_unreadable))
}

fn fillable_inputs(graph: &Graph, shapes: &ResolvedShapes) -> Result<Vec<SampleInput>> {
    let mut types: Vec<(String, ElementType)> = Vec::new();
    for &input in graph.graph_inputs() {
        let value = graph.value(input);
        match &value.ty {
            Some(ValueType::Tensor(ty)) => types.push((value.name.clone(), ty.element)),
            _ => return Err(Error::Samples(format!("input `{}` is no tensor; samples cannot fill it", value.name))),
        }
    }
    Ok(sample_inputs(&types, &shapes.ranges))
}

/// A network in 32 bits as it goes to TensorRT in the precision asked for, for builds that only ask for memory: no range is observed, and the scales of
/// INT8 mean nothing; see [`plan_for_memory`].
pub(crate) fn convert_for_memory(
    mut graph: Graph,
    options: &PrepareOptions,
    placement: Form,
    cached: Option<&HashSet<String>>,
) -> Result<Model> {
    if options.precision == Precision::Fp32 {
        return graph.into_model().map_err(Error::pass("form"));
    }
    let mut half = HalfPolicy { ranges: None, limit: HALF_MAX, keep: &options.keep }.decide(&graph);
    if options.precision == Precision::Int8 {
        let plan = plan_for_memory(&graph, &half, options, placement, cached);
        plan.apply(&mut graph, WeightForm::Integers)?.carry_over(&graph, &mut half);
    }
    convert(graph, &half, options, &())
}

/// Applies a table. Once: a second look would convert again what the table still calls half.
fn to_half(graph: &mut Graph, table: &PrecisionTable) -> Result<()> {
    for patch in (ConvertToHalf { table }).patches(graph)? {
        graph.apply(patch).map_err(Error::pass("convert-to-half"))?;
    }
    Ok(())
}
