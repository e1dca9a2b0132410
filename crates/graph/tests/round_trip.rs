//! What is read is what was written, whatever the storage form, with and without data files.

mod models;

use std::fs;

use models::{F32, convolution, everything, graph};
use proptest::prelude::*;
use trtforge_graph::construct::{model, node, raw_tensor, tensor, tensor_value};
use trtforge_graph::proto::ModelProto;
use trtforge_graph::{Bytes, ElementType, Error, Graph, Model, Result, Tensor};

#[test]
fn everything_survives() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m.onnx");
    let proto = everything();
    Model::from_proto(proto.clone()).write(&path)?;
    let read = Model::read(&path)?;
    assert_eq!(read.proto(), &proto);
    assert_eq!(read.path(), Some(path.as_path()));
    assert_eq!(read.to_bytes()?.len(), fs::read(&path).expect("readable").len());
    let names: Vec<_> = fs::read_dir(folder.path()).expect("readable").collect();
    assert_eq!(names.len(), 1, "no temporary file stays");
    Ok(())
}

#[test]
fn the_graph_keeps_what_it_does_not_know() -> Result<()> {
    let proto = everything();
    let again = Graph::new(Model::from_proto(proto.clone()))?.into_model()?.into_proto();
    assert_eq!(again, proto);
    Ok(())
}

#[test]
fn weights_point_into_the_file() -> Result<()> {
    let bytes = convolution().to_bytes()?;
    let model = Model::from_bytes(bytes.clone(), None)?;
    let weights = model.proto().graph.initializer[0].raw_data.as_ref().expect("raw data");
    assert!(bytes.as_ptr_range().contains(&weights.as_ptr()));
    Ok(())
}

#[test]
fn a_file_can_be_rewritten_while_it_is_mapped() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m.onnx");
    convolution().write(&path)?;
    let model = Model::read(&path)?;
    models::chain(3).write(&path)?;
    assert_eq!(model.proto(), convolution().proto());
    model.write(&path)?;
    assert_eq!(Model::read(&path)?.proto(), convolution().proto());
    Ok(())
}

/// 2 KiB of weights, 16 bytes of bias.
fn wide() -> ModelProto {
    let mut body = graph(vec![node("Gemm", "fc", ["x", "w", "b"], ["y"])]);
    body.input = vec![tensor_value("x", F32, [1, 128])];
    body.output = vec![tensor_value("y", F32, [1, 4])];
    let mut bias = tensor("b", [4], Vec::<f32>::new());
    bias.raw_data = None;
    bias.float_data = vec![1.0, 2.0, 3.0, 4.0];
    body.initializer = vec![tensor("w", [128, 4], (0..512).map(|i| i as f32).collect::<Vec<_>>()), bias];
    model(body, 8, 17)
}

#[test]
fn external_data_comes_back_as_external_data() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let (skeleton, weights) = Model::from_proto(wide()).split_weights(1024)?;
    assert_eq!(weights.len(), 1, "only the big one goes outside");
    fs::write(folder.path().join(&weights[0].location), &weights[0].data).expect("written");
    let source = folder.path().join("source.onnx");
    fs::write(&source, &skeleton).expect("written");

    let model = Model::read(&source)?;
    assert!(model.uses_external_data());
    assert_eq!(model.proto(), &wide());
    assert_eq!(Model::from_bytes(skeleton, Some(folder.path()))?.proto(), &wide());

    let copy = folder.path().join("copy.onnx");
    Graph::new(model)?.into_model()?.write(&copy)?;
    assert!(fs::metadata(&copy).expect("exists").len() < 1024);
    assert_eq!(fs::metadata(folder.path().join("copy.onnx.data")).expect("exists").len(), 2048);
    let read = Model::read(&copy)?;
    assert_eq!(read.proto(), &wide());
    read.write(&copy)?;
    assert_eq!(Model::read(&copy)?.proto(), &wide(), "written over the files that it points into");
    Ok(())
}

#[test]
fn splitting_shares_the_data() -> Result<()> {
    let model = Model::from_bytes(Model::from_proto(wide()).to_bytes()?, None)?;
    let (skeleton, weights) = model.split_weights(1)?;
    assert_eq!(weights.len(), 2);
    assert!(skeleton.len() < 600);
    let original = model.proto().graph.initializer[0].raw_data.as_ref().expect("raw data");
    assert_eq!(weights[0].data.as_ptr(), original.as_ptr());
    assert_eq!(weights[1].data.len(), 16);
    Ok(())
}

/// Two tensors that share one gigabyte of zeros, which the system does not even keep.
#[test]
#[ignore = "writes a file of 2.2 GB"]
fn a_model_over_two_gigabytes_gets_a_data_file() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("big.onnx");
    let zeros = Bytes::from(vec![0u8; 1_100_000_000]);
    let mut body = graph(vec![node("Add", "add", ["a", "b"], ["y"])]);
    body.output = vec![tensor_value("y", F32, [275_000_000])];
    body.initializer = ["a", "b"].map(|name| raw_tensor(name, F32, [275_000_000], zeros.clone())).to_vec();
    let big = Model::from_proto(model(body, 8, 17));
    assert!(matches!(big.to_bytes(), Err(Error::TooLarge { .. })));
    big.write(&path)?;
    assert!(fs::metadata(&path).expect("exists").len() < 1000);
    let read = Model::read(&path)?;
    assert!(read.uses_external_data());
    assert_eq!(read.proto(), big.proto());
    Ok(())
}

fn elements() -> impl Strategy<Value = ElementType> {
    (1..29).prop_map(ElementType::from_onnx).prop_filter("fixed size", |element| element.size_bits().is_some())
}

proptest! {
    #[test]
    fn tensors_survive(element in elements(), shape in prop::collection::vec(0u64..5, 0..4), fill: u8) {
        let count = shape.iter().product();
        let data = vec![fill; element.bytes_for(count).expect("small") as usize];
        let mut body = graph(vec![]);
        body.initializer = vec![raw_tensor("t", element, shape.clone(), data.clone())];
        let written = Model::from_proto(model(body, 10, 21)).to_bytes().expect("it encodes");
        let read = Model::from_bytes(written, None).expect("it decodes");
        let tensor = Tensor::from_proto(&read.proto().graph.initializer[0]).expect("dense");
        prop_assert_eq!(tensor, Tensor::new(element, shape, Bytes::from(data)).expect("sizes fit"));
    }
}
