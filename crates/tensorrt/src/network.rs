//! A network: what a model says is to be computed, before it is an engine.
//!
//! Filled from ONNX. The parser and the weights it was given stay alive as long as the network,
//! because the network points into them until the engine is built.

use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::ptr;
use std::rc::Rc;

use bytes::Bytes;
use cxx::UniquePtr;
use trtx_sys::nvinfer1::{INetworkDefinition, ITensor};
use trtx_sys::nvonnxparser::IParser;

use crate::builder::BuilderHandle;
use crate::dimensions::from_raw;
use crate::logger::LogMark;
use crate::shim::{address, c_absolute_path, c_string, copied, trtforge_tensor_type};
use crate::{DataType, Diagnostic, DiagnosticCode, Error, Result, TensorFormat, diagnostic};

/// An input or output of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name, as in the model.
    pub name: String,
    /// Element type.
    pub data_type: DataType,
    /// Elements per dimension, -1 where it is open; empty for a scalar, and for an unknown rank.
    pub dimensions: Vec<i64>,
    /// Whether its values are used as a shape.
    pub is_shape: bool,
}

impl TensorInfo {
    /// Whether a dimension is open.
    #[must_use]
    pub fn is_dynamic(&self) -> bool {
        self.dimensions.contains(&-1)
    }
}

impl fmt::Display for TensorInfo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dimensions: Vec<String> = self.dimensions.iter().map(i64::to_string).collect();
        write!(out, "{}: {}[{}]", self.name, self.data_type, dimensions.join(","))
    }
}

/// Data of one initializer, given beside the model instead of inside it.
#[derive(Debug, Clone)]
pub struct Weights {
    /// Name of the initializer in the model.
    pub name: String,
    /// Its elements, dense and little-endian; kept by the network, never copied.
    pub data: Bytes,
}

/// A network definition; made by [`crate::Builder::network`].
pub struct Network {
    /// Owns buffers the network points to; TensorRT's own order is parser before network.
    parser: Option<UniquePtr<IParser>>,
    raw: UniquePtr<INetworkDefinition>,
    /// The network points into these until it is gone.
    weights: Vec<Weights>,
    filled: bool,
    /// Where in the log parsing began.
    began: LogMark,
    builder: Rc<BuilderHandle>,
}

impl Network {
    pub(crate) fn new(builder: &Rc<BuilderHandle>) -> Result<Self> {
        let raw = builder.with(|it| it.createNetworkV2(CREATION_FLAGS));
        if raw.is_null() {
            return Err(builder.not_created("a network"));
        }
        Ok(Self {
            parser: None,
            // SAFETY: a new object that only this network owns.
            raw: unsafe { UniquePtr::from_raw(raw) },
            weights: Vec::new(),
            filled: false,
            began: builder.logger.mark(),
            builder: Rc::clone(builder),
        })
    }

    /// Fills the network from a serialised ONNX model.
    ///
    /// `model_path` is where the model came from; external data is looked for beside it. The bytes
    /// are not needed after this call.
    ///
    /// # Errors
    /// [`Error::Parse`] when TensorRT cannot take the model; the network is then of no use.
    /// [`Error::NetworkFilled`] when it holds a model already.
    pub fn parse_onnx(&mut self, model: &[u8], model_path: Option<&Path>) -> Result<()> {
        let path = model_path.map(c_absolute_path).transpose()?;
        let path = path.as_ref().map_or(ptr::null(), |path| path.as_ptr());
        let parser = self.new_parser()?;
        // SAFETY: the model is valid for the call, and copied by it; the path is terminated.
        let parsed = unsafe { parser.parse(address(model), model.len(), path) };
        self.finish_parsing(parsed)
    }

    /// Fills the network from a model whose big weights are given beside it.
    ///
    /// `skeleton` has, for each of `weights`, an initializer with its name, type and dimensions whose
    /// data is said to be external (at any location: it is not looked for). The weights do not pass
    /// through protobuf, so they are not copied there and may exceed its 2 GiB.
    ///
    /// # Errors
    /// [`Error::Weights`] when one fits no initializer; else as for [`Self::parse_onnx`].
    pub fn parse_onnx_with_weights(
        &mut self,
        skeleton: &[u8],
        weights: Vec<Weights>,
        model_path: Option<&Path>,
    ) -> Result<()> {
        let path = model_path.map(c_absolute_path).transpose()?;
        let path = path.as_ref().map_or(ptr::null(), |path| path.as_ptr());
        let mut parser = self.new_parser()?;
        // SAFETY: the skeleton is valid for the call, and copied by it; the path is terminated.
        let loaded = unsafe { parser.as_mut().loadModelProto(address(skeleton), skeleton.len(), path) };
        if !loaded {
            return self.finish_parsing(false);
        }
        self.weights = weights;
        for index in 0..self.weights.len() {
            self.load_initializer(index)?;
        }
        let parsed = self.parser.as_mut().is_some_and(|it| it.pin_mut().parseModelProto());
        self.finish_parsing(parsed)
    }

    /// Tells the parser where the data of one of the kept weights lies.
    fn load_initializer(&mut self, index: usize) -> Result<()> {
        let (Some(parser), Some(weights)) = (self.parser.as_mut(), self.weights.get(index)) else {
            return Ok(());
        };
        let name = c_string(&weights.name)?;
        let data: &[u8] = &weights.data;
        // SAFETY: the network keeps the data at this place for longer than parser and network live:
        // fields drop in the order parser, network, weights. The name is copied.
        let taken = unsafe { parser.pin_mut().loadInitializer(name.as_ptr(), address(data), data.len()) };
        if taken {
            return Ok(());
        }
        Err(Error::Weights { name: weights.name.clone(), bytes: data.len(), diagnostics: diagnostic::collect(parser) })
    }

    /// The parser of this network, made now; an error when there is one already.
    fn new_parser(&mut self) -> Result<Pin<&mut IParser>> {
        if self.parser.is_some() {
            return Err(Error::NetworkFilled);
        }
        self.began = self.builder.logger.mark();
        let network = self.raw.as_mut_ptr().cast();
        let logger = self.builder.logger.interface();
        // SAFETY: the parser is dropped before the network and the builder's logger.
        let raw = unsafe { self.builder.tensorrt.create_parser(network, logger) };
        if raw.is_null() {
            return Err(self.builder.not_created("an ONNX parser"));
        }
        // SAFETY: a new object that only this network owns.
        let parser = unsafe { UniquePtr::from_raw(raw.cast::<IParser>()) };
        Ok(self.parser.insert(parser).pin_mut())
    }

    /// Ends parsing: TensorRT takes a model without outputs, which nothing can be built from.
    fn finish_parsing(&mut self, parsed: bool) -> Result<()> {
        self.filled = parsed && self.raw.getNbOutputs() > 0;
        if self.filled {
            return Ok(());
        }
        let parser = self.parser.as_ref().and_then(UniquePtr::as_ref);
        let mut diagnostics = parser.map(diagnostic::collect).unwrap_or_default();
        if parsed {
            diagnostics.push(Diagnostic::of_model(DiagnosticCode::InvalidGraph, "the model has no outputs"));
        }
        Err(Error::Parse { diagnostics, log: self.builder.logger.tail_since(self.began) })
    }

    /// The inputs, in the model's order.
    #[must_use]
    pub fn inputs(&self) -> Vec<TensorInfo> {
        let count = self.raw.getNbInputs();
        // SAFETY: TensorRT returns null or a tensor that lives as long as the network.
        (0..count).filter_map(|index| unsafe { describe(self.raw.getInput(index)) }).collect()
    }

    /// The outputs, in the model's order.
    #[must_use]
    pub fn outputs(&self) -> Vec<TensorInfo> {
        let count = self.raw.getNbOutputs();
        // SAFETY: TensorRT returns null or a tensor that lives as long as the network.
        (0..count).filter_map(|index| unsafe { describe(self.raw.getOutput(index)) }).collect()
    }

    /// Has the elements of an input or output lie in memory in this order, and in no other.
    ///
    /// # Errors
    /// [`Error::NoSuchTensor`] when it is neither. That a format does not go with a tensor's type or rank is an error of the build.
    pub fn set_format(&mut self, name: &str, format: TensorFormat) -> Result<()> {
        let inputs = (0..self.raw.getNbInputs()).map(|index| self.raw.getInput(index));
        let outputs = (0..self.raw.getNbOutputs()).map(|index| self.raw.getOutput(index));
        for tensor in inputs.chain(outputs).filter(|tensor| !tensor.is_null()) {
            // SAFETY: not null, and alive as long as the network, which is borrowed for writing; nothing else points to it here.
            let tensor = unsafe { Pin::new_unchecked(&mut *tensor) };
            // SAFETY: the name lives in the tensor.
            if unsafe { copied(tensor.getName()) }.as_deref() == Some(name) {
                tensor.setAllowedFormats(format.alone());
                return Ok(());
            }
        }
        let tensors = self.inputs().into_iter().chain(self.outputs()).map(|it| it.name).collect();
        Err(Error::NoSuchTensor { name: name.to_owned(), tensors })
    }

    /// Number of TensorRT layers, before any are fused.
    #[must_use]
    pub fn layer_count(&self) -> usize {
        usize::try_from(self.raw.getNbLayers()).unwrap_or_default()
    }

    /// How many outputs of layers have each element type: what the model asks for, before fusion.
    #[must_use]
    pub fn precision(&self) -> Vec<(DataType, usize)> {
        let mut counts: Vec<(DataType, usize)> = Vec::new();
        for index in 0..self.raw.getNbLayers() {
            // SAFETY: TensorRT returns null or a layer that lives as long as the network.
            let Some(layer) = (unsafe { self.raw.getLayer(index).as_ref() }) else {
                continue;
            };
            for output in 0..layer.getNbOutputs() {
                let tensor = layer.getOutput(output);
                if tensor.is_null() {
                    continue;
                }
                // SAFETY: not null, and alive as long as the network.
                let data_type = DataType::from_number(unsafe { trtforge_tensor_type(tensor) });
                match counts.iter_mut().find(|(it, _)| *it == data_type) {
                    Some((_, count)) => *count += 1,
                    None => counts.push((data_type, 1)),
                }
            }
        }
        counts
    }

    pub(crate) fn is_filled(&self) -> bool {
        self.filled
    }

    pub(crate) fn pin_mut(&mut self) -> Pin<&mut INetworkDefinition> {
        self.raw.pin_mut()
    }

    pub(crate) fn builder(&self) -> &Rc<BuilderHandle> {
        &self.builder
    }
}

/// Strong typing, where it is still a choice.
const CREATION_FLAGS: u32 = 0;

/// Reads what a tensor is.
///
/// # Safety
/// `tensor` is null or a tensor that lives through the call.
unsafe fn describe(tensor: *const ITensor) -> Option<TensorInfo> {
    // SAFETY: by contract.
    let tensor = unsafe { tensor.as_ref()? };
    // SAFETY: the name lives in the tensor; the tensor is alive.
    let (name, number) = unsafe { (copied(tensor.getName()), trtforge_tensor_type(tensor)) };
    Some(TensorInfo {
        name: name.unwrap_or_default(),
        data_type: DataType::from_number(number),
        dimensions: from_raw(&tensor.getDimensions()).unwrap_or_default(),
        is_shape: tensor.isShapeTensor(),
    })
}
