//! The memory figures that TensorRT prints while it builds.
//!
//! TensorRT has no call that returns them without a GPU; they only pass by in the log. Unknown
//! lines are left alone, so a changed wording shows as missing figures, never as wrong ones.

/// Memory an engine will need, as TensorRT reported it during the build; `None` where it said nothing.
///
/// TensorRT reports once for each optimisation profile; these are the largest figures, which is what
/// a context that serves every profile reserves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryTotals {
    /// Activations between layers and scratch space, bytes on the device for each execution context.
    pub activation_bytes: Option<u64>,
    /// Weights, bytes on the device for each engine.
    pub weights_bytes: Option<u64>,
    /// The largest scratch space of any layer, bytes on the device, part of the activations.
    ///
    /// TensorRT-RTX compiles a whole network into one layer, so there it equals the activations.
    pub scratch_bytes: Option<u64>,
}

/// What the log of one build has said so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MemoryLog {
    pub(crate) totals: MemoryTotals,
    /// Activations of each profile, in the order of the log, which is that of the profiles.
    pub(crate) activation_bytes_by_profile: Vec<u64>,
}

impl MemoryLog {
    /// Takes the figure of one log line, if it holds one.
    pub(crate) fn read(&mut self, line: &str) {
        let totals = &mut self.totals;
        if let Some(bytes) = bytes_after(line, "Total Activation Memory:") {
            raise(&mut totals.activation_bytes, bytes);
            self.activation_bytes_by_profile.push(bytes);
        } else if let Some(bytes) = bytes_after(line, "Total Weights Memory:") {
            raise(&mut totals.weights_bytes, bytes);
        } else if let Some(bytes) = bytes_after(line, "Max Scratch Memory:") {
            raise(&mut totals.scratch_bytes, bytes);
        }
    }
}

/// Keeps the larger of a figure and a new one.
fn raise(figure: &mut Option<u64>, bytes: u64) {
    *figure = Some(figure.unwrap_or_default().max(bytes));
}

/// A lack of memory that a log line tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// No kernel does with the workspace allowed.
    Workspace,
    /// An allocation of that size failed.
    Memory { requested_bytes: u64 },
}

/// The lack of memory that a line tells of, if it does.
pub(crate) fn shortage(line: &str) -> Option<Shortage> {
    if line.contains("within workspace limit") {
        return Some(Shortage::Workspace);
    }
    let (_, rest) = line.split_once("OutOfMemory")?;
    let requested_bytes = bytes_after(rest, "Requested size was")?;
    Some(Shortage::Memory { requested_bytes })
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
        let mut log = MemoryLog::default();
        for line in [
            "Total Activation Memory: 22110208 bytes",
            "[Memory] Total Weights Memory: 32505856",
            "Max Scratch Memory: 0 bytes",
        ] {
            log.read(line);
        }
        let expected = MemoryTotals {
            activation_bytes: Some(22_110_208),
            weights_bytes: Some(32_505_856),
            scratch_bytes: Some(0),
        };
        assert_eq!(log.totals, expected);
        for line in [
            "Total Activation Memory: unknown",
            "Total Weights Memory: 12 MiB",
            "Total Host Persistent Memory: 9 bytes",
            "Max Scratch Memory: 99999999999999999999999 bytes",
            "",
        ] {
            log.read(line);
        }
        assert_eq!(log.totals, expected);
    }

    #[test]
    fn several_profiles_give_the_largest_figures_and_each_its_own() {
        let mut log = MemoryLog::default();
        for line in
            ["Total Activation Memory: 9 bytes", "Max Scratch Memory: 4 bytes", "Total Activation Memory: 7 bytes"]
        {
            log.read(line);
        }
        assert_eq!(log.totals.activation_bytes, Some(9));
        assert_eq!(log.activation_bytes_by_profile, [9, 7]);
    }

    #[test]
    fn shortages_are_recognised() {
        let line = "Error Code 2: OutOfMemory (Requested size was 9349812 bytes.)";
        assert_eq!(shortage(line), Some(Shortage::Memory { requested_bytes: 9_349_812 }));
        assert_eq!(shortage("no tactics to implement it within workspace limit."), Some(Shortage::Workspace));
        assert_eq!(shortage("Requested size was 3 bytes"), None);
    }
}
