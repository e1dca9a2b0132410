//! Models that other people exported: read, index, write, read again.

use std::path::PathBuf;

use trtforge_graph::{Graph, Model, Result, ensure_valid};

fn models() -> Vec<PathBuf> {
    let Some(root) = std::env::var_os("TRTFORGE_TEST_DATA") else {
        eprintln!("skipped: TRTFORGE_TEST_DATA is not set");
        return Vec::new();
    };
    let folder = PathBuf::from(root).join("models");
    let entries = std::fs::read_dir(&folder).expect("the test data has a models folder");
    let files = entries.map(|entry| entry.expect("a readable folder").path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "onnx")).collect()
}

#[test]
fn reading_and_writing_changes_nothing() -> Result<()> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for path in models() {
        let model = Model::read(&path)?;
        let copy = folder.path().join("copy.onnx");
        model.write(&copy)?;
        assert_eq!(Model::read(&copy)?.proto(), model.proto(), "{}", path.display());
    }
    Ok(())
}

#[test]
fn indexing_keeps_nodes_and_weights() -> Result<()> {
    for path in models() {
        let model = Model::read(&path)?;
        ensure_valid(&model)?;
        let again = Graph::new(model.clone())?.into_model()?;
        let (before, after) = (&model.proto().graph, &again.proto().graph);
        assert_eq!(before.node, after.node, "{}", path.display());
        assert_eq!(before.initializer, after.initializer);
        assert_eq!(before.input, after.input);
        assert_eq!(before.output, after.output);
        assert_eq!(before.value_info.len(), after.value_info.len());
    }
    Ok(())
}
