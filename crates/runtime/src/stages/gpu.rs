//! Stages on a GPU: TensorRT engines that run one after another in one stream. While a stage runs there, the next is loaded by
//! the thread that started it. Runs need a GPU that TensorRT serves, and have not been tried.

use std::sync::{Arc, PoisonError};

use trtforge_tensorrt::ExecutionContext;

use super::StagedLaneOptions;
use super::device::{Activation, External, Meanwhile, StageDevice, Turn};
use super::loaded::Loaded;
use super::sizes::Sizes;
use crate::device::{Class, Cuda, CudaMemory, CudaStream, Device};
use crate::engine::gpu_lane::{SharedBlock, address, host_bytes};
use crate::engine::tensorrt::set_shapes;
use crate::engine::{Engine, EngineFault, Kind};
use crate::error::{Error, Result};
use crate::ledger::{Allocation, Allocator};
use crate::session::workspace::Block;
use crate::shape::Shape;

/// What runs a loaded stage. It has no work under way but within [`StageDevice::run`].
pub(crate) struct GpuRunner {
    context: ExecutionContext,
    /// Shapes of inputs that the context has.
    shapes: Vec<Shape>,
    outputs: Vec<Option<Shape>>,
    activation_bytes: u64,
}

/// What a slot has beside the blocks of tensors.
pub(crate) struct GpuBeside {
    stream: CudaStream,
    inputs: Vec<Allocation<Cuda>>,
    outputs: Vec<Allocation<Cuda>>,
    /// Whether inputs and outputs are copied to and fro.
    copies: bool,
}

impl StageDevice for Cuda {
    type Runner = GpuRunner;
    type Beside = GpuBeside;
    type Shared = Arc<SharedBlock>;

    fn runner(&self, engine: &Engine) -> Result<GpuRunner> {
        let Kind::TensorRt(rt) = engine.kind() else {
            let (stage, reason) = (engine.name().to_owned(), "it runs on the host, and the others on a GPU");
            let fault = Box::new(EngineFault::StageKind { stage, reason });
            return Err(Error::Unfit { source_name: engine.name().to_owned(), fault });
        };
        self.make_current()?;
        let (context, activation_bytes) = (rt.context()?, rt.most_activation_bytes());
        let outputs = vec![None; engine.signature().outputs.len()];
        Ok(GpuRunner { context, shapes: Vec::new(), outputs, activation_bytes })
    }

    fn activation_bytes(&self, engine: &Engine, _: &[Shape]) -> u64 {
        if let Kind::TensorRt(rt) = engine.kind() { rt.most_activation_bytes() } else { 0 }
    }

    fn beside(&self, allocator: &Allocator<Self>, sizes: &Sizes, options: &StagedLaneOptions<'_>) -> Result<GpuBeside> {
        let blocks = |class, numbers: &[usize]| -> Result<Vec<_>> {
            numbers.iter().map(|&number| allocator.allocate(class, sizes.tensors[number])).collect()
        };
        Ok(GpuBeside {
            stream: self.stream()?,
            inputs: blocks(Class::PinnedInput, &sizes.chain.inputs)?,
            outputs: blocks(Class::PinnedOutput, &sizes.chain.outputs)?,
            copies: !options.without_copies,
        })
    }

    fn shared(block: &Block) -> Option<Self::Shared> {
        match block {
            Block::Cuda(block) => Some(Arc::clone(block)),
            Block::Host(_) => None,
        }
    }

    fn bytes<'b>(
        beside: &'b mut GpuBeside,
        _: &'b mut [Option<Allocation<Cuda>>],
        external: External,
    ) -> Result<&'b mut [u8]> {
        match external {
            External::Input { place, .. } => host_bytes(&mut beside.inputs, place),
            External::Output { place, .. } => host_bytes(&mut beside.outputs, place),
        }
    }

    fn run(
        &self,
        beside: &mut GpuBeside,
        loaded: &mut Loaded<GpuRunner>,
        turn: Turn<'_, Self>,
        meanwhile: Option<Meanwhile<'_>>,
    ) -> Result<()> {
        self.make_current()?;
        let started = match &turn.activation {
            Activation::Own(block) => {
                let block = block.as_deref();
                start(self, beside, loaded, &turn, block)
            }
            Activation::Shared(shared) => {
                let passed = shared.passed.lock().unwrap_or_else(PoisonError::into_inner);
                let waits = self.wait(&mut beside.stream, &passed);
                let started = waits.and_then(|()| start(self, beside, loaded, &turn, Some(&shared.block)));
                let recorded = self.record(&passed, &mut beside.stream);
                started.and(recorded)
            }
        };
        if let Some(meanwhile) = meanwhile.filter(|_| started.is_ok()) {
            meanwhile();
        }
        // Also where the start failed: what got under way ends before anybody sees the blocks.
        let waited = self.synchronize(&mut beside.stream);
        started.and(waited)
    }
}

/// Gives the stream one run: inputs of the whole that this stage reads first, the stage, outputs that nobody reads later.
fn start(
    gpu: &Cuda,
    beside: &mut GpuBeside,
    loaded: &mut Loaded<GpuRunner>,
    turn: &Turn<'_, Cuda>,
    activation: Option<&Allocation<Cuda>>,
) -> Result<()> {
    let GpuBeside { stream, inputs, outputs, copies } = beside;
    let tensor = |number: usize| &turn.chain.tensors[number];
    for (host, &number) in inputs.iter().zip(&turn.chain.inputs).filter(|_| *copies) {
        if tensor(number).first == turn.stage {
            gpu.copy(stream, host.memory(), memory(turn, number)?, turn.used[number])?;
        }
    }
    settle_shapes(stream, loaded, turn)?;
    bind(loaded, turn, activation)?;
    for &number in loaded.inputs.iter().chain(&loaded.outputs) {
        stream.hold(memory(turn, number)?);
    }
    activation.into_iter().for_each(|block| stream.hold(block.memory()));
    // SAFETY: the stream lives; the addresses are those that `bind` has just given, of blocks that the stream holds until it was
    // waited for, which the caller does before the context or a block can go.
    unsafe { loaded.runner.context.enqueue(stream.as_raw())? };
    for (host, &number) in outputs.iter().zip(&turn.chain.outputs).filter(|_| *copies) {
        if tensor(number).last == turn.stage {
            gpu.copy(stream, memory(turn, number)?, host.memory(), turn.used[number])?;
        }
    }
    Ok(())
}

/// Gives the context the shapes of its inputs, where it has others.
fn settle_shapes(stream: &CudaStream, loaded: &mut Loaded<GpuRunner>, turn: &Turn<'_, Cuda>) -> Result<()> {
    let Loaded { runner: GpuRunner { context, shapes, outputs, .. }, engine, .. } = loaded;
    let wanted = loaded.inputs.iter().map(|&number| turn.shapes[number]);
    if wanted.clone().eq(shapes.iter().copied()) && !shapes.is_empty() {
        return Ok(());
    }
    // Empty until the context has taken all of them.
    let mut asked = std::mem::take(shapes);
    asked.clear();
    asked.extend(wanted);
    set_shapes(context, stream, engine.signature(), 0, &asked, outputs)?;
    *shapes = asked;
    for (&number, shape) in loaded.outputs.iter().zip(&*outputs) {
        let info = &turn.chain.tensors[number].info;
        let bytes = shape.and_then(|shape| info.bytes_at(&shape));
        if bytes != Some(turn.used[number]) {
            shapes.clear();
            let (name, expected) = (&info.name, turn.used[number]);
            return Err(Error::Run {
                reason: format!("TensorRT makes {name:?} of {bytes:?} bytes, not of {expected}"),
            });
        }
    }
    Ok(())
}

/// Gives the context all addresses.
fn bind(loaded: &mut Loaded<GpuRunner>, turn: &Turn<'_, Cuda>, activation: Option<&Allocation<Cuda>>) -> Result<()> {
    let Loaded { runner, engine, inputs, outputs } = loaded;
    let tensors = engine.signature().inputs.iter().chain(&engine.signature().outputs);
    for (tensor, &number) in tensors.zip(inputs.iter().chain(&*outputs)) {
        let block = block(turn, number)?;
        // SAFETY: device memory for the largest shape of this tensor. The address is given anew before every run, and the
        // stream holds the block until the run was waited for.
        unsafe { runner.context.set_tensor_address(&tensor.name, address(block))? };
    }
    let needed = runner.activation_bytes;
    if needed == 0 {
        return Ok(());
    }
    let Some(block) = activation.filter(|block| block.len() >= needed) else {
        return Err(Error::Run { reason: format!("the stage needs {needed} bytes for activations, and has fewer") });
    };
    // SAFETY: device memory of at least that many bytes, aligned as the driver does. The stream holds it until the run was waited
    // for; users of a shared block wait for each other by its event.
    unsafe { runner.context.set_device_memory(address(block), needed) };
    Ok(())
}

fn block<'t>(turn: &'t Turn<'_, Cuda>, number: usize) -> Result<&'t Allocation<Cuda>> {
    turn.blocks[number].as_ref().ok_or_else(|| Error::Run { reason: format!("tensor {number} has no block") })
}

fn memory<'t>(turn: &'t Turn<'_, Cuda>, number: usize) -> Result<&'t CudaMemory> {
    block(turn, number).map(Allocation::memory)
}
