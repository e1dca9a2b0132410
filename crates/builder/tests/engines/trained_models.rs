//! Every trained model at FP32 and FP16: an engine of plausible size, memory figures, and outputs that agree.

use crate::{libraries, run, test_data};
use trtforge_builder::{BuildOptions, BuildOutcome, NamedShape, Precision, PrepareOptions, SampleSource, format_bytes};
use trtforge_vision::Preprocess;

struct Case {
    model: &'static str,
    opt_shape: Option<&'static str>,
    samples: Option<&'static str>,
    preprocess: &'static str,
    least_sqnr_db: f64,
}

fn build_both(case: &Case) -> Option<[BuildOutcome; 2]> {
    let model = test_data(&format!("models/{}", case.model))?;
    let folder = tempfile::tempdir().unwrap();
    let outcome = |precision: Precision| {
        let mut prepare = PrepareOptions::new(&model, precision);
        if let Some(shape) = case.opt_shape {
            prepare.shapes.set_opt(shape.parse::<NamedShape>().unwrap());
        }
        if let Some(samples) = case.samples {
            prepare.samples = SampleSource::Path(test_data(samples).unwrap());
            prepare.sample_count = Some(2);
        }
        prepare.preprocess = Some(serde_saphyr::from_str::<Preprocess>(case.preprocess).unwrap());
        run(&BuildOptions::new(prepare, folder.path().join(format!("{precision}.engine")))).unwrap()
    };
    Some([outcome(Precision::Fp32), outcome(Precision::Fp16)])
}

fn check(case: &Case) {
    if !libraries() {
        return;
    }
    let Some([float, half]) = build_both(case) else { return };
    for outcome in [&float, &half] {
        let memory = &outcome.manifest.memory;
        assert!(memory.weights_bytes > 0 && memory.activation_bytes > 0, "{memory:?}");
        assert!(outcome.manifest.engine.bytes > memory.weights_bytes / 2);
    }
    let (half_memory, float_memory) = (&half.manifest.memory, &float.manifest.memory);
    assert!(half_memory.total_bytes < float_memory.total_bytes, "{half_memory:?} against {float_memory:?}");
    for accuracy in &half.manifest.accuracy {
        let db = accuracy.sqnr_db.unwrap_or(f64::INFINITY);
        println!(
            "{} {}: {db:.1} dB, cosine {:.6}, {} + {} activation",
            case.model,
            accuracy.output,
            accuracy.cosine,
            format_bytes(half.manifest.memory.weights_bytes),
            format_bytes(half.manifest.memory.activation_bytes)
        );
        assert!(db >= case.least_sqnr_db, "{}: {db} dB", accuracy.output);
    }
    for accuracy in &float.manifest.accuracy {
        assert!(accuracy.sqnr_db.is_none_or(|db| db > 80.0), "simplification changed {accuracy:?}");
    }
    assert!(!half.manifest.accuracy.is_empty());
}

#[test]
fn yolox_nano() {
    check(&Case {
        model: "yolox_nano_416.onnx",
        opt_shape: None,
        samples: Some("images/calibration"),
        preprocess: "{fit: letterbox-top-left, order: bgr, pad: 114}",
        least_sqnr_db: 35.0,
    });
}

#[test]
fn fastestdet() {
    let preprocess = "{order: bgr, scale: 0.00392156862745098}";
    check(&Case {
        model: "fastestdet_352.onnx",
        opt_shape: None,
        samples: Some("images/calibration"),
        preprocess,
        least_sqnr_db: 35.0,
    });
}

#[test]
fn ultraface() {
    let preprocess = "{mean: [127, 127, 127], std: [128, 128, 128]}";
    check(&Case {
        model: "ultraface_rfb_320.onnx",
        opt_shape: None,
        samples: Some("images/faces"),
        preprocess,
        least_sqnr_db: 35.0,
    });
}

#[test]
fn text_detector_with_dynamic_height_and_width() {
    let preprocess = "{scale: 0.00392156862745098, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}";
    let opt_shape = Some("x=1x3x320x480");
    check(&Case {
        model: "ppocr_v3_det.onnx",
        opt_shape,
        samples: Some("images/calibration"),
        preprocess,
        least_sqnr_db: 30.0,
    });
}

#[test]
fn super_resolution_with_dynamic_batch() {
    let preprocess = "{scale: 0.00392156862745098}";
    let opt_shape = Some("input=2x1x224x224");
    check(&Case {
        model: "superres_10.onnx",
        opt_shape,
        samples: Some("images/calibration"),
        preprocess,
        least_sqnr_db: 40.0,
    });
}

#[test]
fn mnist() {
    check(&Case { model: "mnist_winml.onnx", opt_shape: None, samples: None, preprocess: "{}", least_sqnr_db: 40.0 });
}

#[test]
fn a_range_of_batches_builds_with_a_profile() {
    let Some(model) = test_data("models/superres_10.onnx").filter(|_| libraries()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut prepare = PrepareOptions::new(model, Precision::Fp16);
    prepare.shapes.set_min("input=1x1x224x224".parse().unwrap());
    prepare.shapes.set_opt("input=2x1x224x224".parse().unwrap());
    prepare.shapes.set_max("input=4x1x224x224".parse().unwrap());
    let manifest = run(&BuildOptions::new(prepare, folder.path().join("a.engine"))).unwrap().manifest;
    assert_eq!(manifest.shapes["input"].max.0, [4, 1, 224, 224]);
    assert_eq!(manifest.memory.io_bytes, 4 * 4 * (224 * 224 + 672 * 672));
}
