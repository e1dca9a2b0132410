//! How much may be held.

/// How much may be held; nothing set is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    /// Weights, activations, inputs and outputs on the device, in bytes.
    pub device_bytes: Option<u64>,
    /// Locked host memory, in bytes.
    pub pinned_bytes: Option<u64>,
}

impl Budget {
    /// At most `bytes` on the device; locked host memory without limit.
    #[must_use]
    pub const fn device(bytes: u64) -> Self {
        Self { device_bytes: Some(bytes), pinned_bytes: None }
    }
}
