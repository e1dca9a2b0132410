//! What detection prints.

use crate::detector::{Answer, NO_PROBABILITY, Network};
use crate::table::{Table, grouped, pairs};
use std::collections::BTreeMap;
use trtforge_builder::counted;
use trtforge_vision::{ClassNames, Decoder, Rejected};

/// Classes listed at most.
const LISTED: usize = 20;

/// Everything that is counted.
pub struct Report {
    /// Photographs that could be read.
    pub images: usize,
    /// The first file that could not be read, and why.
    pub first_unreadable: Option<String>,
    /// How long it took.
    pub seconds: f64,
    unreadable: usize,
    found: BTreeMap<u32, u64>,
    rejected: Rejected,
    above_one: u64,
    network: [(&'static str, String); 3],
}

impl Report {
    /// Nothing yet.
    pub fn new(network: &Network, decoder: &Decoder) -> Self {
        let input = network.inputs.input;
        Self {
            images: 0,
            first_unreadable: None,
            seconds: 0.0,
            unreadable: 0,
            found: BTreeMap::new(),
            rejected: Rejected::default(),
            above_one: 0,
            network: [
                ("model", format!("{} on {}", network.path.display(), network.engine.device())),
                ("input", format!("{}x{}, {}", input.width, input.height, counted(network.inputs.batch(), "image"))),
                ("decoder", decoder.kind().to_string()),
            ],
        }
    }

    /// Counts an answer.
    pub fn add(&mut self, answer: Answer) {
        self.images += answer.photos.len();
        self.unreadable += answer.unreadable.len();
        let first = answer.unreadable.first().map(|image| format!("{}: {}", image.file, image.reason));
        self.first_unreadable = self.first_unreadable.take().or(first);
        self.rejected += answer.rejected;
        self.above_one += answer.above_one();
        for detection in answer.photos.iter().flat_map(|photo| &photo.detections) {
            *self.found.entry(detection.class).or_default() += 1;
        }
    }

    /// Files that were spoken of.
    pub fn files(&self) -> usize {
        self.images + self.unreadable
    }

    fn objects(&self) -> u64 {
        self.found.values().sum()
    }

    /// What makes one doubt the settings.
    pub fn doubts(&self, classes: &ClassNames) -> Vec<String> {
        let mut doubts = Vec::new();
        let Rejected { not_finite, no_class, inverted, .. } = self.rejected;
        if not_finite > 0 {
            let boxes = grouped(not_finite);
            doubts.push(format!("boxes with a side or score that is no number: {boxes}; the model overflows"));
        }
        if no_class > 0 {
            let boxes = grouped(no_class);
            doubts.push(format!(
                "boxes whose class is none: {boxes}; perhaps the decoder is not that of this model (--decoder)"
            ));
        }
        if inverted > self.objects() {
            let boxes = grouped(inverted);
            doubts.push(format!(
                "boxes that have no inside: {boxes}; perhaps the decoder is not that of this model (--decoder)"
            ));
        }
        if self.above_one > 0 {
            let objects = grouped(self.above_one);
            doubts.push(format!("objects that score more than 1: {objects}; {NO_PROBABILITY}"));
        }
        if let Some(&class) = self.found.keys().next_back().filter(|&&class| class as usize >= classes.len())
            && !classes.is_empty()
        {
            doubts.push(format!("class {class} was found, but only {} have a name (--classes)", classes.len()));
        }
        doubts
    }

    /// The report for people.
    pub fn text(&self, classes: &ClassNames) -> String {
        let rate = self.images as f64 / self.seconds.max(f64::MIN_POSITIVE);
        let mut rows = self.network.to_vec();
        rows.push(("images", format!("{} in {:.2} s, {rate:.1}/s", grouped(self.images as u64), self.seconds)));
        if self.unreadable > 0 {
            rows.push(("unreadable", grouped(self.unreadable as u64)));
        }
        rows.push(("objects", grouped(self.objects())));
        if self.rejected.total() > 0 {
            let Rejected { not_finite, no_class, inverted, outside } = self.rejected;
            let mut counts = vec![format!("{not_finite} no number, {inverted} without inside, {outside} outside")];
            counts.extend((no_class > 0).then(|| format!("{no_class} without class")));
            rows.push(("left out", counts.join(", ")));
        }
        let mut text = pairs(&rows);
        if !self.found.is_empty() {
            text.push('\n');
            text += &self.table(classes);
        }
        text
    }

    fn table(&self, classes: &ClassNames) -> String {
        let mut order: Vec<(&u32, &u64)> = self.found.iter().collect();
        order.sort_by_key(|&(class, count)| (std::cmp::Reverse(*count), *class));
        let mut table = Table::new(&["class", ">objects"]);
        for (class, count) in order.iter().take(LISTED) {
            table.row([classes.label(**class), grouped(**count)]);
        }
        if let Some(rest) = order.get(LISTED..).filter(|rest| !rest.is_empty()) {
            let total: u64 = rest.iter().map(|(_, count)| **count).sum();
            table.row([format!("{} more classes", rest.len()), grouped(total)]);
        }
        table.render()
    }
}
