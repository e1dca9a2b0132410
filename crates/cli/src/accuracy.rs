//! How accuracy figures are shown, the same in every command.

use trtforge_builder::OutputAccuracy;

/// Headers for the cells of [`cells`].
pub const HEADERS: [&str; 5] = ["OUTPUT", ">SQNR dB", ">CHANNEL dB", ">COSINE", ">MAX ERROR"];

/// Name, SQNR, channel-wise SQNR, cosine and largest error of one output; channels are left empty where they were not measured.
pub fn cells(output: &OutputAccuracy) -> [String; 5] {
    let sqnr = output.sqnr_db.map_or_else(|| "exact".to_owned(), |decibel| format!("{decibel:.1}"));
    let unmeasured = if output.sqnr_db.is_none() { "exact" } else { "" };
    let channels = output.channel_db.map_or_else(|| unmeasured.to_owned(), |decibel| format!("{decibel:.1}"));
    [output.output.clone(), sqnr, channels, format!("{:.6}", output.cosine), format!("{:.3e}", output.max_abs)]
}
