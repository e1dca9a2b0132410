//! ONNX models on the CPU, through ONNX Runtime.

use std::path::Path;
use std::sync::Arc;

use trtforge_graph::{Dimension, Model, TensorType};
use trtforge_onnxruntime::{IoInfo, OnnxRuntime, SessionConfig, SharedSession};

use super::{Declared, Engine, EngineFault, EngineOptions, Kind, Signature, TensorInfo};
use crate::device::Class;
use crate::element::ElementType;
use crate::error::{Error, Result};

/// Opens a model; external data is looked for in `folder`.
pub(crate) fn load(
    options: &EngineOptions,
    source_name: &str,
    bytes: bytes::Bytes,
    name: &str,
    folder: Option<&Path>,
) -> Result<Engine> {
    let model = Model::from_bytes_of(source_name, bytes, folder)?;
    let weights = options.ledger.enter(&Arc::from(name), Class::Weights, model.weights_bytes())?;
    let config = SessionConfig { threads: options.threads, ..SessionConfig::default() };
    let session = OnnxRuntime::load()?.session(&model, &config)?;
    let unfit = |fault| Error::Unfit { source_name: source_name.to_owned(), fault: Box::new(fault) };
    let tensors = |infos: &[IoInfo]| infos.iter().map(tensor).collect::<Result<Vec<_>, _>>().map_err(unfit);
    let signature =
        Signature { inputs: tensors(session.inputs())?, outputs: tensors(session.outputs())?, profiles: Vec::new() };
    let kind = Kind::Onnx { model: SharedSession::new(session), host: options.host.clone() };
    Ok(Engine::new(name, signature, kind, options.ledger.clone(), weights))
}

fn tensor(info: &IoInfo) -> Result<TensorInfo, EngineFault> {
    let TensorType { element, shape } = &info.ty;
    let fault = |reason: String| EngineFault::Tensor { name: info.name.clone(), reason };
    let element = element_type(*element).ok_or_else(|| fault(format!("sessions hold no {element}")))?;
    let dimensions: Option<Vec<Declared>> = shape.as_ref().map(|shape| shape.iter().map(dimension).collect());
    if let Some(rank) = dimensions.as_ref().map(Vec::len).filter(|rank| *rank > crate::MAX_RANK) {
        return Err(fault(format!("it has {rank} dimensions, and sessions hold at most {}", crate::MAX_RANK)));
    }
    Ok(TensorInfo { name: info.name.clone(), element, dimensions })
}

fn dimension(dimension: &Dimension) -> Declared {
    match dimension {
        Dimension::Fixed(size) => Declared::Fixed(*size),
        Dimension::Symbol(name) => Declared::Open(name.clone()),
        Dimension::Unknown => Declared::Open(String::new()),
    }
}

fn element_type(element: trtforge_graph::ElementType) -> Option<ElementType> {
    use trtforge_graph::ElementType as Onnx;
    Some(match element {
        Onnx::Float32 => ElementType::Float32,
        Onnx::Float16 => ElementType::Float16,
        Onnx::Int8 => ElementType::Int8,
        Onnx::UInt8 => ElementType::UInt8,
        Onnx::Int32 => ElementType::Int32,
        Onnx::Int64 => ElementType::Int64,
        Onnx::Bool => ElementType::Bool,
        _ => return None,
    })
}
