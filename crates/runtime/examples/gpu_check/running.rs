//! What holds for runs of any engine: no allocation, the same answer in every slot and from a graph, no growth.

use std::time::Instant;

use serde_json::json;
use trtforge_runtime::{Engine, GraphState, Request, Result, Session, SessionOptions};

use super::inputs::fill;
use super::report::{Check, Subject};

/// Runs before anything is counted or timed: kernels are compiled, graphs captured.
pub const WARM_UP: usize = 10;

/// A session whose inputs are filled with the same noise each time.
pub fn session(engine: &Engine, slots: usize, cuda_graph: bool) -> Result<Session> {
    let options = SessionOptions { cuda_graph, ..Request::default().slots(slots).into() };
    let mut session = engine.session(options)?;
    for slot in 0..slots {
        fill(&mut session.slot(slot)?, &engine.signature().inputs, 1)?;
    }
    Ok(session)
}

/// Bytes of all outputs of a slot.
pub fn answer(session: &mut Session, slot: usize) -> Result<Vec<u8>> {
    let engine = session.engine().clone();
    let mut slot = session.slot(slot)?;
    let mut bytes = Vec::new();
    for output in &engine.signature().outputs {
        bytes.extend_from_slice(slot.read_output(&output.name)?);
    }
    Ok(bytes)
}

/// Goes around the slots `rounds` times, each given its next run as soon as its last is done. Inferences per second.
fn throughput(session: &mut Session, rounds: usize) -> Result<f64> {
    let slots = session.slots();
    let mut tickets = (0..slots).map(|slot| session.slot(slot)?.submit()).collect::<Result<Vec<_>>>()?;
    let start = Instant::now();
    for _ in 0..rounds {
        for (slot, ticket) in tickets.iter_mut().enumerate() {
            session.wait(*ticket)?;
            *ticket = session.slot(slot)?.submit()?;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    session.wait_all()?;
    Ok((rounds * slots) as f64 / seconds)
}

/// Allocations of a run, by a counter of all that this program makes.
pub fn allocations(engine: &Engine, runs: usize, count: impl Fn() -> u64) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for cuda_graph in [false, true] {
        let mut session = session(engine, 1, cuda_graph)?;
        (0..WARM_UP).try_for_each(|_| session.run())?;
        let before = count();
        (0..runs).try_for_each(|_| session.run())?;
        let allocations = count() - before;
        let name = format!("host allocations in {runs} runs, {}", graphs(cuda_graph));
        checks.push(Subject { engine: engine.name(), name: &name }.equal(allocations, 0));
    }
    Ok(checks)
}

fn graphs(cuda_graph: bool) -> &'static str {
    if cuda_graph { "graph" } else { "no graph" }
}

/// The same answer with graphs and without, in one stream and in several; throughput of each is told.
pub fn streams(engine: &Engine, rounds: usize, wants_graph: bool) -> Result<Vec<Check>> {
    let mut plain = session(engine, 1, false)?;
    plain.run()?;
    let wanted = answer(&mut plain, 0)?;
    drop(plain);
    let mut checks = Vec::new();
    for cuda_graph in [false, true] {
        for slots in [1, 2, 4] {
            let mut session = session(engine, slots, cuda_graph)?;
            throughput(&mut session, WARM_UP)?;
            let per_second = throughput(&mut session, rounds)?;
            let mut differing = 0;
            for slot in 0..slots {
                differing += usize::from(answer(&mut session, slot)? != wanted);
            }
            let label = format!("{slots} streams, {}", graphs(cuda_graph));
            let name = format!("slots with another answer, {label}");
            checks.push(Subject { engine: engine.name(), name: &name }.equal(differing, 0));
            let name = format!("inferences per second, {label}");
            checks.push(Subject { engine: engine.name(), name: &name }.told(per_second));
            if cuda_graph {
                checks.push(graph_check(engine, &label, &session.cuda_graph(), wants_graph));
            }
        }
    }
    Ok(checks)
}

fn graph_check(engine: &Engine, label: &str, state: &GraphState, wants_graph: bool) -> Check {
    let (text, name) = (format!("{state:?}"), format!("state of the graph, {label}"));
    let subject = Subject { engine: engine.name(), name: &name };
    if wants_graph { subject.equal(text, "Active") } else { subject.told(text) }
}

/// How often the memory in use is looked at in a soak.
const LOOKS: usize = 20;

/// Bytes in use; only how they change counts.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    pub device: f64,
    pub host: f64,
}

/// Many inferences in `slots` at once, with the memory that is in use looked at now and then.
pub fn soak(
    engine: &Engine,
    slots: usize,
    runs: usize,
    most_growth: f64,
    used_bytes: impl Fn() -> Result<Used>,
) -> Result<Vec<Check>> {
    let mut session = session(engine, slots, false)?;
    throughput(&mut session, WARM_UP)?;
    let rounds = (runs / LOOKS / slots).max(1);
    let (mut device, mut host) = (Vec::with_capacity(LOOKS), Vec::with_capacity(LOOKS));
    for _ in 0..LOOKS {
        throughput(&mut session, rounds)?;
        let used = used_bytes()?;
        device.push(used.device);
        host.push(used.host);
    }
    let total = rounds * slots * LOOKS;
    let check = |kind: &str, series: &[f64]| {
        let name = format!("growth of {kind} memory in {total} inferences, bytes");
        let growth = slope(series) * LOOKS as f64;
        Subject { engine: engine.name(), name: &name }.at_most(growth, most_growth)
    };
    let looks = Subject { engine: engine.name(), name: "memory in use in the soak, bytes" };
    Ok(vec![check("device", &device), check("host", &host), looks.told(json!({ "device": device, "host": host }))])
}

/// Steepness of the straight line that fits a series best, per step.
pub fn slope(series: &[f64]) -> f64 {
    let count = series.len() as f64;
    let (middle, mean) = ((count - 1.0) / 2.0, series.iter().sum::<f64>() / count);
    let steps = series.iter().enumerate().map(|(index, value)| (index as f64 - middle, value - mean));
    let (across, along) = steps.fold((0.0, 0.0), |(xy, xx), (x, y)| (xy + x * y, xx + x * x));
    if along == 0.0 { 0.0 } else { across / along }
}
