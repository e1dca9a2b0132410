//! Which decoder is chosen for the outputs that real networks have.

use super::*;

fn chosen(outputs: &[OutputShape], input: Size) -> Result<DecoderKind, Error> {
    choose(outputs, input).map(|decoder| decoder.kind())
}

fn one(dimensions: &[usize]) -> Vec<OutputShape> {
    vec![OutputShape::fractions("output", dimensions)]
}

fn maps(classes: usize, distances: usize, side: usize) -> Vec<OutputShape> {
    let levels = [side / 8, side / 16, side / 32];
    let map = |channels: usize, side: usize| OutputShape::fractions("x", &[1, channels, side, side]);
    levels.iter().map(|&side| map(classes, side)).chain(levels.iter().map(|&side| map(distances, side))).collect()
}

#[test]
fn real_networks_are_known_by_their_outputs() {
    use DecoderKind as Kind;
    let two = |first: &[usize], second: &[usize]| {
        vec![OutputShape::fractions("output", first), OutputShape::fractions("895", second)]
    };
    let square = size(640, 640);
    let cases = [
        (two(&[1, 8400, 80], &[1, 8400, 4]), square, Kind::DamoYolo),
        (two(&[8, 8400, 4], &[8, 8400, 80]), square, Kind::DamoYolo),
        (two(&[1, 3549, 80], &[1, 3549, 4]), size(416, 416), Kind::DamoYolo),
        (two(&[1, 1344, 1], &[1, 1344, 4]), size(256, 256), Kind::DamoYolo),
        (maps(80, 68, 640), square, Kind::DamoYoloRaw),
        (maps(80, 32, 416), size(416, 416), Kind::DamoYoloRaw),
        (maps(32, 68, 640), square, Kind::DamoYoloRaw),
        (one(&[1, 3549, 85]), size(416, 416), Kind::Yolox),
        (one(&[4, 8400, 6]), square, Kind::Yolox),
        (one(&[1, 25200, 85]), square, Kind::YoloV5),
        (one(&[1, 25200, 6]), square, Kind::YoloV5),
        (one(&[1, 102_000, 85]), size(1280, 1280), Kind::YoloV5),
        (one(&[1, 84, 8400]), square, Kind::YoloV8),
        (one(&[2, 5, 6300]), size(640, 480), Kind::YoloV8),
        (one(&[1, 300, 6]), square, Kind::EndToEnd),
        (one(&[4, 300, 84]), square, Kind::RtDetrJoined),
        (one(&[1, 300, 5]), square, Kind::RtDetrJoined),
        (two(&[1, 4420, 2], &[1, 4420, 4]), size(320, 240), Kind::Ssd),
        (one(&[1, 85, 22, 22]), size(352, 352), Kind::FastestDet),
        (one(&[1, 3598, 112]), size(416, 416), Kind::NanoDet),
    ];
    for (outputs, input, expected) in cases {
        assert_eq!(chosen(&outputs, input).unwrap(), expected, "{outputs:?}");
    }
    let detr = [
        OutputShape::whole("labels", &[1, 300]),
        OutputShape::fractions("boxes", &[1, 300, 4]),
        OutputShape::fractions("scores", &[1, 300]),
    ];
    assert_eq!(chosen(&detr, square).unwrap(), Kind::RtDetr);
    let nms = [
        OutputShape::whole("num_dets", &[1, 1]),
        OutputShape::fractions("det_boxes", &[1, 100, 4]),
        OutputShape::fractions("det_scores", &[1, 100]),
        OutputShape::whole("det_classes", &[1, 100]),
    ];
    assert_eq!(chosen(&nms, square).unwrap(), Kind::EfficientNms);
    let pico: Vec<_> = [2704, 676, 169, 49]
        .into_iter()
        .flat_map(|cells| [80, 32].map(|columns| OutputShape::fractions("x", &[1, cells, columns])))
        .collect();
    assert_eq!(chosen(&pico, size(416, 416)).unwrap(), Kind::PicoDet);
}

#[test]
fn four_classes_are_told_apart_by_name_then_by_order() {
    let square = size(640, 640);
    let pair = |names: [&str; 2]| names.map(|name| OutputShape::fractions(name, &[1, 8400, 4]));
    let mut values = vec![0.0f32; 8400 * 4];
    values[..4].copy_from_slice(&[0.1, 0.2, 0.9, 0.8]);
    let zeros = vec![0.5f32; 8400 * 4];
    for (names, scores_first) in [(["boxes", "scores"], false), (["a", "b"], true), (["scores", "boxes"], true)] {
        let decoder = choose(&pair(names), square).unwrap();
        let outputs = if scores_first { [&values, &zeros] } else { [&zeros, &values] };
        let mut candidates = Candidates::new(0.6);
        decoder.decode(&outputs.map(|values| Values::F32(values)), 1, 0, &mut candidates).unwrap();
        assert_eq!(candidates.rejected().inverted, 2, "{names:?}");
    }
}

#[test]
fn what_two_fit_is_refused_and_both_are_named() {
    // 3 x (8x8 + 4x4 + 2x2) anchors of one class look like as many final boxes.
    let outputs = one(&[1, 252, 6]);
    let error = choose(&outputs, size(64, 64)).unwrap_err();
    let Error::SeveralDecoders { kinds, .. } = &error else { panic!("{error}") };
    assert_eq!(kinds, &[DecoderKind::YoloV5, DecoderKind::EndToEnd]);
    assert_eq!(
        error.to_string(),
        "the outputs output float [1,252,6] fit yolov5 and end-to-end alike, at an input of 64x64"
    );
    let hint = error.hint().unwrap();
    assert!(hint.contains("--decoder") && hint.contains("three anchors per cell"), "{hint}");
    for kind in [DecoderKind::YoloV5, DecoderKind::EndToEnd] {
        assert_eq!(Decoder::named(kind, &outputs, size(64, 64)).unwrap().kind(), kind);
    }
}

#[test]
fn what_none_fits_is_refused_with_what_there_is() {
    let square = size(640, 640);
    for outputs in [
        vec![],
        one(&[1, 1000]),
        one(&[1, 301, 84]),
        one(&[1, 1, 640, 640]),
        one(&[1, 0, 85]),
        one(&[1, 8400, 5]),
        vec![OutputShape::whole("output", &[1, 8400, 85])],
        vec![OutputShape::fractions("a", &[1, 8400, 80]), OutputShape::fractions("b", &[1, 8300, 4])],
        vec![OutputShape::fractions("a", &[1, 8400, 80]); 3],
    ] {
        let error = choose(&outputs, square).unwrap_err();
        assert!(matches!(error, Error::NoDecoder { .. }), "{error}");
        let hint = error.hint().unwrap();
        assert!(DecoderKind::ALL.iter().all(|kind| hint.contains(kind.name())), "{hint}");
        for kind in DecoderKind::ALL {
            let named = Decoder::named(kind, &outputs, square);
            assert!(named.is_ok() || matches!(named, Err(Error::DecoderUnfit { .. })));
        }
    }
}

#[test]
fn names_lead_back_to_decoders() {
    for kind in DecoderKind::ALL {
        assert_eq!(kind.name().to_uppercase().parse::<DecoderKind>().unwrap(), kind);
        assert!(!kind.contract().is_empty());
    }
    let error = "yolo".parse::<DecoderKind>().unwrap_err();
    assert!(error.hint().unwrap().contains("yolox"), "{error}");
}
