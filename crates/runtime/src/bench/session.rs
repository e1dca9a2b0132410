//! Sessions as a measurement asks for them.

use std::collections::BTreeMap;

use super::report::{Loop, Mode};
use super::settings::Closed;
use crate::engine::{Declared, Direction, Engine, Request, ShapeRange, TensorInfo};
use crate::error::Result;
use crate::session::{GraphState, Session, SessionOptions};
use crate::shape::Shape;

/// What comes of a CUDA graph in a session of this kind.
///
/// # Errors
/// What a session of this kind is refused for, and what its runs fail with.
pub fn graph_state(engine: &Engine, asked: &Closed) -> Result<GraphState> {
    let mut session = session(engine, asked, 1, false)?;
    if !engine.is_unified() {
        // The first run settles what the engine put off, the second is captured.
        session.run()?;
        session.run()?;
    }
    Ok(session.cuda_graph())
}

/// A session of that many slots whose inputs have the shapes of a full batch. `any_batch` makes room for smaller ones.
pub(super) fn session(engine: &Engine, asked: &Closed, slots: usize, any_batch: bool) -> Result<Session> {
    let options = SessionOptions {
        request: request(engine, asked, slots, any_batch)?,
        budget_bytes: asked.budget_bytes,
        cuda_graph: asked.cuda_graph,
        timed: true,
        without_copies: !asked.transfers,
        ..SessionOptions::default()
    };
    let mut session = engine.session(options)?;
    for slot in 0..session.slots() {
        for input in &engine.signature().inputs {
            if let Some(shape) = asked.shapes.get(&input.name) {
                let shape = full(input, shape, asked.batch);
                session.slot(slot)?.set_shape(&input.name, &shape)?;
            }
        }
    }
    Ok(session)
}

fn request(engine: &Engine, asked: &Closed, slots: usize, any_batch: bool) -> Result<Request> {
    let signature = engine.signature();
    for name in asked.shapes.keys() {
        signature.index(Direction::Input, name)?;
    }
    let mut request = Request { batch: asked.batch, slots, ..Request::default() };
    if !signature.profiles.is_empty() || asked.batch == Some(0) {
        return Ok(request);
    }
    for input in &signature.inputs {
        let Some(shape) = asked.shapes.get(&input.name).copied().or_else(|| with_open_batch(input)) else { continue };
        let max = full(input, &shape, asked.batch);
        let min = if any_batch && opens_with_a_batch(input) { max.with_batch(1) } else { max };
        request.shapes.insert(input.name.clone(), ShapeRange { min, max });
    }
    if signature.inputs.iter().any(opens_with_a_batch) {
        // The ranges say it, and inputs that have no batch would be held to it.
        request.batch = None;
    }
    Ok(request)
}

/// The shape of one inference of an input of which nothing but the batch is open.
fn with_open_batch(input: &TensorInfo) -> Option<Shape> {
    let sizes = input.dimensions.as_ref().filter(|_| opens_with_a_batch(input))?.iter().enumerate();
    let sizes: Option<Vec<u64>> = sizes
        .map(|(axis, dimension)| match dimension {
            Declared::Fixed(size) => Some(*size),
            Declared::Open(_) => (axis == 0).then_some(1),
        })
        .collect();
    Shape::new(&sizes?)
}

/// The shape of a full batch.
fn full(input: &TensorInfo, shape: &Shape, batch: Option<u64>) -> Shape {
    match batch {
        Some(batch) if opens_with_a_batch(input) => shape.with_batch(batch),
        _ => *shape,
    }
}

fn opens_with_a_batch(input: &TensorInfo) -> bool {
    let first = input.dimensions.as_ref().and_then(|dimensions| dimensions.first());
    matches!(first, Some(Declared::Open(_)))
}

/// The shape that each input has in a slot.
pub(super) fn shapes(session: &mut Session) -> Result<BTreeMap<String, Shape>> {
    let engine = session.engine().clone();
    let slot = session.slot(0)?;
    let named = |input: &TensorInfo| Ok((input.name.clone(), slot.input_shape(&input.name)?));
    engine.signature().inputs.iter().map(named).collect()
}

/// Shapes as text, for the report.
pub(super) fn texts(shapes: &BTreeMap<String, Shape>) -> BTreeMap<String, String> {
    shapes.iter().map(|(name, shape)| (name.clone(), shape.to_string())).collect()
}

/// Inferences in a run: the first dimension that all inputs with an open one agree on, or else all inputs; else 1.
pub(super) fn batch(engine: &Engine, shapes: &BTreeMap<String, Shape>) -> u64 {
    let inputs = &engine.signature().inputs;
    let any_open = inputs.iter().any(opens_with_a_batch);
    let with_batch = inputs.iter().filter(|input| !any_open || opens_with_a_batch(input));
    let mut firsts = with_batch.map(|input| shapes.get(&input.name).and_then(|shape| shape.first().copied()));
    let first = firsts.next().flatten().filter(|batch| *batch > 0);
    first.filter(|batch| firsts.all(|other| other == Some(*batch))).unwrap_or(1)
}

/// How a measurement is made.
pub(super) fn mode(kind: Loop, engine: &Engine, asked: &Closed, batch: u64, cuda_graph: bool) -> Mode {
    Mode {
        kind,
        batch,
        streams: asked.streams,
        cuda_graph,
        transfers: (!engine.is_unified()).then_some(asked.transfers),
        rate_per_s: None,
        max_delay_us: None,
    }
}
