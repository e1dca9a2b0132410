//! Detector architectures as ONNX with random weights, so that memory and latency are known before trained weights exist.
//!
//! The seven DAMO-YOLO networks are built from their tables: the convolutions, parameter counts and operator counts are those of the published
//! networks with batch normalisation and re-parameterised branches already folded, the weights are seeded noise. The noise is settled layer by layer, so
//! that activations keep a useful range through the whole depth and the heads do not saturate.
//!
//! Nothing here may depend on the machine: one seed gives one file, byte for byte, on any processor and with any number of threads.
//! Nothing here may pretend to detect anything either: the boxes are noise.
//!
//! ```
//! use trtforge_zoo::{Batch, Options, Variant};
//!
//! let options = Options { batch: Batch::Dynamic, ..Options::new(Variant::Ns) };
//! let model = trtforge_zoo::generate(&options)?;
//! assert_eq!(model.proto().graph.input[0].name(), "images");
//! # Ok::<(), trtforge_zoo::Error>(())
//! ```

#![forbid(unsafe_code)]

mod activation;
mod backbone_csp;
mod backbone_mob;
mod backbone_res;
mod convolution;
mod decode;
mod emit;
mod error;
mod head;
mod neck;
mod network;
mod nodes;
mod options;
mod scene;
mod settle;
mod variants;
mod weights;

pub use error::Error;
pub use options::{Batch, Options};
pub use variants::Variant;

use trtforge_graph::Model;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Builds the model that `options` describe.
///
/// Input `images`: float32 `[batch, 3, size, size]`, RGB, 0..255. Outputs: `scores` `[batch, positions, 80]` and `boxes` `[batch, positions, 4]`
/// (corners in input pixels, not clipped), or with [`Options::raw`] the six head maps `cls8, cls16, cls32, reg8, reg16, reg32`.
/// The weights depend on the variant and the seed alone: size, batch and `raw` leave them as they are.
///
/// # Errors
/// When the batch is zero, or the size is not a multiple of 32 in the range that [`Options::size`] names.
pub fn generate(options: &Options) -> Result<Model> {
    let size = options.checked_size()?;
    options.check_batch()?;
    let architecture = options.variant.architecture();
    let weights = settle::settle(architecture, options.seed);
    let (network, levels) = head::detector(architecture, size);
    let proto = emit::model(&network, weights, &levels, architecture, options);
    Ok(Model::from_proto(proto))
}
