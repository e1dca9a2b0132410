//! The page: its head, its sections in order, what leads to them.

use super::elements::section;
use super::sources::Sources;
use super::{MARK, accuracy, glance, measured, memory, precision, provenance};
use anyhow::Result;
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Nothing is loaded from anywhere, whatever a name in a model may say.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("search.js");

/// A report, ready to be written.
pub struct Page {
    title: String,
    glance: Markup,
    sections: Vec<Section>,
}

struct Section {
    id: &'static str,
    title: &'static str,
    content: Markup,
}

impl Page {
    /// Makes every section that there is something for.
    ///
    /// # Errors
    /// When a plot cannot be drawn.
    pub fn of(sources: &Sources) -> Result<Self> {
        let manifest = &sources.manifest;
        let parts = [
            ("precision", "Precision", Some(precision::precision(manifest))),
            ("accuracy", "Accuracy", Some(accuracy::accuracy(manifest))),
            ("memory", "Memory", Some(memory::memory(sources)?)),
            ("stages", "Stages", provenance::stages(&sources.manifest.stages)),
            ("calibration", "Calibration", precision::calibration(manifest)),
            ("shapes", "Shapes", Some(provenance::shapes(manifest))),
            ("timings", "Time of the build", Some(provenance::timings(manifest))),
            ("bench", "Throughput and latency", sources.bench.as_ref().map(measured::bench).transpose()?),
            ("soak", "Leaks", sources.soak.as_ref().map(measured::soak)),
            ("monitor", "Memory over time", sources.monitor.as_ref().map(measured::monitor).transpose()?),
            ("origin", "Origin", Some(provenance::origin(sources))),
        ];
        let sections =
            parts.into_iter().filter_map(|(id, title, content)| Some(Section { id, title, content: content? }));
        Ok(Self { title: sources.name.clone(), glance: glance::glance(manifest), sections: sections.collect() })
    }

    /// Names of its sections, as links to them have them.
    pub fn sections(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.sections.iter().map(|section| section.id)
    }

    /// The whole page.
    pub fn html(&self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    (PreEscaped(MARK))
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " – trtforge" }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header {
                        h1 { (self.title) }
                        (self.glance)
                        nav aria-label="Sections" {
                            @for section in &self.sections { a href={ "#" (section.id) } { (section.title) } " " }
                        }
                    }
                    main { @for it in &self.sections { (section(it.id, it.title, &it.content)) } }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        };
        page.into_string() + "\n"
    }
}
