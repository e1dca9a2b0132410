//! Every kind of bad model file has its own error.

mod models;

use std::fs::{self, File};
use std::path::Path;

use models::{F32, chain, convolution, everything, graph};
use trtforge_graph::construct::{entry, model, node, tensor, tensor_value};
use trtforge_graph::proto::tensor_proto::DataLocation;
use trtforge_graph::proto::{ModelProto, TensorProto};
use trtforge_graph::{Bytes, Error, Graph, Model, Severity, check, ensure_valid};

fn read_bytes(bytes: &[u8]) -> Error {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m.onnx");
    fs::write(&path, bytes).expect("it is written");
    Model::read(&path).expect_err("it is refused")
}

macro_rules! assert_error {
    ($error:expr, $pattern:pat) => {{
        let error = $error;
        assert!(matches!(error, $pattern), "{error:?}");
        assert!(!error.to_string().is_empty());
    }};
}

#[test]
fn files_that_are_no_models() {
    assert_error!(Model::read(Path::new("no/such/file.onnx")).expect_err("missing"), Error::NotFound { .. });
    assert_error!(Model::read(Path::new(".")).expect_err("a folder"), Error::NotOnnx { .. });
    assert_error!(read_bytes(b""), Error::Empty { .. });
    assert_error!(read_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF"), Error::NotOnnx { .. });
    assert_error!(read_bytes(b"PK\x03\x04zip"), Error::NotOnnx { .. });
    assert_error!(read_bytes(b"just some text, nothing else\n"), Error::NotOnnx { .. });
    assert_error!(read_bytes(b"# a comment\nkey: value\n"), Error::NotOnnx { .. });
    assert_error!(read_bytes(&[0u8; 4096]), Error::NotOnnx { .. });
    let noise: Vec<u8> = (0..4096u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    assert_error!(read_bytes(&noise), Error::NotOnnx { .. });
}

#[test]
fn any_text_is_refused() {
    for first in 0x09..0x7f_u8 {
        for second in 0x09..0x7f_u8 {
            let text = [first, second, b' ', b't', b'e', b'x', b't', b'\n'].repeat(4);
            let error = read_model(&text);
            assert!(error.is_err(), "{first} {second} was taken for a model");
        }
    }
}

#[test]
fn junk_that_decodes_as_an_empty_model_is_refused() {
    let only_unknown = [0xc2, 0x3e, 0x02, b'h', b'i'];
    let only_a_comment = [0x32, 0x02, b'h', b'i'];
    for junk in [&only_unknown[..], &only_a_comment] {
        assert_error!(read_bytes(junk), Error::NotOnnx { .. });
    }
}

fn read_model(bytes: &[u8]) -> Result<(), Error> {
    let model = Model::from_bytes(Bytes::copy_from_slice(bytes), None)?;
    ensure_valid(&model)
}

#[test]
fn a_cut_file_says_so() {
    let whole = convolution().to_bytes().expect("it encodes");
    for length in [whole.len() / 2, whole.len() - 1, 30] {
        let error = read_bytes(&whole[..length]);
        assert_error!(error, Error::Truncated { .. } | Error::Malformed { .. });
    }
}

#[test]
fn over_two_gigabytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("big.onnx");
    File::create(&path).and_then(|file| file.set_len(3 << 30)).expect("a sparse file");
    assert_error!(Model::read(&path).expect_err("too large"), Error::TooLarge { bytes: 3_221_225_472, .. });
}

fn changed(change: impl FnOnce(&mut ModelProto)) -> Model {
    let mut proto = convolution().into_proto();
    change(&mut proto);
    Model::from_proto(proto)
}

fn refused(change: impl FnOnce(&mut ModelProto)) -> Error {
    ensure_valid(&changed(change)).expect_err("it is refused")
}

fn weights(proto: &mut ModelProto) -> &mut TensorProto {
    &mut proto.graph.as_mut().expect("a graph").initializer[0]
}

#[test]
fn models_that_lack_something() {
    assert_error!(refused(|m| m.graph = None.into()), Error::MissingGraph);
    assert_error!(refused(|m| m.opset_import.clear()), Error::MissingOpset);
    assert_error!(refused(|m| m.opset_import[0].version = Some(99)), Error::UnknownOpset { version: 99, .. });
    assert_error!(refused(|m| m.opset_import[0].version = None), Error::UnknownOpset { version: 0, .. });
    assert_error!(refused(|m| m.ir_version = None), Error::Incomplete { missing: "IR version", .. });
    assert_error!(refused(|m| m.graph.as_mut().expect("graph").input[0].type_ = None.into()), Error::Incomplete { .. });
    assert_error!(refused(|m| m.graph.as_mut().expect("graph").node[0].op_type = None), Error::Incomplete { .. });
    assert_error!(refused(|m| m.graph.as_mut().expect("graph").initializer[0].name = None), Error::Incomplete { .. });
    assert_error!(Graph::new(changed(|m| m.graph = None.into())).expect_err("no graph"), Error::MissingGraph);
    assert_error!(Graph::new(changed(|m| m.opset_import.clear())).expect_err("no opset"), Error::MissingOpset);
}

#[test]
fn graphs_whose_edges_are_wrong() {
    let dangling = |m: &mut ModelProto| m.graph.as_mut().expect("graph").node[1].input[0] = "nowhere".into();
    assert_error!(refused(dangling), Error::DanglingInput { .. });
    assert_error!(Graph::new(changed(dangling)).expect_err("dangling"), Error::DanglingInput { .. });
    let output = |m: &mut ModelProto| m.graph.as_mut().expect("graph").output[0].name = Some("nowhere".into());
    assert_error!(refused(output), Error::DanglingInput { .. });
    assert_error!(Graph::new(changed(output)).expect_err("dangling"), Error::DanglingInput { .. });
    let twice = |m: &mut ModelProto| m.graph.as_mut().expect("graph").node[1].output[0] = "c".into();
    assert_error!(refused(twice), Error::DuplicateValue { .. });
    assert_error!(Graph::new(changed(twice)).expect_err("twice"), Error::DuplicateValue { .. });
    let over_input = |m: &mut ModelProto| m.graph.as_mut().expect("graph").node[1].output[0] = "x".into();
    assert_error!(refused(over_input), Error::DuplicateValue { .. });
    let cycle = |m: &mut ModelProto| m.graph.as_mut().expect("graph").node[0].input[2] = "z".into();
    assert_error!(refused(cycle), Error::Cycle { .. });
    assert_error!(Graph::new(changed(cycle)).expect_err("cycle"), Error::Cycle { .. });
}

#[test]
fn a_cycle_through_a_subgraph_is_found() {
    let mut model = models::branches();
    model.proto_mut().graph.as_mut().expect("graph").node[1].input[0] = "r".into();
    assert_error!(ensure_valid(&model).expect_err("cycle"), Error::Cycle { .. });
    assert_error!(Graph::new(model).expect_err("cycle"), Error::Cycle { .. });
}

#[test]
fn duplicate_node_names_are_only_a_warning() {
    let model = changed(|m| m.graph.as_mut().expect("graph").node[1].name = Some("conv".into()));
    let findings = check(&model);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].severity, Severity::Warning);
    assert!(ensure_valid(&model).is_ok());
}

#[test]
fn tensors_whose_data_does_not_fit() {
    assert_error!(refused(|m| weights(m).dims[0] = -4), Error::NegativeDimension { axis: 0, dimension: -4, .. });
    assert_error!(refused(|m| weights(m).dims[0] = i64::MAX), Error::HugeTensor { .. });
    assert_error!(refused(|m| weights(m).dims[0] = 1 << 50), Error::TensorSize { .. } | Error::HugeTensor { .. });
    assert_error!(refused(|m| weights(m).dims[0] = 5), Error::TensorSize { expected: 540, actual: 432, .. });
    assert_error!(refused(|m| weights(m).raw_data = None), Error::TensorSize { actual: 0, .. });
    assert_error!(refused(|m| weights(m).raw_data = Some(Bytes::new())), Error::TensorSize { actual: 0, .. });
    assert_error!(refused(|m| weights(m).data_type = None), Error::Incomplete { .. });
    assert_error!(refused(|m| weights(m).float_data = vec![0.0; 108]), Error::TensorStorage { .. });
    let wrong_field = |m: &mut ModelProto| {
        weights(m).raw_data = None;
        weights(m).int32_data = vec![0; 108];
    };
    assert_error!(refused(wrong_field), Error::TensorStorage { .. });
    let huge = |m: &mut ModelProto| {
        m.graph.as_mut().expect("graph").input[0] = tensor_value("x", F32, [1, 1 << 40, 1 << 40, 3]);
    };
    assert_error!(refused(huge), Error::HugeTensor { .. });
}

#[test]
fn attributes_that_are_not_what_they_say() {
    let swapped = |m: &mut ModelProto| {
        let attribute = &mut m.graph.as_mut().expect("graph").node[0].attribute[0];
        attribute.ints.clear();
        attribute.f = Some(1.0);
    };
    assert_error!(refused(swapped), Error::AttributeType { .. });
    let twice = |m: &mut ModelProto| {
        let node = &mut m.graph.as_mut().expect("graph").node[0];
        node.attribute.push(node.attribute[0].clone());
    };
    assert_error!(refused(twice), Error::DuplicateAttribute { .. });
}

#[test]
fn mixed_element_types() {
    let mixed = |m: &mut ModelProto| {
        weights(m).data_type = Some(models::F16.to_onnx());
        weights(m).dims = vec![4, 3, 3, 6];
    };
    assert_error!(refused(mixed), Error::MixedTypes { .. });
}

#[test]
fn an_undeclared_domain() {
    let custom = changed(|m| m.graph.as_mut().expect("graph").node[1].domain = Some("TRT".into()));
    assert!(ensure_valid(&custom).is_ok(), "plugins need no import");
    assert_error!(&check(&custom)[0].problem, Error::DomainNotImported { .. });
    let standard = changed(|m| m.opset_import[0].domain = Some("TRT".into()));
    assert_error!(ensure_valid(&standard).expect_err("no ai.onnx"), Error::DomainNotImported { .. });
}

fn external(location: &str, offset: &str, length: &str) -> Model {
    let mut outside = tensor("w", [4], Vec::<f32>::new());
    outside.raw_data = None;
    outside.data_location = Some(DataLocation::EXTERNAL.into());
    outside.external_data = vec![entry("location", location), entry("offset", offset), entry("length", length)];
    let mut body = graph(vec![node("Add", "add", ["x", "w"], ["y"])]);
    body.input = vec![tensor_value("x", F32, [4])];
    body.output = vec![tensor_value("y", F32, [4])];
    body.initializer = vec![outside];
    Model::from_proto(model(body, 8, 17))
}

fn read_external(folder: &Path, location: &str, offset: &str, length: &str) -> Result<Model, Error> {
    let path = folder.join("m.onnx");
    fs::write(&path, external(location, offset, length).to_bytes()?).expect("it is written");
    Model::read(&path)
}

#[test]
fn external_data_must_be_there_inside_and_long_enough() {
    let outer = tempfile::tempdir().expect("a folder");
    let folder = outer.path().join("model");
    fs::create_dir_all(folder.join("sub")).expect("a folder");
    fs::write(outer.path().join("secret"), [0u8; 64]).expect("written");
    fs::write(folder.join("w.data"), [0u8; 32]).expect("written");
    std::os::unix::fs::symlink(outer.path().join("secret"), folder.join("link")).expect("a link");
    let error = |location: &str, offset: &str, length: &str| {
        read_external(&folder, location, offset, length).expect_err("it is refused")
    };
    assert!(read_external(&folder, "w.data", "16", "16").is_ok());
    assert!(read_external(&folder, "./w.data", "0", "16").is_ok());
    assert_error!(error("none.data", "0", "16"), Error::ExternalMissing { .. });
    assert_error!(error("../secret", "0", "16"), Error::ExternalOutside { .. });
    assert_error!(error("sub/../../secret", "0", "16"), Error::ExternalOutside { .. });
    assert_error!(error("/etc/passwd", "0", "16"), Error::ExternalOutside { .. });
    assert_error!(error("link", "0", "16"), Error::ExternalOutside { .. });
    assert_error!(error("sub", "0", "16"), Error::ExternalOutside { .. });
    assert_error!(error("w.data", "17", "16"), Error::ExternalRange { file_bytes: 32, .. });
    assert_error!(error("w.data", "18446744073709551615", "16"), Error::ExternalRange { .. });
    assert_error!(error("w.data", "-1", "16"), Error::ExternalEntry { .. });
    assert_error!(error("", "0", "16"), Error::ExternalEntry { .. });
    let bytes = external("w.data", "0", "16").to_bytes().expect("encodes");
    assert_error!(Model::from_bytes(bytes, None).expect_err("no folder"), Error::ExternalWithoutFolder { .. });
    let short = read_external(&folder, "w.data", "0", "8").expect("the range exists");
    assert_error!(ensure_valid(&short).expect_err("too short"), Error::TensorSize { .. });
}

#[test]
fn unwritable_outputs_leave_nothing_behind() {
    let model = convolution();
    assert_error!(
        model.write(Path::new("no/such/folder/m.onnx")).expect_err("no folder"),
        Error::Io { action: "write", .. }
    );
    let folder = tempfile::tempdir().expect("a folder");
    let taken = folder.path().join("taken");
    fs::create_dir(&taken).expect("a folder");
    assert_error!(model.write(&taken).expect_err("a folder is in the way"), Error::Io { action: "write", .. });
    assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1);
}

#[test]
fn good_models_have_no_findings() {
    for model in [convolution(), models::branches(), chain(5)] {
        let findings = check(&model);
        assert!(findings.is_empty(), "{findings:?}");
    }
    let findings = check(&Model::from_proto(everything()));
    assert!(findings.is_empty(), "{findings:?}");
}
