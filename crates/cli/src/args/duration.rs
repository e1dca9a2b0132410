//! Lengths of time as people write them: `5s`, `200ms`, `1.5m`.

use std::time::Duration;

const UNITS: [(&str, f64); 4] = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0)];
/// Nothing that is asked for here takes longer, and sums stay far from any limit.
const LONGEST_SECONDS: f64 = 86_400.0;

/// Parses a length of time, zero included.
///
/// # Errors
/// What would have been accepted.
pub fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = UNITS.iter().find(|(name, _)| *name == unit.trim()).map(|(_, factor)| factor);
    let seconds = number.parse::<f64>().ok().zip(factor).map(|(number, factor)| number * factor);
    let seconds = seconds.filter(|seconds| *seconds <= LONGEST_SECONDS);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "write a time of at most a day, such as 5s, 200ms or 2m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        for (text, expected) in [("5s", 5000.0), ("200ms", 200.0), (" 1.5 m", 90_000.0), ("250us", 0.25), ("0s", 0.0)] {
            let got = parse(text).map(|time| time.as_secs_f64() * 1e3);
            assert!(got.as_ref().is_ok_and(|got| (got - expected).abs() < 1e-9), "{text}: {got:?}");
        }
        for wrong in ["", "5", "s", "-5s", "5 parsecs", "1.2.3s", "2000h", "1e9s", "99999m"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
