//! How exact the engine's model is, output by output.

use super::elements::{number, table, text};
use crate::accuracy::cells;
use maud::{Markup, html};
use trtforge_builder::{Manifest, OutputAccuracy};

/// The section.
pub fn accuracy(manifest: &Manifest) -> Markup {
    if manifest.accuracy.is_empty() {
        return html! { p { "The build was not compared with the model in 32 bits (" code { "--no-verify" } ")." } };
    }
    let on = manifest.verified_on.as_deref().unwrap_or("unknown inputs");
    let row = |output: &OutputAccuracy| {
        let [name, sqnr, channels, cosine, largest] = cells(output);
        let magnitude = format!("{:.3e}", output.reference_max_abs);
        vec![
            text(name),
            number(sqnr),
            number(channels),
            number(cosine),
            number(largest),
            number(magnitude),
            number(output.non_finite),
        ]
    };
    let headers =
        ["Output", ">SQNR, dB", ">By channel, dB", ">Cosine", ">Largest error", ">Largest value", ">NaN or infinite"];
    html! {
        p { "Compared with the model in 32 bits on " (on) "." }
        (table("Error of each output", &headers, manifest.accuracy.iter().map(row).collect()))
    }
}
