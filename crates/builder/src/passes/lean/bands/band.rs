//! One band: which rows of every value it needs, and the nodes that compute them.

use super::super::{image_shape, resized};
use super::rows::{BandedNode, Rows, Rule, slice_axes, slice_numbers};
use super::{Numbers, Segment};
use std::collections::HashMap;
use trtforge_graph::construct::{ints, node};
use trtforge_graph::proto::NodeProto;
use trtforge_graph::{Graph, Patch, ValueId};

/// The rows of one band, value by value and read by read.
pub(super) struct Band<'s> {
    segment: &'s Segment,
    /// Rows that the band computes of a value, or has: all of them of a source.
    has: HashMap<ValueId, Rows>,
    /// Rows that a node of the segment reads, by its place and slot.
    reads: HashMap<(usize, usize), Rows>,
    /// Rows of the end that the band is for.
    rows: Rows,
}

impl<'s> Band<'s> {
    /// Walks back from the end. `None` where some node would read nothing but padding.
    pub(super) fn plan(graph: &Graph, segment: &'s Segment, rows: Rows) -> Option<Self> {
        let mut has = HashMap::from([(segment.end, rows)]);
        let mut reads = HashMap::new();
        for (place, banded) in segment.nodes.iter().enumerate().rev() {
            let outputs: Vec<ValueId> = graph.outputs(banded.node).iter().flatten().copied().collect();
            let wanted = outputs.iter().filter_map(|output| has.get(output).copied()).reduce(Rows::hull)?;
            let written = banded.rule.written(wanted);
            has.extend(outputs.into_iter().map(|output| (output, written)));
            for &slot in &banded.data {
                let value = graph.input(banded.node, slot)?;
                let read = banded.rule.read(written, image_shape(graph, value)?[2])?;
                reads.insert((place, slot), read);
                let all = has.get(&value).map_or(read, |had| had.hull(read));
                has.insert(value, all);
            }
        }
        for &source in segment.sources() {
            has.insert(source, Rows { start: 0, end: image_shape(graph, source)?[2] });
        }
        Some(Self { segment, has, reads, rows })
    }

    /// Adds the nodes of the band; returns the name of its rows of the end.
    pub(super) fn write(
        &self,
        graph: &mut Graph,
        patch: &mut Patch,
        numbers: &mut Numbers,
        index: u64,
    ) -> Option<String> {
        let mut writer =
            Writer { band: self, graph, patch, numbers, index, names: HashMap::new(), cuts: HashMap::new() };
        for (place, banded) in self.segment.nodes.iter().enumerate() {
            writer.add(place, banded)?;
        }
        writer.cut(self.segment.end, self.rows)
    }
}

struct Writer<'w> {
    band: &'w Band<'w>,
    graph: &'w mut Graph,
    patch: &'w mut Patch,
    numbers: &'w mut Numbers,
    index: u64,
    /// What the band calls a value.
    names: HashMap<ValueId, String>,
    cuts: HashMap<(ValueId, Rows), String>,
}

impl Writer<'_> {
    fn add(&mut self, place: usize, banded: &BandedNode) -> Option<()> {
        let written = *self.band.has.get(&self.graph.output(banded.node, 0)?)?;
        let mut copy = self.graph.node(banded.node).clone();
        copy.name = Some(self.graph.unique_name(&format!("{}__band{}", self.graph.node_name(banded.node), self.index)));
        for &slot in &banded.data {
            let value = self.graph.input(banded.node, slot)?;
            let read = *self.band.reads.get(&(place, slot))?;
            copy.input[slot] = match banded.rule {
                Rule::Slice { .. } => self.name(value),
                _ => self.cut(value, read)?,
            };
        }
        self.adapt(banded, written, &mut copy)?;
        let outputs: Vec<Option<ValueId>> = self.graph.outputs(banded.node).to_vec();
        let mut types = Vec::new();
        for (slot, output) in outputs.iter().enumerate() {
            let Some(output) = *output else {
                types.push(None);
                continue;
            };
            copy.output[slot] = self.rename(output);
            types.push(Some(resized(self.graph, output, 2, written.len())?));
        }
        self.patch.add_node(copy, types);
        Some(())
    }

    /// Changes of a node that hang on the rows it computes.
    fn adapt(&mut self, banded: &BandedNode, written: Rows, copy: &mut NodeProto) -> Option<()> {
        let input = self.graph.input(banded.node, 0)?;
        match &banded.rule {
            Rule::Same => {}
            Rule::Window(window) => {
                let pads = window.pads_for(written, image_shape(self.graph, input)?[2]);
                copy.attribute.retain(|attribute| !matches!(attribute.name(), "pads" | "auto_pad"));
                copy.attribute.push(ints("pads", pads));
            }
            Rule::Slice { start, step } => {
                let first = (start + written.start * step - self.band.has.get(&input)?.start) as i64;
                let last = first + (written.len() as i64 - 1) * *step as i64;
                self.reslice(banded, first, last + 1, copy)?;
            }
            Rule::Double if self.graph.input(banded.node, 3).is_some() => {
                let mut sizes = image_shape(self.graph, self.graph.output(banded.node, 0)?)?.map(|size| size as i64);
                sizes[2] = written.len() as i64;
                copy.input[3] = self.numbers.name(self.graph, self.patch, &sizes);
            }
            Rule::Double => {}
        }
        Some(())
    }

    /// Gives a copied Slice another range of rows and leaves its other axes alone.
    fn reslice(&mut self, banded: &BandedNode, first: i64, end: i64, copy: &mut NodeProto) -> Option<()> {
        let place = slice_axes(self.graph, banded.node)?.iter().position(|&axis| axis == 2)?;
        for (slot, number) in [(1, first), (2, end)] {
            let mut values = slice_numbers(self.graph, banded.node, slot)?;
            *values.get_mut(place)? = number;
            copy.input[slot] = self.numbers.name(self.graph, self.patch, &values);
            // Axes and steps must have the type of starts and ends, which the numbers above are not bound to.
        }
        for slot in [3, 4] {
            if self.graph.input(banded.node, slot).is_some() {
                let values = slice_numbers(self.graph, banded.node, slot)?;
                copy.input[slot] = self.numbers.name(self.graph, self.patch, &values);
            }
        }
        Some(())
    }

    fn rename(&mut self, value: ValueId) -> String {
        let name = self.graph.unique_name(&format!("{}__band{}", self.graph.value(value).name, self.index));
        self.names.insert(value, name.clone());
        name
    }

    fn name(&self, value: ValueId) -> String {
        self.names.get(&value).unwrap_or(&self.graph.value(value).name).clone()
    }

    /// The name of exactly those rows of a value, which the band has under some name with these rows or more.
    fn cut(&mut self, value: ValueId, rows: Rows) -> Option<String> {
        let (has, source) = (*self.band.has.get(&value)?, self.name(value));
        if has == rows {
            return Some(source);
        }
        if let Some(name) = self.cuts.get(&(value, rows)) {
            return Some(name.clone());
        }
        let name = self.graph.unique_name(&format!("{}__rows{}", self.graph.value(value).name, self.index));
        let bounds = [rows.start - has.start, rows.end - has.start, 2];
        let inputs = bounds.map(|number| self.numbers.name(self.graph, self.patch, &[number as i64]));
        let slice = node("Slice", &name, [source].into_iter().chain(inputs), [&name]);
        let ty = resized(self.graph, value, 2, rows.len())?;
        self.patch.add_node(slice, vec![Some(ty)]);
        self.cuts.insert((value, rows), name.clone());
        Some(name)
    }
}
