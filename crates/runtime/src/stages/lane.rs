//! A slot that runs in stages: blocks that come and go with the tensors that they hold.

use std::sync::Arc;
use std::time::Instant;

use super::Admitted;
use super::device::{Activation, External, Meanwhile, StageDevice, Turn};
use super::loaded::Loaded;
use super::store::Store;
use crate::device::Class;
use crate::engine::Direction;
use crate::error::{Error, Result};
use crate::ledger::{Allocation, Allocator};
use crate::session::workspace::Block;
use crate::shape::Shape;

/// How a slot is made.
pub(crate) struct StagedLaneOptions<'o> {
    /// A block for activations that other sessions use too.
    pub(crate) shared: Option<&'o Block>,
    /// Whether inputs and outputs stay on the device.
    #[cfg_attr(not(feature = "tensorrt"), allow(dead_code))]
    pub(crate) without_copies: bool,
}

/// A slot that runs in stages.
pub(crate) struct StagedLane<D: StageDevice> {
    /// First field: on a GPU the stream, whose end waits for what is under way.
    beside: D::Beside,
    /// Stages with what runs them in this slot, where all stay loaded.
    own: Vec<Loaded<D::Runner>>,
    /// Blocks by number of the tensor. Those that stay are always there, others while they are live.
    blocks: Vec<Option<Allocation<D>>>,
    activation: Option<Allocation<D>>,
    shared: Option<D::Shared>,
    shapes: Vec<Shape>,
    used: Vec<u64>,
    allocator: Allocator<D>,
    admitted: Arc<Admitted<D>>,
}

impl<D: StageDevice> StagedLane<D> {
    /// Allocates what the slot keeps, in the name of `owner`.
    pub(crate) fn new(admitted: &Arc<Admitted<D>>, owner: &str, options: &StagedLaneOptions<'_>) -> Result<Self> {
        let staged = &admitted.staged;
        let allocator = Allocator::new(staged.device.clone(), staged.ledger().clone(), owner);
        let (sizes, chain) = (&admitted.sizes, &staged.chain);
        let mut lane = Self {
            beside: staged.device.beside(&allocator, sizes, options)?,
            own: Vec::new(),
            blocks: std::iter::repeat_with(|| None).take(chain.tensors.len()).collect(),
            activation: None,
            shared: options.shared.and_then(D::shared),
            shapes: vec![Shape::default(); chain.tensors.len()],
            used: vec![0; chain.tensors.len()],
            allocator,
            admitted: Arc::clone(admitted),
        };
        if admitted.is_resident {
            (0..lane.blocks.len()).try_for_each(|number| lane.allocate(number))?;
            lane.settle()?;
        } else {
            lane.allocate_kept()?;
        }
        Ok(lane)
    }

    /// Allocates what stays between runs. Stages that earlier sessions left loaded go where they take the room for it.
    fn allocate_kept(&mut self) -> Result<()> {
        let admitted = Arc::clone(&self.admitted);
        let kept: Vec<usize> = (0..self.blocks.len()).filter(|&number| admitted.sizes.stays(number)).collect();
        let mut store = admitted.staged.lock();
        let allocated = kept.iter().try_for_each(|&number| self.allocate(number));
        match allocated {
            Err(error) if error.is_out_of_memory() => {
                store.give_up_others(None);
                kept.iter().try_for_each(|&number| self.allocate(number))
            }
            allocated => allocated,
        }
    }

    /// Takes the stages that stay, and one activation block for all of them.
    fn settle(&mut self) -> Result<()> {
        let admitted = Arc::clone(&self.admitted);
        let staged = &admitted.staged;
        let store = staged.lock();
        for (stage, loaded) in store.loaded.iter().enumerate() {
            let gone = || Error::Run { reason: "the stage went though it was to stay".to_owned() };
            let engine = &loaded.as_ref().ok_or_else(gone)?.engine;
            self.own.push(staged.share(stage, engine).map_err(|error| staged.failed(stage, error))?);
        }
        drop(store);
        let needed = self.own.iter().map(|loaded| self.needed(loaded)).max().unwrap_or(0);
        self.allocate_activation(needed.max(admitted.sizes.activation_bytes()))
    }

    fn allocate(&mut self, number: usize) -> Result<()> {
        if self.blocks[number].is_none() {
            self.blocks[number] = Some(self.allocator.allocate(Class::Io, self.admitted.sizes.tensors[number])?);
        }
        Ok(())
    }

    fn allocate_activation(&mut self, bytes: u64) -> Result<()> {
        if self.shared.is_none() && self.activation.is_none() {
            self.activation = Some(self.allocator.allocate(Class::Activation, bytes)?);
        }
        Ok(())
    }

    /// Bytes beside its tensors that a loaded stage asks for, which may be more than it was said to.
    fn needed(&self, loaded: &Loaded<D::Runner>) -> u64 {
        let sizes = &self.admitted.sizes;
        let inputs: Vec<Shape> = loaded.inputs.iter().map(|&number| sizes.largest[number]).collect();
        self.admitted.staged.device.activation_bytes(&loaded.engine, &inputs)
    }

    /// The block of an input or output of the whole, for the host.
    pub(crate) fn bytes(&mut self, direction: Direction, place: usize) -> Result<&mut [u8]> {
        let chain = &self.admitted.staged.chain;
        let external = match direction {
            Direction::Input => External::Input { place, number: chain.inputs[place] },
            Direction::Output => External::Output { place, number: chain.outputs[place] },
        };
        D::bytes(&mut self.beside, &mut self.blocks, external)
    }

    /// Gives the next runs these shapes of inputs.
    pub(crate) fn reshape(&mut self, inputs: &[Shape]) -> Result<()> {
        let Self { admitted, shapes, used, .. } = self;
        let chain = &admitted.staged.chain;
        chain.shapes(inputs, shapes);
        for (number, tensor) in chain.tensors.iter().enumerate() {
            let bytes = tensor.info.bytes_at(&shapes[number]).filter(|it| *it <= admitted.sizes.tensors[number]);
            let reason = || format!("{:?} is larger than for the largest inputs", tensor.info.name);
            used[number] = bytes.ok_or_else(|| Error::Run { reason: reason() })?;
        }
        Ok(())
    }

    /// Runs all stages. Whatever goes wrong, the slot can run again.
    pub(crate) fn run(&mut self) -> Result<()> {
        let admitted = Arc::clone(&self.admitted);
        if admitted.is_resident {
            return (0..admitted.staged.stages()).try_for_each(|stage| self.run_resident(stage));
        }
        let mut store = admitted.staged.lock();
        let ran = (0..admitted.staged.stages()).try_for_each(|stage| self.run_streaming(&mut store, stage));
        admitted.staged.note_given_up(&store.take_given_up());
        if ran.is_err() {
            self.release(|_| true);
        }
        ran
    }

    fn run_resident(&mut self, stage: usize) -> Result<()> {
        let (staged, mut own) = (Arc::clone(&self.admitted.staged), std::mem::take(&mut self.own));
        let start = Instant::now();
        let ran = self.turn(stage, &mut own[stage], None);
        self.own = own;
        ran.map_err(|error| staged.failed(stage, error))?;
        staged.note_run(stage, false, start.elapsed());
        Ok(())
    }

    fn run_streaming(&mut self, store: &mut Store<D::Runner>, stage: usize) -> Result<()> {
        let staged = Arc::clone(&self.admitted.staged);
        let brought = self.bring(store, stage).or_else(|error| {
            if !error.is_out_of_memory() {
                return Err(error);
            }
            store.give_up_others(Some(stage));
            self.bring(store, stage)
        });
        let ran = brought.and_then(|()| self.run_loaded(store, stage));
        ran.map_err(|error| staged.failed(stage, error))?;
        self.release(|last| last == stage);
        Ok(())
    }

    /// Brings a stage into memory with its blocks, giving up others where it has to be.
    fn bring(&mut self, store: &mut Store<D::Runner>, stage: usize) -> Result<()> {
        let admitted = Arc::clone(&self.admitted);
        let (staged, sizes) = (&admitted.staged, &admitted.sizes);
        let missing: Vec<usize> = (0..self.blocks.len())
            .filter(|&number| staged.chain.tensors[number].is_live(stage) && self.blocks[number].is_none())
            .collect();
        let activation = if self.activation.is_none() { sizes.activations[stage] } else { 0 };
        let bytes = missing.iter().map(|&number| sizes.tensors[number]).sum::<u64>().saturating_add(activation);
        let weights = staged.weights(store)[stage];
        if !store.make_room(stage, (stage, weights), admitted.room(store, stage, bytes)) {
            // The ledger, or the check below, says by how much it does not fit.
            store.give_up_others(Some(stage));
        }
        if store.loaded[stage].is_none() {
            store.loaded[stage] = Some(staged.load(stage)?);
        }
        let needed = store.loaded[stage].as_ref().map_or(0, |loaded| self.needed(loaded));
        let activation = if self.shared.is_some() { 0 } else { needed.max(sizes.activations[stage]) };
        admitted.check(store, stage, activation).inspect_err(|_| store.loaded[stage] = None)?;
        missing.into_iter().try_for_each(|number| self.allocate(number))?;
        self.allocate_activation(activation)
    }

    /// Runs a stage that is loaded; the next one is loaded meanwhile, if there is room.
    fn run_loaded(&mut self, store: &mut Store<D::Runner>, stage: usize) -> Result<()> {
        let admitted = Arc::clone(&self.admitted);
        let staged = &admitted.staged;
        let was_ahead = store.was_ahead(stage);
        let next = (stage + 1) % staged.stages();
        let room = admitted.room(store, stage, 0);
        let is_wanted =
            store.loaded[next].is_none() && store.make_room_ahead(stage, (next, staged.declared_weights(next)), room);
        let mut ahead = None;
        let mut load = || ahead = Some(staged.load(next));
        let meanwhile: Option<Meanwhile<'_>> = if is_wanted { Some(&mut load) } else { None };
        let start = Instant::now();
        let gone = || Error::Run { reason: "the stage went before it ran".to_owned() };
        let mut loaded = store.loaded[stage].take().ok_or_else(gone)?;
        let ran = self.turn(stage, &mut loaded, meanwhile);
        let took = start.elapsed();
        store.loaded[stage] = Some(loaded);
        // A stage that cannot be loaded ahead is loaded at its turn, which tells what is wrong.
        if let Some(Ok(loaded)) = ahead {
            let fits = room.is_none_or(|room| store.loaded_bytes() + loaded.engine.weights_bytes() <= room);
            if fits {
                store.take_in(next, loaded);
            }
        }
        ran?;
        staged.note_run(stage, was_ahead, took);
        Ok(())
    }

    fn turn(&mut self, stage: usize, loaded: &mut Loaded<D::Runner>, meanwhile: Option<Meanwhile<'_>>) -> Result<()> {
        let Self { beside, blocks, activation, shared, shapes, used, admitted, .. } = self;
        let activation = match shared {
            Some(shared) => Activation::Shared(shared),
            None => Activation::Own(activation.as_mut()),
        };
        let turn = Turn { stage, chain: &admitted.staged.chain, blocks, shapes, used, activation };
        admitted.staged.device.run(beside, loaded, turn, meanwhile)
    }

    /// Frees the activation block, and the blocks of tensors whose last stage is such a one, but for those that stay.
    fn release(&mut self, is_over: impl Fn(usize) -> bool) {
        self.activation = None;
        let (sizes, chain) = (&self.admitted.sizes, &self.admitted.staged.chain);
        for (number, block) in self.blocks.iter_mut().enumerate() {
            if !sizes.stays(number) && is_over(chain.tensors[number].last) {
                *block = None;
            }
        }
    }
}
