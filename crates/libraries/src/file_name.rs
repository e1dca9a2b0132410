//! Reading the version out of a shared library's file name.
//!
//! Pure functions over names, so the choice between several versions in one folder can be tested
//! without files. It never looks at a file's content.

use crate::Library;

/// What a file name is to a wanted library.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Match {
    /// The same library of another major version.
    OtherMajor,
    /// The name without a version: usable, but any versioned name says more.
    Unversioned,
    /// A suitable version, most significant number first.
    Version(Vec<u32>),
}

/// Compares `name` with the file names that `library` may have; `None` when it is something else.
pub(crate) fn classify(name: &str, library: &Library) -> Option<Match> {
    let rest = name.strip_prefix(library.file_name)?;
    if rest.is_empty() {
        return Some(Match::Unversioned);
    }
    let version = rest.strip_prefix('.')?.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u32>>>()?;
    match version.first() {
        Some(major) if *major == library.major => Some(Match::Version(version)),
        _ => Some(Match::OtherMajor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ONNX_RUNTIME;

    #[test]
    fn names_are_told_apart() {
        let classify = |name| classify(name, &ONNX_RUNTIME);
        assert_eq!(classify("libonnxruntime.so"), Some(Match::Unversioned));
        assert_eq!(classify("libonnxruntime.so.1.32.0"), Some(Match::Version(vec![1, 32, 0])));
        assert_eq!(classify("libonnxruntime.so.2"), Some(Match::OtherMajor));
        assert_eq!(classify("libonnxruntime.so.1.32.0.part"), None);
        assert_eq!(classify("libonnxruntime.so."), None);
        assert_eq!(classify("libonnxruntime.so1"), None);
        assert_eq!(classify("libonnxruntime_providers_shared.so"), None);
    }

    #[test]
    fn a_newer_version_ranks_above_and_numbers_are_not_text() {
        let version = |name| classify(name, &ONNX_RUNTIME).expect("a version of the library");
        assert!(version("libonnxruntime.so.1.32.0") > version("libonnxruntime.so.1.4.0"));
        assert!(version("libonnxruntime.so.1") > version("libonnxruntime.so"));
        assert!(version("libonnxruntime.so") > version("libonnxruntime.so.7"));
    }
}
