//! Watching memory while an application runs: samples on a thread of their own, recorded and shown to other processes.
//!
//! ```
//! # use trtforge_runtime::{Call, ElementType, Engine, Function, Request, Result, Signature, TensorInfo};
//! # struct Copy;
//! # impl Function for Copy {
//! #     fn signature(&self) -> Signature {
//! #         let tensor = |name| vec![TensorInfo::batched(name, ElementType::Float32, &[2])];
//! #         Signature { inputs: tensor("x"), outputs: tensor("y"), profiles: Vec::new() }
//! #     }
//! #     fn run(&self, _: Call<'_>) -> Result<()> {
//! #         Ok(())
//! #     }
//! # }
//! use trtforge_runtime::monitor::{Monitor, MonitorOptions, OwnSource, Quantity};
//!
//! let engine = Engine::function("copy", Copy)?;
//! let monitor = Monitor::start("copying", OwnSource::engine(&engine)?, MonitorOptions::default())?;
//! let counters = monitor.counters();
//! let mut session = engine.session(Request::batch(4).into())?;
//! monitor.mark("session made");
//! session.run()?;
//! counters.ran(4);
//! let recording = monitor.finish();
//! assert_eq!(recording.last(Quantity::Inferences), Some(4));
//! println!("{:?} bytes of the process at most", recording.most(Quantity::Resident));
//! recording.write_csv(std::io::sink())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A recording has a fixed size ([`MonitorOptions::buckets`]) and covers the whole run: where it is full, neighbouring samples
//! are put together, and each point keeps the least, the most and the last of its samples ([`Timeline`]).
//!
//! A sample takes some tens of microseconds and allocates nothing. What goes wrong on the way of one, a panic
//! included, is told by the recording at its end, and never to whoever runs inferences. With
//! [`MonitorOptions::shown`] other processes of the same user, such as `trtforge watch`, see the newest sample.

mod bucket;
mod counters;
#[cfg(feature = "cuda")]
mod gpu_processes;
mod mark;
mod meeting_place;
mod published;
mod publisher;
mod quantity;
mod recorder;
mod recording;
mod sample;
mod sampling;
mod snapshot;
mod source;
mod timeline;
mod values;

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

pub use bucket::Bucket;
pub use counters::Counters;
pub use mark::{LONGEST_LABEL, Mark};
pub use meeting_place::MeetingPlace;
pub use published::Published;
pub use quantity::Quantity;
pub use recorder::{Faults, Recorder};
pub use recording::{Form, KIND, Recording, SCHEMA};
pub use sample::Sample;
pub use snapshot::Snapshot;
pub use source::{OwnSource, ProcessSource, Source};
pub use timeline::Timeline;
pub use values::Values;

use publisher::Publisher;
use sampling::{Sampling, Shared};

use crate::error::{Error, Result};

/// How a monitor works.
#[derive(Debug, Clone)]
pub struct MonitorOptions {
    /// Time from one sample to the next.
    pub interval: Duration,
    /// Points that a recording has at most; each takes 464 bytes, allocated at the start.
    pub buckets: usize,
    /// Marks that a recording has at most.
    pub marks: usize,
    /// Where other processes can see the newest sample; nowhere without.
    pub shown: Option<MeetingPlace>,
}

impl Default for MonitorOptions {
    /// A sample each 100 ms, 2,048 points, 256 marks, not shown.
    fn default() -> Self {
        Self { interval: Duration::from_millis(100), buckets: 2048, marks: 256, shown: None }
    }
}

/// Samples on a thread of its own until it is finished or dropped.
#[derive(Debug)]
pub struct Monitor {
    shared: Arc<Shared>,
    counters: Counters,
    thread: Option<JoinHandle<()>>,
}

impl Monitor {
    /// Begins to sample `source`; `title` says what the process does. The first sample is taken before this
    /// returns, the last at the end.
    ///
    /// That the process cannot be shown to others is no error here: the recording tells it.
    ///
    /// # Errors
    /// [`Error::Request`] for an interval of zero, [`Error::Device`] where the system gives no thread.
    pub fn start(title: &str, source: impl Source, options: MonitorOptions) -> Result<Self> {
        if options.interval.is_zero() {
            let reason = "it is the time between two samples";
            return Err(Error::Request { what: "the monitor's interval", value: 0, reason });
        }
        let mut recorder = Recorder::new(title, &options);
        let publisher = options.shown.as_ref().map(|place| Publisher::create(place, title, options.interval));
        let publisher = publisher.transpose().unwrap_or_else(|error| {
            recorder.not_published(error);
            None
        });
        let (counters, start) = (Counters::default(), Instant::now());
        let shared = Arc::new(Shared::new(recorder, start));
        let sampling = Sampling::new(source, publisher, counters.clone(), Arc::clone(&shared), options.interval);
        let thread = Builder::new().name("trtforge-monitor".to_owned()).spawn(move || sampling.run());
        let refused = |error: std::io::Error| Error::Device {
            device: "host".to_owned(),
            call: "start of a thread",
            reason: error.to_string(),
        };
        let thread = Some(thread.map_err(refused)?);
        shared.wait_for_first();
        Ok(Self { shared, counters, thread })
    }

    /// What the application counts its runs with.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters.clone()
    }

    /// Notes an event, now. Labels are cut to [`LONGEST_LABEL`] characters.
    pub fn mark(&self, label: &str) {
        self.shared.mark(label);
    }

    /// The latest sample; nothing before the first.
    #[must_use]
    pub fn latest(&self) -> Option<Sample> {
        self.shared.latest()
    }

    /// Takes a last sample, stops and gives what was recorded.
    #[must_use]
    pub fn finish(mut self) -> Recording {
        self.stop();
        self.shared.take().finish()
    }

    fn stop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            // Panics of the source are caught and noted on the thread itself.
            let _ = thread.join();
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.stop();
    }
}
