//! Looks at 32-bit values inside a network without taking them out of it.
//!
//! An output lives until the run ends, so declaring every interesting value as one (see [`crate::Observer`]) takes the memory of all of them at once. Here each
//! watched value gets a reader instead: a node of an operator of our own, which calls back into this process and writes one byte. What it shows is ONNX Runtime's
//! own memory, freed as soon as the last reader is done, so that a watched run takes hardly more memory than a plain one.
//!
//! ONNX Runtime orders nodes by a search from the ends of the graph that begins with the last node; so the readers are appended back to front, and each runs right
//! behind the node whose value it reads. The order changes no result, only how long values live.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ort::operator::{
    BoxedKernel, ComputeContext, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput,
};
use ort::value::TensorElementType;
use trtforge_graph::construct::{node, opset_import, tensor_value};
use trtforge_graph::proto::ModelProto;
use trtforge_graph::{ElementType, Model, Tensor};

use crate::OnnxRuntime;
use crate::error::{Error, Result};
use crate::session::{Session, SessionConfig, unranked_outputs};
use crate::staging::{Contents, Staged, settle_initializers};

const DOMAIN: &str = "trtforge.watch";
const OPERATOR: &str = "Reader";
const INDEX: &str = "index";

/// What looks at the watched values.
pub trait Watcher: Send + 'static {
    /// Sees the value that was named as number `index`: its shape and its elements in row-major order. Called once per value and run, from within the run.
    fn see(&mut self, index: usize, shape: &[i64], values: &[f32]);
}

/// A model opened so that a [`Watcher`] sees chosen values.
#[derive(Debug)]
pub struct Watched<W> {
    session: Session,
    watcher: Arc<Mutex<W>>,
    receipts: Vec<String>,
}

impl OnnxRuntime {
    /// Opens `model` once for each of `watchers`, so that each sees the values `names`: inputs of the model, or what nodes of its main graph make, of 32-bit
    /// floating-point numbers. The sessions are independent, for as many threads; their weights are one mapped file.
    ///
    /// # Errors
    /// A name is neither an input nor made by any node; a value is of another type; otherwise as for [`OnnxRuntime::session`].
    pub fn watch<W: Watcher>(
        &self,
        model: &Model,
        names: &[&str],
        config: &SessionConfig,
        watchers: impl IntoIterator<Item = W>,
    ) -> Result<Vec<Watched<W>>> {
        let mut proto = model.proto().clone();
        settle_initializers(&mut proto);
        check_names(&proto, names)?;
        let receipts = add_readers(&mut proto, names);
        let unranked = unranked_outputs(&proto);
        let staged = Staged::new(proto, Contents::Data)?;
        let open = |watcher| {
            let watcher = Arc::new(Mutex::new(watcher));
            let domain = domain(Arc::clone(&watcher) as _).map_err(|error| Error::rejected(error.message()))?;
            let session = self.open_staged(&staged, &unranked, config, Some(domain));
            let session = session.map_err(|error| error.located(&model.proto().graph))?;
            Ok(Watched { session, watcher, receipts: receipts.clone() })
        };
        watchers.into_iter().map(open).collect()
    }
}

fn check_names(proto: &ModelProto, names: &[&str]) -> Result<()> {
    let graph = &proto.graph;
    let made = graph.node.iter().flat_map(|node| &node.output).map(String::as_str);
    let known: HashSet<&str> = made.chain(graph.input.iter().map(|input| input.name())).collect();
    match names.iter().find(|name| name.is_empty() || !known.contains(*name)) {
        Some(unknown) => Err(Error::UnknownOutput { name: (*unknown).to_owned() }),
        None => Ok(()),
    }
}

/// Appends a reader for each of `names`, the last one first, and returns the names of what they write.
fn add_readers(proto: &mut ModelProto, names: &[&str]) -> Vec<String> {
    proto.opset_import.push(opset_import(DOMAIN, 1));
    let graph = proto.graph.mut_or_insert_default();
    let receipt = |index: usize| format!("__trtforge_seen_{index}");
    for (index, name) in names.iter().enumerate().rev() {
        let output = receipt(index);
        let reader = node(OPERATOR, &output, [*name], [output.as_str()]);
        graph.node.push(reader.in_domain(DOMAIN).attr_int(INDEX, index as i64));
        graph.output.push(tensor_value(&output, ElementType::UInt8, []));
    }
    (0..names.len()).map(receipt).collect()
}

fn domain(watcher: Arc<Mutex<dyn Watcher>>) -> ort::Result<OperatorDomain> {
    OperatorDomain::new(DOMAIN)?.add(Reader { watcher })
}

/// The operator: one 32-bit tensor in, one byte out.
struct Reader {
    watcher: Arc<Mutex<dyn Watcher>>,
}

impl Operator for Reader {
    type Kernel<'attr> = BoxedKernel<'attr>;

    fn name(&self) -> &str {
        OPERATOR
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::required(TensorElementType::Float32)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Uint8)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<BoxedKernel<'attr>> {
        let index = context.get::<i64>(INDEX).and_then(|index| usize::try_from(index).ok());
        let index = index.ok_or_else(|| ort::Error::new("a reader without an index"))?;
        let watcher = Arc::clone(&self.watcher);
        Ok(Box::new(move |context: &ComputeContext| read(context, &watcher, index)))
    }
}

fn read(context: &ComputeContext, watcher: &Mutex<dyn Watcher>, index: usize) -> ort::Result<()> {
    let input = context.input(0)?.ok_or_else(|| ort::Error::new("a reader without an input"))?;
    let (shape, values) = input.try_extract_tensor::<f32>()?;
    // A panic must not reach ONNX Runtime, which could not unwind.
    let seen = catch_unwind(AssertUnwindSafe(|| lock(watcher).see(index, shape, values)));
    seen.map_err(|_| ort::Error::new("the watcher panicked"))?;
    let mut output = context.output(0, Vec::<i64>::new())?.ok_or_else(|| ort::Error::new("no output"))?;
    output.try_extract_tensor_mut::<u8>()?.1.fill(1);
    Ok(())
}

fn lock<W: ?Sized>(watcher: &Mutex<W>) -> MutexGuard<'_, W> {
    watcher.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<W: Watcher> Watched<W> {
    /// The session, whose inputs are described there.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The watcher, between runs.
    pub fn watcher(&mut self) -> MutexGuard<'_, W> {
        lock(&self.watcher)
    }

    /// Runs the model on `inputs`; the watcher sees every watched value before this returns.
    ///
    /// # Errors
    /// As for [`Session::run`]. The watcher may have seen some of the values then.
    pub fn run(&mut self, inputs: &[(&str, &Tensor)]) -> Result<()> {
        let receipts: Vec<&str> = self.receipts.iter().map(String::as_str).collect();
        self.session.run(inputs, Some(&receipts)).map(drop)
    }
}
