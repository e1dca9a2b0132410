//! Runs over buffers of the caller that are bound once, so that a run allocates nothing on this side.
//!
//! Unlike [`crate::Session::run`], which is made for the builder and copies what comes out, a [`Binding`] owns the
//! buffers, tells ONNX Runtime their addresses once, and a run is one call of it. This goes to ONNX Runtime's C interface
//! past `ort`, whose own bindings build maps of names for every run.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_void};
use std::fmt;
use std::ptr;
use std::sync::Arc;

use ort::AsPointer;
use ort::memory::MemoryInfo;
use ort::sys::{
    ONNXTensorElementDataType, OrtAllocator, OrtIoBinding, OrtStatusPtr, OrtTensorTypeAndShapeInfo, OrtValue,
};
use trtforge_graph::ElementType;

use crate::error::{Error, Result};
use crate::session::{IoInfo, Session};

/// Memory that a [`Binding`] can own.
///
/// # Safety
/// For as long as a value lives, wherever it is moved, [`Self::bytes`] gives the same number of bytes at the same
/// address, valid for reads and writes and touched by nobody else while the value is borrowed.
pub unsafe trait Buffer: Send {
    /// The bytes.
    fn bytes(&mut self) -> &mut [u8];
}

/// A session that several bindings run. ONNX Runtime documents runs of one session as safe from several threads, which
/// holds for operators on the CPU.
#[derive(Debug, Clone)]
pub struct SharedSession {
    session: Arc<Session>,
}

impl SharedSession {
    /// Shares `session`.
    pub fn new(session: Session) -> Self {
        Self { session: Arc::new(session) }
    }

    /// The inputs, in the model's order.
    pub fn inputs(&self) -> &[IoInfo] {
        self.session.inputs()
    }

    /// The outputs, in the model's order.
    pub fn outputs(&self) -> &[IoInfo] {
        self.session.outputs()
    }

    /// Binds a buffer with a shape to each input and output, in the model's order. An output without one is allocated by
    /// ONNX Runtime in each run.
    ///
    /// # Errors
    /// Their number is not the model's, a buffer is too small for its shape, or ONNX Runtime refuses.
    pub fn bind<B: Buffer>(
        &self,
        inputs: Vec<(B, Vec<i64>)>,
        outputs: Vec<Option<(B, Vec<i64>)>>,
    ) -> Result<Binding<B>> {
        let (input_infos, output_infos) = (self.inputs(), self.outputs());
        if inputs.len() != input_infos.len() || outputs.len() != output_infos.len() {
            let (given, wanted) = ((inputs.len(), outputs.len()), (input_infos.len(), output_infos.len()));
            return Err(Error::run(&format!("(inputs, outputs) bound are {given:?}, and the model has {wanted:?}")));
        }
        let mut binding = self.binding()?;
        for (index, (buffer, shape)) in inputs.into_iter().enumerate() {
            binding.bind_input(index, buffer, &shape)?;
        }
        for (index, bound) in outputs.into_iter().enumerate() {
            match bound {
                Some((buffer, shape)) => binding.bind_output(index, buffer, &shape)?,
                None => binding.leave_output_open(index)?,
            }
        }
        Ok(binding)
    }

    /// A binding with nothing bound yet, for buffers that are lent for a run: [`Binding::into_buffers`] gives them back.
    ///
    /// # Errors
    /// The model has a tensor of a type that is not bound here, or ONNX Runtime refuses.
    pub fn binding<B: Buffer>(&self) -> Result<Binding<B>> {
        let unbound = |infos: &[IoInfo]| infos.iter().map(Bound::new).collect::<Result<Vec<_>>>();
        Ok(Binding {
            raw: RawBinding::new(Arc::clone(&self.session))?,
            memory: MemoryInfo::default(),
            inputs: unbound(self.inputs())?,
            outputs: unbound(self.outputs())?,
        })
    }
}

/// A session with buffers of its own, one run at a time.
pub struct Binding<B> {
    /// First field: it refers to the values below.
    raw: RawBinding,
    memory: MemoryInfo<'static>,
    inputs: Vec<Bound<B>>,
    outputs: Vec<Bound<B>>,
}

// SAFETY: ONNX Runtime ties neither bindings nor values to a thread, and owning the binding makes its user the only one.
unsafe impl<B: Send> Send for Binding<B> {}

/// An input or output with what is bound to it.
struct Bound<B> {
    name: CString,
    element: ElementType,
    data_type: ONNXTensorElementDataType,
    /// Before the buffer: it refers to it.
    value: Option<Value>,
    buffer: Option<B>,
}

impl<B: Buffer> Bound<B> {
    fn new(info: &IoInfo) -> Result<Self> {
        let unsupported = || Error::UnsupportedType { name: info.name.clone(), type_name: info.ty.element.to_string() };
        let data_type = data_type(info.ty.element).ok_or_else(unsupported)?;
        let name = CString::new(info.name.as_str()).map_err(|_| unsupported())?;
        Ok(Self { name, element: info.ty.element, data_type, value: None, buffer: None })
    }

    /// Takes a buffer in place of the one there is; nothing is bound then until a shape is set.
    fn replace(&mut self, buffer: B) {
        self.value = None;
        self.buffer = Some(buffer);
    }

    fn into_buffer(self) -> Option<B> {
        let Self { value, buffer, .. } = self;
        drop(value);
        buffer
    }

    /// A value of `shape` over the start of the buffer.
    fn value_of(&mut self, memory: &MemoryInfo<'static>, shape: &[i64]) -> Result<Value> {
        let refused = |reason: String| Error::run(&format!("{:?} of shape {shape:?}: {reason}", self.name));
        let elements = shape.iter().try_fold(1u64, |count, &size| count.checked_mul(u64::try_from(size).ok()?));
        let bytes = elements.and_then(|count| self.element.bytes_for(count)).and_then(|it| usize::try_from(it).ok());
        let bytes = bytes.ok_or_else(|| refused("it has no number of bytes".to_owned()))?;
        let Some(buffer) = self.buffer.as_mut().map(Buffer::bytes) else {
            return Err(refused("nothing is bound to it".to_owned()));
        };
        if buffer.len() < bytes {
            return Err(refused(format!("it takes {bytes} bytes, and its buffer has {}", buffer.len())));
        }
        let (address, mut raw) = (buffer.as_mut_ptr().cast::<c_void>(), ptr::null_mut());
        // SAFETY: the buffer has that many bytes and stays at its address while the value, which is dropped before it,
        // refers to it; the shape is read in the call.
        check(unsafe {
            let create = ort::api().CreateTensorWithDataAsOrtValue;
            create(memory.ptr(), address, bytes, shape.as_ptr(), shape.len(), self.data_type, &mut raw)
        })?;
        Ok(Value(raw))
    }
}

impl<B: Buffer> Binding<B> {
    /// Binds a buffer to an input. The binding has the buffer even where this fails.
    ///
    /// # Errors
    /// The buffer is too small for the shape, ONNX Runtime refuses, or there is no such input.
    pub fn bind_input(&mut self, input: usize, buffer: B, shape: &[i64]) -> Result<()> {
        let bound = self.inputs.get_mut(input).ok_or_else(|| no_such(input))?;
        bound.replace(buffer);
        self.set_input_shape(input, shape)
    }

    /// Binds a buffer to an output. The binding has the buffer even where this fails.
    ///
    /// # Errors
    /// As for an input.
    pub fn bind_output(&mut self, output: usize, buffer: B, shape: &[i64]) -> Result<()> {
        let bound = self.outputs.get_mut(output).ok_or_else(|| no_such(output))?;
        bound.replace(buffer);
        self.set_output_shape(output, shape)
    }

    /// Gives the buffers of inputs and outputs back, in the model's order; nothing where none was bound.
    pub fn into_buffers(self) -> (Vec<Option<B>>, Vec<Option<B>>) {
        let Self { raw, inputs, outputs, .. } = self;
        // It refers to the values, and they to the buffers.
        drop(raw);
        let buffers = |bound: Vec<Bound<B>>| bound.into_iter().map(Bound::into_buffer).collect();
        (buffers(inputs), buffers(outputs))
    }

    /// Gives an input another shape, over the start of its buffer. ONNX Runtime allocates a little for it; this side
    /// does not.
    ///
    /// # Errors
    /// The buffer is too small, or there is no such input.
    pub fn set_input_shape(&mut self, input: usize, shape: &[i64]) -> Result<()> {
        let bound = self.inputs.get_mut(input).ok_or_else(|| no_such(input))?;
        let value = bound.value_of(&self.memory, shape)?;
        // SAFETY: binding, name and value live; the value is kept as long as it is bound.
        check(unsafe { (ort::api().BindInput)(self.raw.raw, bound.name.as_ptr(), value.0) })?;
        bound.value = Some(value);
        Ok(())
    }

    /// Gives an output another shape, over the start of its buffer. A run that makes another shape fails.
    ///
    /// # Errors
    /// The buffer is too small, or there is none, or no such output.
    pub fn set_output_shape(&mut self, output: usize, shape: &[i64]) -> Result<()> {
        let bound = self.outputs.get_mut(output).ok_or_else(|| no_such(output))?;
        let value = bound.value_of(&self.memory, shape)?;
        // SAFETY: as for an input.
        check(unsafe { (ort::api().BindOutput)(self.raw.raw, bound.name.as_ptr(), value.0) })?;
        bound.value = Some(value);
        Ok(())
    }

    fn leave_output_open(&mut self, output: usize) -> Result<()> {
        let bound = self.outputs.get_mut(output).ok_or_else(|| no_such(output))?;
        // SAFETY: binding, name and memory description live.
        check(unsafe { (ort::api().BindOutputToDevice)(self.raw.raw, bound.name.as_ptr(), self.memory.ptr()) })
    }

    /// The buffer of an input, all of it.
    ///
    /// # Errors
    /// There is no such input.
    pub fn input(&mut self, input: usize) -> Result<&mut [u8]> {
        let bound = self.inputs.get_mut(input).and_then(|bound| bound.buffer.as_mut());
        bound.map(Buffer::bytes).ok_or_else(|| no_such(input))
    }

    /// The buffer of an output, all of it; for an open one what the last run made, which is nothing before the first.
    ///
    /// # Errors
    /// There is no such output.
    pub fn output(&mut self, output: usize) -> Result<&mut [u8]> {
        let bound = self.outputs.get_mut(output).ok_or_else(|| no_such(output))?;
        match (&mut bound.buffer, &mut bound.value) {
            (Some(buffer), _) => Ok(buffer.bytes()),
            (None, Some(value)) => value.bytes(bound.element),
            (None, None) => Ok(&mut []),
        }
    }

    /// Writes the shape of an open output after a run into `shape`; its rank.
    ///
    /// # Errors
    /// There is no such output, nothing has run, or `shape` is too short.
    pub fn open_output_shape(&self, output: usize, shape: &mut [i64]) -> Result<usize> {
        let value = self.outputs.get(output).and_then(|bound| bound.value.as_ref()).ok_or_else(|| no_such(output))?;
        value.shape(shape)
    }

    /// Runs the model. Returns when it is done.
    ///
    /// # Errors
    /// An operator fails on these values, or an output has another shape than is bound.
    pub fn run(&mut self) -> Result<()> {
        let unbound = |bound: &Bound<B>| bound.value.is_none();
        let without_place = |bound: &Bound<B>| bound.buffer.is_some() && bound.value.is_none();
        if self.inputs.iter().any(unbound) || self.outputs.iter().any(without_place) {
            return Err(Error::run("an input has no buffer, or a buffer has no shape"));
        }
        for output in 0..self.outputs.len() {
            if self.outputs[output].buffer.is_none() {
                // ONNX Runtime would fill what the last run made again, and refuse another shape.
                self.outputs[output].value = None;
                self.leave_output_open(output)?;
            }
        }
        let session = self.raw.session.raw().ptr().cast_mut();
        // SAFETY: session and binding live, as do all values bound; null stands for default options. Runs of one session
        // may happen at the same time, and the binding is this call's alone.
        check(unsafe { (ort::api().RunWithBinding)(session, ptr::null(), self.raw.raw) })?;
        if self.outputs.iter().any(|bound| bound.buffer.is_none()) {
            self.take_open_outputs()?;
        }
        Ok(())
    }

    fn take_open_outputs(&mut self) -> Result<()> {
        let mut allocator: *mut OrtAllocator = ptr::null_mut();
        // SAFETY: gives the process's default allocator, which is never released.
        check(unsafe { (ort::api().GetAllocatorWithDefaultOptions)(&mut allocator) })?;
        let (mut values, mut count) = (ptr::null_mut::<*mut OrtValue>(), 0);
        // SAFETY: writes an array of `count` values, in the order in which outputs were bound, made by that allocator.
        check(unsafe { (ort::api().GetBoundOutputValues)(self.raw.raw, allocator, &mut values, &mut count) })?;
        for index in 0..count {
            // SAFETY: within the array; each value is ours to release, which its owner does.
            let value = Value(unsafe { *values.add(index) });
            match self.outputs.get_mut(index) {
                Some(bound) if bound.buffer.is_none() => bound.value = Some(value),
                _ => drop(value),
            }
        }
        if values.is_null() {
            return Ok(());
        }
        // SAFETY: made by this allocator above, freed once.
        check(unsafe { (ort::api().AllocatorFree)(allocator, values.cast()) })
    }
}

impl<B> fmt::Debug for Binding<B> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Binding({} inputs, {} outputs)", self.inputs.len(), self.outputs.len())
    }
}

fn no_such(index: usize) -> Error {
    Error::run(&format!("nothing is bound to number {index}"))
}

/// ONNX Runtime's object, with the session that it is for.
struct RawBinding {
    raw: *mut OrtIoBinding,
    session: Arc<Session>,
}

impl RawBinding {
    fn new(session: Arc<Session>) -> Result<Self> {
        let mut raw = ptr::null_mut();
        // SAFETY: the session lives and is only read.
        check(unsafe { (ort::api().CreateIoBinding)(session.raw().ptr().cast_mut(), &mut raw) })?;
        Ok(Self { raw, session })
    }
}

impl Drop for RawBinding {
    fn drop(&mut self) {
        // SAFETY: made in `new`, released once, before the session.
        unsafe { (ort::api().ReleaseIoBinding)(self.raw) };
    }
}

/// A tensor of ONNX Runtime.
struct Value(*mut OrtValue);

impl Value {
    /// Bytes of a tensor that ONNX Runtime allocated.
    fn bytes(&mut self, element: ElementType) -> Result<&mut [u8]> {
        let mut shape = [0; 64];
        let rank = self.shape(&mut shape)?;
        let count = shape[..rank].iter().map(|&size| u64::try_from(size).unwrap_or(0)).product();
        let bytes = element.bytes_for(count).unwrap_or(0) as usize;
        let mut data = ptr::null_mut();
        // SAFETY: the value is a tensor that lives.
        check(unsafe { (ort::api().GetTensorMutableData)(self.0, &mut data) })?;
        if bytes == 0 || data.is_null() {
            return Ok(&mut []);
        }
        // SAFETY: a dense tensor of that many elements, which lives as long as the value that is borrowed.
        Ok(unsafe { std::slice::from_raw_parts_mut(data.cast(), bytes) })
    }

    fn shape(&self, shape: &mut [i64]) -> Result<usize> {
        let mut info: *mut OrtTensorTypeAndShapeInfo = ptr::null_mut();
        // SAFETY: the value is a tensor that lives.
        check(unsafe { (ort::api().GetTensorTypeAndShape)(self.0, &mut info) })?;
        let mut rank = 0;
        // SAFETY: the description lives until it is released below; at most `shape.len()` sizes are written.
        let read = unsafe {
            let counted = check((ort::api().GetDimensionsCount)(info, &mut rank));
            let room = rank.min(shape.len());
            let read = counted.and_then(|()| check((ort::api().GetDimensions)(info, shape.as_mut_ptr(), room)));
            (ort::api().ReleaseTensorTypeAndShapeInfo)(info);
            read
        };
        read?;
        if rank > shape.len() { Err(Error::run(&format!("a tensor has {rank} dimensions"))) } else { Ok(rank) }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: owned, released once.
        unsafe { (ort::api().ReleaseValue)(self.0) };
    }
}

/// What ONNX Runtime answered.
fn check(status: OrtStatusPtr) -> Result<()> {
    if status.0.is_null() {
        return Ok(());
    }
    // SAFETY: a status that is not null is an error with a terminated text, and ours to release.
    let text = unsafe {
        let text = CStr::from_ptr((ort::api().GetErrorMessage)(status.0)).to_string_lossy().into_owned();
        (ort::api().ReleaseStatus)(status.0);
        text
    };
    Err(Error::run(&text))
}

fn data_type(element: ElementType) -> Option<ONNXTensorElementDataType> {
    use ONNXTensorElementDataType as T;
    Some(match element {
        ElementType::Float32 => T::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
        ElementType::Float16 => T::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
        ElementType::Int8 => T::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8,
        ElementType::UInt8 => T::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
        ElementType::Int32 => T::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
        ElementType::Int64 => T::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,
        ElementType::Bool => T::ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL,
        _ => return None,
    })
}
