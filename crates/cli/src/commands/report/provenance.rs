//! Where the engine comes from: shapes, time that each step took, versions and digests.

use super::elements::{Cell, number, table, text};
use super::sources::Sources;
use maud::{Markup, html};
use trtforge_builder::{Manifest, Stage, StageInfo, format_bytes};

/// The input shapes.
pub fn shapes(manifest: &Manifest) -> Markup {
    let row = |(input, range): (&String, &trtforge_builder::ShapeRange)| {
        vec![text(input), text(range.min.to_string()), text(range.opt.to_string()), text(range.max.to_string())]
    };
    table("Shapes of the inputs", &["Input", "Min", "Opt", "Max"], manifest.shapes.iter().map(row).collect())
}

/// Time of each step, in the order in which they ran.
pub fn timings(manifest: &Manifest) -> Markup {
    let times = &manifest.timings_ms;
    let place = |name: &str| Stage::all().position(|stage| stage.name() == name).unwrap_or(usize::MAX);
    let mut steps: Vec<(&String, f64)> = times.iter().map(|(name, time)| (name, *time)).collect();
    steps.sort_by_key(|(name, _)| (name.as_str() == "total", place(name)));
    let longest = steps.iter().filter(|(name, _)| *name != "total").map(|(_, time)| *time).fold(0.0, f64::max);
    let cell = |name: &str, time: f64| match name {
        "total" => number(milliseconds(time)),
        _ => Cell::Bar(milliseconds(time), time / longest),
    };
    let rows = steps.into_iter().map(|(name, time)| vec![text(name), cell(name, time)]).collect();
    table("Time that each step of the build took", &["Step", ">Time"], rows)
}

fn milliseconds(time: f64) -> String {
    if time >= 1000.0 { format!("{:.2} s", time / 1e3) } else { format!("{time:.1} ms") }
}

/// Parts that are loaded one after another.
pub fn stages(stages: &[StageInfo]) -> Option<Markup> {
    let row = |(index, stage): (usize, &StageInfo)| {
        let figures = [stage.weights_bytes, stage.activation_bytes, stage.boundary_bytes];
        let figures = figures.map(|bytes| number(format_bytes(bytes)));
        [number(index + 1), text(&stage.file)].into_iter().chain(figures).chain([text(&stage.sha256)]).collect()
    };
    let headers = [">Stage", "File", ">Weights", ">Activation", ">Handed on", "SHA-256"];
    let rows: Vec<Vec<Cell>> = stages.iter().enumerate().map(row).collect();
    (!rows.is_empty()).then(|| table("Parts that are loaded one after another", &headers, rows))
}

/// Versions, limits and digests.
pub fn origin(sources: &Sources) -> Markup {
    let manifest = &sources.manifest;
    let capabilities = match manifest.compute_capabilities.as_slice() {
        [] => "TensorRT's default".to_owned(),
        some => some.join(", "),
    };
    let mut rows = vec![
        ("Built by", format!("trtforge {}", manifest.trtforge)),
        ("TensorRT", format!("{} {}", manifest.tensorrt.flavour, manifest.tensorrt.version)),
        ("Engine, SHA-256", manifest.engine.sha256.clone()),
        ("Model", format!("{} (opset {})", manifest.model.path.display(), manifest.model.opset)),
        ("Model, SHA-256", manifest.model.sha256.clone()),
        ("Compute capabilities", capabilities),
        ("Workspace limit", format_bytes(manifest.workspace_bytes)),
        ("Auxiliary streams", manifest.auxiliary_streams.to_string()),
        ("Fingerprint of all inputs", manifest.fingerprint.clone()),
    ];
    if let Some(form) = &manifest.form {
        let banded = form.bandings.iter().map(|banding| format!("up to {} in {} bands", banding.end, banding.bands));
        let merged = [(form.merge_siblings, "siblings merged"), (form.split_concatenations, "concatenations split")];
        let merged = merged.into_iter().filter(|(done, _)| *done).map(|(_, what)| what.to_owned());
        rows.push(("Laid out anew", merged.chain(banded).collect::<Vec<_>>().join("; ")));
    }
    let rows = rows.into_iter().map(|(what, value)| vec![text(what), text(value)]).collect();
    html! { (table("What the engine was made from and for", &["What", "Value"], rows)) }
}
