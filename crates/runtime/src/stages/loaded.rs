//! A stage that is in memory, and how its tensors are those of the chain.

use super::chain::{Names, agree};
use super::{Chain, Stage};
use crate::engine::{Engine, EngineFault, TensorInfo};
use crate::error::{Error, Result};

/// A stage that is in memory, with what runs it.
pub(crate) struct Loaded<R> {
    /// First field: goes before the engine that it runs.
    #[cfg_attr(not(feature = "tensorrt"), allow(dead_code))]
    pub(crate) runner: R,
    pub(crate) engine: Engine,
    /// Numbers of the tensors that go in, in the order of the engine, which may be another than the stage's.
    pub(crate) inputs: Vec<usize>,
    /// Numbers of the tensors that come out.
    pub(crate) outputs: Vec<usize>,
}

impl<R> Loaded<R> {
    /// Joins an engine to stage number `number` of the chain, if it is what the stage says.
    pub(crate) fn new(
        engine: Engine,
        chain: &Chain,
        number: usize,
        stage: &Stage,
        runner: impl FnOnce(&Engine) -> Result<R>,
    ) -> Result<Self> {
        let unfit = |fault| Error::Unfit { source_name: engine.name().to_owned(), fault: Box::new(fault) };
        let (tensors, signature) = (&chain.stages[number], engine.signature());
        let inputs = wire(&stage.name, chain, &tensors.inputs, &signature.inputs).map_err(unfit)?;
        let outputs = wire(&stage.name, chain, &tensors.outputs, &signature.outputs).map_err(unfit)?;
        Ok(Self { runner: runner(&engine)?, engine, inputs, outputs })
    }
}

/// The chain's numbers of an engine's tensors.
fn wire(stage: &str, chain: &Chain, numbers: &[usize], tensors: &[TensorInfo]) -> Result<Vec<usize>, EngineFault> {
    let misfit =
        |name: &str, reason| EngineFault::StageTensor { stage: stage.to_owned(), name: name.to_owned(), reason };
    let name = |number: usize| chain.tensors[number].info.name.as_str();
    if let Some(&absent) = numbers.iter().find(|&&number| tensors.iter().all(|tensor| tensor.name != name(number))) {
        return Err(misfit(name(absent), "what was loaded does not have it"));
    }
    let number = |tensor: &TensorInfo| {
        let found = numbers.iter().copied().find(|&number| name(number) == tensor.name);
        let number = found.ok_or_else(|| misfit(&tensor.name, "what was loaded has it, and the stage has not"))?;
        agree(stage, &chain.tensors[number].info, tensor, Names::Any).map(|()| number)
    };
    tensors.iter().map(number).collect()
}
