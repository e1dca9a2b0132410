//! The ONNX reader: whatever the bytes, reading, checking and typing a model must not panic, and what can be read
//! must be written and read again as the same message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trtforge_graph::{Bytes, Graph, Model};

fuzz_target!(|data: &[u8]| {
    let Ok(model) = Model::from_bytes(Bytes::copy_from_slice(data), None) else { return };
    let _ = trtforge_graph::check(&model);
    let written = model.to_bytes().expect("a model that was read can be written");
    let again = Model::from_bytes(written.clone(), None).expect("a model that was written can be read");
    let twice = again.to_bytes().expect("a model that was read can be written");
    assert!(sorted(&twice) == sorted(&written), "the message changed on the way through a file");
    let Ok(graph) = Graph::new(model) else { return };
    let _ = trtforge_graph::lifetimes(&graph);
    let _ = trtforge_graph::statistics(&graph);
    let _ = graph.into_model();
});

/// A message that holds NaN is unequal to itself, and unknown fields are written in no fixed order: what is left to
/// compare is which bytes there are.
fn sorted(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.sort_unstable();
    bytes
}
