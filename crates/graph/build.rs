//! Generates the protobuf types from `onnx.proto`, with `bytes` fields that point into the mapped file instead of copying.

use protobuf_codegen::{Codegen, Customize};

fn main() {
    println!("cargo:rerun-if-changed=onnx.proto");
    Codegen::new()
        .pure()
        .include(".")
        .input("onnx.proto")
        .customize(Customize::default().tokio_bytes(true).lite_runtime(true))
        .cargo_out_dir("proto")
        .run_from_script();
}
