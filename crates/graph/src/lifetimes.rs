//! From which step of a run to which step the memory of each value is needed.
//!
//! A step is a node's place in the running order. Stored values (initializers, `Constant` nodes) need no run-time
//! memory and are left out; so are values inside subgraphs, which their node holds for itself. Reshapes count as values
//! of their own: whether an engine computes them in place is not known here.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId, Producer, ValueId};
use crate::memory_plan::Occupancy;

/// Whose memory a value lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Storage {
    /// The caller's: a graph input.
    Input,
    /// The caller's: a graph output.
    Output,
    /// The engine's own.
    Activation,
}

/// When a value's memory is needed. A value that nothing reads is needed only while it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// The value.
    pub value: ValueId,
    /// Its size.
    pub bytes: u64,
    /// The first step at which it is in memory.
    pub first: u32,
    /// The last step at which it is in memory.
    pub last: u32,
    /// Whose memory it is in.
    pub storage: Storage,
}

impl Occupancy for Lifetime {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn first(&self) -> u32 {
        self.first
    }

    fn last(&self) -> u32 {
        self.last
    }
}

/// The lifetime of every value that needs memory during a run.
///
/// # Errors
/// [`Error::UnknownSize`] for the first value whose size is not known.
pub fn lifetimes(graph: &Graph) -> Result<Vec<Lifetime>> {
    let (known, unknown) = known_lifetimes(graph);
    match unknown.first() {
        None => Ok(known),
        Some(&id) => {
            let value = graph.value(id);
            let shape = value.ty.as_ref().map_or_else(|| "type unknown".to_owned(), ToString::to_string);
            Err(Error::UnknownSize { value: value.name.clone(), shape })
        }
    }
}

/// The lifetimes of the values whose size is known, and the values whose size is not.
pub fn known_lifetimes(graph: &Graph) -> (Vec<Lifetime>, Vec<ValueId>) {
    let steps: HashMap<NodeId, u32> = graph.node_ids().zip(0..).collect();
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for value in graph.value_ids().filter(|&value| needs_memory(graph, value)) {
        match lifetime(graph, value, &steps) {
            Some(lifetime) => known.push(lifetime),
            None => unknown.push(value),
        }
    }
    (known, unknown)
}

fn needs_memory(graph: &Graph, value: ValueId) -> bool {
    match graph.value(value).producer {
        Producer::Initializer => false,
        Producer::GraphInput => true,
        Producer::Node { node, .. } => !(graph.op_type(node) == "Constant" && graph.domain(node).is_empty()),
    }
}

fn lifetime(graph: &Graph, id: ValueId, steps: &HashMap<NodeId, u32>) -> Option<Lifetime> {
    let value = graph.value(id);
    let bytes = value.ty.as_ref()?.tensor()?.bytes()?;
    let end = (steps.len() as u32).saturating_sub(1);
    let (first, storage) = match value.producer {
        Producer::Node { node, .. } => (steps[&node], Storage::Activation),
        _ => (0, Storage::Input),
    };
    if value.is_output && storage == Storage::Activation {
        return Some(Lifetime { value: id, bytes, first, last: end, storage: Storage::Output });
    }
    let last_read = value.consumers.iter().map(|consumer| steps[&consumer.node]).max().unwrap_or(first);
    let last = if value.is_output { end } else { last_read };
    Some(Lifetime { value: id, bytes, first, last, storage })
}
