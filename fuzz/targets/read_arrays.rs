//! NumPy files as sample inputs: whatever the file holds, shapes and samples come out or an error does.
//!
//! The first byte says whether the rest is an `.npy` or an `.npz`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use trtforge_builder::SampleSource;
use trtforge_builder::samples::{SampleInput, Samples};
use trtforge_graph::ElementType;

/// Larger samples would only fill memory.
const MOST_ELEMENTS: u64 = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let Some((&kind, file)) = data.split_first() else { return };
    let name = format!("trtforge-fuzz-{}.{}", std::process::id(), if kind % 2 == 0 { "npy" } else { "npz" });
    let path: PathBuf = ["/dev/shm", &name].iter().collect();
    if std::fs::write(&path, file).is_err() {
        return;
    }
    let source = SampleSource::Path(path.clone());
    if let Ok(Some(shapes)) = source.array_shapes(&["x"])
        && shapes[0].iter().try_fold(1u64, |count, &size| count.checked_mul(size)).is_some_and(|it| it <= MOST_ELEMENTS)
    {
        for element in [ElementType::Float32, ElementType::Int64, ElementType::Bool] {
            let inputs = vec![SampleInput { name: "x".into(), element, shape: shapes[0].clone() }];
            if let Ok(samples) = Samples::open(&source, None, None, inputs) {
                for batch in 0..samples.len().min(4) {
                    let _ = samples.get(batch);
                }
            }
        }
    }
    let _ = std::fs::remove_file(&path);
});
