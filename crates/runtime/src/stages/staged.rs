//! An engine that runs in stages.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::device::StageDevice;
use super::loaded::Loaded;
use super::sizes::Sizes;
use super::store::Store;
use super::{Chain, Stage, StageStatistics};
use crate::device::Class;
use crate::engine::function::panicked;
use crate::engine::{Engine, EngineFault, EngineOptions, Kind, Layout, Profile, Request};
use crate::error::{Error, Result};
use crate::ledger::{Ledger, Plan};

/// An engine that runs in stages on a device.
pub(crate) struct Staged<D: StageDevice> {
    pub(crate) device: D,
    pub(crate) chain: Arc<Chain>,
    stages: Vec<Stage>,
    /// How stages are loaded.
    options: EngineOptions,
    store: Mutex<Store<D::Runner>>,
    statistics: Mutex<Vec<StageStatistics>>,
    sessions: AtomicU64,
}

impl EngineOptions {
    /// One engine of stages on the host that run one after another; `outputs` are those of the whole. Its inputs are what a
    /// stage reads and no earlier one makes. Nothing is loaded before there is a session.
    ///
    /// A session keeps all stages in memory where the limit allows it: the ledger's budget less what others hold, and
    /// [`crate::SessionOptions::budget_bytes`]. Otherwise stages and the tensors between them come and go, and runs of all
    /// such sessions take turns. [`Engine::plan`] tells what is needed at least; a session never passes its limit.
    ///
    /// ```
    /// # use trtforge_runtime::{Call, ElementType, EngineOptions, Function, Request, Result, Signature, Stage, TensorInfo};
    /// struct Add(&'static str, &'static str, f32);
    ///
    /// impl Function for Add {
    ///     fn signature(&self) -> Signature {
    ///         let tensor = |name| vec![TensorInfo::batched(name, ElementType::Float32, &[4])];
    ///         Signature { inputs: tensor(self.0), outputs: tensor(self.1), profiles: Vec::new() }
    ///     }
    ///     fn run(&self, mut call: Call<'_>) -> Result<()> {
    ///         let x = call.inputs.get::<f32>(0).unwrap_or_default();
    ///         call.outputs.get::<f32>(0).unwrap_or_default().iter_mut().zip(x).for_each(|(y, x)| *y = x + self.2);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let stage = |from, to, number| {
    ///     Stage::new(to, Add(from, to, number).signature(), move |options| options.function(Add(from, to, number)))
    /// };
    /// let engine = EngineOptions::default().stages(&["y"], vec![stage("x", "half", 1.0), stage("half", "y", 2.0)])?;
    /// let mut session = engine.session(Request::batch(2).into())?;
    /// session.input::<f32>("x")?.fill(10.0);
    /// session.run()?;
    /// assert_eq!(session.output::<f32>("y")?, [13.0; 8]);
    /// # Ok::<(), trtforge_runtime::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unfit`] where stages do not fit together.
    pub fn stages(&self, outputs: &[&str], stages: Vec<Stage>) -> Result<Engine> {
        let name = self.name.clone().unwrap_or_else(|| "stages".to_owned());
        let unfit = |fault| Error::Unfit { source_name: name.clone(), fault: Box::new(fault) };
        let chain = chain_of(&stages, outputs).map_err(unfit)?;
        staged_on_host(self, &name, chain, stages, Vec::new())
    }
}

/// How stages fit together.
fn chain_of(stages: &[Stage], outputs: &[&str]) -> Result<Chain, EngineFault> {
    Chain::new(stages.iter().map(|stage| (stage.name.as_str(), &stage.signature)), outputs)
}

/// An engine of stages on the host.
pub(crate) fn staged_on_host(
    options: &EngineOptions,
    name: &str,
    chain: Chain,
    stages: Vec<Stage>,
    profiles: Vec<Profile>,
) -> Result<Engine> {
    let signature = crate::engine::Signature { profiles, ..chain.signature().clone() };
    let kind = Kind::Staged(Arc::new(Staged::new(options, options.host.clone(), name, chain, stages)));
    Ok(Engine::new(name, signature, kind, options.ledger.clone(), no_weights(options, name)?))
}

/// An engine of stages on a GPU.
#[cfg(feature = "tensorrt")]
pub(crate) fn staged_on_gpu(
    options: &EngineOptions,
    gpu: crate::device::Cuda,
    name: &str,
    chain: Chain,
    stages: Vec<Stage>,
    profiles: Vec<Profile>,
) -> Result<Engine> {
    let signature = crate::engine::Signature { profiles, ..chain.signature().clone() };
    let kind = Kind::StagedOnGpu(Arc::new(Staged::new(options, gpu, name, chain, stages)));
    Ok(Engine::new(name, signature, kind, options.ledger.clone(), no_weights(options, name)?))
}

/// The whole holds nothing itself; stages enter their weights when they are loaded.
fn no_weights(options: &EngineOptions, name: &str) -> Result<crate::ledger::Entry> {
    options.ledger.enter(&Arc::from(name), Class::Weights, 0)
}

impl<D: StageDevice> Staged<D> {
    fn new(options: &EngineOptions, device: D, name: &str, chain: Chain, stages: Vec<Stage>) -> Self {
        let statistics = stages.iter().map(|stage| StageStatistics {
            name: stage.name.clone(),
            weights_bytes: stage.weights_bytes,
            activation_bytes: stage.activation_bytes,
            ..StageStatistics::default()
        });
        Self {
            device,
            chain: Arc::new(chain),
            store: Mutex::new(Store::new(stages.len())),
            statistics: Mutex::new(statistics.collect()),
            stages,
            options: EngineOptions { name: Some(name.to_owned()), ..options.clone() },
            sessions: AtomicU64::new(0),
        }
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.options.ledger
    }

    pub(crate) fn stages(&self) -> usize {
        self.stages.len()
    }

    /// Waits for the turn.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Store<D::Runner>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a session.
    pub(crate) fn number(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }

    /// Bytes that a stage holds while it is loaded, as it says.
    pub(crate) fn declared_weights(&self, stage: usize) -> u64 {
        self.stages[stage].weights_bytes
    }

    /// Bytes of weights by stage: of loaded ones what they hold, of others what they say.
    pub(crate) fn weights(&self, store: &Store<D::Runner>) -> Vec<u64> {
        let loaded = store.loaded.iter().map(|it| it.as_ref().map(|it| it.engine.weights_bytes()));
        loaded.zip(&self.stages).map(|(loaded, stage)| loaded.unwrap_or(stage.weights_bytes)).collect()
    }

    /// Bytes at the largest shapes of a session.
    pub(crate) fn sizes(&self, layout: &Layout, request: &Request) -> Sizes {
        let largest: Vec<_> = layout.ranges_of_first().iter().map(|range| range.max).collect();
        let mut shapes = Vec::new();
        self.chain.shapes(&largest, &mut shapes);
        let bytes =
            self.chain.tensors.iter().zip(&shapes).map(|(it, shape)| it.info.bytes_at(shape).unwrap_or(u64::MAX));
        let tensors = bytes.collect();
        let activation = |stage: &Stage| if request.shares_activations { 0 } else { stage.activation_bytes };
        Sizes {
            tensors,
            activations: self.stages.iter().map(activation).collect(),
            chain: Arc::clone(&self.chain),
            largest: shapes,
            slots: request.slots as u64,
            unified: self.device.is_unified(),
        }
    }

    /// What a session takes: everything where the ledger's budget holds that, otherwise what it needs at least.
    pub(crate) fn plan(&self, layout: &Layout, request: &Request) -> Plan {
        let sizes = self.sizes(layout, request);
        let weights: Vec<u64> = self.stages.iter().map(|stage| stage.weights_bytes).collect();
        let resident = sizes.resident(&weights);
        let limit = self.ledger().budget().device_bytes;
        if limit.is_none_or(|limit| resident.device_bytes() <= limit) {
            return resident;
        }
        sizes.streaming(&weights, false)
    }

    /// The largest activation of a stage.
    pub(crate) fn activation_bytes(&self) -> u64 {
        self.stages.iter().map(|stage| stage.activation_bytes).max().unwrap_or(0)
    }

    /// Brings a stage into memory.
    pub(crate) fn load(&self, number: usize) -> Result<Loaded<D::Runner>> {
        let (start, stage) = (Instant::now(), &self.stages[number]);
        let whole = self.options.name.as_deref().unwrap_or_default();
        let name = Some(format!("{whole} stage {} of {}", number + 1, self.stages.len()));
        let options = EngineOptions { name, ..self.options.clone() };
        let engine = catch_unwind(AssertUnwindSafe(|| (stage.load)(&options)))
            .unwrap_or_else(|panic| Err(panicked("the loading of a stage", &*panic)))?;
        let loaded = Loaded::new(engine, &self.chain, number, stage, |engine| self.device.runner(engine))?;
        self.note(number, |statistics| {
            statistics.loads += 1;
            statistics.loading += start.elapsed();
            statistics.weights_bytes = loaded.engine.weights_bytes();
        });
        Ok(loaded)
    }

    /// The same engine once more, for a slot of its own.
    pub(crate) fn share(&self, number: usize, engine: &Engine) -> Result<Loaded<D::Runner>> {
        Loaded::new(engine.clone(), &self.chain, number, &self.stages[number], |engine| self.device.runner(engine))
    }

    /// An error of a stage.
    pub(crate) fn failed(&self, number: usize, source: Error) -> Error {
        let (stages, name) = (self.stages.len(), self.stages[number].name.clone());
        Error::Stage { stage: number + 1, stages, name, source: Box::new(source) }
    }

    fn note(&self, stage: usize, note: impl FnOnce(&mut StageStatistics)) {
        note(&mut self.statistics.lock().unwrap_or_else(PoisonError::into_inner)[stage]);
    }

    pub(crate) fn note_run(&self, stage: usize, was_ahead: bool, took: Duration) {
        self.note(stage, |statistics| {
            statistics.runs += 1;
            statistics.ahead_hits += u64::from(was_ahead);
            statistics.running += took;
        });
    }

    pub(crate) fn note_given_up(&self, stages: &[usize]) {
        stages.iter().for_each(|&stage| self.note(stage, |statistics| statistics.evictions += 1));
    }

    pub(crate) fn statistics(&self) -> Vec<StageStatistics> {
        self.statistics.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
