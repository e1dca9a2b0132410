//! A slot's buffers and how its engine is run over them.

#[cfg(feature = "onnx")]
use trtforge_onnxruntime::Binding;

use std::sync::Arc;
use std::time::Instant;

use super::admission::Admission;
use super::workspace::{Block, Scratch, Workspace};
use super::{GraphState, RunTiming};
use crate::device::{Class, Host};
use crate::engine::function::{Function, HostTensor, call};
#[cfg(feature = "tensorrt")]
use crate::engine::gpu_lane::GpuLane;
use crate::engine::{Direction, Engine, Kind, Layout};
use crate::error::{Error, Result};
#[cfg(feature = "onnx")]
use crate::ledger::Allocation;
use crate::ledger::Allocator;
use crate::shape::Shape;
use crate::stages::{StagedLane, StagedLaneOptions};

/// A slot's buffers and how its engine is run over them.
pub(crate) enum Lane {
    #[cfg(feature = "onnx")]
    Onnx(Box<Binding<HostBlock>>),
    Function(Box<FunctionLane>),
    Staged(Box<StagedLane<Host>>),
    #[cfg(feature = "tensorrt")]
    TensorRt(Box<GpuLane>),
    #[cfg(feature = "tensorrt")]
    StagedOnGpu(Box<StagedLane<crate::device::Cuda>>),
}

/// A block that ONNX Runtime knows the address of.
#[cfg(feature = "onnx")]
pub(crate) struct HostBlock(pub(crate) Allocation<Host>);

// SAFETY: the block's lines lie on the heap and never grow, so address and length stay however the value moves. It is
// given to no stream, so it always shows its bytes, and nobody else has them.
#[cfg(feature = "onnx")]
#[allow(unsafe_code)]
unsafe impl trtforge_onnxruntime::Buffer for HostBlock {
    fn bytes(&mut self) -> &mut [u8] {
        self.0.bytes().unwrap_or_default()
    }
}

/// How lanes are made beside what is run in them.
pub(crate) struct LaneOptions<'o> {
    /// A block for activations that other sessions use too.
    pub(crate) workspace: Option<&'o Workspace>,
    /// Whether runs are captured in CUDA graphs, where there are any.
    #[cfg_attr(not(feature = "tensorrt"), allow(dead_code))]
    pub(crate) cuda_graph: bool,
    /// Whether the parts of runs are timed.
    #[cfg_attr(not(feature = "tensorrt"), allow(dead_code))]
    pub(crate) timed: bool,
    /// Whether inputs and outputs stay on the device.
    #[cfg_attr(not(feature = "tensorrt"), allow(dead_code))]
    pub(crate) without_copies: bool,
}

pub(crate) struct FunctionLane {
    function: Arc<dyn Function>,
    inputs: Vec<HostTensor>,
    shapes: Vec<Shape>,
    outputs: Vec<HostTensor>,
    scratch: Scratch,
}

impl Lane {
    /// Allocates what one slot needs, in the name of `owner`.
    pub(crate) fn new(
        engine: &Engine,
        owner: &str,
        layout: &Layout,
        admission: &Admission,
        options: &LaneOptions<'_>,
    ) -> Result<Box<Self>> {
        let needed = engine.activation_bytes(layout);
        let block = options.workspace.map(|workspace| workspace.block(engine, needed)).transpose()?;
        let stages = StagedLaneOptions { shared: block, without_copies: options.without_copies };
        match admission {
            Admission::Staged(it) => return Ok(Box::new(Self::Staged(Box::new(StagedLane::new(it, owner, &stages)?)))),
            #[cfg(feature = "tensorrt")]
            Admission::StagedOnGpu(it) => {
                return Ok(Box::new(Self::StagedOnGpu(Box::new(StagedLane::new(it, owner, &stages)?))));
            }
            Admission::Whole(_) => {}
        }
        let lane = match engine.kind() {
            #[cfg(feature = "onnx")]
            Kind::Onnx { model, host } => {
                let allocator = Allocator::new(host.clone(), engine.ledger().clone(), owner);
                Self::Onnx(Box::new(bind(engine, model, &allocator, layout)?))
            }
            Kind::Function { function, host } => {
                let allocator = Allocator::new(host.clone(), engine.ledger().clone(), owner);
                Self::Function(Box::new(FunctionLane::new(Arc::clone(function), &allocator, layout, needed, block)?))
            }
            #[cfg(feature = "tensorrt")]
            Kind::TensorRt(rt) => Self::TensorRt(Box::new(GpuLane::new(rt, engine, owner, layout, block, options)?)),
            // Asked for a session, these give another admission.
            _ => return Err(Error::Run { reason: "the engine runs in stages".to_owned() }),
        };
        Ok(Box::new(lane))
    }

    /// What comes of the wish for a CUDA graph.
    pub(crate) fn graph_state(&self) -> GraphState {
        match self {
            #[cfg(feature = "tensorrt")]
            Self::TensorRt(lane) => lane.graph_state(),
            #[cfg(feature = "tensorrt")]
            Self::StagedOnGpu(_) => GraphState::Inactive("the engine runs in stages".to_owned()),
            _ => GraphState::Inactive("the engine runs on the CPU".to_owned()),
        }
    }

    /// Whether runs go on by themselves once started, without a thread of ours.
    pub(crate) fn is_asynchronous(&self) -> bool {
        match self {
            #[cfg(feature = "tensorrt")]
            Self::TensorRt(_) => true,
            _ => false,
        }
    }

    /// The first `used` bytes of an input.
    pub(crate) fn input(&mut self, input: usize, used: usize) -> Result<&mut [u8]> {
        let bytes = match self {
            #[cfg(feature = "onnx")]
            Self::Onnx(binding) => binding.input(input)?,
            Self::Function(lane) => lane.inputs[input].block.bytes().unwrap_or_default(),
            Self::Staged(lane) => lane.bytes(Direction::Input, input)?,
            #[cfg(feature = "tensorrt")]
            Self::TensorRt(lane) => lane.input(input)?,
            #[cfg(feature = "tensorrt")]
            Self::StagedOnGpu(lane) => lane.bytes(Direction::Input, input)?,
        };
        prefix(bytes, used)
    }

    /// The first `used` bytes of an output, or all of one whose size only the run told.
    pub(crate) fn output(&mut self, output: usize, used: Option<usize>) -> Result<&mut [u8]> {
        let bytes = match self {
            #[cfg(feature = "onnx")]
            Self::Onnx(binding) => binding.output(output)?,
            Self::Function(lane) => lane.outputs[output].block.bytes().unwrap_or_default(),
            Self::Staged(lane) => lane.bytes(Direction::Output, output)?,
            #[cfg(feature = "tensorrt")]
            Self::TensorRt(lane) => lane.output(output)?,
            #[cfg(feature = "tensorrt")]
            Self::StagedOnGpu(lane) => lane.bytes(Direction::Output, output)?,
        };
        match used {
            Some(used) => prefix(bytes, used),
            None => Ok(bytes),
        }
    }

    /// The shape of an output whose size only the run told.
    pub(crate) fn open_output_shape(&self, output: usize) -> Result<Shape> {
        match self {
            #[cfg(feature = "onnx")]
            Self::Onnx(binding) => {
                let mut signed = [0; crate::MAX_RANK];
                let rank = binding.open_output_shape(output, &mut signed)?;
                Shape::new(&signed.map(|size| u64::try_from(size).unwrap_or(0))[..rank])
                    .ok_or_else(|| Error::Run { reason: format!("output {output} has {rank} dimensions") })
            }
            #[cfg(feature = "tensorrt")]
            Self::TensorRt(lane) => lane.open_output_shape(output),
            _ => Err(Error::Run { reason: format!("output {output} has no shape") }),
        }
    }

    /// Gives the next runs these shapes, which lie in the engine's profile of that number.
    #[cfg_attr(not(feature = "tensorrt"), allow(unused_variables))]
    pub(crate) fn reshape(&mut self, profile: usize, inputs: &[Shape], outputs: &mut [Option<Shape>]) -> Result<()> {
        match self {
            #[cfg(feature = "onnx")]
            Self::Onnx(binding) => {
                for (index, shape) in inputs.iter().enumerate() {
                    binding.set_input_shape(index, &signed(shape)[..shape.len()])?;
                }
                for (index, shape) in outputs.iter().enumerate() {
                    if let Some(shape) = shape {
                        binding.set_output_shape(index, &signed(shape)[..shape.len()])?;
                    }
                }
                Ok(())
            }
            Self::Function(lane) => {
                lane.shapes.copy_from_slice(inputs);
                Ok(())
            }
            Self::Staged(lane) => lane.reshape(inputs),
            #[cfg(feature = "tensorrt")]
            Self::TensorRt(lane) => lane.reshape(profile, inputs, outputs),
            #[cfg(feature = "tensorrt")]
            Self::StagedOnGpu(lane) => lane.reshape(inputs),
        }
    }

    /// Tells a function's blocks how much of them its tensors take.
    pub(crate) fn resize(
        &mut self,
        input_bytes: impl Iterator<Item = usize>,
        output_bytes: impl Iterator<Item = usize>,
    ) {
        if let Self::Function(lane) = self {
            lane.inputs.iter_mut().zip(input_bytes).for_each(|(tensor, used)| tensor.used = used);
            lane.outputs.iter_mut().zip(output_bytes).for_each(|(tensor, used)| tensor.used = used);
        }
    }

    /// Runs, and returns when it is done; tells how long it took where lanes on the host are to be `timed`, and lanes on a
    /// GPU were made so.
    pub(crate) fn run(&mut self, timed: bool) -> Result<Option<RunTiming>> {
        let start = timed.then(Instant::now);
        match self {
            #[cfg(feature = "onnx")]
            Self::Onnx(binding) => binding.run()?,
            Self::Function(lane) => lane.run()?,
            Self::Staged(lane) => lane.run()?,
            #[cfg(feature = "tensorrt")]
            Self::TensorRt(lane) => return lane.start().and_then(|()| lane.finish()),
            #[cfg(feature = "tensorrt")]
            Self::StagedOnGpu(lane) => lane.run()?,
        }
        Ok(start.map(|start| RunTiming::computed(start.elapsed())))
    }

    /// Starts a run of an asynchronous lane.
    pub(crate) fn start(&mut self) -> Result<()> {
        match self {
            #[cfg(feature = "tensorrt")]
            Self::TensorRt(lane) => lane.start(),
            _ => self.run(false).map(drop),
        }
    }

    /// Whether what was started is done.
    pub(crate) fn is_done(&self) -> Result<bool> {
        match self {
            #[cfg(feature = "tensorrt")]
            Self::TensorRt(lane) => lane.is_done(),
            _ => Ok(true),
        }
    }

    /// Waits for what was started.
    pub(crate) fn finish(&mut self) -> Result<Option<RunTiming>> {
        match self {
            #[cfg(feature = "tensorrt")]
            Self::TensorRt(lane) => lane.finish(),
            _ => Ok(None),
        }
    }
}

impl FunctionLane {
    fn new(
        function: Arc<dyn Function>,
        allocator: &Allocator<Host>,
        layout: &Layout,
        needed: u64,
        shared: Option<&Block>,
    ) -> Result<Self> {
        let tensor = |bytes: u64| {
            let block = allocator.allocate(Class::Io, bytes)?;
            Ok(HostTensor { block, used: bytes as usize })
        };
        let inputs = layout.input_bytes.iter().map(|&bytes| tensor(bytes)).collect::<Result<Vec<_>>>()?;
        let outputs = layout.output_bytes.iter().flatten().map(|&bytes| tensor(bytes)).collect::<Result<_>>()?;
        let scratch = match shared {
            Some(Block::Host(block)) => Scratch::Shared(Arc::clone(block)),
            _ => Scratch::Own(allocator.allocate(Class::Activation, needed)?),
        };
        let shapes = vec![Shape::default(); inputs.len()];
        Ok(Self { function, inputs, shapes, outputs, scratch })
    }

    fn run(&mut self) -> Result<()> {
        let mut scratch = self.scratch.take();
        call(&*self.function, &mut self.inputs, &self.shapes, &mut self.outputs, scratch.bytes())
    }
}

/// Allocates and binds a model's buffers, at the largest shapes of the first profile.
#[cfg(feature = "onnx")]
fn bind(
    engine: &Engine,
    model: &trtforge_onnxruntime::SharedSession,
    allocator: &Allocator<Host>,
    layout: &Layout,
) -> Result<Binding<HostBlock>> {
    let shapes: Vec<Shape> = layout.ranges_of_first().iter().map(|range| range.max).collect();
    let mut output_shapes = vec![None; layout.output_bytes.len()];
    engine.kind().output_shapes(engine.signature(), &shapes, &mut output_shapes);
    let block = |bytes: u64| allocator.allocate(Class::Io, bytes).map(HostBlock);
    let list = |shape: &Shape| signed(shape)[..shape.len()].to_vec();
    let inputs = layout.input_bytes.iter().zip(&shapes).map(|(&bytes, shape)| Ok((block(bytes)?, list(shape))));
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    let bound = layout.output_bytes.iter().zip(&output_shapes).map(|(bytes, shape)| match (bytes, shape) {
        (Some(bytes), Some(shape)) => Ok(Some((block(*bytes)?, list(shape)))),
        _ => Ok(None),
    });
    let outputs = bound.collect::<Result<Vec<_>>>()?;
    Ok(model.bind(inputs, outputs)?)
}

#[cfg(feature = "onnx")]
pub(crate) fn signed(shape: &Shape) -> [i64; crate::MAX_RANK] {
    let mut sizes = [0; crate::MAX_RANK];
    sizes.iter_mut().zip(shape.iter()).for_each(|(to, &size)| *to = i64::try_from(size).unwrap_or(i64::MAX));
    sizes
}

fn prefix(bytes: &mut [u8], used: usize) -> Result<&mut [u8]> {
    let actual = bytes.len();
    let short = || Error::Run { reason: format!("a buffer of {actual} bytes was asked for {used}") };
    bytes.get_mut(..used).ok_or_else(short)
}
