//! A folder of pictures as a camera: a picture each period, over and over, whether anybody looks or not.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use trtforge_vision::{IMAGE_EXTENSIONS, images_in};

/// Shows pictures at a rate.
pub struct Camera {
    pictures: Vec<PathBuf>,
    period: Duration,
    /// Frames that it shows before it is switched off.
    frames: u64,
    started: Instant,
    next: u64,
}

/// A picture that the camera shows.
pub struct Shot<'c> {
    /// Its number, from 0; numbers in between are frames that nobody looked at.
    pub number: u64,
    /// The picture.
    pub picture: &'c Path,
    /// When it came.
    pub taken: Instant,
}

impl Camera {
    /// A camera that shows the pictures of a folder, by name.
    pub fn open(folder: &Path, per_second: f64, frames: u64) -> Result<Self> {
        let pictures = images_in(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        ensure!(!pictures.is_empty(), "no pictures in {} ({})", folder.display(), IMAGE_EXTENSIONS.join(", "));
        let period = Duration::from_secs_f64(1.0 / per_second);
        Ok(Self { pictures, period, frames, started: Instant::now(), next: 0 })
    }

    /// Waits for the next frame; those that came and went since the last call are missed. Nothing at the end, and as soon as
    /// `stop` says so.
    pub fn wait(&mut self, stop: &Receiver<()>) -> Option<Shot<'_>> {
        let passed = (self.started.elapsed().as_secs_f64() / self.period.as_secs_f64()) as u64;
        let number = self.next.max(passed);
        if number >= self.frames {
            self.next = self.frames;
            return None;
        }
        let taken = self.started + self.period.mul_f64(number as f64);
        if stop.recv_timeout(taken.saturating_duration_since(Instant::now())) != Err(RecvTimeoutError::Timeout) {
            return None;
        }
        self.next = number + 1;
        let picture = &self.pictures[(number % self.pictures.len() as u64) as usize];
        Some(Shot { number, picture, taken })
    }

    /// Frames shown so far, those that nobody looked at among them.
    pub fn shown(&self) -> u64 {
        self.next
    }
}
