//! A dense tensor on the host, and the many ways in which ONNX stores one.
//!
//! `raw_data` is shared, not copied, unless its place in the file is not aligned for the element type. Dimensions come
//! from files and may be anything: every product is checked.

use std::mem::size_of;

use bytemuck::Pod;
use bytes::Bytes;
use half::{bf16, f16};

use crate::element::ElementType;
use crate::error::{Error, Result};
use crate::proto::TensorProto;

/// A dense little-endian tensor in host memory, row-major, aligned for its element type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Element type.
    pub element: ElementType,
    /// Dimensions, outermost first; empty for a scalar.
    pub shape: Vec<u64>,
    /// The elements' bytes.
    pub data: Bytes,
}

/// A Rust type that is the element of a tensor type.
pub trait Element: Pod + Send + Sync {
    /// The tensor element type that this type stands for.
    const TYPE: ElementType;
}

macro_rules! elements {
    ($($rust:ty => $onnx:ident),* $(,)?) => {
        $(impl Element for $rust { const TYPE: ElementType = ElementType::$onnx; })*
    };
}
elements! {
    f32 => Float32, f64 => Float64, f16 => Float16, bf16 => BFloat16,
    i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64, u8 => UInt8, u16 => UInt16, u32 => UInt32, u64 => UInt64,
}

impl Tensor {
    /// A tensor over `data`, whose length must be what `shape` asks for. Copies only if `data` is not aligned.
    ///
    /// # Errors
    /// The sizes differ, or the element type has no fixed size.
    pub fn new(element: ElementType, shape: Vec<u64>, data: Bytes) -> Result<Self> {
        let expected = dense_size("", element, &shape)?;
        if expected != data.len() as u64 {
            return Err(size_error("", element, &signed(&shape), "bytes", expected, data.len() as u64));
        }
        Ok(Self { element, shape, data: aligned(data, element) })
    }

    /// Takes a vector as a tensor, without copying.
    ///
    /// # Errors
    /// `values` is not as long as `shape` asks for.
    pub fn from_vec<T: Element>(shape: Vec<u64>, values: Vec<T>) -> Result<Self> {
        Self::new(T::TYPE, shape, Bytes::from_owner(ElementBytes(values)))
    }

    /// Reads a tensor in any of ONNX's storage forms but external (see [`crate::Model::read`]).
    ///
    /// # Errors
    /// The tensor holds strings, its dimensions are negative or too large, or its data does not fit them.
    pub fn from_proto(tensor: &TensorProto) -> Result<Self> {
        let element = ElementType::from_onnx(tensor.data_type());
        let shape = shape_of(tensor)?;
        let expected = dense_size(tensor.name(), element, &shape)?;
        let data = match &tensor.raw_data {
            Some(raw) if !raw.is_empty() || !has_typed_data(tensor) => raw.clone(),
            _ => typed_bytes(tensor, element)?,
        };
        if data.len() as u64 != expected {
            return Err(size_error(tensor.name(), element, &tensor.dims, "bytes", expected, data.len() as u64));
        }
        Ok(Self { element, shape, data: aligned(data, element) })
    }

    /// This tensor as ONNX stores it, under `name`. Shares the data.
    pub fn to_proto(&self, name: &str) -> TensorProto {
        TensorProto {
            name: Some(name.to_owned()),
            data_type: Some(self.element.to_onnx()),
            dims: signed(&self.shape),
            raw_data: Some(self.data.clone()),
            ..Default::default()
        }
    }

    /// Number of elements.
    pub fn len(&self) -> u64 {
        if self.is_empty() { 0 } else { self.shape.iter().product() }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// The elements. Booleans read as `u8`.
    ///
    /// # Errors
    /// `T` is not this tensor's element type.
    pub fn as_slice<T: Element>(&self) -> Result<&[T]> {
        let boolean = T::TYPE == ElementType::UInt8 && self.element == ElementType::Bool;
        if T::TYPE != self.element && !boolean {
            return Err(Error::ElementMismatch { expected: T::TYPE, actual: self.element });
        }
        if self.data.is_empty() {
            return Ok(&[]);
        }
        bytemuck::try_cast_slice(&self.data)
            .map_err(|_| Error::NotDense { tensor: String::new(), element: self.element })
    }

    /// All elements as `f32`, converted from any number type.
    ///
    /// # Errors
    /// The element type is not a plain number.
    pub fn to_vec_f32(&self) -> Result<Vec<f32>> {
        macro_rules! convert {
            ($type:ty, $function:expr) => {
                self.as_slice::<$type>()?.iter().copied().map($function).collect()
            };
        }
        Ok(match self.element {
            ElementType::Float32 => self.as_slice::<f32>()?.to_vec(),
            ElementType::Float16 => convert!(f16, f16::to_f32),
            ElementType::BFloat16 => convert!(bf16, bf16::to_f32),
            ElementType::Float64 => convert!(f64, |x| x as f32),
            _ => self.to_vec_i64_wide()?.into_iter().map(|x| x as f32).collect(),
        })
    }

    /// All elements as `i64`, converted from any integer type.
    ///
    /// # Errors
    /// The element type is not a plain integer, or a value does not fit.
    pub fn to_vec_i64(&self) -> Result<Vec<i64>> {
        let mismatch = || Error::ElementMismatch { expected: ElementType::Int64, actual: self.element };
        self.to_vec_i64_wide()?.into_iter().map(|x| i64::try_from(x).map_err(|_| mismatch())).collect()
    }

    fn to_vec_i64_wide(&self) -> Result<Vec<i128>> {
        macro_rules! widen {
            ($type:ty) => {
                self.as_slice::<$type>()?.iter().map(|&x| i128::from(x)).collect()
            };
        }
        Ok(match self.element {
            ElementType::Int8 => widen!(i8),
            ElementType::Int16 => widen!(i16),
            ElementType::Int32 => widen!(i32),
            ElementType::Int64 => widen!(i64),
            ElementType::UInt8 | ElementType::Bool => widen!(u8),
            ElementType::UInt16 => widen!(u16),
            ElementType::UInt32 => widen!(u32),
            ElementType::UInt64 => widen!(u64),
            actual => return Err(Error::ElementMismatch { expected: ElementType::Int64, actual }),
        })
    }
}

/// Bytes of the dense form that `tensor`'s type and dimensions ask for; `None` where the type has no fixed size.
pub(crate) fn dense_bytes(tensor: &TensorProto) -> Result<Option<u64>> {
    let element = ElementType::from_onnx(tensor.data_type());
    let shape = shape_of(tensor)?;
    match element.size_bits() {
        None => Ok(None),
        Some(_) => dense_size(tensor.name(), element, &shape).map(Some),
    }
}

/// Bytes that `tensor` holds, whatever the storage form.
pub(crate) fn stored_bytes(tensor: &TensorProto) -> u64 {
    let typed = tensor.float_data.len() * 4
        + tensor.int32_data.len() * 4
        + (tensor.int64_data.len() + tensor.double_data.len() + tensor.uint64_data.len()) * 8
        + tensor.string_data.iter().map(Bytes::len).sum::<usize>();
    (tensor.raw_data.as_ref().map_or(0, Bytes::len) + typed) as u64
}

pub(crate) fn has_typed_data(tensor: &TensorProto) -> bool {
    !(tensor.float_data.is_empty()
        && tensor.int32_data.is_empty()
        && tensor.int64_data.is_empty()
        && tensor.double_data.is_empty()
        && tensor.uint64_data.is_empty())
}

/// The dimensions of `tensor`, none of them negative and their product within what can exist.
pub(crate) fn shape_of(tensor: &TensorProto) -> Result<Vec<u64>> {
    let shape: Vec<u64> =
        tensor.dims.iter().enumerate().map(|(axis, &size)| dimension(tensor, axis, size)).collect::<Result<_>>()?;
    let count = shape.iter().try_fold(1u64, |count, &size| count.checked_mul(size));
    match count {
        Some(count) if count <= crate::check::MOST_ELEMENTS => Ok(shape),
        _ if shape.contains(&0) => Ok(shape),
        _ => Err(Error::HugeTensor { tensor: tensor.name().to_owned(), dimensions: tensor.dims.clone() }),
    }
}

fn dimension(tensor: &TensorProto, axis: usize, dimension: i64) -> Result<u64> {
    let negative = |_| Error::NegativeDimension { tensor: tensor.name().to_owned(), axis, dimension };
    u64::try_from(dimension).map_err(negative)
}

fn dense_size(name: &str, element: ElementType, shape: &[u64]) -> Result<u64> {
    if element.size_bits().is_none() {
        return Err(Error::NotDense { tensor: name.to_owned(), element });
    }
    let count = if shape.contains(&0) { Some(0) } else { shape.iter().try_fold(1u64, |n, &size| n.checked_mul(size)) };
    count
        .and_then(|count| element.bytes_for(count))
        .ok_or_else(|| Error::HugeTensor { tensor: name.to_owned(), dimensions: signed(shape) })
}

/// The typed storage fields, which hold small types widened to 32 bits, as dense bytes.
fn typed_bytes(tensor: &TensorProto, element: ElementType) -> Result<Bytes> {
    use ElementType::*;
    Ok(match element {
        Float32 | Complex64 => owned(tensor.float_data.clone()),
        Float64 | Complex128 => owned(tensor.double_data.clone()),
        Int64 => owned(tensor.int64_data.clone()),
        UInt64 => owned(tensor.uint64_data.clone()),
        UInt32 => owned(tensor.uint64_data.iter().map(|&x| x as u32).collect::<Vec<_>>()),
        Int32 => owned(tensor.int32_data.clone()),
        Int16 | UInt16 | Float16 | BFloat16 => owned(tensor.int32_data.iter().map(|&x| x as u16).collect::<Vec<_>>()),
        String | Other(_) | Float6E2M3 | Float6E3M2 => {
            return Err(Error::NotDense { tensor: tensor.name().to_owned(), element });
        }
        _ => owned(tensor.int32_data.iter().map(|&x| x as u8).collect::<Vec<_>>()),
    })
}

pub(crate) fn owned<T: Element>(values: Vec<T>) -> Bytes {
    Bytes::from_owner(ElementBytes(values))
}

struct ElementBytes<T>(Vec<T>);

impl<T: Element> AsRef<[u8]> for ElementBytes<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// `data` where it lies if its address suits `element`, else copied to where it does.
fn aligned(data: Bytes, element: ElementType) -> Bytes {
    let alignment = element.size_bits().map_or(1, |bits| (bits as usize / 8).clamp(1, size_of::<u64>()));
    if data.as_ptr().addr().is_multiple_of(alignment) {
        return data;
    }
    let mut words = vec![0u64; data.len().div_ceil(size_of::<u64>())];
    bytemuck::cast_slice_mut::<u64, u8>(&mut words)[..data.len()].copy_from_slice(&data);
    owned(words).slice(..data.len())
}

fn signed(shape: &[u64]) -> Vec<i64> {
    shape.iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX)).collect()
}

pub(crate) fn size_error(
    tensor: &str,
    element: ElementType,
    dimensions: &[i64],
    unit: &'static str,
    expected: u64,
    actual: u64,
) -> Error {
    let (tensor, dimensions) = (tensor.to_owned(), dimensions.to_vec());
    Error::TensorSize { tensor, element, dimensions, unit, expected, actual }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_storage_form_gives_the_same_numbers() {
        let tensor = Tensor::from_vec(vec![2, 2], vec![1.0f32, -2.0, 3.5, 0.0]).expect("sizes fit");
        let raw = tensor.to_proto("t");
        let typed = TensorProto { raw_data: None, float_data: vec![1.0, -2.0, 3.5, 0.0], ..raw.clone() };
        assert_eq!(Tensor::from_proto(&raw).expect("raw"), tensor);
        assert_eq!(Tensor::from_proto(&typed).expect("typed"), tensor);
        assert_eq!(tensor.as_slice::<f32>().expect("f32")[2], 3.5);
        assert!(matches!(tensor.as_slice::<i32>(), Err(Error::ElementMismatch { .. })));
    }

    #[test]
    fn small_types_are_narrowed_from_their_wide_storage() {
        let proto = TensorProto {
            dims: vec![2],
            data_type: Some(ElementType::Float16.to_onnx()),
            int32_data: vec![i32::from(f16::from_f32(1.5).to_bits()), i32::from(f16::from_f32(-2.0).to_bits())],
            ..Default::default()
        };
        assert_eq!(Tensor::from_proto(&proto).expect("half").to_vec_f32().expect("numbers"), [1.5, -2.0]);
    }

    #[test]
    fn unaligned_data_is_moved() {
        let bytes = Bytes::from(vec![0u8; 9]).slice(1..);
        let tensor = Tensor::new(ElementType::Float32, vec![2], bytes).expect("8 bytes");
        assert_eq!(tensor.as_slice::<f32>().expect("aligned"), [0.0, 0.0]);
    }

    #[test]
    fn wrong_sizes_are_errors() {
        assert!(matches!(
            Tensor::from_vec(vec![3], vec![1i64]),
            Err(Error::TensorSize { expected: 24, actual: 8, .. })
        ));
        assert!(matches!(
            Tensor::new(ElementType::Float32, vec![u64::MAX, 2], Bytes::new()),
            Err(Error::HugeTensor { .. })
        ));
        let negative = TensorProto { dims: vec![2, -1], data_type: Some(1), ..Default::default() };
        assert!(matches!(Tensor::from_proto(&negative), Err(Error::NegativeDimension { axis: 1, .. })));
        let empty = Tensor::from_vec::<f32>(vec![0, 4], vec![]).expect("no elements");
        assert!(empty.is_empty() && empty.as_slice::<f32>().expect("empty").is_empty());
    }
}
