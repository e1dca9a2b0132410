//! Which kind of failure an error is, and what its hint is.
//!
//! The first error of the chain that is known decides. An error nobody knows counts as a failed run (exit 1). Library
//! errors that pass another library's error on are looked into here, because `transparent` hides them from the chain.

use super::Failure;
use serde::Serialize;
use std::io::ErrorKind;
use trtforge_builder::Error as BuilderError;
use trtforge_graph::Error as GraphError;
use trtforge_onnxruntime::Error as OnnxRuntimeError;
use trtforge_runtime::Error as RuntimeError;
use trtforge_tensorrt::Error as TensorRtError;
use trtforge_vision::Error as VisionError;

/// Kinds of failure, one per exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A check did not hold, or the work failed for a reason of its own.
    CheckFailed,
    /// Wrong usage.
    Usage,
    /// Something is missing on this machine.
    Missing,
    /// A bad input file.
    BadInput,
    /// Stopped by the user.
    Interrupted,
}

impl Kind {
    /// The exit code, as documented in `trtforge --help`.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::CheckFailed => 1,
            Self::Usage => 2,
            Self::Missing => 3,
            Self::BadInput => 4,
            Self::Interrupted => 130,
        }
    }
}

type Cause<'a> = &'a (dyn std::error::Error + 'static);

/// Kind and hint of an error: each from the first error of the chain that has one.
pub fn classify(error: &anyhow::Error) -> (Kind, Option<String>) {
    let kind = error.chain().find_map(kind_of).unwrap_or(Kind::CheckFailed);
    (kind, error.chain().find_map(hint_of))
}

fn kind_of(cause: Cause<'_>) -> Option<Kind> {
    if let Some(failure) = cause.downcast_ref::<Failure>() {
        return Some(failure.kind);
    }
    if let Some(error) = cause.downcast_ref() {
        return Some(of_builder(error));
    }
    if let Some(error) = cause.downcast_ref() {
        return Some(of_graph(error));
    }
    if let Some(error) = cause.downcast_ref() {
        return Some(of_onnx_runtime(error));
    }
    if let Some(error) = cause.downcast_ref() {
        return Some(of_tensorrt(error));
    }
    if let Some(error) = cause.downcast_ref() {
        return Some(of_runtime(error));
    }
    if let Some(error) = cause.downcast_ref() {
        return Some(of_vision(error));
    }
    if cause.is::<trtforge_zoo::Error>() {
        return Some(Kind::Usage);
    }
    cause.downcast_ref().map(of_io)
}

/// An I/O error on something the user named as a place to write to.
fn of_io(error: &std::io::Error) -> Kind {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::OutOfMemory => Kind::Missing,
        ErrorKind::NotFound
        | ErrorKind::PermissionDenied
        | ErrorKind::IsADirectory
        | ErrorKind::NotADirectory
        | ErrorKind::AlreadyExists
        | ErrorKind::InvalidFilename
        | ErrorKind::ReadOnlyFilesystem => Kind::Usage,
        _ => Kind::CheckFailed,
    }
}

fn of_builder(error: &BuilderError) -> Kind {
    match error {
        BuilderError::Cancelled | BuilderError::CalibrationInterrupted { .. } => Kind::Interrupted,
        BuilderError::Usage(_)
        | BuilderError::NoCalibrationData
        | BuilderError::NoCache { .. }
        | BuilderError::Shape { .. }
        | BuilderError::PrecisionUnavailable { .. }
        | BuilderError::Busy { .. } => Kind::Usage,
        BuilderError::AccuracyFloor(_)
        | BuilderError::Unjudged { .. }
        | BuilderError::Workspace { .. }
        | BuilderError::MemoryBudget(_) => Kind::CheckFailed,
        BuilderError::Write { source, .. } => of_io(source),
        BuilderError::Model { source, .. } | BuilderError::Pass { source, .. } => of_graph(source),
        BuilderError::OnnxRuntime(error) => of_onnx_runtime(error),
        BuilderError::TensorRt(error) => of_tensorrt(error),
        _ => Kind::BadInput,
    }
}

fn of_graph(error: &GraphError) -> Kind {
    match error {
        GraphError::Io { action: "write", source, .. } => of_io(source),
        _ => Kind::BadInput,
    }
}

fn of_onnx_runtime(error: &OnnxRuntimeError) -> Kind {
    match error {
        OnnxRuntimeError::Missing(_)
        | OnnxRuntimeError::Unusable(_)
        | OnnxRuntimeError::Load { .. }
        | OnnxRuntimeError::WrongLibrary { .. }
        | OnnxRuntimeError::TooOld { .. }
        | OnnxRuntimeError::Start { .. }
        | OnnxRuntimeError::Temporary { .. } => Kind::Missing,
        OnnxRuntimeError::Graph(error) => of_graph(error),
        _ => Kind::BadInput,
    }
}

fn of_tensorrt(error: &TensorRtError) -> Kind {
    match error {
        TensorRtError::Cancelled => Kind::Interrupted,
        TensorRtError::Missing(_)
        | TensorRtError::Unusable(_)
        | TensorRtError::Open { .. }
        | TensorRtError::Symbol { .. }
        | TensorRtError::Version { .. }
        | TensorRtError::NoDevice(_) => Kind::Missing,
        TensorRtError::Parse { .. } | TensorRtError::Weights { .. } | TensorRtError::Deserialize { .. } => {
            Kind::BadInput
        }
        TensorRtError::Profile { .. }
        | TensorRtError::Setting { .. }
        | TensorRtError::EmptyPool { .. }
        | TensorRtError::PoolLimit { .. } => Kind::Usage,
        _ => Kind::CheckFailed,
    }
}

fn of_runtime(error: &RuntimeError) -> Kind {
    match error {
        RuntimeError::NoGpu { .. } => Kind::Missing,
        RuntimeError::UnknownTensor { .. }
        | RuntimeError::OutsideProfiles { .. }
        | RuntimeError::NoCommonProfile { .. }
        | RuntimeError::OpenShape { .. }
        | RuntimeError::Request { .. } => Kind::Usage,
        RuntimeError::Io { action: "write" | "use", source, .. } => of_io(source),
        RuntimeError::Unfit { .. }
        | RuntimeError::Io { .. }
        | RuntimeError::NoProcess { .. }
        | RuntimeError::Shown { .. } => Kind::BadInput,
        RuntimeError::Onnx(error) => of_onnx_runtime(error),
        RuntimeError::Model(error) => of_graph(error),
        RuntimeError::TensorRt(error) => of_tensorrt(error),
        RuntimeError::Batch { source, .. } => of_runtime(source),
        RuntimeError::Stage { source, .. } => of_runtime(source),
        _ => Kind::CheckFailed,
    }
}

fn of_vision(error: &VisionError) -> Kind {
    match error {
        VisionError::BadSetting { .. }
        | VisionError::BadSize { .. }
        | VisionError::UnknownDecoder { .. }
        | VisionError::SeveralDecoders { .. }
        | VisionError::DecoderUnfit { .. } => Kind::Usage,
        VisionError::OutputChanged { .. } | VisionError::Encode { .. } => Kind::CheckFailed,
        _ => Kind::BadInput,
    }
}

fn hint_of(cause: Cause<'_>) -> Option<String> {
    if let Some(failure) = cause.downcast_ref::<Failure>() {
        return failure.hint.clone();
    }
    cause
        .downcast_ref::<BuilderError>()
        .and_then(BuilderError::hint)
        .or_else(|| cause.downcast_ref::<GraphError>().and_then(GraphError::hint))
        .or_else(|| cause.downcast_ref::<OnnxRuntimeError>().and_then(OnnxRuntimeError::hint))
        .or_else(|| cause.downcast_ref::<TensorRtError>().and_then(TensorRtError::hint))
        .or_else(|| cause.downcast_ref::<RuntimeError>().and_then(RuntimeError::hint))
        .or_else(|| cause.downcast_ref::<VisionError>().and_then(VisionError::hint))
        .or_else(|| cause.downcast_ref::<trtforge_zoo::Error>().and_then(trtforge_zoo::Error::hint))
        .or_else(|| match cause.downcast_ref::<std::io::Error>()?.kind() {
            ErrorKind::StorageFull => Some("free some space, or write somewhere else".to_owned()),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Error as IoError;
    use std::path::PathBuf;

    fn kind(error: impl std::error::Error + Send + Sync + 'static) -> Kind {
        classify(&anyhow::Error::new(error)).0
    }

    fn write(kind: ErrorKind) -> BuilderError {
        BuilderError::Write { path: PathBuf::from("out.engine"), source: IoError::from(kind) }
    }

    #[test]
    fn a_full_disk_is_missing_space_and_a_wrong_place_is_wrong_usage() {
        assert_eq!(kind(write(ErrorKind::StorageFull)), Kind::Missing);
        assert_eq!(kind(write(ErrorKind::PermissionDenied)), Kind::Usage);
        let emitted = GraphError::Io {
            action: "write",
            path: PathBuf::from("out.onnx"),
            source: IoError::from(ErrorKind::StorageFull),
        };
        assert_eq!(kind(BuilderError::Model { path: PathBuf::new(), source: Box::new(emitted) }), Kind::Missing);
    }

    #[test]
    fn errors_passed_on_keep_their_kind_and_hint() {
        let library = trtforge_libraries::Search::default().find(&trtforge_libraries::ONNX_RUNTIME);
        let missing = BuilderError::OnnxRuntime(OnnxRuntimeError::Missing(library.expect_err("no folders to look in")));
        let (kind, hint) = classify(&anyhow::Error::new(missing).context("while verifying"));
        assert_eq!(kind, Kind::Missing);
        assert!(hint.is_some_and(|hint| hint.contains("make setup")));
    }

    #[test]
    fn a_stage_that_fails_is_what_made_it_fail() {
        let of_stage =
            |source| RuntimeError::Stage { stage: 1, stages: 2, name: "it".into(), source: Box::new(source) };
        assert_eq!(kind(of_stage(RuntimeError::NoGpu { reason: "none".into() })), Kind::Missing);
        assert_eq!(kind(of_stage(RuntimeError::Run { reason: "no".into() })), Kind::CheckFailed);
    }

    #[test]
    fn interruption_has_its_own_code() {
        assert_eq!(kind(BuilderError::Cancelled).exit_code(), 130);
        assert_eq!(kind(BuilderError::TensorRt(TensorRtError::Cancelled)).exit_code(), 130);
    }

    #[test]
    fn an_unknown_error_is_a_failed_run() {
        assert_eq!(classify(&anyhow::anyhow!("what?")).0.exit_code(), 1);
    }
}
