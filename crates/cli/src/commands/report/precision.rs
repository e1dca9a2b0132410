//! Which node computes in what, over the network's depth, and why some stay above.

use super::elements::{Cell, searchable_table, table, text};
use maud::{Markup, html};
use std::collections::HashMap;
use trtforge_builder::{KeptNode, Manifest, NodePrecision, PlannedNode, counted};

/// The section.
pub fn precision(manifest: &Manifest) -> Markup {
    let precision = &manifest.precision;
    let counts = &precision.nodes;
    html! {
        p {
            "Asked for " strong { (precision.requested) } ": "
            (counted(counts.fp32, "node")) " in fp32, " (counts.fp16) " in fp16, " (counts.int8) " in int8"
            @if let Some(share) = precision.int8_flops { "; " (format!("{:.1}", 100.0 * share)) " % of the arithmetic in int8" }
            "."
        }
        (strip(&manifest.nodes))
        @match precision.kept.is_empty() {
            true => p { "No node was kept in a higher precision." },
            false => (kept(&precision.kept)),
        }
        (nodes(manifest))
    }
}

/// Consecutive nodes of one precision.
struct Run<'a> {
    precision: NodePrecision,
    nodes: &'a [PlannedNode],
}

fn runs(nodes: &[PlannedNode]) -> impl Iterator<Item = Run<'_>> {
    nodes
        .chunk_by(|one, next| one.precision == next.precision)
        .map(|nodes| Run { precision: nodes[0].precision, nodes })
}

/// The network from left to right. Heights differ as colours do, so that it can be read in grey.
fn strip(nodes: &[PlannedNode]) -> Markup {
    if nodes.is_empty() {
        return html! { p.note { "The manifest does not list what each node computes in." } };
    }
    let description = format!("What {} compute in, from the first to the last", counted(nodes.len(), "node"));
    html! {
        figure {
            div.strip role="img" aria-label=(description) {
                @for run in runs(nodes) {
                    span class=(name(run.precision)) style=(format!("flex-grow:{}", run.nodes.len())) title=(title(&run)) {}
                }
            }
            figcaption {
                (description) ":"
                @for precision in [NodePrecision::Fp32, NodePrecision::Fp16, NodePrecision::Int8, NodePrecision::Untouched] {
                    @let count = nodes.iter().filter(|node| node.precision == precision).count();
                    @if count > 0 { " " span.key { span class=(name(precision)) {} (words(precision)) " " (count) } }
                }
            }
        }
    }
}

fn title(run: &Run<'_>) -> String {
    let first = &run.nodes[0].node;
    match run.nodes {
        [_] => format!("{}: {first}", words(run.precision)),
        [.., last] => format!("{} × {}: {first} … {}", words(run.precision), run.nodes.len(), last.node),
        [] => String::new(),
    }
}

fn name(precision: NodePrecision) -> &'static str {
    match precision {
        NodePrecision::Fp32 => "fp32",
        NodePrecision::Fp16 => "fp16",
        NodePrecision::Int8 => "int8",
        NodePrecision::Untouched => "untouched",
    }
}

fn words(precision: NodePrecision) -> &'static str {
    if precision == NodePrecision::Untouched { "no floating-point arithmetic" } else { name(precision) }
}

fn kept(kept: &[KeptNode]) -> Markup {
    let row = |kept: &KeptNode| vec![text(&kept.node), text(&kept.reason)];
    let search = (kept.len() > 10).then_some("Find");
    searchable_table("Nodes kept in a higher precision", &["Node", "Reason"], kept.iter().map(row).collect(), search)
}

fn nodes(manifest: &Manifest) -> Markup {
    if manifest.nodes.is_empty() {
        return html! {};
    }
    let reasons: HashMap<&str, &str> =
        manifest.precision.kept.iter().map(|kept| (kept.node.as_str(), kept.reason.as_str())).collect();
    let row = |node: &PlannedNode| {
        let key = html! { span.key { span class=(name(node.precision)) {} (words(node.precision)) } };
        let reason = reasons.get(node.node.as_str()).copied().unwrap_or_default();
        vec![text(&node.node), text(&node.operator), Cell::Marked(key), text(reason)]
    };
    let rows = manifest.nodes.iter().map(row).collect();
    let headers = ["Node", "Operator", "Precision", "Reason"];
    html! {
        details {
            summary { "All " (counted(manifest.nodes.len(), "node")) }
            (searchable_table("Every node, in the order of the network", &headers, rows, Some("Find")))
        }
    }
}

/// How tensors were treated one by one, and how the network was laid out anew.
pub fn calibration(manifest: &Manifest) -> Option<Markup> {
    let calibration = manifest.calibration.as_ref()?;
    let rows = calibration.tensors.iter().map(|(tensor, what)| vec![text(tensor), text(what)]).collect::<Vec<_>>();
    let search = (rows.len() > 10).then_some("Find");
    let digests = [
        ("Calibration files", &calibration.data_sha256),
        ("Preprocessing", &calibration.preprocess_sha256),
        ("Cache", &calibration.cache_sha256),
    ];
    let known = digests.into_iter().filter_map(|(what, sha256)| Some(vec![text(what), text(sha256.as_ref()?)]));
    Some(html! {
        p {
            "Method " strong { (calibration.method) } ", "
            @match calibration.images {
                0 => "scales of a cache made elsewhere",
                count => { (counted(count, "sample")) },
            }
            "."
        }
        (searchable_table("Tensors with a threshold, centre or size of their own", &["Tensor", "What was done"], rows, search))
        (table("SHA-256", &["Of", "SHA-256"], known.collect()))
    })
}
