//! Nodes and initializers of a graph under construction.

use bytes::Bytes;
use trtforge_graph::proto::attribute_proto::AttributeType;
use trtforge_graph::proto::tensor_proto::DataType;
use trtforge_graph::proto::tensor_shape_proto::Dimension;
use trtforge_graph::proto::tensor_shape_proto::dimension::Value as DimensionValue;
use trtforge_graph::proto::type_proto::{Tensor as TensorType, Value as TypeValue};
use trtforge_graph::proto::{
    AttributeProto, GraphProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
};

use crate::options::Batch;
use crate::weights::little_endian;

/// Nodes and initializers, in order.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
}

impl Nodes {
    /// Adds a node with one output; attributes follow on what is returned.
    pub(crate) fn add(&mut self, operator: &str, name: &str, inputs: &[&str], output: &str) -> Attributes<'_> {
        self.nodes.push(NodeProto {
            op_type: Some(operator.to_owned()),
            name: Some(name.to_owned()),
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![output.to_owned()],
            ..Default::default()
        });
        Attributes(&mut self.nodes.last_mut().expect("just pushed").attribute)
    }

    pub(crate) fn concat(&mut self, name: &str, inputs: &[&str], output: &str, axis: i64) {
        self.add("Concat", name, inputs, output).int("axis", axis);
    }

    pub(crate) fn reshape(&mut self, name: &str, input: &str, output: &str, dims: &[i64]) {
        let shape = self.integers(&format!("{name}.shape"), &[dims.len()], dims);
        self.add("Reshape", name, &[input, &shape], output);
    }

    /// Adds a float32 initializer, without copying its values, and returns its name.
    pub(crate) fn floats(&mut self, name: &str, dims: &[usize], values: Vec<f32>) -> String {
        self.initializer(name, DataType::FLOAT, dims, little_endian(values))
    }

    /// Adds an int64 initializer and returns its name.
    pub(crate) fn integers(&mut self, name: &str, dims: &[usize], values: &[i64]) -> String {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        self.initializer(name, DataType::INT64, dims, data.into())
    }

    fn initializer(&mut self, name: &str, element: DataType, dims: &[usize], data: Bytes) -> String {
        self.initializers.push(TensorProto {
            name: Some(name.to_owned()),
            data_type: Some(element as i32),
            dims: dims.iter().map(|&length| length as i64).collect(),
            raw_data: Some(data),
            ..Default::default()
        });
        name.to_owned()
    }

    pub(crate) fn into_graph(self, name: &str) -> GraphProto {
        GraphProto {
            name: Some(name.to_owned()),
            node: self.nodes,
            initializer: self.initializers,
            ..Default::default()
        }
    }
}

/// Attributes of the node just added.
pub(crate) struct Attributes<'a>(&'a mut Vec<AttributeProto>);

impl Attributes<'_> {
    pub(crate) fn int(self, name: &str, value: i64) -> Self {
        self.push(name, AttributeType::INT, |attribute| attribute.i = Some(value))
    }

    pub(crate) fn ints(self, name: &str, values: &[i64]) -> Self {
        self.push(name, AttributeType::INTS, |attribute| attribute.ints = values.to_vec())
    }

    pub(crate) fn text(self, name: &str, value: &str) -> Self {
        let value = Bytes::copy_from_slice(value.as_bytes());
        self.push(name, AttributeType::STRING, |attribute| attribute.s = Some(value))
    }

    fn push(self, name: &str, kind: AttributeType, set: impl FnOnce(&mut AttributeProto)) -> Self {
        let mut attribute =
            AttributeProto { name: Some(name.to_owned()), type_: Some(kind.into()), ..Default::default() };
        set(&mut attribute);
        self.0.push(attribute);
        self
    }
}

/// A float32 input or output of the model; `dims` follow the batch.
pub(crate) fn value_info(name: &str, batch: Batch, dims: &[usize]) -> ValueInfoProto {
    let first = match batch {
        Batch::Fixed(images) => DimensionValue::DimValue(i64::from(images)),
        Batch::Dynamic => DimensionValue::DimParam("batch".to_owned()),
    };
    let rest = dims.iter().map(|&length| DimensionValue::DimValue(length as i64));
    let dim = std::iter::once(first)
        .chain(rest)
        .map(|value| Dimension { value: Some(value), ..Default::default() })
        .collect();
    let shape = TensorShapeProto { dim, ..Default::default() };
    let tensor =
        TensorType { elem_type: Some(DataType::FLOAT as i32), shape: Some(shape).into(), ..Default::default() };
    let ty = TypeProto { value: Some(TypeValue::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: Some(name.to_owned()), type_: Some(ty).into(), ..Default::default() }
}
