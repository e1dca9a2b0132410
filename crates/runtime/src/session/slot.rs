//! One slot of a session: its shapes, typed views of its buffers, and its runs.

use super::lane::Lane;
use super::{RunTiming, Session, Ticket, ensure_worker};
use crate::element::Element;
use crate::engine::{Direction, Engine, Layout, Signature, TensorInfo};
use crate::error::{Error, Result};
use crate::shape::Shape;

/// What a session keeps of a slot.
pub(super) struct State {
    /// The buffers; nothing while they are handed over.
    pub(super) lane: Option<Box<Lane>>,
    /// Number of the run under way.
    pub(super) flight: Option<u64>,
    /// How long the parts of the last run took, where it is known.
    pub(super) timing: Option<RunTiming>,
    inputs: Vec<Shape>,
    outputs: Vec<Option<Shape>>,
    /// Whether the engine has yet to be told of the shapes.
    changed: bool,
}

impl State {
    pub(super) fn new(lane: Box<Lane>, engine: &Engine, layout: &Layout) -> Self {
        let inputs: Vec<Shape> = layout.ranges_of_first().iter().map(|range| range.max).collect();
        let mut outputs = vec![None; engine.signature().outputs.len()];
        engine.kind().output_shapes(engine.signature(), &inputs, &mut outputs);
        Self { lane: Some(lane), flight: None, timing: None, inputs, outputs, changed: true }
    }

    /// Takes in how a run ended.
    pub(super) fn keep(&mut self, answer: Result<Option<RunTiming>>) -> Result<()> {
        self.timing = None;
        self.timing = answer?;
        Ok(())
    }

    /// Tells the engine of the shapes.
    fn apply(&mut self, engine: &Engine, layout: &Layout, slot: usize) -> Result<()> {
        if !self.changed {
            return Ok(());
        }
        let signature = engine.signature();
        let Some(place) = layout.profile_for(&self.inputs) else { return Err(no_common(signature, &self.inputs)) };
        engine.kind().output_shapes(signature, &self.inputs, &mut self.outputs);
        let lane = self.lane.as_mut().ok_or_else(|| in_flight(slot))?;
        lane.reshape(layout.profiles[place].0, &self.inputs, &mut self.outputs)?;
        check_outputs(signature, layout, &self.outputs)?;
        let inputs = signature.inputs.iter().zip(&self.inputs).map(|(tensor, shape)| used(tensor, shape));
        let known = self.outputs.iter().map(|shape| shape.unwrap_or_default());
        let outputs = signature.outputs.iter().zip(known).map(|(tensor, shape)| used(tensor, &shape));
        lane.resize(inputs, outputs);
        self.changed = false;
        Ok(())
    }
}

/// One slot of a session.
#[derive(Debug)]
pub struct Slot<'s> {
    pub(super) session: &'s mut Session,
    pub(super) slot: usize,
}

impl<'s> Slot<'s> {
    /// The shape of an input in the next run.
    ///
    /// # Errors
    /// [`Error::UnknownTensor`].
    pub fn input_shape(&self, name: &str) -> Result<Shape> {
        let index = self.session.engine.signature().index(Direction::Input, name)?;
        Ok(self.session.slots[self.slot].inputs[index])
    }

    /// Gives an input another shape, from the next run on; what its buffer holds stays where it is.
    ///
    /// # Errors
    /// [`Error::OutsideProfiles`] with the ranges there are, [`Error::UnknownTensor`], [`Error::InFlight`].
    pub fn set_shape(&mut self, input: &str, shape: &[u64]) -> Result<()> {
        let index = self.session.engine.signature().index(Direction::Input, input)?;
        self.lane()?;
        let asked = Shape::new(shape);
        let within = asked.filter(|shape| self.session.layout.profiles.iter().any(|(_, it)| it[index].contains(shape)));
        let Some(shape) = within else {
            let (name, asked) = (input.to_owned(), Box::new(asked.unwrap_or_default()));
            return Err(Error::OutsideProfiles { name, asked, ranges: self.session.layout.ranges_of(index) });
        };
        let state = &mut self.session.slots[self.slot];
        state.changed |= state.inputs[index] != shape;
        state.inputs[index] = shape;
        Ok(())
    }

    /// Gives every input whose batch is not fixed this one.
    ///
    /// # Errors
    /// As for [`Self::set_shape`]; no shape is changed then.
    pub fn set_batch(&mut self, batch: u64) -> Result<()> {
        self.lane()?;
        let Session { layout, slots, engine, .. } = &mut *self.session;
        let state = &mut slots[self.slot];
        let takes = |index: usize, shape: &Shape| layout.profiles.iter().any(|(_, it)| it[index].contains(shape));
        let has_batch =
            |index: usize| layout.profiles.iter().any(|(_, it)| it[index].min.first() != it[index].max.first());
        for (index, shape) in state.inputs.iter().enumerate() {
            let asked = shape.with_batch(batch);
            if asked != *shape && (has_batch(index) || !any_batch(layout)) && !takes(index, &asked) {
                let name = engine.signature().inputs[index].name.clone();
                return Err(Error::OutsideProfiles { name, asked: Box::new(asked), ranges: layout.ranges_of(index) });
            }
        }
        for (index, shape) in state.inputs.iter_mut().enumerate() {
            let asked = shape.with_batch(batch);
            if has_batch(index) && asked != *shape {
                *shape = asked;
                state.changed = true;
            }
        }
        Ok(())
    }

    /// An input's buffer, as many values as its shape has. What was written stays for later runs.
    ///
    /// # Errors
    /// [`Error::UnknownTensor`], [`Error::WrongElement`], [`Error::InFlight`].
    pub fn input<T: Element>(&mut self, name: &str) -> Result<&mut [T]> {
        Slot { session: self.session, slot: self.slot }.into_input(name)
    }

    pub(super) fn into_input<T: Element>(self, name: &str) -> Result<&'s mut [T]> {
        let Session { engine, slots, .. } = self.session;
        let (index, tensor) = tensor::<T>(engine.signature(), Direction::Input, name)?;
        let state = &mut slots[self.slot];
        let used = used(tensor, &state.inputs[index]);
        let lane = state.lane.as_mut().filter(|_| state.flight.is_none()).ok_or_else(|| in_flight(self.slot))?;
        T::view_mut(lane.input(index, used)?).ok_or_else(|| invalid(tensor))
    }

    /// Writes an input from bytes of exactly its size.
    ///
    /// # Errors
    /// [`Error::WrongByteCount`], and as for [`Self::input`]; [`Error::InvalidValues`] for truth values other than 0 and 1.
    pub fn write_input(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let Session { engine, slots, .. } = &mut *self.session;
        let index = engine.signature().index(Direction::Input, name)?;
        let tensor = &engine.signature().inputs[index];
        let state = &mut slots[self.slot];
        let used = used(tensor, &state.inputs[index]);
        if bytes.len() != used {
            let (expected, actual, shape) = (used as u64, bytes.len() as u64, Box::new(state.inputs[index]));
            return Err(Error::WrongByteCount { name: name.to_owned(), shape, expected, actual });
        }
        if tensor.element == crate::ElementType::Bool && bytes.iter().any(|&byte| byte > 1) {
            return Err(invalid(tensor));
        }
        let lane = state.lane.as_mut().filter(|_| state.flight.is_none()).ok_or_else(|| in_flight(self.slot))?;
        lane.input(index, used)?.copy_from_slice(bytes);
        Ok(())
    }

    /// Writes rows of `row` bytes one behind the other to the start of an input.
    pub(crate) fn write_rows<'r>(
        &mut self,
        name: &str,
        row: usize,
        rows: impl Iterator<Item = &'r [u8]>,
    ) -> Result<()> {
        let index = self.session.engine.signature().index(Direction::Input, name)?;
        let tensor = &self.session.engine.signature().inputs[index];
        let (used, boolean) =
            (used(tensor, &self.session.slots[self.slot].inputs[index]), tensor.element == crate::ElementType::Bool);
        let bytes = self.lane()?.input(index, used)?;
        for (to, from) in bytes.chunks_exact_mut(row.max(1)).zip(rows) {
            to.copy_from_slice(from);
            if boolean {
                to.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
            }
        }
        Ok(())
    }

    /// What the last run wrote to an output, as many values as its shape has.
    ///
    /// # Errors
    /// [`Error::UnknownTensor`], [`Error::WrongElement`], [`Error::InFlight`].
    pub fn output<T: Element>(&mut self, name: &str) -> Result<&[T]> {
        Slot { session: self.session, slot: self.slot }.into_output(name)
    }

    pub(super) fn into_output<T: Element>(self, name: &str) -> Result<&'s [T]> {
        let Session { engine, slots, .. } = self.session;
        let (index, tensor) = tensor::<T>(engine.signature(), Direction::Output, name)?;
        let bytes = output_bytes(&mut slots[self.slot], self.slot, index, tensor)?;
        T::view(bytes).ok_or_else(|| invalid(tensor))
    }

    /// What the last run wrote to an output, as bytes.
    ///
    /// # Errors
    /// [`Error::UnknownTensor`], [`Error::InFlight`].
    pub fn read_output(&mut self, name: &str) -> Result<&[u8]> {
        let Session { engine, slots, .. } = &mut *self.session;
        let index = engine.signature().index(Direction::Output, name)?;
        output_bytes(&mut slots[self.slot], self.slot, index, &engine.signature().outputs[index])
    }

    /// The shape of an output after the last run; before the first, what it would be.
    ///
    /// # Errors
    /// [`Error::UnknownTensor`]; [`Error::InFlight`]; nothing has run and only a run tells.
    pub fn output_shape(&self, name: &str) -> Result<Shape> {
        let index = self.session.engine.signature().index(Direction::Output, name)?;
        let state = &self.session.slots[self.slot];
        match (state.outputs[index], &state.lane) {
            (Some(shape), _) => Ok(shape),
            (None, Some(lane)) if state.flight.is_none() => lane.open_output_shape(index),
            (None, _) => Err(in_flight(self.slot)),
        }
    }

    /// Runs, and returns when the outputs are there. Allocates nothing on this side once the shapes have been run before.
    ///
    /// # Errors
    /// [`Error::NoCommonProfile`], [`Error::InFlight`], and what went wrong in the run.
    pub fn run(&mut self) -> Result<()> {
        let timed = self.session.timed;
        let answer = self.prepare()?.run(timed);
        self.session.slots[self.slot].keep(answer)
    }

    /// Starts a run and returns at once. Until [`Session::wait`] the slot shows no buffers.
    ///
    /// # Errors
    /// As for [`Self::run`], as far as it is known at the start.
    pub fn submit(&mut self) -> Result<Ticket> {
        let asynchronous = self.prepare()?.is_asynchronous();
        let Session { slots, worker, tickets, identity, timed, .. } = &mut *self.session;
        let count = slots.len();
        let state = &mut slots[self.slot];
        if asynchronous {
            state.lane.as_mut().ok_or_else(|| in_flight(self.slot))?.start()?;
        } else {
            let worker = ensure_worker(worker, count, *timed)?;
            worker.give(self.slot, state.lane.take().ok_or_else(|| in_flight(self.slot))?);
        }
        *tickets += 1;
        state.flight = Some(*tickets);
        Ok(Ticket { session: *identity, slot: self.slot, number: *tickets })
    }

    fn prepare(&mut self) -> Result<&mut Lane> {
        let Session { engine, layout, slots, .. } = &mut *self.session;
        let state = &mut slots[self.slot];
        if state.flight.is_some() {
            return Err(in_flight(self.slot));
        }
        state.apply(engine, layout, self.slot)?;
        state.lane.as_deref_mut().ok_or_else(|| in_flight(self.slot))
    }

    fn lane(&mut self) -> Result<&mut Lane> {
        let state = &mut self.session.slots[self.slot];
        state.lane.as_deref_mut().filter(|_| state.flight.is_none()).ok_or_else(|| in_flight(self.slot))
    }
}

fn output_bytes<'s>(state: &'s mut State, slot: usize, index: usize, tensor: &TensorInfo) -> Result<&'s [u8]> {
    let used = state.outputs[index].map(|shape| used(tensor, &shape));
    let lane = state.lane.as_mut().filter(|_| state.flight.is_none()).ok_or_else(|| in_flight(slot))?;
    lane.output(index, used).map(|bytes| &*bytes)
}

/// Bytes of a tensor; shapes were checked against the buffers when they were set.
fn used(tensor: &TensorInfo, shape: &Shape) -> usize {
    tensor.bytes_at(shape).and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0)
}

fn tensor<'e, T: Element>(
    signature: &'e Signature,
    direction: Direction,
    name: &str,
) -> Result<(usize, &'e TensorInfo)> {
    let index = signature.index(direction, name)?;
    let tensor = &signature.tensors(direction)[index];
    if tensor.element == T::TYPE {
        return Ok((index, tensor));
    }
    Err(Error::WrongElement { name: name.to_owned(), expected: tensor.element, actual: T::TYPE })
}

/// That outputs fit their buffers, which were made for what the largest inputs give.
fn check_outputs(signature: &Signature, layout: &Layout, outputs: &[Option<Shape>]) -> Result<()> {
    for ((tensor, shape), most) in signature.outputs.iter().zip(outputs).zip(&layout.output_bytes) {
        let needed = shape.map(|shape| tensor.bytes_at(&shape).unwrap_or(u64::MAX));
        if let (Some(needed), Some(most)) = (needed, most)
            && needed > *most
        {
            let reason = format!("{:?} is larger than for the largest inputs: {needed} bytes, not {most}", tensor.name);
            return Err(Error::Run { reason });
        }
    }
    Ok(())
}

fn any_batch(layout: &Layout) -> bool {
    layout.profiles.iter().flat_map(|(_, ranges)| ranges).any(|range| range.min.first() != range.max.first())
}

fn invalid(tensor: &TensorInfo) -> Error {
    Error::InvalidValues { name: tensor.name.clone(), expected: tensor.element }
}

fn in_flight(slot: usize) -> Error {
    Error::InFlight { what: format!("slot {slot}") }
}

fn no_common(signature: &Signature, shapes: &[Shape]) -> Error {
    let names = signature.inputs.iter().map(|input| input.name.clone());
    Error::NoCommonProfile { shapes: names.zip(shapes.iter().copied()).collect() }
}
