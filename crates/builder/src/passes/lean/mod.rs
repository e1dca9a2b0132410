//! Rewrites that compute the same numbers in less activation memory.
//!
//! An engine's activation memory is what is live at its worst moment, and that is decided by the form of the graph: how large the largest tensors are and how many
//! of them must wait for one another. Each rewrite here changes the form and not the arithmetic: every output element is the sum of the same products.
//! None may change an input, an output or a name of either. Whether a rewrite pays is for a build to tell.

mod bands;
mod merge_sibling_convolutions;
mod pointwise_convolution;
mod split_concatenated_convolution;

pub use bands::{BandRows, Reach, Segment};
pub use merge_sibling_convolutions::MergeSiblingConvolutions;
pub use split_concatenated_convolution::SplitConcatenatedConvolution;

use trtforge_graph::{Dimension, Graph, TensorType, ValueId, ValueType};

/// Batch, channels, rows and columns of a value that is an image and whose size is settled.
fn image_shape(graph: &Graph, value: ValueId) -> Option<[u64; 4]> {
    let shape = graph.value(value).ty.as_ref()?.tensor()?.fixed_shape()?;
    <[u64; 4]>::try_from(shape).ok().filter(|shape| !shape.contains(&0))
}

/// The type of `value` with another size along `axis`.
fn resized(graph: &Graph, value: ValueId, axis: usize, size: u64) -> Option<ValueType> {
    let ty = graph.value(value).ty.as_ref()?.tensor()?;
    let mut shape = ty.shape.clone()?;
    *shape.get_mut(axis)? = Dimension::Fixed(size);
    Some(TensorType { element: ty.element, shape: Some(shape) }.into())
}
