//! What the examples have in common: the model's path as the only argument, and inputs filled with something.

use std::path::Path;
use std::process::ExitCode;

use trtforge_runtime::{ElementType, Error, Result, Slot, TensorInfo};

/// Runs an example on the model that the command line names.
pub fn with_model(run: impl FnOnce(&Path) -> Result<()>) -> ExitCode {
    // Before any other thread: otherwise ONNX Runtime keeps a usage database in the home folder.
    #[cfg(feature = "onnx")]
    trtforge_onnxruntime::disable_usage_reporting();
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let Some(model) = arguments.next() else {
        let program = Path::new(&program).file_name().unwrap_or_default().display().to_string();
        eprintln!("usage: {program} MODEL  (an .onnx file runs on the CPU, an .engine file on a GPU)");
        return ExitCode::from(2);
    };
    match run(Path::new(&model)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&error);
            ExitCode::FAILURE
        }
    }
}

/// Prints an error with its causes and what to do next.
fn tell(error: &Error) {
    eprintln!("error: {error}");
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.for_each(|cause| eprintln!("  because {cause}"));
    if let Some(hint) = error.hint() {
        eprintln!("hint: {hint}");
    }
}

/// Values for a tensor of that many bytes: a ramp from 0 to 1 where its type has fractions, zeros elsewhere.
pub fn ramp(tensor: &TensorInfo, bytes: usize) -> Vec<u8> {
    match tensor.element {
        ElementType::Float32 => {
            let count = bytes / size_of::<f32>();
            (0..count).flat_map(|index| (index as f32 / count as f32).to_ne_bytes()).collect()
        }
        _ => vec![0; bytes],
    }
}

/// Writes [`ramp`] to every input of a slot.
#[allow(dead_code, reason = "not every example writes to a session itself")]
pub fn fill(slot: &mut Slot<'_>, inputs: &[TensorInfo]) -> Result<()> {
    for input in inputs {
        let bytes = input.bytes_at(&slot.input_shape(&input.name)?).unwrap_or(0);
        slot.write_input(&input.name, &ramp(input, bytes as usize))?;
    }
    Ok(())
}
