//! A dictionary or list of strings as Python prints it, read without trusting it.

use super::MOST_CLASSES;

/// The strings by their keys, or by their places in a list; nothing where the text is something else.
pub(super) fn names(text: &str) -> Option<Vec<String>> {
    let text = text.trim();
    let is_list = text.starts_with('[');
    let (open, close) = if is_list { ('[', ']') } else { ('{', '}') };
    let mut rest = text.strip_prefix(open)?.strip_suffix(close)?.trim_start();
    let mut names: Vec<String> = Vec::new();
    while !rest.is_empty() {
        let mut place = names.len();
        if !is_list {
            let (key, behind) = rest.split_once(':')?;
            place = key.trim().trim_matches(['\'', '"']).parse().ok()?;
            rest = behind.trim_start();
        }
        if place >= MOST_CLASSES {
            return None;
        }
        names.resize(names.len().max(place + 1), String::new());
        (names[place], rest) = string(rest)?;
        rest = rest.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(behind) => behind.trim_start(),
            None if rest.is_empty() => rest,
            None => return None,
        };
    }
    Some(names)
}

/// A quoted string at the beginning, and what is behind it. A backslash stands for the character after it.
fn string(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|quote| ['\'', '"'].contains(quote))?;
    let mut string = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => string.push(characters.next()?.1),
            _ if character == quote => return Some((string, &text[at + quote.len_utf8()..])),
            _ => string.push(character),
        }
    }
    None
}
