//! A model opened for running on the CPU.
//!
//! A session is opened from a staged model, so its weights exist once, mapped. Every input is checked against the model
//! before ONNX Runtime sees it, because its own texts for that name the input but not what the caller gave.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use ort::ep::CPU;
use ort::operator::OperatorDomain;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{OutputSelector, RunOptions, SessionInputValue};
use ort::value::DynValue;
use trtforge_graph::proto::ModelProto;
use trtforge_graph::{Dimension, Model, Tensor, TensorType};

use crate::OnnxRuntime;
use crate::error::{Error, Result};
use crate::host_tensor::{lend, take, tensor_type};
use crate::log::{Log, Warning};
use crate::staging::{Contents, Staged, settle_initializers};

/// How far ONNX Runtime may rewrite a model before it runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Optimization {
    /// Not at all.
    Disabled,
    /// Constant folding and removal of what does nothing.
    Basic,
    /// Also fusions of its own.
    Extended,
    /// Also other memory layouts: fastest runs, slowest start, weights held twice.
    #[default]
    All,
}

/// How a session is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionConfig {
    /// Threads within an operator; 0 is one per processor that this process may use.
    pub threads: usize,
    /// How far the model is rewritten first.
    pub optimization: Optimization,
    /// Keeps freed memory for the next run: faster, but the high-water mark stays taken.
    pub memory_arena: bool,
    /// Lets idle threads wait in a loop: faster for runs back to back, a burden to everything else on the machine.
    pub spinning: bool,
    /// Holds weights a second time in the order that the processor likes best.
    pub prepacking: bool,
    /// Lets integer kernels take the place of Q/DQ pairs and what lies between them, as ONNX Runtime does by itself.
    /// Without, quantization is computed as it is written.
    pub integer_kernels: bool,
}

impl Default for SessionConfig {
    fn default() -> Self {
        let optimization = Optimization::default();
        let (spinning, prepacking, integer_kernels) = (false, false, false);
        Self { threads: 0, optimization, memory_arena: true, spinning, prepacking, integer_kernels }
    }
}

/// Name and type of an input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoInfo {
    /// Its name.
    pub name: String,
    /// Its type, with open dimensions as the model declares them.
    pub ty: TensorType,
}

/// A model opened for running on the CPU.
#[derive(Debug)]
pub struct Session {
    inner: ort::session::Session,
    inputs: Vec<IoInfo>,
    outputs: Vec<IoInfo>,
    log: Log,
}

impl OnnxRuntime {
    /// Opens `model` for running. Weights that are also graph inputs are constants here, as they are to TensorRT.
    ///
    /// # Errors
    /// ONNX Runtime does not know an operator, cannot run one on the CPU or refuses the model; the temporary folder
    /// cannot take the weights; an input or output is no tensor.
    pub fn session(&self, model: &Model, config: &SessionConfig) -> Result<Session> {
        let mut proto = model.proto().clone();
        settle_initializers(&mut proto);
        self.open(proto, config).map_err(|error| error.located(&model.proto().graph))
    }

    /// Opens a copy of a model.
    pub(crate) fn open(&self, proto: ModelProto, config: &SessionConfig) -> Result<Session> {
        let unranked = unranked_outputs(&proto);
        self.open_staged(&Staged::new(proto, Contents::Data)?, &unranked, config, None)
    }

    /// Opens a staged model, which may use operators of our own. Afterwards the staging may go, or serve another session.
    pub(crate) fn open_staged(
        &self,
        staged: &Staged,
        unranked: &HashSet<String>,
        config: &SessionConfig,
        operators: Option<OperatorDomain>,
    ) -> Result<Session> {
        let log = Log::default();
        let mut builder = self.builder(config, staged, &log).map_err(|error| Error::rejected(error.message()))?;
        if let Some(operators) = operators {
            builder = builder.with_operators(operators).map_err(|error| Error::rejected(error.message()))?;
        }
        let inner = commit(builder, staged)?;
        let inputs = inner.inputs().iter().map(io_info).collect::<Result<_>>()?;
        let mut outputs = inner.outputs().iter().map(io_info).collect::<Result<Vec<_>>>()?;
        for output in outputs.iter_mut().filter(|output| unranked.contains(&output.name)) {
            output.ty.shape = output.ty.shape.take().filter(|shape| !shape.is_empty());
        }
        Ok(Session { inner, inputs, outputs, log })
    }

    /// What every session of this crate has in common.
    pub(crate) fn builder(&self, config: &SessionConfig, staged: &Staged, log: &Log) -> ort::Result<SessionBuilder> {
        let level = match config.optimization {
            Optimization::Disabled => GraphOptimizationLevel::Disable,
            Optimization::Basic => GraphOptimizationLevel::Level1,
            Optimization::Extended => GraphOptimizationLevel::Level2,
            Optimization::All => GraphOptimizationLevel::All,
        };
        let folder = staged.folder().to_string_lossy().into_owned();
        let builder = SessionBuilder::new(&self.environment)?
            .with_logger(log.logger())?
            .with_log_level(ort::logging::LogLevel::Warning)?
            .with_execution_providers([CPU::default().with_arena_allocator(config.memory_arena).build()])?
            .with_optimization_level(level)?
            .with_intra_threads(threads(config.threads))?
            .with_intra_op_spinning(config.spinning)?
            .with_prepacking(config.prepacking)?
            .with_quant_qdq(config.integer_kernels)?
            .with_double_qdq_remover(false)?
            .with_config_entry("session.model_external_initializers_file_folder_path", folder)?;
        Ok(builder)
    }
}

/// Opens what was staged. Afterwards the staging may go.
pub(crate) fn commit(mut builder: SessionBuilder, staged: &Staged) -> Result<ort::session::Session> {
    let opened = catch_unwind(AssertUnwindSafe(|| builder.commit_from_memory(&staged.bytes)));
    // `ort` panics on inputs and outputs of types that it has no name for.
    let opened = opened.map_err(|_| Error::UnsupportedType {
        name: "input or output".into(),
        type_name: "of a kind that cannot be described".into(),
    })?;
    opened.map_err(|error| Error::rejected(error.message()))
}

fn threads(wanted: usize) -> usize {
    let available = || std::thread::available_parallelism().map_or(1, usize::from);
    if wanted == 0 { available() } else { wanted }
}

/// Outputs declared without a shape, which ONNX Runtime reports just like scalars.
pub(crate) fn unranked_outputs(proto: &ModelProto) -> HashSet<String> {
    let shape = |output: &&trtforge_graph::proto::ValueInfoProto| {
        let ty = output.type_.as_ref().and_then(trtforge_graph::ValueType::from_proto);
        ty.and_then(|ty| ty.tensor().and_then(|tensor| tensor.shape.clone()))
    };
    let outputs = proto.graph.output.iter().filter(|output| shape(output).is_none());
    outputs.map(|output| output.name().to_owned()).collect()
}

fn io_info(outlet: &ort::value::Outlet) -> Result<IoInfo> {
    let name = outlet.name().to_owned();
    match tensor_type(outlet.dtype()) {
        Some(ty) => Ok(IoInfo { name, ty }),
        None => Err(Error::UnsupportedType { name, type_name: outlet.dtype().to_string() }),
    }
}

impl Session {
    /// The inputs, in the model's order.
    pub fn inputs(&self) -> &[IoInfo] {
        &self.inputs
    }

    /// The outputs, in the model's order.
    pub fn outputs(&self) -> &[IoInfo] {
        &self.outputs
    }

    /// What `ort` makes of it.
    pub(crate) fn raw(&self) -> &ort::session::Session {
        &self.inner
    }

    /// What ONNX Runtime remarked since the last call, at most 64 lines of it.
    pub fn take_warnings(&self) -> Vec<Warning> {
        self.log.take()
    }

    /// Runs the model on `inputs`, in any order, and returns the `wanted` outputs in that order, or all of them.
    ///
    /// Inputs are read in place. Work goes on in this session's own threads; the call returns when all is done.
    ///
    /// # Errors
    /// An input is unknown, missing, given twice or of another type or shape than the model's; an output is unknown;
    /// an operator fails on these values.
    pub fn run(&mut self, inputs: &[(&str, &Tensor)], wanted: Option<&[&str]>) -> Result<Vec<(String, Tensor)>> {
        let names = self.output_names(wanted)?;
        let values = self.check_inputs(inputs)?;
        let selector = names.iter().fold(OutputSelector::no_default(), |selector, name| selector.with(name));
        let options = RunOptions::new().map_err(|error| Error::run(error.message()))?.with_outputs(selector);
        let outputs = self.inner.run_with_options(values, &options).map_err(|error| Error::run(error.message()))?;
        // One by one: ONNX Runtime's memory of an output goes as soon as it is copied.
        let take = |(name, value): (&str, DynValue)| Ok((name.to_owned(), take(name, &value)?));
        let taken = outputs.into_iter().map(take).collect::<Result<HashMap<String, Tensor>>>()?;
        let tensor =
            |name: &String| taken.get(name).cloned().ok_or_else(|| Error::UnknownOutput { name: name.clone() });
        names.iter().map(|name| Ok((name.clone(), tensor(name)?))).collect()
    }

    fn output_names(&self, wanted: Option<&[&str]>) -> Result<Vec<String>> {
        let known = |name: &str| self.outputs.iter().any(|output| output.name == name);
        match wanted {
            None => Ok(self.outputs.iter().map(|output| output.name.clone()).collect()),
            Some(wanted) => match wanted.iter().find(|name| !known(name)) {
                Some(name) => Err(Error::UnknownOutput { name: (*name).to_owned() }),
                None => Ok(wanted.iter().map(|name| (*name).to_owned()).collect()),
            },
        }
    }

    fn check_inputs<'t>(&self, inputs: &[(&str, &'t Tensor)]) -> Result<Vec<(String, SessionInputValue<'t>)>> {
        let mut given = HashSet::new();
        for (name, tensor) in inputs {
            let info = self.inputs.iter().find(|input| input.name == *name);
            check_input(info.ok_or_else(|| self.unknown_input(name))?, tensor)?;
            if !given.insert(*name) {
                return Err(Error::DuplicateInput { name: (*name).to_owned() });
            }
        }
        if let Some(missing) = self.inputs.iter().find(|input| !given.contains(input.name.as_str())) {
            return Err(Error::MissingInput { name: missing.name.clone(), expected: missing.ty.clone() });
        }
        inputs.iter().map(|(name, tensor)| Ok(((*name).to_owned(), lend(name, tensor)?))).collect()
    }

    fn unknown_input(&self, name: &str) -> Error {
        let available = self.inputs.iter().map(|input| input.name.clone()).collect();
        Error::UnknownInput { name: name.to_owned(), available }
    }
}

fn check_input(info: &IoInfo, tensor: &Tensor) -> Result<()> {
    let name = info.name.clone();
    if info.ty.element != tensor.element {
        return Err(Error::InputElement { name, expected: info.ty.element, actual: tensor.element });
    }
    let given = TensorType { element: tensor.element, shape: Some(dimensions(&tensor.shape)) };
    if !info.ty.shape_agrees(&given) {
        return Err(Error::InputShape { name, expected: info.ty.clone(), actual: tensor.shape.clone() });
    }
    Ok(())
}

fn dimensions(shape: &[u64]) -> Vec<Dimension> {
    shape.iter().copied().map(Dimension::Fixed).collect()
}
