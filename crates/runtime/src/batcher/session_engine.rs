//! A session as what runs batches: samples are gathered along the first dimension and answers cut along it.

use super::BatchEngine;
use crate::engine::Direction;
use crate::error::{Error, Result};
use crate::session::Session;
use crate::shape::Shape;

/// Tensors of one request, as bytes: one per input of the engine, or one per output, in the engine's order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sample {
    /// The tensors.
    pub tensors: Vec<Vec<u8>>,
}

impl Sample {
    /// A sample of one tensor.
    #[must_use]
    pub fn of<T: bytemuck::NoUninit>(values: &[T]) -> Self {
        Self { tensors: vec![bytemuck::cast_slice(values).to_vec()] }
    }

    /// The values of a tensor; nothing if it has another type or is not there.
    #[must_use]
    pub fn values<T: bytemuck::AnyBitPattern>(&self, tensor: usize) -> Option<Vec<T>> {
        let bytes = self.tensors.get(tensor)?;
        let size = size_of::<T>();
        (size > 0 && bytes.len() % size == 0)
            .then(|| bytes.chunks_exact(size).map(bytemuck::pod_read_unaligned).collect())
    }
}

/// Runs batches in the first slot of a session. An answer comes in the buffers that its request came in, so a sample that
/// goes to and fro is allocated once.
pub struct SessionEngine {
    session: Session,
    largest: usize,
    /// Bytes and shape of one sample's part of each input.
    parts: Vec<(usize, Shape)>,
    /// Places of the samples in the batch at hand that can run.
    fitting: Vec<usize>,
}

impl SessionEngine {
    /// Runs batches in `session`, at most as large as it was made for. Inputs keep the other sizes that they have now.
    ///
    /// # Errors
    /// An input has no first dimension to gather along, or inputs differ in it.
    pub fn new(mut session: Session) -> Result<Self> {
        let engine = session.engine().clone();
        let mut largest = None;
        let mut parts = Vec::with_capacity(engine.signature().inputs.len());
        for input in &engine.signature().inputs {
            let shape = session.slot(0)?.input_shape(&input.name)?;
            let batch = shape.first().copied().filter(|batch| *batch > 0 && largest.is_none_or(|most| most == *batch));
            let Some(batch) = batch else { return Err(no_batch(&input.name, &shape)) };
            largest = Some(batch);
            parts.push(((input.bytes_at(&shape).unwrap_or(0) / batch) as usize, shape.with_batch(1)));
        }
        let largest = largest.and_then(|batch| usize::try_from(batch).ok()).unwrap_or(1);
        Ok(Self { session, fitting: Vec::with_capacity(largest), largest, parts })
    }

    /// The session, to look at.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The session.
    #[must_use]
    pub fn into_session(self) -> Session {
        self.session
    }

    /// Sets the smallest batch that the session takes for that many samples; what is past them stays as it was.
    fn set_batch(&mut self, samples: usize) -> Result<usize> {
        let takes = |batch: &usize| self.session.set_batch(*batch as u64).is_ok();
        let batch = (samples..=self.largest).find(takes);
        let refused = || Error::Run { reason: format!("the session takes no batch of {samples} to {}", self.largest) };
        batch.ok_or_else(refused)
    }

    fn check(&self, sample: &Sample) -> Result<()> {
        let signature = self.session.engine().signature();
        if sample.tensors.len() != signature.inputs.len() {
            let available = signature.inputs.iter().map(|input| input.name.clone()).collect();
            let name = format!("{} tensors", sample.tensors.len());
            return Err(Error::UnknownTensor { direction: Direction::Input, name, available });
        }
        for ((tensor, (bytes, shape)), input) in sample.tensors.iter().zip(&self.parts).zip(&signature.inputs) {
            if tensor.len() != *bytes {
                let (expected, actual) = (*bytes as u64, tensor.len() as u64);
                let (name, shape) = (input.name.clone(), Box::new(*shape));
                return Err(Error::WrongByteCount { name, shape, expected, actual });
            }
        }
        Ok(())
    }

    /// Runs the samples that fit and puts their answers where `outputs` has a place for them.
    fn run_fitting(&mut self, inputs: &mut [Sample], outputs: &mut [Result<Sample>]) -> Result<()> {
        let batch = self.set_batch(self.fitting.len())?;
        let engine = self.session.engine().clone();
        let signature = engine.signature();
        let mut slot = self.session.slot(0)?;
        for (index, input) in signature.inputs.iter().enumerate() {
            let tensors = self.fitting.iter().map(|&place| inputs[place].tensors[index].as_slice());
            slot.write_rows(&input.name, self.parts[index].0, tensors)?;
        }
        slot.run()?;
        for &place in &self.fitting {
            let mut tensors = std::mem::take(&mut inputs[place].tensors);
            tensors.resize_with(signature.outputs.len(), Vec::new);
            tensors.iter_mut().for_each(Vec::clear);
            outputs[place] = Ok(Sample { tensors });
        }
        for (index, output) in signature.outputs.iter().enumerate() {
            let bytes = slot.read_output(&output.name)?;
            let row = bytes.len() / batch.max(1);
            for (&place, row) in self.fitting.iter().zip(bytes.chunks_exact(row.max(1))) {
                if let Ok(answer) = &mut outputs[place] {
                    answer.tensors[index].extend_from_slice(row);
                }
            }
        }
        Ok(())
    }
}

fn no_batch(name: &str, shape: &Shape) -> Error {
    Error::Run { reason: format!("{name:?} of shape {shape} has no batch like the other inputs") }
}

impl BatchEngine for SessionEngine {
    type Input = Sample;
    type Output = Sample;

    fn largest_batch(&self) -> usize {
        self.largest
    }

    fn run(&mut self, inputs: &mut [Sample], outputs: &mut Vec<Result<Sample>>) -> Result<()> {
        outputs.extend(inputs.iter().map(|sample| self.check(sample).map(|()| Sample::default())));
        self.fitting.clear();
        self.fitting.extend(outputs.iter().enumerate().filter(|(_, output)| output.is_ok()).map(|(place, _)| place));
        if self.fitting.is_empty() { Ok(()) } else { self.run_fitting(inputs, outputs) }
    }
}
