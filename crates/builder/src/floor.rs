//! Holds the outputs of a rewritten model against the least accuracy that is accepted, and says of a miss what it takes to know what to do.

use crate::config::AccuracyFloor;
use crate::costly_nodes::{CostlyNode, costly_nodes};
use crate::int8::TRIED_SAMPLES;
use crate::manifest::OutputAccuracy;
use crate::precision::{NodePrecision, Precision};
use crate::prepare::{PrepareOptions, Prepared, open_samples};
use crate::samples::Samples;
use crate::verify::{Verification, verify};
use crate::{CancelFlag, Error, Progress, Result};
use std::cmp::Ordering;
use std::fmt;
use trtforge_onnxruntime::OnnxRuntime;

/// An output below the floor.
#[derive(Clone, Debug)]
pub struct FloorMiss {
    /// The output that misses it by most.
    pub worst: OutputAccuracy,
    /// What it should have reached.
    pub floor: AccuracyFloor,
    /// How the model was made, where it was made here.
    pub attempt: Option<Attempt>,
}

/// How a model that misses the floor was made, and where it loses.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The precision asked for.
    pub precision: Precision,
    /// What the search for INT8 came to, where there was one.
    pub int8: Option<Int8Attempt>,
    /// Whether it was judged on made-up inputs.
    pub synthetic: bool,
    /// The nodes that lose most, the worst first.
    pub nodes: Vec<CostlyNode>,
}

/// What a search for INT8 came to, on its own samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Int8Attempt {
    /// Decibel of the worst output as it is first calibrated.
    pub plain_db: f64,
    /// The same of the best form that was found.
    pub best_db: f64,
    /// Share of the arithmetic of that form that is INT8.
    pub share: f64,
    /// Whether it was searched at all.
    pub searched: bool,
}

/// Checks every output against the floor. Elements that became NaN or infinite fail any floor.
///
/// # Errors
/// [`Error::AccuracyFloor`] with the worst output.
pub fn check_floor(outputs: &[OutputAccuracy], floor: &AccuracyFloor) -> Result<()> {
    let failing = outputs.iter().filter(|output| output.non_finite > 0 || !shortfalls(output, floor).is_empty());
    let worst = failing.max_by(|a, b| {
        let by_figure = deficit(a, floor).partial_cmp(&deficit(b, floor)).unwrap_or(Ordering::Equal);
        a.non_finite.cmp(&b.non_finite).then(by_figure)
    });
    match worst {
        Some(worst) => {
            let miss = FloorMiss { worst: worst.clone(), floor: *floor, attempt: None };
            Err(Error::AccuracyFloor(Box::new(miss)))
        }
        None => Ok(()),
    }
}

/// A metric that an output does not reach.
struct Shortfall {
    metric: &'static str,
    figure: f64,
    least: f64,
}

fn shortfalls(output: &OutputAccuracy, floor: &AccuracyFloor) -> Vec<Shortfall> {
    let metrics = [
        ("channel_db", output.channel_db, floor.channel_db),
        ("sqnr_db", output.sqnr_db, floor.sqnr_db),
        ("cosine", Some(output.cosine), floor.cosine),
    ];
    // A figure in decibel that is missing is one of an exact output.
    let missed = metrics.into_iter().filter_map(|(metric, figure, least)| {
        let (figure, least) = (figure?, least?);
        (figure < least).then_some(Shortfall { metric, figure, least })
    });
    missed.collect()
}

/// How much is missing of each metric, the one that a floor is most likely about first.
fn deficit(output: &OutputAccuracy, floor: &AccuracyFloor) -> [f64; 3] {
    let missing = |figure: Option<f64>, least: Option<f64>| match (figure, least) {
        (Some(figure), Some(least)) => (least - figure).max(0.0),
        _ => 0.0,
    };
    [
        missing(output.channel_db, floor.channel_db),
        missing(output.sqnr_db, floor.sqnr_db),
        missing(Some(output.cosine), floor.cosine),
    ]
}

/// Compares a prepared model with its reference and holds it against a floor. `asked` says whether the floor was asked for, so that an output that cannot be judged is
/// an error. Nothing where no output could be compared; else the figures and what they were measured on.
///
/// # Errors
/// [`Error::AccuracyFloor`], with where it is lost; [`Error::Unjudged`]; those of [`verify`].
pub(crate) fn hold_to_floor(
    options: &PrepareOptions,
    prepared: &Prepared,
    floor: &AccuracyFloor,
    asked: bool,
    progress: &dyn Progress,
    cancel: &CancelFlag,
) -> Result<Option<(Verification, String)>> {
    let samples = open_samples(options, &options.model, &prepared.reference, &prepared.shapes)?;
    let most = if prepared.decision.is_some() { TRIED_SAMPLES } else { usize::MAX };
    let runtime = OnnxRuntime::load()?;
    let result = match verify(&runtime, &prepared.reference, &prepared.model, &samples, most, progress, cancel) {
        Err(Error::OnnxRuntime(error)) if error.is_unsupported() => {
            progress.note(&format!("not verified: {error}"));
            return Ok(None);
        }
        other => other?,
    };
    result.notes.iter().for_each(|note| progress.note(note));
    if let (true, Some(note)) = (asked, result.notes.first()) {
        return Err(Error::Unjudged { reason: note.clone() });
    }
    if let Err(Error::AccuracyFloor(miss)) = check_floor(&result.outputs, floor) {
        let attempt = Some(attempt(&runtime, options, prepared, floor, &samples, progress, cancel)?);
        return Err(Error::AccuracyFloor(Box::new(FloorMiss { attempt, ..*miss })));
    }
    if result.outputs.is_empty() {
        return Ok(None);
    }
    let on = format!("{} ({})", samples.description(), result.samples);
    Ok(Some((result, on)))
}

fn attempt(
    runtime: &OnnxRuntime,
    options: &PrepareOptions,
    prepared: &Prepared,
    floor: &AccuracyFloor,
    samples: &Samples,
    progress: &dyn Progress,
    cancel: &CancelFlag,
) -> Result<Attempt> {
    let nodes = match costly_nodes(runtime, prepared, samples, progress, cancel) {
        Err(Error::Cancelled) => return Err(Error::Cancelled),
        // That a model misses its floor is the news, even where nothing inside can be looked at.
        other => other.unwrap_or_default(),
    };
    let int8 = prepared.decision.as_ref().map(|decision| Int8Attempt {
        plain_db: decision.found.plain.decibel(floor),
        best_db: decision.found.loss.decibel(floor),
        share: decision.int8_share,
        searched: options.int8.search,
    });
    Ok(Attempt { precision: options.precision, int8, synthetic: samples.is_synthetic(), nodes })
}

impl fmt::Display for FloorMiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let worst = &self.worst;
        write!(f, "output `{}` is below the accuracy floor: ", worst.output)?;
        if worst.non_finite > 0 {
            write!(f, "elements that are NaN or infinite where the FP32 model's are not: {}", worst.non_finite)?;
        } else {
            for missed in shortfalls(worst, &self.floor) {
                write!(f, "{} is {}, ", missed.metric, figure(missed.metric, missed.figure))?;
                write!(f, "{} is asked for; ", missed.least)?;
            }
            let sqnr = worst.sqnr_db.unwrap_or(f64::INFINITY);
            write!(f, "SQNR {sqnr:.1} dB, cosine {:.5}, max error {:.3e}", worst.cosine, worst.max_abs)?;
        }
        self.attempt.as_ref().map_or(Ok(()), |attempt| attempt.fmt(f))
    }
}

fn figure(metric: &str, value: f64) -> String {
    if metric == "cosine" { format!("{value:.6}") } else { format!("{value:.2}") }
}

impl fmt::Display for Attempt {
    /// One line for each thing that is known, each after a line feed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(int8) = &self.int8 {
            write!(f, "\nINT8 reaches {:.1} dB as first calibrated", int8.plain_db)?;
            if int8.searched {
                let share = 100.0 * int8.share;
                write!(f, "; the best form found {:.1} dB, with {share:.1} % of the arithmetic in INT8", int8.best_db)?;
            }
        }
        for (position, node) in self.nodes.iter().enumerate() {
            let before = node.before_db.map_or_else(|| "exact".to_owned(), |decibel| format!("{decibel:.1} dB"));
            let start = if position == 0 { "\nmost is lost in " } else { ", " };
            let precision = format!("{:?}", node.precision).to_lowercase();
            write!(f, "{start}`{}` ({precision}: {before} before it, {:.1} dB behind it)", node.node, node.after_db)?;
        }
        Ok(())
    }
}

impl FloorMiss {
    /// The ways on.
    pub(crate) fn hint(&self) -> String {
        let Some(attempt) = &self.attempt else {
            return "look where it is lost with --layers --sort, or lower --accuracy-floor".into();
        };
        let mut ways = vec![];
        if attempt.int8.is_some_and(|int8| !int8.searched) {
            ways.push("leave out --no-search".to_owned());
        }
        ways.extend(attempt.nodes.first().map(|worst| keep(worst.precision, &attempt.nodes)));
        match (attempt.int8.is_some(), attempt.synthetic) {
            (_, true) => ways.push("give real inputs with --calibration".into()),
            (true, false) => ways.push("calibrate on more images".into()),
            (false, false) => {}
        }
        ways.push("lower --accuracy-floor".into());
        if attempt.int8.is_some() {
            ways.push("build with --precision fp16".into());
        }
        let last = ways.pop().unwrap_or_default();
        if ways.is_empty() { last } else { format!("{}, or {last}", ways.join(", ")) }
    }
}

fn keep(precision: NodePrecision, nodes: &[CostlyNode]) -> String {
    let higher = if precision == NodePrecision::Int8 { "fp16" } else { "fp32" };
    let names: Vec<String> = nodes.iter().map(|node| regex::escape(&node.node)).collect();
    format!("keep the nodes that lose most in {higher} with --keep '{higher}:^({})$'", names.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(sqnr_db: f64, cosine: f64, non_finite: u64) -> OutputAccuracy {
        OutputAccuracy {
            output: format!("{sqnr_db}"),
            sqnr_db: Some(sqnr_db),
            channel_db: None,
            cosine,
            max_abs: 0.0,
            reference_max_abs: 1.0,
            non_finite,
        }
    }

    fn miss(outputs: &[OutputAccuracy], floor: &str) -> FloorMiss {
        match check_floor(outputs, &floor.parse().unwrap()) {
            Err(Error::AccuracyFloor(miss)) => *miss,
            other => panic!("{other:?}"),
        }
    }

    fn node(name: &str, precision: NodePrecision) -> CostlyNode {
        CostlyNode { node: name.into(), precision, before_db: Some(18.21), after_db: 9.1 }
    }

    #[test]
    fn the_worst_output_is_named() {
        let outputs = [output(40.0, 1.0, 0), output(12.0, 1.0, 0), output(20.0, 1.0, 0)];
        assert_eq!(miss(&outputs, "sqnr_db=30").worst.output, "12");
        assert!(check_floor(&outputs[..1], &"sqnr_db=30".parse().unwrap()).is_ok());
    }

    #[test]
    fn the_worst_is_the_worst_by_what_the_floor_asks_for() {
        let channels = |sqnr_db, channel_db| OutputAccuracy { channel_db: Some(channel_db), ..output(sqnr_db, 1.0, 0) };
        let found = miss(&[channels(10.0, 9.0), channels(30.0, 2.0)], "channel_db=9.5");
        assert_eq!(found.worst.output, "30");
        assert!(found.to_string().contains("channel_db is 2.00, 9.5 is asked for; SQNR 30.0 dB"), "{found}");
    }

    #[test]
    fn non_finite_elements_fail_every_floor() {
        assert!(check_floor(&[output(90.0, 1.0, 1)], &AccuracyFloor::default()).is_err());
        assert!(check_floor(&[output(1.0, 0.1, 0)], &AccuracyFloor::default()).is_ok());
        assert!(miss(&[output(90.0, 0.9, 0)], "cosine=0.99").to_string().contains("cosine is 0.900000, 0.99"));
    }

    #[test]
    fn a_miss_tells_of_the_best_form_and_its_worst_nodes_and_how_to_keep_them() {
        let int8 = Some(Int8Attempt { plain_db: 0.3, best_db: 8.0, share: 0.25, searched: true });
        let nodes = vec![node("/neck/Conv.1", NodePrecision::Int8), node("head", NodePrecision::Int8)];
        let attempt = Some(Attempt { precision: Precision::Int8, int8, synthetic: false, nodes });
        let found = FloorMiss { attempt, ..miss(&[output(8.0, 0.9, 0)], "sqnr_db=10") };
        let text = found.to_string();
        assert!(text.contains("\nINT8 reaches 0.3 dB as first calibrated; the best form found 8.0 dB, with 25.0 %"));
        assert!(text.contains("lost in `/neck/Conv.1` (int8: 18.2 dB before it, 9.1 dB behind it), `head`"), "{text}");
        assert_eq!(
            found.hint(),
            r"keep the nodes that lose most in fp16 with --keep 'fp16:^(/neck/Conv\.1|head)$', calibrate on more images, lower --accuracy-floor, or build with --precision fp16"
        );
    }

    #[test]
    fn half_precision_is_told_of_32_bits_and_made_up_inputs_of_real_ones() {
        let nodes = vec![node("head", NodePrecision::Fp16)];
        let attempt = Some(Attempt { precision: Precision::Fp16, int8: None, synthetic: true, nodes });
        let hint = FloorMiss { attempt, ..miss(&[output(8.0, 0.9, 0)], "sqnr_db=10") }.hint();
        assert!(hint.contains("--keep 'fp32:^(head)$', give real inputs with --calibration, or lower"), "{hint}");
        assert!(miss(&[output(8.0, 0.9, 0)], "sqnr_db=10").hint().contains("--layers"));
    }
}
