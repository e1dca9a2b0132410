//! Stages on the host: ONNX models and Rust functions. A run takes the blocks of its tensors out of the slot's table, hands
//! them to the engine, and puts them back, so that nothing is shared.

use std::sync::PoisonError;
use std::thread;

use super::StagedLaneOptions;
use super::device::{Activation, External, Meanwhile, StageDevice, Turn};
use super::loaded::Loaded;
use super::sizes::Sizes;
use crate::device::Host;
use crate::engine::function::{HostTensor, MAX_TENSORS, call};
use crate::engine::{Engine, EngineFault, Function, Kind};
use crate::error::{Error, Result};
use crate::ledger::{Allocation, Allocator};
use crate::session::Shared;
use crate::session::workspace::Block;
use crate::shape::Shape;

type Blocks = [Option<Allocation<Host>>];

impl StageDevice for Host {
    type Runner = ();
    type Beside = ();
    type Shared = Shared<Allocation<Host>>;

    fn runner(&self, engine: &Engine) -> Result<()> {
        let reason = match engine.kind() {
            #[cfg(feature = "onnx")]
            Kind::Onnx { .. } => return Ok(()),
            Kind::Function { .. } => {
                let signature = engine.signature();
                if signature.inputs.len().max(signature.outputs.len()) <= MAX_TENSORS {
                    return Ok(());
                }
                "a function has at most 16 inputs and 16 outputs"
            }
            Kind::Staged(_) => "it is cut into stages itself",
            #[cfg(feature = "tensorrt")]
            _ => "it runs on a GPU, and the others on the host",
        };
        let fault = Box::new(EngineFault::StageKind { stage: engine.name().to_owned(), reason });
        Err(Error::Unfit { source_name: engine.name().to_owned(), fault })
    }

    fn activation_bytes(&self, engine: &Engine, inputs: &[Shape]) -> u64 {
        if let Kind::Function { function, .. } = engine.kind() { function.activation_bytes(inputs) } else { 0 }
    }

    fn beside(&self, _: &Allocator<Self>, _: &Sizes, _: &StagedLaneOptions<'_>) -> Result<()> {
        Ok(())
    }

    // Without GPUs there is no other kind of block.
    #[allow(clippy::unnecessary_wraps)]
    fn shared(block: &Block) -> Option<Self::Shared> {
        match block {
            Block::Host(block) => Some(std::sync::Arc::clone(block)),
            #[cfg(feature = "tensorrt")]
            Block::Cuda(_) => None,
        }
    }

    fn bytes<'b>((): &'b mut (), blocks: &'b mut Blocks, external: External) -> Result<&'b mut [u8]> {
        let (External::Input { number, .. } | External::Output { number, .. }) = external;
        blocks[number].as_mut().and_then(Allocation::bytes).ok_or_else(|| absent(number))
    }

    fn run(
        &self,
        (): &mut (),
        loaded: &mut Loaded<()>,
        turn: Turn<'_, Self>,
        meanwhile: Option<Meanwhile<'_>>,
    ) -> Result<()> {
        thread::scope(|scope| {
            if let Some(meanwhile) = meanwhile {
                // Where the system gives no thread, nothing is loaded ahead.
                let _ = thread::Builder::new().name("trtforge-stage".to_owned()).spawn_scoped(scope, meanwhile);
            }
            match loaded.engine.kind() {
                #[cfg(feature = "onnx")]
                Kind::Onnx { model, .. } => run_model(model, loaded, turn),
                Kind::Function { function, .. } => run_function(&**function, loaded, turn),
                // `runner` lets nothing else in.
                _ => Err(Error::Run { reason: "the stage does not run on the host".to_owned() }),
            }
        })
    }
}

fn absent(number: usize) -> Error {
    Error::Run { reason: format!("tensor {number} has no block") }
}

fn run_function(function: &dyn Function, loaded: &Loaded<()>, turn: Turn<'_, Host>) -> Result<()> {
    let Turn { blocks, shapes, used, activation, .. } = turn;
    let mut inputs = take(blocks, used, &loaded.inputs)?;
    let mut outputs = match take(blocks, used, &loaded.outputs) {
        Ok(outputs) => outputs,
        Err(error) => {
            put_back(blocks, &loaded.inputs, inputs);
            return Err(error);
        }
    };
    let input_shapes: Vec<Shape> = loaded.inputs.iter().map(|&number| shapes[number]).collect();
    let mut run = |scratch: &mut [u8]| call(function, &mut inputs, &input_shapes, &mut outputs, scratch);
    let ran = match activation {
        Activation::Own(block) => run(block.and_then(Allocation::bytes).unwrap_or_default()),
        Activation::Shared(block) => {
            run(block.lock().unwrap_or_else(PoisonError::into_inner).bytes().unwrap_or_default())
        }
    };
    put_back(blocks, &loaded.inputs, inputs);
    put_back(blocks, &loaded.outputs, outputs);
    ran
}

/// The blocks of these tensors, all of them or none.
fn take(blocks: &mut Blocks, used: &[u64], numbers: &[usize]) -> Result<Vec<HostTensor>> {
    if let Some(&number) = numbers.iter().find(|&&number| blocks[number].is_none()) {
        return Err(absent(number));
    }
    let taken = numbers.iter().filter_map(|&number| {
        let block = blocks[number].take()?;
        Some(HostTensor { block, used: used[number] as usize })
    });
    Ok(taken.collect())
}

fn put_back(blocks: &mut Blocks, numbers: &[usize], tensors: Vec<HostTensor>) {
    numbers.iter().zip(tensors).for_each(|(&number, tensor)| blocks[number] = Some(tensor.block));
}

#[cfg(feature = "onnx")]
fn run_model(model: &trtforge_onnxruntime::SharedSession, loaded: &Loaded<()>, turn: Turn<'_, Host>) -> Result<()> {
    use crate::session::lane::{HostBlock, signed};

    let Turn { blocks, shapes, .. } = turn;
    let mut binding = model.binding::<HostBlock>()?;
    let mut bind = || {
        for (place, &number) in loaded.inputs.iter().enumerate() {
            let (block, shape) = (blocks[number].take().ok_or_else(|| absent(number))?, &shapes[number]);
            binding.bind_input(place, HostBlock(block), &signed(shape)[..shape.len()])?;
        }
        for (place, &number) in loaded.outputs.iter().enumerate() {
            let (block, shape) = (blocks[number].take().ok_or_else(|| absent(number))?, &shapes[number]);
            binding.bind_output(place, HostBlock(block), &signed(shape)[..shape.len()])?;
        }
        Ok(())
    };
    let bound: Result<()> = bind();
    let ran = bound.and_then(|()| Ok(binding.run()?));
    let (inputs, outputs) = binding.into_buffers();
    let numbers = loaded.inputs.iter().chain(&loaded.outputs);
    for (&number, buffer) in numbers.zip(inputs.into_iter().chain(outputs)) {
        if let Some(HostBlock(block)) = buffer {
            blocks[number] = Some(block);
        }
    }
    ran
}
