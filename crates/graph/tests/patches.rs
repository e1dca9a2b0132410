//! Patches do what they say, or nothing at all.

mod models;

use models::{F16, F32, branches, chain, convolution, graph};
use proptest::prelude::*;
use trtforge_graph::construct::{graph_attribute, int, ints, model, node, tensor, tensor_value};
use trtforge_graph::{
    Error, Graph, Model, NodeId, Patch, PatchError, Producer, Result, Slot, TensorType, ValueType, check,
};

fn open(model: Model) -> Graph {
    Graph::new(model).expect("the model is sound")
}

fn find(graph: &Graph, name: &str) -> NodeId {
    graph.node_ids().find(|&id| graph.node(id).name() == name).expect("the node exists")
}

fn operators(graph: &Graph) -> Vec<&str> {
    graph.node_ids().map(|id| graph.op_type(id)).collect()
}

fn float(shape: &[u64]) -> ValueType {
    TensorType::fixed(F32, shape.iter().copied()).into()
}

fn half(shape: &[u64]) -> ValueType {
    TensorType::fixed(F16, shape.iter().copied()).into()
}

/// Applies a patch that must be refused, and checks that it left no trace.
fn refused(graph: &mut Graph, patch: Patch) -> PatchError {
    let before = graph.clone().into_model().expect("sound");
    let error = graph.apply(patch).expect_err("it is refused");
    assert_eq!(graph.clone().into_model().expect("sound").proto(), before.proto());
    assert_consistent(graph);
    match error {
        Error::Patch { source, .. } => *source,
        other => panic!("{other:?}"),
    }
}

/// Both ends of every edge agree, and the order is a running order.
fn assert_consistent(graph: &Graph) {
    let order: Vec<NodeId> = graph.node_ids().collect();
    assert_eq!(order.len(), graph.node_count());
    let position = |node| order.iter().position(|&other| other == node).expect("in the order");
    for &node in &order {
        for (slot, value) in graph.inputs(node).iter().enumerate() {
            let name = value.map_or("", |id| graph.value(id).name.as_str());
            assert_eq!(graph.node(node).input[slot], name);
            let Some(value) = value else { continue };
            let uses = graph.value(*value).consumers.iter();
            assert_eq!(uses.filter(|u| u.node == node && u.slot == Slot::Input(slot)).count(), 1);
            assert!(graph.producer(*value).is_none_or(|producer| position(producer) < position(node)));
        }
        for (slot, value) in graph.outputs(node).iter().enumerate() {
            let Some(value) = value else { continue };
            assert_eq!(graph.node(node).output[slot], graph.value(*value).name);
            assert_eq!(graph.value(*value).producer, Producer::Node { node, slot });
        }
        for &value in graph.captures(node) {
            assert!(graph.producer(value).is_none_or(|producer| position(producer) < position(node)));
        }
    }
    for value in graph.value_ids() {
        assert_eq!(graph.value_id(&graph.value(value).name), Some(value));
        assert!(graph.value(value).consumers.iter().all(|consumer| graph.contains_node(consumer.node)));
    }
    let findings = check(&graph.clone().into_model().expect("sound"));
    assert!(findings.is_empty(), "{findings:?}");
    let again = Graph::new(graph.clone().into_model().expect("sound")).expect("sound");
    assert_eq!(again.node_count(), graph.node_count());
}

#[test]
fn a_node_goes_behind_a_value() -> Result<()> {
    let mut graph = open(convolution());
    let c = graph.value_id("c").expect("c");
    let mut patch = Patch::new("insert");
    patch.add_node(node("Identity", "copy", ["c"], ["c_copy"]), vec![None]).redirect(c, "c_copy");
    let summary = graph.apply(patch)?;
    assert_eq!(operators(&graph), ["Conv", "Identity", "Relu", "Add"]);
    assert_eq!((summary.added.len(), summary.removed), (1, 0));
    assert_consistent(&graph);
    Ok(())
}

#[test]
fn an_identity_goes_away_and_the_output_keeps_its_name() -> Result<()> {
    let mut body = graph(vec![node("Relu", "relu", ["x"], ["r"]), node("Identity", "id", ["r"], ["y"])]);
    body.input = vec![tensor_value("x", F32, [4])];
    body.output = vec![tensor_value("y", F32, [4])];
    let mut graph = open(Model::from_proto(model(body, 8, 17)));
    let (identity, y) = (find(&graph, "id"), graph.value_id("y").expect("y"));
    let mut patch = Patch::new("remove-identity");
    patch.redirect(y, "r").remove_node(identity);
    let summary = graph.apply(patch)?;
    assert_eq!(summary.renamed, [("r".to_owned(), "y".to_owned())]);
    assert_eq!(graph.node(find(&graph, "relu")).output, ["y"]);
    assert_eq!(graph.value(graph.graph_outputs()[0]).name, "y");
    assert_consistent(&graph);
    Ok(())
}

#[test]
fn a_graph_output_can_come_from_an_input() -> Result<()> {
    let mut body = graph(vec![node("Identity", "id", ["x"], ["y"])]);
    body.input = vec![tensor_value("x", F32, [4])];
    body.output = vec![tensor_value("y", F32, [4])];
    let mut graph = open(Model::from_proto(model(body, 8, 17)));
    let (identity, y) = (find(&graph, "id"), graph.value_id("y").expect("y"));
    let mut patch = Patch::new("remove-identity");
    patch.redirect(y, "x").remove_node(identity);
    graph.apply(patch)?;
    assert_eq!(operators(&graph), ["Identity"], "an input cannot be an output under another name");
    assert_consistent(&graph);
    Ok(())
}

#[test]
fn a_chain_of_identities_goes_in_one_patch() -> Result<()> {
    let mut graph = open(chain(6));
    let mut patch = Patch::new("shorten");
    for index in [2, 3, 4] {
        patch.remove_node(find(&graph, &format!("n{index}")));
        patch.redirect(graph.value_id(&format!("v{}", index + 1)).expect("v"), &format!("v{index}"));
    }
    assert_eq!(graph.apply(patch)?.removed, 3);
    assert_eq!(operators(&graph).len(), 3);
    assert_eq!(graph.node(find(&graph, "n5")).input, ["v2"]);
    assert_consistent(&graph);
    Ok(())
}

#[test]
fn a_node_is_replaced_under_the_same_names() -> Result<()> {
    let mut graph = open(convolution());
    let y = graph.value_id("y").expect("y");
    let mut patch = Patch::new("replace");
    patch.remove_node(find(&graph, "relu")).add_node(node("Sigmoid", "sigmoid", ["c"], ["y"]), vec![None]);
    graph.apply(patch)?;
    assert_eq!(operators(&graph), ["Conv", "Sigmoid", "Add"]);
    assert_eq!(graph.value_id("y"), Some(y), "the value is the same one");
    assert_eq!(graph.value(y).ty, Some(float(&[1, 4, 8, 8])));
    assert_consistent(&graph);
    Ok(())
}

#[test]
fn half_precision_comes_with_casts_at_the_borders() -> Result<()> {
    let mut graph = open(convolution());
    let conv = find(&graph, "conv");
    let mut patch = Patch::new("half");
    let to_half = int("to", i64::from(F16.to_onnx()));
    let to_float = int("to", i64::from(F32.to_onnx()));
    let halves = |count: usize| vec![half::f16::ONE; count];
    patch.add_node(node("Cast", "in", ["x"], ["x_half"]).attr(to_half), vec![Some(half(&[1, 3, 8, 8]))]);
    patch.add_initializer(tensor("w_half", [4, 3, 3, 3], halves(108)));
    patch.add_initializer(tensor("b_half", [4], halves(4)));
    for (slot, name) in ["x_half", "w_half", "b_half"].into_iter().enumerate() {
        patch.replace_input(conv, slot, name);
    }
    patch.rename_output(conv, 0, "c_half").retype("c_half", half(&[1, 4, 8, 8]));
    patch.add_node(node("Cast", "out", ["c_half"], ["c"]).attr(to_float), vec![Some(float(&[1, 4, 8, 8]))]);
    graph.apply(patch)?;
    assert_eq!(operators(&graph), ["Cast", "Conv", "Cast", "Relu", "Add"]);
    assert_eq!(graph.remove_dead(), 0);
    assert_eq!(graph.initializers().count(), 2, "the single-precision weights are not needed any more");
    assert_consistent(&graph);
    Ok(())
}

#[test]
fn precision_of_a_graph_output_stays() -> Result<()> {
    let mut graph = open(chain(2));
    let (n0, n1) = (find(&graph, "n0"), find(&graph, "n1"));
    let mut patch = Patch::new("half");
    patch.add_node(node("Cast", "in", ["v0"], ["h0"]).attr_int("to", 10), vec![Some(half(&[4]))]);
    patch.replace_input(n0, 0, "h0").retype("v1", half(&[4]));
    patch.rename_output(n1, 0, "out_half").retype("out_half", half(&[4]));
    patch.add_node(node("Cast", "back", ["out_half"], ["out"]).attr_int("to", 1), vec![None]);
    graph.apply(patch)?;
    assert_eq!(graph.value(graph.graph_outputs()[0]).ty, Some(float(&[4])));
    assert_eq!(operators(&graph), ["Cast", "Relu", "Relu", "Cast"]);
    assert_consistent(&graph);
    Ok(())
}

#[test]
fn redirecting_an_output_through_a_cast() -> Result<()> {
    let mut graph = open(chain(1));
    let out = graph.value_id("out").expect("out");
    let mut patch = Patch::new("wrap");
    patch.add_node(node("Abs", "abs", ["out"], ["wrapped"]), vec![Some(float(&[4]))]).redirect(out, "wrapped");
    graph.apply(patch)?;
    assert_eq!(operators(&graph), ["Relu", "Abs"]);
    assert_eq!(graph.node(find(&graph, "abs")).output, ["out"]);
    assert_consistent(&graph);
    Ok(())
}

#[test]
fn subgraphs_follow_redirects_unless_they_hide_the_name() -> Result<()> {
    let mut graph = open(branches());
    let choice = find(&graph, "choice");
    let captured: Vec<_> = graph.captures(choice).iter().map(|&id| graph.value(id).name.clone()).collect();
    assert_eq!(captured, ["a", "b"]);
    let a = graph.value_id("a").expect("a");
    let mut patch = Patch::new("outer");
    patch.add_node(node("Ceil", "ceil", ["a"], ["a_ceil"]), vec![None]).redirect(a, "a_ceil");
    graph.apply(patch)?;
    let then_branch = graph.attribute(choice, "then_branch").expect("branch");
    assert_eq!(then_branch.g.node[0].input, ["a_ceil", "b"]);
    let else_branch = graph.attribute(choice, "else_branch").expect("branch");
    assert_eq!(else_branch.g.node[1].input, ["a"], "its own a, not the outer one");
    assert_consistent(&graph);
    Ok(())
}

#[test]
fn a_name_hidden_in_a_subgraph_is_refused() {
    let mut graph = open(branches());
    let b = graph.value_id("b").expect("b");
    let mut patch = Patch::new("hidden");
    patch.redirect(b, "a");
    assert!(matches!(refused(&mut graph, patch), PatchError::Hidden { .. }));
}

#[test]
fn replacing_a_subgraph_changes_what_is_captured() -> Result<()> {
    let mut graph = open(branches());
    let choice = find(&graph, "choice");
    let mut inner = models::graph(vec![node("Neg", "neg", ["x"], ["n"])]);
    inner.output = vec![tensor_value("n", F32, [2])];
    let mut patch = Patch::new("branch");
    patch.set_attribute(choice, graph_attribute("then_branch", inner));
    graph.apply(patch)?;
    let mut captured: Vec<_> = graph.captures(choice).iter().map(|&id| graph.value(id).name.clone()).collect();
    captured.sort();
    assert_eq!(captured, ["b", "x"]);
    assert_eq!(graph.remove_dead(), 1);
    assert_consistent(&graph);
    Ok(())
}

#[test]
fn wrong_patches_change_nothing() {
    let mut graph = open(convolution());
    let [conv, relu, add] = ["conv", "relu", "add"].map(|name| find(&graph, name));
    let [c, y] = ["c", "y"].map(|name| graph.value_id(name).expect("it exists"));
    let mut check = |build: &dyn Fn(&mut Patch), expected: &dyn Fn(&PatchError) -> bool| {
        let mut patch = Patch::new("wrong");
        patch.add_node(node("Abs", "innocent", ["x"], ["innocent"]), vec![None]);
        patch.set_attribute(conv, ints("pads", [0, 0, 0, 0]));
        build(&mut patch);
        let error = refused(&mut graph, patch);
        assert!(expected(&error), "{error:?}");
    };
    let invalid =
        |test: fn(&Error) -> bool| move |error: &PatchError| matches!(error, PatchError::Invalid(e) if test(e));
    check(
        &|p| {
            p.remove_node(relu);
        },
        &|e| matches!(e, PatchError::StillUsed { .. }),
    );
    check(
        &|p| {
            p.remove_node(add);
        },
        &|e| matches!(e, PatchError::StillUsed { .. }),
    );
    check(
        &|p| {
            p.remove_node(conv).remove_node(conv);
        },
        &|e| matches!(e, PatchError::NoSuchNode(_)),
    );
    check(
        &|p| {
            p.replace_input(conv, 0, "nowhere");
        },
        &|e| matches!(e, PatchError::NoSuchValue(_)),
    );
    check(
        &|p| {
            p.replace_input(conv, 99, "x");
        },
        &|e| matches!(e, PatchError::NoSuchSlot { .. }),
    );
    check(
        &|p| {
            p.rename_output(conv, 5, "n");
        },
        &|e| matches!(e, PatchError::NoSuchSlot { .. }),
    );
    check(
        &|p| {
            p.rename_output(conv, 0, "y");
        },
        &invalid(|e| matches!(e, Error::DuplicateValue { .. })),
    );
    check(
        &|p| {
            p.rename_output(add, 0, "other");
        },
        &|e| matches!(e, PatchError::InterfaceName(_)),
    );
    check(
        &|p| {
            p.redirect(c, "y");
        },
        &invalid(|e| matches!(e, Error::Cycle { .. })),
    );
    check(
        &|p| {
            p.replace_input(conv, 0, "y");
        },
        &|e| matches!(e, PatchError::Shape { .. }),
    );
    check(
        &|p| {
            p.redirect(c, "w");
        },
        &|e| matches!(e, PatchError::Shape { .. }),
    );
    check(
        &|p| {
            p.redirect(c, "y").redirect(y, "c");
        },
        &|e| matches!(e, PatchError::RedirectCircle(_)),
    );
    check(
        &|p| {
            p.redirect(c, "y").redirect(c, "x");
        },
        &|e| matches!(e, PatchError::RedirectedTwice(_)),
    );
    check(
        &|p| {
            p.retype(c, half(&[1, 4, 8, 8]));
        },
        &invalid(|e| matches!(e, Error::MixedTypes { .. })),
    );
    check(
        &|p| {
            p.add_initializer(tensor("x", [1], vec![0f32]));
        },
        &invalid(|e| matches!(e, Error::DuplicateValue { .. })),
    );
    check(
        &|p| {
            p.add_initializer(tensor("b", [1], vec![0f32]));
        },
        &invalid(|e| matches!(e, Error::DuplicateValue { .. })),
    );
    check(
        &|p| {
            p.add_node(node("Abs", "n", ["q"], ["r"]), vec![None]);
        },
        &invalid(|e| matches!(e, Error::DanglingInput { .. })),
    );
    check(
        &|p| {
            p.add_node(node("Abs", "n", ["x"], ["y"]), vec![None]);
        },
        &invalid(|e| matches!(e, Error::DuplicateValue { .. })),
    );
    check(
        &|p| {
            p.add_node(node("Abs", "n", ["x"], ["r"]), vec![]);
        },
        &|e| matches!(e, PatchError::OutputTypes { .. }),
    );
    let cast = || node("Cast", "cast", ["c"], ["c16"]).attr_int("to", 10);
    let behind = |p: &mut Patch| {
        p.add_node(cast(), vec![Some(half(&[1, 4, 8, 8]))]).redirect(c, "c16");
    };
    check(&behind, &|e| matches!(e, PatchError::ElementType { .. }));
    let one_input = |p: &mut Patch| {
        p.add_node(cast(), vec![Some(half(&[1, 4, 8, 8]))]).replace_input(relu, 0, "c16");
    };
    check(&one_input, &invalid(|e| matches!(e, Error::MixedTypes { .. })));
}

#[test]
fn unknown_operators_keep_their_types() {
    let mut body = graph(vec![
        node("Relu", "relu", ["x"], ["r"]),
        node("Mystery", "mystery", ["r"], ["y"]).in_domain("com.example"),
    ]);
    body.input = vec![tensor_value("x", F32, [4])];
    body.output = vec![tensor_value("y", F32, [4])];
    body.value_info = vec![tensor_value("r", F32, [4])];
    let mut proto = model(body, 8, 17);
    proto.opset_import.push(trtforge_graph::construct::opset_import("com.example", 1));
    let mut graph = open(Model::from_proto(proto));
    let relu = find(&graph, "relu");
    let mut patch = Patch::new("half");
    patch.add_node(node("Cast", "in", ["x"], ["h"]).attr_int("to", 10), vec![Some(half(&[4]))]);
    patch.replace_input(relu, 0, "h").retype("r", half(&[4]));
    assert!(matches!(refused(&mut graph, patch), PatchError::UnknownOperator { .. }));
}

#[test]
fn captured_values_keep_their_types() {
    let mut graph = open(branches());
    let make_b = find(&graph, "make_b");
    let mut patch = Patch::new("half");
    patch.add_node(node("Cast", "in", ["x"], ["h"]).attr_int("to", 10), vec![Some(half(&[2]))]);
    patch.replace_input(make_b, 0, "h").retype("b", half(&[2]));
    assert!(matches!(refused(&mut graph, patch), PatchError::UnknownOperator { .. }));
}

#[test]
fn an_edit_against_the_order_sorts_again() -> Result<()> {
    let mut body = graph(vec![
        node("Abs", "first", ["x"], ["a"]),
        node("Exp", "second", ["x"], ["b"]),
        node("Add", "sum", ["a", "b"], ["y"]),
    ]);
    body.input = vec![tensor_value("x", F32, [4])];
    body.output = vec![tensor_value("y", F32, [4])];
    let mut graph = open(Model::from_proto(model(body, 8, 17)));
    let mut patch = Patch::new("reorder");
    patch.replace_input(find(&graph, "first"), 0, "b");
    graph.apply(patch)?;
    assert_eq!(operators(&graph), ["Exp", "Abs", "Add"]);
    assert_consistent(&graph);
    Ok(())
}

#[test]
fn unsorted_models_are_sorted() -> Result<()> {
    let mut model = chain(5);
    model.proto_mut().graph.as_mut().expect("graph").node.reverse();
    assert!(check(&model).is_empty());
    let graph = Graph::new(model)?;
    assert_eq!(graph.node(graph.node_ids().next().expect("one")).name(), "n0");
    assert_consistent(&graph);
    Ok(())
}

#[test]
fn every_node_patched_one_by_one_and_at_once() -> Result<()> {
    let mut graph = open(chain(50));
    for index in 1..50 {
        let value = graph.value_id(&format!("v{index}")).expect("v");
        let name = graph.unique_name("copy");
        let mut patch = Patch::new("one");
        patch.add_node(node("Identity", &name, [format!("v{index}")], [&name]), vec![None]).redirect(value, &name);
        graph.apply(patch)?;
    }
    assert_eq!(graph.node_count(), 99);
    assert_consistent(&graph);
    let mut patch = Patch::new("all");
    for node in graph.node_ids().filter(|&id| graph.op_type(id) == "Identity") {
        let (input, output) = (graph.input(node, 0).expect("input"), graph.output(node, 0).expect("output"));
        patch.remove_node(node).redirect(output, &graph.value(input).name);
    }
    graph.apply(patch)?;
    assert_eq!(graph.clone().into_model()?.proto(), chain(50).proto());
    assert_consistent(&graph);
    Ok(())
}

#[test]
fn an_input_given_by_name_is_not_redirected() -> Result<()> {
    let mut graph = open(convolution());
    let (conv, relu, c) = (find(&graph, "conv"), find(&graph, "relu"), graph.value_id("c").expect("c"));
    let mut patch = Patch::new("kept");
    patch.add_node(node("Abs", "abs", ["c"], ["d"]), vec![None]).redirect(c, "d").replace_input(relu, 0, "c");
    graph.apply(patch)?;
    assert_eq!(graph.node(relu).input, ["c"]);
    let mut patch = Patch::new("removed");
    patch.remove_node(conv).redirect(c, "y").replace_input(relu, 0, "c");
    assert!(matches!(refused(&mut graph, patch), PatchError::StillUsed { .. }));
    Ok(())
}

#[test]
fn dead_nodes_go_and_the_interface_stays() -> Result<()> {
    let mut model = convolution();
    let body = model.proto_mut().graph.as_mut().expect("graph");
    body.node.push(node("Exp", "dead", ["y"], ["unused"]));
    body.node.push(node("Mul", "deader", ["unused", "k"], ["unused2"]));
    body.initializer.push(tensor("k", [1], vec![2f32]));
    let mut graph = open(model);
    assert_eq!(graph.remove_dead(), 2);
    assert_eq!(graph.clone().into_model()?.proto(), convolution().proto());
    assert_consistent(&graph);
    Ok(())
}

#[test]
fn names_are_never_given_twice() {
    let mut graph = open(branches());
    let names: Vec<String> = (0..100).map(|_| graph.unique_name("t")).collect();
    let distinct: std::collections::HashSet<&String> = names.iter().collect();
    assert_eq!(distinct.len(), 100);
    assert!(!names.contains(&"t".to_owned()), "a subgraph has a value of that name");
    assert_eq!(graph.unique_name("fresh"), "fresh");
    assert_eq!(graph.unique_name("fresh"), "fresh_1");
}

#[test]
fn types_from_outside_fill_gaps_but_keep_the_interface() {
    let mut model = convolution();
    model.proto_mut().graph.as_mut().expect("graph").value_info.clear();
    let mut graph = open(model);
    let found = graph.set_types([
        ("c".to_owned(), float(&[1, 4, 8, 8])),
        ("z".to_owned(), half(&[1])),
        ("unheard-of".to_owned(), half(&[1])),
    ]);
    assert_eq!(found, 2);
    let ty = |name: &str| graph.value(graph.value_id(name).expect("it exists")).ty.clone();
    assert_eq!(ty("c"), Some(float(&[1, 4, 8, 8])));
    assert_eq!(ty("z"), Some(float(&[1, 4, 8, 8])));
    assert_eq!(ty("y"), None);
}

/// Adds one random edit; all values are alike, so that most edits are allowed by their types.
fn random_edit(graph: &mut Graph, patch: &mut Patch, (kind, a, b): (u8, u8, u8)) {
    let nodes: Vec<NodeId> = graph.node_ids().collect();
    let values: Vec<_> = graph.value_ids().collect();
    let node_a = nodes[usize::from(a) % nodes.len()];
    let (value_a, value_b) = (values[usize::from(a) % values.len()], values[usize::from(b) % values.len()]);
    let (name_a, name_b) = (graph.value(value_a).name.clone(), graph.value(value_b).name.clone());
    let output = graph.output(node_a, 0).map_or(String::new(), |id| graph.value(id).name.clone());
    match kind % 8 {
        0 => _ = patch.remove_node(node_a),
        1 => _ = patch.redirect(value_a, &name_b),
        2 => _ = patch.replace_input(node_a, usize::from(b) % 2, &name_b),
        3 => {
            let fresh = graph.unique_name("fresh");
            patch.add_node(node("Abs", &fresh, [&name_a], [&fresh]), vec![Some(float(&[4]))]).redirect(value_a, &fresh);
        }
        4 => {
            let fresh = graph.unique_name("renamed");
            patch.rename_output(node_a, 0, &fresh);
        }
        5 => {
            let fresh = graph.unique_name("replaced");
            patch.remove_node(node_a).add_node(node("Neg", &fresh, [name_b], [output]), vec![None]);
        }
        6 => {
            let fresh = graph.unique_name("inner");
            patch.rename_output(node_a, 0, &fresh).add_node(node("Exp", &fresh, [&fresh], [&output]), vec![None]);
        }
        _ => _ = patch.retype(value_a, if b % 4 == 0 { half(&[4]) } else { float(&[4]) }),
    }
}

fn mesh() -> Model {
    let mut inner = models::graph(vec![node("Add", "inner", ["v2", "v3"], ["t"])]);
    inner.output = vec![tensor_value("t", F32, [4])];
    let mut model = chain(8);
    let body = model.proto_mut().graph.as_mut().expect("graph");
    body.input.push(tensor_value("condition", trtforge_graph::ElementType::Bool, []));
    body.node.push(node("Add", "join", ["v1", "v6"], ["joined"]));
    let choice = node("If", "choice", ["condition"], ["chosen"]).attr_graph("then_branch", inner.clone());
    body.node.push(choice.attr_graph("else_branch", inner));
    body.output.push(tensor_value("joined", F32, [4]));
    body.output.push(tensor_value("chosen", F32, [4]));
    model
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_patches_apply_wholly_or_not_at_all(
        patches in prop::collection::vec(prop::collection::vec(any::<(u8, u8, u8)>(), 1..4), 1..8)
    ) {
        let mut graph = open(mesh());
        let interface: Vec<String> = graph.graph_outputs().iter().map(|&id| graph.value(id).name.clone()).collect();
        for edits in patches {
            if graph.node_count() == 0 {
                break;
            }
            let mut patch = Patch::new("random");
            edits.into_iter().for_each(|edit| random_edit(&mut graph, &mut patch, edit));
            let before = graph.clone().into_model().expect("sound");
            if graph.apply(patch).is_err() {
                let after = graph.clone().into_model().expect("sound");
                prop_assert_eq!(after.proto(), before.proto());
            }
            assert_consistent(&graph);
            let outputs: Vec<String> = graph.graph_outputs().iter().map(|&id| graph.value(id).name.clone()).collect();
            prop_assert_eq!(&outputs, &interface);
        }
    }
}
