//! The builder: makes networks, configurations and profiles, and engines out of them.
//!
//! A builder and what it makes belong to one thread, which the compiler checks: TensorRT's builder
//! is not made for use from two. Several builders may live in several threads, but only one builds at
//! a time; the others wait.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use cxx::UniquePtr;
use trtx_sys::nvinfer1::IBuilder;

use crate::logger::LoggerLease;
use crate::memory_totals::{self, Shortage};
use crate::turn::Turn;
use crate::{
    BuilderConfig, Error, LogLine, MemoryPool, MemoryTotals, Network, OptimizationProfile, Result, SerializedEngine,
    TensorRt, preflight,
};

/// The raw builder with what must outlive it; networks, configurations and profiles share it.
pub(crate) struct BuilderHandle {
    /// First field: destroyed before the logger goes back.
    raw: RefCell<UniquePtr<IBuilder>>,
    pub(crate) logger: LoggerLease,
    pub(crate) tensorrt: TensorRt,
}

impl BuilderHandle {
    /// Calls the builder.
    pub(crate) fn with<T>(&self, call: impl FnOnce(Pin<&mut IBuilder>) -> T) -> T {
        call(self.raw.borrow_mut().pin_mut())
    }

    /// The error for a null that TensorRT returned in place of `what`.
    pub(crate) fn not_created(&self, what: &'static str) -> Error {
        Error::Create { what, log: self.logger.tail() }
    }
}

/// Makes engines; one per thread that builds.
pub struct Builder {
    handle: Rc<BuilderHandle>,
}

/// A finished build.
#[derive(Debug)]
pub struct Built {
    /// The engine.
    pub engine: SerializedEngine,
    /// What TensorRT told about it.
    pub report: BuildReport,
}

/// What TensorRT told during a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildReport {
    /// Memory the engine will need.
    pub memory: MemoryTotals,
    /// Activations of each optimisation profile, in bytes, in the order they were added; one figure
    /// when there is no profile, none when TensorRT's log does not tell them apart.
    pub activation_bytes_by_profile: Vec<u64>,
    /// Time inside TensorRT's build call.
    pub duration: Duration,
    /// Lines logged since the build began, verbose ones left out, the oldest dropped past a bound.
    pub log: Vec<LogLine>,
}

impl Builder {
    pub(crate) fn new(tensorrt: TensorRt) -> Result<Self> {
        let logger = LoggerLease::new()?;
        let raw = tensorrt.create_builder(logger.interface()).cast::<IBuilder>();
        if raw.is_null() {
            return Err(Error::Create { what: "a builder", log: logger.tail() });
        }
        // SAFETY: a new object that only this handle owns.
        let raw = unsafe { UniquePtr::from_raw(raw) };
        Ok(Self { handle: Rc::new(BuilderHandle { raw: RefCell::new(raw), logger, tensorrt }) })
    }

    /// An empty network, strongly typed: precision is what the model says.
    ///
    /// # Errors
    /// [`Error::Create`] when TensorRT makes none.
    pub fn network(&self) -> Result<Network> {
        Network::new(&self.handle)
    }

    /// A configuration with TensorRT's defaults.
    ///
    /// # Errors
    /// [`Error::Create`] when TensorRT makes none.
    pub fn config(&self) -> Result<BuilderConfig> {
        BuilderConfig::new(&self.handle)
    }

    /// An empty optimisation profile.
    ///
    /// # Errors
    /// [`Error::Create`] when TensorRT makes none.
    pub fn profile(&self) -> Result<OptimizationProfile> {
        OptimizationProfile::new(&self.handle)
    }

    /// Limits the threads TensorRT may use for building.
    ///
    /// # Errors
    /// [`Error::Setting`] when TensorRT refuses, as it does for 0.
    pub fn set_max_threads(&self, threads: u32) -> Result<()> {
        let number = i32::try_from(threads).unwrap_or(i32::MAX);
        let mark = self.handle.logger.mark();
        if threads > 0 && self.handle.with(|it| it.setMaxThreads(number)) {
            return Ok(());
        }
        Err(Error::Setting { setting: "threads", value: threads.to_string(), log: self.handle.logger.tail_since(mark) })
    }

    /// Sends each line TensorRT logs to `listener`, verbose ones left out.
    ///
    /// It is called on whichever thread TensorRT logs from. A panic of it is caught and ignored.
    pub fn listen(&self, listener: impl FnMut(&LogLine) + Send + 'static) {
        self.handle.logger.listen(Some(Box::new(listener)));
    }

    /// What TensorRT has logged for this builder, verbose lines left out, oldest first.
    #[must_use]
    pub fn log(&self) -> Vec<LogLine> {
        self.handle.logger.lines()
    }

    /// Builds an engine; takes seconds to minutes and calls the progress receiver meanwhile.
    ///
    /// Builds of one process take turns: this waits while another builder builds. A progress receiver
    /// must not wait for another build, which waits for this one.
    ///
    /// Both are borrowed mutably because TensorRT changes them; they can be used again.
    ///
    /// # Errors
    /// [`Error::NetworkEmpty`], [`Error::OtherBuilder`], [`Error::Profile`] and [`Error::NestedBuild`] before TensorRT is
    /// asked; [`Error::Cancelled`] and [`Error::ProgressPanicked`] when the progress receiver ended
    /// it; [`Error::OutOfWorkspace`] when the workspace limit is too small; [`Error::Build`] otherwise.
    pub fn build(&self, network: &mut Network, config: &mut BuilderConfig) -> Result<Built> {
        self.check_own(network.builder(), "network")?;
        self.check_own(config.builder(), "configuration")?;
        if !network.is_filled() {
            return Err(Error::NetworkEmpty);
        }
        preflight::check_profiles(&network.inputs(), config.profiles())?;
        let turn = Turn::wait()?;
        self.handle.logger.clear();
        config.before_build();
        let start = Instant::now();
        let memory = self.handle.with(|it| it.buildSerializedNetwork(network.pin_mut(), config.pin_mut()));
        let duration = start.elapsed();
        drop(turn);
        // SAFETY: new host memory, or null; the caller of TensorRT owns it.
        let engine = unsafe { SerializedEngine::take(memory) };
        match (config.verdict(), engine) {
            (Some(verdict), _) => Err(verdict),
            (None, None) => Err(build_error(config, self.handle.logger.tail())),
            (None, Some(engine)) => Ok(Built { engine, report: self.report(duration, config.profiles().len()) }),
        }
    }

    /// What the log told since it was cleared for the build.
    fn report(&self, duration: Duration, profiles: usize) -> BuildReport {
        let memory = self.handle.logger.memory();
        let mut by_profile = memory.activation_bytes_by_profile;
        if by_profile.len() != profiles.max(1) {
            by_profile.clear();
        }
        BuildReport {
            memory: memory.totals,
            activation_bytes_by_profile: by_profile,
            duration,
            log: self.handle.logger.lines(),
        }
    }

    fn check_own(&self, owner: &Rc<BuilderHandle>, what: &'static str) -> Result<()> {
        if Rc::ptr_eq(owner, &self.handle) {
            return Ok(());
        }
        Err(Error::OtherBuilder { what })
    }
}

/// The error for a build that gave no engine, told from what was logged.
fn build_error(config: &BuilderConfig, log: Vec<LogLine>) -> Error {
    let limit_bytes = config.memory_pool_limit(MemoryPool::Workspace);
    match log.iter().find_map(|line| memory_totals::shortage(&line.text)) {
        Some(Shortage::Workspace) => Error::OutOfWorkspace { limit_bytes, requested_bytes: None, log },
        Some(Shortage::Memory { requested_bytes }) if requested_bytes > limit_bytes => {
            Error::OutOfWorkspace { limit_bytes, requested_bytes: Some(requested_bytes), log }
        }
        _ => Error::Build { log },
    }
}
