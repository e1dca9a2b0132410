//! DAMO-YOLO's raw heads (`--benchmark`): per level a map of probabilities `[B,C,h,w]` and a map of distance
//! distributions `[B,4*bins,h,w]`, 17 bins in T, S, M and L and 8 in the nano models. Points are the cells' corners: there is no
//! offset of half a cell.

use super::output::{OutputShape, Values};
use super::{distribution, grid};
use crate::detection::Candidates;
use crate::size::Size;

/// What the outputs must be, for people.
pub(super) const CONTRACT: &str =
    "six maps: [B,C,h,w] and [B,4*bins,h,w] with 17 or 8 bins, for each of the strides 8, 16 and 32";

/// Bins that a distance is spread over, where a map may be recognised by them.
const KNOWN_BINS: [usize; 2] = [17, 8];

/// Which outputs belong to each level.
#[derive(Debug, Clone)]
pub(super) struct LevelMaps {
    levels: Vec<Level>,
    classes: usize,
    bins: usize,
}

#[derive(Debug, Clone)]
struct Level {
    scores: usize,
    distances: usize,
    cells: Vec<grid::Cell>,
}

/// The layout, where these outputs have one. Maps of 68 and of 32 channels can be read in two ways; then the order of the
/// exporter decides, which puts probabilities first.
pub(super) fn fit(outputs: &[OutputShape], input: Size) -> Option<LevelMaps> {
    let mut fitting: Vec<LevelMaps> =
        KNOWN_BINS.into_iter().filter_map(|bins| with_bins(outputs, input, bins)).collect();
    let in_order = |maps: &LevelMaps| maps.levels.iter().all(|level| level.scores < level.distances);
    let place = fitting.iter().position(in_order).unwrap_or(0);
    (place < fitting.len()).then(|| fitting.swap_remove(place))
}

fn with_bins(outputs: &[OutputShape], input: Size, bins: usize) -> Option<LevelMaps> {
    if outputs.len() != 2 * grid::THREE_LEVELS.len() {
        return None;
    }
    let mut classes = None;
    let mut levels = Vec::new();
    for &stride in grid::THREE_LEVELS {
        let (columns, rows) = grid::level(input, stride);
        let maps: Vec<(usize, usize)> = outputs
            .iter()
            .enumerate()
            .filter_map(|(index, output)| {
                let [channels, height, width] = output.fraction_row::<3>()?;
                ((width, height) == (columns, rows)).then_some((index, channels))
            })
            .collect();
        let &[first, second] = maps.as_slice() else { return None };
        // Where both have as many channels, the order of the exporter decides: probabilities come first.
        let (scores, distances) = if second.1 == 4 * bins { (first, second) } else { (second, first) };
        if distances.1 != 4 * bins || *classes.get_or_insert(scores.1) != scores.1 {
            return None;
        }
        levels.push(Level { scores: scores.0, distances: distances.0, cells: grid::cells(input, &[stride]) });
    }
    Some(LevelMaps { levels, classes: classes?, bins })
}

impl LevelMaps {
    pub(super) fn decode(&self, outputs: &[Values<'_>], into: &mut Candidates) {
        for level in &self.levels {
            let count = level.cells.len();
            let distances = outputs[level.distances].fractions();
            for (class, scores) in outputs[level.scores].fractions().chunks_exact(count).enumerate() {
                if !into.concern_any(scores) {
                    continue;
                }
                for (at, (&score, cell)) in scores.iter().zip(&level.cells).enumerate() {
                    if into.concerns(score) {
                        let sides = distribution::four(&distances[at..], self.bins, count);
                        into.push(cell.around(sides, 0.0), score, class as u32);
                    }
                }
            }
        }
    }

    pub(super) fn classes(&self) -> usize {
        self.classes
    }
}
