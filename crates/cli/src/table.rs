//! Plain tables: columns as wide as their widest cell, two spaces between them, nothing drawn around.
//!
//! No line is ever cut: what goes through `grep` or into a file must be whole.

/// Which side of its column a cell leans to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows of cells under headers.
#[derive(Debug)]
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows; a header that starts with `>` makes a right-aligned column.
    pub fn new(headers: &[&str]) -> Self {
        let column = |header: &&str| match header.strip_prefix('>') {
            Some(name) => (name.to_owned(), Align::Right),
            None => ((*header).to_owned(), Align::Left),
        };
        Self { columns: headers.iter().map(column).collect(), rows: Vec::new() }
    }

    /// Adds a row; missing cells are empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// True when no row was added.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text, each line ended; headers that are all empty are left out.
    pub fn render(&self) -> String {
        let headers: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let widths = self.widths(&headers);
        let mut text = String::new();
        if headers.iter().any(|name| !name.is_empty()) {
            text += &self.line(&headers, &widths);
        }
        self.rows.iter().for_each(|row| text += &self.line(row, &widths));
        text
    }

    fn widths(&self, headers: &[String]) -> Vec<usize> {
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column)).chain(headers.get(column));
        let width = |column| cells(column).map(|cell| cell.chars().count()).max().unwrap_or(0);
        (0..self.columns.len()).map(width).collect()
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (column, ((_, align), width)) in self.columns.iter().zip(widths).enumerate() {
            let cell = cells.get(column).map_or("", String::as_str);
            let gap = if column == 0 { "" } else { "  " };
            line += gap;
            line += &match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            };
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }
}

/// Two columns without headers: what a thing is called and what it is.
pub fn pairs(rows: &[(&str, String)]) -> String {
    let mut table = Table::new(&["", ""]);
    rows.iter().for_each(|(name, value)| table.row([(*name).to_owned(), value.clone()]));
    table.render()
}

/// A count for people: `12 345 678`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_do_not_trail() {
        let mut table = Table::new(&["name", ">count", "note"]);
        table.row(["Conv", "12", ""]);
        table.row(["GlobalAveragePool", "1", "ü"]);
        table.row(["Add"]);
        assert_eq!(
            table.render(),
            "name               count  note\n\
             Conv                  12\n\
             GlobalAveragePool      1  ü\n\
             Add\n"
        );
    }

    #[test]
    fn pairs_have_no_header() {
        assert_eq!(pairs(&[("a", "1".into()), ("long", "2".into())]), "a     1\nlong  2\n");
    }

    #[test]
    fn digits_are_grouped_from_the_right() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1 000"), (12_345_678, "12 345 678")] {
            assert_eq!(grouped(number), text);
        }
    }
}
