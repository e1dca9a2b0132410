//! A tiny writer of ONNX models, so that every broken model of a test is readable in the test.

const VARINT: u64 = 0;
const BYTES: u64 = 2;

/// Element type numbers of ONNX.
pub const FLOAT: i64 = 1;
pub const FLOAT16: i64 = 10;

/// A protobuf message being written.
#[derive(Default, Clone)]
pub struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub fn int(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3 | VARINT);
        self.varint(value as u64);
        self
    }

    pub fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | BYTES);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    pub fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    pub fn message(self, field: u64, value: &Message) -> Self {
        self.bytes(field, &value.0)
    }
}

/// A node.
pub fn node(operator: &str, name: &str, inputs: &[&str], outputs: &[&str]) -> Message {
    let mut node = Message::default();
    for input in inputs {
        node = node.text(1, input);
    }
    for output in outputs {
        node = node.text(2, output);
    }
    node.text(3, name).text(4, operator)
}

/// An integer attribute of a node.
pub fn int_attribute(name: &str, value: i64) -> Message {
    const INT: i64 = 2;
    Message::default().text(1, name).int(3, value).int(20, INT)
}

/// A graph input or output; -1 is an open dimension.
pub fn value(name: &str, element: i64, shape: &[i64]) -> Message {
    let mut dimensions = Message::default();
    for &size in shape {
        let dimension = if size < 0 { Message::default().text(2, "open") } else { Message::default().int(1, size) };
        dimensions = dimensions.message(1, &dimension);
    }
    let tensor = Message::default().int(1, element).message(2, &dimensions);
    Message::default().text(1, name).message(2, &Message::default().message(1, &tensor))
}

/// An initializer with its data inside.
pub fn initializer(name: &str, element: i64, shape: &[i64], data: &[u8]) -> Message {
    dimensions(element, shape).text(8, name).bytes(9, data)
}

/// An initializer whose data is said to lie elsewhere.
pub fn external_initializer(name: &str, element: i64, shape: &[i64], location: &str) -> Message {
    const EXTERNAL: i64 = 1;
    let entry = Message::default().text(1, "location").text(2, location);
    dimensions(element, shape).text(8, name).message(13, &entry).int(14, EXTERNAL)
}

fn dimensions(element: i64, shape: &[i64]) -> Message {
    let message = shape.iter().fold(Message::default(), |it, &size| it.int(1, size));
    message.int(2, element)
}

/// The parts of a graph.
#[derive(Default)]
pub struct Graph {
    pub nodes: Vec<Message>,
    pub initializers: Vec<Message>,
    pub inputs: Vec<Message>,
    pub outputs: Vec<Message>,
}

impl Graph {
    /// The serialised model, of opset 17.
    pub fn model(&self) -> Vec<u8> {
        let mut graph = Message::default().text(2, "graph");
        for (field, parts) in [(1, &self.nodes), (5, &self.initializers), (11, &self.inputs), (12, &self.outputs)] {
            for part in parts {
                graph = graph.message(field, part);
            }
        }
        let opset = Message::default().text(1, "").int(2, 17);
        let model = Message::default().int(1, 8).message(7, &graph).message(8, &opset);
        model.0
    }
}

/// `x` of shape [1, 8] times a square weight, `layers` times over, in one element type.
pub fn matrix_chain(layers: usize, width: i64, weight: impl Fn(&str) -> Message) -> Graph {
    let mut graph = Graph {
        inputs: vec![value("x", FLOAT, &[-1, width])],
        outputs: vec![value("y", FLOAT, &[-1, width])],
        ..Graph::default()
    };
    let mut last = "x".to_owned();
    for layer in 0..layers {
        let (name, product) = (format!("w{layer}"), format!("p{layer}"));
        let next = if layer + 1 == layers { "y".to_owned() } else { format!("a{layer}") };
        graph.initializers.push(weight(&name));
        graph.nodes.push(node("MatMul", &format!("mul{layer}"), &[&last, &name], &[&product]));
        graph.nodes.push(node("Relu", &format!("relu{layer}"), &[&product], &[&next]));
        last = next;
    }
    graph
}
