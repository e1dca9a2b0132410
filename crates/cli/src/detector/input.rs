//! What a detector takes: one image input, and with some a second one for a size.

use crate::failure::Failure;
use anyhow::{Result, bail};
use trtforge_builder::Progress;
use trtforge_runtime::{Declared, ElementType, Engine, TensorInfo};
use trtforge_vision::{Input, Layout, Preprocess};

/// Side of the input where neither model nor config says one.
const USUAL_SIDE: u64 = 640;
/// Images in a run on a GPU, where nobody says how many and the engine takes that many.
const USUAL_GPU_BATCH: u64 = 8;

/// The inputs of a detector, with the shapes they are given.
#[derive(Debug, Clone)]
pub struct DetectorInputs {
    /// Name of the image input.
    pub image: String,
    /// Its element type.
    pub element: ElementType,
    /// Its shape in a full run.
    pub shape: [u64; 4],
    /// What one image is turned into.
    pub input: Input,
    /// Whether a run may have fewer images than a full one.
    pub is_batch_open: bool,
    /// Name and element type of the input that takes the size boxes are scaled to, width first.
    pub size: Option<(String, ElementType)>,
}

impl DetectorInputs {
    /// Finds the inputs and settles their shapes.
    ///
    /// # Errors
    /// The model is fed with something else than images.
    pub fn new(engine: &Engine, preprocess: &Preprocess, batch: Option<u32>, progress: &dyn Progress) -> Result<Self> {
        let inputs = &engine.signature().inputs;
        let images: Vec<usize> = (0..inputs.len()).filter(|&index| takes_images(&inputs[index], preprocess)).collect();
        let &[index] = images.as_slice() else { bail!(no_image_input(inputs)) };
        let size = match inputs.iter().enumerate().filter(|(other, _)| *other != index).collect::<Vec<_>>()[..] {
            [] => None,
            [(_, other)] if takes_size(other) => Some((other.name.clone(), other.element)),
            _ => bail!(no_image_input(inputs)),
        };
        let (shape, is_batch_open) = shape(engine, index, preprocess, batch, progress)?;
        let [_, channels, height, width] = in_order(shape, preprocess.layout);
        let side = |side: u64| u32::try_from(side).unwrap_or(u32::MAX);
        let (width, height) = (side(width), side(height));
        let input = if channels == 1 { Input::grey(width, height) } else { Input::rgb(width, height) };
        let TensorInfo { name, element, .. } = &inputs[index];
        Ok(Self { image: name.clone(), element: *element, shape, input, is_batch_open, size })
    }

    /// Images in a full run.
    pub fn batch(&self) -> usize {
        self.shape[0] as usize
    }

    /// The shape for that many images.
    pub fn shape_of(&self, images: usize) -> [u64; 4] {
        let [batch, a, b, c] = self.shape;
        [if self.is_batch_open { images as u64 } else { batch }, a, b, c]
    }
}

fn fixed(dimension: &Declared) -> Option<u64> {
    match dimension {
        Declared::Fixed(size) => Some(*size),
        Declared::Open(_) => None,
    }
}

/// Batch, channels, height and width of a shape in the layout.
fn in_order([batch, a, b, c]: [u64; 4], layout: Layout) -> [u64; 4] {
    match layout {
        Layout::Nchw => [batch, a, b, c],
        Layout::Nhwc => [batch, c, a, b],
    }
}

fn takes_images(input: &TensorInfo, preprocess: &Preprocess) -> bool {
    let Some([_, a, b, c]) = input.dimensions.as_deref() else { return false };
    let channels = if preprocess.layout == Layout::Nchw { a } else { c };
    let others_large = [b, if preprocess.layout == Layout::Nchw { c } else { a }].map(fixed);
    let numeric = matches!(input.element, ElementType::Float32 | ElementType::Float16 | ElementType::UInt8);
    numeric
        && matches!(fixed(channels), None | Some(1 | 3))
        && others_large.iter().all(|side| side.is_none_or(|side| (1..=32_768).contains(&side)))
}

fn takes_size(input: &TensorInfo) -> bool {
    let whole = matches!(input.element, ElementType::Int64 | ElementType::Int32);
    let pair = matches!(input.dimensions.as_deref(), Some([_, columns]) if fixed(columns).is_none_or(|size| size == 2));
    pair && (whole || input.element == ElementType::Float32)
}

fn no_image_input(inputs: &[TensorInfo]) -> Failure {
    let listed: Vec<String> = inputs.iter().map(|input| format!("`{}` {input}", input.name)).collect();
    Failure::input(format!("this is no model that takes one image: its inputs are {}", listed.join(", "))).hint(
        "a detector has one input of four dimensions with 1 or 3 channels, and at most one more for the size of the \
         image; with channels last say `preprocess: {layout: nhwc}` in a config",
    )
}

/// The shape of the image input in a full run, and whether a run may have fewer images.
fn shape(
    engine: &Engine,
    index: usize,
    preprocess: &Preprocess,
    batch: Option<u32>,
    progress: &dyn Progress,
) -> Result<([u64; 4], bool)> {
    let signature = engine.signature();
    let input = &signature.inputs[index];
    let declared = input.dimensions.as_deref().unwrap_or_default();
    let range = signature.profiles.first().and_then(|profile| profile.inputs.get(index));
    let bounds = |axis: usize| Some((*range?.min.get(axis)?, *range?.max.get(axis)?));
    let mut sizes = [1; 4];
    let image_axes = if preprocess.layout == Layout::Nchw { [1, 2, 3] } else { [3, 1, 2] };
    let configured = preprocess.size.map(|size| [u64::from(size.height), u64::from(size.width)]);
    for (place, axis) in image_axes.into_iter().enumerate() {
        let asked = if place == 0 { Some(3) } else { configured.map(|sides| sides[place - 1]) };
        sizes[axis] = match (fixed(&declared[axis]), asked, bounds(axis)) {
            (Some(size), ..) => size,
            (None, Some(size), _) => size,
            (None, None, Some((_, most))) => most,
            (None, None, None) => {
                progress.note(&format!(
                    "input `{}` is {input}; {USUAL_SIDE}x{USUAL_SIDE} is taken (`preprocess: {{size: ...}}` in a config \
                     says another size)",
                    input.name
                ));
                USUAL_SIDE
            }
        };
    }
    check_size(configured, sizes, image_axes)?;
    let open = fixed(&declared[0]).is_none();
    sizes[0] = match (fixed(&declared[0]), batch.map(u64::from), bounds(0)) {
        (Some(size), Some(asked), _) if size != asked => {
            let message = format!("--batch {asked} does not fit: input `{}` is {input}", input.name);
            bail!(Failure::usage(message).hint("leave --batch out, or export the model with an open batch"))
        }
        (Some(size), ..) => size.max(1),
        (None, Some(asked), _) => asked,
        (None, None, Some((least, most))) => USUAL_GPU_BATCH.clamp(least, most),
        (None, None, None) if engine.is_unified() => 1,
        (None, None, None) => USUAL_GPU_BATCH,
    };
    let fewest = bounds(0).map_or(1, |(least, _)| least);
    Ok((sizes, open && fewest <= 1))
}

/// That a config does not speak of another size than the model has.
fn check_size(configured: Option<[u64; 2]>, sizes: [u64; 4], axes: [usize; 3]) -> Result<()> {
    let [_, height, width] = axes.map(|axis| sizes[axis]);
    match configured {
        Some([h, w]) if (h, w) != (height, width) => bail!(
            Failure::usage(format!("the config's preprocess.size is {w}x{h}, but the model takes {width}x{height}"))
                .hint("leave `size` out of the config's preprocess block, or set it to what the model takes")
        ),
        _ => Ok(()),
    }
}
