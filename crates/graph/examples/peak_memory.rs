//! Peak resident memory of reading, indexing and writing a large model: `cargo run --release --example peak_memory`.
//!
//! Without an argument a model of 170 MB is made first, by another process, so that making it does not count.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use trtforge_graph::construct::{model, node, tensor, tensor_value};
use trtforge_graph::proto::GraphProto;
use trtforge_graph::{ElementType, Graph, Model, Result, ensure_valid};

const LAYERS: usize = 170;
const CHANNELS: u64 = 512;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[1..] {
        ["make", path] => layered(LAYERS).write(Path::new(path)),
        [path] => measure(Path::new(path)),
        _ => measure(&made_by_another_process()),
    }
}

fn made_by_another_process() -> PathBuf {
    let path = std::env::temp_dir().join("trtforge-peak-memory.onnx");
    let program = std::env::current_exe().expect("this program has a path");
    let status = Command::new(program).arg("make").arg(&path).status().expect("it starts");
    assert!(status.success());
    path
}

fn layered(layers: usize) -> Model {
    let shape = [1, CHANNELS, 20, 20];
    let name = |index: usize| format!("v{index}");
    let mut graph = GraphProto { name: Some("layers".to_owned()), ..Default::default() };
    for index in 0..layers {
        let weight = format!("w{index}");
        let values = vec![index as f32; (CHANNELS * CHANNELS) as usize];
        graph.initializer.push(tensor(&weight, [CHANNELS, CHANNELS, 1, 1], values));
        graph.node.push(node("Conv", &format!("conv{index}"), [name(index), weight], [name(index + 1)]));
    }
    graph.input.push(tensor_value("v0", ElementType::Float32, shape));
    graph.output.push(tensor_value(&name(layers), ElementType::Float32, shape));
    Model::from_proto(model(graph, 8, 17))
}

fn measure(path: &Path) -> Result<()> {
    let file_bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let copy = path.with_extension("copy.onnx");
    println!("file      {:8.1} MB", file_bytes as f64 / 1e6);
    let mut step = Instant::now();
    let mut report = |what: &str| {
        let ratio = peak_bytes() as f64 / file_bytes as f64;
        println!(
            "{what:9} {:8.1} MB peak resident, {ratio:.2} x the file, {:.0?}",
            peak_bytes() as f64 / 1e6,
            step.elapsed()
        );
        step = Instant::now();
    };
    report("start");
    let model = Model::read(path)?;
    report("read");
    ensure_valid(&model)?;
    report("checked");
    let graph = Graph::new(model)?;
    report("indexed");
    graph.into_model()?.write(&copy)?;
    report("written");
    let _ = std::fs::remove_file(copy);
    Ok(())
}

/// The most memory that this process has had in use, as the system counts it.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024
}
