//! What is watched: every quantity with its name and unit.

use std::fmt;

use crate::device::Class;

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quantity {
    /// Weights in the ledger, in bytes.
    Weights,
    /// Activations in the ledger, in bytes.
    Activation,
    /// Inputs and outputs on the device in the ledger, in bytes.
    Io,
    /// Locked host memory that the device reads, in the ledger, in bytes.
    PinnedInput,
    /// Locked host memory that the device writes, in the ledger, in bytes.
    PinnedOutput,
    /// The most that the ledger lets be held on the device, in bytes; absent without a budget.
    DeviceBudget,
    /// The most locked host memory that the ledger lets be held, in bytes; absent without a budget.
    PinnedBudget,
    /// Memory of the device that is in use, by whomever, in bytes. On the CPU the device is the machine.
    DeviceUsed,
    /// Memory of the device that nobody uses, in bytes.
    DeviceFree,
    /// Memory that the process holds on all GPUs, as the driver counts it, in bytes; absent without a driver.
    GpuProcess,
    /// Memory of the process that lies in RAM, in bytes.
    Resident,
    /// Address space of the process, in bytes.
    Virtual,
    /// Open files of the process, sockets and the like.
    OpenFiles,
    /// Threads of the process.
    Threads,
    /// Inferences in the last run; absent before the first.
    Batch,
    /// Inferences done since the start.
    Inferences,
}

impl Quantity {
    /// How many there are.
    pub const COUNT: usize = 16;

    /// All, in the order of reports.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Weights,
        Self::Activation,
        Self::Io,
        Self::PinnedInput,
        Self::PinnedOutput,
        Self::DeviceBudget,
        Self::PinnedBudget,
        Self::DeviceUsed,
        Self::DeviceFree,
        Self::GpuProcess,
        Self::Resident,
        Self::Virtual,
        Self::OpenFiles,
        Self::Threads,
        Self::Batch,
        Self::Inferences,
    ];

    /// The ledger's account of a class.
    #[must_use]
    pub const fn of(class: Class) -> Self {
        match class {
            Class::Weights => Self::Weights,
            Class::Activation => Self::Activation,
            Class::Io => Self::Io,
            Class::PinnedInput => Self::PinnedInput,
            Class::PinnedOutput => Self::PinnedOutput,
        }
    }

    /// Its name in files, with the unit where it has one.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Weights => "weights_bytes",
            Self::Activation => "activation_bytes",
            Self::Io => "io_bytes",
            Self::PinnedInput => "pinned_input_bytes",
            Self::PinnedOutput => "pinned_output_bytes",
            Self::DeviceBudget => "device_budget_bytes",
            Self::PinnedBudget => "pinned_budget_bytes",
            Self::DeviceUsed => "device_used_bytes",
            Self::DeviceFree => "device_free_bytes",
            Self::GpuProcess => "gpu_process_bytes",
            Self::Resident => "resident_bytes",
            Self::Virtual => "virtual_bytes",
            Self::OpenFiles => "open_files",
            Self::Threads => "threads",
            Self::Batch => "batch",
            Self::Inferences => "inferences",
        }
    }

    /// The quantity of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|quantity| quantity.name() == name)
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_place_and_a_name_of_its_own() {
        for (index, quantity) in Quantity::ALL.into_iter().enumerate() {
            assert_eq!(quantity.index(), index);
            assert_eq!(Quantity::named(quantity.name()), Some(quantity));
        }
        assert_eq!(Quantity::named("weights"), None);
    }
}
