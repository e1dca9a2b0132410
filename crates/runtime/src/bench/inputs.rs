//! Made-up inputs.

use crate::element::ElementType;
use crate::engine::TensorInfo;
use crate::error::Result;
use crate::session::Session;
use crate::shape::Shape;

/// Bytes of a tensor: numbers from 0 to 1, any 8-bit values, and zeros for wider integers, which may be indices.
pub(super) fn bytes(tensor: &TensorInfo, shape: &Shape, random: &mut fastrand::Rng) -> Vec<u8> {
    let elements = shape.elements().and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    let elements = std::iter::repeat_n((), elements);
    match tensor.element {
        ElementType::Float32 => elements.flat_map(|()| random.f32().to_ne_bytes()).collect(),
        ElementType::Float16 => elements.flat_map(|()| half::f16::from_f32(random.f32()).to_ne_bytes()).collect(),
        ElementType::Int8 | ElementType::UInt8 => elements.map(|()| random.u8(..)).collect(),
        ElementType::Bool => elements.map(|()| random.u8(..2)).collect(),
        ElementType::Int32 | ElementType::Int64 => vec![0; elements.count() * tensor.element.bytes() as usize],
    }
}

/// Writes the inputs of all slots.
pub(super) fn fill(session: &mut Session, seed: u64) -> Result<()> {
    let engine = session.engine().clone();
    for number in 0..session.slots() {
        // Every slot has the same inputs, so that runs take the same work.
        let mut random = fastrand::Rng::with_seed(seed);
        for input in &engine.signature().inputs {
            let mut slot = session.slot(number)?;
            let bytes = bytes(input, &slot.input_shape(&input.name)?, &mut random);
            slot.write_input(&input.name, &bytes)?;
        }
    }
    Ok(())
}
