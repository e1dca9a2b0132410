//! Graph passes: each is a value with a name that proposes patches; [`run_pass`] is the one place that applies them.
//!
//! A pass never changes the graph itself, so a refused patch leaves the graph as it was and names the pass that proposed it.

mod cancel_casts;
mod convert_quantization;
mod convert_to_half;
mod emulate_half;
mod freeze_shapes;
mod half_io;
mod insert_quantization;
pub mod lean;
mod plugin_nodes;
mod raise_opset;
mod remove_identities;
mod repair_efficient_nms;

pub use cancel_casts::CancelCasts;
pub use convert_quantization::ConvertQuantization;
pub use convert_to_half::ConvertToHalf;
pub use emulate_half::emulate_half;
pub use freeze_shapes::{ResolvedShapes, freeze_shapes, resolve_shapes};
pub use half_io::HalfInputsOutputs;
pub use insert_quantization::{InsertQuantization, Inserted, WeightForm};
pub use plugin_nodes::PluginNodes;
pub use raise_opset::RaiseOpset;
pub use remove_identities::RemoveIdentities;
pub use repair_efficient_nms::RepairEfficientNms;

use crate::{Error, Progress, Result};
use trtforge_graph::{Graph, Patch};

/// A rewrite of a graph.
pub trait Pass {
    /// The name in logs, errors and on the command line.
    fn name(&self) -> &'static str;

    /// Patches for everything that can be changed now. Patches of one round must not touch the same node twice.
    ///
    /// # Errors
    /// Where the graph is something the pass cannot handle and must not pass over.
    fn patches(&self, graph: &mut Graph) -> Result<Vec<Patch>>;

    /// Most rounds before the pass counts as not coming to rest. One pass over the graph is enough for most.
    fn max_rounds(&self) -> usize {
        8
    }
}

/// Runs a pass until it proposes nothing more; returns the number of patches applied.
///
/// # Errors
/// [`Error::Pass`] where the graph refuses a patch, [`Error::NoFixedPoint`] at the cap of rounds.
pub fn run_pass(pass: &dyn Pass, graph: &mut Graph, progress: &dyn Progress) -> Result<usize> {
    let mut applied = 0;
    for _ in 0..pass.max_rounds() {
        let patches = pass.patches(graph)?;
        if patches.is_empty() {
            graph.remove_dead();
            return Ok(applied);
        }
        for patch in patches {
            let name = patch.name().to_owned();
            graph.apply(patch).map_err(Error::pass(pass.name()))?;
            progress.applied(pass.name(), &name);
            applied += 1;
        }
    }
    Err(Error::NoFixedPoint { pass: pass.name(), rounds: pass.max_rounds() })
}
