//! Declarations of this crate's C++ shim (`shim/shim.cpp`) and small conversions at the border.
//!
//! The shim covers what the bindings leave opaque. It keeps nothing between calls.

use std::ffi::{CStr, CString, c_char, c_void};
use std::path::Path;

use trtx_sys::{nvinfer1, nvonnxparser};

use crate::{Error, Result};

/// One error of the ONNX parser; the strings belong to the parser.
#[repr(C)]
pub(crate) struct ParserError {
    pub(crate) code: i32,
    pub(crate) node: i32,
    pub(crate) line: i32,
    pub(crate) description: *const c_char,
    pub(crate) file: *const c_char,
    pub(crate) function: *const c_char,
    pub(crate) node_name: *const c_char,
    pub(crate) node_operator: *const c_char,
}

/// The shim's place for an output whose size only a run tells.
#[repr(C)]
pub(crate) struct RawOutput {
    _private: [u8; 0],
}

unsafe extern "C" {
    pub(crate) fn trtforge_output_create(memory: *mut c_void, bytes: u64) -> *mut RawOutput;
    pub(crate) fn trtforge_output_destroy(output: *mut RawOutput);
    pub(crate) fn trtforge_output_forget(output: *mut RawOutput);
    pub(crate) fn trtforge_output_wanted(output: *const RawOutput) -> u64;
    pub(crate) fn trtforge_output_shape(output: *const RawOutput, sizes: *mut i64, most: i32) -> i32;
    #[cfg(test)]
    pub(crate) fn trtforge_output_run(
        output: *mut RawOutput,
        bytes: u64,
        alignment: u64,
        sizes: *const i64,
        rank: i32,
    ) -> *mut c_void;
    pub(crate) fn trtforge_context_set_output(
        context: *mut nvinfer1::IExecutionContext,
        name: *const c_char,
        output: *mut RawOutput,
    ) -> bool;
    pub(crate) fn trtforge_context_most_output_bytes(
        context: *const nvinfer1::IExecutionContext,
        name: *const c_char,
    ) -> i64;
    #[cfg(not(feature = "enterprise"))]
    pub(crate) fn trtforge_context_capturable(context: *const nvinfer1::IExecutionContext, stream: *mut c_void)
    -> bool;
    pub(crate) fn trtforge_parser_error(
        parser: *const nvonnxparser::IParser,
        index: i32,
        out: *mut ParserError,
    ) -> bool;
    pub(crate) fn trtforge_parser_error_count(parser: *const nvonnxparser::IParser) -> i32;
    pub(crate) fn trtforge_tensor_type(tensor: *const nvinfer1::ITensor) -> i32;
    pub(crate) fn trtforge_engine_tensor_type(engine: *const nvinfer1::ICudaEngine, name: *const c_char) -> i32;
    pub(crate) fn trtforge_engine_tensor_mode(engine: *const nvinfer1::ICudaEngine, name: *const c_char) -> i32;
    pub(crate) fn trtforge_engine_tensor_format(engine: *const nvinfer1::ICudaEngine, name: *const c_char) -> i32;
    pub(crate) fn trtforge_engine_weights_bytes(engine: *const nvinfer1::ICudaEngine) -> i64;
    #[cfg(not(feature = "enterprise"))]
    pub(crate) fn trtforge_engine_validity(
        runtime: *const nvinfer1::IRuntime,
        blob: *const c_void,
        size: i64,
        diagnostics: *mut u64,
    ) -> i32;
    #[cfg(feature = "enterprise")]
    pub(crate) fn trtforge_timing_cache_serialize(cache: *const c_void) -> *mut nvinfer1::IHostMemory;
}

/// Copies a C string of TensorRT; null gives `None`.
///
/// # Safety
/// `text` is null or points to a zero-terminated string that lives through the call.
pub(crate) unsafe fn copied(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not null, and terminated and alive by this function's contract.
    let text = unsafe { CStr::from_ptr(text) };
    Some(text.to_string_lossy().into_owned())
}

/// `text` as a C string.
pub(crate) fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::Name { text: text.to_owned() })
}

/// `path` from the root of the file system on, as a C string; TensorRT takes no relative ones.
pub(crate) fn c_absolute_path(path: &Path) -> Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::Name { text: path.display().to_string() })
}

/// A slice's start as the bindings want it.
pub(crate) fn address<T>(bytes: &[u8]) -> *const T {
    bytes.as_ptr().cast::<c_void>().cast()
}
