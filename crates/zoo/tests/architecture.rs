//! The generated networks are the published ones: convolutions, parameters, arithmetic and operators equal the tables taken from the published exporter.

mod walk;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use trtforge_graph::proto::{ModelProto, ValueInfoProto};
use trtforge_graph::{Graph, ensure_valid};
use trtforge_zoo::{Batch, Options, Variant, generate};
use walk::{Convolution, Walk};

/// What the published export of a network counts.
struct Published {
    variant: Variant,
    table: &'static str,
    convolutions: usize,
    parameters: usize,
    /// Twice the multiply-accumulates of the convolutions, rounded to three places.
    gflop: f64,
    relu: usize,
    sigmoid: usize,
    mul: usize,
    add: usize,
    concat: usize,
    slice: usize,
}

const fn published(
    variant: Variant,
    table: &'static str,
    [convolutions, parameters]: [usize; 2],
    gflop: f64,
    [relu, sigmoid, mul, add, concat, slice]: [usize; 6],
) -> Published {
    Published { variant, table, convolutions, parameters, gflop, relu, sigmoid, mul, add, concat, slice }
}

const PUBLISHED: [Published; 7] = [
    published(Variant::T, "T", [77, 8_473_908], 18.008, [69, 5, 3, 22, 15, 5]),
    published(Variant::S, "S", [83, 16_242_748], 37.616, [75, 5, 3, 25, 15, 5]),
    published(Variant::M, "M", [111, 28_164_060], 61.622, [16, 92, 90, 35, 19, 5]),
    published(Variant::L, "L", [141, 42_039_708], 97.116, [16, 122, 120, 50, 19, 5]),
    published(Variant::Ns, "Ns", [91, 1_392_296], 1.498, [0, 69, 67, 16, 14, 1]),
    published(Variant::Nm, "Nm", [91, 2_688_368], 3.582, [0, 69, 67, 16, 14, 1]),
    published(Variant::Nl, "Nl", [94, 5_659_448], 5.909, [0, 71, 69, 18, 14, 1]),
];

/// Every network with the options it was published with, without the bytes of its weights.
static MODELS: LazyLock<Vec<ModelProto>> = LazyLock::new(|| {
    let bare = |published: &Published| {
        let model = generate(&Options::new(published.variant)).expect("default options");
        let mut proto = model.into_proto();
        proto.graph.mut_or_insert_default().initializer.iter_mut().for_each(|tensor| tensor.clear_raw_data());
        proto
    };
    PUBLISHED.iter().map(bare).collect()
});

fn published_models() -> impl Iterator<Item = (&'static Published, &'static ModelProto)> {
    PUBLISHED.iter().zip(MODELS.iter())
}

/// Folder of the convolution tables, which are not a part of this repository.
fn tables() -> Option<PathBuf> {
    let facts = match (std::env::var_os("TRTFORGE_FACTS"), std::env::var_os("TRTFORGE_TEST_DATA")) {
        (Some(facts), _) => PathBuf::from(facts),
        (None, Some(data)) => PathBuf::from(data).join("../facts"),
        (None, None) => return None,
    };
    Some(facts.join("damo-yolo-convs")).filter(|folder| folder.is_dir())
}

fn read_table(text: &str) -> Vec<Convolution> {
    let rows = text.lines().skip(1).map(|line| {
        let mut numbers = line.split('\t').map(|field| field.parse().expect("a number"));
        std::array::from_fn(|_| numbers.next().expect("eight numbers"))
    });
    rows.collect()
}

#[test]
fn convolutions_equal_the_published_tables() {
    let Some(tables) = tables() else {
        eprintln!("skipped: no convolution tables at TRTFORGE_FACTS, nor beside TRTFORGE_TEST_DATA");
        return;
    };
    for (published, model) in published_models() {
        let path = tables.join(format!("{}_convs.tsv", published.table));
        let mut expected = read_table(&std::fs::read_to_string(&path).expect("the table"));
        let mut generated = Walk::new(model).convolutions();
        expected.sort_unstable();
        generated.sort_unstable();
        assert_eq!(generated, expected, "{}", published.variant);
    }
}

#[test]
fn parameters_and_arithmetic_equal_the_published_totals() {
    for (published, model) in published_models() {
        let walk = Walk::new(model);
        let convolutions = walk.convolutions();
        let macs = |[inputs, outputs, kernel, _, _, groups, height, width]: &Convolution| {
            inputs / groups * outputs * kernel * kernel * height * width
        };
        let gflop = 2e-9 * convolutions.iter().map(macs).sum::<usize>() as f64;
        assert_eq!(convolutions.len(), published.convolutions, "{}", published.variant);
        assert_eq!(walk.parameters(), published.parameters, "{}", published.variant);
        assert!((gflop - published.gflop).abs() < 0.0006, "{}: {gflop} GFLOP", published.variant);
    }
}

#[test]
fn operators_equal_the_published_export() {
    for (published, model) in published_models() {
        let expected = BTreeMap::from([
            ("Conv", published.convolutions),
            ("Relu", published.relu),
            ("Sigmoid", published.sigmoid),
            ("Mul", published.mul),
            ("Add", published.add),
            ("Concat", published.concat),
            ("MaxPool", 3),
            ("Resize", 2),
            ("Slice", published.slice),
            ("Reshape", 11),
            ("Softmax", 3),
            ("Transpose", 6),
            ("MatMul", 1),
            ("Gather", 4),
            ("Sub", 2),
            ("Unsqueeze", 4),
        ]);
        let mut counted = BTreeMap::new();
        for node in &model.graph.node {
            *counted.entry(node.op_type()).or_insert(0) += 1;
        }
        counted.retain(|_, count| *count > 0);
        let expected: BTreeMap<_, _> = expected.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, expected, "{}", published.variant);
    }
}

fn shapes(values: &[ValueInfoProto]) -> Vec<(String, String)> {
    let dims = |value: &ValueInfoProto| {
        let ty = value.type_.as_ref().expect("typed");
        let dims = ty.tensor_type().shape.dim.iter();
        let written =
            dims.map(|dim| if dim.has_dim_param() { dim.dim_param().to_owned() } else { dim.dim_value().to_string() });
        written.collect::<Vec<_>>().join("x")
    };
    values.iter().map(|value| (value.name().to_owned(), dims(value))).collect()
}

fn interface(options: &Options) -> Vec<(String, String)> {
    let model = generate(options).expect("valid options");
    let graph = &model.proto().graph;
    [shapes(&graph.input), shapes(&graph.output)].concat()
}

fn expected<const N: usize>(values: [(&str, &str); N]) -> Vec<(String, String)> {
    values.map(|(name, dims)| (name.to_owned(), dims.to_owned())).to_vec()
}

#[test]
fn decoded_outputs_have_a_row_per_position() {
    let large = Options { batch: Batch::Fixed(2), ..Options::new(Variant::T) };
    let shapes = [("images", "2x3x640x640"), ("scores", "2x8400x80"), ("boxes", "2x8400x4")];
    assert_eq!(interface(&large), expected(shapes));
    let nano = Options { batch: Batch::Dynamic, ..Options::new(Variant::Nl) };
    let shapes = [("images", "batchx3x416x416"), ("scores", "batchx3549x80"), ("boxes", "batchx3549x4")];
    assert_eq!(interface(&nano), expected(shapes));
}

#[test]
fn raw_outputs_are_the_six_maps_in_order() {
    let nano = Options { raw: true, size: Some(320), ..Options::new(Variant::Ns) };
    let shapes = [
        ("images", "1x3x320x320"),
        ("cls8", "1x80x40x40"),
        ("cls16", "1x80x20x20"),
        ("cls32", "1x80x10x10"),
        ("reg8", "1x32x40x40"),
        ("reg16", "1x32x20x20"),
        ("reg32", "1x32x10x10"),
    ];
    assert_eq!(interface(&nano), expected(shapes));
    let large = Options { raw: true, batch: Batch::Dynamic, ..Options::new(Variant::T) };
    assert_eq!(interface(&large)[4], ("reg8".to_owned(), "batchx68x80x80".to_owned()));
}

#[test]
fn the_graph_reader_accepts_every_network() {
    for variant in Variant::ALL {
        let model = generate(&Options::new(variant)).expect("default options");
        let weights_bytes = model.weights_bytes();
        ensure_valid(&model).expect("a sound model");
        let graph = Graph::new(model).expect("a sound graph");
        assert_eq!(graph.graph_outputs().len(), 2, "{variant}");
        let written = graph.into_model().expect("a model again");
        assert_eq!(written.weights_bytes(), weights_bytes, "{variant}");
    }
}

#[test]
fn names_are_unique_and_defined_before_use() {
    for options in [Options::new(Variant::S), Options { raw: true, ..Options::new(Variant::Nm) }] {
        let model = generate(&options).expect("valid options");
        let graph = &model.proto().graph;
        let mut known = vec![graph.input[0].name()];
        known.extend(graph.initializer.iter().map(|tensor| tensor.name()));
        let mut nodes = Vec::new();
        for node in &graph.node {
            let undefined = node.input.iter().find(|input| !input.is_empty() && !known.contains(&input.as_str()));
            assert_eq!(undefined, None, "input of {}", node.name());
            known.extend(node.output.iter().map(String::as_str));
            nodes.push(node.name());
        }
        assert!(graph.output.iter().all(|output| known.contains(&output.name())));
        for mut names in [known, nodes] {
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "no name twice");
        }
    }
}
