//! Images that cannot be read: named, counted and passed over up to a limit, because a large folder may hold a broken file and a folder of broken files is no data.

use crate::{Error, Progress, Result};
use std::collections::BTreeMap;

/// An image that was passed over.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Unreadable {
    /// Its position in the list of images.
    pub index: usize,
    /// The file, for a person.
    pub file: String,
    /// Why it could not be read.
    pub reason: String,
}

/// How many of `images` may be unreadable where no limit is given: one in twenty, but at least one.
pub fn default_limit(images: usize) -> usize {
    (images / 20).max(1)
}

/// The images passed over so far, each counted once however often it is met.
#[derive(Clone, Debug, Default)]
pub struct UnreadableTally {
    limit: usize,
    images: usize,
    seen: BTreeMap<usize, Unreadable>,
}

/// How many of the unreadable images an error lists.
const LISTED: usize = 5;

impl UnreadableTally {
    /// A tally over `images` images; [`default_limit`] of them without a `limit`.
    pub fn new(images: usize, limit: Option<usize>) -> Self {
        UnreadableTally { limit: limit.unwrap_or_else(|| default_limit(images)), images, seen: BTreeMap::new() }
    }

    /// Counts images and tells of each.
    ///
    /// # Errors
    /// [`Error::UnreadableImages`] where there are more than the limit allows, or no other image is left.
    pub fn add(&mut self, unreadable: Vec<Unreadable>, progress: &dyn Progress) -> Result<()> {
        for image in unreadable {
            let note = format!("passed over {}: {}", image.file, image.reason);
            if self.seen.insert(image.index, image).is_none() {
                progress.note(&note);
            }
        }
        let none_left = self.images > 0 && self.seen.len() >= self.images;
        if self.seen.len() > self.limit || none_left { Err(self.error()) } else { Ok(()) }
    }

    /// The images passed over, in the order of the list.
    pub fn images(&self) -> impl Iterator<Item = &Unreadable> {
        self.seen.values()
    }

    fn error(&self) -> Error {
        Error::UnreadableImages {
            count: self.seen.len(),
            limit: self.limit,
            images: self.images,
            first: self.seen.values().take(LISTED).cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(index: usize) -> Unreadable {
        Unreadable { index, file: format!("{index}.jpg"), reason: "cut short".into() }
    }

    #[test]
    fn the_limit_is_a_share_of_the_images() {
        assert_eq!([1, 19, 40, 64, 300].map(default_limit), [1, 1, 2, 3, 15]);
        let mut tally = UnreadableTally::new(40, None);
        assert!(tally.add(vec![image(7), image(3)], &()).is_ok());
        assert!(tally.add(vec![image(7)], &()).is_ok(), "an image counts once");
        let error = tally.add(vec![image(9)], &()).unwrap_err();
        let Error::UnreadableImages { count: 3, limit: 2, images: 40, first } = error else { panic!("{error}") };
        assert_eq!(first.iter().map(|image| image.index).collect::<Vec<_>>(), [3, 7, 9]);
    }

    #[test]
    fn a_limit_does_not_allow_that_nothing_is_left() {
        assert!(UnreadableTally::new(1, None).add(vec![image(0)], &()).is_err());
        assert!(UnreadableTally::new(2, Some(0)).add(vec![image(0)], &()).is_err());
        assert!(UnreadableTally::new(2, Some(9)).add(vec![image(0), image(1)], &()).is_err());
        assert!(UnreadableTally::new(2, Some(0)).add(vec![], &()).is_ok());
    }
}
