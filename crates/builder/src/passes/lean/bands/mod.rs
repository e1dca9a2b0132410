//! Computes a part of the graph in bands of rows instead of all rows at once.
//!
//! Pattern: a [`Segment`]: nodes that only work towards one image-shaped value. Result: N copies of the segment, each computing some rows of that value from exactly
//! the input rows that those need (with a halo where windows overlap), and a Concat over rows. At the borders of the image the copies pad as the original does,
//! inside it they read neighbouring rows instead; a value that two nodes need in different ranges is cut to size for each. Weights are shared.
//! Why: the tensors of a band have an N-th of the rows, and the copies run one after another. Precondition: fixed shapes of rank 4, types of all values known.
//! Numerical effect: none; the same products are added for every element. Cost: rows of the halo are computed twice, and there are N times as many kernels.

mod band;
mod doubtful;
mod rows;
mod segment;
mod windows;

pub use segment::{Reach, Segment};

use crate::{Error, Result};
use band::Band;
use rows::Rows;
use std::collections::HashMap;
use trtforge_graph::construct::{node, tensor};
use trtforge_graph::{Graph, Patch};

/// The rewrite.
pub struct BandRows<'a> {
    /// What is computed in bands.
    pub segment: &'a Segment,
    /// Number of bands.
    pub bands: u64,
}

impl BandRows<'_> {
    /// Applies the rewrite; `false`, and nothing changed, where the segment cannot be cut into so many bands.
    ///
    /// # Errors
    /// [`Error::Pass`] where the graph refuses the result.
    pub fn apply(&self, graph: &mut Graph) -> Result<bool> {
        let Some(patch) = self.patch(graph) else { return Ok(false) };
        graph.apply(patch).map_err(Error::pass("band-rows"))?;
        graph.remove_dead();
        Ok(true)
    }

    fn patch(&self, graph: &mut Graph) -> Option<Patch> {
        let end = self.segment.end;
        let height = self.segment.height;
        if self.bands < 2 || self.bands > height {
            return None;
        }
        let name = graph.value(end).name.clone();
        let mut patch = Patch::new(format!("compute `{name}` in {} bands", self.bands));
        let mut numbers = Numbers::default();
        let mut parts = Vec::new();
        // New nodes are placed in front of their first reader, so the band that is added last runs first.
        for index in (0..self.bands).rev() {
            let rows = Rows { start: height * index / self.bands, end: height * (index + 1) / self.bands };
            let band = Band::plan(graph, self.segment, rows)?;
            parts.push(band.write(graph, &mut patch, &mut numbers, index)?);
        }
        parts.reverse();
        let joined = node("Concat", &format!("{name}__bands"), parts, [&name]).attr_int("axis", 2);
        patch.add_node(joined, vec![graph.value(end).ty.clone()]);
        for banded in &self.segment.nodes {
            patch.remove_node(banded.node);
        }
        Some(patch)
    }
}

/// Lists of integers as initializers, each written once.
#[derive(Default)]
struct Numbers(HashMap<Vec<i64>, String>);

impl Numbers {
    fn name(&mut self, graph: &mut Graph, patch: &mut Patch, values: &[i64]) -> String {
        if let Some(name) = self.0.get(values) {
            return name.clone();
        }
        let name = graph.unique_name("band_rows");
        patch.add_initializer(tensor(&name, [values.len() as u64], values.to_vec()));
        self.0.insert(values.to_vec(), name.clone());
        name
    }
}
