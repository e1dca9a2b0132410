//! Engines that run in stages: the same outputs, within every budget, whatever fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use trtforge_runtime::{
    Batcher, BatcherOptions, Budget, Class, ElementType, EngineFault, EngineOptions, Error, Faults, Function, Host,
    Request, Sample, Scope, SessionEngine, SessionOptions, Stage, TensorInfo, Workspace,
};

use crate::functions::{Gate, Gated};
use crate::parts::{BATCH, FAILS, Network, Rig, Switch, networks, out_of_memory, row};

fn request() -> Request {
    Request::batch(BATCH)
}

/// Runs each batch and compares bit for bit.
fn agrees(network: &Network, rig: &Rig, options: SessionOptions) -> bool {
    let mut session = rig.engine.session(options).unwrap();
    let rounds = [BATCH, 1, BATCH, 2];
    for (seed, batch) in (1..).zip(rounds) {
        assert_eq!(network.run(&mut session, batch, seed).unwrap(), network.expected(batch, seed));
    }
    let runs: Vec<u64> = rig.engine.stages().iter().map(|stage| stage.runs).collect();
    assert_eq!(runs, vec![rounds.len() as u64; network.parts.len()]);
    session.is_streaming()
}

fn nothing_is_left(rig: &Rig) {
    assert_eq!((rig.ledger.held().total_bytes(), rig.host.used_bytes(), rig.host.damage()), (0, 0, vec![]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The memory is reckoned anew in `parts`, so that the plan is not checked against itself.
    #[test]
    fn at_every_budget_outputs_are_the_same_and_the_peak_is_within_it(network in networks(), share in 0.0..1.0f64) {
        let (floor, full) = (network.floor(), network.full());
        prop_assert!(floor <= full);
        let between = floor + (share * (full - floor) as f64) as u64;
        for budget in [floor, between, full.saturating_sub(1), full, full + 1] {
            if budget < floor {
                continue;
            }
            let rig = network.rig(Budget::device(budget));
            let plan = rig.engine.plan(&request()).unwrap().device_bytes();
            prop_assert_eq!(plan, if budget >= full { full } else { floor });
            prop_assert_eq!(agrees(&network, &rig, request().into()), budget < full);
            let peak = rig.ledger.peak_device_bytes();
            prop_assert!(plan <= peak && peak <= budget, "{} {} {}", plan, peak, budget);
            nothing_is_left(&rig);
        }
        if floor < full {
            let rig = network.rig(Budget::device(floor));
            agrees(&network, &rig, request().into());
            prop_assert_eq!(rig.ledger.peak_device_bytes(), rig.engine.plan(&request()).unwrap().device_bytes());
        }
    }

    #[test]
    fn the_budget_of_a_session_holds_too(network in networks(), share in 0.0..1.0f64) {
        let (floor, full) = (network.floor(), network.full());
        let between = floor + (share * (full - floor) as f64) as u64;
        for budget in [floor, between, full] {
            let rig = network.rig(Budget::default());
            let options = SessionOptions { budget_bytes: Some(budget), ..request().into() };
            prop_assert_eq!(agrees(&network, &rig, options), budget < full);
            prop_assert!(rig.ledger.peak_device_bytes() <= budget);
            nothing_is_left(&rig);
        }
    }

    #[test]
    fn less_than_the_largest_stage_needs_is_refused_with_the_numbers(network in networks(), short in 1..50u64) {
        let (floor, limit) = (network.floor(), network.floor().saturating_sub(short));
        let rig = network.rig(Budget::device(limit));
        let Err(Error::OverBudget(refusal)) = rig.engine.session(request().into()) else { panic!() };
        prop_assert_eq!((refusal.scope, refusal.need_bytes, refusal.limit_bytes), (Scope::Device, floor, limit));
        let options = SessionOptions { budget_bytes: Some(limit), ..request().into() };
        let rig = network.rig(Budget::default());
        let Err(Error::OverBudget(refusal)) = rig.engine.session(options) else { panic!() };
        prop_assert_eq!((refusal.scope, refusal.need_bytes, refusal.limit_bytes), (Scope::Session, floor, limit));
        nothing_is_left(&rig);
    }
}

#[test]
fn a_resident_session_loads_once_and_its_runs_allocate_nothing() {
    let network = row(&[500, 300, 200], 6, 8);
    let rig = network.rig(Budget::device(network.full()));
    let mut session = rig.engine.session(request().into()).unwrap();
    assert_eq!((rig.ledger.held(), session.plan()), (rig.engine.plan(&request()).unwrap(), rig.ledger.held()));
    // Not one block more: the first that is asked for fails.
    rig.host.set_faults(Faults { failing_allocation: Some(0), ..Faults::default() });
    for seed in 0..5 {
        assert_eq!(network.run(&mut session, BATCH, seed).unwrap(), network.expected(BATCH, seed));
    }
    assert!(rig.engine.stages().iter().all(|stage| (stage.loads, stage.evictions, stage.runs) == (1, 0, 5)));
    assert_eq!(rig.ledger.peak_device_bytes(), network.full());
}

#[test]
fn with_room_for_two_stages_the_next_is_loaded_while_one_runs() {
    let network = row(&[1000; 4], 4, 0);
    let rig = network.rig(Budget::device(network.floor() + 1000));
    let mut session = rig.engine.session(request().into()).unwrap();
    for seed in 0..10 {
        assert_eq!(network.run(&mut session, BATCH, seed).unwrap(), network.expected(BATCH, seed));
    }
    for (stage, it) in rig.engine.stages().iter().enumerate() {
        let missed = u64::from(stage == 0);
        assert_eq!((it.runs, it.ahead_hits), (10, 10 - missed), "{it:?}");
        assert_eq!((it.weights_bytes, it.name.clone()), (1000, format!("part {stage}")));
        assert!(it.loads <= 11 && it.evictions >= it.loads - 1);
    }
    // With room for one only, every stage is loaded at its turn.
    let alone = network.rig(Budget::device(network.floor()));
    let mut session = alone.engine.session(request().into()).unwrap();
    network.run(&mut session, BATCH, 1).unwrap();
    assert!(alone.engine.stages().iter().all(|it| (it.loads, it.ahead_hits) == (1, 0)));
}

/// Fails one allocation after another: the session gives up what it can, and runs.
#[test]
fn out_of_memory_once_is_survived_wherever_it_comes() {
    let network = row(&[500, 300, 200], 6, 8);
    let rig = network.rig(Budget::device(network.floor() + 400));
    let mut session = rig.engine.session(request().into()).unwrap();
    network.run(&mut session, BATCH, 0).unwrap();
    for number in 0..12 {
        rig.host.set_faults(Faults { failing_allocation: Some(number), ..Faults::default() });
        assert_eq!(network.run(&mut session, BATCH, number).unwrap(), network.expected(BATCH, number));
    }
    drop(session);
    nothing_is_left(&rig);
}

#[test]
fn a_load_that_runs_out_of_memory_once_is_tried_again_and_one_that_always_does_is_an_error() {
    let network = row(&[500, 300, 200], 6, 8);
    let switch = Switch::default();
    let (seen, once) = (switch.clone(), Arc::new(AtomicBool::new(false)));
    let first = Arc::clone(&once);
    let rig = network.faulty(Host::new(), Budget::device(network.floor() + 10), move |stage, _| {
        if seen.is_failing(stage) || stage == 2 && first.swap(false, Ordering::SeqCst) {
            return Err(out_of_memory());
        }
        Ok(())
    });
    let mut session = rig.engine.session(request().into()).unwrap();
    once.store(true, Ordering::SeqCst);
    assert_eq!(network.run(&mut session, BATCH, 1).unwrap(), network.expected(BATCH, 1));
    assert!(!once.load(Ordering::SeqCst), "the fault never came");
    switch.fail(Some(1));
    for _ in 0..3 {
        let error = network.run(&mut session, BATCH, 2).unwrap_err();
        assert!(error.is_out_of_memory() && error.hint().is_some(), "{error}");
        assert!(matches!(&error, Error::Stage { stage: 2, stages: 3, name, .. } if name == "part 1"), "{error:?}");
        assert_eq!(error.to_string(), "stage 2 of 3 (part 1) failed");
        // Of tensors and activations only what always stays is left.
        assert_eq!((rig.ledger.held()[Class::Io], rig.ledger.held()[Class::Activation]), (network.kept(), 0));
    }
    switch.fail(None);
    assert_eq!(network.run(&mut session, 2, 3).unwrap(), network.expected(2, 3));
    drop(session);
    nothing_is_left(&rig);
}

#[test]
fn a_device_with_less_than_the_budget_makes_stages_come_and_go() {
    // Blocks are of whole lines; weights of functions are in the ledger alone.
    let network = row(&[500, 300, 200, 100], 1000, 1000);
    let tensor = 4 * 1000 * BATCH;
    let capacity = 2 * tensor + 2 * tensor + 2 * 1000 * BATCH;
    let rig = network.faulty(Host::with_capacity(capacity), Budget::default(), |_, _| Ok(()));
    assert!(agrees(&network, &rig, request().into()));
    nothing_is_left(&rig);
    let small = network.faulty(Host::with_capacity(2 * tensor + 2000), Budget::default(), |_, _| Ok(()));
    let mut session = small.engine.session(request().into()).unwrap();
    let error = network.run(&mut session, 1, 1).unwrap_err();
    assert!(matches!(error, Error::Stage { stage: 1, .. }) && error.is_out_of_memory(), "{error:?}");
    drop(session);
    nothing_is_left(&small);
    let tiny = network.faulty(Host::with_capacity(tensor), Budget::default(), |_, _| Ok(()));
    assert!(tiny.engine.session(request().into()).unwrap_err().is_out_of_memory());
    nothing_is_left(&tiny);
}

#[test]
fn a_stage_that_does_not_load_is_named_and_the_next_run_tries_again() {
    let network = row(&[500, 300, 200], 6, 8);
    for panics in [false, true] {
        let switch = Switch::default();
        let seen = switch.clone();
        let fault = move |stage, _| match seen.is_failing(stage) {
            true if panics => panic!("no such stage"),
            true => Err(Error::Run { reason: "no such stage".to_owned() }),
            false => Ok(()),
        };
        let rig = network.faulty(Host::new(), Budget::device(network.floor()), fault.clone());
        let mut session = rig.engine.session(request().into()).unwrap();
        switch.fail(Some(1));
        let Err(Error::Stage { stage: 2, source, .. }) = network.run(&mut session, BATCH, 1) else { panic!() };
        assert!(source.to_string().contains("no such stage"), "{source}");
        switch.fail(None);
        assert_eq!(network.run(&mut session, BATCH, 1).unwrap(), network.expected(BATCH, 1));
        // Where all would stay, there is no session without it.
        switch.fail(Some(2));
        let resident = network.faulty(Host::new(), Budget::default(), fault);
        assert!(matches!(resident.engine.session(request().into()), Err(Error::Stage { stage: 3, .. })));
        nothing_is_left(&resident);
    }
}

#[test]
fn a_stage_that_fails_ahead_of_its_turn_is_loaded_at_its_turn() {
    let network = row(&[500, 300, 200], 6, 8);
    let rig = network.faulty(Host::new(), Budget::device(network.full() - 1), |stage, loads| match (stage, loads) {
        (1, 0) => Err(Error::Run { reason: "not yet".to_owned() }),
        _ => Ok(()),
    });
    let mut session = rig.engine.session(request().into()).unwrap();
    assert_eq!(network.run(&mut session, BATCH, 1).unwrap(), network.expected(BATCH, 1));
    let stages = rig.engine.stages();
    assert_eq!((stages[1].loads, stages[1].ahead_hits, stages[2].ahead_hits), (1, 0, 1));
}

#[test]
fn a_run_that_fails_in_a_stage_leaves_the_session_usable() {
    let network = row(&[500, 300], 6, 8);
    for budget in [network.floor(), network.full()] {
        let rig = network.rig(Budget::device(budget));
        let mut session = rig.engine.session(request().into()).unwrap();
        session.input::<f32>("x").unwrap().fill(FAILS);
        let Err(Error::Stage { stage: 1, source, .. }) = session.run() else { panic!() };
        assert!(source.to_string().contains("part 0 was told to fail"), "{source}");
        assert_eq!(network.run(&mut session, BATCH, 1).unwrap(), network.expected(BATCH, 1));
        drop(session);
        nothing_is_left(&rig);
    }
}

#[test]
fn what_was_loaded_is_checked_against_what_the_stage_says() {
    let gated = |element| Gated { element, gate: Gate::open() };
    let load = |said: ElementType, loaded: ElementType| {
        let stage = Stage::new("it", gated(said).signature(), move |options| options.function(gated(loaded)));
        EngineOptions::default().stages(&["y"], vec![stage]).unwrap().session(Request::default().into())
    };
    assert!(load(ElementType::Int8, ElementType::Int8).is_ok());
    let Err(Error::Stage { source, .. }) = load(ElementType::Int8, ElementType::UInt8) else { panic!() };
    let Error::Unfit { fault, .. } = *source else { panic!("{source}") };
    assert!(matches!(&*fault, EngineFault::StageDisagrees { name, .. } if name == "x"), "{fault}");
    assert!(fault.hint().is_some());
    // Another name, and a tensor more.
    let network = row(&[1], 6, 0);
    let named = |inputs: &[&str]| {
        let tensor = |name: &&str| TensorInfo::batched(name, ElementType::Float32, &[6]);
        let signature = trtforge_runtime::Signature {
            inputs: inputs.iter().map(tensor).collect(),
            outputs: vec![tensor(&"t1")],
            profiles: Vec::new(),
        };
        let part = network.parts[0].clone();
        let stage = Stage::new("it", signature, move |options| options.function(part.clone()));
        EngineOptions::default().stages(&["t1"], vec![stage]).unwrap().session(Request::batch(1).into())
    };
    assert!(named(&["x"]).is_ok());
    for inputs in [&["z"][..], &["x", "z"]] {
        let Err(Error::Stage { source, .. }) = named(inputs) else { panic!() };
        let Error::Unfit { fault, .. } = *source else { panic!("{source}") };
        assert!(matches!(&*fault, EngineFault::StageTensor { name, .. } if name == "z"), "{fault}");
    }
}

#[test]
fn sessions_and_slots_that_run_at_once_stay_within_the_budget() {
    let network = row(&[900, 700, 800], 20, 30);
    let budget = network.floor() + 3 * network.kept() + 500;
    let rig = network.rig(Budget::device(budget));
    let sessions: Vec<_> = (0..2).map(|_| rig.engine.session(request().slots(2).into()).unwrap()).collect();
    assert!(sessions.iter().all(|session| session.is_streaming()));
    std::thread::scope(|scope| {
        for (number, mut session) in sessions.into_iter().enumerate() {
            let network = &network;
            scope.spawn(move || {
                for round in 0..30u64 {
                    let seeds = [0, 1].map(|slot| round * 10 + slot + 5 * number as u64);
                    let tickets = [0, 1].map(|at| {
                        let mut slot = session.slot(at).unwrap();
                        slot.set_batch(1 + at as u64).unwrap();
                        let values = crate::parts::values("x", (1 + at as u64) * 20, seeds[at]);
                        slot.input::<f32>("x").unwrap().copy_from_slice(&values);
                        slot.submit().unwrap()
                    });
                    for (at, ticket) in tickets.into_iter().enumerate() {
                        session.wait(ticket).unwrap();
                        let expected = network.expected(1 + at as u64, seeds[at]);
                        assert_eq!(session.slot(at).unwrap().output::<f32>("t3").unwrap(), expected[0]);
                    }
                }
            });
        }
    });
    assert!(rig.ledger.peak_device_bytes() <= budget);
    assert!(rig.engine.stages().iter().all(|stage| stage.runs == 120));
    nothing_is_left(&rig);
}

#[test]
fn stages_that_an_idle_session_left_loaded_make_room_for_another() {
    // The second stage needs most, for its activations; when it is done, its room goes to other stages.
    let mut network = row(&[740, 100, 740, 740], 20, 0);
    network.parts[1].activation = 500;
    let rig = network.rig(Budget::device(network.floor() + network.kept()));
    let mut first = rig.engine.session(request().into()).unwrap();
    network.run(&mut first, BATCH, 1).unwrap();
    let left = rig.ledger.budget().device_bytes.unwrap() - rig.ledger.held().device_bytes();
    assert!(left < network.kept(), "{left}");
    let mut second = rig.engine.session(request().into()).unwrap();
    for seed in 0..4 {
        for session in [&mut first, &mut second] {
            assert_eq!(network.run(session, BATCH, seed).unwrap(), network.expected(BATCH, seed));
        }
    }
    let Err(Error::OverBudget(refusal)) = rig.engine.session(request().into()) else { panic!() };
    assert!(refusal.need_bytes > refusal.have_bytes);
    drop((first, second));
    nothing_is_left(&rig);
}

#[test]
fn a_session_that_keeps_all_stages_serves_one_whose_blocks_come_and_go() {
    let network = row(&[900, 700, 800, 600], 20, 30);
    // A second session's blocks take 1290 bytes where all stay, and 1050 where they come and go.
    let rig = network.rig(Budget::device(network.full() + 1100));
    let mut resident = rig.engine.session(request().into()).unwrap();
    let mut streaming = rig.engine.session(request().into()).unwrap();
    assert_eq!((resident.is_streaming(), streaming.is_streaming()), (false, true));
    for seed in 0..4 {
        for session in [&mut resident, &mut streaming] {
            assert_eq!(network.run(session, BATCH, seed).unwrap(), network.expected(BATCH, seed));
        }
    }
    assert!(rig.engine.stages().iter().all(|stage| (stage.loads, stage.evictions) == (1, 0)));
    drop(resident);
    assert_eq!(network.run(&mut streaming, BATCH, 9).unwrap(), network.expected(BATCH, 9));
    drop(streaming);
    nothing_is_left(&rig);
}

#[test]
fn activations_lie_in_a_workspace_where_there_is_one() {
    let network = row(&[900, 700, 800], 20, 30);
    for budget in [network.floor(), network.full()] {
        let rig = network.rig(Budget::device(budget));
        let workspace = Workspace::new(&rig.engine, "all", rig.engine.workspace_bytes(&request()).unwrap()).unwrap();
        assert_eq!(workspace.bytes(), 30 * BATCH);
        let options = SessionOptions { workspace: Some(workspace), ..request().into() };
        assert_eq!(agrees(&network, &rig, options), budget < network.full());
        assert_eq!(rig.ledger.peak()[Class::Activation], 30 * BATCH);
        assert!(rig.ledger.peak_device_bytes() <= budget);
    }
}

#[test]
fn a_batcher_answers_from_stages_that_come_and_go() {
    let network = row(&[900, 700, 800], 20, 30);
    let rig = network.rig(Budget::device(network.floor() + 3 * network.kept()));
    let engines = (0..2).map(|_| SessionEngine::new(rig.engine.session(request().into()).unwrap()).unwrap()).collect();
    let batcher = Batcher::new(engines, BatcherOptions::default()).unwrap();
    let answers = Mutex::new(0);
    std::thread::scope(|scope| {
        for caller in 0..4u64 {
            let (batcher, network, answers) = (&batcher, &network, &answers);
            scope.spawn(move || {
                for seed in caller * 100..caller * 100 + 25 {
                    let values = crate::parts::values("x", 20, seed);
                    let answer = batcher.submit(Sample::of(&values)).unwrap().wait().unwrap();
                    assert_eq!(answer.values::<f32>(0).unwrap(), network.expected(1, seed)[0]);
                    *answers.lock().unwrap() += 1;
                }
            });
        }
    });
    drop(batcher);
    assert_eq!(answers.into_inner().unwrap(), 100);
    assert!(rig.ledger.peak_device_bytes() <= rig.ledger.budget().device_bytes.unwrap());
    nothing_is_left(&rig);
}
