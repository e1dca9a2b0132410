//! Memory by class, as data and as a table.

use super::explained;
use super::pictures::Pictures;
use crate::plots::{Bar, Curve};
use crate::table::Table;
use serde::Serialize;
use std::path::PathBuf;
use trtforge_builder::activation::ActivationAccount;
use trtforge_builder::{ByteSize, format_bytes};

/// What kind of figures these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The compiler's own, for one execution context at the largest shapes.
    Engine,
    /// From the model's shapes: every value between nodes, packed as tightly as their lifetimes allow.
    ModelShapes,
}

/// Memory by class.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The file planned.
    pub path: PathBuf,
    /// What kind of figures these are.
    pub basis: Basis,
    /// Weights.
    pub weights_bytes: u64,
    /// Values between nodes.
    pub activation_bytes: u64,
    /// Input and output buffers.
    pub io_bytes: u64,
    /// The sum of the three.
    pub total_bytes: u64,
    /// Locked host memory of one slot of a session, beside the total: a copy of inputs and outputs.
    pub pinned_bytes: u64,
    /// Memory there is, if it was given.
    pub budget_bytes: Option<u64>,
    /// Whether the total is within the budget.
    pub fits: Option<bool>,
    /// Where a model's activations peak.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<Peak>,
    /// What an engine's activation memory is made of, where its manifest says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<ActivationAccount>,
}

/// The moment at which most memory is in use.
#[derive(Debug, Serialize)]
pub struct Peak {
    /// Node that runs at that moment.
    pub node: String,
    /// Values alive, largest first.
    pub values: Vec<LiveValue>,
    /// Bytes that simple placement of all values takes; at least the lower bound.
    pub packed_bytes: u64,
    /// Bytes alive node after node, in running order.
    pub live_bytes: Vec<u64>,
}

/// One value alive at the peak.
#[derive(Debug, Serialize)]
pub struct LiveValue {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: String,
    /// Its size.
    pub bytes: u64,
}

/// Values of the peak shown in the table; `--json` has them all.
const SHOWN_VALUES: usize = 8;

impl Report {
    /// Sums the classes and compares them with the budget.
    pub fn new(path: PathBuf, basis: Basis, [weights, activation, io]: [u64; 3], budget: Option<ByteSize>) -> Self {
        let total_bytes = weights.saturating_add(activation).saturating_add(io);
        Self {
            path,
            basis,
            weights_bytes: weights,
            activation_bytes: activation,
            io_bytes: io,
            total_bytes,
            pinned_bytes: io,
            budget_bytes: budget.map(ByteSize::bytes),
            fits: budget.map(|budget| total_bytes <= budget.bytes()),
            peak: None,
            activation: None,
        }
    }

    /// What plots of the report show.
    pub fn pictures(&self) -> Pictures {
        let of_model = self.peak.as_ref().map(|peak| Curve {
            name: String::new(),
            bytes: peak.live_bytes.clone(),
            peak: peak.node.clone(),
        });
        let of_engine = self.activation.as_ref().map(|account| explained::curve(String::new(), account));
        let step = if of_model.is_some() { "node" } else { "kernel" };
        let bytes = vec![self.weights_bytes, self.activation_bytes, self.io_bytes];
        Pictures {
            file: self.path.clone(),
            bars: vec![Bar { name: String::new(), bytes }],
            curves: of_model.or(of_engine).into_iter().collect(),
            step,
            budget: self.budget_bytes,
        }
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let mut table = Table::new(&["MEMORY", ">BYTES", ""]);
        for (class, bytes) in self.classes() {
            table.row([class.to_owned(), bytes.to_string(), format_bytes(bytes)]);
        }
        let basis = match self.basis {
            Basis::Engine => "one execution context at the largest shapes, as TensorRT reports it",
            Basis::ModelShapes => "by the model's shapes and types, values packed as tightly as possible",
        };
        let peak = self.peak.as_ref().map(Peak::text);
        let account = self.activation.as_ref().map(|account| self.account(account));
        let rest = peak.or(account).unwrap_or_default();
        format!("{}: {basis}\n\n{}{}{rest}", self.path.display(), table.render(), self.verdict())
    }

    fn account(&self, account: &ActivationAccount) -> String {
        let mut table = explained::table(&[]);
        table.row(explained::cells(account, self.activation_bytes));
        format!("\n{}{}\n{}", table.render(), explained::LEGEND, explained::charges("the engine", account))
    }

    fn classes(&self) -> Vec<(&'static str, u64)> {
        let mut classes = vec![
            ("weights", self.weights_bytes),
            ("activation", self.activation_bytes),
            ("inputs and outputs", self.io_bytes),
            ("total", self.total_bytes),
            ("pinned host memory beside it", self.pinned_bytes),
        ];
        classes.extend(self.budget_bytes.map(|bytes| ("budget", bytes)));
        classes
    }

    fn verdict(&self) -> String {
        let Some(budget) = self.budget_bytes else { return String::new() };
        let difference = format_bytes(budget.abs_diff(self.total_bytes));
        match (self.fits, self.basis) {
            (Some(true), Basis::Engine) => format!("\nfits, {difference} to spare\n"),
            (Some(true), Basis::ModelShapes) => {
                format!("\nfits by its shapes, {difference} to spare; build an engine to know\n")
            }
            _ => format!("\ndoes not fit: {difference} too much\n"),
        }
    }
}

impl Peak {
    fn text(&self) -> String {
        let mut table = Table::new(&["ALIVE AT THE PEAK", "TYPE", ">BYTES"]);
        for value in self.values.iter().take(SHOWN_VALUES) {
            table.row([value.name.clone(), value.ty.clone(), value.bytes.to_string()]);
        }
        let more = match self.values.len().saturating_sub(SHOWN_VALUES) {
            0 => String::new(),
            count => format!("and {count} more\n"),
        };
        format!(
            "\nactivations peak at node `{}`; packed with fixed offsets they take {}\n\n{}{more}",
            self.node,
            format_bytes(self.packed_bytes),
            table.render()
        )
    }
}
