//! Checks a whole model and lists everything that is wrong with it.
//!
//! What ONNX Runtime and the compiler find by themselves (unknown operators, shapes that do not fit) is left to them;
//! here are the rules whose breach makes later steps fail in obscure ways. A check must never change or copy the model.

mod attributes;
mod scopes;
mod tensors;
pub(crate) mod types;

use std::collections::HashSet;
use std::fmt;

use crate::error::{Error, Result};
use crate::model::{Model, normal_domain};
use crate::proto::{GraphProto, ModelProto, ValueInfoProto};
use crate::signatures::NEWEST_OPSET;
use crate::types::{Dimension, ValueType};
use scopes::Scopes;
pub(crate) use tensors::MOST_ELEMENTS;

/// How bad a [`Finding`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The model works all the same.
    Warning,
    /// The model cannot be used.
    Error,
}

/// One thing that is wrong with a model.
#[derive(Debug)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub problem: Error,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(formatter, "{severity}: {}", self.problem)
    }
}

/// Everything that is wrong with `model`.
pub fn check(model: &Model) -> Vec<Finding> {
    let mut findings = Findings::default();
    check_model(model.proto(), &mut findings);
    findings.list
}

/// Fails with the first error that [`check`] finds; warnings pass.
///
/// # Errors
/// The first finding of severity [`Severity::Error`].
pub fn ensure_valid(model: &Model) -> Result<()> {
    let mut errors = check(model).into_iter().filter(|finding| finding.severity == Severity::Error);
    errors.next().map_or(Ok(()), |finding| Err(finding.problem))
}

#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
}

impl Findings {
    pub(crate) fn error(&mut self, problem: Error) {
        self.list.push(Finding { severity: Severity::Error, problem });
    }

    pub(crate) fn warning(&mut self, problem: Error) {
        self.list.push(Finding { severity: Severity::Warning, problem });
    }

    pub(crate) fn take(&mut self, result: Result<()>) {
        if let Err(problem) = result {
            self.error(problem);
        }
    }

    fn has_errors(&self) -> bool {
        self.list.iter().any(|finding| finding.severity == Severity::Error)
    }
}

fn check_model(model: &ModelProto, findings: &mut Findings) {
    check_imports(model, findings);
    let Some(graph) = model.graph.as_ref() else {
        return findings.error(Error::MissingGraph);
    };
    check_domains(model, graph, findings);
    check_interface(graph, findings);
    Scopes::new().check_graph(graph, findings);
    attributes::check_nodes(&graph.node, findings);
    tensors::check_graph(graph, findings);
    for function in &model.functions {
        Scopes::new().check_function(function, findings);
        attributes::check_nodes(&function.node, findings);
        tensors::check_nodes(&function.node, findings);
    }
    for training in &model.training_info {
        let graphs = [training.initialization.as_ref(), training.algorithm.as_ref()];
        graphs.into_iter().flatten().for_each(|graph| tensors::check_graph(graph, findings));
    }
    if !findings.has_errors() {
        types::check_graph(model, graph, findings);
    }
}

fn check_imports(model: &ModelProto, findings: &mut Findings) {
    if model.ir_version() < 1 {
        findings.error(Error::Incomplete { what: "the model".to_owned(), missing: "IR version" });
    }
    if model.opset_import.is_empty() {
        findings.error(Error::MissingOpset);
    }
    for import in &model.opset_import {
        let (domain, version) = (normal_domain(import.domain()), import.version());
        if domain.is_empty() && !(1..=NEWEST_OPSET).contains(&version) {
            findings.error(Error::UnknownOpset { domain: String::new(), version, newest: NEWEST_OPSET });
        }
    }
}

/// Custom domains are only warned about: TensorRT finds its plugins without an import.
fn check_domains(model: &ModelProto, graph: &GraphProto, findings: &mut Findings) {
    if model.opset_import.is_empty() {
        return;
    }
    let imported: HashSet<&str> = model.opset_import.iter().map(|import| normal_domain(import.domain())).collect();
    let mut reported = HashSet::new();
    for node in &graph.node {
        let domain = normal_domain(node.domain());
        if imported.contains(domain) || !reported.insert(domain) {
            continue;
        }
        let problem = Error::DomainNotImported {
            node: crate::graph::display_name(node),
            operator: node.op_type().to_owned(),
            domain: domain.to_owned(),
        };
        if domain.is_empty() { findings.error(problem) } else { findings.warning(problem) }
    }
}

fn check_interface(graph: &GraphProto, findings: &mut Findings) {
    for info in &graph.input {
        if info.type_.as_ref().and_then(ValueType::from_proto).is_none() {
            let what = format!("graph input {:?}", info.name());
            findings.error(Error::Incomplete { what, missing: "type" });
        }
    }
    let infos = graph.input.iter().chain(&graph.output).chain(&graph.value_info);
    infos.for_each(|info| check_size(info, findings));
    if graph.output.is_empty() {
        findings.warning(Error::Incomplete { what: "the graph".to_owned(), missing: "output" });
    }
}

fn check_size(info: &ValueInfoProto, findings: &mut Findings) {
    let ty = info.type_.as_ref().and_then(ValueType::from_proto);
    let Some(shape) = ty.as_ref().and_then(ValueType::tensor).and_then(|tensor| tensor.shape.as_ref()) else { return };
    let known: Vec<u64> = shape.iter().filter_map(Dimension::fixed).collect();
    let count = known.iter().filter(|&&size| size != 0).try_fold(1u64, |count, &size| count.checked_mul(size));
    if count.is_none_or(|count| count > MOST_ELEMENTS) {
        let dimensions = known.iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX)).collect();
        findings.error(Error::HugeTensor { tensor: info.name().to_owned(), dimensions });
    }
}
