//! `trtforge bench compare`: two reports side by side; a figure that became worse fails.

use super::file;
use crate::args::json::JsonArgs;
use crate::failure::Failure;
use crate::standard_output;
use crate::table::Table;
use anyhow::{Result, bail};
use clap::Args;
use std::path::PathBuf;
use trtforge_builder::counted;
use trtforge_runtime::bench::{Comparison, Metric, Pair, compare};

/// Compare two reports of the same measurements; exit 1 where throughput or p99 became worse
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Earlier report
    #[arg(value_name = "BEFORE.json")]
    before: PathBuf,
    /// Report to judge
    #[arg(value_name = "AFTER.json")]
    after: PathBuf,
    /// Changes up to this much count as chance
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = parse_noise)]
    noise: f64,
    /// Form of the report.
    #[command(flatten)]
    pub json: JsonArgs,
}

/// Prints both figures of every measurement and their ratio, then fails if one became worse.
pub fn run(args: &CompareArgs) -> Result<()> {
    let (before, after) = (file::read(&args.before)?, file::read(&args.after)?);
    let comparison = compare(&before, &after, args.noise);
    match args.json.json {
        true => standard_output::write_json(&comparison)?,
        false => standard_output::write(text(&comparison))?,
    }
    let worse = comparison.pairs.iter().filter(|pair| pair.is_worse()).count();
    if comparison.pairs.is_empty() {
        bail!(
            Failure::input("the reports have no measurement in common")
                .hint("measure both with the same --batch, --streams, --rate and shapes")
        );
    }
    if comparison.regression {
        bail!(Failure::check(format!(
            "{} became worse by more than {} %",
            counted(worse, "measurement"),
            percent(args.noise)
        )));
    }
    Ok(())
}

fn text(comparison: &Comparison) -> String {
    let headers = ["", ">INF/S BEFORE", ">AFTER", ">RATIO", "", ">P99 MS BEFORE", ">AFTER", ">RATIO", ""];
    let mut table = Table::new(&headers);
    comparison.pairs.iter().for_each(|pair| table.row(row(pair)));
    let mut text = if table.is_empty() { String::new() } else { table.render() };
    for alone in &comparison.unmatched {
        let which = if alone.in_first { "first" } else { "second" };
        text += &format!("only in the {which} report: {}\n", alone.mode);
    }
    for difference in &comparison.differences {
        text += &format!("not the same: {difference}\n");
    }
    text
}

fn row(pair: &Pair) -> Vec<String> {
    let metric = |metric: &Metric, unit: f64| {
        let ratio = metric.ratio.map_or_else(String::new, |ratio| format!("{ratio:.3}"));
        [super::table::figure(metric.before / unit), super::table::figure(metric.after / unit), ratio, verdict(metric)]
    };
    let p99 = pair.p99.as_ref().map_or_else(Default::default, |p99| metric(p99, 1e3));
    let mode = [pair.mode.to_string()];
    mode.into_iter().chain(metric(&pair.throughput, 1.0)).chain(p99).collect()
}

fn verdict(metric: &Metric) -> String {
    match (metric.worse, metric.better) {
        (true, _) => "worse",
        (_, true) => "better",
        _ => "",
    }
    .to_owned()
}

fn percent(part: f64) -> f64 {
    (part * 1e4).round() / 1e2
}

/// `5%`, or the same as a part: `0.05`.
fn parse_noise(text: &str) -> Result<f64, String> {
    let part = match text.trim().strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.trim().parse(),
    };
    part.ok()
        .filter(|part| (0.0..1.0).contains(part))
        .ok_or_else(|| "write a percentage below 100%, such as 5%".to_owned())
}

#[cfg(test)]
mod tests {
    use super::parse_noise;

    #[test]
    fn noise_is_a_percentage_or_a_part() {
        for (text, expected) in [("5%", 0.05), ("0.5 %", 0.005), ("0.05", 0.05), ("0", 0.0)] {
            assert!(parse_noise(text).is_ok_and(|noise| (noise - expected).abs() < 1e-12), "{text}");
        }
        for wrong in ["5", "100%", "-1%", "little", "NaN", ""] {
            assert!(parse_noise(wrong).is_err(), "{wrong}");
        }
    }
}
