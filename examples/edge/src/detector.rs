//! The network: opened under a budget, and everything that surrounds it on the way from pixels to boxes.

use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use trtforge_runtime::{
    Budget, Bytes, ElementType, Engine, EngineOptions, Ledger, Request, Sample, Session, TensorInfo,
};
use trtforge_vision::{
    Candidates, Decoder, Detection, Fit, Input, OutputShape, Placement, Preprocess, RgbImage, Selection, Size,
    Suppressor, Values, choose,
};

/// How pictures become the network's input: as the network was trained. These are the settings of `configs/detector.yaml`,
/// stretched RGB from 0 to 255; another network has its own.
fn preprocess() -> Preprocess {
    Preprocess { fit: Fit::Stretch, ..Preprocess::default() }
}

/// Opens an engine, or a model on the CPU. What it holds, and its sessions, stay within the budget: what does not fit is an
/// error before anything is allocated.
pub fn open(file: &Path, budget_bytes: u64) -> Result<Engine> {
    let ledger = Ledger::new(Budget::device(budget_bytes));
    let engine = EngineOptions { ledger, ..EngineOptions::default() }.open(file)?;
    let signature = engine.signature();
    ensure!(
        matches!(signature.inputs.as_slice(), [input] if input.element == ElementType::Float32),
        "{} must have one input of float32",
        engine.name()
    );
    Ok(engine)
}

/// A session of the largest batch, up to `most`, that the budget holds.
pub fn session(engine: &Engine, most: u64) -> Result<Session> {
    let limit = engine.ledger().budget().device_bytes.unwrap_or(u64::MAX);
    let fits = |batch: &u64| engine.plan(&Request::batch(*batch)).is_ok_and(|plan| plan.device_bytes() <= limit);
    // Without a batch a network gets the one that it fixes; whether that fits, the ledger says.
    let request = (1..=most).rev().find(fits).map_or_else(Request::default, Request::batch);
    let mut session = engine.session(request.into()).with_context(|| format!("not within {}", Bytes(limit)))?;
    // The first run settles things, such as the sizes of outputs; no frame should wait for that.
    session.run()?;
    Ok(session)
}

/// What turns pictures into samples, and answers into boxes.
pub struct Detector {
    preprocess: Preprocess,
    input: Input,
    decoder: Decoder,
    outputs: Vec<ElementType>,
    selection: Selection,
}

/// Memory that [`Detector::boxes`] works in.
pub struct Scratch {
    candidates: Candidates,
    suppressor: Suppressor,
}

impl Detector {
    /// The one for a session that has run once.
    pub fn new(session: &mut Session, selection: Selection) -> Result<Self> {
        let engine = session.engine().clone();
        let signature = engine.signature();
        let slot = session.slot(0)?;
        let shape = slot.input_shape(&signature.inputs[0].name)?;
        let &[_, 3, height, width] = &shape[..] else { bail!("the input is {shape}, not images of three channels") };
        let input = Input::rgb(u32::try_from(width)?, u32::try_from(height)?);
        let shape_of = |output: &TensorInfo| {
            let sizes = slot.output_shape(&output.name)?;
            let dimensions: Vec<usize> = sizes.iter().map(|&size| size as usize).collect();
            Ok(match output.element {
                ElementType::Float32 => OutputShape::fractions(&output.name, &dimensions),
                ElementType::Int32 | ElementType::Int64 => OutputShape::whole(&output.name, &dimensions),
                other => bail!("output {} is {other}", output.name),
            })
        };
        let shapes: Vec<OutputShape> = signature.outputs.iter().map(shape_of).collect::<Result<_>>()?;
        let decoder = choose(&shapes, Size::new(input.width, input.height)?)?;
        // Some networks find each object once by themselves.
        let iou = selection.iou.filter(|_| decoder.kind().needs_suppression());
        let outputs = signature.outputs.iter().map(|output| output.element).collect();
        Ok(Self { preprocess: preprocess(), input, decoder, outputs, selection: Selection { iou, ..selection } })
    }

    /// Memory to work in, for one thread.
    pub fn scratch(&self) -> Scratch {
        Scratch { candidates: Candidates::new(self.selection.score), suppressor: Suppressor::default() }
    }

    /// The picture as a sample, in memory that served before; and where in it the picture lies.
    pub fn fill(&self, image: &RgbImage, tensor: &mut Vec<f32>, sample: &mut Sample) -> Result<Placement> {
        tensor.resize(self.input.elements(), 0.0);
        self.preprocess.fill(image, self.input, tensor)?;
        sample.tensors.resize_with(1, Vec::new);
        sample.tensors[0].clear();
        sample.tensors[0].extend(tensor.iter().flat_map(|value| value.to_ne_bytes()));
        Ok(self.preprocess.placement(image, self.input)?)
    }

    /// The boxes in a network's answer, in pixels of the picture of that size.
    pub fn boxes(
        &self,
        answer: &Sample,
        place: &Placement,
        size: Size,
        scratch: &mut Scratch,
    ) -> Result<Vec<Detection>> {
        let outputs: Vec<Numbers> =
            self.outputs.iter().enumerate().map(|(at, element)| Numbers::new(answer, at, *element)).collect();
        let values: Vec<Values<'_>> = outputs.iter().map(Numbers::values).collect();
        self.decoder.decode(&values, 1, 0, &mut scratch.candidates)?;
        Ok(self.selection.select(&scratch.candidates, &mut scratch.suppressor, place, size).0)
    }
}

/// The numbers of one output.
enum Numbers {
    F32(Vec<f32>),
    I32(Vec<i32>),
    I64(Vec<i64>),
}

impl Numbers {
    fn new(answer: &Sample, output: usize, element: ElementType) -> Self {
        match element {
            ElementType::Int32 => Self::I32(answer.values(output).unwrap_or_default()),
            ElementType::Int64 => Self::I64(answer.values(output).unwrap_or_default()),
            _ => Self::F32(answer.values(output).unwrap_or_default()),
        }
    }

    fn values(&self) -> Values<'_> {
        match self {
            Self::F32(numbers) => Values::F32(numbers),
            Self::I32(numbers) => Values::I32(numbers),
            Self::I64(numbers) => Values::I64(numbers),
        }
    }
}
