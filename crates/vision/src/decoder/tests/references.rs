//! The contracts written down a second time: in double precision, one number after the other, by index arithmetic over the
//! whole batch.

use super::*;

const BATCH: usize = 2;
const CLASSES: usize = 3;
const INPUT: (u32, u32) = (64, 32);
const LEAST: f32 = 0.3;

/// Column, row and stride of every cell, finest level first.
fn cells(strides: &[usize]) -> Vec<(f64, f64, f64)> {
    let mut all = Vec::new();
    for &stride in strides {
        for row in 0..(INPUT.1 as usize).div_ceil(stride) {
            for column in 0..(INPUT.0 as usize).div_ceil(stride) {
                all.push((column as f64, row as f64, stride as f64));
            }
        }
    }
    all
}

fn centred(x: f64, y: f64, width: f64, height: f64) -> [f64; 4] {
    [x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0]
}

fn check(kind: DecoderKind, shapes: &[OutputShape], values: &[Values<'_>], reference: impl Fn(usize) -> Vec<Found>) {
    let input = size(INPUT.0, INPUT.1);
    let decoder = Decoder::named(kind, shapes, input).unwrap();
    for image in 0..BATCH {
        let slow = reference(image).into_iter().filter(|found| found.1 >= f64::from(LEAST));
        let slow = sorted(slow.filter(|found| found.2[2] > found.2[0] && found.2[3] > found.2[1]).collect());
        assert_same(&found(&decoder, values, BATCH, image, LEAST), &slow);
    }
}

#[test]
fn damo_yolo() {
    let anchors = cells(&[8, 16, 32]).len();
    let mut noise = Noise(1);
    let scores = noise.vec(BATCH * anchors * CLASSES, 0.0, 1.0);
    let boxes = noise.vec(BATCH * anchors * 4, -20.0, 80.0);
    let shapes = [
        OutputShape::fractions("853", &[BATCH, anchors, 4]),
        OutputShape::fractions("output", &[BATCH, anchors, CLASSES]),
    ];
    check(DecoderKind::DamoYolo, &shapes, &[Values::F32(&boxes), Values::F32(&scores)], |image| {
        let mut all = Vec::new();
        for anchor in 0..anchors {
            for class in 0..CLASSES {
                let score = scores[(image * anchors + anchor) * CLASSES + class];
                let side = |side: usize| f64::from(boxes[(image * anchors + anchor) * 4 + side]);
                all.push((class as u32, f64::from(score), [side(0), side(1), side(2), side(3)]));
            }
        }
        all
    });
}

/// Mean of the softmax of `bins` numbers that `logit` gives.
fn mean(bins: usize, logit: impl Fn(usize) -> f32) -> f64 {
    let shares: Vec<f64> = (0..bins).map(|bin| f64::from(logit(bin)).exp()).collect();
    shares.iter().enumerate().map(|(bin, share)| bin as f64 * share).sum::<f64>() / shares.iter().sum::<f64>()
}

fn around(cell: (f64, f64, f64), offset: f64, sides: [f64; 4]) -> [f64; 4] {
    let (x, y) = ((cell.0 + offset) * cell.2, (cell.1 + offset) * cell.2);
    [x - sides[0] * cell.2, y - sides[1] * cell.2, x + sides[2] * cell.2, y + sides[3] * cell.2]
}

#[test]
fn damo_yolo_raw_of_both_sizes() {
    for bins in [17, 8] {
        let mut noise = Noise(bins as u64);
        let levels: Vec<_> = [8, 16, 32].map(|stride| cells(&[stride])).into();
        let maps: Vec<(Vec<f32>, Vec<f32>)> = levels
            .iter()
            .map(|level| {
                let count = BATCH * level.len();
                (noise.vec(count * CLASSES, 0.0, 1.0), noise.vec(count * 4 * bins, -3.0, 3.0))
            })
            .collect();
        let map = |channels: usize, stride: u32| {
            let (width, height) = (INPUT.0.div_ceil(stride) as usize, INPUT.1.div_ceil(stride) as usize);
            OutputShape::fractions("x", &[BATCH, channels, height, width])
        };
        let strides = [8, 16, 32];
        let shapes: Vec<_> =
            strides.iter().map(|&s| map(CLASSES, s)).chain(strides.iter().map(|&s| map(4 * bins, s))).collect();
        let scores = maps.iter().map(|(scores, _)| Values::F32(scores));
        let values: Vec<_> = scores.chain(maps.iter().map(|(_, distances)| Values::F32(distances))).collect();
        check(DecoderKind::DamoYoloRaw, &shapes, &values, |image| {
            let mut all = Vec::new();
            for (level, (scores, distances)) in levels.iter().zip(&maps) {
                let count = level.len();
                for (at, &cell) in level.iter().enumerate() {
                    let logit =
                        |side: usize, bin: usize| distances[(image * 4 * bins + side * bins + bin) * count + at];
                    let sides = [0, 1, 2, 3].map(|side| mean(bins, |bin| logit(side, bin)));
                    for class in 0..CLASSES {
                        let score = f64::from(scores[(image * CLASSES + class) * count + at]);
                        all.push((class as u32, score, around(cell, 0.0, sides)));
                    }
                }
            }
            all
        });
    }
}

#[test]
fn yolox() {
    let cells = cells(&[8, 16, 32]);
    let columns = 5 + CLASSES;
    let mut noise = Noise(3);
    let mut values = noise.vec(BATCH * cells.len() * columns, 0.3, 1.0);
    for row in values.chunks_exact_mut(columns) {
        row[..4].iter_mut().for_each(|value| *value = *value * 6.0 - 3.0);
    }
    let shapes = [OutputShape::fractions("output", &[BATCH, cells.len(), columns])];
    check(DecoderKind::Yolox, &shapes, &[Values::F32(&values)], |image| {
        let mut all = Vec::new();
        for (anchor, cell) in cells.iter().enumerate() {
            let number = |at: usize| f64::from(values[(image * cells.len() + anchor) * columns + at]);
            let (x, y) = ((number(0) + cell.0) * cell.2, (number(1) + cell.1) * cell.2);
            let sides = centred(x, y, number(2).exp() * cell.2, number(3).exp() * cell.2);
            all.extend((0..CLASSES).map(|class| (class as u32, number(4) * number(5 + class), sides)));
        }
        all
    });
}

#[test]
fn yolov5() {
    let anchors = 3 * cells(&[8, 16, 32]).len();
    let columns = 5 + CLASSES;
    let mut noise = Noise(4);
    let mut values = noise.vec(BATCH * anchors * columns, 0.2, 1.0);
    for row in values.chunks_exact_mut(columns) {
        row[..4].iter_mut().for_each(|value| *value *= 60.0);
    }
    let shapes = [OutputShape::fractions("output0", &[BATCH, anchors, columns])];
    check(DecoderKind::YoloV5, &shapes, &[Values::F32(&values)], |image| {
        let mut all = Vec::new();
        for anchor in 0..anchors {
            let number = |at: usize| f64::from(values[(image * anchors + anchor) * columns + at]);
            let sides = centred(number(0), number(1), number(2), number(3));
            all.extend((0..CLASSES).map(|class| (class as u32, number(4) * number(5 + class), sides)));
        }
        all
    });
}

#[test]
fn yolov8() {
    let anchors = cells(&[8, 16, 32]).len();
    let channels = 4 + CLASSES;
    let mut noise = Noise(5);
    let mut values = noise.vec(BATCH * channels * anchors, 0.0, 1.0);
    for image in values.chunks_exact_mut(channels * anchors) {
        image[..4 * anchors].iter_mut().for_each(|value| *value *= 60.0);
    }
    let shapes = [OutputShape::fractions("output0", &[BATCH, channels, anchors])];
    check(DecoderKind::YoloV8, &shapes, &[Values::F32(&values)], |image| {
        let mut all = Vec::new();
        for anchor in 0..anchors {
            let number = |channel: usize| f64::from(values[(image * channels + channel) * anchors + anchor]);
            let sides = centred(number(0), number(1), number(2), number(3));
            all.extend((0..CLASSES).map(|class| (class as u32, number(4 + class), sides)));
        }
        all
    });
}

#[test]
fn end_to_end() {
    let (rows, mut noise) = (40, Noise(6));
    let values: Vec<f32> = (0..BATCH * rows)
        .flat_map(|_| {
            let corner = noise.vec(2, 0.0, 30.0);
            [
                corner[0],
                corner[1],
                corner[0] + 9.0,
                corner[1] + 4.0,
                noise.between(0.0, 1.0),
                (noise.next() * 5.0).floor() as f32,
            ]
        })
        .collect();
    let shapes = [OutputShape::fractions("output0", &[BATCH, rows, 6])];
    check(DecoderKind::EndToEnd, &shapes, &[Values::F32(&values)], |image| {
        let number = |row: usize, at: usize| f64::from(values[(image * rows + row) * 6 + at]);
        let sides = |row| [number(row, 0), number(row, 1), number(row, 2), number(row, 3)];
        (0..rows).map(|row| (number(row, 5) as u32, number(row, 4), sides(row))).collect()
    });
}

/// Boxes that are whole, for `count` slots of each image.
fn whole_boxes(noise: &mut Noise, count: usize) -> Vec<f32> {
    let one = |noise: &mut Noise| {
        let corner = noise.vec(2, 0.0, 30.0);
        [corner[0], corner[1], corner[0] + 9.0, corner[1] + 4.0]
    };
    (0..BATCH * count).flat_map(|_| one(noise)).collect()
}

#[test]
fn efficient_nms_and_batched_nms() {
    let (slots, mut noise) = (20, Noise(7));
    let boxes = whole_boxes(&mut noise, slots);
    let scores = noise.vec(BATCH * slots, 0.0, 1.0);
    let classes: Vec<i32> = (0..BATCH * slots).map(|at| at as i32 * 7 % 5).collect();
    let as_fractions: Vec<f32> = classes.iter().map(|&class| class as f32).collect();
    let counts = [17, 9];
    let reference = |image: usize| -> Vec<Found> {
        let slot = |at: usize| image * slots + at;
        let side = |at: usize, side: usize| f64::from(boxes[slot(at) * 4 + side]);
        let sides = |at| [side(at, 0), side(at, 1), side(at, 2), side(at, 3)];
        let count = counts[image] as usize;
        (0..count).map(|at| (classes[slot(at)] as u32, f64::from(scores[slot(at)]), sides(at))).collect()
    };
    let count = OutputShape::whole("num_dets", &[BATCH, 1]);
    let boxes_shape = OutputShape::fractions("det_boxes", &[BATCH, slots, 4]);
    let scores_shape = OutputShape::fractions("det_scores", &[BATCH, slots]);
    let shapes =
        [count.clone(), boxes_shape.clone(), scores_shape.clone(), OutputShape::whole("det_classes", &[BATCH, slots])];
    let values = [Values::I32(&counts), Values::F32(&boxes), Values::F32(&scores), Values::I32(&classes)];
    check(DecoderKind::EfficientNms, &shapes, &values, reference);
    let shapes = [OutputShape::fractions("nmsed_classes", &[BATCH, slots]), scores_shape, boxes_shape, count];
    let values = [Values::F32(&as_fractions), Values::F32(&scores), Values::F32(&boxes), Values::I32(&counts)];
    check(DecoderKind::EfficientNms, &shapes, &values, reference);
}

#[test]
fn rt_detr() {
    let (queries, mut noise) = (30, Noise(8));
    let boxes = whole_boxes(&mut noise, queries);
    let scores = noise.vec(BATCH * queries, 0.0, 1.0);
    let labels: Vec<i64> = (0..BATCH * queries).map(|at| at as i64 * 3 % 80).collect();
    let shapes = [
        OutputShape::whole("labels", &[BATCH, queries]),
        OutputShape::fractions("boxes", &[BATCH, queries, 4]),
        OutputShape::fractions("scores", &[BATCH, queries]),
    ];
    let values = [Values::I64(&labels), Values::F32(&boxes), Values::F32(&scores)];
    check(DecoderKind::RtDetr, &shapes, &values, |image| {
        let query = |at: usize| image * queries + at;
        let side = |at: usize, side: usize| f64::from(boxes[query(at) * 4 + side]);
        let sides = |at| [side(at, 0), side(at, 1), side(at, 2), side(at, 3)];
        (0..queries).map(|at| (labels[query(at)] as u32, f64::from(scores[query(at)]), sides(at))).collect()
    });
}

#[test]
fn rt_detr_joined() {
    let (queries, columns) = (30, 4 + CLASSES);
    let values = Noise(13).vec(BATCH * queries * columns, 0.01, 1.0);
    let shapes = [OutputShape::fractions("output0", &[BATCH, queries, columns])];
    check(DecoderKind::RtDetrJoined, &shapes, &[Values::F32(&values)], |image| {
        let number = |query: usize, at: usize| f64::from(values[(image * queries + query) * columns + at]);
        let side = |query: usize, at: usize| {
            number(query, at) * f64::from(if at.is_multiple_of(2) { INPUT.0 } else { INPUT.1 })
        };
        let surest = |query: usize| (0..CLASSES).max_by(|&a, &b| number(query, 4 + a).total_cmp(&number(query, 4 + b)));
        let found = |query: usize| {
            let class = surest(query).unwrap();
            let sides = centred(side(query, 0), side(query, 1), side(query, 2), side(query, 3));
            (class as u32, number(query, 4 + class), sides)
        };
        (0..queries).map(found).collect()
    });
}

#[test]
fn ssd() {
    let (anchors, mut noise) = (50, Noise(9));
    let scores = noise.vec(BATCH * anchors * (1 + CLASSES), 0.0, 1.0);
    let boxes: Vec<f32> = whole_boxes(&mut noise, anchors).iter().map(|side| side / 64.0).collect();
    let shapes = [
        OutputShape::fractions("scores", &[BATCH, anchors, 1 + CLASSES]),
        OutputShape::fractions("boxes", &[BATCH, anchors, 4]),
    ];
    check(DecoderKind::Ssd, &shapes, &[Values::F32(&scores), Values::F32(&boxes)], |image| {
        let mut all = Vec::new();
        for anchor in 0..anchors {
            let at = image * anchors + anchor;
            let side = |side: usize, scale: u32| f64::from(boxes[at * 4 + side]) * f64::from(scale);
            let sides = [side(0, INPUT.0), side(1, INPUT.1), side(2, INPUT.0), side(3, INPUT.1)];
            let score = |class: usize| f64::from(scores[at * (1 + CLASSES) + 1 + class]);
            all.extend((0..CLASSES).map(|class| (class as u32, score(class), sides)));
        }
        all
    });
}

#[test]
fn fastestdet() {
    let (columns, rows) = (4usize, 2usize);
    let (cells, channels) = (rows * columns, 5 + CLASSES);
    let mut noise = Noise(10);
    let mut values = noise.vec(BATCH * channels * cells, 0.0, 1.0);
    for image in values.chunks_exact_mut(channels * cells) {
        image[cells..5 * cells].iter_mut().for_each(|value| *value = *value * 4.0 - 2.0);
    }
    let shapes = [OutputShape::fractions("758", &[BATCH, channels, rows, columns])];
    check(DecoderKind::FastestDet, &shapes, &[Values::F32(&values)], |image| {
        let mut all = Vec::new();
        for row in 0..rows {
            for column in 0..columns {
                let number =
                    |channel: usize| f64::from(values[((image * channels + channel) * rows + row) * columns + column]);
                let class = (0..CLASSES).max_by(|&a, &b| number(5 + a).total_cmp(&number(5 + b))).unwrap();
                let sigmoid = |value: f64| 1.0 / (1.0 + (-value).exp());
                let x = (column as f64 + number(1).tanh()) / columns as f64 * f64::from(INPUT.0);
                let y = (row as f64 + number(2).tanh()) / rows as f64 * f64::from(INPUT.1);
                let (width, height) =
                    (sigmoid(number(3)) * f64::from(INPUT.0), sigmoid(number(4)) * f64::from(INPUT.1));
                let score = number(0).powf(0.6) * number(5 + class).powf(0.4);
                all.push((class as u32, score, centred(x, y, width, height)));
            }
        }
        all
    });
}

#[test]
fn nanodet_of_both_generations() {
    for (strides, offset) in [(&[8, 16, 32, 64][..], 0.0), (&[8, 16, 32], 0.5)] {
        let cells = cells(strides);
        let columns = CLASSES + 32;
        let values = Noise(11).vec(BATCH * cells.len() * columns, 0.0, 1.0);
        let shapes = [OutputShape::fractions("output", &[BATCH, cells.len(), columns])];
        check(DecoderKind::NanoDet, &shapes, &[Values::F32(&values)], |image| {
            let mut all = Vec::new();
            for (anchor, &cell) in cells.iter().enumerate() {
                let number = |at: usize| values[(image * cells.len() + anchor) * columns + at];
                let sides = [0, 1, 2, 3].map(|side| mean(8, |bin| number(CLASSES + side * 8 + bin)));
                let score = |class: usize| f64::from(number(class));
                all.extend((0..CLASSES).map(|class| (class as u32, score(class), around(cell, offset, sides))));
            }
            all
        });
    }
}

#[test]
fn picodet_whatever_the_order_of_its_outputs() {
    let levels: Vec<_> = [8, 16, 32, 64].map(|stride| cells(&[stride])).into();
    let mut noise = Noise(12);
    let maps: Vec<(Vec<f32>, Vec<f32>)> = levels
        .iter()
        .map(|level| {
            (noise.vec(BATCH * level.len() * CLASSES, 0.0, 1.0), noise.vec(BATCH * level.len() * 32, -3.0, 3.0))
        })
        .collect();
    let shape = |level: &Vec<_>, columns| OutputShape::fractions("x", &[BATCH, level.len(), columns]);
    let shapes: Vec<_> = levels.iter().flat_map(|level| [shape(level, 32), shape(level, CLASSES)]).collect();
    let values: Vec<_> =
        maps.iter().flat_map(|(scores, distances)| [Values::F32(distances), Values::F32(scores)]).collect();
    check(DecoderKind::PicoDet, &shapes, &values, |image| {
        let mut all = Vec::new();
        for (level, (scores, distances)) in levels.iter().zip(&maps) {
            for (at, &cell) in level.iter().enumerate() {
                let row = image * level.len() + at;
                let sides = [0, 1, 2, 3].map(|side| mean(8, |bin| distances[row * 32 + side * 8 + bin]));
                let score = |class: usize| f64::from(scores[row * CLASSES + class]);
                all.extend((0..CLASSES).map(|class| (class as u32, score(class), around(cell, 0.5, sides))));
            }
        }
        all
    });
}
