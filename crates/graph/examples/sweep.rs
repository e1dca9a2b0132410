//! Reads, checks, writes and compares every model below a folder: `cargo run --example sweep FOLDER`.

use std::path::{Path, PathBuf};

use trtforge_graph::{Graph, Model, Severity, check};

fn main() {
    let folder = std::env::args().nth(1).expect("a folder");
    let mut files = Vec::new();
    collect(Path::new(&folder), &mut files);
    let copy = std::env::temp_dir().join(format!("trtforge-sweep-{}.onnx", std::process::id()));
    let failed =
        files.iter().filter(|path| one(path, &copy).inspect_err(|e| println!("{}: {e}", path.display())).is_err());
    let failed = failed.count();
    println!("{} of {} models read, checked, indexed and written back unchanged", files.len() - failed, files.len());
    let _ = std::fs::remove_file(copy);
    std::process::exit(i32::from(failed > 0));
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "onnx") {
            files.push(path);
        }
    }
}

fn one(path: &Path, copy: &Path) -> Result<(), String> {
    let model = Model::read(path).map_err(|error| error.to_string())?;
    if let Some(finding) = check(&model).iter().find(|finding| finding.severity == Severity::Error) {
        return Err(finding.to_string());
    }
    model.write(copy).map_err(|error| error.to_string())?;
    let again = Model::read(copy).map_err(|error| error.to_string())?;
    if again.to_bytes().ok() != model.to_bytes().ok() {
        return Err("the copy differs".to_owned());
    }
    let graph = Graph::new(model).map_err(|error| error.to_string())?;
    let nodes = graph.node_count();
    let rebuilt = graph.into_model().map_err(|error| error.to_string())?;
    let same = rebuilt.proto().graph.node.len() == nodes;
    same.then_some(()).ok_or_else(|| "nodes were lost".to_owned())
}
