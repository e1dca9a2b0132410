//! One session and everything behind it: images in, detections out.

use super::network::Network;
use super::outputs::{RunOutputs, expected_shapes};
use super::photo::{Answer, Photo, Prepared};
use anyhow::Result;
use half::f16;
use std::collections::VecDeque;
use trtforge_builder::Unreadable;
use trtforge_runtime::{ElementType, Session, Slot, Ticket};
use trtforge_vision::{Candidates, Decoder, OutputShape, Rejected, Suppressor};

/// Runs a network in a session of its own.
pub struct Lane<'n> {
    network: &'n Network,
    session: Session,
    decoder: &'n Decoder,
    outputs: RunOutputs,
    candidates: Candidates,
    suppressor: Suppressor,
    under_way: VecDeque<Run>,
    next_slot: usize,
}

/// A run whose outputs are not read yet; one without photographs runs nothing.
struct Run {
    ticket: Option<(usize, Ticket)>,
    photos: Vec<Photo>,
    unreadable: Vec<Unreadable>,
}

impl<'n> Lane<'n> {
    /// A lane that is ready to run. Where nothing tells the shapes of outputs, the first lane of a network runs once, on zeros.
    ///
    /// # Errors
    /// No session can be made, or no decoder fits, or two.
    pub fn new(network: &'n Network) -> Result<Self> {
        let mut session = network.session(network.slots())?;
        let shape = network.inputs.shape;
        for slot in 0..session.slots() {
            set_shapes(network, &mut session.slot(slot)?, shape[0] as usize)?;
        }
        let mut outputs = RunOutputs::default();
        let decoder = network.decoder(|| output_shapes(network, &mut session, &mut outputs))?;
        Ok(Self {
            network,
            session,
            decoder,
            outputs,
            candidates: Candidates::new(network.settings.score()),
            suppressor: Suppressor::default(),
            under_way: VecDeque::new(),
            next_slot: 0,
        })
    }

    /// How outputs are read.
    pub fn decoder(&self) -> &'n Decoder {
        self.decoder
    }

    /// Starts a run, and gives the answer of the oldest one where no slot is free for both. The tensor is left to be used
    /// again.
    ///
    /// # Errors
    /// What goes wrong in a run.
    pub fn feed(&mut self, prepared: &mut Prepared) -> Result<Option<Answer>> {
        let answer = if self.under_way.len() == self.session.slots() { self.collect()? } else { None };
        let (photos, unreadable) = (std::mem::take(&mut prepared.photos), std::mem::take(&mut prepared.unreadable));
        let ticket = if photos.is_empty() { None } else { Some(self.submit(&prepared.tensor, photos.len())?) };
        self.under_way.push_back(Run { ticket, photos, unreadable });
        Ok(answer)
    }

    fn submit(&mut self, tensor: &[f32], images: usize) -> Result<(usize, Ticket)> {
        let place = self.next_slot;
        self.next_slot = (place + 1) % self.session.slots();
        let mut slot = self.session.slot(place)?;
        set_shapes(self.network, &mut slot, images)?;
        write_images(self.network, &mut slot, tensor)?;
        write_sizes(self.network, &mut slot)?;
        Ok((place, slot.submit()?))
    }

    /// The answer of the oldest run under way; nothing where there is none.
    ///
    /// # Errors
    /// What went wrong in the run.
    pub fn collect(&mut self) -> Result<Option<Answer>> {
        let Some(Run { ticket, mut photos, unreadable }) = self.under_way.pop_front() else { return Ok(None) };
        let mut rejected = Rejected::default();
        if let Some((slot, ticket)) = ticket {
            self.session.wait(ticket)?;
            self.outputs.take(self.network.engine.signature(), &mut self.session.slot(slot)?)?;
            rejected = self.read(&mut photos)?;
        }
        Ok(Some(Answer { photos, unreadable, rejected }))
    }

    fn read(&mut self, photos: &mut [Photo]) -> Result<Rejected> {
        let mut rejected = Rejected::default();
        let selection = self.network.settings.selection(self.decoder.kind());
        let (values, batch) = (self.outputs.values(), self.network.inputs.shape_of(photos.len())[0] as usize);
        for (place, photo) in photos.iter_mut().enumerate() {
            self.decoder.decode(&values, batch, place, &mut self.candidates)?;
            let found = selection.select(&self.candidates, &mut self.suppressor, &photo.placement, photo.size);
            photo.detections = found.0;
            rejected += found.1;
        }
        Ok(rejected)
    }
}

/// Shapes of the outputs at the largest batch: as far as they are known before a run, else those of one.
fn output_shapes(network: &Network, session: &mut Session, outputs: &mut RunOutputs) -> Result<Vec<OutputShape>> {
    let signature = network.engine.signature();
    let mut slot = session.slot(0)?;
    if let Some(shapes) = expected_shapes(signature, &slot) {
        return Ok(shapes);
    }
    write_images(network, &mut slot, &vec![0.0; network.inputs.batch() * network.inputs.input.elements()])?;
    write_sizes(network, &mut slot)?;
    slot.run()?;
    outputs.take(signature, &mut slot)?;
    Ok(outputs.shapes().to_vec())
}

fn set_shapes(network: &Network, slot: &mut Slot<'_>, images: usize) -> Result<()> {
    let shape = network.inputs.shape_of(images);
    slot.set_shape(&network.inputs.image, &shape)?;
    if let Some((name, _)) = &network.inputs.size {
        slot.set_shape(name, &[shape[0], 2])?;
    }
    Ok(())
}

/// Writes the images; a fixed batch that has fewer of them keeps what was there before in its last places.
fn write_images(network: &Network, slot: &mut Slot<'_>, tensor: &[f32]) -> Result<()> {
    let name = &network.inputs.image;
    match network.inputs.element {
        ElementType::Float16 => {
            slot.input::<f16>(name)?.iter_mut().zip(tensor).for_each(|(to, from)| *to = f16::from_f32(*from));
        }
        ElementType::UInt8 => {
            slot.input::<u8>(name)?.iter_mut().zip(tensor).for_each(|(to, from)| *to = from.round() as u8);
        }
        _ => {
            let to = slot.input::<f32>(name)?;
            let length = to.len().min(tensor.len());
            to[..length].copy_from_slice(&tensor[..length]);
        }
    }
    Ok(())
}

/// Tells networks that scale their boxes themselves the size of their own input.
fn write_sizes(network: &Network, slot: &mut Slot<'_>) -> Result<()> {
    let Some((name, element)) = &network.inputs.size else { return Ok(()) };
    let sides = [network.inputs.input.width, network.inputs.input.height];
    match element {
        ElementType::Int64 => fill(slot.input::<i64>(name)?, sides.map(i64::from)),
        ElementType::Int32 => fill(slot.input::<i32>(name)?, sides.map(|side| side as i32)),
        _ => fill(slot.input::<f32>(name)?, sides.map(|side| side as f32)),
    }
    Ok(())
}

fn fill<T: Copy>(rows: &mut [T], sides: [T; 2]) {
    rows.as_chunks_mut::<2>().0.iter_mut().for_each(|row| *row = sides);
}
