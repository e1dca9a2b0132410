//! Two reports side by side. Pure.

use serde::Serialize;

use super::report::{Mode, Report, Run};

/// Two reports side by side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// What is within chance, as a part of the first figure: 0.05 is 5 %.
    pub noise: f64,
    /// Measurements of equal mode and shapes, in the order of the first report.
    pub pairs: Vec<Pair>,
    /// Measurements that only one report has.
    pub unmatched: Vec<Unmatched>,
    /// What makes the figures of the two less comparable, such as another processor.
    pub differences: Vec<String>,
    /// Whether any figure became worse by more than the noise.
    pub regression: bool,
}

/// A measurement that both reports have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pair {
    /// How it was made.
    pub mode: Mode,
    /// Inferences per second: more is better.
    pub throughput: Metric,
    /// 99th percentile of the latency in microseconds: less is better. Absent where one of them has none.
    pub p99: Option<Metric>,
}

/// A figure in both reports.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Metric {
    /// In the first report.
    pub before: f64,
    /// In the second.
    pub after: f64,
    /// The second as a multiple of the first; absent where the first is zero.
    pub ratio: Option<f64>,
    /// Whether it became worse by more than the noise.
    pub worse: bool,
    /// Whether it became better by more than the noise.
    pub better: bool,
}

/// A measurement that only one report has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unmatched {
    /// How it was made.
    pub mode: Mode,
    /// Whether the first report is the one that has it.
    pub in_first: bool,
}

/// Compares a report with an earlier one. A figure is worse where it is beyond `noise`, which is a part of the earlier
/// figure.
#[must_use]
pub fn compare(before: &Report, after: &Report, noise: f64) -> Comparison {
    let mut left: Vec<&Run> = after.runs.iter().collect();
    let (mut pairs, mut unmatched) = (Vec::new(), Vec::new());
    for run in &before.runs {
        match left.iter().position(|other| other.mode == run.mode && other.shapes == run.shapes) {
            Some(index) => pairs.push(Pair::of(run, left.remove(index), noise)),
            None => unmatched.push(Unmatched { mode: run.mode.clone(), in_first: true }),
        }
    }
    unmatched.extend(left.into_iter().map(|run| Unmatched { mode: run.mode.clone(), in_first: false }));
    let regression = pairs.iter().any(Pair::is_worse);
    Comparison { noise, pairs, unmatched, differences: differences(before, after), regression }
}

impl Pair {
    fn of(before: &Run, after: &Run, noise: f64) -> Self {
        let p99 = before.latency_us.as_ref().zip(after.latency_us.as_ref());
        Self {
            mode: before.mode.clone(),
            throughput: Metric::more_is_better(
                before.throughput.inferences_per_s,
                after.throughput.inferences_per_s,
                noise,
            ),
            p99: p99.map(|(before, after)| Metric::less_is_better(before.p99, after.p99, noise)),
        }
    }

    /// Whether a figure of it became worse by more than the noise.
    #[must_use]
    pub fn is_worse(&self) -> bool {
        self.throughput.worse || self.p99.is_some_and(|p99| p99.worse)
    }
}

impl Metric {
    fn more_is_better(before: f64, after: f64, noise: f64) -> Self {
        let (worse, better) = (after < before * (1.0 - noise), after > before * (1.0 + noise));
        Self { before, after, ratio: ratio(before, after), worse, better }
    }

    fn less_is_better(before: f64, after: f64, noise: f64) -> Self {
        let (worse, better) = (after > before * (1.0 + noise), after < before * (1.0 - noise));
        Self { before, after, ratio: ratio(before, after), worse, better }
    }
}

fn ratio(before: f64, after: f64) -> Option<f64> {
    (before > 0.0).then(|| after / before)
}

fn differences(before: &Report, after: &Report) -> Vec<String> {
    let named = |gpu: &Report| gpu.machine.gpu.as_ref().map(|gpu| gpu.name.clone());
    let processors = |report: &Report| Some(report.machine.processors.to_string());
    let threads = |report: &Report| Some(report.machine.threads.to_string());
    let (one, two) = (&before.machine, &after.machine);
    let facts = [
        ("device", Some(before.engine.device.clone()), Some(after.engine.device.clone())),
        ("GPU", named(before), named(after)),
        ("processor", one.cpu.clone(), two.cpu.clone()),
        ("processors", processors(before), processors(after)),
        ("threads", threads(before), threads(after)),
        ("TensorRT", one.versions.tensorrt.clone(), two.versions.tensorrt.clone()),
        ("ONNX Runtime", one.versions.onnx_runtime.clone(), two.versions.onnx_runtime.clone()),
    ];
    let text = |fact: Option<String>| fact.unwrap_or_else(|| "none".to_owned());
    let different = facts.into_iter().filter(|(_, before, after)| before != after);
    different.map(|(what, before, after)| format!("{what}: {}, then {}", text(before), text(after))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{report, run};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn figures_beyond_the_noise_are_told_apart_by_direction() {
        let before = report(vec![run(1, 100.0, Some(50.0)), run(4, 300.0, Some(90.0)), run(8, 400.0, None)]);
        let after = report(vec![run(4, 280.0, Some(80.0)), run(1, 97.0, Some(52.0)), run(16, 1.0, None)]);
        let comparison = compare(&before, &after, 0.05);
        let verdicts: Vec<_> = comparison
            .pairs
            .iter()
            .map(|pair| (pair.mode.batch, pair.is_worse(), pair.p99.map(|it| it.better)))
            .collect();
        assert_eq!(verdicts, [(1, false, Some(false)), (4, true, Some(true))]);
        assert!(comparison.pairs[1].throughput.worse && comparison.regression);
        let alone: Vec<_> = comparison.unmatched.iter().map(|it| (it.mode.batch, it.in_first)).collect();
        assert_eq!(alone, [(8, true), (16, false)]);
        assert!(!compare(&before, &after, 0.08).regression, "within a wider noise");
        let slower = report(vec![run(1, 100.0, Some(53.0))]);
        assert!(compare(&before, &slower, 0.05).regression, "latency alone");
    }

    #[test]
    fn shapes_must_agree_and_what_differs_about_the_machine_is_said() {
        let mut before = report(vec![run(1, 100.0, None)]);
        let mut after = before.clone();
        after.machine.cpu = Some("another".to_owned());
        before.runs[0].shapes.insert("x".to_owned(), "1x3".to_owned());
        let comparison = compare(&before, &after, 0.05);
        assert_eq!((comparison.pairs.len(), comparison.unmatched.len(), comparison.regression), (0, 2, false));
        assert_eq!(comparison.differences, ["processor: none, then another"]);
    }

    proptest! {
        #[test]
        fn a_report_is_no_worse_than_itself_and_better_one_way_is_worse_the_other(
            a in 1.0f64..1e6, b in 1.0f64..1e6, noise in 0.0f64..0.9,
        ) {
            let (one, two) = (report(vec![run(1, a, Some(a))]), report(vec![run(1, b, Some(b))]));
            prop_assert!(!compare(&one, &one, noise).regression);
            let pair = &compare(&one, &two, noise).pairs[0];
            prop_assert!(!(pair.throughput.worse && pair.throughput.better));
            // The same numbers as throughput and as latency mean the opposite.
            let p99 = pair.p99.expect("both have one");
            prop_assert_eq!((p99.worse, p99.better), (pair.throughput.better, pair.throughput.worse));
        }
    }
}
