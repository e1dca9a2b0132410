//! What a `QuantizeLinear` or a `DequantizeLinear` says of its tensor: scales, zero-points, the 8-bit type, the axis.
//!
//! The one place that reads these nodes, so that the audit, the recognition of quantized models and their conversion agree on what is symmetric.

use trtforge_graph::{ElementType, Graph, NodeId, ValueId, ValueType};

/// Domain in which ONNX Runtime's own quantizer writes the same two operators for types or opsets that ONNX lacks.
pub(crate) const MICROSOFT: &str = "com.microsoft";

/// What one node says.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearParameters {
    /// One scale, or one for each index of the axis.
    pub scale: Vec<f32>,
    /// Type in which the scales are stored, which is that of the unquantized side.
    pub scale_element: ElementType,
    /// As many zero-points as scales, or one for all; a zero where the node has none.
    pub zero_point: Vec<i64>,
    /// Type of the quantized side.
    pub element: ElementType,
    /// Axis of several scales, as the node gives it: negative counts from the end.
    pub axis: i64,
    /// Elements of the axis that share a scale; 0 without blocks.
    pub block_size: i64,
}

/// Why a node's parameters cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unusable {
    /// The scale is computed by the network.
    #[error("its scale is not a constant")]
    ScaleNotConstant,
    /// The zero-point is computed by the network.
    #[error("its zero-point is not a constant")]
    ZeroPointNotConstant,
    /// A scale that no number can be divided by.
    #[error("its scale {0} is not a positive number")]
    Scale(f32),
    /// There are neither one nor as many zero-points as scales.
    #[error("it has {scales} scales and {zero_points} zero-points")]
    Counts {
        /// Scales.
        scales: usize,
        /// Zero-points.
        zero_points: usize,
    },
}

impl LinearParameters {
    /// Whether there is one scale for the whole tensor.
    pub fn is_per_tensor(&self) -> bool {
        self.scale.len() == 1
    }

    /// Whether zero is stored as zero everywhere.
    pub fn is_symmetric(&self) -> bool {
        self.zero_point.iter().all(|&zero_point| zero_point == 0)
    }

    /// Whether TensorRT takes this: signed 8 bits around zero.
    pub fn is_symmetric_int8(&self) -> bool {
        self.element == ElementType::Int8 && self.is_symmetric() && self.block_size == 0
    }

    /// Scale and zero-point for an index of the axis.
    pub fn at(&self, index: usize) -> (f32, i64) {
        let pick = |length: usize| if length == 1 { 0 } else { index };
        (self.scale[pick(self.scale.len())], self.zero_point[pick(self.zero_point.len())])
    }

    /// Smallest and largest stored number; `None` where the type is not an integer of 8 bits.
    pub fn limits(&self) -> Option<(i64, i64)> {
        match self.element {
            ElementType::Int8 => Some((-128, 127)),
            ElementType::UInt8 => Some((0, 255)),
            _ => None,
        }
    }
}

/// Whether the node is a `QuantizeLinear`, ONNX's or ONNX Runtime's.
pub fn is_quantize(graph: &Graph, node: NodeId) -> bool {
    graph.op_type(node) == "QuantizeLinear" && matches!(graph.domain(node), "" | MICROSOFT)
}

/// Whether the node is a `DequantizeLinear`, ONNX's or ONNX Runtime's.
pub fn is_dequantize(graph: &Graph, node: NodeId) -> bool {
    graph.op_type(node) == "DequantizeLinear" && matches!(graph.domain(node), "" | MICROSOFT)
}

/// Reads the parameters of a `QuantizeLinear` or `DequantizeLinear`. Only the scales and zero-points are read, never the data.
///
/// # Errors
/// They are computed by the network, do not fit each other, or a scale is not a positive number.
pub fn linear_parameters(graph: &Graph, node: NodeId) -> Result<LinearParameters, Unusable> {
    let mut parameters = constants(graph, graph.input(node, 1), graph.input(node, 2))?;
    parameters.element = quantized_element(graph, node);
    parameters.axis = graph.attribute_int(node, "axis").unwrap_or(1);
    parameters.block_size = graph.attribute_int(node, "block_size").unwrap_or(0);
    Ok(parameters)
}

/// The parameters that two values hold; type and axis are still those of a plain signed tensor where `zero_point` does not say more.
pub(crate) fn constants(
    graph: &Graph,
    scale: Option<ValueId>,
    zero_point: Option<ValueId>,
) -> Result<LinearParameters, Unusable> {
    let scale = scale.and_then(|scale| graph.constant(scale)).ok_or(Unusable::ScaleNotConstant)?;
    let values = scale.to_vec_f32().map_err(|_| Unusable::ScaleNotConstant)?;
    if let Some(&wrong) = values.iter().find(|scale| !(scale.is_finite() && **scale > 0.0)) {
        return Err(Unusable::Scale(wrong));
    }
    let (zero_points, element) = match zero_point {
        None => (vec![0], ElementType::Int8),
        Some(value) => zero_points(graph, value)?,
    };
    let (scales, count) = (values.len(), zero_points.len());
    if scales == 0 || count == 0 || (count != 1 && count != scales) {
        return Err(Unusable::Counts { scales, zero_points: count });
    }
    let scale_element = scale.element;
    Ok(LinearParameters { scale: values, scale_element, zero_point: zero_points, element, axis: 1, block_size: 0 })
}

/// A type of a few bits or of floating point has no zero-point that matters here: it counts as zero.
fn zero_points(graph: &Graph, value: ValueId) -> Result<(Vec<i64>, ElementType), Unusable> {
    let tensor = graph.constant(value).ok_or(Unusable::ZeroPointNotConstant)?;
    let integers = tensor.to_vec_i64().unwrap_or_else(|_| vec![0]);
    Ok((integers, tensor.element))
}

/// Type of the quantized side: of the tensor itself, of the zero-point, or what an attribute asks for; unsigned where nothing says.
fn quantized_element(graph: &Graph, node: NodeId) -> ElementType {
    let quantized = if is_quantize(graph, node) { graph.output(node, 0) } else { graph.input(node, 0) };
    let typed = |value: Option<ValueId>| graph.value(value?).ty.as_ref().and_then(ValueType::element);
    let asked = || graph.attribute_int(node, "output_dtype").filter(|_| is_quantize(graph, node));
    let asked = || asked().filter(|&number| number != 0).map(|number| ElementType::from_onnx(number as i32));
    typed(graph.input(node, 2)).or_else(|| typed(quantized)).or_else(asked).unwrap_or(ElementType::UInt8)
}
