//! Every combination that is asked for, less what makes no difference here.

use super::arguments::{Graph, MeasureArgs, Transfers};
use crate::failure::Failure;
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::fmt;
use trtforge_builder::NamedShape;
use trtforge_runtime::bench::{Closed, Open};
use trtforge_runtime::{Engine, GraphState, Shape};

/// What is measured, in order.
#[derive(Debug)]
pub struct Matrix {
    pub measurements: Vec<Measurement>,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq)]
pub enum Measurement {
    Closed(Closed),
    Open(Open),
}

impl fmt::Display for Measurement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Closed(closed) | Self::Open(Open { closed, .. })) = self;
        let Closed { batch, streams, .. } = closed;
        batch.map_or(Ok(()), |batch| write!(out, "batch {batch}, "))?;
        write!(out, "{streams} {}", if *streams == 1 { "stream" } else { "streams" })?;
        out.write_str(if closed.cuda_graph { ", CUDA graph" } else { "" })?;
        out.write_str(if closed.transfers { "" } else { ", without transfers" })?;
        match self {
            Self::Open(open) => write!(out, ", {} requests/s", open.per_second),
            Self::Closed(_) => Ok(()),
        }
    }
}

impl Matrix {
    /// All of it, and what a reader should know about what was left out.
    ///
    /// # Errors
    /// When a shape is given twice, or the engine makes no session.
    pub fn new(engine: &Engine, args: &MeasureArgs) -> Result<(Self, Vec<String>)> {
        let mut notes = Vec::new();
        let transfers = transfers(engine, args.transfers, &mut notes);
        let shapes = shapes(&args.shape)?;
        let batches = match args.batch.as_slice() {
            [] => vec![None],
            given => given.iter().copied().map(Some).collect(),
        };
        let graphs = graphs(engine, args, batches[0], &shapes, &mut notes)?;
        let mut measurements = Vec::new();
        for &batch in &batches {
            for &streams in &args.streams {
                for &cuda_graph in &graphs {
                    for &transfers in &transfers {
                        let (shapes, budget_bytes) = (shapes.clone(), args.budget.map(|budget| budget.bytes()));
                        let closed = Closed { batch, streams, cuda_graph, transfers, shapes, budget_bytes };
                        measurements.extend(with_rates(closed, args));
                    }
                }
            }
        }
        Ok((Self { measurements }, notes))
    }
}

/// A closed loop, and an open one for each rate.
fn with_rates(closed: Closed, args: &MeasureArgs) -> Vec<Measurement> {
    let open = |&per_second: &f64| Open { closed: closed.clone(), per_second, max_delay: args.max_delay };
    let open: Vec<Measurement> = args.rate.iter().map(open).map(Measurement::Open).collect();
    std::iter::once(Measurement::Closed(closed)).chain(open).collect()
}

fn transfers(engine: &Engine, asked: Transfers, notes: &mut Vec<String>) -> Vec<bool> {
    if engine.is_unified() {
        if asked != Transfers::With {
            notes.push("--transfers makes no difference on the CPU, where nothing is copied".to_owned());
        }
        return vec![true];
    }
    match asked {
        Transfers::With => vec![true],
        Transfers::Without => vec![false],
        Transfers::Both => vec![true, false],
    }
}

/// With and without CUDA graphs, where the engine makes any.
fn graphs(
    engine: &Engine,
    args: &MeasureArgs,
    batch: Option<u64>,
    shapes: &BTreeMap<String, Shape>,
    notes: &mut Vec<String>,
) -> Result<Vec<bool>> {
    if args.cuda_graph == Graph::Off {
        return Ok(vec![false]);
    }
    let asked = Closed { batch, cuda_graph: true, shapes: shapes.clone(), ..Closed::default() };
    if let GraphState::Inactive(reason) = trtforge_runtime::bench::graph_state(engine, &asked)? {
        notes.push(format!("measured without CUDA graphs: {reason}"));
        return Ok(vec![false]);
    }
    Ok(if args.cuda_graph == Graph::Both { vec![false, true] } else { vec![true] })
}

fn shapes(given: &[NamedShape]) -> Result<BTreeMap<String, Shape>> {
    let mut shapes = BTreeMap::new();
    for NamedShape { input, shape } in given {
        let Some(sizes) = Shape::new(&shape.0) else {
            bail!(Failure::usage(format!("--shape {input}={shape} has too many dimensions")));
        };
        if shapes.insert(input.clone(), sizes).is_some() {
            bail!(Failure::usage(format!("--shape is given twice for input `{input}`")));
        }
    }
    Ok(shapes)
}
