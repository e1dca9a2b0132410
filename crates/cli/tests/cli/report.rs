//! `trtforge report`: the page is whole, holds what it should, and is harmless whatever a model says.

use crate::models::{classifier, folder_with_classifier, write};
use crate::program::{Run, have_libraries, run_in, run_without_libraries};
use html5gum::{Token, Tokenizer};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use trtforge_graph::proto::ModelProto;

const HOSTILE: &str = r#"</td><script>alert(1)</script>"onload='x'&"#;
/// Elements that have no end.
const VOID: [&str; 3] = ["meta", "input", "br"];

/// A page, read.
struct Page {
    text: String,
    /// How often each element begins.
    elements: BTreeMap<String, usize>,
    ids: BTreeSet<String>,
    links: BTreeSet<String>,
}

impl Page {
    /// Reads a page; fails where it is not well formed or asks for anything that is not in it.
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("a page");
        let mut page =
            Page { text: String::new(), elements: BTreeMap::new(), ids: BTreeSet::new(), links: BTreeSet::new() };
        let mut open = Vec::new();
        for token in Tokenizer::new(&text) {
            let Ok(token) = token;
            match token {
                Token::StartTag(tag) => {
                    let name = utf8(&tag.name);
                    for (attribute, value) in &tag.attributes {
                        page.attribute(&name, &utf8(attribute), &utf8(value));
                    }
                    if !tag.self_closing && !VOID.contains(&name.as_str()) {
                        open.push(name.clone());
                    }
                    *page.elements.entry(name).or_default() += 1;
                }
                Token::EndTag(tag) => {
                    assert_eq!(open.pop(), Some(utf8(&tag.name)), "elements end in the order they begin")
                }
                Token::Error(error) => panic!("{error:?}"),
                _ => {}
            }
        }
        assert_eq!(open, Vec::<String>::new(), "every element ends");
        Page { text, ..page }
    }

    fn attribute(&mut self, element: &str, name: &str, value: &str) {
        assert!(!name.starts_with("on"), "{element} {name}");
        assert!(!matches!(name, "src" | "srcset" | "xlink:href"), "{element} {name}={value}");
        match name {
            "id" => assert!(self.ids.insert(value.to_owned()), "two are called {value}"),
            "href" => {
                self.links.insert(value.strip_prefix('#').expect("links stay within the page").to_owned());
            }
            _ => {}
        }
    }
}

fn utf8(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn report(folder: &Path, more: &[&str]) -> Run {
    run_in(folder, &[&["report", "out.engine", "-o", "out.html", "-q"], more].concat())
}

fn build(folder: &Path) {
    run_in(folder, &["build", "model.onnx", "-o", "out.engine", "-q"]).success();
}

/// Changes the manifest beside the engine.
fn edit(folder: &Path, change: impl FnOnce(&mut Value)) {
    let path = folder.join("out.engine.json");
    let mut manifest = serde_json::from_slice(&std::fs::read(&path).expect("a manifest")).expect("JSON");
    change(&mut manifest);
    std::fs::write(&path, manifest.to_string()).expect("written");
}

#[test]
fn a_page_holds_everything_that_is_known() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    build(folder.path());
    let summary = report(folder.path(), &["--json"]).json();
    let sections = ["precision", "accuracy", "memory", "shapes", "timings", "origin"];
    assert_eq!(summary["sections"], json!(sections));
    assert_eq!(summary["model"], Value::Null);
    let page = Page::read(&folder.path().join("out.html"));
    assert_eq!(page.ids, sections.into_iter().map(str::to_owned).collect());
    assert_eq!(page.links, page.ids, "every section is led to");
    assert_eq!(page.elements["table"], page.elements["caption"], "every table says what it is");
    assert_eq!(page.elements["svg"], 4, "two plots, each for wide and for narrow screens");
    for word in
        ["1x4x8x8", "All 5 nodes", "out.engine – trtforge", "Total on the device", "7.8 MiB", "float16[1,4,8,8]"]
    {
        assert!(page.text.contains(word), "{word}");
    }
    let again = std::fs::read(folder.path().join("out.html")).expect("a page");
    report(folder.path(), &[]).success();
    assert_eq!(std::fs::read(folder.path().join("out.html")).expect("a page"), again, "the same bytes again");
}

#[test]
fn what_was_measured_and_what_a_newer_manifest_says_is_taken_in() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    build(folder.path());
    let bench = ["bench", "model.onnx", "-q", "--duration", "200ms", "--warmup", "0s", "-o", "bench.json"];
    run_in(folder.path(), &[&bench[..], &["--monitor", "recorded.json"]].concat()).success();
    let soak = run_in(folder.path(), &["soak", "model.onnx", "-q", "--iterations", "400", "--json"]).success().stdout;
    std::fs::write(folder.path().join("soak.json"), soak).expect("written");
    let recording = json!({
        "schema": 1, "kind": "trtforge recording", "title": HOSTILE, "to_s": [0.1, 0.2],
        "series": {
            "resident_bytes": { "most": [1_048_576, null], "last": [1_000_000, null] },
            "threads": { "most": [3, 4], "last": [3, 4] },
        },
        "marks": [{ "at_s": 0.15, "label": HOSTILE }],
    });
    std::fs::write(folder.path().join("monitor.json"), recording.to_string()).expect("written");
    edit(folder.path(), |manifest| {
        manifest["stages"] = json!([{ "file": HOSTILE, "sha256": HOSTILE, "weights_bytes": 7_340_032, "activation_bytes": 0, "boundary_bytes": 1024, "new": 1 }]);
        manifest["calibration"] = json!({ "method": "auto", "images": 3, "tensors": { HOSTILE: "minmax" } });
    });
    let more = ["--bench", "bench.json", "--soak", "soak.json", "--monitor", "monitor.json"];
    report(folder.path(), &more).success();
    let page = Page::read(&folder.path().join("out.html"));
    for section in ["stages", "calibration", "bench", "soak", "monitor"] {
        assert!(page.ids.contains(section), "{section}");
    }
    for word in ["7.0 MiB", "batch 1, 1 stream", "400 inferences in", "1.0 MiB", "Method <strong>auto"] {
        assert!(page.text.contains(word), "{word}");
    }
    assert_eq!(page.elements["script"], 1);
    report(folder.path(), &["--monitor", "recorded.json"]).success();
    let page = Page::read(&folder.path().join("out.html"));
    for word in ["Memory over time: bench model.onnx", "resident", "warm-up"] {
        assert!(page.text.contains(word), "{word}");
    }
    let foreign = report(folder.path(), &["--bench", "soak.json"]).failure(4);
    assert!(foreign.contains("is no report of `trtforge bench`"), "{foreign}");
    for flag in ["--soak", "--monitor"] {
        let told = report(folder.path(), &[flag, "bench.json"]).failure(4);
        assert!(told.contains("bench.json is no "), "{told}");
    }
}

#[test]
fn a_model_whose_names_are_markup_is_harmless() {
    if !have_libraries() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(folder.path(), "model.onnx", hostile());
    build(folder.path());
    edit(folder.path(), |manifest| {
        manifest["verified_on"] = json!(HOSTILE);
        manifest["precision"]["kept"] = json!([{ "node": HOSTILE, "reason": HOSTILE }]);
        manifest["accuracy"][0]["output"] = json!(HOSTILE);
    });
    report(folder.path(), &[]).success();
    let page = Page::read(&folder.path().join("out.html"));
    assert_eq!(page.elements["script"], 1, "the page's own");
    assert!(page.text.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !page.text.contains("<script>alert"));
}

/// The classifier with names that would end a cell, run a script or add an attribute.
fn hostile() -> ModelProto {
    let mut proto = classifier();
    let graph = proto.graph.mut_or_insert_default();
    for node in &mut graph.node {
        node.name = Some(format!("{}{HOSTILE}", node.name()));
        for value in node.input.iter_mut().chain(&mut node.output) {
            value.push_str(HOSTILE);
        }
    }
    let initializers = graph.initializer.iter_mut().map(|it| &mut it.name);
    let ends = graph.input.iter_mut().chain(&mut graph.output).map(|it| &mut it.name);
    initializers.chain(ends).flatten().for_each(|name| name.push_str(HOSTILE));
    proto
}

#[test]
fn without_the_model_the_page_says_why() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    build(folder.path());
    let model = folder.path().join("model.onnx");
    let says = |word: &str| {
        let summary = report(folder.path(), &["--json"]).json();
        let why = summary["model"].as_str().expect("a reason").to_owned();
        let page = Page::read(&folder.path().join("out.html"));
        assert!(why.contains(word) && page.text.contains(&why), "{why}");
        assert_eq!(page.elements["svg"], 2, "the engine's own plot is there all the same");
    };
    let whole = std::fs::read(&model).expect("the model");
    std::fs::write(&model, [&whole[..], b"\x7a\x00"].concat()).expect("written");
    says("is not what the engine was built from any more");
    std::fs::write(&model, b"nonsense").expect("written");
    says("cannot be read");
    std::fs::remove_file(&model).expect("removed");
    says("there is no model.onnx");
    edit(folder.path(), |manifest| {
        let manifest = manifest.as_object_mut().expect("an object");
        manifest.retain(|key, _| key != "nodes" && key != "activation");
    });
    report(folder.path(), &[]).success();
    assert!(
        Page::read(&folder.path().join("out.html")).text.contains("The manifest does not list"),
        "an older manifest"
    );
}

#[test]
fn only_reports_are_replaced_unless_asked_for() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    build(folder.path());
    let output = folder.path().join("out.html");
    std::fs::write(&output, "my notes").expect("written");
    insta::assert_snapshot!("replace_notes", report(folder.path(), &[]).failure(2));
    assert_eq!(std::fs::read_to_string(&output).expect("notes"), "my notes");
    report(folder.path(), &["--force"]).success();
    report(folder.path(), &[]).success();
    let refused = |output: &str, word: &str| {
        let arguments = ["report", "out.engine", "--force", "-q", "-o", output];
        let told = run_in(folder.path(), &arguments).failure(2);
        assert!(told.contains(word), "{told}");
    };
    refused("out.engine", "is what the report is made from");
    refused("out.engine.json", "is what the report is made from");
    refused(".", "is a folder");
    refused("nowhere/out.html", "there is no folder nowhere");
    refused("/proc/out.html", "cannot write /proc/out.html");
    let left = std::fs::read_dir(folder.path()).expect("a folder").flatten();
    assert!(
        left.map(|entry| entry.file_name()).all(|name| !name.to_string_lossy().starts_with('.')),
        "nothing is left"
    );
}

#[test]
fn engines_alone_are_reported_and_need_no_library() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let told = run_in(folder.path(), &["report", "model.onnx", "-o", "out.html", "-q"]).failure(4);
    assert!(told.contains("model.onnx is no engine"), "{told}");
    build(folder.path());
    let alone = run_without_libraries(folder.path(), &["report", "out.engine", "-o", "out.html", "-q"]).success();
    assert_eq!(alone.stdout, "out.html\n");
    assert!(Page::read(&folder.path().join("out.html")).text.contains("cannot be walked through"));
    let engine = folder.path().join("out.engine");
    let mut damaged = std::fs::read(&engine).expect("the engine");
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(&engine, damaged).expect("written");
    let told = report(folder.path(), &[]).failure(4);
    assert!(told.contains("SHA-256"), "{told}");
}
