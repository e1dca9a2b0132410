//! Removes casts that undo each other and casts to the type a value already has.
//!
//! Patterns and results:
//! `Cast(x: T -> T)` becomes `x`;
//! `Cast(Cast(x: half -> float) -> half)` becomes `x` (exact: every half number is a float);
//! `Cast(Cast(x: float -> half) -> half)` is covered by the first.
//! It must never fire on `float -> half -> float`: that rounds. Numerical effect: none.

use super::Pass;
use crate::Result;
use trtforge_graph::{ElementType, Graph, NodeId, Patch, Producer, ValueId, ValueType};

/// The pass.
pub struct CancelCasts;

impl Pass for CancelCasts {
    fn name(&self) -> &'static str {
        "cancel-casts"
    }

    fn patches(&self, graph: &mut Graph) -> Result<Vec<Patch>> {
        let casts: Vec<NodeId> =
            graph.node_ids().filter(|&node| graph.op_type(node) == "Cast" && graph.domain(node).is_empty()).collect();
        Ok(casts.into_iter().filter_map(|cast| cancel(graph, cast)).collect())
    }

    fn max_rounds(&self) -> usize {
        64
    }
}

fn cancel(graph: &Graph, cast: NodeId) -> Option<Patch> {
    let input = graph.inputs(cast).first().copied().flatten()?;
    let output = graph.outputs(cast).first().copied().flatten()?;
    let source = source_of_equal_value(graph, input, element(graph, output)?)?;
    let replaceable = if graph.value(output).is_output {
        can_take_name(graph, source)
    } else {
        !graph.value(output).consumers.is_empty()
    };
    if !replaceable {
        return None;
    }
    let mut patch = Patch::new(format!("cancel cast `{}`", graph.value(output).name));
    patch.redirect(output, &graph.value(source).name);
    Some(patch)
}

/// Whether a value can become a model output in place of a cast of it.
fn can_take_name(graph: &Graph, value: ValueId) -> bool {
    graph.producer(value).is_some() && !graph.value(value).is_output
}

/// The value that already holds what the cast of `input` to `wanted` would give.
fn source_of_equal_value(graph: &Graph, input: ValueId, wanted: ElementType) -> Option<ValueId> {
    let middle = element(graph, input)?;
    if middle == wanted {
        return Some(input);
    }
    let Producer::Node { node: earlier, .. } = graph.value(input).producer else { return None };
    if graph.op_type(earlier) != "Cast" {
        return None;
    }
    let origin = graph.inputs(earlier).first().copied().flatten()?;
    (element(graph, origin)? == wanted && widens(wanted, middle)).then_some(origin)
}

/// Whether every number of `from` is a number of `to`.
fn widens(from: ElementType, to: ElementType) -> bool {
    use ElementType::{BFloat16, Float16, Float32, Float64, Int8, Int16, Int32, Int64, UInt8};
    matches!(
        (from, to),
        (Float16 | BFloat16, Float32 | Float64)
            | (Float32, Float64)
            | (UInt8 | Int8, Int16 | Int32 | Int64 | Float16 | Float32 | Float64)
            | (Int16, Int32 | Int64 | Float32 | Float64)
            | (Int32, Int64 | Float64)
    )
}

fn element(graph: &Graph, value: ValueId) -> Option<ElementType> {
    match &graph.value(value).ty {
        Some(ValueType::Tensor(ty)) => Some(ty.element),
        _ => None,
    }
}
