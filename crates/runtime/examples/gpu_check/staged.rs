//! Engines in stages: the same answer whether stages stay in memory or come and go, within the least memory, without growth.

use std::path::Path;
use std::time::Instant;

use trtforge_runtime::{Budget, Engine, EngineOptions, Ledger, Request, Result, Session, ShapeRange};

use super::accuracy;
use super::inputs::RunShape;
use super::report::{Check, Subject};
use super::running::{self, Used};

/// All checks of a bundle.
pub fn check(
    path: &Path,
    model: &Path,
    manifest: &serde_json::Value,
    runs: usize,
    most_growth: f64,
    used_bytes: impl Fn() -> Result<Used>,
) -> Result<Vec<Check>> {
    // A ledger that has room for nothing asks for the least.
    let (needy, _) = opened(path, Budget::device(1))?;
    let least = needy.plan(&Request::default())?.device_bytes();
    let (kept, _) = opened(path, Budget::default())?;
    let mut checks = accuracy::check(&kept, model, manifest, &shapes(&kept)?)?;
    let (wanted, kept_seconds) = answer(&mut running::session(&kept, 1, false)?, runs)?;
    let all = kept.ledger().peak_device_bytes();
    drop(kept);
    let (streamed, ledger) = opened(path, Budget::device(least))?;
    let mut session = running::session(&streamed, 1, false)?;
    let comes_and_goes = session.is_streaming();
    let (got, streamed_seconds) = answer(&mut session, runs)?;
    drop(session);
    let of = |name| Subject { engine: streamed.name(), name };
    checks.extend([
        of("device bytes with all stages").told(all),
        of("stages come and go in the least memory").equal(comes_and_goes, true),
        of("device bytes at most with stages that come and go")
            .at_most(ledger.peak_device_bytes() as f64, least as f64),
        of("the same answer from stages that come and go").equal(got == wanted, true),
        of("seconds of a run with all stages").told(kept_seconds),
        of("seconds of a run with stages that come and go").told(streamed_seconds),
        of("loads of the stages").told(streamed.stages().iter().map(|stage| stage.loads).collect::<Vec<_>>()),
    ]);
    checks.extend(running::soak(&streamed, 1, runs, most_growth, used_bytes)?);
    Ok(checks)
}

fn opened(path: &Path, budget: Budget) -> Result<(Engine, Ledger)> {
    let ledger = Ledger::new(budget);
    let options = EngineOptions { ledger: ledger.clone(), ..EngineOptions::default() };
    Ok((options.open(path)?, ledger))
}

/// The smallest and the largest shapes; where there is no profile, those of a session by default.
fn shapes(engine: &Engine) -> Result<Vec<RunShape>> {
    let signature = engine.signature();
    let mut shapes: Vec<RunShape> = Vec::new();
    for ranges in signature.profiles.iter().map(|profile| &profile.inputs) {
        for (label, of) in [("min", (|range| range.min) as fn(&ShapeRange) -> _), ("max", |range| range.max)] {
            let inputs = signature.inputs.iter().zip(ranges).map(|(input, range)| (input.name.clone(), of(range)));
            let shape = RunShape { label: label.to_owned(), inputs: inputs.collect() };
            if shapes.iter().all(|known| known.inputs != shape.inputs) {
                shapes.push(shape);
            }
        }
    }
    if shapes.is_empty() {
        let mut session = running::session(engine, 1, false)?;
        let slot = session.slot(0)?;
        let names = signature.inputs.iter().map(|input| &input.name);
        let inputs = names.map(|name| Ok((name.clone(), slot.input_shape(name)?))).collect::<Result<_>>()?;
        shapes.push(RunShape { label: "default".to_owned(), inputs });
    }
    Ok(shapes)
}

/// What the last of several runs gives, and the seconds of one.
fn answer(session: &mut Session, runs: usize) -> Result<(Vec<u8>, f64)> {
    (0..running::WARM_UP).try_for_each(|_| session.run())?;
    let start = Instant::now();
    (0..runs).try_for_each(|_| session.run())?;
    let seconds = start.elapsed().as_secs_f64() / runs as f64;
    Ok((running::answer(session, 0)?, seconds))
}
