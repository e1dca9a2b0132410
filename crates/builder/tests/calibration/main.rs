//! Calibration beside slow references: histograms, thresholds, caches.
#![allow(clippy::unwrap_used)]

mod cache;
mod distributions;
mod histogram;
mod sidecar;
mod thresholds;
