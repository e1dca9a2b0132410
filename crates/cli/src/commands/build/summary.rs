//! What a build came to, in a few lines.

use crate::accuracy;
use crate::table::{Table, pairs};
use serde_json::{Value, json};
use trtforge_builder::{BuildOutcome, Manifest, counted, format_bytes};

/// The manifest with where it is and whether anything was done.
pub fn json(outcome: &BuildOutcome) -> Value {
    json!({ "engine": outcome.engine, "up_to_date": outcome.up_to_date, "manifest": outcome.manifest })
}

/// The summary for people.
pub fn text(outcome: &BuildOutcome) -> String {
    let manifest = &outcome.manifest;
    let size = format_bytes(manifest.engine.bytes);
    let state = if outcome.up_to_date { "  up to date: nothing has changed (--force builds anyway)" } else { "" };
    let mut lines = vec![
        ("engine", format!("{}  {size}{state}", outcome.engine.display())),
        ("TensorRT", format!("{} {}", manifest.tensorrt.flavour, manifest.tensorrt.version)),
        ("precision", precision(manifest)),
    ];
    lines.extend(calibration(manifest).map(|text| ("calibration", text)));
    lines.extend([("memory", memory(manifest)), ("time", times(manifest))]);
    pairs(&lines) + &stages(manifest) + &verification(manifest) + &kept(manifest)
}

/// What each stage takes while it runs.
fn stages(manifest: &Manifest) -> String {
    if manifest.stages.is_empty() {
        return String::new();
    }
    let headers = ["STAGE", ">WEIGHTS", ">ACTIVATION", ">BETWEEN STAGES", ">TOTAL", "FILE"];
    let mut table = Table::new(&headers);
    for (number, stage) in (1..).zip(&manifest.stages) {
        let parts = [stage.weights_bytes, stage.activation_bytes, stage.boundary_bytes];
        let bytes = parts.into_iter().chain([parts.iter().sum()]).map(format_bytes);
        table.row([number.to_string()].into_iter().chain(bytes).chain([stage.file.clone()]));
    }
    format!("\n{}", table.render())
}

fn precision(manifest: &Manifest) -> String {
    let nodes = &manifest.precision.nodes;
    let counts = [("fp32", nodes.fp32), ("fp16", nodes.fp16), ("int8", nodes.int8)];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{} {name}", counted(*count, "node")))
        .collect();
    let share =
        manifest.precision.int8_flops.map(|share| format!("; {:.1} % of the arithmetic in int8", 100.0 * share));
    format!("{}: {}{}", manifest.precision.requested, counts.join(", "), share.unwrap_or_default())
}

/// What INT8 was calibrated on, and what was done about it.
fn calibration(manifest: &Manifest) -> Option<String> {
    let calibration = manifest.calibration.as_ref()?;
    let repaired = match calibration.tensors.len() {
        0 => String::new(),
        count => format!("; {} got another threshold, centre or size per channel", counted(count, "tensor")),
    };
    let made = match calibration.images {
        0 => "scales of a cache made elsewhere".to_owned(),
        count => format!("{} on {}", calibration.method, counted(count, "sample")),
    };
    Some(made + &repaired)
}

/// Nodes with weights that were left above INT8, with the reason.
fn kept(manifest: &Manifest) -> String {
    if manifest.precision.int8_flops.is_none() || manifest.precision.kept.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["KEPT ABOVE INT8", "REASON"]);
    manifest.precision.kept.iter().for_each(|kept| table.row([kept.node.clone(), kept.reason.clone()]));
    format!("\n{}", table.render())
}

fn memory(manifest: &Manifest) -> String {
    let memory = &manifest.memory;
    let peak = if manifest.stages.is_empty() { "" } else { " at the peak" };
    format!(
        "{}{peak} = weights {} + activation {} + inputs and outputs {}",
        format_bytes(memory.total_bytes),
        format_bytes(memory.weights_bytes),
        format_bytes(memory.activation_bytes),
        format_bytes(memory.io_bytes)
    )
}

/// Steps that took long enough to be worth a line.
const WORTH_MENTIONING_MS: f64 = 50.0;

fn times(manifest: &Manifest) -> String {
    let times = &manifest.timings_ms;
    let mut steps: Vec<(&str, f64)> = times.iter().map(|(name, time)| (name.as_str(), *time)).collect();
    steps.retain(|(name, time)| *name != "total" && *time >= WORTH_MENTIONING_MS);
    steps.sort_by(|one, other| other.1.total_cmp(&one.1));
    let total = times.get("total").copied().unwrap_or_else(|| times.values().sum());
    let steps: Vec<String> = steps.iter().map(|(name, time)| format!("{name} {}", seconds(*time))).collect();
    match steps.as_slice() {
        [] => seconds(total),
        steps => format!("{}: {}", seconds(total), steps.join(", ")),
    }
}

fn seconds(milliseconds: f64) -> String {
    format!("{:.1} s", milliseconds / 1e3)
}

fn verification(manifest: &Manifest) -> String {
    if manifest.accuracy.is_empty() {
        return "not verified\n".to_owned();
    }
    let mut table = Table::new(&accuracy::HEADERS);
    manifest.accuracy.iter().for_each(|output| table.row(accuracy::cells(output)));
    let on = manifest.verified_on.as_deref().unwrap_or("unknown inputs");
    format!("\nagainst the fp32 model on {on}:\n{}", table.render())
}
