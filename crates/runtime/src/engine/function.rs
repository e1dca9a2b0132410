//! A Rust function as an engine: a stage of a pipeline that no model holds, or a stand-in where a model is too much.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Signature;
use crate::device::Host;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::ledger::Allocation;
use crate::shape::Shape;

/// Most inputs, and most outputs, of a function.
pub const MAX_TENSORS: usize = 16;

/// A Rust function that runs like an engine, on the host, in buffers of a session.
pub trait Function: Send + Sync + 'static {
    /// What it takes and gives.
    fn signature(&self) -> Signature;

    /// Bytes that it keeps for as long as it is there, for the ledger.
    fn weights_bytes(&self) -> u64 {
        0
    }

    /// Bytes of scratch memory that a run on inputs of these shapes needs.
    fn activation_bytes(&self, inputs: &[Shape]) -> u64 {
        let _ = inputs;
        0
    }

    /// The shape of each output for these of the inputs. What is left alone is taken from the names of open dimensions.
    fn output_shapes(&self, inputs: &[Shape], outputs: &mut [Option<Shape>]) {
        let _ = (inputs, outputs);
    }

    /// Runs. Must allocate nothing if sessions are to allocate nothing.
    ///
    /// # Errors
    /// Whatever went wrong, [`Error::Run`] as a rule; the caller of the run gets it.
    fn run(&self, call: Call<'_>) -> Result<()>;
}

/// The buffers of one run.
pub struct Call<'a> {
    /// What goes in.
    pub inputs: Inputs<'a>,
    /// What comes out.
    pub outputs: Outputs<'a>,
    /// Scratch memory of at least the bytes asked for; what an earlier run left is in it.
    pub scratch: &'a mut [u8],
}

/// What goes into a run.
pub struct Inputs<'a> {
    bytes: [&'a [u8]; MAX_TENSORS],
    shapes: &'a [Shape],
}

impl Inputs<'_> {
    /// The shape of an input.
    #[must_use]
    pub fn shape(&self, input: usize) -> Shape {
        self.shapes[input]
    }

    /// The values of an input; nothing if it has another type.
    #[must_use]
    pub fn get<T: Element>(&self, input: usize) -> Option<&[T]> {
        T::view(self.bytes.get(input)?)
    }
}

/// What comes out of a run.
pub struct Outputs<'a> {
    bytes: [&'a mut [u8]; MAX_TENSORS],
}

impl Outputs<'_> {
    /// The place for an output; nothing if it has another type.
    #[must_use]
    pub fn get<T: Element>(&mut self, output: usize) -> Option<&mut [T]> {
        T::view_mut(self.bytes.get_mut(output)?)
    }
}

/// A block and how much of it the current shape takes.
pub(crate) struct HostTensor {
    pub(crate) block: Allocation<Host>,
    pub(crate) used: usize,
}

impl HostTensor {
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        let used = self.used;
        // No stream is ever given the block, so it always shows its bytes.
        self.block.bytes().and_then(|bytes| bytes.get_mut(..used)).unwrap_or_default()
    }
}

/// Runs `function` over blocks; a panic in it is an error.
pub(crate) fn call(
    function: &dyn Function,
    inputs: &mut [HostTensor],
    shapes: &[Shape],
    outputs: &mut [HostTensor],
    scratch: &mut [u8],
) -> Result<()> {
    let (mut inputs, mut outputs) = (inputs.iter_mut(), outputs.iter_mut());
    let inputs = std::array::from_fn(|_| inputs.next().map(|it| &*it.bytes()).unwrap_or_default());
    let outputs = std::array::from_fn(|_| outputs.next().map(HostTensor::bytes).unwrap_or_default());
    let call = Call { inputs: Inputs { bytes: inputs, shapes }, outputs: Outputs { bytes: outputs }, scratch };
    let ran = catch_unwind(AssertUnwindSafe(|| function.run(call)));
    ran.unwrap_or_else(|panic| Err(panicked("the engine's function", &*panic)))
}

/// The error of a panic that was caught.
pub(crate) fn panicked(what: &'static str, panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let message = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    Error::Panicked { what, message }
}
