//! The libraries this project opens: their file names, what they are for and how to get them.
//!
//! A table and nothing else: searching is in [`crate::search`].

/// A shared library that is looked for by name and major version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Library {
    /// File name without any version, such as `libonnxruntime.so`.
    pub file_name: &'static str,
    /// Major version wanted: `libonnxruntime.so.1.32.0` is of major version 1.
    pub major: u32,
    /// What the library is, in a person's words.
    pub what: &'static str,
    /// What to do when it is missing.
    pub get: &'static str,
}

impl Library {
    /// Name of the library with its major version, such as `libonnxruntime.so.1`.
    #[must_use]
    pub fn versioned_name(&self) -> String {
        format!("{}.{}", self.file_name, self.major)
    }
}

const GET_BY_SETUP: &str = "run `make setup`, which puts it under .deps/lib";

#[cfg(feature = "enterprise")]
const GET_ENTERPRISE: &str = "install TensorRT 11 and set TRTFORGE_LIB_DIR to the folder that holds its libraries";

/// ONNX Runtime.
pub const ONNX_RUNTIME: Library =
    Library { file_name: "libonnxruntime.so", major: 1, what: "ONNX Runtime", get: GET_BY_SETUP };

/// TensorRT: TensorRT-RTX, or TensorRT itself with the `enterprise` feature.
#[cfg(not(feature = "enterprise"))]
pub const TENSORRT: Library =
    Library { file_name: "libtensorrt_rtx.so", major: 1, what: "TensorRT-RTX", get: GET_BY_SETUP };

/// TensorRT: TensorRT-RTX, or TensorRT itself with the `enterprise` feature.
#[cfg(feature = "enterprise")]
pub const TENSORRT: Library = Library { file_name: "libnvinfer.so", major: 11, what: "TensorRT", get: GET_ENTERPRISE };

/// The ONNX parser that belongs to [`TENSORRT`].
#[cfg(not(feature = "enterprise"))]
pub const ONNX_PARSER: Library = Library {
    file_name: "libtensorrt_onnxparser_rtx.so",
    major: 1,
    what: "the ONNX parser of TensorRT-RTX",
    get: GET_BY_SETUP,
};

/// The ONNX parser that belongs to [`TENSORRT`].
#[cfg(feature = "enterprise")]
pub const ONNX_PARSER: Library =
    Library { file_name: "libnvonnxparser.so", major: 11, what: "the ONNX parser of TensorRT", get: GET_ENTERPRISE };
