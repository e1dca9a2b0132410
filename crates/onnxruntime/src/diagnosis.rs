//! What ONNX Runtime's error texts say, without their noise.
//!
//! A text carries the node and operator in one of several sentence forms, often behind the path, line and signature of
//! the C++ function that failed. All text forms that this crate relies on are here, so that another version of the
//! library needs a change in this file only. Any text is accepted; what is not recognised is kept as it is.

/// What kind of refusal a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The operator is in no operator set that ONNX Runtime has.
    UnknownOperator,
    /// The operator is known, but there is no code for these types on the CPU.
    NoKernel,
    /// Anything else.
    Other,
}

/// The parts of an error text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    pub(crate) kind: Kind,
    pub(crate) node: Option<String>,
    pub(crate) operator: Option<String>,
    pub(crate) domain: Option<String>,
    pub(crate) reason: String,
}

/// Takes `text` apart.
pub(crate) fn diagnose(text: &str) -> Diagnosis {
    let text = text.trim();
    let parsers = [unregistered, invalid_node, no_kernel, run_failure, inference, type_error];
    parsers.iter().find_map(|parse| parse(text)).unwrap_or_else(|| Diagnosis {
        kind: Kind::Other,
        node: None,
        operator: None,
        domain: None,
        reason: reason(text),
    })
}

/// `Fatal error: TRT:EfficientNMS_TRT(-1) is not a registered function/op`
fn unregistered(text: &str) -> Option<Diagnosis> {
    let name = between(text, "Fatal error: ", "(")?;
    if !text.contains("is not a registered function/op") {
        return None;
    }
    let (domain, operator) = name.rsplit_once(':')?;
    Some(Diagnosis {
        kind: Kind::UnknownOperator,
        node: None,
        operator: some(operator),
        domain: Some(domain.to_owned()),
        reason: "the operator is not registered".into(),
    })
}

/// `This is an invalid model. In Node, ("nms", NMS, "TRT", -1) : (...) -> (...) , Error No Op registered for NMS ...`
fn invalid_node(text: &str) -> Option<Diagnosis> {
    let (_, node) = text.split_once("In Node, (\"")?;
    let (name, rest) = node.split_once("\", ")?;
    let (operator, rest) = rest.split_once(", \"")?;
    let (domain, rest) = rest.split_once('"')?;
    let message = rest.split_once(", Error ").map_or(rest, |(_, message)| message);
    let unknown = message.contains("No Op registered for");
    Some(Diagnosis {
        kind: if unknown { Kind::UnknownOperator } else { Kind::Other },
        node: some(name),
        operator: some(operator),
        domain: Some(domain.to_owned()),
        reason: reason(message),
    })
}

/// `Could not find an implementation for Conv(22) node with name 'c'`
fn no_kernel(text: &str) -> Option<Diagnosis> {
    let (_, rest) = text.split_once("Could not find an implementation for ")?;
    let (operator, rest) = rest.split_once('(')?;
    Some(Diagnosis {
        kind: Kind::NoKernel,
        node: between(rest, "name '", "'").and_then(some),
        operator: some(operator),
        domain: None,
        reason: "there is no implementation for these types on the CPU".into(),
    })
}

/// `Non-zero status code returned while running Add node. Name:'a' Status Message: ...`
fn run_failure(text: &str) -> Option<Diagnosis> {
    let (_, rest) = text.split_once("returned while running ")?;
    let (operator, rest) = rest.split_once(" node. Name:'")?;
    let (name, rest) = rest.split_once('\'')?;
    let message = rest.split_once("Status Message: ").map_or(rest, |(_, message)| message);
    Some(other(name, operator, message))
}

/// `Node (a) Op (Add) [ShapeInferenceError] Incompatible dimensions`
fn inference(text: &str) -> Option<Diagnosis> {
    let (_, rest) = text.split_once("Node (")?;
    let (name, rest) = rest.split_once(") Op (")?;
    let (operator, message) = rest.split_once(") ")?;
    Some(other(name, operator, message))
}

/// `Type Error: ... of Optype (Add) bound to different types (tensor(float) and tensor(int64) in node (a).`
fn type_error(text: &str) -> Option<Diagnosis> {
    let (_, message) = text.split_once("Type Error: ")?;
    let name = message.split_once("node (").and_then(|(_, rest)| rest.split_once(')')).map_or("", |(name, _)| name);
    let operator = between(message, "Optype (", ")").or_else(|| between(message, "operator (", ")")).unwrap_or("");
    Some(other(name, operator, message))
}

fn other(name: &str, operator: &str, message: &str) -> Diagnosis {
    Diagnosis { kind: Kind::Other, node: some(name), operator: some(operator), domain: None, reason: reason(message) }
}

/// `message` without what only the library's own developers can use.
fn reason(message: &str) -> String {
    let message = message.strip_prefix("This is an invalid model. ").unwrap_or(message);
    let message = message.strip_prefix("Error: ").unwrap_or(message);
    let message = without_source_location(message.trim());
    let message = message.strip_prefix("[ShapeInferenceError] ").unwrap_or(message);
    let first_words: Vec<&str> = message.split_whitespace().collect();
    first_words.join(" ")
}

/// Drops a leading `/path/file.cc:123 type function(arguments) condition was false. `.
fn without_source_location(message: &str) -> &str {
    let Some(after_line) = after_line_number(message) else { return message };
    if let Some((_, rest)) = after_line.split_once(" was false. ") {
        return rest;
    }
    after_signature(after_line).filter(|rest| !rest.is_empty()).unwrap_or(after_line)
}

fn after_line_number(message: &str) -> Option<&str> {
    let (place, rest) = message.split_once(' ')?;
    let (file, line) = place.rsplit_once(':')?;
    let source = [".cc", ".h", ".cpp", ".hpp", ".cu"].iter().any(|extension| file.ends_with(extension));
    (source && line.bytes().all(|byte| byte.is_ascii_digit())).then_some(rest)
}

/// What follows the first balanced pair of parentheses, and a template's `[with ...]`.
fn after_signature(text: &str) -> Option<&str> {
    let rest = after_balanced(text, '(', ')')?.trim_start();
    let rest = rest.strip_prefix("const ").unwrap_or(rest);
    if rest.starts_with('[') { after_balanced(rest, '[', ']').map(str::trim_start) } else { Some(rest) }
}

fn after_balanced(text: &str, open: char, close: char) -> Option<&str> {
    let mut depth = 0u32;
    for (at, character) in text.char_indices() {
        if character == open {
            depth += 1;
        } else if character == close {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                return text.get(at + close.len_utf8()..);
            }
        }
    }
    None
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    rest.split_once(end).map(|(inner, _)| inner)
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (Kind, String, String, String) {
        let found = diagnose(text);
        (found.kind, found.node.unwrap_or_default(), found.operator.unwrap_or_default(), found.reason)
    }

    fn expect(text: &str, kind: Kind, node: &str, operator: &str, reason: &str) {
        assert_eq!(parts(text), (kind, node.into(), operator.into(), reason.into()), "{text}");
    }

    #[test]
    fn unknown_operators_in_both_forms() {
        let text = "Fatal error: TRT:EfficientNMS_TRT(-1) is not a registered function/op";
        assert_eq!(diagnose(text).domain.as_deref(), Some("TRT"));
        expect(text, Kind::UnknownOperator, "", "EfficientNMS_TRT", "the operator is not registered");
        let text = r#"This is an invalid model. In Node, ("n", Foo, "", -1) : ("x": tensor(float),) -> ("y": tensor(float),) , Error No Op registered for Foo with domain_version of 17"#;
        expect(text, Kind::UnknownOperator, "n", "Foo", "No Op registered for Foo with domain_version of 17");
    }

    #[test]
    fn nodes_that_break_their_schema_or_their_types() {
        let text = r#"This is an invalid model. In Node, ("a", Relu, "", -1) : ("x": tensor(float),) -> ("y": tensor(float),) , Error Unrecognized attribute: foo for operator Relu"#;
        expect(text, Kind::Other, "a", "Relu", "Unrecognized attribute: foo for operator Relu");
        let text = "Node (a) Op (Add) [ShapeInferenceError] Incompatible dimensions";
        expect(text, Kind::Other, "a", "Add", "Incompatible dimensions");
        let text = "Type Error: Type parameter (T) of Optype (Add) bound to different types (tensor(float) and tensor(int64) in node (a).";
        let reason =
            "Type parameter (T) of Optype (Add) bound to different types (tensor(float) and tensor(int64) in node (a).";
        expect(text, Kind::Other, "a", "Add", reason);
    }

    #[test]
    fn missing_kernels() {
        let text = "Could not find an implementation for Conv(22) node with name 'c'";
        expect(text, Kind::NoKernel, "c", "Conv", "there is no implementation for these types on the CPU");
    }

    #[test]
    fn failures_while_running_lose_path_and_signature() {
        let text = "Non-zero status code returned while running Add node. Name:'a' Status Message: /onnxruntime_src/onnxruntime/core/providers/cpu/math/element_wise_ops.h:563 void onnxruntime::BroadcastIterator::Init(ptrdiff_t, ptrdiff_t) axis == 1 || axis == largest was false. Attempting to broadcast an axis by a dimension other than 1. 3 by 4\n";
        expect(text, Kind::Other, "a", "Add", "Attempting to broadcast an axis by a dimension other than 1. 3 by 4");
    }

    #[test]
    fn thrown_texts_lose_their_signature() {
        let text = "/onnxruntime_src/onnxruntime/core/graph/model_load_utils.h:46 void onnxruntime::model_load_utils::ValidateOpsetForDomain(const std::unordered_map<std::__cxx11::basic_string<char>, int>&, const onnxruntime::logging::Logger&, bool, const std::string&, int) ONNX Runtime only *guarantees* support\n";
        expect(text, Kind::Other, "", "", "ONNX Runtime only *guarantees* support");
        let text = "/src/a.cc:1 void f(int) const [with T = float] it broke";
        expect(text, Kind::Other, "", "", "it broke");
    }

    #[test]
    fn any_text_is_survived() {
        for text in ["", "(", ")", "In Node, (\"", "/a.cc:12 ", "/a.cc:12 )(", "Fatal error: (", "é".repeat(9).as_str()]
        {
            diagnose(text);
        }
        assert_eq!(diagnose("No graph was found in the protobuf.").reason, "No graph was found in the protobuf.");
    }
}
