//! A slot of a TensorRT session: inputs go from locked host memory to the device, the engine runs, outputs come back, all in
//! one stream. Every address is given to TensorRT once. Runs need a GPU that TensorRT serves, and have not been tried.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError};

use trtforge_tensorrt::ExecutionContext;

use super::replay::{Replayable, Replays};
use super::tensorrt::{TensorRt, set_shapes, sizes};
use super::{Engine, Layout, Signature};
use crate::device::{Class, Cuda, CudaEvent, CudaGraph, CudaMemory, CudaStream, Device};
use crate::error::{Error, Result};
use crate::ledger::{Allocation, Allocator, Ledger};
use crate::session::workspace::Block;
use crate::session::{GraphState, LaneOptions, RunTiming};
use crate::shape::Shape;

/// A block for activations that sessions use in turn, and the end of its last use.
pub(crate) struct SharedBlock {
    pub(crate) gpu: Cuda,
    pub(crate) block: Allocation<Cuda>,
    pub(crate) passed: Mutex<CudaEvent>,
}

impl SharedBlock {
    pub(crate) fn new(gpu: &Cuda, ledger: &Ledger, owner: &str, bytes: u64) -> Result<Self> {
        let allocator = Allocator::new(gpu.clone(), ledger.clone(), owner);
        let block = allocator.allocate(Class::Activation, bytes)?;
        Ok(Self { gpu: gpu.clone(), block, passed: Mutex::new(gpu.event()?) })
    }
}

enum Activation {
    Own(Allocation<Cuda>),
    Shared(Arc<SharedBlock>),
}

impl Activation {
    fn block(&self) -> &Allocation<Cuda> {
        match self {
            Self::Own(block) => block,
            Self::Shared(shared) => &shared.block,
        }
    }

    fn shared(&self) -> Option<Arc<SharedBlock>> {
        match self {
            Self::Own(_) => None,
            Self::Shared(shared) => Some(Arc::clone(shared)),
        }
    }
}

/// A slot on a GPU.
pub(crate) struct GpuLane {
    runs: Runs,
    replays: Replays<CudaGraph>,
}

/// Points in the stream of a slot between which the time of a run is told.
struct Marks {
    start: CudaEvent,
    copied_in: CudaEvent,
    computed: CudaEvent,
    copied_out: CudaEvent,
}

impl Marks {
    fn new(gpu: &Cuda) -> Result<Self> {
        let event = || gpu.timed_event();
        Ok(Self { start: event()?, copied_in: event()?, computed: event()?, copied_out: event()? })
    }

    /// What a run that is done took.
    fn timing(&self) -> Result<RunTiming> {
        Ok(RunTiming {
            copy_in: self.copied_in.since(&self.start)?,
            compute: self.computed.since(&self.copied_in)?,
            copy_out: self.copied_out.since(&self.computed)?,
        })
    }
}

/// What a run needs.
struct Runs {
    /// First field: its end waits for what is under way, before context and blocks go.
    stream: CudaStream,
    done: CudaEvent,
    work: Work,
    /// Present where runs are timed.
    marks: Option<Marks>,
    /// Whether the last run passed the marks; a replayed one does not.
    marked: bool,
    gpu: Cuda,
}

/// What a stream is given for a run.
struct Work {
    context: ExecutionContext,
    host_inputs: Vec<Allocation<Cuda>>,
    host_outputs: Vec<Allocation<Cuda>>,
    inputs: Vec<Allocation<Cuda>>,
    outputs: Vec<Allocation<Cuda>>,
    activation: Activation,
    /// Whether inputs and outputs are copied to and fro.
    copies: bool,
    /// Bytes of inputs, then outputs, at the current shapes; of open outputs, as the last run told.
    used: Vec<u64>,
    /// For each output whether only a run tells its size.
    open: Vec<bool>,
    /// For each output the shape that the last run told, where it was open.
    told: Vec<Option<Shape>>,
    engine: Engine,
}

impl GpuLane {
    /// Allocates and binds everything a slot of `engine` needs, in the name of `owner`.
    pub(crate) fn new(
        rt: &TensorRt,
        engine: &Engine,
        owner: &str,
        layout: &Layout,
        shared: Option<&Block>,
        options: &LaneOptions<'_>,
    ) -> Result<Self> {
        let allocator = Allocator::new(rt.gpu.clone(), engine.ledger().clone(), owner);
        let blocks = |class, bytes: &mut dyn Iterator<Item = u64>| -> Result<Vec<Allocation<Cuda>>> {
            bytes.map(|bytes| allocator.allocate(class, bytes)).collect()
        };
        let (inputs, outputs) = (&layout.input_bytes, &layout.output_bytes);
        let bytes = rt.activation_bytes(layout);
        let activation = match shared {
            Some(Block::Cuda(block)) => Activation::Shared(Arc::clone(block)),
            _ => Activation::Own(allocator.allocate(Class::Activation, bytes)?),
        };
        let gpu = rt.gpu.clone();
        gpu.make_current()?;
        let (stream, mut context) = (gpu.stream()?, rt.context()?);
        let open = open_outputs(&mut context, &stream, engine.signature(), layout)?;
        let work = Work {
            context,
            host_inputs: blocks(Class::PinnedInput, &mut inputs.iter().copied())?,
            host_outputs: blocks(Class::PinnedOutput, &mut outputs.iter().flatten().copied())?,
            inputs: blocks(Class::Io, &mut inputs.iter().copied())?,
            outputs: blocks(Class::Io, &mut outputs.iter().flatten().copied())?,
            activation,
            copies: !options.without_copies,
            used: vec![0; inputs.len() + outputs.len()],
            open,
            told: vec![None; outputs.len()],
            engine: engine.clone(),
        };
        let marks = options.timed.then(|| Marks::new(&gpu)).transpose()?;
        let mut runs = Runs { stream, done: gpu.event()?, work, marks, marked: false, gpu };
        runs.work.bind(engine.signature(), bytes)?;
        Ok(Self { runs, replays: Replays::new(options.cuda_graph) })
    }

    pub(crate) fn graph_state(&self) -> GraphState {
        self.replays.state()
    }

    pub(crate) fn input(&mut self, input: usize) -> Result<&mut [u8]> {
        host_bytes(&mut self.runs.work.host_inputs, input)
    }

    /// An output's block, or what the last run wrote of it where only that told its size.
    pub(crate) fn output(&mut self, output: usize) -> Result<&mut [u8]> {
        let work = &mut self.runs.work;
        let (open, used) = (work.open[output], work.used[work.inputs.len() + output] as usize);
        let bytes = host_bytes(&mut work.host_outputs, output)?;
        Ok(if open { bytes.get_mut(..used).unwrap_or_default() } else { bytes })
    }

    /// The shape that the last run gave an output whose size only a run tells.
    pub(crate) fn open_output_shape(&self, output: usize) -> Result<Shape> {
        let told = self.runs.work.told.get(output).copied().flatten();
        told.ok_or_else(|| Error::Run { reason: format!("output {output} has no shape before a run") })
    }

    /// Gives the next runs these shapes; the graph of others goes.
    pub(crate) fn reshape(&mut self, profile: usize, inputs: &[Shape], outputs: &mut [Option<Shape>]) -> Result<()> {
        let Runs { stream, work, gpu, .. } = &mut self.runs;
        gpu.make_current()?;
        self.replays.reset();
        let engine = work.engine.clone();
        let signature = engine.signature();
        set_shapes(&mut work.context, stream, signature, profile, inputs, outputs)?;
        work.resize(signature, inputs, outputs)
    }

    /// Starts copies and the run; returns at once.
    pub(crate) fn start(&mut self) -> Result<()> {
        self.runs.gpu.make_current()?;
        let started = self.enqueue();
        if started.is_err() {
            // What got under way ends before anybody sees the buffers; its own failure is told by the first error.
            let _ = self.runs.gpu.synchronize(&mut self.runs.stream);
        }
        started
    }

    fn enqueue(&mut self) -> Result<()> {
        let Self { runs, replays } = self;
        let shared = runs.work.activation.shared();
        let passed = shared.as_ref().map(|shared| shared.passed.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(passed) = &passed {
            runs.gpu.wait(&mut runs.stream, passed)?;
        }
        let started = replays.start(runs);
        if let Some(passed) = &passed {
            runs.gpu.record(passed, &mut runs.stream)?;
        }
        started?;
        runs.gpu.record(&runs.done, &mut runs.stream)
    }

    pub(crate) fn is_done(&self) -> Result<bool> {
        self.runs.gpu.is_done(&self.runs.done)
    }

    /// Waits for the run; what its parts took, where they are timed and it was not replayed from a graph.
    pub(crate) fn finish(&mut self) -> Result<Option<RunTiming>> {
        let Runs { stream, marks, marked, gpu, .. } = &mut self.runs;
        gpu.synchronize(stream)?;
        marks.as_ref().filter(|_| *marked).map(Marks::timing).transpose()
    }
}

impl Replayable for Runs {
    type Graph = CudaGraph;

    fn obstacle(&self) -> Option<&'static str> {
        if self.work.open.contains(&true) {
            return Some("only a run tells the size of an output");
        }
        // SAFETY: the stream lives.
        let capturable = unsafe { self.work.context.is_capturable(self.stream.as_raw()) };
        (!capturable).then_some("TensorRT says that runs at these shapes cannot be captured")
    }

    fn enqueue(&mut self) -> Result<()> {
        self.marked = true;
        self.work.give(&self.gpu, &mut self.stream, self.marks.as_ref())
    }

    fn capture(&mut self) -> Result<CudaGraph> {
        let Self { work, gpu, stream, .. } = self;
        gpu.capture(stream, |stream| work.give(gpu, stream, None))
    }

    fn launch(&mut self, graph: &CudaGraph) -> Result<()> {
        self.marked = false;
        self.gpu.launch(graph, &mut self.stream, self.work.memory())
    }
}

impl Work {
    /// Gives TensorRT all addresses.
    fn bind(&mut self, signature: &Signature, activation_bytes: u64) -> Result<()> {
        for (tensor, block) in signature.inputs.iter().zip(&self.inputs) {
            // SAFETY: device memory for the largest shape of this tensor, which the lane owns; it goes after the stream,
            // whose end waits for every run.
            unsafe { self.context.set_tensor_address(&tensor.name, address(block))? };
        }
        for ((tensor, block), open) in signature.outputs.iter().zip(&self.outputs).zip(&self.open) {
            // SAFETY: as above.
            unsafe {
                self.context.set_tensor_address(&tensor.name, address(block))?;
                if *open {
                    self.context.set_output_block(&tensor.name, address(block), block.len())?;
                }
            }
        }
        if activation_bytes > 0 {
            let address = address(self.activation.block());
            // SAFETY: device memory of at least that many bytes, aligned as the driver does, owned or shared for as long
            // as the lane is there; users of a shared block wait for each other by its event.
            unsafe { self.context.set_device_memory(address, activation_bytes) };
        }
        Ok(())
    }

    /// Takes over the bytes of all tensors at these shapes.
    fn resize(&mut self, signature: &Signature, inputs: &[Shape], outputs: &[Option<Shape>]) -> Result<()> {
        self.told.fill(None);
        let shapes = inputs.iter().copied().map(Some).chain(outputs.iter().copied());
        let blocks = self.inputs.iter().chain(&self.outputs);
        let tensors = signature.inputs.iter().chain(&signature.outputs);
        for (((used, shape), block), tensor) in self.used.iter_mut().zip(shapes).zip(blocks).zip(tensors) {
            let bytes = shape.map_or(Some(0), |shape| tensor.bytes_at(&shape)).filter(|bytes| *bytes <= block.len());
            let reason = || format!("{:?} is larger than for the largest inputs", tensor.name);
            *used = bytes.ok_or_else(|| Error::Run { reason: reason() })?;
        }
        Ok(())
    }

    /// Gives a stream one run: copies to the device, the engine, copies back; between them the marks, where there are any.
    fn give(&mut self, gpu: &Cuda, stream: &mut CudaStream, marks: Option<&Marks>) -> Result<()> {
        let mark = |which: fn(&Marks) -> &CudaEvent, stream: &mut CudaStream| {
            marks.map_or(Ok(()), |marks| gpu.record(which(marks), stream))
        };
        let count = self.inputs.len();
        mark(|marks| &marks.start, stream)?;
        for (index, (host, device)) in self.host_inputs.iter().zip(&self.inputs).enumerate().filter(|_| self.copies) {
            gpu.copy(stream, host.memory(), device.memory(), self.used[index])?;
        }
        mark(|marks| &marks.copied_in, stream)?;
        self.memory().for_each(|memory| stream.hold(memory));
        // SAFETY: the stream lives, addresses are those of `bind`, the blocks stay until the stream was waited for, and the
        // stream goes before the context. Of a captured run this holds at each launch, for which the stream holds the
        // blocks anew.
        unsafe { self.context.enqueue(stream.as_raw())? };
        self.take_told_shapes()?;
        mark(|marks| &marks.computed, stream)?;
        for (index, (device, host)) in self.outputs.iter().zip(&self.host_outputs).enumerate().filter(|_| self.copies) {
            gpu.copy(stream, device.memory(), host.memory(), self.used[count + index])?;
        }
        mark(|marks| &marks.copied_out, stream)
    }

    /// Reads the shapes that a run has told by the time that it was started.
    fn take_told_shapes(&mut self) -> Result<()> {
        let count = self.inputs.len();
        for (index, tensor) in self.engine.signature().outputs.iter().enumerate().filter(|(index, _)| self.open[*index])
        {
            let mut buffer = [0; crate::MAX_RANK];
            let shape = self.context.output_shape(&tensor.name, &mut buffer).and_then(sizes);
            let room = self.outputs[index].len();
            let bytes = shape.and_then(|shape| tensor.bytes_at(&shape)).filter(|bytes| *bytes <= room);
            let reason = || format!("{:?} got no shape of at most {room} bytes", tensor.name);
            self.used[count + index] = bytes.ok_or_else(|| Error::Run { reason: reason() })?;
            self.told[index] = shape;
        }
        Ok(())
    }

    /// Every block that a run touches.
    fn memory(&self) -> impl Iterator<Item = &CudaMemory> {
        let own = [&self.host_inputs, &self.inputs, &self.outputs, &self.host_outputs].into_iter().flatten();
        own.chain([self.activation.block()]).map(Allocation::memory)
    }
}

/// For each output whether its size is open even where those of all inputs are settled.
fn open_outputs(
    context: &mut ExecutionContext,
    stream: &CudaStream,
    signature: &Signature,
    layout: &Layout,
) -> Result<Vec<bool>> {
    let mut outputs = vec![None; signature.outputs.len()];
    let Some((profile, ranges)) = layout.profiles.first() else { return Ok(vec![false; outputs.len()]) };
    let largest: Vec<Shape> = ranges.iter().map(|range| range.max).collect();
    set_shapes(context, stream, signature, *profile, &largest, &mut outputs)?;
    Ok(outputs.iter().map(Option::is_none).collect())
}

/// A block's address on the device.
pub(crate) fn address(block: &Allocation<Cuda>) -> *mut c_void {
    block.memory().address() as *mut c_void
}

/// A block's bytes for the host.
pub(crate) fn host_bytes(blocks: &mut [Allocation<Cuda>], index: usize) -> Result<&mut [u8]> {
    let what = || format!("the buffer of tensor {index}");
    blocks.get_mut(index).and_then(Allocation::bytes).ok_or_else(|| Error::InFlight { what: what() })
}
