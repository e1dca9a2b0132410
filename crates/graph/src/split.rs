//! The same model with its big tensors outside: for readers that take weights by address, and for data files.
//!
//! Only tensors of initializer lists move. Data in `raw_data` is shared with the model; only the typed storage forms
//! are copied, because their bytes do not exist yet.

use bytes::Bytes;
use protobuf::{Message, MessageField};

use crate::construct::entry;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::proto::{GraphProto, ModelProto, TensorProto, tensor_proto::DataLocation};
use crate::tensor::{Tensor, has_typed_data, stored_bytes};

/// A tensor that [`Model::split_weights`] left outside.
#[derive(Debug, Clone)]
pub struct OutsideTensor {
    /// Name of the initializer.
    pub name: String,
    /// The location that the skeleton gives for its data.
    pub location: String,
    /// Its elements, dense and little-endian; not aligned.
    pub data: Bytes,
}

impl Model {
    /// This model with every initializer of the main graph of at least `min_bytes` outside: the encoded skeleton, in
    /// which such a tensor has an external data entry with only a `location`, and the data for each location.
    ///
    /// The data is not copied and not aligned: it lies where it lies in the file.
    ///
    /// # Errors
    /// The skeleton alone is over 2 GiB.
    pub fn split_weights(&self, min_bytes: usize) -> Result<(Bytes, Vec<OutsideTensor>)> {
        let mut outside = Vec::new();
        let skeleton = self.skeleton(min_bytes, &mut |data, tensor| {
            let location = format!("weight_{}", outside.len());
            tensor.external_data = vec![entry("location", &location)];
            outside.push(OutsideTensor { name: tensor.name().to_owned(), location, data });
        });
        let bytes = skeleton.write_to_bytes().map_err(|source| Error::Encode { source })?;
        Ok((Bytes::from(bytes), outside))
    }

    /// A copy in which each big initializer's data is handed to `place`, which fills in where it went.
    pub(crate) fn skeleton(&self, min_bytes: usize, place: &mut dyn FnMut(Bytes, &mut TensorProto)) -> ModelProto {
        let graph = self.proto.graph.as_ref().map(|graph| graph_skeleton(graph, min_bytes, place));
        ModelProto {
            ir_version: self.proto.ir_version,
            producer_name: self.proto.producer_name.clone(),
            producer_version: self.proto.producer_version.clone(),
            domain: self.proto.domain.clone(),
            model_version: self.proto.model_version,
            doc_string: self.proto.doc_string.clone(),
            graph: MessageField::from_option(graph),
            opset_import: self.proto.opset_import.clone(),
            metadata_props: self.proto.metadata_props.clone(),
            training_info: self.proto.training_info.clone(),
            functions: self.proto.functions.clone(),
            special_fields: self.proto.special_fields.clone(),
        }
    }
}

fn graph_skeleton(graph: &GraphProto, min_bytes: usize, place: &mut dyn FnMut(Bytes, &mut TensorProto)) -> GraphProto {
    let initializer = graph.initializer.iter().map(|tensor| tensor_skeleton(tensor, min_bytes, place)).collect();
    GraphProto {
        node: graph.node.clone(),
        name: graph.name.clone(),
        initializer,
        doc_string: graph.doc_string.clone(),
        input: graph.input.clone(),
        output: graph.output.clone(),
        value_info: graph.value_info.clone(),
        quantization_annotation: graph.quantization_annotation.clone(),
        sparse_initializer: graph.sparse_initializer.clone(),
        metadata_props: graph.metadata_props.clone(),
        special_fields: graph.special_fields.clone(),
    }
}

fn tensor_skeleton(
    tensor: &TensorProto,
    min_bytes: usize,
    place: &mut dyn FnMut(Bytes, &mut TensorProto),
) -> TensorProto {
    let big = stored_bytes(tensor) >= min_bytes.max(1) as u64;
    let Some(data) = big.then(|| dense_data(tensor)).flatten() else { return tensor.clone() };
    let mut outside = TensorProto {
        name: tensor.name.clone(),
        data_type: tensor.data_type,
        dims: tensor.dims.clone(),
        doc_string: tensor.doc_string.clone(),
        metadata_props: tensor.metadata_props.clone(),
        special_fields: tensor.special_fields.clone(),
        data_location: Some(DataLocation::EXTERNAL.into()),
        ..Default::default()
    };
    place(data, &mut outside);
    outside
}

/// The bytes of a tensor as a data file holds them; `None` for strings and for data that does not fit its dimensions.
fn dense_data(tensor: &TensorProto) -> Option<Bytes> {
    match &tensor.raw_data {
        Some(raw) if !has_typed_data(tensor) => Some(raw.clone()),
        _ => Tensor::from_proto(tensor).ok().map(|dense| dense.data),
    }
}
