//! Stages made of functions for the tests, what they compute, and the memory they take, reckoned anew.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use trtforge_runtime::{
    Budget, Call, Class, ElementType, Engine, EngineOptions, Error, Function, Host, Ledger, Result, Session, Shape,
    Signature, Stage, TensorInfo,
};

/// One stage: tensors by name and width, bytes.
#[derive(Debug, Clone)]
pub struct Part {
    pub number: usize,
    pub inputs: Vec<(String, u64)>,
    pub outputs: Vec<(String, u64)>,
    pub weights: u64,
    /// Bytes per element of the batch.
    pub activation: u64,
}

/// What a part makes of one row of each input: the same values in the same order whoever calls it.
fn compute(number: usize, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) {
    let sum: f32 = inputs.iter().flat_map(|row| row.iter()).enumerate().map(|(at, x)| x * (1 + at % 3) as f32).sum();
    for (place, output) in outputs.iter_mut().enumerate() {
        let values = output.iter_mut().enumerate();
        values.for_each(|(at, y)| *y = (sum * 0.37 + (number * 7 + place * 3 + at) as f32) % 11.0);
    }
}

impl Function for Part {
    fn signature(&self) -> Signature {
        let infos = |tensors: &[(String, u64)]| {
            tensors.iter().map(|(name, width)| TensorInfo::batched(name, ElementType::Float32, &[*width])).collect()
        };
        Signature { inputs: infos(&self.inputs), outputs: infos(&self.outputs), profiles: Vec::new() }
    }

    fn weights_bytes(&self) -> u64 {
        self.weights
    }

    fn activation_bytes(&self, inputs: &[Shape]) -> u64 {
        inputs[0][0] * self.activation
    }

    fn run(&self, mut call: Call<'_>) -> Result<()> {
        let batch = call.inputs.shape(0)[0] as usize;
        assert!(call.scratch.len() >= batch * self.activation as usize);
        call.scratch.fill(0xa5);
        let rows: Vec<&[f32]> = (0..self.inputs.len()).map(|at| call.inputs.get::<f32>(at).unwrap()).collect();
        if rows[0][0] == FAILS {
            return Err(Error::Run { reason: format!("part {} was told to fail", self.number) });
        }
        let mut made: Vec<Vec<f32>> =
            self.outputs.iter().map(|(_, width)| vec![0.0; *width as usize * batch]).collect();
        self.rows(batch, &rows, &mut made);
        for (at, values) in made.iter().enumerate() {
            call.outputs.get::<f32>(at).unwrap().copy_from_slice(values);
        }
        Ok(())
    }
}

/// A first value that makes a part fail.
pub const FAILS: f32 = -12345.0;

impl Part {
    fn rows(&self, batch: usize, inputs: &[&[f32]], outputs: &mut [Vec<f32>]) {
        for row in 0..batch {
            let of = |(values, (_, width)): (&&[f32], &(String, u64))| {
                let width = *width as usize;
                values[row * width..][..width].to_vec()
            };
            let read: Vec<Vec<f32>> = inputs.iter().zip(&self.inputs).map(of).collect();
            let read: Vec<&[f32]> = read.iter().map(Vec::as_slice).collect();
            let mut made: Vec<&mut [f32]> = outputs
                .iter_mut()
                .zip(&self.outputs)
                .map(|(values, (_, width))| &mut values[row * *width as usize..][..*width as usize])
                .collect();
            compute(self.number, &read, &mut made);
        }
    }
}

/// A network of parts.
#[derive(Debug, Clone)]
pub struct Network {
    pub parts: Vec<Part>,
    pub outputs: Vec<String>,
}

/// What the loading of a stage does.
pub type Fault = dyn Fn(usize, u64) -> Result<()> + Send + Sync;

/// An engine of a network with its host and ledger.
pub struct Rig {
    pub engine: Engine,
    pub host: Host,
    pub ledger: Ledger,
}

impl Network {
    pub fn rig(&self, budget: Budget) -> Rig {
        self.faulty(Host::new(), budget, |_, _| Ok(()))
    }

    /// Loads of stages fail as `fault` says, which gets the number of the stage and how often it was loaded before.
    pub fn faulty(
        &self,
        host: Host,
        budget: Budget,
        fault: impl Fn(usize, u64) -> Result<()> + Send + Sync + 'static,
    ) -> Rig {
        let (ledger, fault): (Ledger, Arc<Fault>) = (Ledger::new(budget), Arc::new(fault));
        let options = EngineOptions { ledger: ledger.clone(), host: host.clone(), ..EngineOptions::default() };
        let stage = |part: &Part| {
            let (part, fault, loads) = (part.clone(), Arc::clone(&fault), AtomicU64::new(0));
            let (signature, name) = (part.signature(), format!("part {}", part.number));
            let (weights, activation) = (part.weights, part.activation * BATCH);
            let load = move |options: &EngineOptions| {
                fault(part.number, loads.fetch_add(1, Ordering::SeqCst))?;
                options.function(part.clone())
            };
            Stage::new(&name, signature, load).with_memory(weights, activation)
        };
        let outputs: Vec<&str> = self.outputs.iter().map(String::as_str).collect();
        let engine = options.stages(&outputs, self.parts.iter().map(stage).collect()).unwrap();
        Rig { engine, host, ledger }
    }

    /// Names and widths of what no part makes.
    pub fn inputs(&self) -> Vec<(String, u64)> {
        let mut inputs: Vec<(String, u64)> = Vec::new();
        for (at, part) in self.parts.iter().enumerate() {
            let made =
                |name: &String| self.parts[..at].iter().any(|it| it.outputs.iter().any(|(made, _)| made == name));
            for input in &part.inputs {
                if !made(&input.0) && !inputs.contains(input) {
                    inputs.push(input.clone());
                }
            }
        }
        inputs
    }

    /// Outputs for these inputs, of the parts run one after another outside any session.
    pub fn expected(&self, batch: u64, seed: u64) -> Vec<Vec<f32>> {
        let mut held: HashMap<&str, Vec<f32>> = HashMap::new();
        let inputs = self.inputs();
        for (name, width) in &inputs {
            held.insert(name, values(name, batch * width, seed));
        }
        for part in &self.parts {
            let read: Vec<&[f32]> = part.inputs.iter().map(|(name, _)| held[name.as_str()].as_slice()).collect();
            let width = |(_, width): &(String, u64)| vec![0.0; (width * batch) as usize];
            let mut made: Vec<Vec<f32>> = part.outputs.iter().map(width).collect();
            part.rows(batch as usize, &read, &mut made);
            part.outputs.iter().zip(made).for_each(|((name, _), made)| drop(held.insert(name, made)));
        }
        self.outputs.iter().map(|name| held[name.as_str()].clone()).collect()
    }

    /// Writes inputs, runs, and reads outputs.
    pub fn run(&self, session: &mut Session, batch: u64, seed: u64) -> Result<Vec<Vec<f32>>> {
        session.set_batch(batch)?;
        for (name, width) in self.inputs() {
            session.input::<f32>(&name)?.copy_from_slice(&values(&name, batch * width, seed));
        }
        session.run()?;
        self.outputs.iter().map(|name| Ok(session.output::<f32>(name)?.to_vec())).collect()
    }

    /// First and last stage during which each tensor is there, its bytes, and whether it is an input or output of the whole.
    fn spans(&self) -> Vec<(usize, usize, u64, bool)> {
        let mut spans: HashMap<&str, (usize, usize, u64, bool)> = HashMap::new();
        for (at, part) in self.parts.iter().enumerate() {
            for (name, width) in &part.inputs {
                spans.entry(name).or_insert((at, at, 4 * width * BATCH, true)).1 = at;
            }
            for (name, width) in &part.outputs {
                spans.insert(name, (at, at, 4 * width * BATCH, self.outputs.contains(name)));
            }
        }
        spans.into_values().collect()
    }

    /// Bytes of a session of one slot that keeps everything.
    pub fn full(&self) -> u64 {
        let weights: u64 = self.parts.iter().map(|part| part.weights).sum();
        let activation = self.parts.iter().map(|part| part.activation * BATCH).max().unwrap();
        weights + activation + self.spans().iter().map(|span| span.2).sum::<u64>()
    }

    /// Bytes that are held for as long as a slot is there.
    pub fn kept(&self) -> u64 {
        self.spans().iter().filter(|span| span.3).map(|span| span.2).sum()
    }

    /// The least that a session of one slot can run in.
    pub fn floor(&self) -> u64 {
        let spans = self.spans();
        let live = |at: usize| -> u64 {
            spans.iter().filter(|span| !span.3 && span.0 <= at && at <= span.1).map(|span| span.2).sum()
        };
        let turn = |(at, part): (usize, &Part)| part.weights + part.activation * BATCH + live(at);
        self.kept() + self.parts.iter().enumerate().map(turn).max().unwrap()
    }
}

/// The largest batch of the tests.
pub const BATCH: u64 = 3;

/// Values of an input that follow from its name and a seed.
pub fn values(name: &str, count: u64, seed: u64) -> Vec<f32> {
    let lead: u64 = name.bytes().map(u64::from).sum();
    (0..count).map(|at| ((at * 31 + seed * 17 + lead) % 23) as f32 / 4.0).collect()
}

/// Parts in a row, each with one tensor of `width`; weights as given.
pub fn row(weights: &[u64], width: u64, activation: u64) -> Network {
    let name = |at: usize| if at == 0 { "x".to_owned() } else { format!("t{at}") };
    let part = |(number, &weights): (usize, &u64)| Part {
        number,
        inputs: vec![(name(number), width)],
        outputs: vec![(name(number + 1), width)],
        weights,
        activation,
    };
    Network { parts: weights.iter().enumerate().map(part).collect(), outputs: vec![name(weights.len())] }
}

type Drawn = (u64, u64, Vec<u64>, Vec<prop::sample::Index>, Option<u64>);

/// Any network: parts read what earlier ones made, or inputs; some of what is made is returned, some is never read.
pub fn networks() -> impl Strategy<Value = Network> {
    let reads = prop::collection::vec(any::<prop::sample::Index>(), 0..3);
    let part = (1..2000u64, 0..40u64, prop::collection::vec(1..30u64, 1..4), reads, prop::option::of(1..30u64));
    let returned = prop::collection::vec(any::<prop::sample::Index>(), 0..3);
    (prop::collection::vec(part, 1..7), returned).prop_map(|(parts, returned)| network(parts, &returned))
}

fn network(drawn: Vec<Drawn>, returned: &[prop::sample::Index]) -> Network {
    let (mut made, mut parts): (Vec<(String, u64)>, Vec<Part>) = (vec![("x".to_owned(), 5)], Vec::new());
    for (number, (weights, activation, widths, reads, external)) in drawn.into_iter().enumerate() {
        // What the part before made last is always read.
        let mut inputs = vec![made.last().unwrap().clone()];
        inputs.extend(external.map(|width| (format!("in{number}"), width)));
        for read in reads {
            let tensor = read.get(&made);
            if !inputs.contains(tensor) {
                inputs.push(tensor.clone());
            }
        }
        let outputs: Vec<_> =
            widths.iter().enumerate().map(|(at, &width)| (format!("m{number}.{at}"), width)).collect();
        let fresh: Vec<_> = inputs.iter().filter(|input| !made.contains(input)).cloned().collect();
        made.extend(fresh);
        made.extend(outputs.clone());
        parts.push(Part { number, inputs, outputs, weights, activation });
    }
    let makes: Vec<&String> = parts.iter().flat_map(|part| part.outputs.iter().map(|(name, _)| name)).collect();
    let mut outputs = vec![(*makes.last().unwrap()).clone()];
    for index in returned {
        let name = *index.get(&makes);
        if !outputs.contains(name) {
            outputs.push(name.clone());
        }
    }
    Network { parts, outputs }
}

/// A fault that a test turns on and off.
#[derive(Clone, Default)]
pub struct Switch(Arc<Mutex<Option<usize>>>);

impl Switch {
    /// From now on this stage does not load; none does fail without one.
    pub fn fail(&self, stage: Option<usize>) {
        *self.0.lock().unwrap() = stage;
    }

    pub fn is_failing(&self, stage: usize) -> bool {
        *self.0.lock().unwrap() == Some(stage)
    }
}

pub fn out_of_memory() -> Error {
    Error::OutOfMemory { device: "test".into(), class: Class::Weights, bytes: 1, free_bytes: None }
}
