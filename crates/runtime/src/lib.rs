//! Runs TensorRT engines and ONNX models inside an application, with the memory known beforehand.
//!
//! An [`Engine`] is a TensorRT plan on a GPU, an ONNX model on the CPU, or a Rust [`Function`], behind one type.
//! [`Engine::plan`] tells the memory of a session before anything is allocated; a [`Session`] allocates it all at once, and
//! no run allocates afterwards. A [`Ledger`] knows who holds how many bytes of what, and refuses what goes past its
//! [`Budget`]. A [`Batcher`] gathers requests of many threads.
//!
//! ```no_run
//! use trtforge_runtime::{Engine, Request, SessionOptions, mib};
//!
//! # let pixels = vec![0.0f32; 4 * 3 * 640 * 640];
//! let engine = Engine::open("model.engine")?; // or "model.onnx", on the CPU
//! let request = Request::batch(4).slots(2);
//! println!("{}", engine.plan(&request)?); // bytes by class; nothing is allocated
//! let options = SessionOptions { request, budget_bytes: Some(mib(256)), ..SessionOptions::default() };
//! let mut session = engine.session(options)?;
//! session.input::<f32>("images")?.copy_from_slice(&pixels);
//! session.run()?; // allocates nothing, on host or device
//! let boxes = session.output::<f32>("boxes")?;
//! # let _ = boxes;
//! # Ok::<(), trtforge_runtime::Error>(())
//! ```
//!
//! With several slots, runs go on while the next inputs are written:
//!
//! ```
//! # use trtforge_runtime::{Call, ElementType, Engine, Function, Request, Result, Signature, TensorInfo};
//! # struct Double;
//! # impl Function for Double {
//! #     fn signature(&self) -> Signature {
//! #         let tensor = |name| vec![TensorInfo::batched(name, ElementType::Float32, &[2])];
//! #         Signature { inputs: tensor("x"), outputs: tensor("y"), profiles: Vec::new() }
//! #     }
//! #     fn run(&self, mut call: Call<'_>) -> Result<()> {
//! #         let x = call.inputs.get::<f32>(0).unwrap_or_default();
//! #         call.outputs.get::<f32>(0).unwrap_or_default().iter_mut().zip(x).for_each(|(y, x)| *y = 2.0 * x);
//! #         Ok(())
//! #     }
//! # }
//! let engine = Engine::function("double", Double)?;
//! let mut session = engine.session(Request::batch(3).slots(2).into())?;
//! let mut tickets = Vec::new();
//! for (slot, batch) in [(0, 3), (1, 1)] {
//!     let mut slot = session.slot(slot)?;
//!     slot.set_batch(batch)?;
//!     slot.input::<f32>("x")?.fill(batch as f32);
//!     tickets.push(slot.submit()?);
//! }
//! for (slot, ticket) in tickets.into_iter().enumerate() {
//!     session.wait(ticket)?;
//!     println!("{:?}", session.slot(slot)?.output::<f32>("y")?);
//! }
//! # Ok::<(), trtforge_runtime::Error>(())
//! ```
//!
//! # Watching
//!
//! A [`monitor::Monitor`] samples ledger, device and process on a thread of its own, without an allocation per sample, and gives a
//! recording of the whole run in bounded memory, as CSV or JSON. What goes wrong in it never reaches an inference.
//!
//! ```no_run
//! # use trtforge_runtime::Engine;
//! use trtforge_runtime::monitor::{Form, MeetingPlace, Monitor, MonitorOptions, OwnSource};
//!
//! # let engine = Engine::open("model.onnx")?;
//! let shown = Some(MeetingPlace::of_user()?); // `trtforge watch` finds this process
//! let options = MonitorOptions { shown, ..MonitorOptions::default() };
//! let monitor = Monitor::start("camera 3", OwnSource::engine(&engine)?, options)?;
//! let counters = monitor.counters(); // counters.ran(batch) after each run
//! monitor.mark("night mode");
//! monitor.finish().save("run.csv", Form::Csv)?;
//! # drop(counters);
//! # Ok::<(), trtforge_runtime::Error>(())
//! ```
//!
//! # Stages
//!
//! A network whose weights and activations do not fit at once can run in stages, from a bundle that [`Engine::open`] takes like
//! any engine, or from [`Stage`]s that an application makes ([`EngineOptions::stages`]). Where a session's limit, the ledger's
//! budget or [`SessionOptions::budget_bytes`], holds everything, all stages stay loaded and runs allocate nothing on the device. Where
//! it does not, stages and the tensors between them come and go: the next stage is loaded while one runs where there is room,
//! and the one needed last is given up. The limit is never passed; one that the largest stage does not fit is refused when the
//! session is made. [`Session::is_streaming`] says which of both it is, [`Engine::stages`] how often each stage was loaded.
//!
//! # What the ledger does not see
//!
//! ONNX Runtime keeps activations, and copies of weights that it lays out anew, in memory of its own; of an ONNX model the
//! ledger has the weights as the file holds them, inputs and outputs. A driver's context, its kernels and what TensorRT keeps
//! per context for itself are not in it either.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `onnx` (default) | ONNX models on the CPU, through ONNX Runtime's shared library |
//! | `cuda` | [`device`] `Cuda`: memory, streams and events of NVIDIA GPUs, through the driver's shared library |
//! | `tensorrt` | TensorRT engines, through TensorRT's shared library; `tensorrt-enterprise` for the other flavour |
//! | `bench` | [`mod@bench`]: throughput, latency and memory of an engine, measured |
//!
//! All libraries are opened at run time; that one is missing, or that there is no GPU, is an error value.
//!
//! # What has not run
//!
//! Runs of TensorRT engines are compiled and not yet tried: they need a GPU that this TensorRT supports. That goes for the
//! capture of CUDA graphs, for outputs whose size only a run tells and for stages, too. `make gpu-check` tries all of it.
#![deny(missing_docs, unsafe_code)]

pub mod batcher;
#[cfg(feature = "bench")]
pub mod bench;
mod bytes;
pub mod device;
mod element;
mod engine;
mod error;
pub mod leak;
pub mod ledger;
pub mod monitor;
pub mod pool;
pub mod process;
mod session;
mod shape;
mod stages;
mod sync;

pub use batcher::{BatchEngine, Batcher, BatcherOptions, BatcherStatistics, Response, Sample, SessionEngine};
pub use bytes::{Bytes, gib, mib};
pub use device::{Class, Device, Faults, Host, Memory, MemoryInfo};
pub use element::{Element, ElementType};
pub use engine::{
    Call, Declared, Direction, Engine, EngineFault, EngineOptions, Function, Inputs, MAX_TENSORS, Outputs, Profile,
    Request, ShapeRange, Signature, TensorInfo,
};
pub use error::{Error, Result};
pub use ledger::{Budget, Holder, Ledger, Plan, Refusal, Scope};
pub use pool::{Pool, PoolLimits, PoolStatistics};
pub use session::{GraphState, RunTiming, Session, SessionOptions, Slot, Ticket, Workspace};
pub use shape::{MAX_RANK, Shape};
pub use stages::{Stage, StageStatistics};
#[cfg(feature = "onnx")]
pub use trtforge_onnxruntime::disable_usage_reporting;
