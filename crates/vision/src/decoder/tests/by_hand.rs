//! Tensors with one object, whose box anyone can check, and tensors that are wrong.

use super::*;

fn only(decoder: &Decoder, outputs: &[Values<'_>], least: f32) -> Found {
    let boxes = found(decoder, outputs, 1, 0, least);
    assert_eq!(boxes.len(), 1, "{boxes:?}");
    boxes[0]
}

#[test]
fn a_yolox_cell_in_the_second_row_of_the_second_level() {
    let input = size(64, 64);
    let shapes = [OutputShape::fractions("output", &[1, 64 + 16 + 4, 7])];
    let decoder = choose(&shapes, input).unwrap();
    let mut values = vec![0.0f32; 84 * 7];
    // Level of stride 16, row 1, column 2; the centre half a cell further, the box e^0 = 1 by 2 cells.
    let row = (64 + 4 + 2) * 7;
    values[row..row + 7].copy_from_slice(&[0.5, 0.5, 0.0, 2.0f32.ln(), 0.8, 0.1, 0.5]);
    let (class, score, sides) = only(&decoder, &[Values::F32(&values)], 0.2);
    assert_eq!((class, sides), (1, [32.0, 8.0, 48.0, 40.0]));
    assert!((score - 0.4).abs() < 1e-6);
}

#[test]
fn a_damo_yolo_point_is_the_cells_corner() {
    let shape = |channels: usize, side: usize| OutputShape::fractions("x", &[1, channels, side, side]);
    let shapes = [shape(2, 8), shape(2, 4), shape(2, 2), shape(32, 8), shape(32, 4), shape(32, 2)];
    let decoder = choose(&shapes, size(64, 64)).unwrap();
    let mut outputs: Vec<Vec<f32>> = shapes.iter().map(|shape| vec![0.0; shape.dimensions.iter().product()]).collect();
    // Stride 32, row 1, column 0: the point (0, 32).
    outputs[2][4 + 2] = 0.75;
    for (side, bin) in [(0, 1), (1, 0), (2, 3), (3, 2)] {
        outputs[5][(side * 8 + bin) * 4 + 2] = 500.0;
    }
    let values: Vec<_> = outputs.iter().map(|output| Values::F32(output)).collect();
    assert_eq!(only(&decoder, &values, 0.5), (1, 0.75, [-32.0, 32.0, 96.0, 96.0]));
}

#[test]
fn batched_nms_marks_unused_slots_with_a_class_of_less_than_nothing() {
    let shapes = [
        OutputShape::whole("num_detections", &[1, 1]),
        OutputShape::fractions("nmsed_boxes", &[1, 3, 4]),
        OutputShape::fractions("nmsed_scores", &[1, 3]),
        OutputShape::fractions("nmsed_classes", &[1, 3]),
    ];
    let decoder = choose(&shapes, size(64, 64)).unwrap();
    let boxes = [1.0, 2.0, 3.0, 4.0].repeat(3);
    let values =
        [Values::I32(&[2]), Values::F32(&boxes), Values::F32(&[0.9, 0.8, 0.7]), Values::F32(&[5.0, -1.0, 6.0])];
    let (class, score, sides) = only(&decoder, &values, 0.5);
    assert_eq!((class, sides), (5, [1.0, 2.0, 3.0, 4.0]));
    assert!((score - 0.9).abs() < 1e-6);
    for count in [-5, i32::MAX] {
        let mut candidates = Candidates::new(0.5);
        decoder.decode(&[Values::I32(&[count]), values[1], values[2], values[3]], 1, 0, &mut candidates).unwrap();
        assert_eq!(candidates.len(), if count < 0 { 0 } else { 2 });
    }
}

#[test]
fn padding_of_final_boxes_is_no_fault() {
    let decoder = choose(&[OutputShape::fractions("output0", &[1, 4, 6])], size(64, 64)).unwrap();
    let mut values = vec![0.0f32; 24];
    values[..6].copy_from_slice(&[1.0, 1.0, 5.0, 5.0, 0.5, 2.0]);
    let mut candidates = Candidates::new(0.0);
    decoder.decode(&[Values::F32(&values)], 1, 0, &mut candidates).unwrap();
    assert_eq!((candidates.len(), candidates.rejected().total()), (1, 0));
    values[5] = f32::NAN;
    decoder.decode(&[Values::F32(&values)], 1, 0, &mut candidates).unwrap();
    assert_eq!((candidates.len(), candidates.rejected().no_class), (0, 1));
    decoder.decode(&[Values::F32(&values[6..])], 1, 0, &mut candidates).unwrap();
    assert_eq!(candidates.len(), 0, "fewer rows are fine");
}

#[test]
fn yolov8_turned_round_is_read_when_it_is_named() {
    let input = size(64, 64);
    let (first, turned) = ([OutputShape::fractions("o", &[1, 7, 84])], [OutputShape::fractions("o", &[1, 84, 7])]);
    let mut values = vec![0.0f32; 84 * 7];
    for (channel, value) in [20.0, 30.0, 8.0, 4.0, 0.2, 0.7, 0.1].into_iter().enumerate() {
        values[channel * 84 + 9] = value;
    }
    let wanted = only(&choose(&first, input).unwrap(), &[Values::F32(&values)], 0.5);
    let around: Vec<f32> = (0..84 * 7).map(|at| values[at % 7 * 84 + at / 7]).collect();
    let named = Decoder::named(DecoderKind::YoloV8, &turned, input).unwrap();
    assert_eq!((named.classes(), only(&named, &[Values::F32(&around)], 0.5)), (Some(3), wanted));
    assert_eq!(choose(&turned, input).unwrap().kind(), DecoderKind::Yolox, "the shape alone is YOLOX's");
}

#[test]
fn a_list_of_final_boxes_may_begin_with_none() {
    let decoder = choose(&[OutputShape::fractions("output0", &[1, 0, 6])], size(64, 64)).unwrap();
    assert_eq!(decoder.kind(), DecoderKind::EndToEnd);
    let mut candidates = Candidates::new(0.3);
    decoder.decode(&[Values::F32(&[])], 1, 0, &mut candidates).unwrap();
    assert!(candidates.is_empty());
    decoder.decode(&[Values::F32(&[1.0, 1.0, 5.0, 5.0, 0.5, 2.0])], 1, 0, &mut candidates).unwrap();
    assert_eq!(candidates.len(), 1);
    assert!(choose(&[OutputShape::fractions("output0", &[1, 0, 85])], size(64, 64)).is_err());
}

/// Five boxes that score the same in each decoder that is given its classes as numbers.
#[test]
fn classes_that_are_none_are_counted_and_padding_is_not() {
    let labels = [3.0, -1.0, 65_536.0, f32::NAN, 1e12];
    let found = |shapes: &[OutputShape], values: &[Values<'_>]| {
        let mut candidates = Candidates::new(0.3);
        choose(shapes, size(64, 64)).unwrap().decode(values, 1, 0, &mut candidates).unwrap();
        let rejected = candidates.rejected();
        assert_eq!((rejected.not_finite, rejected.inverted), (0, 0));
        (candidates.classes.clone(), rejected.no_class)
    };
    let rows: Vec<f32> = labels.iter().flat_map(|&label| [1.0, 1.0, 5.0, 5.0, 0.5, label]).collect();
    let end_to_end = [OutputShape::fractions("output0", &[1, 5, 6])];
    assert_eq!(found(&end_to_end, &[Values::F32(&rows)]), (vec![3], 3));

    let (boxes, scores) = ([1.0, 1.0, 5.0, 5.0].repeat(5), [0.5; 5]);
    let plug_in = [
        OutputShape::whole("num_dets", &[1, 1]),
        OutputShape::fractions("det_boxes", &[1, 5, 4]),
        OutputShape::fractions("det_scores", &[1, 5]),
        OutputShape::fractions("det_classes", &[1, 5]),
    ];
    let (boxes, scores) = (Values::F32(&boxes), Values::F32(&scores));
    assert_eq!(found(&plug_in, &[Values::I32(&[5]), boxes, scores, Values::F32(&labels)]), (vec![3], 3));

    let transformer = [
        OutputShape::whole("labels", &[1, 5]),
        OutputShape::fractions("boxes", &[1, 5, 4]),
        OutputShape::fractions("scores", &[1, 5]),
    ];
    let whole = [3, -1, 65_536, i64::from(i32::MAX), i64::MAX];
    assert_eq!(found(&transformer, &[Values::I64(&whole), boxes, scores]), (vec![3], 3));
}

#[test]
fn maps_of_68_and_32_channels_are_read_in_the_exporters_order() {
    let map = |channels: usize, cells: usize| OutputShape::fractions("m", &[1, channels, cells, cells]);
    let maps = |first, second| [first, second].map(|channels| [8, 4, 2].map(|cells| map(channels, cells))).concat();
    let classes = |first, second| choose(&maps(first, second), size(64, 64)).unwrap().classes();
    assert_eq!((classes(68, 32), classes(32, 68)), (Some(68), Some(32)));
    assert_eq!((classes(80, 68), classes(68, 80), classes(32, 80)), (Some(80), Some(80), Some(80)));
}

#[test]
fn numbers_that_are_none_are_counted_by_every_decoder() {
    let input = size(64, 64);
    let cases = [
        vec![OutputShape::fractions("s", &[1, 84, 2]), OutputShape::fractions("b", &[1, 84, 4])],
        vec![OutputShape::fractions("s", &[1, 90, 2]), OutputShape::fractions("b", &[1, 90, 4])],
        vec![OutputShape::fractions("o", &[1, 84, 7])],
        vec![OutputShape::fractions("o", &[1, 252, 7])],
        vec![OutputShape::fractions("o", &[1, 6, 84])],
        vec![OutputShape::fractions("o", &[1, 100, 6])],
        vec![OutputShape::fractions("o", &[1, 300, 7])],
        vec![OutputShape::fractions("o", &[1, 7, 4, 4])],
        vec![OutputShape::fractions("o", &[1, 85, 40])],
        vec![
            OutputShape::whole("count", &[1, 1]),
            OutputShape::fractions("boxes", &[1, 9, 4]),
            OutputShape::fractions("scores", &[1, 9]),
            OutputShape::whole("classes", &[1, 9]),
        ],
        vec![
            OutputShape::whole("labels", &[1, 9]),
            OutputShape::fractions("boxes", &[1, 9, 4]),
            OutputShape::fractions("scores", &[1, 9]),
        ],
        [3, 68].map(|channels| [8, 4, 2].map(|side| OutputShape::fractions("m", &[1, channels, side, side]))).concat(),
        [2, 32].map(|columns| [64, 16, 4].map(|cells| OutputShape::fractions("m", &[1, cells, columns]))).concat(),
    ];
    let mut kinds = Vec::new();
    for shapes in cases {
        let decoder = choose(&shapes, input).unwrap();
        kinds.push(decoder.kind());
        for poison in [f32::NAN, f32::INFINITY] {
            let fractions = vec![poison; 8192];
            let of = |shape: &OutputShape| match shape.numbers {
                Numbers::Fractions => Values::F32(&fractions[..shape.row_length()]),
                Numbers::Whole => Values::I32(&[9; 9][..shape.row_length()]),
            };
            let mut candidates = Candidates::new(0.3);
            decoder.decode(&shapes.iter().map(of).collect::<Vec<_>>(), 1, 0, &mut candidates).unwrap();
            let rejected = candidates.rejected();
            assert!(candidates.is_empty(), "{}", decoder.kind());
            assert!(rejected.not_finite + rejected.no_class > 0, "{} with {poison}", decoder.kind());
        }
    }
    assert!(DecoderKind::ALL.iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
}

#[test]
fn outputs_of_another_size_are_refused() {
    let decoder = choose(&[OutputShape::fractions("output", &[1, 84, 7])], size(64, 64)).unwrap();
    let mut candidates = Candidates::new(0.3);
    let good = vec![0.0; 2 * 84 * 7];
    assert!(decoder.decode(&[Values::F32(&good)], 2, 1, &mut candidates).is_ok());
    let integers = vec![0i32; 84 * 7];
    for (values, batch, image) in [
        (vec![Values::F32(&good)], 1, 0),
        (vec![Values::F32(&good)], 2, 2),
        (vec![], 1, 0),
        (vec![Values::F32(&good); 2], 2, 0),
        (vec![Values::I32(&integers)], 1, 0),
        (vec![Values::F32(&good)], 0, 0),
    ] {
        let error = decoder.decode(&values, batch, image, &mut candidates).unwrap_err();
        assert!(matches!(error, Error::OutputChanged { .. }), "{error}");
    }
}
