//! What a process shows of itself to others: its newest sample and its newest marks.
//!
//! On disk it is a line of JSON and a line with the SHA-256 of the first in hexadecimal digits. It is written over the older one
//! in place; whoever reads while it is written sees that the second line does not fit and reads again.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Mark, Values};

/// Room for a snapshot on disk, in bytes; with the longest marks and numbers it takes about half of it.
pub(super) const ROOM_BYTES: usize = 8192;
/// Newest marks that are shown.
pub(super) const MARKS: usize = 12;
/// The number of the form that is written.
pub(super) const SCHEMA: u32 = 1;
/// Hexadecimal digits of a digest.
const DIGEST_DIGITS: usize = 64;

/// What a process shows of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot<'s> {
    /// The number of its form.
    pub schema: u32,
    /// The process.
    pub pid: u32,
    /// When the process began, in ticks of the system: with [`Self::pid`] it names the process for good.
    pub start_ticks: u64,
    /// What the process does.
    pub title: Cow<'s, str>,
    /// Seconds from one sample to the next.
    pub interval_s: f64,
    /// Samples so far, this one included.
    pub sequence: u64,
    /// When it was taken, in seconds since the monitor began.
    pub at_s: f64,
    /// The sample.
    pub values: Values,
    /// The newest marks, first to last.
    pub marks: Cow<'s, [Mark]>,
}

impl Snapshot<'_> {
    /// Writes it to `room` and gives the number of bytes; nothing is allocated.
    pub(super) fn write(&self, room: &mut [u8; ROOM_BYTES]) -> serde_json::Result<usize> {
        let mut rest = &mut room[..ROOM_BYTES - DIGEST_DIGITS - 2];
        let before = rest.len();
        serde_json::to_writer(&mut rest, self)?;
        let length = before - rest.len();
        let digest = Sha256::digest(&room[..length]);
        let mut digits = [0; DIGEST_DIGITS];
        // The room is exactly that of the digest.
        let _ = hex::encode_to_slice(digest, &mut digits);
        room[length] = b'\n';
        room[length + 1..][..DIGEST_DIGITS].copy_from_slice(&digits);
        room[length + 1 + DIGEST_DIGITS] = b'\n';
        Ok(length + DIGEST_DIGITS + 2)
    }
}

/// What is wrong with a snapshot that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It was being written.
    Torn,
    /// It is of another version, or nothing of ours.
    Foreign(String),
}

impl Snapshot<'static> {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Flaw> {
        let mut lines = bytes.split(|&byte| byte == b'\n');
        let (text, digits) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        if hex::decode(digits).ok().as_deref() != Some(&Sha256::digest(text)[..]) {
            return Err(Flaw::Torn);
        }
        #[derive(Deserialize)]
        struct Head {
            schema: u32,
        }
        let foreign = |error: serde_json::Error| Flaw::Foreign(error.to_string());
        let head: Head = serde_json::from_slice(text).map_err(foreign)?;
        if head.schema != SCHEMA {
            return Err(Flaw::Foreign(format!("its form is {}, this version reads {SCHEMA}", head.schema)));
        }
        serde_json::from_slice(text).map_err(foreign)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{LONGEST_LABEL, Quantity};
    use super::*;
    use std::time::Duration;

    pub(in super::super) fn largest() -> Snapshot<'static> {
        let mut values = Values::default();
        Quantity::ALL.into_iter().for_each(|quantity| values.set(quantity, u64::MAX));
        let label = "\u{1F600}".repeat(LONGEST_LABEL);
        Snapshot {
            schema: SCHEMA,
            pid: u32::MAX,
            start_ticks: u64::MAX,
            title: "\"".repeat(LONGEST_LABEL).into(),
            interval_s: 0.1,
            sequence: u64::MAX,
            at_s: 1e7 / 3.0,
            values,
            marks: vec![Mark::new(Duration::from_secs_f64(1e7 / 3.0), &label); MARKS].into(),
        }
    }

    #[test]
    fn the_largest_has_room_and_comes_back() {
        let mut room = [b'x'; ROOM_BYTES];
        let length = largest().write(&mut room).unwrap();
        assert!(length < ROOM_BYTES * 3 / 4, "{length}");
        assert_eq!(Snapshot::parse(&room), Ok(largest()), "whatever an older one left behind it");
    }

    #[test]
    fn every_torn_one_is_noticed() {
        let (mut old, mut new) = ([b' '; ROOM_BYTES], [b' '; ROOM_BYTES]);
        let mut snapshot = largest();
        snapshot.write(&mut old).unwrap();
        (snapshot.sequence, snapshot.at_s) = (17, 1.5);
        snapshot.values.set(Quantity::Resident, 12_345);
        let length = snapshot.write(&mut new).unwrap();
        for cut in (1..length).filter(|&cut| old[..cut] != new[..cut] && old[cut..] != new[cut..]) {
            let torn = [&new[..cut], &old[cut..]].concat();
            match Snapshot::parse(&torn) {
                Err(Flaw::Torn) => {}
                // What lies behind the new one's last line does not count.
                whole => assert!(cut >= length - 1, "{cut} of {length}: {whole:?}"),
            }
        }
    }

    #[test]
    fn other_versions_are_told_from_torn_ones() {
        let text = r#"{"schema":9}"#;
        let bytes = format!("{text}\n{}\n", hex::encode(Sha256::digest(text)));
        let Err(Flaw::Foreign(reason)) = Snapshot::parse(bytes.as_bytes()) else { panic!("it is foreign") };
        assert!(reason.contains('9'), "{reason}");
        assert_eq!(Snapshot::parse(b""), Err(Flaw::Torn));
    }
}
