//! The memory figures that TensorRT prints while it builds.
//!
//! TensorRT has no call that returns them without a GPU; they only pass by in the log. Unknown
//! lines are left alone, so a changed wording shows as missing figures, never as wrong ones.

/// Memory an engine will need, as TensorRT reported it during the build; `None` where it said nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryTotals {
    /// Activations between layers, bytes on the device for each execution context.
    pub activation_bytes: Option<u64>,
    /// Weights, bytes on the device for each engine.
    pub weights_bytes: Option<u64>,
    /// The largest scratch space of any layer, bytes on the device; part of the workspace.
    pub scratch_bytes: Option<u64>,
}

impl MemoryTotals {
    /// Takes the figure of one log line, if it holds one.
    pub(crate) fn read(&mut self, line: &str) {
        for (label, figure) in [
            ("Total Activation Memory:", &mut self.activation_bytes),
            ("Total Weights Memory:", &mut self.weights_bytes),
            ("Max Scratch Memory:", &mut self.scratch_bytes),
        ] {
            if let Some(bytes) = bytes_after(line, label) {
                *figure = Some(bytes);
            }
        }
    }
}

/// The number of bytes that follows `label` in `line`.
fn bytes_after(line: &str, label: &str) -> Option<u64> {
    let (_, rest) = line.split_once(label)?;
    let rest = rest.trim_start();
    let end = rest.find(|it: char| !it.is_ascii_digit()).unwrap_or(rest.len());
    let (number, unit) = rest.split_at(end);
    let unit = unit.trim_start();
    (unit.is_empty() || unit.starts_with("bytes")).then_some(())?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_and_everything_else_is_left_alone() {
        let mut totals = MemoryTotals::default();
        for line in [
            "Total Activation Memory: 22110208 bytes",
            "[Memory] Total Weights Memory: 32505856",
            "Max Scratch Memory: 0 bytes",
        ] {
            totals.read(line);
        }
        let expected = MemoryTotals {
            activation_bytes: Some(22_110_208),
            weights_bytes: Some(32_505_856),
            scratch_bytes: Some(0),
        };
        assert_eq!(totals, expected);
        for line in [
            "Total Activation Memory: unknown",
            "Total Weights Memory: 12 MiB",
            "Total Host Persistent Memory: 9 bytes",
            "Max Scratch Memory: 99999999999999999999999 bytes",
            "",
        ] {
            totals.read(line);
        }
        assert_eq!(totals, expected);
    }
}
