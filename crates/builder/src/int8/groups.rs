//! Tensors that must share one scale, collected by union and find.

use std::collections::BTreeMap;
use trtforge_graph::ValueId;

/// Disjoint sets of tensors.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    parents: BTreeMap<ValueId, ValueId>,
}

impl Groups {
    /// Says that two tensors share one scale.
    pub(super) fn join(&mut self, a: ValueId, b: ValueId) {
        let (a, b) = (self.find(a), self.find(b));
        let (root, child) = if a <= b { (a, b) } else { (b, a) };
        self.parents.insert(child, root);
        self.parents.insert(root, root);
    }

    /// The tensor that stands for the group of `value`; the same for all its members.
    pub(super) fn find(&self, value: ValueId) -> ValueId {
        let mut current = value;
        while let Some(&parent) = self.parents.get(&current) {
            if parent == current {
                break;
            }
            current = parent;
        }
        current
    }
}
