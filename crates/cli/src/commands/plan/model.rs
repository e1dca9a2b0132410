//! The memory of a model by the sizes and lifetimes of its values.
//!
//! Every value between nodes exists from its producer to its last reader; at the busiest moment they must all fit. It
//! is the least for running node by node. A compiler fuses nodes and so avoids some values, and adds scratch memory.

use super::report::{Basis, LiveValue, Peak, Report};
use crate::args::shape::ShapeArgs;
use crate::args::verbosity::VerbosityArgs;
use crate::progress::Terminal;
use crate::typed_model;
use anyhow::Result;
use std::path::Path;
use trtforge_builder::{ByteSize, Progress};
use trtforge_graph::memory_plan::{self, Bound};
use trtforge_graph::{Graph, Lifetime, Model, Storage, known_lifetimes};

/// How compilers align blocks.
const ALIGNMENT_BYTES: u64 = 512;

/// A model's plan.
pub fn plan(path: &Path, shapes: &ShapeArgs, budget: Option<ByteSize>, verbosity: &VerbosityArgs) -> Result<Report> {
    let terminal = Terminal::new(verbosity);
    let graph = typed_model::read_at_largest_shapes(Model::read(path)?, shapes, &terminal)?;
    let (lifetimes, unknown) = known_lifetimes(&graph);
    if let Some(first) = unknown.first() {
        let (count, name) = (unknown.len(), &graph.value(*first).name);
        terminal.note(&format!("the size of {count} values is unknown, such as `{name}`: they are left out"));
    }
    let (own, callers): (Vec<Lifetime>, Vec<Lifetime>) =
        lifetimes.into_iter().partition(|lifetime| lifetime.storage == Storage::Activation);
    let bound = memory_plan::lower_bound(&own);
    let weights = trtforge_graph::statistics(&graph).weight_bytes;
    let io = callers.iter().map(|lifetime| lifetime.bytes).fold(0, u64::saturating_add);
    let mut report = Report::new(path.to_owned(), Basis::ModelShapes, [weights, bound.bytes, io], budget);
    report.peak = peak(&graph, &own, &bound);
    Ok(report)
}

fn peak(graph: &Graph, values: &[Lifetime], bound: &Bound) -> Option<Peak> {
    let node = graph.node_ids().nth(bound.step as usize)?;
    let live = |position: &usize| {
        let lifetime = values.get(*position)?;
        let value = graph.value(lifetime.value);
        let ty = value.ty.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
        Some(LiveValue { name: value.name.clone(), ty, bytes: lifetime.bytes })
    };
    let mut alive: Vec<LiveValue> = bound.live.iter().filter_map(live).collect();
    alive.sort_by(|one, other| other.bytes.cmp(&one.bytes).then_with(|| one.name.cmp(&other.name)));
    let packed_bytes = memory_plan::plan(values, ALIGNMENT_BYTES).total_bytes;
    let live_bytes = memory_plan::live_bytes(values, graph.node_count() as u32);
    Some(Peak { node: graph.node_name(node), values: alive, packed_bytes, live_bytes })
}
