//! The decision of a precision policy as data: one row per node. Printable, serialisable, and the only input of the rewrite.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use trtforge_graph::NodeId;

/// What one node computes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodePrecision {
    /// 32-bit floating point.
    Fp32,
    /// 16-bit floating point (IEEE half).
    Fp16,
    /// 8-bit integers, summed in 32 bits.
    Int8,
    /// Not floating-point arithmetic: shapes, indices, integers, or a type that is already fixed.
    Untouched,
}

/// One node's precision and the reason for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrecisionRow {
    /// Node name, or its first output where the node has none.
    pub node: String,
    /// Operator type.
    pub operator: String,
    /// The decision.
    pub precision: NodePrecision,
    /// Why, in a few words.
    pub reason: String,
}

/// How many nodes got which precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrecisionCounts {
    /// Nodes that compute in 32 bits.
    pub fp32: usize,
    /// Nodes that compute in 16 bits.
    pub fp16: usize,
    /// Nodes that compute in 8-bit integers.
    #[serde(default)]
    pub int8: usize,
}

/// The decisions for a whole graph, in topological order.
#[derive(Clone, Debug, Default)]
pub struct PrecisionTable {
    rows: Vec<PrecisionRow>,
    by_node: HashMap<NodeId, usize>,
}

impl PrecisionTable {
    /// Adds a node's decision; a later decision for the same node replaces the earlier one.
    pub fn set(&mut self, node: NodeId, row: PrecisionRow) {
        match self.by_node.get(&node) {
            Some(&index) => self.rows[index] = row,
            None => {
                self.by_node.insert(node, self.rows.len());
                self.rows.push(row);
            }
        }
    }

    /// The decision for a node; nodes that were never set are untouched.
    pub fn precision(&self, node: NodeId) -> NodePrecision {
        self.row(node).map_or(NodePrecision::Untouched, |row| row.precision)
    }

    /// The whole row of a node.
    pub fn row(&self, node: NodeId) -> Option<&PrecisionRow> {
        self.by_node.get(&node).map(|&index| &self.rows[index])
    }

    /// All rows in the order they were decided.
    pub fn rows(&self) -> &[PrecisionRow] {
        &self.rows
    }

    /// Rows that stay in 32 bits.
    pub fn kept(&self) -> impl Iterator<Item = &PrecisionRow> {
        self.rows.iter().filter(|row| row.precision == NodePrecision::Fp32)
    }

    /// Nodes per precision.
    pub fn counts(&self) -> PrecisionCounts {
        let count = |wanted| self.rows.iter().filter(|row| row.precision == wanted).count();
        PrecisionCounts {
            fp32: count(NodePrecision::Fp32),
            fp16: count(NodePrecision::Fp16),
            int8: count(NodePrecision::Int8),
        }
    }
}
