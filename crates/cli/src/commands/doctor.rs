//! `trtforge doctor`: what is on this machine, and what will work here because of it.
//!
//! Each library is really opened: a file that is there but damaged, or of the wrong version, is found here and not in
//! the middle of a build. Exit 0 when engines can be built, 3 when they cannot.

mod report;

use crate::args::json::JsonArgs;
use crate::failure::Failure;
use crate::standard_output;
use anyhow::{Result, bail};
use clap::Args;
use report::Report;

/// Say what is on this machine and what will work here: libraries, driver, GPUs
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Form of the report.
    #[command(flatten)]
    pub json: JsonArgs,
}

/// Prints the report, then fails if engines cannot be built here.
pub fn run(args: &DoctorArgs) -> Result<()> {
    let report = Report::of_this_machine();
    match args.json.json {
        true => standard_output::write_json(&report)?,
        false => standard_output::write(report.text())?,
    }
    match report.works.build.hint {
        Some(hint) => bail!(Failure::missing("engines cannot be built here").hint(hint)),
        None => Ok(()),
    }
}
