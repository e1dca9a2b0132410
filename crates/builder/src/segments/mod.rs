//! A network cut into segments that run one after another, so that memory holds one at a time.
//!
//! The cuts are searched for over the liveness of the converted network ([`trtforge_graph::segmentation`]), each segment is
//! a model of its own that is compiled by itself, and what the compiler says of each is what counts. Values between
//! segments keep their names. Cutting changes no number: the segments have the nodes of the whole.

pub(crate) mod bundle;
mod chain;
mod compile;
mod dimensions;
mod formats;

use crate::passes::ResolvedShapes;
use crate::{Error, Result};
pub(crate) use compile::{CompiledStage, StageCompiler, peak_memory, worthwhile};
pub use compile::{Stages, StagesParseError};

use chain::Kernelled;
use dimensions::OpenDimensions;
use formats::{ConvolvingKernels, between};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use trtforge_graph::segmentation::{SegmentMemory, Segmentation, Segments};
use trtforge_graph::{
    Boundary, Graph, Model, NodeId, Producer, TensorType, ValueId, ValueType, segment, segment_boundary,
};
use trtforge_tensorrt::TensorFormat;

/// Counts changes of where networks are cut and how segments are compiled: figures and forms found before one do not hold after it.
pub(crate) const REVISION: u32 = 2;

/// A segment of a network.
pub struct Segment {
    /// Its nodes, as a model.
    pub model: Model,
    /// Shape ranges of its inputs.
    pub shapes: ResolvedShapes,
    /// What it reads and returns.
    pub inputs: Vec<SegmentTensor>,
    /// What it makes for later segments and for the caller.
    pub outputs: Vec<SegmentTensor>,
    /// What the search expects of it.
    pub estimate: SegmentMemory,
    /// The kernels of the network that it consists of.
    pub(crate) steps: RangeInclusive<u32>,
    /// Bytes of inputs, outputs and values between segments that are held while it runs, at the largest shapes.
    pub boundary_bytes: u64,
}

impl Segment {
    /// Formats of inputs and outputs whose elements do not lie in row-major order.
    fn formats(&self) -> BTreeMap<String, TensorFormat> {
        let tensors = self.inputs.iter().chain(&self.outputs);
        let other = tensors.filter(|tensor| tensor.format != TensorFormat::Linear);
        other.map(|tensor| (tensor.name.clone(), tensor.format)).collect()
    }
}

/// A value between segments, or an input or output of the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentTensor {
    /// Its name in the network.
    pub name: String,
    /// Its type; open dimensions have names that inputs of the whole have.
    pub ty: TensorType,
    /// The order of its elements in memory, between engines.
    pub format: TensorFormat,
}

/// A network that can be cut.
pub struct Divisible {
    graph: Graph,
    shapes: ResolvedShapes,
    open: OpenDimensions,
    kernelled: Kernelled,
    convolving: ConvolvingKernels,
    search: Segments,
}

impl Divisible {
    /// Looks at a typed network.
    pub fn new(graph: Graph, shapes: &ResolvedShapes) -> Self {
        let open = OpenDimensions::of(&graph, shapes);
        let kernelled = Kernelled::of(&graph, &open);
        let convolving = ConvolvingKernels::of(&graph, &kernelled.nodes);
        let search = Segments::new(&kernelled.chain);
        Self { graph, shapes: shapes.clone(), open, kernelled, convolving, search }
    }

    /// The most segments that it can be cut into.
    #[must_use]
    pub fn most(&self) -> usize {
        self.search.most()
    }

    /// The smallest peak that `count` segments are expected to have, in bytes.
    #[must_use]
    pub fn expected_peak(&self, count: usize) -> Option<u64> {
        self.search.best(count).map(|found| found.peak_bytes())
    }

    /// Cuts it into `count` segments.
    ///
    /// # Errors
    /// [`Error::Stages`] where there are not as many places to cut.
    pub fn cut(&self, count: usize) -> Result<Vec<Segment>> {
        self.parts(&self.search.best(count).ok_or_else(|| self.too_many(count))?)
    }

    /// The same where each kernel is known to need more activation memory than is expected of it, by so many bytes.
    pub(crate) fn cut_expecting(&self, count: usize, excess: &[u64]) -> Result<Vec<Segment>> {
        let mut chain = self.kernelled.chain.clone();
        chain.steps.iter_mut().zip(excess).for_each(|(step, bytes)| step.scratch_bytes += bytes);
        self.parts(&Segments::new(&chain).best(count).ok_or_else(|| self.too_many(count))?)
    }

    /// Kernels that it consists of.
    pub(crate) fn kernels(&self) -> usize {
        self.kernelled.nodes.len()
    }

    /// Moves the cut in front of a segment, by its number, to the next place: forward, or back. False where there is no such place.
    pub(crate) fn move_cut(&self, steps: &mut [RangeInclusive<u32>], number: usize, forward: bool) -> bool {
        let Some(start) = self.search.beside(*steps[number].start())[usize::from(forward)] else { return false };
        let (first, last) = (*steps[number - 1].start(), *steps[number].end());
        let is_between = first < start && start <= last;
        if is_between {
            (steps[number - 1], steps[number]) = (first..=start - 1, start..=last);
        }
        is_between
    }

    /// Cuts it into segments of these steps; nothing where that is not to be done there.
    pub(crate) fn cut_at(&self, steps: &[RangeInclusive<u32>]) -> Result<Option<Vec<Segment>>> {
        self.search.at(steps).map(|found| self.parts(&found)).transpose()
    }

    fn parts(&self, found: &Segmentation) -> Result<Vec<Segment>> {
        let nodes: Vec<Vec<_>> = found
            .segments
            .iter()
            .map(|steps| {
                let mut nodes: Vec<_> =
                    steps.clone().flat_map(|step| self.kernelled.nodes[step as usize].clone()).collect();
                nodes.sort_unstable();
                nodes
            })
            .collect();
        let boundaries: Vec<Boundary> = nodes.iter().map(|nodes| segment_boundary(&self.graph, nodes)).collect();
        let held = self.held(&boundaries);
        let parts = nodes.iter().zip(&boundaries).zip(held);
        let expected = found.segments.iter().zip(&found.memory);
        parts
            .zip(expected)
            .map(|(((nodes, boundary), held), expected)| self.part(nodes, boundary, held, expected))
            .collect()
    }

    fn part(
        &self,
        nodes: &[NodeId],
        boundary: &Boundary,
        boundary_bytes: u64,
        (steps, estimate): (&RangeInclusive<u32>, &SegmentMemory),
    ) -> Result<Segment> {
        let model = segment(&self.graph, nodes).map_err(Error::pass("stages"))?;
        let tensors = |values: &[ValueId]| values.iter().filter_map(|&value| self.tensor(value)).collect();
        let range =
            |&value: &ValueId| Some((self.graph.value(value).name.clone(), self.open.range_of(&self.graph, value)?));
        let shapes = ResolvedShapes { ranges: boundary.inputs.iter().filter_map(range).collect(), notes: vec![] };
        let (inputs, outputs) = (tensors(&boundary.inputs), tensors(&boundary.outputs));
        Ok(Segment { model, shapes, inputs, outputs, estimate: *estimate, steps: steps.clone(), boundary_bytes })
    }

    fn tensor(&self, value: ValueId) -> Option<SegmentTensor> {
        let told = self.graph.value(value);
        let is_external = told.producer == Producer::GraphInput || told.is_output;
        let format = if is_external { TensorFormat::Linear } else { between(&self.graph, &self.convolving, value) };
        let ty = told.ty.as_ref().and_then(ValueType::tensor)?.clone();
        Some(SegmentTensor { name: told.name.clone(), ty, format })
    }

    /// Bytes of boundary values that are held while each segment runs: from the segment that makes them, or first reads them, to
    /// the last that reads them.
    fn held(&self, boundaries: &[Boundary]) -> Vec<u64> {
        let mut held = vec![0; boundaries.len()];
        let mut values: Vec<ValueId> =
            boundaries.iter().flat_map(|it| it.inputs.iter().chain(&it.outputs)).copied().collect();
        values.sort_unstable();
        values.dedup();
        for value in values {
            let uses = |boundary: &&Boundary| boundary.inputs.contains(&value) || boundary.outputs.contains(&value);
            let first = boundaries.iter().position(|it| uses(&it)).unwrap_or(0);
            let last = boundaries.iter().rposition(|it| uses(&it)).unwrap_or(0);
            let bytes = self.open.most_bytes(&self.graph, value).unwrap_or(0);
            held[first..=last].iter_mut().for_each(|sum| *sum += bytes);
        }
        held
    }

    pub(crate) fn too_many(&self, count: usize) -> Error {
        let obstacle = self.kernelled.obstacle.map(|value| self.graph.value(value).name.clone());
        Error::Stages { asked: count, most: self.most(), obstacle }
    }

    /// Inputs of the whole.
    #[must_use]
    pub fn inputs(&self) -> Vec<SegmentTensor> {
        self.graph.graph_inputs().iter().filter_map(|&value| self.tensor(value)).collect()
    }

    /// Outputs of the whole.
    #[must_use]
    pub fn outputs(&self) -> Vec<SegmentTensor> {
        self.graph.graph_outputs().iter().filter_map(|&value| self.tensor(value)).collect()
    }

    /// Shape ranges of the inputs of the whole.
    #[must_use]
    pub fn shapes(&self) -> &ResolvedShapes {
        &self.shapes
    }
}
