//! Edits to a graph, collected first and applied as one.
//!
//! A patch is plain data: it holds no reference into the graph and does nothing until [`crate::Graph::apply`].

use super::{NodeId, ValueId};
use crate::proto::{AttributeProto, NodeProto, TensorProto};
use crate::types::ValueType;

/// A set of edits that is applied as a whole or not at all.
///
/// The order of calls does not matter. Names are those of the graph before the patch, or ones that the patch makes.
///
/// ```
/// use trtforge_graph::{Patch, construct::node};
///
/// # fn f(graph: &mut trtforge_graph::Graph, x: trtforge_graph::ValueId) -> trtforge_graph::Result<()> {
/// let ty = graph.value(x).ty.clone();
/// let name = graph.value(x).name.clone();
/// let copy = graph.unique_name(&format!("{name}_copy"));
/// let mut patch = Patch::new("insert-identity");
/// patch.add_node(node("Identity", &copy, [&name], [&copy]), vec![ty]);
/// patch.redirect(x, &copy);
/// graph.apply(patch)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Patch {
    pub(super) name: String,
    pub(super) added: Vec<(NodeProto, Vec<Option<ValueType>>)>,
    pub(super) initializers: Vec<TensorProto>,
    pub(super) removed: Vec<NodeId>,
    pub(super) inputs: Vec<(NodeId, usize, String)>,
    pub(super) redirects: Vec<(ValueId, String)>,
    pub(super) attributes: Vec<(NodeId, AttributeEdit)>,
    pub(super) renames: Vec<(NodeId, usize, String)>,
    pub(super) types: Vec<(ValueRef, ValueType)>,
}

#[derive(Debug, Clone)]
pub(super) enum AttributeEdit {
    Set(Box<AttributeProto>),
    Remove(String),
}

/// A value, by identifier or by name; a name can be one that the same patch makes.
#[derive(Debug, Clone)]
pub enum ValueRef {
    /// By identifier.
    Id(ValueId),
    /// By name.
    Name(String),
}

impl From<ValueId> for ValueRef {
    fn from(id: ValueId) -> Self {
        ValueRef::Id(id)
    }
}

impl From<&str> for ValueRef {
    fn from(name: &str) -> Self {
        ValueRef::Name(name.to_owned())
    }
}

impl From<String> for ValueRef {
    fn from(name: String) -> Self {
        ValueRef::Name(name)
    }
}

impl Patch {
    /// An empty patch; `name` appears in errors and summaries.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The patch's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the patch changes nothing.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.initializers.is_empty()
            && self.removed.is_empty()
            && self.inputs.is_empty()
            && self.redirects.is_empty()
            && self.attributes.is_empty()
            && self.renames.is_empty()
            && self.types.is_empty()
    }

    /// Adds a node. `output_types` has one entry per output; `None` keeps the type that a value of that name had.
    ///
    /// An output may take the name of a value whose producer the same patch removes or renames: all readers of that
    /// name then read the new node.
    pub fn add_node(&mut self, node: NodeProto, output_types: Vec<Option<ValueType>>) -> &mut Self {
        self.added.push((node, output_types));
        self
    }

    /// Adds an initializer under a name that is not in use.
    pub fn add_initializer(&mut self, tensor: TensorProto) -> &mut Self {
        self.initializers.push(tensor);
        self
    }

    /// Removes a node. Its outputs must have no reader left, or a new producer in the same patch.
    pub fn remove_node(&mut self, node: NodeId) -> &mut Self {
        self.removed.push(node);
        self
    }

    /// Makes an input of a node read another value; `""` leaves the input out. A slot past the last one is added.
    pub fn replace_input(&mut self, node: NodeId, slot: usize, value: &str) -> &mut Self {
        self.inputs.push((node, slot, value.to_owned()));
        self
    }

    /// Makes everything that reads `old` read `value` instead: inputs, subgraphs and graph outputs.
    ///
    /// Nodes that this patch adds keep what they name, so a node can be put behind `old`. Chains are followed. A graph
    /// output keeps its name: `value` takes it over, or an `Identity` gives it where `value` cannot be renamed.
    pub fn redirect(&mut self, old: ValueId, value: &str) -> &mut Self {
        self.redirects.push((old, value.to_owned()));
        self
    }

    /// Sets an attribute, replacing one of that name.
    pub fn set_attribute(&mut self, node: NodeId, attribute: AttributeProto) -> &mut Self {
        self.attributes.push((node, AttributeEdit::Set(Box::new(attribute))));
        self
    }

    /// Removes an attribute, if it is there.
    pub fn remove_attribute(&mut self, node: NodeId, name: &str) -> &mut Self {
        self.attributes.push((node, AttributeEdit::Remove(name.to_owned())));
        self
    }

    /// Gives an output of a node another name. Readers follow, unless the patch makes a new producer of the old name:
    /// then they stay with that name. A graph output can only be renamed in the second way.
    pub fn rename_output(&mut self, node: NodeId, slot: usize, name: &str) -> &mut Self {
        self.renames.push((node, slot, name.to_owned()));
        self
    }

    /// Says that a value is of another type from now on.
    pub fn retype(&mut self, value: impl Into<ValueRef>, ty: impl Into<ValueType>) -> &mut Self {
        self.types.push((value.into(), ty.into()));
        self
    }
}

/// What applying a patch did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchSummary {
    /// The patch's name.
    pub patch: String,
    /// Nodes made, in the order in which they were added; an `Identity` made for a graph output comes last.
    pub added: Vec<NodeId>,
    /// How many nodes were removed.
    pub removed: usize,
    /// How many nodes that stay were changed.
    pub changed: usize,
    /// Values that had to give up their name to a graph output, or took it: old name, new name.
    pub renamed: Vec<(String, String)>,
}
