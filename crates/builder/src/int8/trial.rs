//! Tries quantized forms of a network on a few samples and says what each loses at the outputs.
//!
//! The FP32 network runs once; its outputs are the reference. Trials are independent, so they run side by side, each on one thread: the result of a trial does not
//! depend on how many run. Only inputs, outputs and one network per thread are held.

use super::loss::Loss;
use super::plan::Plan;
use crate::passes::WeightForm;
use crate::samples::Samples;
use crate::{CancelFlag, Error, Progress, Result};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use trtforge_graph::{Graph, Model, Tensor};
use trtforge_onnxruntime::{OnnxRuntime, Session, SessionConfig, Watched, Watcher, release_freed_memory};

type Named = Vec<(String, Tensor)>;

/// A network, samples, and what it makes of them in 32 bits.
pub struct TrialGround<'a> {
    runtime: &'a OnnxRuntime,
    graph: &'a Graph,
    samples: &'a Samples,
    surveyed: Vec<usize>,
    inputs: Vec<Named>,
    references: Vec<Named>,
    threads: usize,
    progress: &'a dyn Progress,
    cancel: &'a CancelFlag,
}

impl<'a> TrialGround<'a> {
    /// Reads up to `tried` samples, evenly spread, for trials and runs the network on them; up to `surveyed` are looked at for what channels hold.
    ///
    /// # Errors
    /// Those of ONNX Runtime and of the samples; [`Error::Cancelled`].
    pub fn new(
        runtime: &'a OnnxRuntime,
        graph: &'a Graph,
        samples: &'a Samples,
        tried: usize,
        surveyed: usize,
        threads: usize,
        cancel: &'a CancelFlag,
    ) -> Result<Self> {
        let inputs: Vec<Named> =
            samples.spread(tried).map(|index| Ok(samples.get(index)?.inputs)).collect::<Result<_>>()?;
        // A batch of which no image could be read has no inputs.
        let inputs: Vec<Named> = inputs.into_iter().filter(|inputs| !inputs.is_empty()).collect();
        if inputs.is_empty() {
            return Err(Error::Samples(format!("{} gives nothing to try quantized forms on", samples.description())));
        }
        let surveyed = samples.spread(surveyed).collect();
        let mut ground = TrialGround {
            runtime,
            graph,
            samples,
            surveyed,
            inputs,
            references: vec![],
            threads: threads.max(1),
            progress: &(),
            cancel,
        };
        let mut session = ground.open(&model_of(graph)?)?;
        ground.references = ground.inputs.iter().map(|inputs| run(&mut session, inputs)).collect::<Result<_>>()?;
        Ok(ground)
    }

    /// The same ground, with someone who hears of progress.
    pub fn heard_by(self, progress: &'a dyn Progress) -> Self {
        TrialGround { progress, ..self }
    }

    /// The network in 32 bits.
    pub fn graph(&self) -> &'a Graph {
        self.graph
    }

    /// Sessions of the network in 32 bits, one for each thread, whose watchers see the values `names`.
    pub(super) fn watched<W: Watcher>(&self, names: &[&str], watcher: impl Fn() -> W) -> Result<Vec<Watched<W>>> {
        let config = SessionConfig { threads: 1, memory_arena: false, ..SessionConfig::default() };
        let watchers = (0..self.threads).map(|_| watcher());
        Ok(self.runtime.watch(&model_of(self.graph)?, names, &config, watchers)?)
    }

    pub(super) fn progress(&self) -> &'a dyn Progress {
        self.progress
    }

    pub(super) fn cancel(&self) -> &'a CancelFlag {
        self.cancel
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.inputs.len()
    }

    pub(super) fn surveyed(&self) -> &[usize] {
        &self.surveyed
    }

    /// The inputs of a sample; none where it could not be read.
    pub(super) fn sample(&self, index: usize) -> Result<Named> {
        Ok(self.samples.get(index)?.inputs)
    }

    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    /// What threads work with that need nothing but themselves.
    pub(super) fn hands(&self) -> Vec<()> {
        vec![(); self.threads]
    }

    /// What one plan loses on all samples, which the threads share.
    ///
    /// # Errors
    /// Those of the rewrite and of ONNX Runtime; [`Error::Cancelled`].
    pub fn loss(&self, plan: &Plan) -> Result<Loss> {
        let model = self.quantized(plan)?;
        let count = self.threads.min(self.inputs.len());
        let mut sessions: Vec<Session> = (0..count).map(|_| self.open(&model)).collect::<Result<_>>()?;
        drop(model);
        let losses = side_by_side(self.inputs.len(), &mut sessions, |session, index| {
            self.cancel.check()?;
            let mut loss = Loss::default();
            loss.add(&self.references[index], &run(session, &self.inputs[index])?);
            Ok(loss)
        })?;
        drop(sessions);
        release_freed_memory();
        let mut total = Loss::default();
        losses.iter().for_each(|loss| total.merge(loss));
        Ok(total)
    }

    /// What each of `count` plans loses on the first `samples` samples, side by side. `done` hears how many are finished.
    ///
    /// # Errors
    /// As for [`TrialGround::loss`]; the first of them.
    pub fn losses(
        &self,
        count: usize,
        samples: usize,
        plan: impl Fn(usize) -> Plan + Sync,
        done: impl Fn(usize) + Sync,
    ) -> Result<Vec<Loss>> {
        let finished = AtomicUsize::new(0);
        let losses = side_by_side(count, &mut self.hands(), |(), index| {
            self.cancel.check()?;
            let loss = self.try_plan(&plan(index), samples)?;
            done(finished.fetch_add(1, Ordering::Relaxed) + 1);
            Ok(loss)
        });
        release_freed_memory();
        losses
    }

    fn try_plan(&self, plan: &Plan, samples: usize) -> Result<Loss> {
        let mut session = self.open(&self.quantized(plan)?)?;
        let mut loss = Loss::default();
        for (inputs, expected) in self.inputs.iter().zip(&self.references).take(samples) {
            self.cancel.check()?;
            loss.add(expected, &run(&mut session, inputs)?);
        }
        Ok(loss)
    }

    fn quantized(&self, plan: &Plan) -> Result<Model> {
        let mut graph = self.graph.clone();
        plan.apply(&mut graph, WeightForm::Dequantized)?;
        graph.remove_dead();
        graph.into_model().map_err(Error::pass("insert-quantization"))
    }

    fn open(&self, model: &Model) -> Result<Session> {
        let config = SessionConfig { threads: 1, ..SessionConfig::default() };
        Ok(self.runtime.session(model, &config)?)
    }
}

/// Does `count` pieces of work, on as many threads as there are tools, and returns the results in order; the first failure stops everything.
pub(super) fn side_by_side<Tool: Send, T: Send>(
    count: usize,
    tools: &mut [Tool],
    work: impl Fn(&mut Tool, usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<Result<T>>>> = Mutex::new((0..count).map(|_| None).collect());
    let worker = |tool: &mut Tool| {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return;
            }
            let result = work(tool, index);
            if result.is_err() {
                next.store(count, Ordering::Relaxed);
            }
            if let Ok(mut results) = results.lock() {
                results[index] = Some(result);
            }
        }
    };
    std::thread::scope(|scope| {
        let mut tools = tools.iter_mut().take(count);
        let own = tools.next();
        tools.for_each(|tool| drop(scope.spawn(|| worker(tool))));
        own.into_iter().for_each(worker);
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Pieces behind a failure were not begun.
    results.into_iter().flatten().collect()
}

fn model_of(graph: &Graph) -> Result<Model> {
    graph.clone().into_model().map_err(Error::pass("insert-quantization"))
}

fn run(session: &mut Session, inputs: &Named) -> Result<Named> {
    let borrowed: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    Ok(session.run(&borrowed, None)?)
}
