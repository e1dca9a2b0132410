//! What a report is made from: the manifest, the model if it is still there, and what was measured since.

use super::ReportArgs;
use crate::commands::bench::file as bench_file;
use crate::commands::inspect::engine::{read_manifest, refuse_other_content, refuse_other_length};
use crate::failure::Failure;
use crate::file_kind::{self, FileKind};
use crate::progress::Terminal;
use crate::typed_model;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use trtforge_builder::passes::ResolvedShapes;
use trtforge_builder::{Manifest, Progress, digest};
use trtforge_graph::{Lifetime, Model, Storage, known_lifetimes, memory_plan};
use trtforge_runtime::{bench, monitor};

/// Everything that a page says.
pub struct Sources {
    /// File name of the engine.
    pub name: String,
    /// Its manifest.
    pub manifest: Manifest,
    /// What the model says, or why it says nothing.
    pub model: Result<ModelView, String>,
    /// Throughput and latency.
    pub bench: Option<bench::Report>,
    /// Whether anything leaks.
    pub soak: Option<SoakView>,
    /// Memory over time.
    pub monitor: Option<MonitorView>,
}

/// Memory of the model as it was exported, node after node.
pub struct ModelView {
    /// Where it was found.
    pub path: PathBuf,
    /// Bytes alive at each node.
    pub live_bytes: Vec<u64>,
    /// The node at which most is.
    pub peak: String,
}

/// What `trtforge soak --json` says.
#[derive(Debug, Clone, Deserialize)]
pub struct SoakView {
    /// Inferences.
    pub iterations: u64,
    /// Sessions they were run in.
    pub sessions: u64,
    /// How long it took.
    pub seconds: f64,
    /// What was watched.
    pub watched: Vec<WatchedRow>,
}

/// One thing that was watched.
#[derive(Debug, Clone, Deserialize)]
pub struct WatchedRow {
    /// What.
    pub what: String,
    /// At the beginning.
    pub first: u64,
    /// At the end.
    pub last: u64,
    /// Whether it leaks.
    pub leaks: bool,
    /// The verdict in words.
    pub verdict: String,
}

/// What a recording of memory over time says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct MonitorView {
    /// What kind of file it is.
    kind: String,
    /// What was recorded.
    pub title: String,
    /// Seconds since the start at the end of each point.
    pub to_s: Vec<f64>,
    /// Quantities by name.
    pub series: BTreeMap<String, SeriesView>,
    /// Events.
    #[serde(default)]
    pub marks: Vec<MarkView>,
}

/// One quantity: a value for each point, where it was known.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct SeriesView {
    /// The most within each point.
    pub most: Vec<Option<u64>>,
    /// The last within each point.
    pub last: Vec<Option<u64>>,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct MarkView {
    /// Seconds since the start.
    pub at_s: f64,
    /// What happened.
    pub label: String,
}

impl Sources {
    /// Reads everything.
    ///
    /// # Errors
    /// The engine, its manifest or a file that was named cannot be read, or is something else. A model that is missing is no error.
    pub fn gather(args: &ReportArgs, terminal: &Terminal) -> Result<Self> {
        if file_kind::of(&args.engine)? != FileKind::Engine {
            bail!(
                Failure::input(format!("{} is no engine", args.engine.display())).hint(
                    "`trtforge build MODEL -o OUT.engine` writes one; `trtforge inspect` shows models and caches"
                )
            );
        }
        let manifest = read_manifest(&args.engine)?;
        terminal.step("read");
        let bytes =
            std::fs::metadata(&args.engine).with_context(|| format!("cannot read {}", args.engine.display()))?;
        refuse_other_length(&args.engine, bytes.len(), &manifest)?;
        refuse_other_content(&args.engine, &manifest)?;
        Ok(Self {
            name: args.engine.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            model: model_view(&manifest, &args.engine),
            bench: args.bench.as_deref().map(bench_file::read).transpose()?,
            soak: args.soak.as_deref().map(|path| read_json(path, "output of `trtforge soak --json`")).transpose()?,
            monitor: args.monitor.as_deref().map(recording).transpose()?,
            manifest,
        })
    }
}

fn read_json<T: DeserializeOwned>(path: &Path, what: &str) -> Result<T> {
    let shown = path.display();
    let text = std::fs::read(path).map_err(|error| Failure::input(format!("cannot read {shown}")).because(error))?;
    let parsed = serde_json::from_slice(&text);
    Ok(parsed.map_err(|error| Failure::input(format!("{shown} is no {what}")).because(error))?)
}

/// The model that the manifest names, if it is there and as it was.
fn model_view(manifest: &Manifest, engine: &Path) -> Result<ModelView, String> {
    let named = &manifest.model.path;
    let beside = engine.parent().unwrap_or(Path::new(".")).join(named.file_name().unwrap_or_default());
    let found = [named.clone(), beside].into_iter().find(|path| path.is_file());
    let path = found.ok_or_else(|| format!("there is no {}", named.display()))?;
    match digest::of_model(&path) {
        Ok(sha256) if sha256 == manifest.model.sha256 => {}
        Ok(_) => return Err(format!("{} is not what the engine was built from any more", path.display())),
        Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
    }
    walk(&path, manifest).map_err(|error| format!("{} cannot be walked through: {error:#}", path.display()))
}

fn walk(path: &Path, manifest: &Manifest) -> Result<ModelView> {
    let shapes = ResolvedShapes { ranges: manifest.shapes.clone(), notes: Vec::new() };
    let graph = typed_model::at_largest_shapes(Model::read(path)?, &shapes)?;
    let own: Vec<Lifetime> =
        known_lifetimes(&graph).0.into_iter().filter(|lifetime| lifetime.storage == Storage::Activation).collect();
    let step = memory_plan::lower_bound(&own).step as usize;
    let peak = graph.node_ids().nth(step).map(|node| graph.node_name(node)).unwrap_or_default();
    let live_bytes = memory_plan::live_bytes(&own, graph.node_count() as u32);
    Ok(ModelView { path: path.to_owned(), live_bytes, peak })
}

fn recording(path: &Path) -> Result<MonitorView> {
    const WHAT: &str = "recording of memory over time";
    let recording: MonitorView = read_json(path, WHAT)?;
    if recording.kind != monitor::KIND {
        bail!(Failure::input(format!("{} is no {WHAT}", path.display())));
    }
    Ok(recording)
}
