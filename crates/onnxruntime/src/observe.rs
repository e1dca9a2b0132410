//! Looks at the values inside a network while it runs.
//!
//! ONNX Runtime gives out only what a model declares as outputs, so the wanted values are declared as further outputs of
//! a copy. The caller names the values and sees each run's tensors one by one; how many are named bounds the memory.

use std::collections::HashSet;

use trtforge_graph::proto::{ModelProto, ValueInfoProto};
use trtforge_graph::{Model, Tensor};

use crate::OnnxRuntime;
use crate::error::{Error, Result};
use crate::session::{Session, SessionConfig};
use crate::staging::settle_initializers;

/// A model opened so that chosen values inside it can be seen.
#[derive(Debug)]
pub struct Observer {
    session: Session,
    names: Vec<String>,
}

impl OnnxRuntime {
    /// Opens `model` so that the values `names`, which may be any values that nodes of its main graph make, can be seen.
    ///
    /// # Errors
    /// A name is not made by any node; otherwise as for [`OnnxRuntime::session`].
    pub fn observe(&self, model: &Model, names: &[&str], config: &SessionConfig) -> Result<Observer> {
        let mut proto = model.proto().clone();
        settle_initializers(&mut proto);
        add_outputs(&mut proto, names)?;
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let session = self.open(proto, config).map_err(|error| error.located(&model.proto().graph))?;
        Ok(Observer { session, names })
    }
}

fn add_outputs(proto: &mut ModelProto, names: &[&str]) -> Result<()> {
    let graph = proto.graph.mut_or_insert_default();
    let made: HashSet<&str> = graph.node.iter().flat_map(|node| node.output.iter().map(String::as_str)).collect();
    if let Some(unknown) = names.iter().find(|name| name.is_empty() || !made.contains(*name)) {
        return Err(Error::UnknownOutput { name: (*unknown).to_owned() });
    }
    let mut declared: HashSet<String> = graph.output.iter().map(|output| output.name().to_owned()).collect();
    for name in names.iter().filter(|name| declared.insert((**name).to_owned())) {
        graph.output.push(ValueInfoProto { name: Some((*name).to_owned()), ..Default::default() });
    }
    Ok(())
}

impl Observer {
    /// The session, whose inputs and outputs are described there; the named values are among the outputs.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Runs the model on `inputs` and shows each named value to `see`, in the order of the names.
    ///
    /// # Errors
    /// As for [`Session::run`].
    pub fn run(&mut self, inputs: &[(&str, &Tensor)], mut see: impl FnMut(&str, &Tensor)) -> Result<()> {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        for (name, tensor) in self.session.run(inputs, Some(&names))? {
            see(&name, &tensor);
        }
        Ok(())
    }
}
