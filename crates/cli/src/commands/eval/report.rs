//! What scoring prints.

use super::Task;
use super::arguments::EvalArgs;
use super::candidate::{Candidate, Memory, OtherSize};
use super::latency::Latency;
use crate::detector::NO_PROBABILITY;
use crate::table::Table;
use serde::Serialize;
use std::collections::HashMap;
use trtforge_builder::{Unreadable, format_bytes};
use trtforge_vision::Rejected;
use trtforge_vision::coco::{AreaScores, Evaluation, Problems};

/// Classes whose change is listed.
const LISTED: usize = 10;

/// All that is told.
#[derive(Serialize)]
pub struct Report {
    annotations: String,
    problems: Problems,
    /// The first candidate's score, for scripts that look at one.
    ap: Option<f64>,
    ap50: Option<f64>,
    per_class: Vec<Class>,
    candidates: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    file: String,
    device: String,
    decoder: String,
    images: usize,
    unreadable: Vec<Unreadable>,
    rejected: Rejected,
    above_one: u64,
    other_size: OtherSize,
    ap: Option<f64>,
    ap50: Option<f64>,
    ap75: Option<f64>,
    ap_by_area: AreaScores,
    recall: [Option<f64>; 3],
    recall_by_area: AreaScores,
    /// The score less the first candidate's.
    difference: Difference,
    latency: Latency,
    memory: Memory,
    per_class: Vec<Class>,
}

#[derive(Serialize)]
struct Difference {
    ap: Option<f64>,
    ap50: Option<f64>,
}

#[derive(Serialize, Clone)]
struct Class {
    id: i64,
    name: String,
    objects: usize,
    ap: Option<f64>,
    ap50: Option<f64>,
    recall50: Option<f64>,
}

impl Report {
    /// Puts candidates beside the first of them.
    pub fn new(args: &EvalArgs, task: &Task, candidates: Vec<Candidate>) -> Self {
        let first = candidates.first().map(|candidate| (candidate.evaluation.ap, candidate.evaluation.ap50));
        let names: HashMap<i64, &str> =
            task.annotations.categories.iter().map(|category| (category.id, category.name.as_str())).collect();
        let rows: Vec<Row> =
            candidates.into_iter().map(|candidate| row(candidate, first.unwrap_or_default(), &names)).collect();
        Self {
            annotations: args.annotations.display().to_string(),
            problems: task.annotations.problems.clone(),
            ap: rows.first().and_then(|row| row.ap),
            ap50: rows.first().and_then(|row| row.ap50),
            per_class: rows.first().map(|row| row.per_class.clone()).unwrap_or_default(),
            candidates: rows,
        }
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let several = self.candidates.len() > 1;
        let mut headers = vec!["model", ">AP", ">AP50", ">AP75", ">small", ">medium", ">large", ">ms", ">memory"];
        if several {
            headers.splice(2..2, [">change"]);
        }
        let mut table = Table::new(&headers);
        for row in &self.candidates {
            let areas = row.ap_by_area;
            let mut cells = vec![row.file.clone(), share(row.ap)];
            if several {
                cells.push(change(row.difference.ap));
            }
            cells.extend([row.ap50, row.ap75, areas.small, areas.medium, areas.large].map(share));
            cells.push(format!("{:.2}", row.latency.p50_ms));
            cells.push(memory(&row.memory));
            table.row(cells);
        }
        let mut text = table.render();
        text += &self.below();
        if several { text + &self.changes() } else { text }
    }

    fn below(&self) -> String {
        let Some(first) = self.candidates.first() else { return String::new() };
        let decoders = distinct(self.candidates.iter().map(|row| row.decoder.clone()));
        let images = |row: &Row| match row.latency.batch {
            1 => "one image".to_owned(),
            batch => format!("{batch} images"),
        };
        let each = distinct(self.candidates.iter().map(images));
        let mut text = format!(
            "\nOver {} images; decoder {decoders}; ms is the median of a run of {each} with nothing beside it.\n",
            first.images
        );
        if self.candidates.iter().any(|row| row.memory.activation_bytes.is_none()) {
            text += "Memory of a model on the CPU is weights, inputs and outputs; what ONNX Runtime takes for activations is not known.\n";
        }
        if first.ap.is_none() {
            text += "There is no AP: nothing is labelled in these images, but for crowds.\n";
        }
        if let OtherSize { count, first: Some(first) } = &first.other_size {
            text += &format!(
                "Images of another size than the labels say: {count}; the first is {first}. Boxes are labelled in pixels, so they may not fit.\n"
            );
        }
        for row in self.candidates.iter().filter(|row| !row.unreadable.is_empty()) {
            text += &format!("{}: {} images could not be read and are not scored.\n", row.file, row.unreadable.len());
        }
        for row in self.candidates.iter().filter(|row| row.rejected.not_finite > 0) {
            let boxes = row.rejected.not_finite;
            text += &format!("{}: boxes with a side or score that is no number: {boxes}.\n", row.file);
        }
        for row in self.candidates.iter().filter(|row| row.above_one > 0) {
            let objects = row.above_one;
            text += &format!("{}: objects that score more than 1: {objects}; {NO_PROBABILITY}.\n", row.file);
        }
        text
    }

    /// The classes that change most, against the first candidate.
    fn changes(&self) -> String {
        let mut text = String::new();
        let Some((first, others)) = self.candidates.split_first() else { return text };
        for other in others {
            let pairs = first.per_class.iter().zip(&other.per_class);
            let mut changes: Vec<(&Class, f64)> =
                pairs.filter_map(|(before, after)| Some((after, after.ap? - before.ap?))).collect();
            changes.retain(|(_, change)| change.abs() >= 0.0005);
            changes.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
            let mut table = Table::new(&["class", ">objects", ">AP", ">change"]);
            for (class, difference) in changes.iter().take(LISTED) {
                table.row([class.name.clone(), class.objects.to_string(), share(class.ap), change(Some(*difference))]);
            }
            if !table.is_empty() {
                text += &format!("\n{}, classes that change most:\n{}", other.file, table.render());
            }
        }
        text
    }
}

fn row(candidate: Candidate, first: (Option<f64>, Option<f64>), names: &HashMap<i64, &str>) -> Row {
    let Evaluation { ap, ap50, ap75, ap_by_area, recall, recall_by_area, per_class } = candidate.evaluation;
    let name = |id: i64| names.get(&id).filter(|name| !name.is_empty()).map(|name| (*name).to_owned());
    let per_class = per_class.into_iter().map(|class| Class {
        id: class.category,
        name: name(class.category).unwrap_or_else(|| format!("category {}", class.category)),
        objects: class.objects,
        ap: class.ap,
        ap50: class.ap50,
        recall50: class.recall50,
    });
    let less = |figure: Option<f64>, first: Option<f64>| Some(figure? - first?);
    Row {
        file: candidate.file.display().to_string(),
        device: candidate.device,
        decoder: candidate.decoder,
        images: candidate.images,
        unreadable: candidate.unreadable,
        rejected: candidate.rejected,
        above_one: candidate.above_one,
        other_size: candidate.other_size,
        ap,
        ap50,
        ap75,
        ap_by_area,
        recall,
        recall_by_area,
        difference: Difference { ap: less(ap, first.0), ap50: less(ap50, first.1) },
        latency: candidate.latency,
        memory: candidate.memory,
        per_class: per_class.collect(),
    }
}

/// A text that is the same for all candidates, or theirs in turn.
fn distinct(texts: impl Iterator<Item = String>) -> String {
    let texts: Vec<String> = texts.collect();
    let same = texts.iter().all(|text| *text == texts[0]);
    texts[..if same { 1 } else { texts.len() }].join(", then ")
}

fn share(figure: Option<f64>) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.4}"))
}

fn change(figure: Option<f64>) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:+.4}"))
}

fn memory(memory: &Memory) -> String {
    format_bytes(memory.weights_bytes + memory.activation_bytes.unwrap_or(0) + memory.io_bytes)
}
