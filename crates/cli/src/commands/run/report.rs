//! What a run prints.

use super::feed::Feed;
use super::outputs::Written;
use super::runs_text;
use super::statistics::Statistics;
use crate::table::Table;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use trtforge_builder::samples::{Samples, UnreadableTally};
use trtforge_builder::{Shape, Unreadable, format_bytes};
use trtforge_runtime::{Class, Engine, GraphState, Session};

/// All that is told about the runs.
#[derive(Serialize)]
pub struct Report {
    engine: String,
    device: String,
    rows: usize,
    runs: usize,
    batch: usize,
    /// Images, or samples.
    unit: &'static str,
    seconds: f64,
    rows_per_second: f64,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    unreadable: Vec<Unreadable>,
    /// Bytes that were held, by class.
    memory: BTreeMap<&'static str, u64>,
    cuda_graph: String,
}

#[derive(Serialize)]
struct Input {
    name: String,
    element: String,
    shape: Shape,
}

#[derive(Serialize)]
struct Output {
    name: String,
    element: String,
    shape: Vec<u64>,
    file: Option<PathBuf>,
    #[serde(flatten)]
    statistics: Statistics,
}

impl Report {
    pub fn new(
        engine: &Engine,
        session: &Session,
        feed: &Feed,
        samples: &Samples,
        written: Vec<Written>,
        seconds: f64,
        unreadable: &UnreadableTally,
    ) -> Self {
        let unreadable: Vec<Unreadable> = unreadable.images().cloned().collect();
        let rows = samples.rows() - unreadable.len();
        let plan = session.plan();
        let classes = [
            ("weights_bytes", plan[Class::Weights]),
            ("activation_bytes", plan[Class::Activation]),
            ("io_bytes", plan[Class::Io]),
            ("pinned_bytes", plan.pinned_bytes()),
            ("device_bytes", plan.device_bytes()),
        ];
        Self {
            engine: engine.name().to_owned(),
            device: engine.device().to_owned(),
            rows,
            runs: samples.len(),
            batch: samples.batch(),
            unit: samples.unit(),
            seconds,
            rows_per_second: rows as f64 / seconds.max(f64::MIN_POSITIVE),
            inputs: feed
                .inputs
                .iter()
                .map(|input| Input {
                    name: input.name.clone(),
                    element: input.element.to_string(),
                    shape: Shape(input.shape.clone()),
                })
                .collect(),
            outputs: written.into_iter().map(Output::new).collect(),
            unreadable,
            memory: classes.into_iter().collect(),
            cuda_graph: match session.cuda_graph() {
                GraphState::NotAsked => "not asked for".to_owned(),
                GraphState::Inactive(reason) => reason.clone(),
                GraphState::Active => "active".to_owned(),
            },
        }
    }

    /// The report for a person.
    pub fn text(&self) -> String {
        let mut table = Table::new(&["OUTPUT", "TYPE", "SHAPE", ">MIN", ">MAX", ">MEAN", "FILE"]);
        for output in &self.outputs {
            let Statistics { min, max, mean, .. } = &output.statistics;
            let number = |value: &Option<f64>| value.map_or_else(|| "-".to_owned(), significant);
            let file = output.file.as_ref().map_or_else(String::new, |file| file.display().to_string());
            let shape = Shape(output.shape.clone()).to_string();
            table.row([
                output.name.clone(),
                output.element.clone(),
                shape,
                number(min),
                number(max),
                number(mean),
                file,
            ]);
        }
        let broken: String = self
            .outputs
            .iter()
            .filter(|output| output.statistics.non_finite > 0)
            .map(|output| {
                format!(
                    "{} of `{}` are not finite numbers\n",
                    counted_values(output.statistics.non_finite),
                    output.name
                )
            })
            .collect();
        format!(
            "{}\n{broken}{} on {} in {:.2} s ({:.1} {} per second, reading included); {} of memory, {} of it weights\n",
            table.render(),
            runs_text(self.rows, self.unit.trim_end_matches('s'), self.runs),
            self.device,
            self.seconds,
            self.rows_per_second,
            self.unit,
            format_bytes(self.memory["device_bytes"]),
            format_bytes(self.memory["weights_bytes"]),
        )
    }
}

impl Output {
    fn new(written: Written) -> Self {
        let Written { name, element, shape, file, statistics } = written;
        Self { name, element: element.to_string(), shape, file, statistics }
    }
}

fn counted_values(count: u64) -> String {
    if count == 1 { "1 value".to_owned() } else { format!("{count} values") }
}

/// Four significant digits.
fn significant(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        1e-3..1e5 => {
            let digits = (3 - value.abs().log10().floor() as i32).max(0) as usize;
            format!("{value:.digits$}")
        }
        _ => format!("{value:.3e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::significant;

    #[test]
    fn numbers_keep_four_digits() {
        let shown = [0.0, 1.0, -0.012_345, 123_456.0, 99.999, 2e-7].map(significant);
        assert_eq!(shown, ["0", "1.000", "-0.01235", "1.235e5", "100.00", "2.000e-7"]);
    }
}
