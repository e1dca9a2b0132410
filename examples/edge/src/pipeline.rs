//! Frames through the network, in memory that is settled at the start.
//!
//! This thread takes frames and fills inputs; the batcher's runs what waits together; a third makes boxes of answers. What
//! goes round are a fixed number of samples: a frame that comes while all are under way is dropped, because a camera does
//! not wait and an old frame is of no use.

use crate::camera::Camera;
use crate::detector::Detector;
use anyhow::{Context, Error, Result, anyhow};
use hdrhistogram::Histogram;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::Instant;
use trtforge_runtime::monitor::Counters;
use trtforge_runtime::{Batcher, Response, Sample, SessionEngine};
use trtforge_vision::{ClassNames, Placement, RgbImage, Size, annotate, encode_image, read_image};

/// Latencies are told apart up to a minute, in microseconds, to three digits.
const LONGEST_US: u64 = 60_000_000;

/// What runs frames.
pub struct Pipeline {
    /// What surrounds the network.
    pub detector: Detector,
    /// The network.
    pub batcher: Batcher<SessionEngine>,
    /// Samples that go round: frames under way at most.
    pub samples: usize,
    /// Names for labels.
    pub classes: ClassNames,
    /// Folder for frames with boxes drawn.
    pub out: Option<PathBuf>,
    /// Counts inferences for the monitor.
    pub counters: Counters,
}

/// What came of it.
pub struct Outcome {
    /// Frames in which objects were looked for.
    pub looked_at: u64,
    /// Pictures that could not be read.
    pub unreadable: u64,
    /// Runs of the network.
    pub batches: u64,
    /// Objects found.
    pub objects: u64,
    /// From a frame's coming to its boxes, in microseconds.
    pub latency_us: Histogram<u64>,
}

/// A frame that is under way.
struct Pending {
    response: Response<Sample>,
    number: u64,
    taken: Instant,
    placement: Placement,
    size: Size,
    /// Kept where it is drawn into.
    image: Option<RgbImage>,
}

impl Pipeline {
    /// Takes frames until the camera ends or `stop` says so, then finishes those under way.
    pub fn run(self, camera: &mut Camera, stop: &Receiver<()>) -> Result<Outcome> {
        let (give_back, free) = channel();
        (0..self.samples).try_for_each(|_| give_back.send(Sample::default()))?;
        let (to_boxes, pending) = channel();
        let (unreadable, outcome) = thread::scope(|scope| {
            let boxes = scope.spawn(|| self.make_boxes(pending, give_back));
            let taken = self.take_frames(camera, stop, &free, to_boxes);
            let outcome = boxes.join().map_err(|_| anyhow!("the thread that makes boxes panicked"));
            Ok::<_, Error>((taken?, outcome??))
        })?;
        let batches = self.batcher.statistics().batches;
        // Every frame has its answer by now; this ends the batcher's thread, and with it the session.
        self.batcher.finish();
        Ok(Outcome { unreadable, batches, ..outcome })
    }

    /// Hands frames to the batcher; the number of pictures that could not be read.
    fn take_frames(
        &self,
        camera: &mut Camera,
        stop: &Receiver<()>,
        free: &Receiver<Sample>,
        to_boxes: Sender<Pending>,
    ) -> Result<u64> {
        let (mut tensor, mut spare, mut unreadable) = (Vec::new(), None, 0);
        while let Some(shot) = camera.wait(stop) {
            let mut sample = match spare.take().map_or_else(|| free.try_recv(), Ok) {
                Ok(sample) => sample,
                // All are under way: the frame is dropped.
                Err(TryRecvError::Empty) => continue,
                // Why nobody gives any back is told where the thread is joined.
                Err(TryRecvError::Disconnected) => break,
            };
            let image = match read_image(shot.picture) {
                Ok(image) => image,
                Err(error) => {
                    eprintln!("frame {}: {:#}", shot.number, Error::from(error));
                    unreadable += 1;
                    spare = Some(sample);
                    continue;
                }
            };
            let placement = self.detector.fill(&image, &mut tensor, &mut sample)?;
            let frame = Pending {
                response: self.batcher.submit(sample)?,
                number: shot.number,
                taken: shot.taken,
                placement,
                size: Size::new(image.width(), image.height())?,
                image: self.out.is_some().then_some(image),
            };
            if to_boxes.send(frame).is_err() {
                break;
            }
        }
        Ok(unreadable)
    }

    /// Makes boxes of answers, in the order of the frames, and gives samples back.
    fn make_boxes(&self, pending: Receiver<Pending>, give_back: Sender<Sample>) -> Result<Outcome> {
        let latency_us = Histogram::new_with_bounds(1, LONGEST_US, 3)?;
        let mut outcome = Outcome { looked_at: 0, unreadable: 0, batches: 0, objects: 0, latency_us };
        let mut scratch = self.detector.scratch();
        for frame in pending {
            let answer = frame.response.wait()?;
            let detections = self.detector.boxes(&answer, &frame.placement, frame.size, &mut scratch)?;
            outcome.latency_us.saturating_record(frame.taken.elapsed().as_micros() as u64);
            outcome.looked_at += 1;
            outcome.objects += detections.len() as u64;
            self.counters.ran(1);
            // Once the camera is off, nobody takes it.
            let _ = give_back.send(answer);
            if let (Some(mut image), Some(folder)) = (frame.image, &self.out) {
                annotate(&mut image, &detections, &self.classes);
                let file = folder.join(format!("{:08}.jpg", frame.number));
                let written = std::fs::write(&file, encode_image(&image, &file)?);
                written.with_context(|| format!("cannot write {}", file.display()))?;
            }
        }
        Ok(outcome)
    }
}
