//! Functions that serve the tests as engines.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use trtforge_runtime::{
    Call, Declared, ElementType, Engine, EngineOptions, Error, Function, Host, Ledger, Profile, Result, Shape,
    ShapeRange, Signature, TensorInfo,
};

/// Two times `x`, through its scratch memory; `x` is `[batch, width]`.
pub struct Double {
    pub width: u64,
    pub weights: u64,
    pub profiles: Vec<Profile>,
}

pub fn double(width: u64) -> Double {
    Double { width, weights: 100, profiles: Vec::new() }
}

pub fn shape(sizes: &[u64]) -> Shape {
    Shape::new(sizes).unwrap()
}

pub fn range(min: &[u64], max: &[u64]) -> ShapeRange {
    ShapeRange { min: shape(min), max: shape(max) }
}

impl Function for Double {
    fn signature(&self) -> Signature {
        Signature {
            inputs: vec![TensorInfo::batched("x", ElementType::Float32, &[self.width])],
            outputs: vec![TensorInfo::batched("y", ElementType::Float32, &[self.width])],
            profiles: self.profiles.clone(),
        }
    }

    fn weights_bytes(&self) -> u64 {
        self.weights
    }

    fn activation_bytes(&self, inputs: &[Shape]) -> u64 {
        inputs[0].elements().unwrap() * 4
    }

    fn run(&self, mut call: Call<'_>) -> Result<()> {
        let x = call.inputs.get::<f32>(0).unwrap();
        let scratch: &mut [f32] = bytemuck::cast_slice_mut(&mut call.scratch[..x.len() * 4]);
        scratch.copy_from_slice(x);
        let y = call.outputs.get::<f32>(0).unwrap();
        y.iter_mut().zip(&*scratch).for_each(|(y, x)| *y = 2.0 * x);
        Ok(())
    }
}

/// A copy of `x` to `y`, each `[4]` of this type, that waits for its gate, and fails or panics on demand.
pub struct Gated {
    pub element: ElementType,
    pub gate: &'static Gate,
}

#[derive(Default)]
pub struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    /// A gate that is open from the start.
    pub fn open() -> &'static Self {
        let gate = Self::closed();
        gate.let_through();
        gate
    }

    pub fn closed() -> &'static Self {
        Box::leak(Box::default())
    }

    pub fn let_through(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }

    /// Waits until the gate is open.
    pub fn pass_through(&self) {
        let mut open = self.open.lock().unwrap();
        while !*open {
            let (next, waited) = self.changed.wait_timeout(open, Duration::from_secs(60)).unwrap();
            assert!(!waited.timed_out(), "nobody opened the gate");
            open = next;
        }
    }
}

impl Function for Gated {
    fn signature(&self) -> Signature {
        let tensor = |name| TensorInfo::fixed(name, self.element, &[4]);
        Signature { inputs: vec![tensor("x")], outputs: vec![tensor("y")], profiles: Vec::new() }
    }

    fn run(&self, mut call: Call<'_>) -> Result<()> {
        self.gate.pass_through();
        if let Some(x) = call.inputs.get::<i32>(0).filter(|_| self.element == ElementType::Int32) {
            match x[0] {
                -1 => return Err(Error::Run { reason: "the first value is -1".to_owned() }),
                -2 => panic!("the first value is -2"),
                _ => {}
            }
        }
        macro_rules! copy {
            ($($element:ident $rust:ty),*) => {
                match self.element {
                    $(ElementType::$element => {
                        let x = call.inputs.get::<$rust>(0).unwrap();
                        call.outputs.get::<$rust>(0).unwrap().copy_from_slice(x);
                    })*
                    other => panic!("{other}"),
                }
            };
        }
        copy!(Float32 f32, Float16 half::f16, Int8 i8, UInt8 u8, Int32 i32, Int64 i64, Bool bool);
        Ok(())
    }
}

/// Several inputs and outputs, some of them without a batch.
pub struct Many;

impl Function for Many {
    fn signature(&self) -> Signature {
        let any = |name: &str| Declared::Open(name.to_owned());
        let picture = vec![any("n"), Declared::Fixed(3), any("h"), any("w")];
        Signature {
            inputs: vec![
                TensorInfo { name: "picture".into(), element: ElementType::UInt8, dimensions: Some(picture) },
                TensorInfo::fixed("table", ElementType::Int64, &[5]),
            ],
            outputs: vec![
                TensorInfo {
                    name: "mean".into(),
                    element: ElementType::Float32,
                    dimensions: Some(vec![any("n"), any("h")]),
                },
                TensorInfo::fixed("flag", ElementType::Bool, &[1]),
            ],
            profiles: Vec::new(),
        }
    }

    fn activation_bytes(&self, inputs: &[Shape]) -> u64 {
        inputs[0].elements().unwrap() + 7
    }

    fn run(&self, mut call: Call<'_>) -> Result<()> {
        let rows = call.inputs.shape(0)[0] * call.inputs.shape(0)[2];
        let mean = call.outputs.get::<f32>(0).unwrap();
        assert_eq!(mean.len() as u64, rows);
        mean.fill(call.inputs.get::<u8>(0).unwrap().len() as f32);
        call.outputs.get::<bool>(1).unwrap()[0] = call.inputs.get::<i64>(1).unwrap().iter().sum::<i64>() == 10;
        Ok(())
    }
}

/// An engine with a host and a ledger of its own.
pub fn engine(function: impl Function) -> (Engine, Host, Ledger) {
    let (host, ledger) = (Host::new(), Ledger::default());
    let options = EngineOptions { ledger: ledger.clone(), host: host.clone(), ..EngineOptions::default() };
    (options.function(function).unwrap(), host, ledger)
}
