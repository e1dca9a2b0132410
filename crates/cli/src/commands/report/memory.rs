//! Memory by class, by batch and over the network's depth, and what the peak is made of.

use super::elements::{Cell, figure, number, table, text};
use super::sources::{ModelView, Sources};
use crate::commands::plan::explained::{curve, ratio};
use crate::plots::{Background, Curve, depth, picture};
use anyhow::Result;
use maud::{Markup, html};
use trtforge_builder::activation::{ActivationAccount, Charge};
use trtforge_builder::{BatchMemory, MemoryInfo, format_bytes};

/// Sizes of a plot in pixels, for wide screens and paper, and for narrow screens.
const WIDE: (u32, u32) = (1040, 340);
const NARROW: (u32, u32) = (340, 280);

/// The section.
///
/// # Errors
/// When a plot cannot be drawn.
pub fn memory(sources: &Sources) -> Result<Markup> {
    let memory = &sources.manifest.memory;
    let account = sources.manifest.activation.as_ref();
    let over_depth = account.map(engine_depth).transpose()?;
    let of_model = sources.model.as_ref().map(model_depth);
    Ok(html! {
        (classes(memory))
        (batches(&memory.by_batch))
        @match (account, over_depth) {
            (Some(account), Some(over_depth)) => {
                h3 { "Over the network's depth" }
                (over_depth)
                (sums(account, memory.activation_bytes))
                (charges(account))
            },
            _ => p.note { "The manifest does not say what the activation memory is made of; a new build will." },
        }
        h3 { "The model as it was exported" }
        @match of_model {
            Ok(figure) => (figure?),
            Err(why) => p.note { "This part is missing: " (why) "." },
        }
    })
}

fn classes(memory: &MemoryInfo) -> Markup {
    let classes = [
        ("Weights", memory.weights_bytes),
        ("Activation", memory.activation_bytes),
        ("Inputs and outputs", memory.io_bytes),
        ("Total on the device", memory.total_bytes),
        ("Locked host memory beside it, for one slot", memory.io_bytes),
    ];
    let most = memory.total_bytes.max(1) as f64;
    let row = |(class, bytes): &(&str, u64)| {
        vec![text(*class), Cell::Bar(format_bytes(*bytes), *bytes as f64 / most), number(bytes)]
    };
    table("Memory by class, at the largest shapes", &["Class", ">Size", ">Bytes"], classes.iter().map(row).collect())
}

fn batches(batches: &[BatchMemory]) -> Markup {
    let most = batches.iter().map(|it| it.total_bytes).max().unwrap_or(0).max(1) as f64;
    let row = |it: &BatchMemory| {
        let total = Cell::Bar(format_bytes(it.total_bytes), it.total_bytes as f64 / most);
        vec![number(it.batch), number(format_bytes(it.activation_bytes)), number(format_bytes(it.io_bytes)), total]
    };
    let headers = [">Batch", ">Activation", ">Inputs and outputs", ">Total"];
    table("Memory at the batches that were tried", &headers, batches.iter().map(row).collect())
}

fn engine_depth(account: &ActivationAccount) -> Result<Markup> {
    let description = format!(
        "Tensors and scratch memory at each of {} kernels of the engine, as far as TensorRT's ways are known; gaps are not drawn",
        account.moments.len()
    );
    plotted(&description, "kernel", curve(String::new(), account))
}

fn model_depth(model: &ModelView) -> Result<Markup> {
    let most = model.live_bytes.iter().copied().max().unwrap_or(0);
    let description = format!(
        "Bytes alive at each of {} nodes of {}, nothing fused and in its own precision: at most {}, at {}",
        model.live_bytes.len(),
        model.path.display(),
        format_bytes(most),
        model.peak
    );
    let curve = Curve { name: String::new(), bytes: model.live_bytes.clone(), peak: model.peak.clone() };
    plotted(&description, "node", curve)
}

fn plotted(description: &str, step: &str, curve: Curve) -> Result<Markup> {
    let curves = [curve];
    let draw = |size| picture(size, Background::None, |area| depth(area, "", step, &curves));
    Ok(figure(description, draw(WIDE)?, draw(NARROW)?))
}

fn sums(account: &ActivationAccount, taken_bytes: u64) -> Markup {
    let sums = [
        ("Least, node after node, nothing fused", account.bound_bytes),
        ("Tensors at the peak", account.tensors_bytes),
        ("Scratch memory of the kernel there", account.workspace_bytes),
        ("Gaps between tensors", account.gaps_bytes),
        ("Explained: the three above", account.explained_bytes),
        ("What TensorRT takes", taken_bytes),
    ];
    let most = sums.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0).max(1) as f64;
    let row = |(what, bytes): &(&str, u64)| vec![text(*what), Cell::Bar(format_bytes(*bytes), *bytes as f64 / most)];
    html! {
        (table("Activation memory explained", &["What", ">Size"], sums.iter().map(row).collect()))
        p { "TensorRT takes " (format!("{:.2}", ratio(account, taken_bytes))) " times what is explained." }
    }
}

fn charges(account: &ActivationAccount) -> Markup {
    let row = |charge: &Charge| {
        let ty = charge.ty.clone().unwrap_or_default();
        let figures = [charge.bytes, charge.charged_bytes].map(|bytes| number(format_bytes(bytes)));
        let words = [text(charge.place.to_string()), text(&charge.reason)];
        [text(&charge.name), text(ty)].into_iter().chain(figures).chain(words).collect()
    };
    let caption = format!("What is there at the peak, at {}", account.kernel);
    let headers = ["Name", "Type", ">Size", ">Charged", "Where it lies", "Why"];
    table(&caption, &headers, account.charges.iter().map(row).collect())
}
