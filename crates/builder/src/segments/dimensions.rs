//! What the named open dimensions of a network may be, and so how large its inner values are.

use crate::passes::ResolvedShapes;
use crate::shapes::{Shape, ShapeRange};
use std::collections::HashMap;
use trtforge_graph::{Dimension, Graph, TensorType, ValueId, ValueType};

/// Smallest, likeliest and largest value of every dimension that an input names.
pub(crate) struct OpenDimensions(HashMap<String, [u64; 3]>);

impl OpenDimensions {
    /// Those of `graph` under `shapes`.
    pub(crate) fn of(graph: &Graph, shapes: &ResolvedShapes) -> Self {
        let mut known = HashMap::new();
        for &input in graph.graph_inputs() {
            let value = graph.value(input);
            let dimensions = value.ty.as_ref().and_then(ValueType::tensor).and_then(|ty| ty.shape.as_deref());
            let (Some(range), Some(dimensions)) = (shapes.ranges.get(&value.name), dimensions) else { continue };
            for (axis, dimension) in dimensions.iter().enumerate() {
                if let Dimension::Symbol(name) = dimension {
                    let at = |shape: &Shape| shape.0.get(axis).copied().unwrap_or(1);
                    known.insert(name.clone(), [at(&range.min), at(&range.opt), at(&range.max)]);
                }
            }
        }
        Self(known)
    }

    fn sizes(&self, dimension: &Dimension) -> Option<[u64; 3]> {
        match dimension {
            Dimension::Fixed(size) => Some([*size; 3]),
            Dimension::Symbol(name) => self.0.get(name).copied(),
            Dimension::Unknown => None,
        }
    }

    /// The range of a tensor's shape; nothing where a dimension is none that an input names.
    pub(crate) fn range(&self, ty: &TensorType) -> Option<ShapeRange> {
        let sizes = ty.shape.as_ref()?.iter().map(|dimension| self.sizes(dimension)).collect::<Option<Vec<_>>>()?;
        let at = |which: usize| Shape(sizes.iter().map(|sizes| sizes[which]).collect());
        Some(ShapeRange { min: at(0), opt: at(1), max: at(2) })
    }

    /// The range of a value.
    pub(crate) fn range_of(&self, graph: &Graph, value: ValueId) -> Option<ShapeRange> {
        self.range(graph.value(value).ty.as_ref()?.tensor()?)
    }

    /// Bytes of a value at its largest shape.
    pub(crate) fn most_bytes(&self, graph: &Graph, value: ValueId) -> Option<u64> {
        let ty = graph.value(value).ty.as_ref()?.tensor()?;
        let count = self.range(ty)?.max.0.iter().try_fold(1u64, |count, &size| count.checked_mul(size))?;
        ty.element.bytes_for(count)
    }
}
