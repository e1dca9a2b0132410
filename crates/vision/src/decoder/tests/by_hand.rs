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
    assert_eq!((candidates.len(), candidates.rejected().not_finite), (0, 1));
    decoder.decode(&[Values::F32(&values[6..])], 1, 0, &mut candidates).unwrap();
    assert_eq!(candidates.len(), 0, "fewer rows are fine");
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
    ];
    for shapes in cases {
        let decoder = choose(&shapes, input).unwrap();
        for poison in [f32::NAN, f32::INFINITY] {
            let outputs: Vec<Vec<f32>> =
                shapes.iter().map(|shape| vec![poison; shape.dimensions.iter().product()]).collect();
            let values: Vec<_> = outputs.iter().map(|output| Values::F32(output)).collect();
            let mut candidates = Candidates::new(0.3);
            decoder.decode(&values, 1, 0, &mut candidates).unwrap();
            assert!(candidates.is_empty(), "{}", decoder.kind());
            assert!(candidates.rejected().not_finite > 0, "{} with {poison}", decoder.kind());
        }
    }
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
