//! Names of classes.

use std::path::Path;

mod literal;

use crate::error::{Error, Result};

/// Classes that a network can have; a number beyond is believed of none.
pub(crate) const MOST_CLASSES: usize = 1 << 16;

/// The names of a network's classes, by number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClassNames(Vec<String>);

impl ClassNames {
    /// COCO's 80 classes, in the order that detectors are trained with.
    pub fn coco() -> Self {
        Self(COCO.iter().map(|(_, name)| (*name).to_owned()).collect())
    }

    /// `coco`, or else a text file with one name a line.
    ///
    /// # Errors
    /// As [`ClassNames::read`].
    pub fn named_or_read(text: &Path) -> Result<Self> {
        if text.as_os_str().eq_ignore_ascii_case("coco") { Ok(Self::coco()) } else { Self::read(text) }
    }

    /// Reads a text file with one name a line; empty lines at the end do not count.
    ///
    /// # Errors
    /// It cannot be read as text, or is empty.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|source| Error::ReadClasses { path: path.to_owned(), source })?;
        let mut names: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        names.truncate(names.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1));
        if names.is_empty() { Err(Error::NoClasses { path: path.to_owned() }) } else { Ok(Self(names)) }
    }

    /// Reads the names that a model carries about itself: `{0: 'person', 1: 'bicycle'}`, as ultralytics writes Python's
    /// dictionaries, or a list. Nothing where the text is neither, or names no class.
    pub fn of_metadata(text: &str) -> Option<Self> {
        let names = literal::names(text)?;
        (!names.is_empty()).then_some(Self(names))
    }

    /// How many classes have a name.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name of a class, where it has one.
    pub fn get(&self, class: u32) -> Option<&str> {
        self.0.get(class as usize).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// The name of a class, or its number in words.
    pub fn label(&self, class: u32) -> String {
        self.get(class).map_or_else(|| format!("class {class}"), str::to_owned)
    }

    /// The class of that name, whatever the case of its letters; nothing has no name.
    pub fn find(&self, name: &str) -> Option<u32> {
        if name.is_empty() {
            return None;
        }
        let found = self.0.iter().position(|known| known.eq_ignore_ascii_case(name))?;
        u32::try_from(found).ok()
    }
}

/// The id that COCO's own files give the class of that number: 1 to 90, with gaps.
pub fn coco_category_id(class: u32) -> Option<i64> {
    COCO.get(class as usize).map(|(id, _)| i64::from(*id))
}

const COCO: [(u8, &str); 80] = [
    (1, "person"),
    (2, "bicycle"),
    (3, "car"),
    (4, "motorcycle"),
    (5, "airplane"),
    (6, "bus"),
    (7, "train"),
    (8, "truck"),
    (9, "boat"),
    (10, "traffic light"),
    (11, "fire hydrant"),
    (13, "stop sign"),
    (14, "parking meter"),
    (15, "bench"),
    (16, "bird"),
    (17, "cat"),
    (18, "dog"),
    (19, "horse"),
    (20, "sheep"),
    (21, "cow"),
    (22, "elephant"),
    (23, "bear"),
    (24, "zebra"),
    (25, "giraffe"),
    (27, "backpack"),
    (28, "umbrella"),
    (31, "handbag"),
    (32, "tie"),
    (33, "suitcase"),
    (34, "frisbee"),
    (35, "skis"),
    (36, "snowboard"),
    (37, "sports ball"),
    (38, "kite"),
    (39, "baseball bat"),
    (40, "baseball glove"),
    (41, "skateboard"),
    (42, "surfboard"),
    (43, "tennis racket"),
    (44, "bottle"),
    (46, "wine glass"),
    (47, "cup"),
    (48, "fork"),
    (49, "knife"),
    (50, "spoon"),
    (51, "bowl"),
    (52, "banana"),
    (53, "apple"),
    (54, "sandwich"),
    (55, "orange"),
    (56, "broccoli"),
    (57, "carrot"),
    (58, "hot dog"),
    (59, "pizza"),
    (60, "donut"),
    (61, "cake"),
    (62, "chair"),
    (63, "couch"),
    (64, "potted plant"),
    (65, "bed"),
    (67, "dining table"),
    (70, "toilet"),
    (72, "tv"),
    (73, "laptop"),
    (74, "mouse"),
    (75, "remote"),
    (76, "keyboard"),
    (77, "cell phone"),
    (78, "microwave"),
    (79, "oven"),
    (80, "toaster"),
    (81, "sink"),
    (82, "refrigerator"),
    (84, "book"),
    (85, "clock"),
    (86, "vase"),
    (87, "scissors"),
    (88, "teddy bear"),
    (89, "hair drier"),
    (90, "toothbrush"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_belong_together() {
        let names = ClassNames::coco();
        assert_eq!((names.len(), names.get(0), names.get(79)), (80, Some("person"), Some("toothbrush")));
        assert_eq!((names.find("Traffic Light"), names.find("lorry")), (Some(9), None));
        assert_eq!(
            (names.label(80).as_str(), coco_category_id(79), coco_category_id(80)),
            ("class 80", Some(90), None)
        );
        assert!(COCO.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn a_model_tells_its_names() {
        let read = |text: &str| ClassNames::of_metadata(text).map(|names| names.0);
        assert_eq!(read("{0: 'person', 1: \"driver's seat\"}").unwrap(), ["person", "driver's seat"]);
        assert_eq!(read("{2:'c' ,0 : 'a\\'s',}").unwrap(), ["a's", "", "c"]);
        assert_eq!(read(r#"{"0": "person", "1": "bicycle"}"#).unwrap(), ["person", "bicycle"]);
        assert_eq!(read(" ['a', 'b'] ").unwrap(), ["a", "b"]);
        for wrong in [
            "",
            "{}",
            "[]",
            "person",
            "{0: 'a'",
            "{0: 'a} ",
            "{'x': 'a'}",
            "{0 'a'}",
            "{-1: 'a'}",
            "{99999999: 'a'}",
            "[0]",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_file_has_a_name_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names.txt");
        std::fs::write(&path, "face\r\n\nhand \n\n\n").unwrap();
        let names = ClassNames::named_or_read(&path).unwrap();
        assert_eq!((names.len(), names.get(0), names.get(1), names.get(2)), (3, Some("face"), None, Some("hand")));
        assert_eq!(ClassNames::named_or_read(Path::new("COCO")).unwrap(), ClassNames::coco());
        std::fs::write(&path, "\n\n").unwrap();
        assert!(matches!(ClassNames::read(&path), Err(Error::NoClasses { .. })));
        std::fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
        assert!(matches!(ClassNames::read(&path), Err(Error::ReadClasses { .. })));
    }
}
