//! Types of values: element type and shape, to and from ONNX's `TypeProto`.
//!
//! A dimension that ONNX leaves open stays open here; nothing in this file may invent a size.

use std::fmt;

use crate::element::ElementType;
use crate::proto::{TensorShapeProto, TypeProto, tensor_shape_proto, type_proto};

/// One axis of a shape.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// A known size.
    Fixed(u64),
    /// Unknown, but equal wherever the same name appears.
    Symbol(String),
    /// Unknown.
    Unknown,
}

impl Dimension {
    /// The size, where known.
    pub fn fixed(&self) -> Option<u64> {
        match self {
            Dimension::Fixed(size) => Some(*size),
            _ => None,
        }
    }
}

/// Element type and shape of a tensor value. `shape: None` means that even the rank is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// Element type.
    pub element: ElementType,
    /// Dimensions, outermost first.
    pub shape: Option<Vec<Dimension>>,
}

/// Type of a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// A dense tensor.
    Tensor(TensorType),
    /// A sequence, map, optional or sparse tensor, by its description.
    Other(String),
}

impl TensorType {
    /// A type whose dimensions are all known.
    pub fn fixed(element: ElementType, shape: impl IntoIterator<Item = u64>) -> Self {
        Self { element, shape: Some(shape.into_iter().map(Dimension::Fixed).collect()) }
    }

    /// All dimensions, if every one is known.
    pub fn fixed_shape(&self) -> Option<Vec<u64>> {
        self.shape.as_ref()?.iter().map(Dimension::fixed).collect()
    }

    /// Number of elements, if every dimension is known and the product fits.
    pub fn element_count(&self) -> Option<u64> {
        self.shape.as_ref()?.iter().try_fold(1u64, |count, dimension| count.checked_mul(dimension.fixed()?))
    }

    /// Bytes of a dense tensor of this type.
    pub fn bytes(&self) -> Option<u64> {
        self.element.bytes_for(self.element_count()?)
    }

    /// Whether a value of this type can stand where `other` is expected: no known dimension contradicts.
    pub fn shape_agrees(&self, other: &TensorType) -> bool {
        let (Some(own), Some(theirs)) = (&self.shape, &other.shape) else { return true };
        own.len() == theirs.len() && own.iter().zip(theirs).all(|(a, b)| dimensions_agree(a, b))
    }

    /// This type as ONNX writes it.
    pub fn to_proto(&self) -> TypeProto {
        let mut tensor = type_proto::Tensor::new();
        tensor.elem_type = Some(self.element.to_onnx());
        tensor.shape = self.shape.as_ref().map(|shape| shape_to_proto(shape)).into();
        TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() }
    }
}

impl ValueType {
    /// The tensor type, unless it is something else.
    pub fn tensor(&self) -> Option<&TensorType> {
        match self {
            ValueType::Tensor(tensor) => Some(tensor),
            ValueType::Other(_) => None,
        }
    }

    /// The element type of a tensor.
    pub fn element(&self) -> Option<ElementType> {
        self.tensor().map(|tensor| tensor.element)
    }

    /// Reads ONNX's form. `None` where the model leaves the type open.
    pub fn from_proto(proto: &TypeProto) -> Option<Self> {
        match proto.value.as_ref()? {
            type_proto::Value::TensorType(tensor) => {
                let element = ElementType::from_onnx(tensor.elem_type.filter(|&number| number != 0)?);
                let shape = tensor.shape.as_ref().map(shape_from_proto);
                Some(ValueType::Tensor(TensorType { element, shape }))
            }
            other => Some(ValueType::Other(describe(other))),
        }
    }

    /// This type as ONNX writes it; `None` for the opaque kinds, whose original must be kept instead.
    pub fn to_proto(&self) -> Option<TypeProto> {
        self.tensor().map(TensorType::to_proto)
    }
}

impl From<TensorType> for ValueType {
    fn from(tensor: TensorType) -> Self {
        ValueType::Tensor(tensor)
    }
}

fn dimensions_agree(a: &Dimension, b: &Dimension) -> bool {
    match (a, b) {
        (Dimension::Fixed(a), Dimension::Fixed(b)) => a == b,
        _ => true,
    }
}

fn shape_from_proto(shape: &TensorShapeProto) -> Vec<Dimension> {
    shape.dim.iter().map(dimension_from_proto).collect()
}

fn dimension_from_proto(dimension: &tensor_shape_proto::Dimension) -> Dimension {
    match &dimension.value {
        Some(tensor_shape_proto::dimension::Value::DimValue(size)) => {
            u64::try_from(*size).map_or(Dimension::Unknown, Dimension::Fixed)
        }
        Some(tensor_shape_proto::dimension::Value::DimParam(name)) if !name.is_empty() => {
            Dimension::Symbol(name.clone())
        }
        _ => Dimension::Unknown,
    }
}

fn shape_to_proto(shape: &[Dimension]) -> TensorShapeProto {
    TensorShapeProto { dim: shape.iter().map(dimension_to_proto).collect(), ..Default::default() }
}

fn dimension_to_proto(dimension: &Dimension) -> tensor_shape_proto::Dimension {
    use tensor_shape_proto::dimension::Value;
    let value = match dimension {
        Dimension::Fixed(size) => Some(Value::DimValue(i64::try_from(*size).unwrap_or(i64::MAX))),
        Dimension::Symbol(name) => Some(Value::DimParam(name.clone())),
        Dimension::Unknown => None,
    };
    tensor_shape_proto::Dimension { value, ..Default::default() }
}

fn describe(value: &type_proto::Value) -> String {
    let inner = |proto: Option<&TypeProto>| {
        proto.and_then(ValueType::from_proto).map_or_else(|| "?".to_owned(), |inner| inner.to_string())
    };
    match value {
        type_proto::Value::TensorType(_) => "tensor".to_owned(),
        type_proto::Value::SequenceType(sequence) => format!("sequence({})", inner(sequence.elem_type.as_ref())),
        type_proto::Value::OptionalType(optional) => format!("optional({})", inner(optional.elem_type.as_ref())),
        type_proto::Value::MapType(map) => {
            let key = ElementType::from_onnx(map.key_type.unwrap_or(0));
            format!("map({key}, {})", inner(map.value_type.as_ref()))
        }
        type_proto::Value::SparseTensorType(sparse) => {
            format!("sparse({})", ElementType::from_onnx(sparse.elem_type.unwrap_or(0)))
        }
        type_proto::Value::OpaqueType(opaque) => {
            format!("opaque({}.{})", opaque.domain.as_deref().unwrap_or(""), opaque.name.as_deref().unwrap_or(""))
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dimension::Fixed(size) => write!(formatter, "{size}"),
            Dimension::Symbol(name) => formatter.write_str(name),
            Dimension::Unknown => formatter.write_str("?"),
        }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(shape) = &self.shape else { return write!(formatter, "{}[..]", self.element) };
        let dimensions: Vec<String> = shape.iter().map(Dimension::to_string).collect();
        write!(formatter, "{}[{}]", self.element, dimensions.join(","))
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueType::Tensor(tensor) => tensor.fmt(formatter),
            ValueType::Other(text) => formatter.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed() -> TensorType {
        let shape = vec![Dimension::Fixed(1), Dimension::Fixed(3), Dimension::Symbol("H".into()), Dimension::Unknown];
        TensorType { element: ElementType::Float32, shape: Some(shape) }
    }

    #[test]
    fn reads_back_what_it_writes() {
        let value = ValueType::Tensor(mixed());
        assert_eq!(ValueType::from_proto(&value.to_proto().expect("a tensor")), Some(value.clone()));
        assert_eq!(value.to_string(), "float32[1,3,H,?]");
    }

    #[test]
    fn sizes_need_every_dimension_and_must_not_wrap() {
        assert_eq!(mixed().element_count(), None);
        assert_eq!(TensorType::fixed(ElementType::Float16, [2, 3]).bytes(), Some(12));
        assert_eq!(TensorType::fixed(ElementType::Float16, [u64::MAX, 3]).bytes(), None);
        assert_eq!(TensorType::fixed(ElementType::Float16, []).bytes(), Some(2));
    }

    #[test]
    fn only_known_sizes_contradict() {
        assert!(mixed().shape_agrees(&TensorType::fixed(ElementType::Float32, [1, 3, 8, 8])));
        assert!(!mixed().shape_agrees(&TensorType::fixed(ElementType::Float32, [1, 4, 8, 8])));
        assert!(!mixed().shape_agrees(&TensorType::fixed(ElementType::Float32, [1, 3, 8])));
    }
}
