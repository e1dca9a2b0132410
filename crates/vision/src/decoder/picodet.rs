//! PicoDet without its post-processing: for each of the strides 8, 16, 32 and 64 class probabilities `[B,A,C]` and distance
//! distributions `[B,A,4*bins]`, counted from the cells' centres. NanoDet's older exports per level are the same.

use super::output::{OutputShape, Values};
use super::{distribution, grid};
use crate::detection::Candidates;
use crate::size::Size;

/// What the outputs must be, for people.
pub(super) const CONTRACT: &str =
    "per level of strides 8, 16, 32 (and 64): scores [B,A,C] and distances [B,A,32], A the cells of the level";

const BINS: usize = 8;

/// The levels, finest first.
#[derive(Debug, Clone)]
pub(super) struct PicoDet {
    levels: Vec<Level>,
    classes: usize,
}

#[derive(Debug, Clone)]
struct Level {
    scores: usize,
    distances: usize,
    cells: Vec<grid::Cell>,
}

/// The layout, where these outputs have one.
pub(super) fn fit(outputs: &[OutputShape], input: Size) -> Option<PicoDet> {
    let strides = [grid::THREE_LEVELS, grid::FOUR_LEVELS].into_iter().find(|it| 2 * it.len() == outputs.len())?;
    let mut classes = None;
    let mut levels = Vec::new();
    let mut taken = vec![false; outputs.len()];
    for &stride in strides {
        let cells = grid::cells(input, &[stride]);
        let (scores, distances) = pair(outputs, &mut taken, cells.len())?;
        let [_, count] = outputs[scores].row()?;
        if *classes.get_or_insert(count) != count {
            return None;
        }
        levels.push(Level { scores, distances, cells });
    }
    Some(PicoDet { levels, classes: classes? })
}

/// The two outputs of a level, found by their number of cells. With 32 classes the order decides, scores first.
fn pair(outputs: &[OutputShape], taken: &mut [bool], cells: usize) -> Option<(usize, usize)> {
    let mut free = (0..outputs.len()).filter(|&index| !taken[index]);
    let of_level = |&index: &usize| matches!(outputs[index].fraction_row::<2>(), Some([count, _]) if count == cells);
    let first = free.find(of_level)?;
    let second = free.find(of_level)?;
    taken[first] = true;
    taken[second] = true;
    let columns = |index: usize| outputs[index].dimensions[2];
    match (columns(first), columns(second)) {
        (_, width) if width == 4 * BINS => Some((first, second)),
        (width, _) if width == 4 * BINS => Some((second, first)),
        _ => None,
    }
}

impl PicoDet {
    pub(super) fn decode(&self, outputs: &[Values<'_>], into: &mut Candidates) {
        for level in &self.levels {
            let scores = outputs[level.scores].fractions().chunks_exact(self.classes);
            let distances = outputs[level.distances].fractions().chunks_exact(4 * BINS);
            for ((scores, distances), cell) in scores.zip(distances).zip(&level.cells) {
                if into.concern_any(scores) {
                    let bounds = cell.around(distribution::four(distances, BINS, 1), 0.5);
                    into.push_classes(bounds, 1.0, scores.iter().copied());
                }
            }
        }
    }

    pub(super) fn classes(&self) -> usize {
        self.classes
    }
}
