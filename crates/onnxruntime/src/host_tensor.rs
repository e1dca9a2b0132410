//! Tensors on their way into ONNX Runtime and out of it.
//!
//! Inputs are lent, not copied, except booleans, whose bytes must be checked one by one. Outputs are copied once, since
//! ONNX Runtime frees them with the run. Only dense tensors of plain numbers pass; everything else is an error.

use half::{bf16, f16};
use ort::session::SessionInputValue;
use ort::value::{DynValue, PrimitiveTensorElementType, Shape, TensorElementType, TensorRef, ValueType};
use trtforge_graph::{Bytes, Dimension, Element, ElementType, Tensor, TensorType};

use crate::error::{Error, Result};

/// `tensor` as an input named `name`.
pub(crate) fn lend<'t>(name: &str, tensor: &'t Tensor) -> Result<SessionInputValue<'t>> {
    match tensor.element {
        ElementType::Float32 => borrow::<f32>(tensor),
        ElementType::Float16 => borrow::<f16>(tensor),
        ElementType::BFloat16 => borrow::<bf16>(tensor),
        ElementType::Float64 => borrow::<f64>(tensor),
        ElementType::Int8 => borrow::<i8>(tensor),
        ElementType::Int16 => borrow::<i16>(tensor),
        ElementType::Int32 => borrow::<i32>(tensor),
        ElementType::Int64 => borrow::<i64>(tensor),
        ElementType::UInt8 => borrow::<u8>(tensor),
        ElementType::UInt16 => borrow::<u16>(tensor),
        ElementType::UInt32 => borrow::<u32>(tensor),
        ElementType::UInt64 => borrow::<u64>(tensor),
        ElementType::Bool => booleans(tensor),
        other => Err(Error::UnsupportedType { name: name.to_owned(), type_name: other.to_string() }),
    }
}

fn borrow<T: Element + PrimitiveTensorElementType + Clone + std::fmt::Debug + 'static>(
    tensor: &Tensor,
) -> Result<SessionInputValue<'_>> {
    let view = TensorRef::from_array_view((shape_of(tensor), tensor.as_slice::<T>()?));
    Ok(view.map_err(|error| Error::run(error.message()))?.into())
}

fn booleans(tensor: &Tensor) -> Result<SessionInputValue<'static>> {
    let values: Vec<bool> = tensor.data.iter().map(|&byte| byte != 0).collect();
    let owned = ort::value::Tensor::from_array((shape_of(tensor), values));
    Ok(owned.map_err(|error| Error::run(error.message()))?.into())
}

fn shape_of(tensor: &Tensor) -> Vec<i64> {
    tensor.shape.iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX)).collect()
}

/// The output `value` named `name`, copied.
pub(crate) fn take(name: &str, value: &DynValue) -> Result<Tensor> {
    let ValueType::Tensor { ty, .. } = value.dtype() else {
        return Err(Error::UnsupportedType { name: name.to_owned(), type_name: value.dtype().to_string() });
    };
    match ty {
        TensorElementType::Float32 => copy::<f32>(value),
        TensorElementType::Float16 => copy::<f16>(value),
        TensorElementType::Bfloat16 => copy::<bf16>(value),
        TensorElementType::Float64 => copy::<f64>(value),
        TensorElementType::Int8 => copy::<i8>(value),
        TensorElementType::Int16 => copy::<i16>(value),
        TensorElementType::Int32 => copy::<i32>(value),
        TensorElementType::Int64 => copy::<i64>(value),
        TensorElementType::Uint8 => copy::<u8>(value),
        TensorElementType::Uint16 => copy::<u16>(value),
        TensorElementType::Uint32 => copy::<u32>(value),
        TensorElementType::Uint64 => copy::<u64>(value),
        TensorElementType::Bool => copy_booleans(value),
        other => Err(Error::UnsupportedType { name: name.to_owned(), type_name: other.to_string() }),
    }
}

fn copy<T: Element + PrimitiveTensorElementType>(value: &DynValue) -> Result<Tensor> {
    let (shape, values) = value.try_extract_tensor::<T>().map_err(|error| Error::run(error.message()))?;
    Ok(Tensor::from_vec(sizes(shape), values.to_vec())?)
}

fn copy_booleans(value: &DynValue) -> Result<Tensor> {
    let (shape, values) = value.try_extract_tensor::<bool>().map_err(|error| Error::run(error.message()))?;
    let bytes: Vec<u8> = values.iter().map(|&value| u8::from(value)).collect();
    Ok(Tensor::new(ElementType::Bool, sizes(shape), Bytes::from(bytes))?)
}

fn sizes(shape: &Shape) -> Vec<u64> {
    shape.iter().map(|&size| u64::try_from(size).unwrap_or(0)).collect()
}

/// The type that ONNX Runtime gives an input or output; nothing where it is no tensor.
pub(crate) fn tensor_type(value: &ValueType) -> Option<TensorType> {
    let ValueType::Tensor { ty, shape, dimension_symbols } = value else { return None };
    let symbols = dimension_symbols.iter().map(String::as_str).chain(std::iter::repeat(""));
    let shape = shape.iter().zip(symbols).map(|(&size, symbol)| dimension(size, symbol)).collect();
    Some(TensorType { element: element(*ty), shape: Some(shape) })
}

fn dimension(size: i64, symbol: &str) -> Dimension {
    match u64::try_from(size) {
        Ok(size) => Dimension::Fixed(size),
        Err(_) if symbol.is_empty() => Dimension::Unknown,
        Err(_) => Dimension::Symbol(symbol.to_owned()),
    }
}

fn element(ty: TensorElementType) -> ElementType {
    match ty {
        TensorElementType::Float32 => ElementType::Float32,
        TensorElementType::Uint8 => ElementType::UInt8,
        TensorElementType::Int8 => ElementType::Int8,
        TensorElementType::Uint16 => ElementType::UInt16,
        TensorElementType::Int16 => ElementType::Int16,
        TensorElementType::Int32 => ElementType::Int32,
        TensorElementType::Int64 => ElementType::Int64,
        TensorElementType::String => ElementType::String,
        TensorElementType::Bool => ElementType::Bool,
        TensorElementType::Float16 => ElementType::Float16,
        TensorElementType::Float64 => ElementType::Float64,
        TensorElementType::Uint32 => ElementType::UInt32,
        TensorElementType::Uint64 => ElementType::UInt64,
        TensorElementType::Complex64 => ElementType::Complex64,
        TensorElementType::Complex128 => ElementType::Complex128,
        TensorElementType::Bfloat16 => ElementType::BFloat16,
        TensorElementType::Float8E4M3FN => ElementType::Float8E4M3Fn,
        TensorElementType::Float8E4M3FNUZ => ElementType::Float8E4M3FnUz,
        TensorElementType::Float8E5M2 => ElementType::Float8E5M2,
        TensorElementType::Float8E5M2FNUZ => ElementType::Float8E5M2FnUz,
        TensorElementType::Uint4 => ElementType::UInt4,
        TensorElementType::Int4 => ElementType::Int4,
        TensorElementType::Float4E2M1 => ElementType::Float4E2M1,
        TensorElementType::Float8E8M0 => ElementType::Float8E8M0,
        TensorElementType::Uint2 => ElementType::UInt2,
        TensorElementType::Int2 => ElementType::Int2,
        _ => ElementType::Other(0),
    }
}
