//! From files to answers, in the order of the files, in memory that does not grow with their number.
//!
//! Each lane has a track: readers, then the lane itself, then finishers, a thread each, joined by queues of one place. Batches
//! go to tracks in turn, and within a track to readers and finishers in turn, so whoever takes answers in turn has them in
//! order without keeping any back. A queue that is full makes the one before it wait; a queue whose other end has gone ends
//! the thread.

use super::lane::Lane;
use super::network::Network;
use super::photo::{Answer, Photo, Prepared};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, Scope};
use trtforge_builder::{CancelFlag, Error, Unreadable};
use trtforge_vision::{Size, read_image};

/// Finishers, or readers of one lane on a GPU: as many as a GPU can keep busy, within reason.
const MOST_READERS: usize = 8;

/// What is to be done.
pub struct Job<'j> {
    /// The detector.
    pub network: &'j Network,
    /// The photographs.
    pub files: &'j [PathBuf],
    /// Whether pixels are still needed when everything was found.
    pub keep_pixels: bool,
    /// Stops the work.
    pub cancel: &'j CancelFlag,
}

/// Runs the detector over all files. `finish` works on answers on several threads; `take` gets them in the order of the
/// files.
///
/// # Errors
/// The first error of any part.
pub fn run(
    job: &Job<'_>,
    finish: impl Fn(&mut Answer) -> Result<()> + Sync,
    mut take: impl FnMut(Answer) -> Result<()>,
) -> Result<()> {
    let network = job.network;
    let batches = job.files.len().div_ceil(network.inputs.batch());
    let lanes: Vec<Lane<'_>> = (0..network.lanes).map(|_| Lane::new(network)).collect::<Result<_>>()?;
    let helpers = helpers(network);
    thread::scope(|scope| {
        let finish = &finish;
        let tracks: Vec<Vec<Receiver<Result<Answer>>>> = lanes
            .into_iter()
            .enumerate()
            .map(|(track, lane)| start_track(scope, job, lane, track, helpers, batches, finish))
            .collect();
        for batch in 0..batches {
            let outlets = &tracks[batch % tracks.len()];
            match outlets[batch / tracks.len() % outlets.len()].recv() {
                Ok(answer) => take(answer?)?,
                // A thread that ends without an answer was told to.
                Err(_) => bail!(Error::Cancelled),
            }
        }
        Ok(())
    })
}

/// Threads that read for each lane, and as many that finish.
fn helpers(network: &Network) -> usize {
    let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if network.engine.is_unified() { 1 } else { (processors / 2).clamp(1, MOST_READERS) }
}

/// A reader's place to put what it read, and to take back a tensor that has been used.
struct Inlet {
    prepared: Receiver<Prepared>,
    used: Sender<Vec<f32>>,
}

fn start_track<'scope, 'env: 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    job: &'env Job<'env>,
    lane: Lane<'env>,
    track: usize,
    helpers: usize,
    batches: usize,
    finish: &'scope (impl Fn(&mut Answer) -> Result<()> + Sync),
) -> Vec<Receiver<Result<Answer>>> {
    let lanes = job.network.lanes;
    let mine = move |helper: usize| (track + helper * lanes..batches).step_by(lanes * helpers);
    let inlets: Vec<Inlet> = (0..helpers)
        .map(|helper| {
            let (to_lane, prepared) = sync_channel(1);
            let (used, tensors) = channel();
            scope.spawn(move || read_all(job, mine(helper), &to_lane, &tensors));
            Inlet { prepared, used }
        })
        .collect();
    let (to_finishers, finishers): (Vec<_>, Vec<_>) = (0..helpers).map(|_| sync_channel(1)).unzip();
    scope.spawn(move || run_lane(lane, &inlets, &to_finishers));
    finishers
        .into_iter()
        .map(|answers: Receiver<Result<Answer>>| {
            let (out, outlet) = sync_channel(1);
            scope.spawn(move || {
                for answer in answers {
                    let finished = answer.and_then(|mut answer| finish(&mut answer).map(|()| answer));
                    if out.send(finished).is_err() {
                        break;
                    }
                }
            });
            outlet
        })
        .collect()
}

fn read_all(
    job: &Job<'_>,
    batches: impl Iterator<Item = usize>,
    to_lane: &SyncSender<Prepared>,
    tensors: &Receiver<Vec<f32>>,
) {
    for batch in batches {
        if job.cancel.is_cancelled() || to_lane.send(read(job, batch, tensors.try_recv().unwrap_or_default())).is_err()
        {
            break;
        }
    }
}

/// Reads the files of a batch and makes their tensors, in memory that served before.
fn read(job: &Job<'_>, batch: usize, mut tensor: Vec<f32>) -> Prepared {
    let inputs = &job.network.inputs;
    let first = batch * inputs.batch();
    let row = inputs.input.elements();
    tensor.resize(inputs.batch() * row, 0.0);
    let mut prepared = Prepared { tensor, ..Prepared::default() };
    for (index, path) in job.files.iter().enumerate().skip(first).take(inputs.batch()) {
        let place = prepared.photos.len() * row;
        match read_one(job, index, path, &mut prepared.tensor[place..place + row]) {
            Ok(photo) => prepared.photos.push(photo),
            Err(error) => prepared.unreadable.push(Unreadable {
                index,
                file: path.display().to_string(),
                reason: reason(path, &error),
            }),
        }
    }
    prepared
}

fn read_one(job: &Job<'_>, index: usize, path: &Path, tensor: &mut [f32]) -> trtforge_vision::Result<Photo> {
    let image = read_image(path)?;
    let (preprocess, input) = (&job.network.settings.preprocess, job.network.inputs.input);
    preprocess.fill(&image, input, tensor)?;
    Ok(Photo {
        index,
        size: Size { width: image.width(), height: image.height() },
        placement: preprocess.placement(&image, input)?,
        image: job.keep_pixels.then_some(image),
        detections: Vec::new(),
    })
}

/// An error and its causes in one line, without the file, which is named beside it.
fn reason(path: &Path, error: &trtforge_vision::Error) -> String {
    let lines: Vec<String> = anyhow::Chain::new(error).map(ToString::to_string).collect();
    lines.join(": ").replacen(&format!("image {} ", path.display()), "", 1).replacen(
        &format!("{} ", path.display()),
        "",
        1,
    )
}

/// Runs what the readers bring, in turn, and hands answers to the finishers in turn.
fn run_lane(mut lane: Lane<'_>, inlets: &[Inlet], outlets: &[SyncSender<Result<Answer>>]) {
    let mut outlets = outlets.iter().cycle();
    let mut hand_on = |answer: Result<Option<Answer>>| match answer.transpose() {
        None => true,
        Some(answer) => {
            let went_well = answer.is_ok();
            outlets.next().is_some_and(|outlet| outlet.send(answer).is_ok()) && went_well
        }
    };
    for inlet in inlets.iter().cycle() {
        let Ok(mut prepared) = inlet.prepared.recv() else { break };
        let answer = lane.feed(&mut prepared);
        // A reader that has ended takes nothing back.
        let unused = inlet.used.send(prepared.tensor);
        drop(unused);
        if !hand_on(answer) {
            return;
        }
    }
    loop {
        let answer = lane.collect();
        if matches!(answer, Ok(None)) || !hand_on(answer) {
            return;
        }
    }
}
