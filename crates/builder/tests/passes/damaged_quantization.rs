//! Damaged models with Q/DQ: whatever they say of their own quantization, there is an answer or a typed error, and nothing panics.

use crate::existing_quantization::unsigned;
use crate::quantized::{ZeroPoint, int8_weights, pair};
use crate::small_model::{SmallModel, runtime};
use trtforge_builder::Error;
use trtforge_builder::quantization::existing::{Existing, recognise, settle};
use trtforge_graph::proto::{GraphProto, ModelProto};
use trtforge_graph::{Bytes, ElementType, Graph, Model, construct};

/// A generator of numbers that is the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }
}

/// Pairs, scales per channel, and data that is moved while it is quantized.
fn signed() -> Model {
    let model = SmallModel::new(13).input("x", &[1, 4, 8, 8]).output("y", ElementType::Float32, &[1, 8, 16, 16]);
    let model = pair(model, "x", "xq", 0.03, ZeroPoint::Signed(0));
    let model = int8_weights(model, "w", &[4, 8, 2, 2], 0)
        .node(construct::node("ConvTranspose", "up", ["xq", "w"], ["u"]).attr_ints("strides", [2, 2]));
    pair(model, "u", "uq", 0.05, ZeroPoint::Unsigned(7))
        .node(
            construct::node("MaxPool", "pool", ["uq.q"], ["pooled"])
                .attr_ints("kernel_shape", [3, 3])
                .attr_ints("pads", [1, 1, 1, 1]),
        )
        .tensor(construct::scalar("p.s", 0.05f32))
        .tensor(construct::scalar("p.z", 7u8))
        .op("DequantizeLinear", &["pooled", "p.s", "p.z"], "p")
        .op("Add", &["uq", "p"], "y")
        .build()
}

/// What TensorRT takes as it is.
fn ready() -> Model {
    let model = SmallModel::new(13).input("x", &[1, 4, 8, 8]).output("y", ElementType::Float32, &[1, 8, 8, 8]);
    let model = pair(model, "x", "xq", 0.02, ZeroPoint::Signed(0));
    int8_weights(model, "w", &[8, 4, 1, 1], 0).op("Conv", &["xq", "w"], "y").build()
}

/// Operators that compute on quantized tensors.
fn integer_operators() -> Model {
    let scale = |name: &str, value: f32| construct::scalar(name, value);
    let mut model = SmallModel::new(13)
        .input("x", &[1, 4, 8, 8])
        .output("y", ElementType::Float32, &[1, 8, 8, 8])
        .tensor(scale("x.s", 0.03))
        .tensor(construct::scalar("x.z", 120u8))
        .tensor(construct::tensor("w.q", [4, 4, 1, 1], (0..16).map(|index| index * 11).collect::<Vec<u8>>()))
        .tensor(scale("w.s", 0.002))
        .tensor(construct::scalar("w.z", 101u8))
        .tensor(construct::tensor("b", [4], vec![5i32, -9, 300, 0]))
        .op("QuantizeLinear", &["x", "x.s", "x.z"], "x.q")
        .op("QLinearConv", &["x.q", "x.s", "x.z", "w.q", "w.s", "w.z", "x.s", "x.z", "b"], "c.q");
    model = model.node(
        construct::node("QLinearConcat", "join", ["x.s", "x.z", "c.q", "x.s", "x.z", "x.q", "x.s", "x.z"], ["j.q"])
            .in_domain("com.microsoft")
            .attr_int("axis", 1),
    );
    let mut model = model.op("DequantizeLinear", &["j.q", "x.s", "x.z"], "y").build();
    model.proto_mut().opset_import.push(construct::opset_import("com.microsoft", 1));
    model
}

const OPERATORS: [&str; 8] = [
    "QuantizeLinear",
    "DequantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "QLinearConcat",
    "MaxPool",
    "Transpose",
    "Conv",
];

/// One change that keeps the message readable: what a node is or reads, or what a tensor says it holds.
fn tamper(proto: &mut ModelProto, numbers: &mut Numbers) {
    let graph: &mut GraphProto = proto.graph.mut_or_insert_default();
    let names: Vec<String> = graph
        .node
        .iter()
        .flat_map(|node| node.output.clone())
        .chain(graph.initializer.iter().map(|tensor| tensor.name().to_owned()))
        .chain(["x".to_owned(), String::new()])
        .collect();
    let (node, tensor) = (numbers.next(graph.node.len()), numbers.next(graph.initializer.len()));
    let (node, tensor) = (&mut graph.node[node], &mut graph.initializer[tensor]);
    match numbers.next(9) {
        0 => node.set_op_type(OPERATORS[numbers.next(OPERATORS.len())].into()),
        1 if !node.input.is_empty() => {
            let slot = numbers.next(node.input.len());
            node.input[slot] = names[numbers.next(names.len())].clone();
        }
        2 => node.input.truncate(numbers.next(node.input.len() + 1)),
        3 => node.input.push(names[numbers.next(names.len())].clone()),
        4 => *node = std::mem::take(node).attr_int("axis", numbers.next(9) as i64 - 4),
        5 => tensor.set_data_type(numbers.next(24) as i32),
        6 => tensor.dims.push(numbers.next(5) as i64),
        7 => drop(tensor.dims.pop()),
        _ => {
            let special = [f32::NAN, f32::INFINITY, 0.0, -1.0, f32::MIN_POSITIVE][numbers.next(5)];
            *tensor = construct::scalar(tensor.name(), special);
        }
    }
}

fn damage(bytes: &mut [u8], numbers: &mut Numbers) {
    let position = numbers.next(bytes.len());
    bytes[position] = numbers.next(256) as u8;
}

/// What is made of a model; nothing where it is no graph.
fn answer(model: Model, types: &std::collections::HashMap<String, trtforge_graph::ValueType>) -> Option<&'static str> {
    let mut graph = Graph::new(model).ok()?;
    graph.set_types(types.clone());
    let found = recognise(&graph);
    Some(match settle(&mut graph, &()) {
        Ok(Existing::Refused(_)) => panic!("refused, and passed on"),
        Ok(Existing::Convertible(findings)) => {
            assert!(!findings.is_empty());
            assert!(!matches!(recognise(&graph), Existing::Convertible(_)), "it is converted halfway");
            "converted"
        }
        Ok(same) => {
            assert_eq!(same, found);
            "left"
        }
        Err(Error::Quantized { findings }) => {
            // What a constant holds is only seen where it is converted.
            assert!(!findings.is_empty() && matches!(found, Existing::Refused(_) | Existing::Convertible(_)));
            "refused"
        }
        Err(_) => "failed",
    })
}

#[test]
fn there_is_always_an_answer_or_a_typed_error() {
    let Some(runtime) = runtime() else { return };
    let sound = [unsigned(101), signed(), integer_operators(), ready()];
    let types = sound.each_ref().map(|model| runtime.infer_types(model).unwrap().into_iter().collect());
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let mut answers = std::collections::HashMap::<_, usize>::new();
    for round in 0..6000 {
        let which = round % sound.len();
        let mut model = sound[which].clone();
        for _ in 0..=numbers.next(3) {
            tamper(model.proto_mut(), &mut numbers);
        }
        if round % 5 == 0 {
            let mut bytes = model.to_bytes().unwrap().to_vec();
            damage(&mut bytes, &mut numbers);
            let Ok(damaged) = Model::from_bytes(Bytes::from(bytes), None) else { continue };
            model = damaged;
        }
        if let Some(answer) = answer(model, &types[which]) {
            *answers.entry(answer).or_default() += 1;
        }
    }
    for kind in ["converted", "left", "refused"] {
        assert!(
            answers.get(kind).is_some_and(|&count| count >= 20),
            "the damage is not of the right kind: {answers:?}"
        );
    }
}
