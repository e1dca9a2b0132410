//! How stages fit together: which tensors there are, who makes them, who reads them last. Pure.

use std::collections::HashMap;

use crate::engine::{Declared, EngineFault, Signature, TensorInfo, shape_by_name};
use crate::shape::Shape;

/// A tensor that goes into a stage or comes out of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tensor {
    pub(crate) info: TensorInfo,
    /// The stage that makes it; of an input of the whole the first that reads it.
    pub(crate) first: usize,
    /// The last stage that reads it; where none does, the one that makes it.
    pub(crate) last: usize,
    /// Whether a stage makes it. What none makes is an input of the whole.
    made: bool,
    /// Whether it is an output of the whole.
    is_output: bool,
}

impl Tensor {
    /// Whether it is an input or output of the whole.
    pub(crate) fn is_external(&self) -> bool {
        !self.made || self.is_output
    }

    /// Whether it is there while `stage` runs.
    pub(crate) fn is_live(&self, stage: usize) -> bool {
        (self.first..=self.last).contains(&stage)
    }
}

/// Numbers of the tensors of one stage, in the order of its signature.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct StageTensors {
    pub(crate) inputs: Vec<usize>,
    pub(crate) outputs: Vec<usize>,
}

/// Stages in order with their tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) stages: Vec<StageTensors>,
    /// Inputs of the whole.
    pub(crate) inputs: Vec<usize>,
    /// Outputs of the whole.
    pub(crate) outputs: Vec<usize>,
    signature: Signature,
}

impl Chain {
    /// Puts stages together; `outputs` are those of the whole. Its inputs are what a stage reads and no earlier one makes, in
    /// that order.
    pub(crate) fn new<'s>(
        stages: impl IntoIterator<Item = (&'s str, &'s Signature)>,
        outputs: &[&str],
    ) -> Result<Self, EngineFault> {
        let mut joined = Joined::default();
        let stages: Vec<StageTensors> =
            stages.into_iter().map(|(name, signature)| joined.add(name, signature)).collect::<Result<_, _>>()?;
        if stages.is_empty() {
            return Err(EngineFault::NoStages);
        }
        let Joined { mut tensors, numbers, .. } = joined;
        let output = |name: &&str| {
            let number = numbers.get(*name).copied().filter(|&number| tensors[number].made);
            number.ok_or_else(|| EngineFault::StageOutput { name: (*name).to_owned() })
        };
        let outputs: Vec<usize> = outputs.iter().map(output).collect::<Result<_, _>>()?;
        outputs.iter().for_each(|&number| tensors[number].is_output = true);
        let inputs: Vec<usize> = (0..tensors.len()).filter(|&number| !tensors[number].made).collect();
        let infos = |numbers: &[usize]| numbers.iter().map(|&number| tensors[number].info.clone()).collect();
        let signature = Signature { inputs: infos(&inputs), outputs: infos(&outputs), profiles: Vec::new() };
        let chain = Self { tensors, stages, inputs, outputs, signature };
        chain.check_sizes()?;
        Ok(chain)
    }

    /// The same with inputs in the order of `names`, which are all of them.
    pub(crate) fn with_inputs(mut self, names: &[&str]) -> Result<Self, EngineFault> {
        let place = |name: &&str| {
            let found = self.signature.inputs.iter().position(|input| input.name == *name);
            found.ok_or_else(|| EngineFault::StageInputs { named: owned(names), read: self.input_names() })
        };
        let places: Vec<usize> = names.iter().map(place).collect::<Result<_, _>>()?;
        let mut sorted = places.clone();
        sorted.sort_unstable();
        if sorted != (0..self.inputs.len()).collect::<Vec<_>>() {
            return Err(EngineFault::StageInputs { named: owned(names), read: self.input_names() });
        }
        self.inputs = places.iter().map(|&place| self.inputs[place]).collect();
        self.signature.inputs = places.iter().map(|&place| self.signature.inputs[place].clone()).collect();
        Ok(self)
    }

    fn input_names(&self) -> Vec<String> {
        self.signature.inputs.iter().map(|input| input.name.clone()).collect()
    }

    /// What the whole takes and gives.
    pub(crate) fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The shape of every tensor for those of the inputs of the whole.
    pub(crate) fn shapes(&self, inputs: &[Shape], shapes: &mut Vec<Shape>) {
        shapes.clear();
        shapes.extend(self.tensors.iter().map(|tensor| {
            // That all sizes follow from the inputs was checked when the chain was made.
            shape_by_name(&self.signature, &tensor.info, inputs).unwrap_or_default()
        }));
        self.inputs.iter().zip(inputs).for_each(|(&number, shape)| shapes[number] = *shape);
    }

    /// That the size of everything that a stage makes follows from the shapes of the inputs.
    fn check_sizes(&self) -> Result<(), EngineFault> {
        let known = |dimension: &Declared| match dimension {
            Declared::Fixed(_) => true,
            Declared::Open(name) => !name.is_empty() && self.signature.inputs.iter().any(|it| has_open(it, name)),
        };
        let is_known = |tensor: &&Tensor| {
            tensor.info.dimensions.as_ref().is_some_and(|it| it.len() <= crate::MAX_RANK && it.iter().all(known))
        };
        match self.tensors.iter().filter(|tensor| tensor.made).find(|tensor| !is_known(tensor)) {
            None => Ok(()),
            Some(tensor) => {
                let reason = format!("the sizes of {} do not follow from those of the inputs", tensor.info);
                Err(EngineFault::Tensor { name: tensor.info.name.clone(), reason })
            }
        }
    }
}

/// Stages as far as they were put together.
#[derive(Default)]
struct Joined {
    tensors: Vec<Tensor>,
    numbers: HashMap<String, usize>,
    stages: usize,
}

impl Joined {
    fn add(&mut self, stage: &str, signature: &Signature) -> Result<StageTensors, EngineFault> {
        let misfit = |name: &str, reason| {
            let (stage, name) = (stage.to_owned(), name.to_owned());
            Err(EngineFault::StageTensor { stage, name, reason })
        };
        let (current, mut tensors) = (self.stages, StageTensors::default());
        for info in &signature.inputs {
            let number = match self.numbers.get(&info.name) {
                Some(number) if tensors.inputs.contains(number) => return misfit(&info.name, "it goes in twice"),
                Some(&number) => number,
                None => self.push(info, current, false),
            };
            agree(stage, &self.tensors[number].info, info, Names::Same)?;
            self.tensors[number].last = current;
            tensors.inputs.push(number);
        }
        for info in &signature.outputs {
            match self.numbers.get(&info.name).map(|&number| &self.tensors[number]) {
                None => tensors.outputs.push(self.push(info, current, true)),
                Some(tensor) if tensor.made => return misfit(&info.name, "it was made before"),
                Some(_) => return misfit(&info.name, "it is read before it is made"),
            }
        }
        self.stages += 1;
        Ok(tensors)
    }

    fn push(&mut self, info: &TensorInfo, stage: usize, made: bool) -> usize {
        self.tensors.push(Tensor { info: info.clone(), first: stage, last: stage, made, is_output: false });
        self.numbers.insert(info.name.clone(), self.tensors.len() - 1);
        self.tensors.len() - 1
    }
}

/// Whether the names of open dimensions count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// They are the same.
    Same,
    /// A file may have lost them, and may have left open what is fixed elsewhere.
    Any,
}

/// That a tensor of `stage` is what it is elsewhere.
pub(crate) fn agree(stage: &str, expected: &TensorInfo, actual: &TensorInfo, names: Names) -> Result<(), EngineFault> {
    let same = |(one, other): (&Declared, &Declared)| match (one, other) {
        (Declared::Fixed(one), Declared::Fixed(other)) => one == other,
        _ => names == Names::Any || one == other,
    };
    let dimensions = match (&expected.dimensions, &actual.dimensions) {
        (Some(one), Some(other)) => one.len() == other.len() && one.iter().zip(other).all(same),
        (one, other) => names == Names::Any || one == other,
    };
    if expected.element == actual.element && dimensions {
        return Ok(());
    }
    Err(EngineFault::StageDisagrees {
        stage: stage.to_owned(),
        name: actual.name.clone(),
        expected: expected.to_string(),
        actual: actual.to_string(),
    })
}

fn has_open(tensor: &TensorInfo, name: &str) -> bool {
    let named = |dimension: &Declared| matches!(dimension, Declared::Open(it) if it == name);
    tensor.dimensions.iter().flatten().any(named)
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::ElementType::{Float32, Int8};

    fn signature(inputs: &[TensorInfo], outputs: &[TensorInfo]) -> Signature {
        Signature { inputs: inputs.to_vec(), outputs: outputs.to_vec(), profiles: Vec::new() }
    }

    fn tensor(name: &str) -> TensorInfo {
        TensorInfo::batched(name, Float32, &[3])
    }

    fn chain(stages: &[Signature], outputs: &[&str]) -> Result<Chain, EngineFault> {
        Chain::new(stages.iter().map(|stage| ("it", stage)), outputs)
    }

    #[test]
    fn tensors_live_from_who_makes_or_first_reads_them_to_who_reads_them_last() {
        let stages = [
            signature(&[tensor("x")], &[tensor("a"), tensor("b")]),
            signature(&[tensor("a"), tensor("z")], &[tensor("c"), tensor("unread")]),
            signature(&[tensor("b"), tensor("c"), tensor("x")], &[tensor("y")]),
        ];
        let chain = chain(&stages, &["y", "c"]).unwrap();
        let spans: Vec<_> = chain.tensors.iter().map(|it| (it.info.name.as_str(), it.first, it.last)).collect();
        let expected = [("x", 0, 2), ("a", 0, 1), ("b", 0, 2), ("z", 1, 1), ("c", 1, 2), ("unread", 1, 1), ("y", 2, 2)];
        assert_eq!(spans, expected);
        let external = chain.tensors.iter().filter(|it| it.is_external()).map(|it| it.info.name.as_str());
        assert_eq!(external.collect::<Vec<_>>(), ["x", "z", "c", "y"]);
        assert_eq!(chain.signature().outputs[0].name, "y");
        assert_eq!(chain.stages[2].inputs, [2, 4, 0]);
        let swapped = chain.clone().with_inputs(&["z", "x"]).unwrap();
        assert_eq!((swapped.input_names(), swapped.inputs), (owned(&["z", "x"]), vec![3, 0]));
        for wrong in [&["x"][..], &["x", "x"], &["x", "y"], &["x", "z", "x"]] {
            assert!(matches!(chain.clone().with_inputs(wrong), Err(EngineFault::StageInputs { .. })));
        }
    }

    #[test]
    fn every_misfit_is_told() {
        let first = signature(&[tensor("x")], &[tensor("a")]);
        let reads = |info: TensorInfo| [first.clone(), signature(&[info], &[tensor("y")])];
        assert!(chain(&reads(tensor("a")), &["y"]).is_ok());
        for other in [
            TensorInfo::batched("a", Int8, &[3]),
            TensorInfo::batched("a", Float32, &[4]),
            TensorInfo::batched("a", Float32, &[3, 1]),
            TensorInfo::fixed("a", Float32, &[1, 3]),
        ] {
            let fault = chain(&reads(other), &["y"]).unwrap_err();
            assert!(matches!(&fault, EngineFault::StageDisagrees { name, .. } if name == "a"), "{fault}");
        }
        let again = [first.clone(), signature(&[tensor("a")], &[tensor("a")])];
        assert!(matches!(chain(&again, &[]), Err(EngineFault::StageTensor { .. })));
        let late = [signature(&[tensor("a")], &[tensor("y")]), first.clone()];
        assert!(matches!(chain(&late, &["y"]), Err(EngineFault::StageTensor { .. })));
        let twice = [signature(&[tensor("x"), tensor("x")], &[tensor("y")])];
        assert!(matches!(chain(&twice, &["y"]), Err(EngineFault::StageTensor { .. })));
        assert!(matches!(chain(std::slice::from_ref(&first), &["b"]), Err(EngineFault::StageOutput { .. })));
        assert!(matches!(chain(std::slice::from_ref(&first), &["x"]), Err(EngineFault::StageOutput { .. })));
        assert!(matches!(chain(&[], &[]), Err(EngineFault::NoStages)));
        let count = Declared::Open("found".to_owned());
        let found = TensorInfo { name: "a".to_owned(), element: Float32, dimensions: Some(vec![count]) };
        let open = [signature(&[tensor("x")], &[found])];
        assert!(matches!(chain(&open, &["a"]), Err(EngineFault::Tensor { .. })));
    }

    #[test]
    fn shapes_follow_from_those_of_the_inputs() {
        let stages = [
            signature(&[tensor("x")], &[tensor("a")]),
            signature(&[tensor("a")], &[TensorInfo::fixed("y", Int8, &[9])]),
        ];
        let (mut shapes, input) = (Vec::new(), Shape::new(&[5, 3]).unwrap());
        chain(&stages, &["y"]).unwrap().shapes(&[input], &mut shapes);
        assert_eq!(shapes.iter().map(|shape| shape.to_vec()).collect::<Vec<_>>(), [vec![5, 3], vec![5, 3], vec![9]]);
    }
}
