//! The form of a network that takes least memory: which rewrites of [`crate::passes::lean`] to apply, and where.
//!
//! Every rewrite costs kernels and some win nothing, and what wins depends on how the compiler packs its tensors: neighbouring forms differ by more than a rule can
//! tell. So forms are built and measured ([`Search::choose`]), in an order that an estimate of the packing suggests ([`estimated_activation`]).
//! A form is plain data: it names tensors of the network, so it can be written down and applied again.

mod candidates;
mod choose;
mod estimate;

pub use candidates::{Place, candidates};
pub use choose::{Choice, LEAST_GAIN, Search};
pub use estimate::estimated_activation;

pub use crate::activation::WORKSPACE_BYTES;

use crate::int8::Form;
use crate::passes::lean::{BandRows, MergeSiblingConvolutions, Reach, Segment, SplitConcatenatedConvolution};
use crate::passes::run_pass;
use crate::{Progress, Result};
use serde::{Deserialize, Serialize};
use trtforge_graph::Graph;

/// A part of the network that is computed in bands of rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Banding {
    /// The tensor that it computes, by name.
    pub end: String,
    /// How far it goes back.
    pub reach: Reach,
    /// Number of bands.
    pub bands: u64,
}

/// Which rewrites to apply. The default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeanForm {
    /// Whether 1x1 convolutions of one tensor become one.
    pub merge_siblings: bool,
    /// Whether 1x1 convolutions of enlarged tensors run before the enlargement.
    pub split_concatenations: bool,
    /// Parts in bands, in the order in which they are cut.
    pub bandings: Vec<Banding>,
    /// What is quantized beside the inputs of nodes with weights.
    #[serde(default)]
    pub placement: Form,
}

impl LeanForm {
    /// Applies the rewrites of convolutions to a network in 32 bits, before it is quantized. Returns how many there were.
    ///
    /// # Errors
    /// [`crate::Error::Pass`] where the graph refuses one.
    pub fn restructure(&self, graph: &mut Graph, progress: &dyn Progress) -> Result<usize> {
        let mut applied = 0;
        if self.merge_siblings {
            applied += run_pass(&MergeSiblingConvolutions, graph, progress)?;
        }
        if self.split_concatenations {
            applied += run_pass(&SplitConcatenatedConvolution, graph, progress)?;
        }
        Ok(applied)
    }

    /// Cuts a converted network into bands. Returns how many parts were cut; one that the network does not have, or not in this form, is left out.
    ///
    /// # Errors
    /// [`crate::Error::Pass`] where the graph refuses the result.
    pub fn band(&self, graph: &mut Graph) -> Result<usize> {
        let mut applied = 0;
        for banding in &self.bandings {
            let end = graph.value_id(&banding.end);
            let Some(segment) = end.and_then(|end| Segment::behind(graph, end, banding.reach)) else { continue };
            applied += usize::from(BandRows { segment: &segment, bands: banding.bands }.apply(graph)?);
        }
        Ok(applied)
    }

    /// Whether nothing is rewritten.
    pub fn is_plain(&self) -> bool {
        *self == LeanForm::default()
    }
}
