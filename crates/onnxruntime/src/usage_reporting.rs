//! Keeps ONNX Runtime from writing a device identifier and a usage database into the home folder.
//!
//! ONNX Runtime 1.32 does so as soon as an environment is made, with telemetry switched off in its options as well; only an environment variable, set
//! before the library is loaded, prevents it.

/// The variable that ONNX Runtime looks at.
const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";

/// Opts this process out, unless the user decided already. To be called first in `main`: where other threads run, nothing is changed, and the answer is `false`.
#[allow(unsafe_code)]
pub fn disable_usage_reporting() -> bool {
    if std::env::var_os(VARIABLE).is_some() {
        return true;
    }
    let threads = std::fs::read_dir("/proc/self/task").map_or(usize::MAX, Iterator::count);
    if threads != 1 {
        return false;
    }
    // SAFETY: this is the only thread of the process, so nothing reads or writes the environment meanwhile.
    unsafe { std::env::set_var(VARIABLE, "1") };
    true
}
