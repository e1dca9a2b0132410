//! A run of a model that is watched: always shown to `trtforge watch`, and recorded where that is asked for.
//!
//! Showing is not a choice: whoever wants to look at a process finds out when it already runs. It takes one write of a
//! few kilobytes to a file in memory each 100 ms, and no allocation.

use crate::args::monitor::MonitorArgs;
use crate::progress::Terminal;
use crate::recording_files::RecordingFiles;
use anyhow::Result;
use std::path::Path;
use trtforge_builder::Progress;
use trtforge_runtime::Engine;
use trtforge_runtime::monitor::{Counters, MeetingPlace, Monitor, MonitorOptions, OwnSource};

/// A run that is watched.
#[derive(Debug)]
pub struct Monitored {
    monitor: Monitor,
    files: RecordingFiles,
    recorded: bool,
}

impl Monitored {
    /// Begins to watch what `command` does with `engine`, which is of `file`.
    ///
    /// # Errors
    /// A recording cannot be written where it is wanted, or the system gives no thread.
    pub fn start(args: &MonitorArgs, command: &str, file: &Path, engine: &Engine) -> Result<Self> {
        let files = RecordingFiles::prepare(&args.monitor, Some(file))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let options = MonitorOptions { shown: MeetingPlace::of_user().ok(), ..MonitorOptions::default() };
        let monitor = Monitor::start(&format!("{command} {name}"), OwnSource::engine(engine)?, options)?;
        Ok(Self { monitor, files, recorded: !args.monitor.is_empty() })
    }

    /// What inferences are counted with.
    pub fn counters(&self) -> Counters {
        self.monitor.counters()
    }

    /// Notes an event.
    pub fn mark(&self, label: &str) {
        self.monitor.mark(label);
    }

    /// Ends it and writes the recording; says how complete that is.
    ///
    /// # Errors
    /// The recording cannot be written.
    pub fn finish(self, terminal: &Terminal) -> Result<()> {
        let recording = self.monitor.finish();
        if self.recorded {
            recording.notes().iter().for_each(|note| terminal.note(note));
        }
        self.files.write(&recording)
    }
}
