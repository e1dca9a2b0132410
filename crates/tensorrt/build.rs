//! Compiles the C++ shim against the headers that trtx-sys carries.
//!
//! trtx-sys does not tell its dependents where its headers lie, so Cargo is asked for its folder.
//! `TENSORRT_INCLUDE_DIR` overrides them, as it does in trtx-sys itself. It never links TensorRT.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=shim/shim.cpp");
    println!("cargo::rerun-if-env-changed=TENSORRT_INCLUDE_DIR");
    let bundled = bundled_headers();
    let flavour = if env::var_os("CARGO_FEATURE_ENTERPRISE").is_some() { "TRT-Enterprise-11.4" } else { "TRT-RTX-1.7" };
    let headers = env::var_os("TENSORRT_INCLUDE_DIR").map_or_else(|| bundled.join(flavour), PathBuf::from);
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .file("shim/shim.cpp")
        .flag(format!("-isystem{}", headers.display()))
        .flag(format!("-isystem{}", bundled.display()))
        .flag_if_supported("-Wno-deprecated-declarations")
        .compile("trtforge_tensorrt_shim");
}

/// The folder of headers inside the trtx-sys that this build uses.
fn bundled_headers() -> PathBuf {
    // Packages that only other platforms or other targets of the workspace need are often not downloaded: the
    // platform keeps the former out, and only where the latter are missing is Cargo allowed to fetch them.
    let metadata = metadata(&["--offline"]).or_else(|_| metadata(&[])).unwrap_or_else(|error| panic!("{error}"));
    let manifest = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == "trtx-sys")
        .and_then(|package| package["manifest_path"].as_str())
        .expect("trtx-sys is a dependency of this crate");
    let folder = Path::new(manifest).parent().expect("a manifest lies in a folder");
    folder.join("TensorRT-Headers")
}

/// What Cargo knows about the workspace's packages on the platform that is built for.
fn metadata(options: &[&str]) -> Result<serde_json::Value, String> {
    let cargo = env::var_os("CARGO").expect("Cargo sets CARGO for build scripts");
    let target = env::var("TARGET").expect("Cargo sets TARGET for build scripts");
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--filter-platform", &target])
        .args(options)
        .output()
        .expect("cargo metadata runs");
    if !output.status.success() {
        return Err(format!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON"))
}
