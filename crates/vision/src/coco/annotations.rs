//! Reads annotations in COCO's JSON: images, categories and labelled boxes.
//!
//! Entries are read one by one and leniently: an entry that is no such thing is counted and left out, the rest is kept. What
//! the score does not need (segmentations, licences) is skipped without being kept in memory.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::marker::PhantomData;
use std::path::Path;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::problems::Problems;
use crate::error::{Error, Result};
use crate::size::Size;

/// A labelled data set.
#[derive(Debug, Clone, Default)]
pub struct Annotations {
    /// The photographs, in the file's order.
    pub images: Vec<AnnotatedImage>,
    /// The classes, by rising id.
    pub categories: Vec<Category>,
    /// The labelled boxes, in the file's order.
    pub truths: Vec<Truth>,
    /// What was wrong with the file.
    pub problems: Problems,
}

/// A photograph of the data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnotatedImage {
    /// Its id.
    pub id: i64,
    /// Its file, relative to the folder of photographs.
    pub file_name: String,
    /// Its size in pixels, which its labels are in; where the file says it.
    pub size: Option<Size>,
}

/// A class of the data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Category {
    /// Its id.
    pub id: i64,
    /// Its name; empty where the file has none.
    pub name: String,
}

/// A labelled box.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Truth {
    /// Id of the photograph.
    pub image: i64,
    /// Id of the class.
    pub category: i64,
    /// Left, top, width and height in pixels.
    pub bounds: [f64; 4],
    /// Square pixels of the object, which decide whether it is small or large.
    pub area: f64,
    /// Whether it stands for a crowd: it counts neither as found nor as missed.
    pub crowd: bool,
}

/// An image that is no image: without an id or a name.
pub(super) const BAD_IMAGE: &str = "images without a whole number as id or without a file name, left out";
/// The id of an image stands twice.
pub(super) const SAME_IMAGE: &str = "images whose id stands twice, the later left out";
/// A category that is none.
pub(super) const BAD_CATEGORY: &str = "categories without a whole number as id, left out";
/// The id of a category stands twice.
pub(super) const SAME_CATEGORY: &str = "categories whose id stands twice, the later left out";
/// An annotation that is none.
pub(super) const BAD_ANNOTATION: &str =
    "annotations without a whole number as image and as category or without a box of four numbers, left out";
/// A box that has no inside.
pub(super) const EMPTY_BOX: &str = "annotations whose box has no width or no height";
/// An annotation of an image that is not there.
pub(super) const UNKNOWN_IMAGE: &str = "annotations of an image that is not listed, left out";
/// An annotation of a category that is not there.
pub(super) const UNKNOWN_CATEGORY: &str = "annotations of a category that is not listed, left out";
/// The same annotation twice.
pub(super) const SAME_ANNOTATION: &str = "annotations that stand twice, the later left out";
/// An id that two annotations share.
pub(super) const SHARED_ID: &str = "annotations that share their id with another, kept";
/// The area of an object is missing.
pub(super) const NO_AREA: &str = "annotations without an area, for which that of the box is taken";

impl Annotations {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is no JSON, or lacks one of its three lists. Faults of single entries are no errors but are in
    /// [`Annotations::problems`].
    pub fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| Error::ReadAnnotations { path: path.to_owned(), source })?;
        let mut text = BufReader::with_capacity(1 << 16, file);
        let start = text.fill_buf().map_err(|source| Error::ReadAnnotations { path: path.to_owned(), source })?;
        // A byte order mark, as Windows' editors write it.
        let mark = if start.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        text.consume(mark);
        serde_json::from_reader(text).map(Self::of).map_err(|error| Error::annotations(path, error))
    }

    /// Reads a file's text; `path` only names it in errors.
    ///
    /// # Errors
    /// As [`Annotations::read`].
    pub fn parse(text: &[u8], path: &Path) -> Result<Self> {
        serde_json::from_slice(text).map(Self::of).map_err(|error| Error::annotations(path, error))
    }

    fn of(raw: RawFile) -> Self {
        let mut problems = Problems::default();
        let images = images(raw.images, &mut problems);
        let categories = categories(raw.categories, &mut problems);
        let truths = truths(raw.annotations, &images, &categories, &mut problems);
        Self { images, categories, truths, problems }
    }
}

#[derive(Deserialize)]
struct RawFile {
    images: Lenient<RawImage>,
    annotations: Lenient<RawAnnotation>,
    categories: Lenient<RawCategory>,
}

#[derive(Deserialize)]
struct RawImage {
    #[serde(default, deserialize_with = "lenient")]
    id: Option<i64>,
    #[serde(default, deserialize_with = "lenient")]
    file_name: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    width: Option<u32>,
    #[serde(default, deserialize_with = "lenient")]
    height: Option<u32>,
}

#[derive(Deserialize)]
struct RawCategory {
    #[serde(default, deserialize_with = "lenient")]
    id: Option<i64>,
    #[serde(default, deserialize_with = "lenient")]
    name: Option<String>,
}

#[derive(Deserialize)]
struct RawAnnotation {
    #[serde(default, deserialize_with = "lenient")]
    id: Option<i64>,
    #[serde(default, deserialize_with = "lenient")]
    image_id: Option<i64>,
    #[serde(default, deserialize_with = "lenient")]
    category_id: Option<i64>,
    #[serde(default, deserialize_with = "lenient")]
    bbox: Option<[f64; 4]>,
    #[serde(default, deserialize_with = "lenient")]
    area: Option<f64>,
    #[serde(default, deserialize_with = "lenient")]
    iscrowd: Option<Flag>,
}

/// A truth value, or the number that JSON has in place of one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Truth(bool),
    Number(i64),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Perhaps<T> {
    It(T),
    Other(IgnoredAny),
}

/// A value, or nothing where it is of another type.
fn lenient<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(match Perhaps::deserialize(deserializer)? {
        Perhaps::It(value) => Some(value),
        Perhaps::Other(_) => None,
    })
}

/// A list with a place for each entry, empty where the entry is something else.
struct Lenient<T>(Vec<Option<T>>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
            type Value = Lenient<T>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(entry) = entries.next_element::<Perhaps<T>>()? {
                    list.push(match entry {
                        Perhaps::It(entry) => Some(entry),
                        Perhaps::Other(_) => None,
                    });
                }
                Ok(Lenient(list))
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

fn images(raw: Lenient<RawImage>, problems: &mut Problems) -> Vec<AnnotatedImage> {
    let mut known = HashSet::new();
    let mut images = Vec::with_capacity(raw.0.len());
    for (index, image) in raw.0.into_iter().enumerate() {
        let whole = |image: RawImage| {
            let size = image.width.zip(image.height).and_then(|(width, height)| Size::new(width, height).ok());
            Some(AnnotatedImage { id: image.id?, file_name: image.file_name?, size })
        };
        match image.and_then(whole) {
            None => problems.add(BAD_IMAGE, || format!("images[{index}]")),
            Some(AnnotatedImage { id, file_name, .. }) if !known.insert(id) => {
                problems.add(SAME_IMAGE, || format!("images[{index}], id {id}, {file_name}"))
            }
            Some(image) => images.push(image),
        }
    }
    images
}

fn categories(raw: Lenient<RawCategory>, problems: &mut Problems) -> Vec<Category> {
    let mut known = HashSet::new();
    let mut categories = Vec::with_capacity(raw.0.len());
    for (index, category) in raw.0.into_iter().enumerate() {
        match category.and_then(|category| Some((category.id?, category.name.unwrap_or_default()))) {
            None => problems.add(BAD_CATEGORY, || format!("categories[{index}]")),
            Some((id, name)) if !known.insert(id) => {
                problems.add(SAME_CATEGORY, || format!("categories[{index}], id {id}, {name}"))
            }
            Some((id, name)) => categories.push(Category { id, name }),
        }
    }
    categories.sort_by_key(|category| category.id);
    categories
}

fn truths(
    raw: Lenient<RawAnnotation>,
    images: &[AnnotatedImage],
    categories: &[Category],
    problems: &mut Problems,
) -> Vec<Truth> {
    let images: HashSet<i64> = images.iter().map(|image| image.id).collect();
    let categories: HashSet<i64> = categories.iter().map(|category| category.id).collect();
    let mut by_id: HashMap<i64, Truth> = HashMap::new();
    let mut truths = Vec::with_capacity(raw.0.len());
    for (index, annotation) in raw.0.into_iter().enumerate() {
        let place = || format!("annotations[{index}]");
        let id = annotation.as_ref().and_then(|annotation| annotation.id);
        let Some((truth, has_area)) = annotation.and_then(truth) else {
            problems.add(BAD_ANNOTATION, place);
            continue;
        };
        if !images.contains(&truth.image) {
            problems.add(UNKNOWN_IMAGE, || format!("{}, image {}", place(), truth.image));
            continue;
        }
        if !categories.contains(&truth.category) {
            problems.add(UNKNOWN_CATEGORY, || format!("{}, category {}", place(), truth.category));
            continue;
        }
        if let Some(id) = id {
            match by_id.insert(id, truth) {
                Some(earlier) if earlier == truth => {
                    problems.add(SAME_ANNOTATION, || format!("{}, id {id}", place()));
                    continue;
                }
                Some(_) => problems.add(SHARED_ID, || format!("{}, id {id}", place())),
                None => {}
            }
        }
        if !has_area {
            problems.add(NO_AREA, place);
        }
        if truth.bounds[2] == 0.0 || truth.bounds[3] == 0.0 {
            problems.add(EMPTY_BOX, place);
        }
        truths.push(truth);
    }
    truths
}

/// The labelled box, and whether its area was told; nothing where it is none.
fn truth(raw: RawAnnotation) -> Option<(Truth, bool)> {
    let bounds = raw.bbox?;
    let usable = bounds.iter().all(|side| side.is_finite()) && bounds[2] >= 0.0 && bounds[3] >= 0.0;
    if !usable {
        return None;
    }
    let area = raw.area.filter(|area| area.is_finite() && *area >= 0.0);
    let crowd = match raw.iscrowd {
        Some(Flag::Truth(crowd)) => crowd,
        Some(Flag::Number(number)) => number != 0,
        None => false,
    };
    let truth = Truth {
        image: raw.image_id?,
        category: raw.category_id?,
        bounds,
        area: area.unwrap_or(bounds[2] * bounds[3]),
        crowd,
    };
    Some((truth, area.is_some()))
}
