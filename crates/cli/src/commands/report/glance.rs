//! What one wants to know first: precision, memory, accuracy, size.

use maud::{Markup, html};
use trtforge_builder::{Manifest, OutputAccuracy, counted, format_bytes};

/// The header's figures.
pub fn glance(manifest: &Manifest) -> Markup {
    let memory = &manifest.memory;
    html! {
        dl.glance {
            div { dt { "Precision" } dd { (manifest.precision.requested) } dd.note { (precision_note(manifest)) } }
            div {
                dt { "Memory" }
                dd { (format_bytes(memory.total_bytes)) }
                dd.note { "weights " (format_bytes(memory.weights_bytes)) ", activation " (format_bytes(memory.activation_bytes)) }
            }
            (accuracy(manifest))
            div {
                dt { "Engine" }
                dd { (format_bytes(manifest.engine.bytes)) }
                dd.note { "TensorRT " (manifest.tensorrt.flavour) " " (manifest.tensorrt.version) }
            }
        }
    }
}

fn precision_note(manifest: &Manifest) -> String {
    let kept = manifest.precision.kept.len();
    let share =
        manifest.precision.int8_flops.map(|share| format!("{:.1} % of the arithmetic in int8; ", 100.0 * share));
    format!("{}{} kept in a higher precision", share.unwrap_or_default(), counted(kept, "node"))
}

fn accuracy(manifest: &Manifest) -> Markup {
    let (figure, note, class) = match worst(&manifest.accuracy) {
        None => ("not verified".to_owned(), "built with --no-verify".to_owned(), "doubtful"),
        Some(output) if output.non_finite > 0 => {
            ("NaN or infinity".to_owned(), format!("in output {}", output.output), "bad")
        }
        Some(output) => {
            let figure = output.sqnr_db.map_or_else(|| "exact".to_owned(), |decibel| format!("{decibel:.1} dB"));
            let on = manifest.verified_on.as_deref().unwrap_or("unknown inputs");
            let channels =
                output.channel_db.map_or_else(String::new, |decibel| format!(", {decibel:.1} dB by channel"));
            (figure, format!("SQNR of {}{channels}, on {on}", output.output), "good")
        }
    };
    html! { div class=(class) { dt { "Worst accuracy" } dd { (figure) } dd.note { (note) } } }
}

/// The output with the largest error.
fn worst(outputs: &[OutputAccuracy]) -> Option<&OutputAccuracy> {
    let key = |output: &OutputAccuracy| (output.non_finite == 0, output.sqnr_db.unwrap_or(f64::INFINITY));
    outputs.iter().min_by(|one, other| {
        let (one, other) = (key(one), key(other));
        one.0.cmp(&other.0).then(one.1.total_cmp(&other.1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(name: &str, sqnr_db: Option<f64>, non_finite: u64) -> OutputAccuracy {
        OutputAccuracy {
            output: name.into(),
            sqnr_db,
            channel_db: None,
            cosine: 1.0,
            max_abs: 0.0,
            reference_max_abs: 1.0,
            non_finite,
        }
    }

    #[test]
    fn what_is_no_number_is_worse_than_any_error() {
        let outputs = [output("a", None, 0), output("b", Some(12.0), 0), output("c", Some(80.0), 1)];
        let name = |outputs: &[OutputAccuracy]| worst(outputs).map(|it| it.output.clone());
        assert_eq!(name(&outputs).as_deref(), Some("c"));
        assert_eq!(name(&outputs[..2]).as_deref(), Some("b"));
        assert_eq!(name(&[]), None);
    }
}
