//! Shapes to run at, and values to run on: the same for an engine and its reference.

use trtforge_runtime::{ElementType, Request, Result, Shape, ShapeRange, Slot, TensorInfo};

/// The shape of every input in one run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunShape {
    /// What it is called in reports, such as `profile 0 max`.
    pub label: String,
    /// A shape per input, in the engine's order.
    pub inputs: Vec<(String, Shape)>,
}

impl RunShape {
    /// A request of an engine without profiles for this shape alone.
    pub fn request(&self) -> Request {
        let only = |shape: &Shape| ShapeRange { min: *shape, max: *shape };
        self.inputs.iter().fold(Request::default(), |request, (name, shape)| request.shape(name, only(shape)))
    }

    /// Gives a slot these shapes.
    pub fn set(&self, slot: &mut Slot<'_>) -> Result<()> {
        self.inputs.iter().try_for_each(|(name, shape)| slot.set_shape(name, shape))
    }
}

/// Writes noise to every input of a slot: between 0 and 1 where the type has fractions, small numbers elsewhere.
pub fn fill(slot: &mut Slot<'_>, inputs: &[TensorInfo], seed: u64) -> Result<()> {
    for (input, seed) in inputs.iter().zip(seed..) {
        let count = slot.input_shape(&input.name)?.elements().unwrap_or(0);
        slot.write_input(&input.name, &noise(input.element, count, seed))?;
    }
    Ok(())
}

fn noise(element: ElementType, count: u64, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 40
    };
    let unit = |bits: u64| bits as f32 / (1u64 << 24) as f32;
    let mut bytes = Vec::new();
    for _ in 0..count {
        let bits = next();
        match element {
            ElementType::Float32 => bytes.extend(unit(bits).to_ne_bytes()),
            ElementType::Float16 => bytes.extend(half::f16::from_f32(unit(bits)).to_ne_bytes()),
            ElementType::Int32 => bytes.extend(((bits % 10) as i32).to_ne_bytes()),
            ElementType::Int64 => bytes.extend(((bits % 10) as i64).to_ne_bytes()),
            ElementType::Bool => bytes.push((bits % 2) as u8),
            _ => bytes.push((bits % 100) as u8),
        }
    }
    bytes
}

/// What an output holds, as numbers.
pub fn numbers(element: ElementType, bytes: &[u8]) -> Vec<f64> {
    fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        bytes.as_chunks::<N>().0.iter().map(|chunk| number(*chunk)).collect()
    }
    match element {
        ElementType::Float32 => each(bytes, |it| f64::from(f32::from_ne_bytes(it))),
        ElementType::Float16 => each(bytes, |it| half::f16::from_ne_bytes(it).to_f64()),
        ElementType::Int32 => each(bytes, |it| f64::from(i32::from_ne_bytes(it))),
        ElementType::Int64 => each(bytes, |it| i64::from_ne_bytes(it) as f64),
        ElementType::Int8 => each(bytes, |[it]: [u8; 1]| f64::from(it as i8)),
        _ => each(bytes, |[it]: [u8; 1]| f64::from(it)),
    }
}
