//! Calibration beside slow references: histograms, thresholds, caches.
#![allow(clippy::unwrap_used)]

mod histogram;
