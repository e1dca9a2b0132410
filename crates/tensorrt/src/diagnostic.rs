//! What the ONNX parser found wrong with a model, in our own terms.

use std::fmt;

use trtx_sys::nvonnxparser::IParser;

use crate::shim::{self, ParserError, copied};

/// One thing the ONNX parser found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Name of the node, where the model names it.
    pub node: Option<String>,
    /// Position of the node in the model, from 0; `None` when it is about the model as a whole.
    pub index: Option<usize>,
    /// Operator of the node.
    pub operator: Option<String>,
    /// The kind of the fault.
    pub code: DiagnosticCode,
    /// The parser's own words.
    pub reason: String,
}

/// Kinds of faults of the ONNX parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DiagnosticCode {
    /// A fault inside the parser.
    Internal,
    /// Not enough memory.
    OutOfMemory,
    /// The bytes are not an ONNX model.
    NotAModel,
    /// A value is out of its range.
    InvalidValue,
    /// The graph breaks ONNX's rules.
    InvalidGraph,
    /// A node breaks ONNX's rules.
    InvalidNode,
    /// The graph uses what TensorRT does not have.
    UnsupportedGraph,
    /// The operator is one TensorRT does not have.
    UnsupportedOperator,
    /// An attribute has a value TensorRT does not support.
    UnsupportedAttribute,
    /// An input is of a kind TensorRT does not support.
    UnsupportedInput,
    /// An element type TensorRT does not support there.
    UnsupportedType,
    /// A dynamic shape TensorRT does not support there.
    UnsupportedDynamicShape,
    /// A shape TensorRT does not support there.
    UnsupportedShape,
    /// Weights could not be exchanged.
    Refit,
    /// A kind that a newer parser added, by its number.
    Other(i32),
}

impl DiagnosticCode {
    fn from_number(number: i32) -> Self {
        match number {
            1 => Self::Internal,
            2 => Self::OutOfMemory,
            3 => Self::NotAModel,
            4 => Self::InvalidValue,
            5 => Self::InvalidGraph,
            6 => Self::InvalidNode,
            7 => Self::UnsupportedGraph,
            8 => Self::UnsupportedOperator,
            9 => Self::UnsupportedAttribute,
            10 => Self::UnsupportedInput,
            11 => Self::UnsupportedType,
            12 => Self::UnsupportedDynamicShape,
            13 => Self::UnsupportedShape,
            14 => Self::Refit,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.node, &self.operator) {
            (Some(node), Some(operator)) => write!(out, "node `{node}` ({operator}): ")?,
            (None, Some(operator)) => match self.index {
                Some(index) => write!(out, "node {index} ({operator}): ")?,
                None => write!(out, "{operator}: ")?,
            },
            (Some(node), None) => write!(out, "node `{node}`: ")?,
            (None, None) => {}
        }
        out.write_str(&self.reason)
    }
}

/// Every fault the parser holds now, each once.
pub(crate) fn collect(parser: &IParser) -> Vec<Diagnostic> {
    // SAFETY: the parser is alive for this call.
    let count = unsafe { shim::trtforge_parser_error_count(parser) };
    let mut diagnostics = Vec::new();
    for index in 0..count {
        if let Some(diagnostic) = read(parser, index)
            && !diagnostics.contains(&diagnostic)
        {
            diagnostics.push(diagnostic);
        }
    }
    diagnostics
}

/// The fault at one position.
fn read(parser: &IParser, index: i32) -> Option<Diagnostic> {
    let mut raw = std::mem::MaybeUninit::<ParserError>::uninit();
    // SAFETY: the parser is alive, and `raw` has room for what the shim writes.
    let found = unsafe { shim::trtforge_parser_error(parser, index, raw.as_mut_ptr()) };
    if !found {
        return None;
    }
    // SAFETY: the shim filled it, as it said; the strings live in the parser until its next call.
    let (raw, node, operator, reason) = unsafe {
        let raw = raw.assume_init();
        let (node, operator) = (copied(raw.node_name), copied(raw.node_operator));
        let reason = copied(raw.description);
        (raw, node, operator, reason)
    };
    let named = |text: Option<String>| text.filter(|text| !text.is_empty());
    let operator = named(operator);
    let mut diagnostic = Diagnostic {
        node: named(node),
        index: usize::try_from(raw.node).ok().filter(|_| operator.is_some()),
        operator,
        code: DiagnosticCode::from_number(raw.code),
        reason: without_source(reason.unwrap_or_default().trim()).to_owned(),
    };
    diagnostic.recognise_missing_operator();
    Some(diagnostic)
}

impl Diagnostic {
    /// A fault that no call of the parser reports, found by this crate.
    pub(crate) fn of_model(code: DiagnosticCode, reason: &str) -> Self {
        Self { node: None, index: None, operator: None, code, reason: reason.to_owned() }
    }

    /// Gives a missing operator its own code: the parser takes it for a plugin that is not there.
    fn recognise_missing_operator(&mut self) {
        if self.reason.contains("Plugin not found") {
            self.code = DiagnosticCode::UnsupportedOperator;
            "TensorRT has no such operator, and no plugin provides it".clone_into(&mut self.reason);
        }
    }
}

/// The part of the parser's words that is meant for people: an assertion comes as
/// `Assertion failed: <source>: <reason>`, perhaps after where it happened.
fn without_source(reason: &str) -> &str {
    let Some((_, assertion)) = reason.split_once("Assertion failed: ") else {
        return reason;
    };
    match assertion.rsplit_once("): ") {
        Some((_, words)) if !words.is_empty() => words,
        _ => assertion,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_told_with_what_is_known_of_its_node() {
        let mut fault = Diagnostic {
            node: Some("conv".to_owned()),
            index: Some(4),
            operator: Some("Conv".to_owned()),
            code: DiagnosticCode::from_number(13),
            reason: "too many dimensions".to_owned(),
        };
        assert_eq!(fault.code, DiagnosticCode::UnsupportedShape);
        assert_eq!(fault.to_string(), "node `conv` (Conv): too many dimensions");
        fault.node = None;
        assert_eq!(fault.to_string(), "node 4 (Conv): too many dimensions");
        fault.operator = None;
        assert_eq!(fault.to_string(), "too many dimensions");
    }

    #[test]
    fn source_code_is_kept_out_of_reasons() {
        for (raw, expected) in [
            ("Invalid Node - conv", "Invalid Node - conv"),
            (
                "Assertion failed: (ctx->tensors().count(name)): Node input was not registered.",
                "Node input was not registered.",
            ),
            ("At 1 (f): KIND: Assertion failed: g(x, &y): Failed: w2", "Failed: w2"),
            ("Assertion failed: a && b", "a && b"),
            ("Assertion failed: f(): ", "f(): "),
        ] {
            assert_eq!(without_source(raw), expected);
        }
    }
}
