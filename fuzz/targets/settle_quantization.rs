//! Models that carry Q/DQ: whatever they say of their own quantization, it is settled or refused with reasons, and what
//! was settled needs no settling again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trtforge_builder::Error;
use trtforge_builder::quantization::existing::{Existing, recognise, settle};
use trtforge_graph::{Bytes, Graph, Model};

fuzz_target!(|data: &[u8]| {
    let Ok(model) = Model::from_bytes(Bytes::copy_from_slice(data), None) else { return };
    let Ok(mut graph) = Graph::new(model) else { return };
    match settle(&mut graph, &()) {
        Ok(Existing::Convertible(findings)) => {
            assert!(!findings.is_empty(), "a conversion without a place that changes");
            assert!(!matches!(recognise(&graph), Existing::Convertible(_)), "it is converted halfway");
        }
        Ok(Existing::Refused(_)) => panic!("refused, and passed on"),
        Err(Error::Quantized { findings }) => assert!(!findings.is_empty(), "refused without a reason"),
        Ok(Existing::None | Existing::TensorRtReady) | Err(_) => {}
    }
});
