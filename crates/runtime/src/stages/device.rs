//! What differs between stages on the host and on a GPU.

use super::loaded::Loaded;
use super::sizes::Sizes;
use super::{Chain, StagedLaneOptions};
use crate::device::Device;
use crate::engine::Engine;
use crate::error::Result;
use crate::ledger::{Allocation, Allocator};
use crate::session::workspace::Block;
use crate::shape::Shape;

/// A device that stages run on.
pub(crate) trait StageDevice: Device {
    /// What runs a loaded stage, beside its engine.
    type Runner: Send;
    /// What a slot has beside the blocks of tensors.
    type Beside: Send;
    /// A block for activations that sessions use in turn.
    type Shared: Clone + Send;

    /// What runs `engine`, if it is one for this device.
    ///
    /// # Errors
    /// It is not, or the device refuses.
    fn runner(&self, engine: &Engine) -> Result<Self::Runner>;

    /// Bytes that a run of `engine` needs beside its tensors, for inputs of these shapes at most.
    fn activation_bytes(&self, engine: &Engine, inputs: &[Shape]) -> u64;

    /// What a slot has beside the blocks of tensors.
    ///
    /// # Errors
    /// As for [`Allocator::allocate`]; the device refuses.
    fn beside(
        &self,
        allocator: &Allocator<Self>,
        sizes: &Sizes,
        options: &StagedLaneOptions<'_>,
    ) -> Result<Self::Beside>;

    /// The block behind a workspace, if it is on this device.
    fn shared(block: &Block) -> Option<Self::Shared>;

    /// An input's or output's bytes for the host: `place` among inputs or outputs of the whole, `number` among tensors.
    ///
    /// # Errors
    /// Work under way holds it.
    fn bytes<'b>(
        beside: &'b mut Self::Beside,
        blocks: &'b mut [Option<Allocation<Self>>],
        external: External,
    ) -> Result<&'b mut [u8]>;

    /// Runs a stage, and `meanwhile` while it is under way. Returns when both are done.
    ///
    /// # Errors
    /// The run failed; all blocks are in their places, and no work is under way.
    fn run(
        &self,
        beside: &mut Self::Beside,
        loaded: &mut Loaded<Self::Runner>,
        turn: Turn<'_, Self>,
        meanwhile: Option<Meanwhile<'_>>,
    ) -> Result<()>;
}

/// What is done while a stage runs.
pub(crate) type Meanwhile<'m> = &'m mut (dyn FnMut() + Send);

/// An input or output of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum External {
    /// An input.
    Input {
        /// Its place among the inputs of the whole.
        #[cfg_attr(not(feature = "tensorrt"), allow(dead_code))]
        place: usize,
        /// Its number among tensors.
        number: usize,
    },
    /// An output.
    Output {
        /// Its place among the outputs of the whole.
        #[cfg_attr(not(feature = "tensorrt"), allow(dead_code))]
        place: usize,
        /// Its number among tensors.
        number: usize,
    },
}

/// One run of one stage.
pub(crate) struct Turn<'t, D: StageDevice> {
    #[cfg_attr(not(feature = "tensorrt"), allow(dead_code))]
    pub(crate) stage: usize,
    #[cfg_attr(not(feature = "tensorrt"), allow(dead_code))]
    pub(crate) chain: &'t Chain,
    /// Blocks by number of the tensor; those of this stage are there.
    pub(crate) blocks: &'t mut [Option<Allocation<D>>],
    /// Shapes by number of the tensor.
    pub(crate) shapes: &'t [Shape],
    /// Bytes at these shapes.
    pub(crate) used: &'t [u64],
    pub(crate) activation: Activation<'t, D>,
}

/// Where the values inside a stage are while it runs.
pub(crate) enum Activation<'t, D: StageDevice> {
    /// In a block of the slot; in none where nothing is needed.
    Own(Option<&'t mut Allocation<D>>),
    /// In a block that sessions use in turn.
    Shared(&'t D::Shared),
}
