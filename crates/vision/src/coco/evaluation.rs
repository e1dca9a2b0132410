//! COCO's score: mean average precision over overlaps and classes.
//!
//! The rules are those of pycocotools' `COCOeval` for boxes: at most 100 detections per photograph and class, greedy matching
//! at ten overlaps, crowds and objects of the wrong size left out of account, precision made monotone and read at 101
//! recalls, classes without objects left out of the mean. As there, whether an object counts is `iscrowd`'s word; a field
//! `ignore` has none.

use std::collections::HashMap;

use serde::Serialize;

use super::annotations::Truth;
use super::curve::Curve;
use super::matching::{Matches, OVERLAPS, Pair};

/// A detection, as it is scored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// Id of the photograph.
    pub image: i64,
    /// Id of the class.
    pub category: i64,
    /// Left, top, width and height in pixels of the photograph.
    pub bounds: [f64; 4],
    /// How sure the network is.
    pub score: f64,
}

impl Found {
    pub(super) fn area(&self) -> f64 {
        self.bounds[2] * self.bounds[3]
    }
}

/// How well detections agree with the labels. A figure is nothing where no labelled object could give one.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Evaluation {
    /// Average precision, the mean over overlaps from 0.50 to 0.95.
    pub ap: Option<f64>,
    /// Average precision at an overlap of 0.50.
    pub ap50: Option<f64>,
    /// Average precision at an overlap of 0.75.
    pub ap75: Option<f64>,
    /// Average precision by the size of objects.
    pub ap_by_area: AreaScores,
    /// Average recall with at most 1, 10 and 100 detections per photograph and class.
    pub recall: [Option<f64>; 3],
    /// Average recall with at most 100 detections, by the size of objects.
    pub recall_by_area: AreaScores,
    /// Each class, in the order given.
    pub per_class: Vec<ClassScore>,
}

/// A figure for objects of each size.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct AreaScores {
    /// Up to 32 x 32 pixels.
    pub small: Option<f64>,
    /// From there to 96 x 96.
    pub medium: Option<f64>,
    /// From there on.
    pub large: Option<f64>,
}

/// The score of one class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassScore {
    /// Its id.
    pub category: i64,
    /// Labelled objects, crowds not counted.
    pub objects: usize,
    /// Average precision.
    pub ap: Option<f64>,
    /// Average precision at an overlap of 0.50.
    pub ap50: Option<f64>,
    /// Recall at an overlap of 0.50.
    pub recall50: Option<f64>,
}

const MOST_FOUND: [usize; 3] = [1, 10, 100];
/// All sizes, small, medium, large: square pixels.
const AREAS: [[f64; 2]; 4] = [[0.0, 1e10], [0.0, 1024.0], [1024.0, 9216.0], [9216.0, 1e10]];

/// Precision and recall of one class, for sizes, overlaps and limits on the number of detections.
#[derive(Default, Clone, Copy)]
struct ClassFigures {
    precision: [Option<[f64; OVERLAPS]>; AREAS.len()],
    recall: [[Option<[f64; OVERLAPS]>; MOST_FOUND.len()]; AREAS.len()],
    objects: usize,
}

/// Scores `found` against `truths` over the photographs `images` and the classes `categories`; what belongs to others is
/// not looked at.
pub fn evaluate(truths: &[Truth], found: &[Found], images: &[i64], categories: &[i64]) -> Evaluation {
    let mut images = images.to_vec();
    images.sort_unstable();
    images.dedup();
    let mut truths_by = grouped(truths, |truth| (truth.category, truth.image));
    let mut found_by = grouped(found, |found| (found.category, found.image));
    let figures: Vec<ClassFigures> = categories
        .iter()
        .map(|&category| {
            let pairs = images.iter().filter_map(|&image| {
                let found = found_by.remove(&(category, image)).unwrap_or_default();
                let truths = truths_by.remove(&(category, image)).unwrap_or_default();
                (!found.is_empty() || !truths.is_empty()).then(|| Pair::new(found, truths, MOST_FOUND[2]))
            });
            class_figures(&pairs.collect::<Vec<_>>())
        })
        .collect();
    summary(categories, &figures)
}

fn grouped<T>(entries: &[T], key: impl Fn(&T) -> (i64, i64)) -> HashMap<(i64, i64), Vec<&T>> {
    let mut groups: HashMap<(i64, i64), Vec<&T>> = HashMap::new();
    for entry in entries {
        groups.entry(key(entry)).or_default().push(entry);
    }
    groups
}

fn class_figures(pairs: &[Pair<'_>]) -> ClassFigures {
    let objects = pairs.iter().flat_map(|pair| &pair.truths).filter(|truth| !truth.crowd).count();
    let mut figures = ClassFigures { objects, ..ClassFigures::default() };
    if objects == 0 {
        return figures;
    }
    for (area, range) in AREAS.into_iter().enumerate() {
        let matches: Vec<Matches> = pairs.iter().map(|pair| pair.matches(range)).collect();
        let positives: usize = matches.iter().map(|matches| matches.positives).sum();
        if positives == 0 {
            continue;
        }
        for (limit, &most) in MOST_FOUND.iter().enumerate() {
            let order = by_score(pairs, most);
            let curves: [Curve; OVERLAPS] = std::array::from_fn(|overlap| {
                let counted = order.iter().filter(|&&(pair, row)| !matches[pair].ignored[overlap][row]);
                Curve::new(counted.map(|&(pair, row)| matches[pair].found[overlap][row]), positives)
            });
            figures.recall[area][limit] = Some(std::array::from_fn(|overlap| curves[overlap].recall));
            if limit + 1 == MOST_FOUND.len() {
                figures.precision[area] = Some(std::array::from_fn(|overlap| curves[overlap].precision));
            }
        }
    }
    figures
}

/// The `most` best detections of every photograph, by falling score: photograph and place in it. Equal ones keep the order
/// of the photographs.
fn by_score(pairs: &[Pair<'_>], most: usize) -> Vec<(usize, usize)> {
    let places = |(index, pair): (usize, &Pair<'_>)| (0..pair.found.len().min(most)).map(move |row| (index, row));
    let mut order: Vec<(usize, usize)> = pairs.iter().enumerate().flat_map(places).collect();
    let score = |&(pair, row): &(usize, usize)| pairs[pair].found[row].score;
    order.sort_by(|a, b| score(b).total_cmp(&score(a)));
    order
}

fn summary(categories: &[i64], figures: &[ClassFigures]) -> Evaluation {
    let precision = |area: usize| mean(figures.iter().filter_map(|figures| figures.precision[area]).flatten());
    let at = |overlap: usize| {
        mean(figures.iter().filter_map(|figures| figures.precision[0]).map(|precision| precision[overlap]))
    };
    let recall =
        |area: usize, limit: usize| mean(figures.iter().filter_map(|figures| figures.recall[area][limit]).flatten());
    let by_area =
        |figure: &dyn Fn(usize) -> Option<f64>| AreaScores { small: figure(1), medium: figure(2), large: figure(3) };
    Evaluation {
        ap: precision(0),
        ap50: at(0),
        ap75: at(5),
        ap_by_area: by_area(&precision),
        recall: [recall(0, 0), recall(0, 1), recall(0, 2)],
        recall_by_area: by_area(&|area| recall(area, 2)),
        per_class: categories.iter().zip(figures).map(|(&category, figures)| class_score(category, figures)).collect(),
    }
}

fn class_score(category: i64, figures: &ClassFigures) -> ClassScore {
    ClassScore {
        category,
        objects: figures.objects,
        ap: figures.precision[0].and_then(|precision| mean(precision.into_iter())),
        ap50: figures.precision[0].map(|precision| precision[0]),
        recall50: figures.recall[0][2].map(|recall| recall[0]),
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, total) = values.fold((0u32, 0.0), |(count, total), value| (count + 1, total + value));
    (count > 0).then(|| total / f64::from(count))
}
