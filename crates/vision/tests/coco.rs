//! COCO's score beside pycocotools' on tasks that `coco/make_cases.py` made up.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::path::Path;
use trtforge_vision::coco::{Annotations, Found, evaluate};

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn found(row: &Value) -> Found {
    let bounds: Vec<f64> = row["bbox"].as_array().unwrap().iter().map(number).collect();
    Found {
        image: row["image_id"].as_i64().unwrap(),
        category: row["category_id"].as_i64().unwrap(),
        bounds: bounds.try_into().unwrap(),
        score: number(&row["score"]),
    }
}

fn assert_near(actual: Option<f64>, expected: f64, what: &str) {
    let actual = actual.unwrap_or(-1.0);
    assert!((actual - expected).abs() < 1e-6, "{what}: {actual} for {expected}");
}

#[test]
fn every_figure_is_that_of_pycocotools() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("coco/cases.json")).unwrap();
    assert!(cases.len() >= 10);
    for (index, case) in cases.iter().enumerate() {
        let text = case["truth"].to_string();
        let truth = Annotations::parse(text.as_bytes(), Path::new("case")).unwrap();
        assert!(truth.problems.is_empty(), "case {index}: {:?}", truth.problems);
        let found: Vec<Found> = case["found"].as_array().unwrap().iter().map(found).collect();
        let images: Vec<i64> = truth.images.iter().map(|image| image.id).collect();
        let categories: Vec<i64> = truth.categories.iter().map(|category| category.id).collect();
        let score = evaluate(&truth.truths, &found, &images, &categories);
        let (precision, recall) = (score.ap_by_area, score.recall_by_area);
        let figures = [
            score.ap,
            score.ap50,
            score.ap75,
            precision.small,
            precision.medium,
            precision.large,
            score.recall[0],
            score.recall[1],
            score.recall[2],
            recall.small,
            recall.medium,
            recall.large,
        ];
        for (at, (figure, expected)) in figures.into_iter().zip(case["stats"].as_array().unwrap()).enumerate() {
            assert_near(figure, number(expected), &format!("case {index}, figure {at}"));
        }
        for (class, expected) in score.per_class.iter().zip(case["per_class"].as_array().unwrap()) {
            assert_eq!(class.category, expected[0].as_i64().unwrap());
            assert_near(class.ap, number(&expected[1]), &format!("case {index}, class {}", class.category));
            assert_near(class.ap50, number(&expected[2]), &format!("case {index}, class {} at half", class.category));
            assert_near(class.recall50, number(&expected[3]), &format!("case {index}, recall of {}", class.category));
        }
    }
}

#[test]
fn classes_and_photographs_that_were_not_asked_for_do_not_count() {
    let text = br#"{"images":[{"id":1,"file_name":"a"},{"id":2,"file_name":"b"}],"categories":[{"id":1},{"id":2}],
        "annotations":[{"id":1,"image_id":1,"category_id":1,"bbox":[0,0,9,9],"area":81}]}"#;
    let truth = Annotations::parse(text, Path::new("case")).unwrap();
    let hit = Found { image: 1, category: 1, bounds: [0.0, 0.0, 9.0, 9.0], score: 0.5 };
    let elsewhere = [hit, Found { image: 2, score: 0.9, ..hit }, Found { category: 2, score: 0.9, ..hit }];
    assert!((evaluate(&truth.truths, &elsewhere, &[1], &[1]).ap.unwrap() - 1.0).abs() < 1e-9);
    assert!((evaluate(&truth.truths, &elsewhere, &[1, 2], &[1]).ap.unwrap() - 0.5).abs() < 1e-9);
    assert_eq!(evaluate(&truth.truths, &[], &[1], &[1]).ap, Some(0.0));
    assert_eq!(evaluate(&truth.truths, &elsewhere, &[1], &[2]).ap, None);
    assert_eq!(evaluate(&[], &[], &[], &[]).per_class, []);
}
