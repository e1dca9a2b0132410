//! Head maps to scores and corner boxes, as nodes of the graph.
//!
//! Distances are the expectation of a distribution over bins (X. Li et al., Generalized focal loss, 2020), in cells of the level. Points are the cells'
//! corners, without a half-cell offset. Points and strides are constants of batch 1 that broadcast to any batch.

use trtforge_graph::construct::node;

use crate::head::CLASSES;
use crate::nodes::Nodes;

/// `[batch, positions, 80]`.
pub(crate) const SCORES: &str = "scores";
/// `[batch, positions, 4]`: left, top, right, bottom in input pixels.
pub(crate) const BOXES: &str = "boxes";

/// The maps of one level.
pub(crate) struct Maps {
    /// Name of the class logits, `[batch, 80, height, width]`.
    pub(crate) classes: String,
    /// Name of the bin logits, `[batch, 4 * bins, height, width]`, side by side.
    pub(crate) distances: String,
    pub(crate) stride: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// Appends the decoding of three levels and returns the number of positions.
pub(crate) fn append(nodes: &mut Nodes, levels: &[Maps; 3], bins: usize) -> usize {
    let positions = levels.iter().map(|level| level.height * level.width).sum();
    let scores = levels.each_ref().map(|level| level_scores(nodes, level));
    let bin_shares = levels.each_ref().map(|level| level_bins(nodes, level, bins));
    join_scores(nodes, &scores);
    let distances = expectation(nodes, &bin_shares, bins, positions);
    let distances = in_pixels(nodes, &distances, levels, positions);
    corners(nodes, &distances, levels, positions);
    positions
}

/// `[batch, height * width, 80]`.
fn level_scores(nodes: &mut Nodes, level: &Maps) -> String {
    let name = &level.classes;
    let cells = (level.height * level.width) as i64;
    let (scores, flat, rows) = (format!("{name}.sigmoid"), format!("{name}.flat"), format!("{name}.rows"));
    nodes.push(node("Sigmoid", &scores, [name], [&scores]));
    nodes.reshape(&flat, &scores, &flat, &[0, CLASSES as i64, cells]);
    nodes.push(node("Transpose", &rows, [&flat], [&rows]).attr_ints("perm", [0, 2, 1]));
    rows
}

/// `[batch, height * width, 4, bins]`, each row of bins summing to one.
fn level_bins(nodes: &mut Nodes, level: &Maps, bins: usize) -> String {
    let name = &level.distances;
    let (height, width, bins) = (level.height as i64, level.width as i64, bins as i64);
    let [sides, shares, flat, rows] = ["sides", "softmax", "flat", "rows"].map(|part| format!("{name}.{part}"));
    nodes.reshape(&sides, name, &sides, &[0, 4, bins, height, width]);
    nodes.push(node("Softmax", &shares, [&sides], [&shares]).attr_int("axis", 2));
    nodes.reshape(&flat, &shares, &flat, &[0, 4, bins, height * width]);
    nodes.push(node("Transpose", &rows, [&flat], [&rows]).attr_ints("perm", [0, 3, 1, 2]));
    rows
}

/// The Slice takes every class: the published export has it for checkpoints with a class too many.
fn join_scores(nodes: &mut Nodes, levels: &[String; 3]) {
    let (joined, classes) = ("decode.scores.concat", "decode.scores.classes");
    nodes.concat(joined, &levels.each_ref().map(String::as_str), joined, 1);
    let starts = nodes.initializer(&format!("{classes}.starts"), &[1], vec![0_i64]);
    let ends = nodes.initializer(&format!("{classes}.ends"), &[1], vec![CLASSES as i64]);
    let axes = nodes.initializer(&format!("{classes}.axes"), &[1], vec![2_i64]);
    let steps = nodes.initializer(&format!("{classes}.steps"), &[1], vec![1_i64]);
    nodes.push(node("Slice", classes, [joined, &starts, &ends, &axes, &steps], [SCORES]));
}

/// Expected bin per side, `[batch, positions, 4]`.
fn expectation(nodes: &mut Nodes, levels: &[String; 3], bins: usize, positions: usize) -> String {
    let [joined, rows, expected, sides] =
        ["concat", "rows", "matmul", "sides"].map(|part| format!("decode.distances.{part}"));
    nodes.concat(&joined, &levels.each_ref().map(String::as_str), &joined, 1);
    nodes.reshape(&rows, &joined, &rows, &[-1, bins as i64]);
    let numbers: Vec<f32> = (0..bins).map(|bin| bin as f32).collect();
    let numbers = nodes.initializer("decode.distances.bins", &[bins, 1], numbers);
    nodes.push(node("MatMul", &expected, [&rows, &numbers], [&expected]));
    nodes.reshape(&sides, &expected, &sides, &[-1, positions as i64, 4]);
    sides
}

fn in_pixels(nodes: &mut Nodes, distances: &str, levels: &[Maps; 3], positions: usize) -> String {
    let strides = per_cell(levels, |level, _, _| level.stride as f32);
    let strides = nodes.initializer("decode.strides", &[1, positions, 1], strides);
    let pixels = "decode.distances.pixels".to_owned();
    nodes.push(node("Mul", &pixels, [distances, &strides], [&pixels]));
    pixels
}

fn corners(nodes: &mut Nodes, distances: &str, levels: &[Maps; 3], positions: usize) {
    let x = per_cell(levels, |level, _, column| (column * level.stride) as f32);
    let y = per_cell(levels, |level, row, _| (row * level.stride) as f32);
    let x = nodes.initializer("decode.points.x", &[1, positions], x);
    let y = nodes.initializer("decode.points.y", &[1, positions], y);
    let axis = nodes.initializer("decode.boxes.axis", &[1], vec![2_i64]);
    let sides = [("left", &x, "Sub"), ("top", &y, "Sub"), ("right", &x, "Add"), ("bottom", &y, "Add")];
    let mut columns = Vec::with_capacity(sides.len());
    for (index, (side, point, operator)) in sides.into_iter().enumerate() {
        let [distance, edge, column] = ["distance", "edge", "column"].map(|part| format!("decode.boxes.{side}.{part}"));
        let number = nodes.initializer(&format!("decode.boxes.{side}.index"), &[], vec![index as i64]);
        nodes.push(node("Gather", &distance, [distances, &number], [&distance]).attr_int("axis", 2));
        nodes.push(node(operator, &edge, [point, &distance], [&edge]));
        nodes.push(node("Unsqueeze", &column, [&edge, &axis], [&column]));
        columns.push(column);
    }
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    nodes.concat("decode.boxes.concat", &columns, BOXES, 2);
}

/// One number per position: levels in order, rows outside, columns inside.
fn per_cell(levels: &[Maps; 3], number: impl Fn(&Maps, usize, usize) -> f32) -> Vec<f32> {
    let mut numbers = Vec::new();
    for level in levels {
        for row in 0..level.height {
            numbers.extend((0..level.width).map(|column| number(level, row, column)));
        }
    }
    numbers
}
