//! Moves every reader of a value to another value.
//!
//! Only readers from before the patch move, and a graph output keeps its name.

use std::collections::BTreeMap;

use super::{Edit, Moved, Outcome};
use crate::construct;
use crate::error::PatchError;
use crate::graph::patch::ValueRef;
use crate::graph::{Producer, Slot, Use, ValueId};

impl Edit<'_> {
    pub(super) fn redirect_all(&mut self, redirects: &[(ValueId, String)]) -> Outcome {
        let mut targets = BTreeMap::new();
        for (old, name) in redirects {
            let new = self.find(&ValueRef::Name(name.clone()))?;
            self.find(&ValueRef::Id(*old))?;
            if targets.insert(*old, new).is_some_and(|other| other != new) {
                return Err(PatchError::RedirectedTwice(self.graph.value(*old).name.clone()));
            }
        }
        let resolved = targets.keys().map(|&old| Ok((old, self.final_target(old, &targets)?)));
        let resolved = resolved.collect::<Outcome<Vec<_>>>()?;
        let uses: Vec<Vec<Use>> = resolved.iter().map(|&(old, _)| self.old_uses(old)).collect();
        for (&(old, new), uses) in resolved.iter().zip(uses) {
            uses.into_iter().for_each(|place| self.redirect_use(place, old, new));
        }
        for (old, new) in resolved {
            if self.graph.value(old).is_output {
                self.redirect_output(old, new)?;
            }
        }
        Ok(())
    }

    fn final_target(&self, old: ValueId, targets: &BTreeMap<ValueId, ValueId>) -> Outcome<ValueId> {
        let mut target = targets[&old];
        for _ in 0..targets.len() {
            match targets.get(&target) {
                Some(&next) => target = next,
                None => return Ok(target),
            }
        }
        match targets.contains_key(&target) {
            true => Err(PatchError::RedirectCircle(self.graph.value(old).name.clone())),
            false => Ok(target),
        }
    }

    /// The readers of a value that were there before this patch, but for inputs that it replaces by name.
    fn old_uses(&self, value: ValueId) -> Vec<Use> {
        let uses = self.graph.value(value).consumers.iter();
        let is_old = |place: &&Use| place.node.index() < self.first_new_node && !self.replaced.contains(place);
        uses.filter(is_old).copied().collect()
    }

    fn redirect_use(&mut self, place: Use, old: ValueId, new: ValueId) {
        self.touch_node(place.node);
        if let Slot::Input(_) = place.slot {
            return self.move_use(place, Some(new), true);
        }
        self.touch_value(old);
        self.touch_value(new);
        let captures = &mut self.graph.entry_mut(place.node).captures;
        captures.iter_mut().filter(|value| **value == old).for_each(|value| *value = new);
        self.graph.value_mut(old).consumers.retain(|consumer| *consumer != place);
        let consumers = &mut self.graph.value_mut(new).consumers;
        if !consumers.contains(&place) {
            consumers.push(place);
        }
        self.moved.push(Moved { reader: Some(place.node), old, new, strict: true });
    }

    /// Makes a graph output return `new` under the name that it has.
    fn redirect_output(&mut self, old: ValueId, new: ValueId) -> Outcome {
        let name = self.graph.value(old).name.clone();
        if self.graph.value(old).producer == Producer::GraphInput {
            return Err(PatchError::InterfaceName(name));
        }
        self.touch_value(old);
        self.touch_value(new);
        self.moved.push(Moved { reader: None, old, new, strict: true });
        self.graph.value_mut(old).is_output = false;
        let spare = self.graph.unique_name(&format!("{name}_inner"));
        self.give_name(old, &spare);
        let target = self.graph.value(new);
        let renamable = matches!(target.producer, Producer::Node { .. }) && !target.is_output;
        let output = match renamable {
            true => {
                self.renamed.push((target.name.clone(), name.clone()));
                self.give_name(new, &name);
                new
            }
            false => self.add_output_identity(new, &name, &spare)?,
        };
        if !self.orphans.contains(&old) {
            self.renamed.push((name, spare));
        }
        self.graph.value_mut(output).is_output = true;
        self.graph.outputs.iter_mut().filter(|id| **id == old).for_each(|id| *id = output);
        Ok(())
    }

    fn add_output_identity(&mut self, value: ValueId, name: &str, node_name: &str) -> Outcome<ValueId> {
        let (source, ty) = (self.graph.value(value).name.clone(), self.graph.value(value).ty.clone());
        let node = self.add_node(construct::node("Identity", node_name, [source], [name]), vec![ty])?;
        self.link_added(node)?;
        self.graph.output(node, 0).ok_or_else(|| PatchError::NoSuchValue(name.to_owned()))
    }
}
