//! How an engine is to be built: memory, targets, flags, profiles, progress.
//!
//! Every setting is read back or its answer checked, because TensorRT ignores what it does not
//! like and says so in its log only.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;

use cxx::UniquePtr;
use trtx_sys::nvinfer1::{self, IBuilderConfig};

use crate::builder::BuilderHandle;
use crate::progress::Monitor;
use crate::{Error, OptimizationProfile, ProfileFault, Progress, Result, ShapeRange};

/// Memory whose use during build and run can be limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemoryPool {
    /// Scratch space of layers, on the device.
    Workspace,
    /// Device memory that trying out kernels may take.
    TacticDram,
    /// Shared memory of one multiprocessor that kernels may take.
    TacticSharedMemory,
}

impl MemoryPool {
    fn to_raw(self) -> nvinfer1::MemoryPoolType {
        match self {
            Self::Workspace => nvinfer1::MemoryPoolType::kWORKSPACE,
            Self::TacticDram => nvinfer1::MemoryPoolType::kTACTIC_DRAM,
            Self::TacticSharedMemory => nvinfer1::MemoryPoolType::kTACTIC_SHARED_MEMORY,
        }
    }
}

impl fmt::Display for MemoryPool {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Workspace => "workspace",
            Self::TacticDram => "tactic memory",
            Self::TacticSharedMemory => "tactic shared memory",
        })
    }
}

/// Switches of a build, all off unless the text says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BuilderFlag {
    /// Synchronise after each layer, for debugging.
    Debug,
    /// Weights can be exchanged in the engine.
    Refit,
    /// Marked weights can be exchanged in the engine.
    RefitIndividual,
    /// Float32 convolutions may use TF32; on by default.
    Tf32,
    /// Weights that are half zero may use sparse kernels.
    SparseWeights,
    /// Leave the weights out of the engine.
    StripPlan,
    /// Weights may stay on the host and be streamed.
    WeightStreaming,
    /// Keep NaN exactly where the model would produce it.
    StrictNans,
    /// Log memory use during the build.
    MonitorMemory,
    /// The engine runs on later versions of TensorRT.
    VersionCompatible,
}

impl BuilderFlag {
    fn to_raw(self) -> nvinfer1::BuilderFlag {
        match self {
            Self::Debug => nvinfer1::BuilderFlag::kDEBUG,
            Self::Refit => nvinfer1::BuilderFlag::kREFIT,
            Self::RefitIndividual => nvinfer1::BuilderFlag::kREFIT_INDIVIDUAL,
            Self::Tf32 => nvinfer1::BuilderFlag::kTF32,
            Self::SparseWeights => nvinfer1::BuilderFlag::kSPARSE_WEIGHTS,
            Self::StripPlan => nvinfer1::BuilderFlag::kSTRIP_PLAN,
            Self::WeightStreaming => nvinfer1::BuilderFlag::kWEIGHT_STREAMING,
            Self::StrictNans => nvinfer1::BuilderFlag::kSTRICT_NANS,
            Self::MonitorMemory => nvinfer1::BuilderFlag::kMONITOR_MEMORY,
            Self::VersionCompatible => nvinfer1::BuilderFlag::kVERSION_COMPATIBLE,
        }
    }
}

/// How much an engine tells about its layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProfilingVerbosity {
    /// Names of layers only; the default.
    LayerNames,
    /// Nothing.
    None,
    /// Everything.
    Detailed,
}

impl ProfilingVerbosity {
    fn to_raw(self) -> nvinfer1::ProfilingVerbosity {
        match self {
            Self::LayerNames => nvinfer1::ProfilingVerbosity::kLAYER_NAMES_ONLY,
            Self::None => nvinfer1::ProfilingVerbosity::kNONE,
            Self::Detailed => nvinfer1::ProfilingVerbosity::kDETAILED,
        }
    }
}

/// A kind of GPU that an engine of TensorRT-RTX is built for.
#[cfg(not(feature = "enterprise"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ComputeCapability {
    /// The GPU of this machine; stands alone.
    Current,
    /// 7.5, Turing.
    Turing,
    /// 8.0, Ampere in data centres.
    Ampere80,
    /// 8.6, Ampere.
    Ampere,
    /// 8.9, Ada Lovelace.
    Ada,
    /// 12.0, Blackwell.
    Blackwell,
    /// 12.1, Blackwell in GB10.
    Blackwell121,
}

#[cfg(not(feature = "enterprise"))]
impl ComputeCapability {
    /// Every one that names a kind of GPU, oldest first.
    pub const ALL: [Self; 6] =
        [Self::Turing, Self::Ampere80, Self::Ampere, Self::Ada, Self::Blackwell, Self::Blackwell121];

    /// The one of a version number such as 8 and 6; `None` when TensorRT-RTX builds nothing for it.
    #[must_use]
    pub fn of_version(major: u32, minor: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.version() == Some((major, minor)))
    }

    /// Its version number, such as 8 and 6; `None` for [`Self::Current`].
    #[must_use]
    pub fn version(self) -> Option<(u32, u32)> {
        match self {
            Self::Current => None,
            Self::Turing => Some((7, 5)),
            Self::Ampere80 => Some((8, 0)),
            Self::Ampere => Some((8, 6)),
            Self::Ada => Some((8, 9)),
            Self::Blackwell => Some((12, 0)),
            Self::Blackwell121 => Some((12, 1)),
        }
    }

    fn to_raw(self) -> nvinfer1::ComputeCapability {
        match self {
            Self::Current => nvinfer1::ComputeCapability::kCURRENT,
            Self::Turing => nvinfer1::ComputeCapability::kSM75,
            Self::Ampere80 => nvinfer1::ComputeCapability::kSM80,
            Self::Ampere => nvinfer1::ComputeCapability::kSM86,
            Self::Ada => nvinfer1::ComputeCapability::kSM89,
            Self::Blackwell => nvinfer1::ComputeCapability::kSM120,
            Self::Blackwell121 => nvinfer1::ComputeCapability::kSM121,
        }
    }
}

#[cfg(not(feature = "enterprise"))]
impl fmt::Display for ComputeCapability {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version() {
            Some((major, minor)) => write!(out, "{major}.{minor}"),
            None => out.write_str("current"),
        }
    }
}

/// Which other GPUs an engine of TensorRT runs on.
#[cfg(feature = "enterprise")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HardwareCompatibility {
    /// Only the kind of GPU it was built on; the default.
    SameGpu,
    /// Ampere and later.
    AmpereAndLater,
    /// Every GPU of the same compute capability.
    SameComputeCapability,
}

#[cfg(feature = "enterprise")]
impl HardwareCompatibility {
    fn to_raw(self) -> nvinfer1::HardwareCompatibilityLevel {
        match self {
            Self::SameGpu => nvinfer1::HardwareCompatibilityLevel::kNONE,
            Self::AmpereAndLater => nvinfer1::HardwareCompatibilityLevel::kAMPERE_PLUS,
            Self::SameComputeCapability => nvinfer1::HardwareCompatibilityLevel::kSAME_COMPUTE_CAPABILITY,
        }
    }
}

/// How to build; made by [`crate::Builder::config`].
pub struct BuilderConfig {
    /// First field: destroyed before what it points to.
    raw: UniquePtr<IBuilderConfig>,
    monitor: Option<Monitor>,
    profiles: Vec<BTreeMap<String, ShapeRange>>,
    builder: Rc<BuilderHandle>,
}

impl BuilderConfig {
    pub(crate) fn new(builder: &Rc<BuilderHandle>) -> Result<Self> {
        let raw = builder.with(|it| it.createBuilderConfig());
        if raw.is_null() {
            return Err(builder.not_created("a configuration"));
        }
        Ok(Self {
            // SAFETY: a new object that only this configuration owns.
            raw: unsafe { UniquePtr::from_raw(raw) },
            monitor: None,
            profiles: Vec::new(),
            builder: Rc::clone(builder),
        })
    }

    /// Limits a memory pool to `bytes`.
    ///
    /// A workspace that is too small fails the build with [`Error::OutOfWorkspace`]. TensorRT-RTX
    /// keeps to the limit only nearly: compare [`crate::MemoryTotals::scratch_bytes`] with it after
    /// the build.
    ///
    /// # Errors
    /// [`Error::EmptyPool`] for 0; [`Error::PoolLimit`] when TensorRT keeps another limit.
    pub fn set_memory_pool_limit(&mut self, pool: MemoryPool, bytes: u64) -> Result<()> {
        if bytes == 0 {
            return Err(Error::EmptyPool { pool });
        }
        let size = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.raw.pin_mut().setMemoryPoolLimit(pool.to_raw(), size);
        let kept_bytes = self.memory_pool_limit(pool);
        if kept_bytes != bytes {
            return Err(Error::PoolLimit { pool, bytes, kept_bytes });
        }
        Ok(())
    }

    /// The limit of a memory pool, in bytes.
    #[must_use]
    pub fn memory_pool_limit(&self, pool: MemoryPool) -> u64 {
        self.raw.getMemoryPoolLimit(pool.to_raw()) as u64
    }

    /// Switches a flag.
    ///
    /// # Errors
    /// [`Error::Setting`] when TensorRT leaves it as it was.
    pub fn set_flag(&mut self, flag: BuilderFlag, on: bool) -> Result<()> {
        self.apply("flag", format_args!("{flag:?} {on}"), |raw| {
            if on {
                raw.pin_mut().setFlag(flag.to_raw());
            } else {
                raw.pin_mut().clearFlag(flag.to_raw());
            }
            raw.getFlag(flag.to_raw()) == on
        })
    }

    /// Whether a flag is on.
    #[must_use]
    pub fn flag(&self, flag: BuilderFlag) -> bool {
        self.raw.getFlag(flag.to_raw())
    }

    /// Sets the kinds of GPU the engine is to run on.
    ///
    /// Without any, which is the default, an engine runs on compute capability 8.0, 8.6, 8.9, 12.0
    /// and later, not on 7.5. With some, it runs on these only.
    ///
    /// # Errors
    /// [`Error::Setting`] when TensorRT refuses, as it does for [`ComputeCapability::Current`]
    /// beside others, or without a GPU; the default is in force then.
    #[cfg(not(feature = "enterprise"))]
    pub fn set_compute_capabilities(&mut self, targets: &[ComputeCapability]) -> Result<()> {
        let names: Vec<String> = targets.iter().map(ToString::to_string).collect();
        let count = i32::try_from(targets.len()).unwrap_or(i32::MAX);
        let set = self.apply("compute capabilities", names.join(","), |raw| {
            raw.pin_mut().setNbComputeCapabilities(count)
                && (targets.iter().zip(0..)).all(|(it, index)| raw.pin_mut().setComputeCapability(it.to_raw(), index))
        });
        if set.is_err() {
            self.raw.pin_mut().setNbComputeCapabilities(0);
        }
        set
    }

    /// Sets which other GPUs the engine runs on.
    #[cfg(feature = "enterprise")]
    pub fn set_hardware_compatibility(&mut self, level: HardwareCompatibility) {
        self.raw.pin_mut().setHardwareCompatibilityLevel(level.to_raw());
    }

    /// Sets how much the engine tells about its layers.
    pub fn set_profiling_verbosity(&mut self, verbosity: ProfilingVerbosity) {
        self.raw.pin_mut().setProfilingVerbosity(verbosity.to_raw());
    }

    /// Sets how hard TensorRT tries, from 0 to 5; TensorRT's default is 3.
    ///
    /// # Errors
    /// [`Error::Setting`] when TensorRT keeps another level.
    pub fn set_optimization_level(&mut self, level: u32) -> Result<()> {
        let number = i32::try_from(level).unwrap_or(i32::MAX);
        self.apply("optimisation level", level, |raw| {
            raw.pin_mut().setBuilderOptimizationLevel(number);
            raw.pin_mut().getBuilderOptimizationLevel() == number
        })
    }

    /// Limits the streams that an engine may use beside its own; TensorRT's own choice by default.
    ///
    /// Branches of the network that run at the same time need their memory at the same time: with 0,
    /// TensorRT-RTX lays out a detector's activations in a third to a half of the space.
    ///
    /// # Errors
    /// [`Error::Setting`] when TensorRT refuses.
    pub fn set_max_auxiliary_streams(&mut self, streams: u32) -> Result<()> {
        let number = i32::try_from(streams).unwrap_or(i32::MAX);
        self.apply("auxiliary streams", streams, |raw| raw.pin_mut().setMaxAuxStreams(number))
    }

    /// Sends the progress of builds to `receiver`, which may end them.
    ///
    /// # Errors
    /// [`Error::Create`] when the monitor cannot be made.
    pub fn set_progress(&mut self, receiver: Box<dyn Progress>) -> Result<()> {
        let monitor = Monitor::new(receiver)?;
        // SAFETY: the monitor is kept until after the configuration is destroyed; an earlier one
        // is dropped only after this call replaced it.
        unsafe { self.raw.pin_mut().setProgressMonitor(monitor.as_ptr()) };
        self.monitor = Some(monitor);
        Ok(())
    }

    /// Adds a profile: the engine will serve its shapes.
    ///
    /// # Errors
    /// [`Error::OtherBuilder`], or [`Error::Profile`] when TensorRT refuses it.
    pub fn add_profile(&mut self, profile: OptimizationProfile) -> Result<()> {
        if !Rc::ptr_eq(profile.builder(), &self.builder) {
            return Err(Error::OtherBuilder { what: "profile" });
        }
        // SAFETY: the profile lives as long as the builder, which this configuration keeps alive.
        let index = unsafe { self.raw.pin_mut().addOptimizationProfile(profile.as_ptr()) };
        if index < 0 {
            return Err(Error::Profile {
                input: profile.shapes().keys().next().cloned().unwrap_or_default(),
                fault: ProfileFault::Refused,
            });
        }
        self.profiles.push(profile.shapes().clone());
        Ok(())
    }

    /// The shapes of the profiles added so far.
    #[must_use]
    pub fn profiles(&self) -> &[BTreeMap<String, ShapeRange>] {
        &self.profiles
    }

    /// Uses a timing cache in builds; it collects what they measure.
    ///
    /// # Errors
    /// [`Error::Setting`] when TensorRT refuses it, such as for another GPU or version.
    #[cfg(feature = "enterprise")]
    pub fn set_timing_cache(&mut self, data: &[u8]) -> Result<crate::TimingCache> {
        crate::TimingCache::attach(&self.builder, &mut self.raw, data)
    }

    /// Makes a setting by `set`, which says whether TensorRT took it.
    fn apply(
        &mut self,
        setting: &'static str,
        value: impl fmt::Display,
        set: impl FnOnce(&mut UniquePtr<IBuilderConfig>) -> bool,
    ) -> Result<()> {
        let mark = self.builder.logger.mark();
        if set(&mut self.raw) {
            return Ok(());
        }
        Err(Error::Setting { setting, value: value.to_string(), log: self.builder.logger.tail_since(mark) })
    }

    pub(crate) fn before_build(&self) {
        if let Some(monitor) = &self.monitor {
            monitor.reset();
        }
    }

    /// Why the progress receiver ended the last build, if it did.
    pub(crate) fn verdict(&self) -> Option<Error> {
        self.monitor.as_ref().and_then(Monitor::verdict)
    }

    pub(crate) fn pin_mut(&mut self) -> Pin<&mut IBuilderConfig> {
        self.raw.pin_mut()
    }

    pub(crate) fn builder(&self) -> &Rc<BuilderHandle> {
        &self.builder
    }
}
