//! What every section is made of: tables, bars, figures. Text is escaped by the template; nothing else writes into a page.

use maud::{Markup, PreEscaped, html};

/// Tables of more columns are wider than a narrow screen, and scroll.
const BROAD: usize = 4;

/// A cell of a table.
pub enum Cell {
    /// Text, broken where it is long.
    Text(String),
    /// A figure, to the right.
    Number(String),
    /// A figure with a bar of this share of the width.
    Bar(String, f64),
    /// Something that is marked up already.
    Marked(Markup),
}

/// Text.
pub fn text(text: impl Into<String>) -> Cell {
    Cell::Text(text.into())
}

/// A figure.
pub fn number(number: impl ToString) -> Cell {
    Cell::Number(number.to_string())
}

/// A section with a heading.
pub fn section(id: &str, title: &str, content: &Markup) -> Markup {
    html! { section id=(id) { h2 { (title) } (content) } }
}

/// A table; headers that start with `>` are above figures. Nothing where it has no rows.
pub fn table(caption: &str, headers: &[&str], rows: Vec<Vec<Cell>>) -> Markup {
    searchable_table(caption, headers, rows, None)
}

/// As [`table`]; `search` is what the field says that rows are looked for by.
pub fn searchable_table(caption: &str, headers: &[&str], rows: Vec<Vec<Cell>>, search: Option<&str>) -> Markup {
    if rows.is_empty() {
        return html! {};
    }
    html! {
        div.searchable[search.is_some()] {
            @if let Some(search) = search {
                label.search hidden { (search) " " input type="search" autocomplete="off" spellcheck="false"; output {} }
            }
            div.scroll tabindex="0" role="region" aria-label=(caption) {
                table.broad[headers.len() > BROAD] {
                    caption { (caption) }
                    thead { tr {
                        @for header in headers {
                            @match header.strip_prefix('>') {
                                Some(name) => th.number scope="col" { (name) },
                                None => th scope="col" { (header) },
                            }
                        }
                    } }
                    tbody { @for row in &rows { tr { @for cell in row { (self::cell(cell)) } } } }
                }
            }
        }
    }
}

fn cell(cell: &Cell) -> Markup {
    match cell {
        Cell::Text(text) => html! { td { (text) } },
        Cell::Number(number) => html! { td.number { (number) } },
        Cell::Bar(number, share) => html! {
            td.number.barred { span.value { (number) } span.bar aria-hidden="true" { span style=(width(*share)) {} } }
        },
        Cell::Marked(markup) => html! { td { (markup) } },
    }
}

/// A width in per cent, for a style.
pub fn width(share: f64) -> String {
    format!("width:{:.2}%", 100.0 * if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 })
}

/// A picture drawn by [`crate::plots`], for wide and for narrow screens, with what it shows in words.
pub fn figure(description: &str, wide: String, narrow: String) -> Markup {
    html! {
        figure {
            div.plot.wide role="img" aria-label=(description) { (PreEscaped(wide)) }
            div.plot.narrow role="img" aria-label=(description) { (PreEscaped(narrow)) }
            figcaption { (description) }
        }
    }
}

/// A picture that is scrolled over on a narrow screen, with what it shows in words.
pub fn broad_figure(description: &str, picture: String) -> Markup {
    html! {
        figure {
            div.scroll.plot tabindex="0" role="img" aria-label=(description) { (PreEscaped(picture)) }
            figcaption { (description) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_wherever_they_stand() {
        let name = "<script>\"&'";
        let rows = vec![vec![text(name), number(name), Cell::Bar(name.into(), 0.5)]];
        let page = table(name, &[name], rows).into_string() + &section("s", name, &html! {}).into_string();
        assert!(!page.contains("<script") && !page.contains("\"&'"), "{page}");
        assert_eq!(page.matches("&lt;script&gt;&quot;&amp;'").count(), 7, "{page}");
    }

    #[test]
    fn widths_stay_within_their_place() {
        let widths = [0.5, -1.0, 7.0, f64::NAN].map(width);
        assert_eq!(widths, ["width:50.00%", "width:0.00%", "width:100.00%", "width:0.00%"]);
    }
}
