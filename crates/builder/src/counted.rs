//! Numbers with their nouns, for messages.

/// `count` and `noun`, which stands in the singular, in the number that fits: `1 tensor`, `2 tensors`.
///
/// ```
/// assert_eq!(trtforge_builder::counted(1, "image"), "1 image");
/// assert_eq!(trtforge_builder::counted(0, "image"), "0 images");
/// ```
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
