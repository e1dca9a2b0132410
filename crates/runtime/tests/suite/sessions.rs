//! Sessions: plans and ledgers, shapes, types, runs under way, faults.

use std::sync::Mutex;

use proptest::prelude::*;
use trtforge_runtime::{
    Budget, Class, ElementType, EngineOptions, Error, Faults, GraphState, Host, Ledger, Plan, Profile, Request, Scope,
    Session, SessionOptions, Workspace,
};

use crate::functions::{Gate, Gated, Many, double, engine, range};

fn options(request: Request) -> SessionOptions {
    request.into()
}

fn run_double(session: &mut Session, slot: usize, value: f32) -> Vec<f32> {
    let mut slot = session.slot(slot).unwrap();
    slot.input::<f32>("x").unwrap().fill(value);
    slot.run().unwrap();
    slot.output::<f32>("y").unwrap().to_vec()
}

#[test]
fn a_session_runs_in_each_slot_and_at_each_batch() {
    let (engine, host, _) = engine(double(3));
    let mut session = engine.session(options(Request::batch(4).slots(2))).unwrap();
    for (slot, batch) in [(0, 4), (1, 1), (0, 2), (1, 4), (0, 4)] {
        session.slot(slot).unwrap().set_batch(batch).unwrap();
        assert_eq!(run_double(&mut session, slot, batch as f32), vec![2.0 * batch as f32; batch as usize * 3]);
        assert_eq!(&*session.slot(slot).unwrap().output_shape("y").unwrap(), [batch, 3]);
    }
    drop(session);
    assert_eq!((host.used_bytes(), host.damage()), (0, vec![]));
}

#[test]
fn every_element_type_passes_and_no_other_is_let_in() {
    macro_rules! check {
        ($($rust:ty: $element:ident, $values:expr;)*) => {$(
            let (gated, ..) = engine(Gated { element: ElementType::$element, gate: Gate::open() });
            let mut session = gated.session(SessionOptions::default()).unwrap();
            let values: [$rust; 4] = $values;
            session.input::<$rust>("x").unwrap().copy_from_slice(&values);
            session.run().unwrap();
            assert_eq!(session.output::<$rust>("y").unwrap(), values);
            let bytes = 4 * size_of::<$rust>() as u64;
            assert_eq!(session.plan()[Class::Io], 2 * bytes);
            let error = session.input::<f32>("x").map(|_| ()).and_then(|()| session.output::<i8>("y").map(|_| ()));
            assert!(matches!(error, Err(Error::WrongElement { .. })), "two types cannot both be right");
            let error = session.slot(0).unwrap().write_input("x", &vec![0; bytes as usize + 1]).unwrap_err();
            let Error::WrongByteCount { expected, actual, .. } = error else { panic!("{error}") };
            assert_eq!((expected, actual), (bytes, bytes + 1));
        )*};
    }
    check! {
        f32: Float32, [1.5, -2.0, f32::MAX, f32::MIN_POSITIVE];
        half::f16: Float16, [1.5, -2.0, 0.25, 100.0].map(half::f16::from_f32);
        i8: Int8, [1, -2, i8::MAX, i8::MIN];
        u8: UInt8, [1, 2, 255, 0];
        i32: Int32, [1, -3, i32::MAX, i32::MIN];
        i64: Int64, [1, -2, i64::MAX, i64::MIN];
        bool: Bool, [true, false, true, true];
    }
}

#[test]
fn bytes_that_are_no_truth_values_are_refused() {
    let (engine, ..) = engine(Gated { element: ElementType::Bool, gate: Gate::open() });
    let mut session = engine.session(SessionOptions::default()).unwrap();
    let error = session.slot(0).unwrap().write_input("x", &[0, 1, 2, 1]).unwrap_err();
    assert!(matches!(error, Error::InvalidValues { expected: ElementType::Bool, .. }), "{error}");
}

#[test]
fn names_slots_and_numbers_that_do_not_exist_are_told_with_those_that_do() {
    let (engine, ..) = engine(double(3));
    let mut session = engine.session(options(Request::batch(2))).unwrap();
    let Err(Error::UnknownTensor { available, .. }) = session.input::<f32>("images") else { panic!() };
    assert_eq!(available, ["x"]);
    let Err(Error::UnknownTensor { available, .. }) = session.output::<f32>("x") else { panic!() };
    assert_eq!(available, ["y"]);
    assert!(matches!(session.slot(1), Err(Error::NoSlot { slot: 1, slots: 1 })));
    for request in [Request::batch(0), Request::batch(1).slots(0), Request::batch(1).slots(5000)] {
        assert!(matches!(engine.plan(&request), Err(Error::Request { .. })));
    }
    let request = Request::default().shape("z", range(&[1, 3], &[2, 3]));
    assert!(matches!(engine.plan(&request), Err(Error::UnknownTensor { .. })));
}

#[test]
fn a_shape_outside_every_profile_names_the_ranges() {
    let profile = |min: u64, max: u64| Profile { inputs: vec![range(&[min, 2], &[max, 2])] };
    let mut function = double(2);
    function.profiles = vec![profile(1, 4), profile(8, 16)];
    let (engine, ..) = engine(function);
    let mut session = engine.session(SessionOptions::default()).unwrap();
    for batch in [1, 4, 8, 16] {
        session.set_batch(batch).unwrap();
        assert_eq!(run_double(&mut session, 0, 1.0).len() as u64, 2 * batch);
    }
    for error in [session.set_batch(5).unwrap_err(), session.set_shape("x", &[5, 2]).unwrap_err()] {
        let text = error.to_string();
        assert_eq!(text, r#""x" cannot be 5x2; it may be 1x2 to 4x2 in profile 0, 8x2 to 16x2 in profile 1"#);
    }
    for shape in [&[1, 3][..], &[1], &[1, 2, 1], &[0, 2], &[1; 9]] {
        assert!(matches!(session.set_shape("x", shape), Err(Error::OutsideProfiles { .. })), "{shape:?}");
    }
    assert_eq!(run_double(&mut session, 0, 1.0).len(), 32, "a refused shape changes nothing");
    let error = engine.plan(&Request::batch(6)).unwrap_err();
    assert!(error.to_string().contains("8x2 to 16x2 in profile 1"), "{error}");
    let mut small = engine.session(options(Request::batch(3))).unwrap();
    assert!(small.set_batch(4).is_err(), "the buffers are for 3");
    assert_eq!(small.plan()[Class::Io], 2 * 3 * 2 * 4);
    let only = Request { profile: Some(1), ..Request::default() };
    assert!(engine.session(options(only)).unwrap().set_batch(2).is_err());
    let none = Request { profile: Some(2), ..Request::default() };
    assert!(matches!(engine.plan(&none), Err(Error::Request { what: "profile", value: 2, .. })));
}

#[test]
fn shapes_that_fit_alone_but_not_together_are_told() {
    struct Pair;
    impl trtforge_runtime::Function for Pair {
        fn signature(&self) -> trtforge_runtime::Signature {
            let tensor = |name| trtforge_runtime::TensorInfo::batched(name, ElementType::UInt8, &[1]);
            let profile = |batch: u64| Profile { inputs: vec![range(&[batch, 1], &[batch, 1]); 2] };
            trtforge_runtime::Signature {
                inputs: vec![tensor("a"), tensor("b")],
                outputs: vec![],
                profiles: vec![profile(1), profile(2)],
            }
        }
        fn run(&self, _: trtforge_runtime::Call<'_>) -> trtforge_runtime::Result<()> {
            Ok(())
        }
    }
    let (engine, ..) = engine(Pair);
    let mut session = engine.session(SessionOptions::default()).unwrap();
    session.set_shape("a", &[2, 1]).unwrap();
    let Err(Error::NoCommonProfile { shapes }) = session.run() else { panic!("no profile has both") };
    assert_eq!(shapes.len(), 2);
    session.set_shape("b", &[2, 1]).unwrap();
    session.run().unwrap();
}

#[test]
fn open_dimensions_need_a_range_that_agrees_with_the_fixed_ones() {
    let (engine, ..) = engine(Many);
    let Err(Error::OpenShape { name, declared }) = engine.plan(&Request::batch(2)) else { panic!() };
    assert_eq!((name.as_str(), declared.as_str()), ("picture", "u8 [nx3xhxw]"));
    for (min, max) in [(&[1, 4, 8, 8][..], &[1, 4, 8, 8][..]), (&[1, 3, 8], &[1, 3, 8]), (&[2, 3, 8, 8], &[1, 3, 8, 8])]
    {
        let error = engine.plan(&Request::default().shape("picture", range(min, max))).unwrap_err();
        assert!(matches!(error, Error::OutsideProfiles { .. }), "{error}");
    }
    let request = Request::default().shape("picture", range(&[1, 3, 8, 8], &[2, 3, 16, 32]));
    let mut session = engine.session(options(request)).unwrap();
    session.set_shape("picture", &[2, 3, 10, 11]).unwrap();
    session.input::<i64>("table").unwrap().copy_from_slice(&[1, 2, 3, 4, 0]);
    session.run().unwrap();
    assert_eq!(&*session.output_shape("mean").unwrap(), [2, 10]);
    assert_eq!(session.output::<f32>("mean").unwrap(), [660.0; 20]);
    assert_eq!(session.output::<bool>("flag").unwrap(), [true]);
}

#[test]
fn several_runs_are_under_way_and_answered_in_any_order() {
    let gate = Gate::closed();
    let (engine, ..) = engine(Gated { element: ElementType::Int32, gate });
    let mut session = engine.session(options(Request::default().slots(3))).unwrap();
    let mut tickets = Vec::new();
    for slot in 0..3 {
        let mut slot = session.slot(slot).unwrap();
        slot.input::<i32>("x").unwrap().fill(tickets.len() as i32 + 1);
        tickets.push(slot.submit().unwrap());
        assert!(matches!(slot.input::<i32>("x"), Err(Error::InFlight { .. })));
        assert!(matches!(slot.output::<i32>("y"), Err(Error::InFlight { .. })));
        assert!(matches!(slot.run(), Err(Error::InFlight { .. })));
        assert!(matches!(slot.submit(), Err(Error::InFlight { .. })));
        assert!(matches!(slot.set_shape("x", &[4]), Err(Error::InFlight { .. })));
    }
    assert!(!session.is_done(tickets[0]).unwrap());
    gate.let_through();
    for index in [2, 0, 1] {
        session.wait(tickets[index]).unwrap();
        assert_eq!(session.slot(index).unwrap().output::<i32>("y").unwrap(), [index as i32 + 1; 4]);
        assert!(matches!(session.wait(tickets[index]), Err(Error::StaleTicket { .. })));
        assert!(matches!(session.is_done(tickets[index]), Err(Error::StaleTicket { .. })));
    }
    let mut other = engine.session(options(Request::default().slots(3))).unwrap();
    let ticket = session.submit().unwrap();
    assert!(matches!(other.wait(ticket), Err(Error::StaleTicket { .. })));
    session.wait_all().unwrap();
}

#[test]
fn a_failure_or_a_panic_is_the_answer_of_its_run_alone() {
    let (engine, ..) = engine(Gated { element: ElementType::Int32, gate: Gate::open() });
    let mut session = engine.session(options(Request::default().slots(2))).unwrap();
    for (value, panics) in [(-1, false), (-2, true), (-1, false)] {
        session.input::<i32>("x").unwrap().fill(value);
        let direct = session.run().unwrap_err();
        let ticket = session.submit().unwrap();
        let mut good = session.slot(1).unwrap();
        good.input::<i32>("x").unwrap().fill(7);
        let second = good.submit().unwrap();
        let waited = session.wait(ticket).unwrap_err();
        for error in [direct, waited] {
            match error {
                Error::Run { reason } => assert!(!panics && reason.contains("-1")),
                Error::Panicked { message, .. } => assert!(panics && message.contains("-2")),
                other => panic!("{other}"),
            }
        }
        session.wait(second).unwrap();
        assert_eq!(session.slot(1).unwrap().output::<i32>("y").unwrap(), [7; 4]);
    }
    session.input::<i32>("x").unwrap().fill(5);
    session.run().unwrap();
    assert_eq!(session.output::<i32>("y").unwrap(), [5; 4]);
}

#[test]
fn a_session_dropped_with_runs_under_way_leaves_nothing_behind() {
    let gate = Gate::closed();
    let (engine, host, ledger) = engine(Gated { element: ElementType::Int32, gate });
    let mut session = engine.session(options(Request::default().slots(3))).unwrap();
    for slot in 0..3 {
        session.slot(slot).unwrap().submit().unwrap();
    }
    let opener = std::thread::spawn(|| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        gate.let_through();
    });
    drop(session);
    opener.join().unwrap();
    assert_eq!((host.used_bytes(), ledger.held()[Class::Io]), (0, 0));
    assert_eq!(host.damage(), []);
}

#[test]
fn a_session_that_is_forgotten_with_a_run_under_way_harms_nobody() {
    let (engine, host, ledger) = engine(Gated { element: ElementType::Int32, gate: Gate::open() });
    let mut session = engine.session(SessionOptions::default()).unwrap();
    let ticket = session.submit().unwrap();
    while !session.is_done(ticket).unwrap() {
        std::thread::yield_now();
    }
    std::mem::forget(session);
    assert_eq!((host.used_bytes(), ledger.held()[Class::Io]), (32, 32));
}

#[test]
fn a_budget_that_is_a_byte_too_small_refuses_before_anything_is_allocated() {
    let (engine, host, ledger) = engine(double(64));
    let request = Request::batch(8).slots(2);
    let plan = engine.plan(&request).unwrap();
    let weights = ledger.held();
    let budgeted = |bytes| SessionOptions { budget_bytes: Some(bytes), ..options(request.clone()) };
    let Err(Error::OverBudget(refusal)) = engine.session(budgeted(plan.device_bytes() - 1)) else { panic!() };
    assert_eq!((refusal.scope, refusal.need_bytes), (Scope::Session, plan.device_bytes()));
    assert_eq!(refusal.have_bytes, plan.device_bytes() - 1);
    ledger.set_budget(Budget::device(plan.device_bytes() - 1));
    let Err(Error::OverBudget(refusal)) = engine.session(options(request.clone())) else { panic!() };
    assert_eq!((refusal.scope, refusal.holders.len()), (Scope::Device, 1));
    assert_eq!((host.allocations(), ledger.held()), (0, weights));
    ledger.set_budget(Budget::device(plan.device_bytes()));
    let session = engine.session(budgeted(plan.device_bytes())).unwrap();
    assert_eq!(ledger.held(), session.plan());
}

#[test]
fn whichever_allocation_fails_everything_is_as_before() {
    let (engine, host, ledger) = engine(Many);
    let request = Request::default().slots(3).shape("picture", range(&[1, 3, 8, 8], &[2, 3, 16, 16]));
    let before = (host.used_bytes(), ledger.held());
    drop(engine.session(options(request.clone())).unwrap());
    let allocations = host.allocations();
    assert_eq!(allocations, 3 * 5);
    for failing in 0..allocations {
        host.set_faults(Faults { failing_allocation: Some(failing), ..Faults::default() });
        let error = engine.session(options(request.clone())).unwrap_err();
        assert!(error.is_out_of_memory(), "{failing}: {error}");
        assert_eq!((host.used_bytes(), ledger.held()), before, "allocation {failing} of {allocations}");
        assert_eq!(host.damage(), []);
    }
    host.set_faults(Faults { failing_allocation: Some(allocations), ..Faults::default() });
    drop(engine.session(options(request)).unwrap());
}

#[test]
fn sessions_share_one_block_for_activations_and_still_compute_the_same() {
    let (host, ledger) = (Host::new(), Ledger::default());
    let options = EngineOptions { ledger: ledger.clone(), host: host.clone(), ..EngineOptions::default() };
    let engines = [options.function(double(16)).unwrap(), options.function(double(1000)).unwrap()];
    let request = Request::batch(4);
    let needed = engines.iter().map(|engine| engine.workspace_bytes(&request).unwrap()).max().unwrap();
    assert_eq!(needed, 16_000);
    let workspace = Workspace::new(&engines[0], "shared", needed).unwrap();
    let shared = || SessionOptions { workspace: Some(workspace.clone()), ..request.clone().into() };
    let sessions: Vec<_> = (0..4).map(|index| Mutex::new(engines[index % 2].session(shared()).unwrap())).collect();
    assert_eq!(ledger.held()[Class::Activation], 16_000);
    let sharing = Request { shares_activations: true, ..request.clone() };
    assert_eq!(engines[1].plan(&sharing).unwrap()[Class::Activation], 0);
    std::thread::scope(|scope| {
        for (index, session) in sessions.iter().enumerate() {
            scope.spawn(move || {
                for round in 0..200 {
                    let value = (index * 1000 + round) as f32;
                    let got = run_double(&mut session.lock().unwrap(), 0, value);
                    assert!(got.iter().all(|&it| it == 2.0 * value));
                }
            });
        }
    });
    let small = Workspace::new(&engines[0], "small", 15_999).unwrap();
    let error = engines[1].session(SessionOptions { workspace: Some(small), ..request.into() }).unwrap_err();
    assert!(matches!(error, Error::Request { what: "workspace", .. }), "{error}");
}

#[test]
fn a_cuda_graph_on_the_cpu_is_told_to_be_inactive() {
    let (engine, ..) = engine(double(3));
    let session = engine.session(SessionOptions { cuda_graph: true, ..SessionOptions::default() }).unwrap();
    assert!(matches!(session.cuda_graph(), GraphState::Inactive(_)));
}

#[test]
fn runs_are_timed_where_that_was_asked_for() {
    let (gated, ..) = engine(Gated { element: ElementType::Int32, gate: Gate::open() });
    let timed = |timed| SessionOptions { timed, ..options(Request::default().slots(2)) };
    let mut session = gated.session(timed(true)).unwrap();
    assert_eq!(session.timing(0).unwrap(), None, "nothing has run");
    session.run().unwrap();
    let timing = session.timing(0).unwrap().unwrap();
    assert!(timing.copy_in.is_zero() && timing.copy_out.is_zero(), "nothing is copied on the host");
    let ticket = session.slot(1).unwrap().submit().unwrap();
    assert_eq!(session.timing(1).unwrap(), None, "under way");
    session.wait(ticket).unwrap();
    assert!(session.timing(1).unwrap().is_some());
    session.input::<i32>("x").unwrap()[0] = -1;
    session.run().unwrap_err();
    assert_eq!(session.timing(0).unwrap(), None, "it failed");
    assert!(matches!(session.timing(2), Err(Error::NoSlot { slot: 2, slots: 2 })));
    let mut session = gated.session(timed(false)).unwrap();
    session.run().unwrap();
    assert_eq!(session.timing(0).unwrap(), None, "nobody asked");
}

#[test]
fn a_session_moves_between_threads_and_outlives_its_engine() {
    let (engine, ..) = engine(double(3));
    let mut session = engine.session(SessionOptions::default()).unwrap();
    drop(engine);
    let got = std::thread::spawn(move || run_double(&mut session, 0, 4.0)).join().unwrap();
    assert_eq!(got, [8.0; 3]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_plan_is_what_the_ledger_shows_to_the_byte(
        width in 0u64..300,
        batch in 1u64..20,
        slots in 1usize..5,
        weights in 0u64..1000,
        height in 1u64..40,
        shares in any::<bool>(),
    ) {
        let mut function = double(width);
        function.weights = weights;
        let picture = Request::default().slots(slots).shape("picture", range(&[1, 3, 1, 1], &[batch, 3, height, 7]));
        let simple = Request::batch(batch).slots(slots);
        let cases = [(engine(function), simple), (engine(Many), picture)];
        for ((engine, host, ledger), request) in cases {
            let request = Request { shares_activations: shares, ..request };
            let plan = engine.plan(&request).unwrap();
            let bytes = engine.workspace_bytes(&request).unwrap();
            let workspace = shares.then(|| Workspace::new(&engine, "shared", bytes).unwrap());
            let shared = ledger.held_by("shared");
            let session = engine.session(SessionOptions { workspace, ..options(request) }).unwrap();
            prop_assert_eq!(ledger.held(), plan + shared);
            prop_assert_eq!(session.plan(), plan);
            prop_assert_eq!(host.used_bytes() + plan[Class::Weights], ledger.held().total_bytes());
            drop(session);
            prop_assert_eq!(ledger.held(), Plan::of(Class::Weights, plan[Class::Weights]));
            prop_assert_eq!(host.used_bytes(), 0);
        }
    }
}
