//! Which inputs and outputs of a standard operator share one element type.
//!
//! Facts from the operators' type constraints, ONNX 1.23 (operator sets 1 to 28). A patch and the checker both use this
//! table, so that no rewrite can leave a convolution with a half-precision input and single-precision weights. An operator
//! that is not listed has unknown rules: nothing may be assumed about it.

use crate::model::normal_domain;

/// Newest `ai.onnx` operator set version that the table covers.
pub const NEWEST_OPSET: i64 = 28;

/// A slot of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// An input, by position.
    Input(usize),
    /// An output, by position.
    Output(usize),
}

/// The slots of one operator, as a pattern: `TTT>T`.
///
/// One letter per slot, inputs before `>`, outputs after. Slots with the same letter share an element type, `-` and
/// slots past the end are free, `*` repeats the letter before it for every further slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature(&'static str);

/// The signature of a standard operator in the given operator set version; `None` if it is not known.
pub fn signature(domain: &str, operator: &str, opset: i64) -> Option<Signature> {
    if !normal_domain(domain).is_empty() {
        return None;
    }
    let row = TABLE.binary_search_by_key(&operator, |row| row.0).ok()?;
    let versions = TABLE[row].1;
    let version = versions.iter().rev().find(|version| version.0 <= opset).or(versions.first())?;
    Some(Signature(version.1))
}

impl Signature {
    /// The letter of a slot, or `None` for a free one.
    pub fn group(self, side: Side) -> Option<char> {
        let (inputs, outputs) = self.0.split_once('>')?;
        let (letters, slot) = match side {
            Side::Input(slot) => (inputs, slot),
            Side::Output(slot) => (outputs, slot),
        };
        let letter = match letters.strip_suffix('*') {
            Some(head) => head.chars().nth(slot).or(head.chars().last()),
            None => letters.chars().nth(slot),
        };
        letter.filter(|&letter| letter != '-')
    }
}

/// Operator, then (operator set version from which the pattern holds, pattern). Sorted by operator.
#[rustfmt::skip]
const TABLE: &[(&str, &[(i64, &str)])] = &[
    ("Abs", &[(1, "T>T")]),
    ("Acos", &[(7, "T>T")]),
    ("Acosh", &[(9, "T>T")]),
    ("Add", &[(1, "TT>T")]),
    ("AffineGrid", &[(20, "T>T")]),
    ("And", &[(1, "TT>")]),
    ("ArgMax", &[(1, ">")]),
    ("ArgMin", &[(1, ">")]),
    ("Asin", &[(7, "T>T")]),
    ("Asinh", &[(9, "T>T")]),
    ("Atan", &[(7, "T>T")]),
    ("Atanh", &[(9, "T>T")]),
    ("Attention", &[(23, "TTU-TU>TTUT")]),
    ("AveragePool", &[(1, "T>T")]),
    ("BatchNormalization", &[(1, "TTTTT>TTTTT"), (14, "TTTUU>TUU"), (15, "TUUVV>TVV")]),
    ("Bernoulli", &[(15, ">")]),
    ("BitCast", &[(26, ">")]),
    ("BitShift", &[(11, "TT>T")]),
    ("BitwiseAnd", &[(18, "TT>T")]),
    ("BitwiseNot", &[(18, "T>T")]),
    ("BitwiseOr", &[(18, "TT>T")]),
    ("BitwiseXor", &[(18, "TT>T")]),
    ("BlackmanWindow", &[(17, ">")]),
    ("Cast", &[(1, ">")]),
    ("CastLike", &[(15, "-T>T")]),
    ("CausalConvWithState", &[(27, "TTTT>TT")]),
    ("Ceil", &[(1, "T>T")]),
    ("Celu", &[(12, "T>T")]),
    ("CenterCropPad", &[(18, "T>T")]),
    ("Clip", &[(1, "T>T"), (11, "TTT>T")]),
    ("Col2Im", &[(18, "T>T")]),
    ("Compress", &[(9, "T>T")]),
    ("Concat", &[(1, "T*>T")]),
    ("ConcatFromSequence", &[(11, ">")]),
    ("Constant", &[(1, ">")]),
    ("ConstantOfShape", &[(9, ">")]),
    ("Conv", &[(1, "TTT>T")]),
    ("ConvInteger", &[(10, "TUTU>")]),
    ("ConvTranspose", &[(1, "TTT>T")]),
    ("Cos", &[(7, "T>T")]),
    ("Cosh", &[(9, "T>T")]),
    ("CumProd", &[(26, "T>T")]),
    ("CumSum", &[(11, "T>T")]),
    ("DFT", &[(17, "T>T")]),
    ("DeformConv", &[(19, "TTTTT>T")]),
    ("DepthToSpace", &[(1, "T>T")]),
    ("DequantizeLinear", &[(10, "T-T>"), (19, "TUT>U"), (23, "T-T>")]),
    ("Det", &[(11, "T>T")]),
    ("Div", &[(1, "TT>T")]),
    ("Dropout", &[(1, "T>TT"), (10, "T>T"), (12, "T-U>TU")]),
    ("DynamicQuantizeLinear", &[(11, ">T-T")]),
    ("Einsum", &[(12, "T*>T")]),
    ("Elu", &[(1, "T>T")]),
    ("Equal", &[(1, "TT>")]),
    ("Erf", &[(9, "T>T")]),
    ("Exp", &[(1, "T>T")]),
    ("Expand", &[(8, "T>T")]),
    ("EyeLike", &[(9, ">")]),
    ("Flatten", &[(1, "T>T")]),
    ("Floor", &[(1, "T>T")]),
    ("GRU", &[(1, "TTTT-T>TT")]),
    ("Gather", &[(1, "T>T")]),
    ("GatherElements", &[(11, "T>T")]),
    ("GatherND", &[(11, "T>T")]),
    ("Gelu", &[(20, "T>T")]),
    ("Gemm", &[(1, "TTT>T")]),
    ("GlobalAveragePool", &[(1, "T>T")]),
    ("GlobalLpPool", &[(1, "T>T")]),
    ("GlobalMaxPool", &[(1, "T>T")]),
    ("Greater", &[(1, "TT>")]),
    ("GreaterOrEqual", &[(12, "TT>")]),
    ("GridSample", &[(16, "T>T")]),
    ("GroupNormalization", &[(21, "TTT>T")]),
    ("HammingWindow", &[(17, ">")]),
    ("HannWindow", &[(17, ">")]),
    ("HardSigmoid", &[(1, "T>T")]),
    ("HardSwish", &[(14, "T>T")]),
    ("Hardmax", &[(1, "T>T")]),
    ("Identity", &[(1, "T>T")]),
    ("If", &[(1, ">")]),
    ("ImageDecoder", &[(20, ">")]),
    ("InstanceNormalization", &[(1, "TTT>T")]),
    ("IsInf", &[(10, ">")]),
    ("IsNaN", &[(9, ">")]),
    ("LRN", &[(1, "T>T")]),
    ("LSTM", &[(1, "TTTT-TTT>TTT")]),
    ("LayerNormalization", &[(17, "TTT>TUU")]),
    ("LeakyRelu", &[(1, "T>T")]),
    ("Less", &[(1, "TT>")]),
    ("LessOrEqual", &[(12, "TT>")]),
    ("LinearAttention", &[(27, "TTTUTT>TU")]),
    ("Log", &[(1, "T>T")]),
    ("LogSoftmax", &[(1, "T>T")]),
    ("Loop", &[(1, ">")]),
    ("LpNormalization", &[(1, "T>T")]),
    ("LpPool", &[(1, "T>T")]),
    ("MatMul", &[(1, "TT>T")]),
    ("MatMulInteger", &[(10, "TUTU>")]),
    ("Max", &[(1, "T*>T")]),
    ("MaxPool", &[(1, "T>T")]),
    ("MaxRoiPool", &[(1, "TT>T")]),
    ("MaxUnpool", &[(9, "TUU>T")]),
    ("Mean", &[(1, "T*>T")]),
    ("MeanVarianceNormalization", &[(9, "T>T")]),
    ("MelWeightMatrix", &[(17, "TTTUU>")]),
    ("Min", &[(1, "T*>T")]),
    ("Mish", &[(18, "T>T")]),
    ("Mod", &[(10, "TT>T")]),
    ("Mul", &[(1, "TT>T")]),
    ("Multinomial", &[(7, ">")]),
    ("Neg", &[(1, "T>T")]),
    ("NegativeLogLikelihoodLoss", &[(12, "T-T>T")]),
    ("NonMaxSuppression", &[(10, ">")]),
    ("NonZero", &[(9, ">")]),
    ("Not", &[(1, "T>T")]),
    ("OneHot", &[(9, "--T>T")]),
    ("Optional", &[(15, ">")]),
    ("OptionalGetElement", &[(15, ">")]),
    ("OptionalHasElement", &[(15, ">")]),
    ("Or", &[(1, "TT>")]),
    ("PRelu", &[(1, "TT>T")]),
    ("Pad", &[(1, "T>T"), (11, "T-T>T")]),
    ("Pow", &[(1, "TT>T"), (12, "T>T")]),
    ("QLinearConv", &[(10, "T-TU-U-V>V")]),
    ("QLinearMatMul", &[(10, "T-TU-U-V>V"), (21, "TUTVUVUW>W")]),
    ("QuantizeLinear", &[(10, "--T>T"), (19, "TTU>U"), (23, "--T>T")]),
    ("RMSNormalization", &[(23, "-T>T")]),
    ("RNN", &[(1, "TTTT-T>TT")]),
    ("RandomNormal", &[(1, ">")]),
    ("RandomNormalLike", &[(1, ">")]),
    ("RandomUniform", &[(1, ">")]),
    ("RandomUniformLike", &[(1, ">")]),
    ("Range", &[(11, "TTT>T")]),
    ("Reciprocal", &[(1, "T>T")]),
    ("ReduceL1", &[(1, "T>T")]),
    ("ReduceL2", &[(1, "T>T")]),
    ("ReduceLogSum", &[(1, "T>T")]),
    ("ReduceLogSumExp", &[(1, "T>T")]),
    ("ReduceMax", &[(1, "T>T")]),
    ("ReduceMean", &[(1, "T>T")]),
    ("ReduceMin", &[(1, "T>T")]),
    ("ReduceProd", &[(1, "T>T")]),
    ("ReduceSum", &[(1, "T>T")]),
    ("ReduceSumSquare", &[(1, "T>T")]),
    ("RegexFullMatch", &[(20, ">")]),
    ("Relu", &[(1, "T>T")]),
    ("Reshape", &[(1, "T>T")]),
    ("Resize", &[(10, "T>T")]),
    ("ReverseSequence", &[(10, "T>T")]),
    ("RoiAlign", &[(10, "TT>T")]),
    ("RotaryEmbedding", &[(23, "TTT>T")]),
    ("Round", &[(11, "T>T")]),
    ("STFT", &[(17, "TUTU>T")]),
    ("Scan", &[(8, ">")]),
    ("Scatter", &[(9, "T-T>T")]),
    ("ScatterElements", &[(11, "T-T>T")]),
    ("ScatterND", &[(11, "T-T>T")]),
    ("Selu", &[(1, "T>T")]),
    ("SequenceAt", &[(11, ">")]),
    ("SequenceConstruct", &[(11, "T*>")]),
    ("SequenceEmpty", &[(11, ">")]),
    ("SequenceErase", &[(11, "T>T")]),
    ("SequenceInsert", &[(11, "T>T")]),
    ("SequenceLength", &[(11, ">")]),
    ("SequenceMap", &[(17, ">")]),
    ("Shape", &[(1, ">")]),
    ("Shrink", &[(9, "T>T")]),
    ("Sigmoid", &[(1, "T>T")]),
    ("Sign", &[(9, "T>T")]),
    ("Sin", &[(7, "T>T")]),
    ("Sinh", &[(9, "T>T")]),
    ("Size", &[(1, ">")]),
    ("Slice", &[(1, "T>T"), (10, "TUUUU>T")]),
    ("Softmax", &[(1, "T>T")]),
    ("SoftmaxCrossEntropyLoss", &[(12, "T-T>TT")]),
    ("Softplus", &[(1, "T>T")]),
    ("Softsign", &[(1, "T>T")]),
    ("SpaceToDepth", &[(1, "T>T")]),
    ("Split", &[(1, "TT>T*"), (2, "T>T*")]),
    ("SplitToSequence", &[(11, ">")]),
    ("Sqrt", &[(1, "T>T")]),
    ("Squeeze", &[(1, "T>T")]),
    ("StringConcat", &[(20, "TT>T")]),
    ("StringNormalizer", &[(10, ">")]),
    ("StringSplit", &[(20, ">")]),
    ("Sub", &[(1, "TT>T")]),
    ("Sum", &[(1, "T*>T")]),
    ("SwiGLU", &[(28, "TT>T")]),
    ("Swish", &[(24, "T>T")]),
    ("Tan", &[(7, "T>T")]),
    ("Tanh", &[(1, "T>T")]),
    ("TensorScatter", &[(24, "TT>T")]),
    ("TfIdfVectorizer", &[(9, ">")]),
    ("ThresholdedRelu", &[(10, "T>T")]),
    ("Tile", &[(1, "TTT>T"), (6, "T>T")]),
    ("TopK", &[(1, "T>T")]),
    ("Transpose", &[(1, "T>T")]),
    ("Trilu", &[(14, "T>T")]),
    ("Unique", &[(11, "T>T")]),
    ("Unsqueeze", &[(1, "T>T")]),
    ("Upsample", &[(1, "T>T")]),
    ("Where", &[(9, "-TT>T")]),
    ("Xor", &[(1, "TT>")]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_well_formed() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
        for (operator, versions) in TABLE {
            assert!(versions.is_sorted_by(|a, b| a.0 < b.0), "{operator}");
            for (_, pattern) in *versions {
                let (inputs, outputs) = pattern.split_once('>').expect("one arrow");
                for side in [inputs, outputs] {
                    let letters = side.strip_suffix('*').unwrap_or(side);
                    assert!(letters.chars().all(|c| c == '-' || c.is_ascii_uppercase()), "{operator} {pattern}");
                }
            }
        }
    }

    #[test]
    fn slots_are_grouped_by_version() {
        let group = |op, version, side| signature("", op, version).expect("known").group(side);
        assert_eq!(group("Conv", 11, Side::Input(2)), group("Conv", 11, Side::Output(0)));
        assert_eq!(group("Concat", 13, Side::Input(40)), group("Concat", 13, Side::Output(0)));
        assert_eq!(group("Resize", 13, Side::Input(2)), None);
        assert_ne!(group("BatchNormalization", 15, Side::Input(1)), group("BatchNormalization", 15, Side::Input(0)));
        assert_eq!(group("BatchNormalization", 9, Side::Input(1)), group("BatchNormalization", 9, Side::Input(0)));
        assert_eq!(group("Where", 16, Side::Input(0)), None);
        assert_eq!(signature("com.example", "Conv", 11), None);
        assert_eq!(signature("", "NotAnOperator", 11), None);
        assert!(signature("ai.onnx", "Relu", 0).is_some());
    }
}
