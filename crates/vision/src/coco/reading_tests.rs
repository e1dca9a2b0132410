//! Annotation files as people make them: whole, wrong, and hostile.

use super::annotations::*;
use crate::error::Error;
use crate::size::Size;
use proptest::prelude::*;
use std::path::Path;

fn parse(text: &str) -> Annotations {
    Annotations::parse(text.as_bytes(), Path::new("a.json")).unwrap()
}

#[test]
fn a_whole_file_is_read() {
    let file = parse(
        r#"{"info": {"year": 2017}, "licenses": [], "categories": [{"id": 18, "name": "dog", "supercategory": "animal"},
            {"id": 1, "name": "person"}], "images": [{"id": 139, "file_name": "000000000139.jpg", "width": 640, "height": 426}],
            "annotations": [{"id": 5, "image_id": 139, "category_id": 18, "bbox": [1, 2.5, 3, 4], "area": 9.5, "iscrowd": 1,
            "segmentation": {"counts": [1, 2, 3], "size": [4, 5]}}]}"#,
    );
    assert!(file.problems.is_empty(), "{:?}", file.problems);
    assert_eq!(
        file.images,
        [AnnotatedImage { id: 139, file_name: "000000000139.jpg".into(), size: Size::new(640, 426).ok() }]
    );
    assert_eq!(file.categories.iter().map(|category| category.name.as_str()).collect::<Vec<_>>(), ["person", "dog"]);
    let expected = Truth { image: 139, category: 18, bounds: [1.0, 2.5, 3.0, 4.0], area: 9.5, crowd: true };
    assert_eq!(file.truths, [expected]);
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = r#"{"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [], "annotations": []}"#;
    for mark in ["", "\u{feff}"] {
        std::fs::write(file.path(), format!("{mark}{text}")).unwrap();
        assert_eq!(Annotations::read(file.path()).unwrap().images.len(), 1);
    }
    std::fs::write(file.path(), "\u{feff}\u{feff}").unwrap();
    assert!(matches!(Annotations::read(file.path()), Err(Error::Annotations { .. })), "one mark is enough");
}

#[test]
fn every_fault_is_counted_and_the_rest_is_kept() {
    let file = parse(
        r#"{"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}, {"id": "x", "file_name": "c.jpg"}, 7,
            {"id": 2}],
        "categories": [{"id": 1, "name": "one"}, {"id": 1, "name": "uno"}, {"name": "none"}, {"id": 2, "name": 5}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5], "area": 20, "iscrowd": false},
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5], "area": 20},
            {"id": 1, "image_id": 1, "category_id": 2, "bbox": [0, 0, 5, 5], "area": 20},
            {"id": 3, "image_id": 9, "category_id": 1, "bbox": [0, 0, 5, 5]},
            {"id": 4, "image_id": 1, "category_id": 90, "bbox": [0, 0, 5, 5]},
            {"id": 5, "image_id": 1, "category_id": 1, "bbox": [0, 0, 5]},
            {"id": 6, "image_id": 1, "category_id": 1, "bbox": [0, 0, -5, 5]},
            {"id": 7, "image_id": 1, "category_id": 1},
            {"id": 8, "image_id": 1, "category_id": 1, "bbox": [0, 0, 0, 5], "area": "big"},
            null, "annotation", [1, 2]]}"#,
    );
    let counts = [
        (SAME_IMAGE, 1),
        (BAD_IMAGE, 3),
        (SAME_CATEGORY, 1),
        (BAD_CATEGORY, 1),
        (SAME_ANNOTATION, 1),
        (SHARED_ID, 1),
        (UNKNOWN_IMAGE, 1),
        (UNKNOWN_CATEGORY, 1),
        (BAD_ANNOTATION, 6),
        (NO_AREA, 1),
        (EMPTY_BOX, 1),
    ];
    for (what, count) in counts {
        assert_eq!(file.problems.count(what), count, "{what}");
    }
    assert_eq!(file.problems.iter().count(), counts.len());
    let first = file.problems.iter().find(|problem| problem.what == BAD_ANNOTATION);
    assert_eq!(first.map(|problem| problem.first.as_str()), Some("annotations[5]"));
    assert_eq!((file.images.len(), file.categories.len(), file.truths.len()), (1, 2, 3));
    assert_eq!(file.truths[2].area, 0.0, "the area of the box stands in");
}

#[test]
fn what_is_no_annotation_file_is_an_error_with_its_line() {
    for text in ["", "[]", "{}", "{\"images\": 5}", "{\"images\": [],\n \"annotations\": [}", "null", "\u{fffd}"] {
        let error = Annotations::parse(text.as_bytes(), Path::new("a.json")).unwrap_err();
        assert!(matches!(error, Error::Annotations { .. }) && error.hint().is_some(), "{text}: {error}");
    }
    let missing = Annotations::read(Path::new("/no/such/file.json")).unwrap_err();
    assert!(matches!(missing, Error::ReadAnnotations { .. }), "{missing}");
    assert_eq!(missing.hint().as_deref(), Some("check the path"));
}

/// Any JSON, with the keys that matter more often than others.
fn json() -> impl Strategy<Value = String> {
    let keys = prop_oneof![
        Just("id"),
        Just("image_id"),
        Just("category_id"),
        Just("bbox"),
        Just("area"),
        Just("iscrowd"),
        Just("file_name"),
        Just("name"),
        Just("images"),
        Just("annotations"),
        Just("categories"),
    ];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        Just("1".to_owned()),
        Just("1e400".to_owned()),
        Just("-0.0".to_owned()),
        Just("\"text\"".to_owned()),
        Just("[0,0,5,5]".to_owned()),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(|list| format!("[{}]", list.join(","))),
            proptest::collection::vec((keys.clone(), inner), 0..6).prop_map(|pairs| {
                let pairs: Vec<String> = pairs.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", pairs.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_makes_it_panic(images in json(), annotations in json(), categories in json()) {
        let text = format!("{{\"images\":[{images}],\"annotations\":[{annotations}],\"categories\":[{categories}]}}");
        for text in [text.as_str(), images.as_str(), &text[..text.len() / 2]] {
            if let Ok(file) = Annotations::parse(text.as_bytes(), Path::new("a.json")) {
                for truth in &file.truths {
                    prop_assert!(file.images.iter().any(|image| image.id == truth.image));
                    prop_assert!(file.categories.iter().any(|category| category.id == truth.category));
                    prop_assert!(truth.area >= 0.0 && truth.bounds.iter().all(|side| side.is_finite()));
                }
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Annotations::parse(&bytes, Path::new("a.json"));
    }
}
