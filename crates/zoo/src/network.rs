//! A network as a list of layers with their shapes: what the architecture files describe once, and what settling and ONNX emission both walk.
//!
//! It knows nothing of ONNX and holds no weights. Layers refer to earlier layers only, so the list is in topological order.

use crate::activation::Activation;

/// The output of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value(usize);

impl Value {
    pub(crate) fn index(self) -> usize {
        self.0
    }
}

/// Shape of a layer's output, without the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// One step of the network.
#[derive(Debug)]
pub(crate) struct Layer {
    /// Dotted path, unique in the network.
    pub(crate) name: String,
    pub(crate) operation: Operation,
    pub(crate) inputs: Vec<Value>,
    pub(crate) shape: Shape,
}

/// What a layer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Input,
    /// Every 2x2 block becomes four channel blocks, in the order (row, column) = (0,0), (1,0), (0,1), (1,1).
    SpaceToDepth,
    Convolution(Convolution),
    Activation(Activation),
    Add,
    /// On channels.
    Concat,
    /// Stride 1, padded to keep the size.
    MaxPool {
        kernel: usize,
    },
    /// Nearest neighbour, twice the size.
    Upsample,
}

/// A convolution with bias, padded by `(kernel - 1) / 2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Convolution {
    pub(crate) outputs: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) depthwise: bool,
    pub(crate) role: Role,
}

/// What the output of a convolution is for; decides the statistics it is settled to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Hidden,
    /// Added to a shortcut: kept smaller, so that a long chain of blocks does not outgrow its input.
    Branch,
    ClassLogits,
    BinLogits {
        largest_bin: usize,
    },
}

impl Convolution {
    pub(crate) fn new(outputs: usize, kernel: usize) -> Self {
        Self { outputs, kernel, stride: 1, depthwise: false, role: Role::Hidden }
    }

    pub(crate) fn depthwise(channels: usize, kernel: usize) -> Self {
        Self { depthwise: true, ..Self::new(channels, kernel) }
    }

    pub(crate) fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    pub(crate) fn role(self, role: Role) -> Self {
        Self { role, ..self }
    }

    pub(crate) fn pad(&self) -> usize {
        (self.kernel - 1) / 2
    }

    pub(crate) fn groups(&self) -> usize {
        if self.depthwise { self.outputs } else { 1 }
    }

    /// Weights per output channel, the input having `inputs` channels.
    pub(crate) fn fan_in(&self, inputs: usize) -> usize {
        let channels = if self.depthwise { 1 } else { inputs };
        channels * self.kernel * self.kernel
    }
}

/// The layers, in order.
#[derive(Debug, Default)]
pub(crate) struct Network {
    layers: Vec<Layer>,
}

impl Network {
    pub(crate) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    pub(crate) fn shape(&self, value: Value) -> Shape {
        self.layers[value.0].shape
    }

    pub(crate) fn input(&mut self, name: &str, size: usize) -> Value {
        let shape = Shape { channels: 3, height: size, width: size };
        self.push(name, Operation::Input, vec![], shape)
    }

    pub(crate) fn space_to_depth(&mut self, name: &str, input: Value) -> Value {
        let Shape { channels, height, width } = self.shape(input);
        let shape = Shape { channels: 4 * channels, height: height / 2, width: width / 2 };
        self.push(name, Operation::SpaceToDepth, vec![input], shape)
    }

    pub(crate) fn convolve(&mut self, name: &str, input: Value, convolution: Convolution) -> Value {
        let Shape { height, width, .. } = self.shape(input);
        let along = |length: usize| (length + 2 * convolution.pad() - convolution.kernel) / convolution.stride + 1;
        let shape = Shape { channels: convolution.outputs, height: along(height), width: along(width) };
        self.push(name, Operation::Convolution(convolution), vec![input], shape)
    }

    /// A convolution and its activation.
    pub(crate) fn unit(&mut self, name: &str, input: Value, convolution: Convolution, activation: Activation) -> Value {
        let convolved = self.convolve(name, input, convolution);
        self.activate(name, convolved, activation)
    }

    /// The activation of the layer called `name`.
    pub(crate) fn activate(&mut self, name: &str, input: Value, activation: Activation) -> Value {
        let suffix = match activation {
            Activation::Relu => "relu",
            Activation::Silu => "silu",
        };
        let shape = self.shape(input);
        self.push(&format!("{name}.{suffix}"), Operation::Activation(activation), vec![input], shape)
    }

    pub(crate) fn add(&mut self, name: &str, left: Value, right: Value) -> Value {
        let shape = self.shape(left);
        debug_assert_eq!(shape, self.shape(right));
        self.push(name, Operation::Add, vec![left, right], shape)
    }

    pub(crate) fn concat(&mut self, name: &str, inputs: Vec<Value>) -> Value {
        let channels = inputs.iter().map(|&input| self.shape(input).channels).sum();
        let shape = Shape { channels, ..self.shape(inputs[0]) };
        self.push(name, Operation::Concat, inputs, shape)
    }

    pub(crate) fn max_pool(&mut self, name: &str, input: Value, kernel: usize) -> Value {
        let shape = self.shape(input);
        self.push(name, Operation::MaxPool { kernel }, vec![input], shape)
    }

    pub(crate) fn upsample(&mut self, name: &str, input: Value) -> Value {
        let Shape { channels, height, width } = self.shape(input);
        let shape = Shape { channels, height: 2 * height, width: 2 * width };
        self.push(name, Operation::Upsample, vec![input], shape)
    }

    fn push(&mut self, name: &str, operation: Operation, inputs: Vec<Value>, shape: Shape) -> Value {
        self.layers.push(Layer { name: name.to_owned(), operation, inputs, shape });
        Value(self.layers.len() - 1)
    }
}
