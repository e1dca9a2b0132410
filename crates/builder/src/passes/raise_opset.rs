//! Carries a model to a newer operator set of the default domain.
//!
//! Why: per-channel Q/DQ needs opset 13, half-precision scales need 19, and `Upsample` has no half-precision kernel while `Resize` has.
//! Pattern: a node whose definition changed between the two versions. Result: the same computation in the newer form (attributes that became inputs,
//! renamed operators, defaults written out). Precondition: every operator is in the tables below; anything else is refused, never guessed.
//! Numerical effect: none. Source of the changes: the operator changelog of the ONNX specification.

use super::Pass;
use crate::precision::node_label;
use crate::{Error, Result};
use trtforge_graph::construct::{int, node, string, tensor};
use trtforge_graph::{Graph, NodeId, Patch, TensorType, ValueType};

/// The pass.
pub struct RaiseOpset {
    /// Opset wanted; at most [`RaiseOpset::NEWEST`].
    pub target: i64,
}

impl RaiseOpset {
    /// The newest opset the tables know.
    pub const NEWEST: i64 = 21;
    /// The oldest opset the tables start from.
    pub const OLDEST: i64 = 7;
}

/// Operators that mean the same in every opset from [`RaiseOpset::OLDEST`] to [`RaiseOpset::NEWEST`], as far as a valid older node can say.
const UNCHANGED: &[&str] = &[
    "Abs",
    "Acos",
    "Acosh",
    "Add",
    "And",
    "ArgMax",
    "ArgMin",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "AveragePool",
    "BitShift",
    "Cast",
    "Ceil",
    "Celu",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Conv",
    "ConvTranspose",
    "Cos",
    "Cosh",
    "CumSum",
    "DepthToSpace",
    "DequantizeLinear",
    "Div",
    "Einsum",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "EyeLike",
    "Flatten",
    "Floor",
    "Gather",
    "GatherElements",
    "GatherND",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GlobalLpPool",
    "GlobalMaxPool",
    "Greater",
    "GreaterOrEqual",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "InstanceNormalization",
    "IsInf",
    "IsNaN",
    "LRN",
    "LayerNormalization",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "LpNormalization",
    "MatMul",
    "Max",
    "MaxPool",
    "Mean",
    "MeanVarianceNormalization",
    "Min",
    "Mish",
    "Mod",
    "Mul",
    "Neg",
    "NonMaxSuppression",
    "NonZero",
    "Not",
    "OneHot",
    "Or",
    "PRelu",
    "Pow",
    "QuantizeLinear",
    "Range",
    "Reciprocal",
    "Relu",
    "Reshape",
    "Round",
    "ScatterElements",
    "ScatterND",
    "Selu",
    "Shape",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Size",
    "Softplus",
    "Softsign",
    "SpaceToDepth",
    "Sqrt",
    "Sub",
    "Sum",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Tile",
    "Transpose",
    "Trilu",
    "Where",
    "Xor",
];

impl Pass for RaiseOpset {
    fn name(&self) -> &'static str {
        "raise-opset"
    }

    fn patches(&self, graph: &mut Graph) -> Result<Vec<Patch>> {
        let Some(from) = graph.opset("").filter(|&from| from < self.target) else { return Ok(vec![]) };
        let nodes: Vec<NodeId> = graph.node_ids().filter(|&node| graph.domain(node).is_empty()).collect();
        let mut patches = Vec::new();
        for node in nodes {
            let mut raising = Raising { graph, node, from, to: self.target, patch: Patch::new("raise") };
            if raising.run()? {
                patches.push(raising.patch);
            }
        }
        graph.set_opset("", self.target);
        Ok(patches)
    }
}

struct Raising<'g> {
    graph: &'g mut Graph,
    node: NodeId,
    from: i64,
    to: i64,
    patch: Patch,
}

impl Raising<'_> {
    /// Whether the definition changed at `version` on the way.
    fn crosses(&self, version: i64) -> bool {
        self.from < version && version <= self.to
    }

    fn run(&mut self) -> Result<bool> {
        let op = self.graph.op_type(self.node).to_owned();
        if self.graph.node(self.node).attribute.iter().any(|attribute| attribute.g.is_some()) {
            return self.refuse("its bodies would have to be raised too");
        }
        match op.as_str() {
            "Squeeze" | "Unsqueeze" | "ReduceSum" if self.crosses(13) => self.attribute_to_input("axes", 1),
            "ReduceMax" | "ReduceMin" | "ReduceMean" | "ReduceProd" | "ReduceL1" | "ReduceL2" | "ReduceLogSum"
            | "ReduceLogSumExp" | "ReduceSumSquare"
                if self.crosses(18) =>
            {
                self.attribute_to_input("axes", 1)
            }
            "Squeeze" | "Unsqueeze" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceMean" | "ReduceProd"
            | "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceSumSquare" => Ok(false),
            "Split" => self.split(),
            "Softmax" | "LogSoftmax" | "Hardmax" => self.softmax(),
            "Clip" if self.crosses(11) => self.clip(),
            "Pad" if self.crosses(11) => self.pad(),
            "Slice" if self.crosses(10) => self.slice(),
            "TopK" if self.crosses(10) => self.top_k(),
            "Clip" | "Pad" | "Slice" | "TopK" => Ok(false),
            "Upsample" => self.upsample(),
            "Resize" => self.resize(),
            "Dropout" => self.dropout(),
            "BatchNormalization" => self.batch_normalization(),
            "GridSample" if self.crosses(20) => self.grid_sample(),
            "GridSample" => Ok(false),
            "RoiAlign" if self.crosses(16) => self.set_default("coordinate_transformation_mode", "output_half_pixel"),
            "RoiAlign" => Ok(false),
            "Scatter" => self.replace_operator("ScatterElements"),
            unchanged if UNCHANGED.contains(&unchanged) => Ok(false),
            _ => self.refuse("its changes are not in the table"),
        }
    }

    fn refuse<T>(&self, reason: &'static str) -> Result<T> {
        let operator = self.graph.op_type(self.node).to_owned();
        Err(Error::Opset { node: node_label(self.graph, self.node), operator, from: self.from, to: self.to, reason })
    }

    fn constant_ints(&mut self, stem: &str, values: Vec<i64>) -> String {
        let name = self.graph.unique_name(&format!("{}__{stem}", node_label(self.graph, self.node)));
        self.patch.add_initializer(tensor(&name, [values.len() as u64], values));
        name
    }

    fn constant_scalar(&mut self, stem: &str, value: f32) -> String {
        let name = self.graph.unique_name(&format!("{}__{stem}", node_label(self.graph, self.node)));
        self.patch.add_initializer(tensor(&name, [], vec![value]));
        name
    }

    /// An integer-list attribute becomes the input at `slot`; absent stays absent.
    fn attribute_to_input(&mut self, attribute: &str, slot: usize) -> Result<bool> {
        let Some(values) = self.graph.attribute_ints(self.node, attribute).map(<[i64]>::to_vec) else {
            return Ok(false);
        };
        let input = self.constant_ints(attribute, values);
        self.patch.remove_attribute(self.node, attribute);
        self.patch.replace_input(self.node, slot, &input);
        Ok(true)
    }

    fn split(&mut self) -> Result<bool> {
        let mut changed = self.crosses(13) && self.attribute_to_input("split", 1)?;
        let sized = changed || self.graph.inputs(self.node).len() > 1;
        if self.crosses(18) && !sized {
            let outputs = self.graph.outputs(self.node).len() as i64;
            self.patch.set_attribute(self.node, int("num_outputs", outputs));
            changed = true;
        }
        Ok(changed)
    }

    /// Before opset 13 these flatten from `axis` on; that equals one axis where the others behind it have one element.
    fn softmax(&mut self) -> Result<bool> {
        if !self.crosses(13) {
            return Ok(false);
        }
        let Some(shape) = self.input_shape() else { return self.refuse("the shape of its input is not known") };
        let rank = shape.len() as i64;
        let axis = self.graph.attribute_int(self.node, "axis").unwrap_or(1);
        let axis = if axis < 0 { axis + rank } else { axis };
        let behind = shape.get(axis as usize + 1..).unwrap_or_default();
        if !behind.iter().all(|&size| size == Some(1)) {
            return self.refuse("it normalises over several axes at once");
        }
        self.patch.set_attribute(self.node, int("axis", axis));
        Ok(true)
    }

    fn input_shape(&self) -> Option<Vec<Option<u64>>> {
        let input = self.graph.inputs(self.node).first().copied().flatten()?;
        match &self.graph.value(input).ty {
            Some(ValueType::Tensor(TensorType { shape: Some(shape), .. })) => {
                Some(shape.iter().map(|dimension| dimension.fixed()).collect())
            }
            _ => None,
        }
    }

    fn clip(&mut self) -> Result<bool> {
        for (slot, name) in [(1, "min"), (2, "max")] {
            if let Some(bound) = self.graph.attribute_float(self.node, name) {
                let input = self.constant_scalar(name, bound);
                self.patch.remove_attribute(self.node, name);
                self.patch.replace_input(self.node, slot, &input);
            }
        }
        Ok(true)
    }

    fn pad(&mut self) -> Result<bool> {
        let value = self.graph.attribute_float(self.node, "value").unwrap_or(0.0);
        if !self.attribute_to_input("pads", 1)? {
            return self.refuse("it has no pads");
        }
        if value != 0.0 {
            let input = self.constant_scalar("value", value);
            self.patch.replace_input(self.node, 2, &input);
        }
        self.patch.remove_attribute(self.node, "value");
        Ok(true)
    }

    fn slice(&mut self) -> Result<bool> {
        self.attribute_to_input("starts", 1)?;
        self.attribute_to_input("ends", 2)?;
        self.attribute_to_input("axes", 3)?;
        Ok(true)
    }

    fn top_k(&mut self) -> Result<bool> {
        let Some(k) = self.graph.attribute_int(self.node, "k") else { return Ok(false) };
        let input = self.constant_ints("k", vec![k]);
        self.patch.remove_attribute(self.node, "k");
        self.patch.replace_input(self.node, 1, &input);
        Ok(true)
    }

    /// `Upsample` is `Resize` with asymmetric coordinates, rounded down where it takes the nearest.
    fn upsample(&mut self) -> Result<bool> {
        let scales = match self.graph.inputs(self.node).get(1).copied().flatten() {
            Some(scales) => self.graph.value(scales).name.clone(),
            None => {
                let Some(scales) = self.graph.attribute(self.node, "scales").map(|attribute| attribute.floats.clone())
                else {
                    return self.refuse("it has no scales");
                };
                let name = self.graph.unique_name(&format!("{}__scales", node_label(self.graph, self.node)));
                self.patch.add_initializer(tensor(&name, [scales.len() as u64], scales));
                name
            }
        };
        self.resize_from(&scales)
    }

    fn resize(&mut self) -> Result<bool> {
        if !self.crosses(11) {
            let removed = self.crosses(13)
                && self.graph.attribute_string(self.node, "coordinate_transformation_mode")
                    == Some("tf_half_pixel_for_nn");
            return if removed { self.refuse("its coordinate mode no longer exists") } else { Ok(false) };
        }
        let Some(scales) = self.graph.inputs(self.node).get(1).copied().flatten() else {
            return self.refuse("it has no scales");
        };
        let shrinks = self
            .graph
            .constant(scales)
            .is_none_or(|tensor| tensor.to_vec_f32().is_ok_and(|scales| scales.iter().any(|&scale| scale < 1.0)));
        if shrinks && self.mode() == "nearest" {
            return self.refuse("rounding of a shrinking nearest-neighbour resize was not defined");
        }
        let scales = self.graph.value(scales).name.clone();
        self.resize_from(&scales)
    }

    fn mode(&self) -> String {
        self.graph.attribute_string(self.node, "mode").unwrap_or("nearest").to_owned()
    }

    fn resize_from(&mut self, scales: &str) -> Result<bool> {
        let Some(input) = self.graph.inputs(self.node).first().copied().flatten() else {
            return self.refuse("it has no input");
        };
        let mode = if self.mode() == "nearest" { "nearest" } else { "linear" };
        let input = self.graph.value(input).name.clone();
        let proto = self.graph.node(self.node).clone();
        let resize =
            node("Resize", proto.name(), [input.as_str(), "", scales], proto.output.iter().map(String::as_str))
                .attr_string("mode", mode)
                .attr_string("coordinate_transformation_mode", "asymmetric")
                .attr_string("nearest_mode", "floor");
        self.replace_with(resize);
        Ok(true)
    }

    fn replace_with(&mut self, replacement: trtforge_graph::proto::NodeProto) {
        let types = self
            .graph
            .outputs(self.node)
            .iter()
            .map(|value| value.and_then(|value| self.graph.value(value).ty.clone()))
            .collect();
        self.patch.remove_node(self.node);
        self.patch.add_node(replacement, types);
    }

    fn replace_operator(&mut self, op: &str) -> Result<bool> {
        let mut replacement = self.graph.node(self.node).clone();
        replacement.op_type = Some(op.to_owned());
        self.replace_with(replacement);
        Ok(true)
    }

    fn dropout(&mut self) -> Result<bool> {
        if !self.crosses(12) {
            return Ok(false);
        }
        let ratio = self.graph.attribute_float(self.node, "ratio");
        if let Some(ratio) = ratio {
            let input = self.constant_scalar("ratio", ratio);
            self.patch.remove_attribute(self.node, "ratio");
            self.patch.replace_input(self.node, 1, &input);
        }
        Ok(ratio.is_some())
    }

    fn batch_normalization(&mut self) -> Result<bool> {
        if self.graph.outputs(self.node).iter().flatten().count() > 1 && self.crosses(14) {
            return self.refuse("it is exported for training");
        }
        if !self.crosses(9) {
            return Ok(false);
        }
        match self.graph.attribute_int(self.node, "spatial") {
            Some(0) => self.refuse("its statistics are per element"),
            Some(_) => {
                self.patch.remove_attribute(self.node, "spatial");
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn grid_sample(&mut self) -> Result<bool> {
        let mode = match self.graph.attribute_string(self.node, "mode") {
            None | Some("bilinear") => "linear",
            Some("bicubic") => "cubic",
            Some(_) => return Ok(false),
        };
        self.patch.set_attribute(self.node, string("mode", mode));
        Ok(true)
    }

    fn set_default(&mut self, attribute: &str, value: &str) -> Result<bool> {
        if self.graph.attribute_string(self.node, attribute).is_some() {
            return Ok(false);
        }
        self.patch.set_attribute(self.node, string(attribute, value));
        Ok(true)
    }
}
