//! A recording as JSON.
//!
//! `schema` changes when a field goes or changes its meaning, not when one is added.
//!
//! | field | what it is |
//! |---|---|
//! | `schema`, `kind` | [`SCHEMA`], [`KIND`] |
//! | `title` | what was recorded |
//! | `started_unix_ms` | when it began, in milliseconds since 1970 UTC |
//! | `interval_ms` | time from one sample to the next, as asked for |
//! | `samples`, `samples_per_point` | samples in all, and in each point but the last |
//! | `from_s`, `to_s`, `count` | per point: time of its first and last sample since the start, and how many it has |
//! | `series` | by name of a [`Quantity`](super::super::Quantity) that was ever known: `least`, `most` and `last` per point, `null` where unknown |
//! | `inferences_per_s` | per point, since the point before; `null` where nothing was counted |
//! | `marks` | events: `at_s`, `label`; `marks_dropped` had no room |
//! | `faults` | `samples` that are not whole and the `first` reason, or `null` |

use std::collections::BTreeMap;
use std::io;
use std::time::UNIX_EPOCH;

use serde::Serialize;

use super::Recording;
use crate::monitor::{Bucket, Mark, Values};

/// The number of the schema that is written.
pub const SCHEMA: u32 = 1;
/// What the field `kind` of a recording says.
pub const KIND: &str = "trtforge recording";

#[derive(Serialize)]
struct Document<'r> {
    schema: u32,
    kind: &'static str,
    title: &'r str,
    started_unix_ms: u64,
    interval_ms: f64,
    samples: u64,
    samples_per_point: u64,
    from_s: Vec<f64>,
    to_s: Vec<f64>,
    count: Vec<u64>,
    series: BTreeMap<&'static str, Series>,
    inferences_per_s: Vec<Option<f64>>,
    marks: &'r [Mark],
    marks_dropped: u64,
    faults: Option<Incomplete>,
}

#[derive(Serialize)]
struct Series {
    least: Vec<Option<u64>>,
    most: Vec<Option<u64>>,
    last: Vec<Option<u64>>,
}

#[derive(Serialize)]
struct Incomplete {
    samples: u64,
    first: String,
}

impl Recording {
    /// Writes it as one JSON document; the documentation of the module `recording/json.rs` is the schema.
    ///
    /// # Errors
    /// Whatever `out` says.
    pub fn write_json(&self, mut out: impl io::Write) -> io::Result<()> {
        serde_json::to_writer(&mut out, &self.document())?;
        out.write_all(b"\n")?;
        out.flush()
    }

    fn document(&self) -> Document<'_> {
        let buckets = self.buckets();
        let series = self.quantities().map(|quantity| {
            let of = |which: fn(&Bucket) -> &Values| buckets.iter().map(|it| which(it).get(quantity)).collect();
            (quantity.name(), Series { least: of(|it| &it.least), most: of(|it| &it.most), last: of(|it| &it.last) })
        });
        let first = self.faults.first.as_ref();
        Document {
            schema: SCHEMA,
            kind: KIND,
            title: &self.title,
            started_unix_ms: self.started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
            interval_ms: self.interval.as_secs_f64() * 1e3,
            samples: self.samples(),
            samples_per_point: self.timeline.samples_per_bucket(),
            from_s: buckets.iter().map(|bucket| bucket.from.as_secs_f64()).collect(),
            to_s: buckets.iter().map(|bucket| bucket.to.as_secs_f64()).collect(),
            count: buckets.iter().map(|bucket| bucket.samples).collect(),
            series: series.collect(),
            inferences_per_s: self.throughput().collect(),
            marks: &self.marks,
            marks_dropped: self.marks_dropped,
            faults: first.map(|error| Incomplete { samples: self.faults.count, first: error.to_string() }),
        }
    }
}
