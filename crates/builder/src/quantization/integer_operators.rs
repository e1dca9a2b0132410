//! Operators that compute on quantized tensors themselves (ONNX Runtime calls the form QOperator), as a table: TensorRT has none of them, but each equals a
//! floating-point operator between `DequantizeLinear` and `QuantizeLinear`.
//!
//! Source of the layouts: the operator lists of ONNX and of ONNX Runtime's contributed operators.

use super::linear::MICROSOFT;
use trtforge_graph::{Graph, NodeId};

/// Slots of a quantized input: the data, its scale, its zero-point.
pub(crate) type QuantizedInput = (usize, usize, usize);

/// How one operator is laid out.
pub(crate) struct IntegerOperator {
    /// The operator of the floating-point form.
    pub float: &'static str,
    /// Its quantized inputs in the order in which the floating-point form takes them.
    pub inputs: Vec<QuantizedInput>,
    /// Slot of a 32-bit bias whose scale is the product of the inputs' scales.
    pub bias: Option<usize>,
    /// Slots of the output's scale and zero-point.
    pub output: (usize, usize),
}

/// What the table says of an operator.
pub(crate) enum Layout {
    /// Not an operator on quantized tensors.
    Plain,
    /// One with an equal Q/DQ form.
    Known(IntegerOperator),
    /// One without.
    Refused(&'static str),
}

const BINARY: [QuantizedInput; 2] = [(0, 1, 2), (3, 4, 5)];

/// Operators whose scales are computed while the network runs.
const DYNAMIC: &[&str] = &[
    "DynamicQuantizeLinear",
    "DynamicQuantizeMatMul",
    "DynamicQuantizeLSTM",
    "ConvInteger",
    "MatMulInteger",
    "MatMulIntegerToFloat",
];

/// Looks an operator up.
pub(crate) fn layout(graph: &Graph, node: NodeId) -> Layout {
    let operator = graph.op_type(node);
    let domain = graph.domain(node);
    if DYNAMIC.contains(&operator) && matches!(domain, "" | MICROSOFT) {
        return Layout::Refused("its scales are computed while the network runs; TensorRT needs them as constants");
    }
    let known = |float, inputs: &[QuantizedInput], bias, output| {
        Layout::Known(IntegerOperator { float, inputs: inputs.to_vec(), bias, output })
    };
    let unary = |float| known(float, &BINARY[..1], None, (3, 4));
    match (domain, operator) {
        ("", "QLinearConv") => known("Conv", &BINARY, Some(8), (6, 7)),
        ("", "QLinearMatMul") => known("MatMul", &BINARY, None, (6, 7)),
        (MICROSOFT, "QLinearAdd") => known("Add", &BINARY, None, (6, 7)),
        (MICROSOFT, "QLinearMul") => known("Mul", &BINARY, None, (6, 7)),
        (MICROSOFT, "QGemm") => known("Gemm", &BINARY, Some(6), (7, 8)),
        (MICROSOFT, "QLinearSigmoid") => unary("Sigmoid"),
        (MICROSOFT, "QLinearLeakyRelu") => unary("LeakyRelu"),
        (MICROSOFT, "QLinearAveragePool") => unary("AveragePool"),
        (MICROSOFT, "QLinearGlobalAveragePool") => unary("GlobalAveragePool"),
        (MICROSOFT, "QLinearSoftmax") => unary("Softmax"),
        (MICROSOFT, "QLinearConcat") => concat(graph, node),
        (MICROSOFT, other) if other.starts_with("QLinear") || other.starts_with("QAttention") => {
            Layout::Refused("no equal Q/DQ form is known for it")
        }
        _ => Layout::Plain,
    }
}

/// The output's parameters come first, then three slots for every input.
fn concat(graph: &Graph, node: NodeId) -> Layout {
    let inputs =
        (0..graph.inputs(node).len().saturating_sub(2) / 3).map(|index| (2 + 3 * index, 3 + 3 * index, 4 + 3 * index));
    Layout::Known(IntegerOperator { float: "Concat", inputs: inputs.collect(), bias: None, output: (0, 1) })
}

/// Attributes that only the quantized form has.
pub(crate) const OWN_ATTRIBUTES: [&str; 2] = ["channels_last", "opset"];

/// Why this node of a known operator has no equal form all the same.
pub(crate) fn peculiarity(graph: &Graph, node: NodeId) -> Option<&'static str> {
    if graph.attribute_int(node, "channels_last").unwrap_or(0) != 0 {
        return Some("its data has channels last");
    }
    let before_13 = |version: Option<i64>| version.is_some_and(|version| version < 13);
    if graph.op_type(node) == "QLinearSoftmax"
        && (before_13(graph.attribute_int(node, "opset")) != before_13(graph.opset("")))
    {
        return Some("it is a Softmax of another operator set");
    }
    None
}
