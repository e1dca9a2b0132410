//! Stored tensors hold exactly what their type and dimensions ask for, in the place that their type is stored in.

use super::Findings;
use crate::element::ElementType;
use crate::error::{Error, Result};
use crate::external::is_external;
use crate::proto::{AttributeProto, GraphProto, NodeProto, SparseTensorProto, TensorProto};
use crate::tensor::{shape_of, size_error};

/// No tensor can have more elements: it could not be addressed.
pub(crate) const MOST_ELEMENTS: u64 = 1 << 60;

/// Checks every tensor stored in `graph`, also in attributes and subgraphs.
pub(super) fn check_graph(graph: &GraphProto, findings: &mut Findings) {
    graph.initializer.iter().for_each(|tensor| findings.take(check_tensor(tensor)));
    graph.sparse_initializer.iter().for_each(|sparse| findings.take(check_sparse(sparse)));
    check_nodes(&graph.node, findings);
}

/// Checks every tensor stored in the attributes of `nodes`.
pub(super) fn check_nodes(nodes: &[NodeProto], findings: &mut Findings) {
    let attributes = nodes.iter().flat_map(|node| &node.attribute);
    attributes.for_each(|attribute| check_attribute(attribute, findings));
}

fn check_attribute(attribute: &AttributeProto, findings: &mut Findings) {
    let dense = attribute.t.iter().chain(&attribute.tensors);
    dense.for_each(|tensor| findings.take(check_tensor(tensor)));
    let sparse = attribute.sparse_tensor.iter().chain(&attribute.sparse_tensors);
    sparse.for_each(|tensor| findings.take(check_sparse(tensor)));
    let graphs = attribute.g.iter().chain(&attribute.graphs);
    graphs.for_each(|graph| check_graph(graph, findings));
}

fn check_tensor(tensor: &TensorProto) -> Result<()> {
    let name = tensor.name();
    if tensor.data_type() == 0 {
        return Err(Error::Incomplete { what: format!("tensor {name:?}"), missing: "element type" });
    }
    let element = ElementType::from_onnx(tensor.data_type());
    let count = element_count(&shape_of(tensor)?);
    if is_external(tensor) {
        return Ok(());
    }
    let fields = held_fields(tensor);
    let wrong = |storage: String| Err(Error::TensorStorage { tensor: name.to_owned(), element, storage });
    match fields.as_slice() {
        [] if count == 0 => Ok(()),
        [] => expect(tensor, element, "elements", count, 0),
        _ if tensor.segment.is_some() => wrong("segments".to_owned()),
        [("raw_data", _)] if element == ElementType::String => wrong("raw_data".to_owned()),
        [("raw_data", bytes)] => match element.bytes_for(count) {
            Some(expected) => expect(tensor, element, "bytes", expected, *bytes),
            None => Ok(()),
        },
        [(field, held)] => match expected_field(element) {
            Some(expected) if expected != *field => wrong((*field).to_owned()),
            Some(_) => expect(tensor, element, "elements", stored_count(element, count), *held),
            None => Ok(()),
        },
        several => wrong(several.iter().map(|field| field.0).collect::<Vec<_>>().join(" and ")),
    }
}

fn element_count(shape: &[u64]) -> u64 {
    if shape.contains(&0) { 0 } else { shape.iter().product() }
}

fn expect(tensor: &TensorProto, element: ElementType, unit: &'static str, expected: u64, actual: u64) -> Result<()> {
    match expected == actual {
        true => Ok(()),
        false => Err(size_error(tensor.name(), element, &tensor.dims, unit, expected, actual)),
    }
}

/// The storage fields that hold something, with how much: bytes for `raw_data`, else entries.
fn held_fields(tensor: &TensorProto) -> Vec<(&'static str, u64)> {
    let fields = [
        ("raw_data", tensor.raw_data.as_ref().map_or(0, bytes::Bytes::len)),
        ("float_data", tensor.float_data.len()),
        ("int32_data", tensor.int32_data.len()),
        ("string_data", tensor.string_data.len()),
        ("int64_data", tensor.int64_data.len()),
        ("double_data", tensor.double_data.len()),
        ("uint64_data", tensor.uint64_data.len()),
    ];
    fields.into_iter().filter(|field| field.1 > 0).map(|(field, held)| (field, held as u64)).collect()
}

fn expected_field(element: ElementType) -> Option<&'static str> {
    use ElementType::*;
    Some(match element {
        Float32 | Complex64 => "float_data",
        Float64 | Complex128 => "double_data",
        Int64 => "int64_data",
        UInt64 | UInt32 => "uint64_data",
        String => "string_data",
        Other(_) => return None,
        _ => "int32_data",
    })
}

/// Entries of the typed storage field: complex numbers take two, packed types share one.
fn stored_count(element: ElementType, count: u64) -> u64 {
    match element {
        ElementType::Complex64 | ElementType::Complex128 => count * 2,
        ElementType::Float6E2M3 | ElementType::Float6E3M2 => count,
        _ => match element.size_bits() {
            Some(bits) if bits < 8 => element.bytes_for(count).unwrap_or(count),
            _ => count,
        },
    }
}

fn check_sparse(sparse: &SparseTensorProto) -> Result<()> {
    let (values, indices) = (&sparse.values, &sparse.indices);
    check_tensor(values)?;
    check_tensor(indices)?;
    let wrong = |reason| Err(Error::SparseTensor { tensor: values.name().to_owned(), reason });
    if sparse.dims.iter().any(|&size| size < 0) {
        return wrong("it has a negative dimension");
    }
    if indices.data_type() != ElementType::Int64.to_onnx() {
        return wrong("its indices are not 64-bit integers");
    }
    let (count, rank) = (values.dims.first().copied().unwrap_or(0), sparse.dims.len() as i64);
    let fits = values.dims.len() == 1 && (indices.dims == [count] || indices.dims == [count, rank]);
    if fits { Ok(()) } else { wrong("its values and indices do not belong together") }
}
