//! Groups of flags, each defined once and shared by the commands that take them.

pub mod accuracy;
pub mod calibration;
pub mod detector;
pub mod duration;
pub mod json;
pub mod model;
pub mod monitor;
pub mod pipeline;
pub mod precision;
pub mod samples;
pub mod shape;
pub mod verbosity;
