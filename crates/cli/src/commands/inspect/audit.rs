//! How a model's precision audit is shown.

use crate::table::{Table, pairs};
use trtforge_builder::{Arithmetic, ArithmeticShare, Audit, counted};

/// The parts in one line: by arithmetic, or by weights where no shape is known.
pub fn line(audit: &Audit) -> String {
    let used: Vec<&ArithmeticShare> = audit.shares.iter().filter(|share| share.nodes > 0).collect();
    if used.is_empty() {
        return "no convolutions or matrix products with stored weights".to_owned();
    }
    let by_flop = used.iter().any(|share| share.flop > 0);
    let fraction = |share: &ArithmeticShare| if by_flop { share.flop_fraction } else { share.weights_fraction };
    let part = |share: &&ArithmeticShare| {
        format!("{} {} ({})", percent(fraction(share)), share.arithmetic.name(), counted(share.nodes as usize, "node"))
    };
    let parts: Vec<String> = used.iter().map(part).collect();
    let of = if by_flop { "arithmetic" } else { "weights" };
    format!("{} of convolution and matrix {of}", parts.join(", "))
}

/// The whole audit of a model that has Q/DQ nodes or several precisions; nothing for others.
pub fn sections(audit: &Audit) -> Vec<String> {
    let kinds = audit.shares.iter().filter(|share| share.nodes > 0).count();
    if kinds < 2 && audit.quantize_nodes + audit.dequantize_nodes == 0 {
        return Vec::new();
    }
    vec![shares(audit), obstacles(audit), unfused(audit)]
}

fn shares(audit: &Audit) -> String {
    let mut table = Table::new(&["PRECISION", ">CONVOLUTIONS", ">", ">GFLOP", ">", ">WEIGHTS", ">"]);
    for share in &audit.shares {
        table.row([
            share.arithmetic.name().to_owned(),
            share.nodes.to_string(),
            percent(share.nodes_fraction),
            format!("{:.3}", share.flop as f64 / 1e9),
            percent(share.flop_fraction),
            crate::table::grouped(share.weights),
            percent(share.weights_fraction),
        ]);
    }
    let unknown = match audit.unknown_flop {
        0 => String::new(),
        count => format!("without the arithmetic of {} whose shapes are open or unknown\n", counted(count, "node")),
    };
    let nodes = pairs(&[
        ("QuantizeLinear", audit.quantize_nodes.to_string()),
        ("DequantizeLinear", audit.dequantize_nodes.to_string()),
        ("not fused", audit.unfused.len().to_string()),
    ]);
    format!("{}{unknown}\n{nodes}", table.render())
}

/// Convolutions that are quantized in part and run in floating point.
fn obstacles(audit: &Audit) -> String {
    let mut table = Table::new(&["NOT IN INT8", "OPERATOR", "PRECISION", "REASON"]);
    for node in audit.convolutions.iter().filter(|node| node.arithmetic != Arithmetic::Int8) {
        if let Some(reason) = &node.reason {
            table.row([&node.node, &node.operator, node.arithmetic.name(), reason.as_str()]);
        }
    }
    if table.is_empty() { String::new() } else { table.render() }
}

fn unfused(audit: &Audit) -> String {
    let mut table = Table::new(&["NOT FUSED", "DEQUANTIZE", "REASON"]);
    audit.unfused.iter().for_each(|pair| table.row([&pair.tensor, &pair.dequantize, &pair.reason]));
    if table.is_empty() { String::new() } else { table.render() }
}

fn percent(fraction: f64) -> String {
    format!("{:.1}%", fraction * 100.0)
}
