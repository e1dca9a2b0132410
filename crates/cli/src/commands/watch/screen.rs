//! The terminal: taken over at the start, given back at the end, whatever happens.

use super::feed::Feed;
use super::{Display, End, summary, view};
use crate::standard_output;
use anyhow::{Context, Result};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use std::time::{Duration, Instant};
use trtforge_builder::CancelFlag;
use trtforge_runtime::monitor::Recording;

/// Longest wait for a key, between which SIGTERM is looked for.
const PIECE: Duration = Duration::from_millis(100);

/// The whole terminal.
pub struct Screen {
    terminal: Option<DefaultTerminal>,
    cancel: CancelFlag,
}

impl Screen {
    /// Takes the terminal over. A panic gives it back, too.
    ///
    /// # Errors
    /// It cannot be drawn on.
    pub fn new(cancel: CancelFlag) -> Result<Self> {
        Ok(Self { terminal: Some(ratatui::try_init().context("cannot draw on this terminal")?), cancel })
    }

    fn give_back(&mut self) -> Result<()> {
        match self.terminal.take() {
            Some(_) => ratatui::try_restore().context("cannot give the terminal back"),
            None => Ok(()),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Where it has gone there is nothing to give back.
        let _ = self.give_back();
    }
}

impl Display for Screen {
    fn show(&mut self, feed: &Feed) -> Result<()> {
        if let Some(terminal) = &mut self.terminal {
            let (pid, rate) = (feed.pid(), feed.rate());
            terminal.draw(|frame| view::draw(frame, pid, feed.recorder(), rate)).context("cannot draw")?;
        }
        Ok(())
    }

    fn wait(&mut self, until: Instant) -> Result<bool> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if self.cancel.is_cancelled() {
                return Ok(true);
            }
            if event::poll(left.min(PIECE)).context("cannot read from the terminal")? {
                match event::read().context("cannot read from the terminal")? {
                    event if ends(&event) => return Ok(true),
                    // The next look draws at the new size; that need not wait for it.
                    Event::Resize(..) => return Ok(false),
                    _ => {}
                }
            }
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    fn end(&mut self, recording: &Recording, end: End) -> Result<()> {
        self.give_back()?;
        standard_output::write(summary(recording, end))
    }
}

fn ends(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press && (interrupt || matches!(key.code, KeyCode::Char('q' | 'Q') | KeyCode::Esc))
}
