//! What is seen as lines of JSON: `sample`, `mark` and, last, `end` in the field `kind`.

use super::feed::Feed;
use super::{Display, End};
use crate::standard_output;
use anyhow::Result;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};
use trtforge_builder::CancelFlag;
use trtforge_runtime::monitor::{Quantity, Recording};

/// A wait is cut into pieces of this length, between which Ctrl-C is looked for.
const PIECE: Duration = Duration::from_millis(50);

/// Lines on stdout.
pub struct Lines {
    cancel: CancelFlag,
}

impl Lines {
    pub fn new(cancel: CancelFlag) -> Self {
        Self { cancel }
    }
}

impl Display for Lines {
    fn show(&mut self, feed: &Feed) -> Result<()> {
        let mut text = String::new();
        for mark in feed.fresh_marks() {
            text += &format!("{}\n", json!({"kind": "mark", "at_s": mark.at_s, "label": mark.label}));
        }
        if let Some(sample) = feed.fresh() {
            let mut line = Map::new();
            line.insert("kind".to_owned(), "sample".into());
            line.insert("pid".to_owned(), feed.pid().into());
            line.insert("at_s".to_owned(), sample.at.as_secs_f64().into());
            line.extend(sample.values.iter().map(|(quantity, value)| (quantity.name().to_owned(), value.into())));
            line.extend(feed.rate().map(|rate| ("inferences_per_s".to_owned(), rate.into())));
            text += &format!("{}\n", Value::from(line));
        }
        standard_output::write(text)
    }

    fn wait(&mut self, until: Instant) -> Result<bool> {
        while !self.cancel.is_cancelled() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            std::thread::sleep(left.min(PIECE));
        }
        Ok(true)
    }

    fn end(&mut self, recording: &Recording, end: End) -> Result<()> {
        let reason = match end {
            End::Process => "ended",
            End::Duration => "duration",
            End::User => "interrupted",
        };
        let most = |quantity: Quantity| Some((quantity.name().to_owned(), recording.most(quantity)?.into()));
        let most: Map<String, Value> = recording.quantities().filter_map(most).collect();
        let seconds = recording.duration().as_secs_f64();
        let (title, samples) = (&recording.title, recording.samples());
        let line = json!({
            "kind": "end", "reason": reason, "title": title, "samples": samples, "seconds": seconds, "most": most,
        });
        standard_output::write(format!("{line}\n"))
    }
}
