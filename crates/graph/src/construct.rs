//! Short constructors for the protobuf types, for everything that makes graphs: generators, rewrites, tests.
//!
//! They only fill in fields; whether the result is a valid graph is for [`crate::Graph`] and [`crate::check`] to say.

use bytes::Bytes;

use crate::element::ElementType;
use crate::proto::attribute_proto::AttributeType;
use crate::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    ValueInfoProto,
};
use crate::tensor::Element;
use crate::types::{Dimension, TensorType, ValueType};

/// A node of operator `op`. An empty input or output name leaves out an optional one.
pub fn node<I, O>(op: &str, name: &str, inputs: I, outputs: O) -> NodeProto
where
    I: IntoIterator<Item: Into<String>>,
    O: IntoIterator<Item: Into<String>>,
{
    NodeProto {
        op_type: Some(op.to_owned()),
        name: Some(name.to_owned()),
        input: inputs.into_iter().map(Into::into).collect(),
        output: outputs.into_iter().map(Into::into).collect(),
        ..Default::default()
    }
}

/// Attributes added to a node under construction.
impl NodeProto {
    /// Sets the operator's domain.
    pub fn in_domain(mut self, domain: &str) -> Self {
        self.domain = Some(domain.to_owned());
        self
    }

    /// Adds any attribute.
    pub fn attr(mut self, attribute: AttributeProto) -> Self {
        self.attribute.push(attribute);
        self
    }

    /// Adds an integer.
    pub fn attr_int(self, name: &str, value: i64) -> Self {
        self.attr(int(name, value))
    }

    /// Adds a list of integers.
    pub fn attr_ints(self, name: &str, values: impl Into<Vec<i64>>) -> Self {
        self.attr(ints(name, values))
    }

    /// Adds a float.
    pub fn attr_float(self, name: &str, value: f32) -> Self {
        self.attr(float(name, value))
    }

    /// Adds a list of floats.
    pub fn attr_floats(self, name: &str, values: impl Into<Vec<f32>>) -> Self {
        self.attr(floats(name, values))
    }

    /// Adds a string.
    pub fn attr_string(self, name: &str, value: &str) -> Self {
        self.attr(string(name, value))
    }

    /// Adds a list of strings.
    pub fn attr_strings<S: AsRef<str>>(self, name: &str, values: &[S]) -> Self {
        self.attr(strings(name, values))
    }

    /// Adds a tensor.
    pub fn attr_tensor(self, name: &str, value: TensorProto) -> Self {
        self.attr(tensor_attribute(name, value))
    }

    /// Adds a graph.
    pub fn attr_graph(self, name: &str, value: GraphProto) -> Self {
        self.attr(graph_attribute(name, value))
    }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), type_: Some(kind.into()), ..Default::default() }
}

/// An integer attribute.
pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attribute(name, AttributeType::INT) }
}

/// An attribute that is a list of integers.
pub fn ints(name: &str, values: impl Into<Vec<i64>>) -> AttributeProto {
    AttributeProto { ints: values.into(), ..attribute(name, AttributeType::INTS) }
}

/// A float attribute.
pub fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, AttributeType::FLOAT) }
}

/// An attribute that is a list of floats.
pub fn floats(name: &str, values: impl Into<Vec<f32>>) -> AttributeProto {
    AttributeProto { floats: values.into(), ..attribute(name, AttributeType::FLOATS) }
}

/// A string attribute.
pub fn string(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: Some(Bytes::from(value.to_owned())), ..attribute(name, AttributeType::STRING) }
}

/// An attribute that is a list of strings.
pub fn strings<S: AsRef<str>>(name: &str, values: &[S]) -> AttributeProto {
    let strings = values.iter().map(|value| Bytes::from(value.as_ref().to_owned())).collect();
    AttributeProto { strings, ..attribute(name, AttributeType::STRINGS) }
}

/// A tensor attribute.
pub fn tensor_attribute(name: &str, value: TensorProto) -> AttributeProto {
    AttributeProto { t: Some(value).into(), ..attribute(name, AttributeType::TENSOR) }
}

/// A graph attribute.
pub fn graph_attribute(name: &str, value: GraphProto) -> AttributeProto {
    AttributeProto { g: Some(value).into(), ..attribute(name, AttributeType::GRAPH) }
}

/// A tensor of the type of `values`. Takes the vector without copying; the length is not compared with `dims`.
pub fn tensor<T: Element>(name: &str, dims: impl IntoIterator<Item = u64>, values: Vec<T>) -> TensorProto {
    raw_tensor(name, T::TYPE, dims, crate::tensor::owned(values))
}

/// A tensor over given bytes (little-endian, row-major).
pub fn raw_tensor(
    name: &str,
    element: ElementType,
    dims: impl IntoIterator<Item = u64>,
    data: impl Into<Bytes>,
) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(element.to_onnx()),
        dims: dims.into_iter().map(|size| i64::try_from(size).unwrap_or(i64::MAX)).collect(),
        raw_data: Some(data.into()),
        ..Default::default()
    }
}

/// A tensor without dimensions.
pub fn scalar<T: Element>(name: &str, value: T) -> TensorProto {
    tensor(name, [], vec![value])
}

/// A value with a type.
pub fn value_info(name: &str, ty: &ValueType) -> ValueInfoProto {
    ValueInfoProto { name: Some(name.to_owned()), type_: ty.to_proto().into(), ..Default::default() }
}

/// A tensor value whose dimensions are all known.
pub fn tensor_value(name: &str, element: ElementType, shape: impl IntoIterator<Item = u64>) -> ValueInfoProto {
    value_info(name, &TensorType::fixed(element, shape).into())
}

/// A tensor value with any mixture of known and open dimensions.
pub fn open_tensor_value(name: &str, element: ElementType, shape: Vec<Dimension>) -> ValueInfoProto {
    value_info(name, &TensorType { element, shape: Some(shape) }.into())
}

/// An operator set import; `""` is `ai.onnx`.
pub fn opset_import(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto { domain: Some(domain.to_owned()), version: Some(version), ..Default::default() }
}

/// A key and a value, as metadata and external data entries are stored.
pub fn entry(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto { key: Some(key.to_owned()), value: Some(value.to_owned()), ..Default::default() }
}

/// A model around `graph` that imports the `ai.onnx` operator set of version `opset`.
pub fn model(graph: GraphProto, ir_version: i64, opset: i64) -> ModelProto {
    ModelProto {
        ir_version: Some(ir_version),
        producer_name: Some("trtforge".to_owned()),
        opset_import: vec![opset_import("", opset)],
        graph: Some(graph).into(),
        ..Default::default()
    }
}
