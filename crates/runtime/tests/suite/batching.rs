//! The batcher: nothing lost, nothing answered twice, whatever engine, callbacks and clocks do.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use proptest::prelude::*;
use trtforge_runtime::{
    BatchEngine, Batcher, BatcherOptions, Call, Class, Error, Function, Request, Response, Result, Sample,
    SessionEngine, Signature,
};

use crate::functions::{Gate, double, engine};

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

type Run = Box<dyn FnMut(&[u64], &mut Vec<Result<u64>>) -> Result<()> + Send>;

/// An engine made of a function.
struct Engine {
    largest: usize,
    run: Run,
}

impl BatchEngine for Engine {
    type Input = u64;
    type Output = u64;

    fn largest_batch(&self) -> usize {
        self.largest
    }

    fn run(&mut self, inputs: &mut [u64], outputs: &mut Vec<Result<u64>>) -> Result<()> {
        (self.run)(inputs, outputs)
    }
}

fn made(largest: usize, run: impl FnMut(&[u64], &mut Vec<Result<u64>>) -> Result<()> + Send + 'static) -> Engine {
    Engine { largest, run: Box::new(run) }
}

fn plus_one(inputs: &[u64], outputs: &mut Vec<Result<u64>>) -> Result<()> {
    outputs.extend(inputs.iter().map(|input| Ok(input + 1)));
    Ok(())
}

/// Sizes of the batches that ran.
type Sizes = Arc<Mutex<Vec<Vec<u64>>>>;

fn watched(largest: usize) -> (Engine, Sizes) {
    let sizes = Sizes::default();
    let seen = Arc::clone(&sizes);
    let engine = made(largest, move |inputs, outputs| {
        seen.lock().unwrap().push(inputs.to_vec());
        plus_one(inputs, outputs)
    });
    (engine, sizes)
}

/// Waits for full batches of this size, and for nothing else.
fn patient(size: usize) -> BatcherOptions {
    BatcherOptions { max_delay: WEEK, preferred: vec![size], ..BatcherOptions::default() }
}

fn out_of_memory() -> Error {
    Error::OutOfMemory { device: "test".into(), class: Class::Activation, bytes: 1, free_bytes: None }
}

fn waits(responses: Vec<Response<u64>>) -> Vec<Result<u64>> {
    responses.into_iter().map(Response::wait).collect()
}

#[test]
fn a_batch_runs_when_it_is_full_and_in_the_order_of_arrival() {
    let (engine, sizes) = watched(4);
    let batcher = Batcher::new(vec![engine], patient(4)).unwrap();
    let responses: Vec<_> = (0..12).map(|input| batcher.submit(input).unwrap()).collect();
    let answers: Vec<u64> = waits(responses).into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, (1..13).collect::<Vec<u64>>());
    let order: Vec<u64> = sizes.lock().unwrap().concat();
    assert_eq!(order, (0..12).collect::<Vec<u64>>());
    assert!(sizes.lock().unwrap().iter().all(|batch| batch.len() <= 4));
}

#[test]
fn a_part_of_a_batch_runs_when_its_first_request_has_waited() {
    let (engine, sizes) = watched(100);
    let options = BatcherOptions { max_delay: Duration::from_millis(30), ..BatcherOptions::default() };
    let batcher = Batcher::new(vec![engine], options).unwrap();
    let start = std::time::Instant::now();
    let responses = (0..3).map(|input| batcher.submit(input).unwrap()).collect();
    assert!(waits(responses).into_iter().all(|answer| answer.is_ok()));
    assert!(start.elapsed() >= Duration::from_millis(30));
    assert_eq!(sizes.lock().unwrap().concat(), [0, 1, 2]);
}

#[test]
fn a_full_queue_refuses_and_what_was_let_in_is_answered() {
    let gate = Gate::closed();
    let engine = made(1, move |inputs, outputs| {
        gate.pass_through();
        plus_one(inputs, outputs)
    });
    let options = BatcherOptions { queue_capacity: 5, max_delay: Duration::ZERO, ..BatcherOptions::default() };
    let batcher = Batcher::new(vec![engine], options).unwrap();
    let first = batcher.submit(0).unwrap();
    while batcher.waiting() > 0 {
        std::thread::yield_now();
    }
    let waiting: Vec<_> = (1..6).map(|input| batcher.submit(input).unwrap()).collect();
    assert!(matches!(batcher.submit(6), Err(Error::QueueFull { capacity: 5 })));
    let called = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&called);
    assert!(batcher.submit_with(7, None, move |_| flag.store(true, Ordering::SeqCst)).is_err());
    std::thread::scope(|scope| {
        let blocked = scope.spawn(|| batcher.submit_when_room(8).unwrap().wait());
        std::thread::sleep(Duration::from_millis(10));
        assert!(!blocked.is_finished());
        gate.let_through();
        assert_eq!(blocked.join().unwrap().unwrap(), 9);
    });
    assert_eq!(first.wait().unwrap(), 1);
    assert_eq!(waits(waiting).into_iter().map(Result::unwrap).collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
    assert!(!called.load(Ordering::SeqCst), "what is refused is not answered as well");
    let statistics = batcher.statistics();
    assert_eq!((statistics.accepted, statistics.refused, statistics.peak_waiting), (7, 2, 5));
}

#[test]
fn an_engine_that_fails_or_panics_answers_its_batch_and_lives_on() {
    let engine = made(4, |inputs, outputs| {
        plus_one(inputs, outputs)?;
        if inputs.contains(&100) {
            return Err(Error::Run { reason: "a hundred".into() });
        }
        assert!(!inputs.contains(&200), "two hundred");
        Ok(())
    });
    let batcher = Batcher::new(vec![engine], patient(4)).unwrap();
    for round in 0..5 {
        let fails = waits([1, 2, 100, 3].map(|input| batcher.submit(input).unwrap()).into());
        for answer in fails {
            let Err(Error::Batch { batch: 4, source }) = answer else { panic!("{answer:?}") };
            assert!(matches!(&*source, Error::Run { reason } if reason == "a hundred"), "{source}");
        }
        let panics = waits([200, 1, 2, 3].map(|input| batcher.submit(input).unwrap()).into());
        for answer in panics {
            let Err(Error::Batch { source, .. }) = answer else { panic!("{answer:?}") };
            assert!(matches!(&*source, Error::Panicked { message, .. } if message == "two hundred"), "{source}");
        }
        let good = waits([1, 2, 3, 4].map(|input| batcher.submit(input).unwrap()).into());
        assert!(good.into_iter().all(|answer| answer.is_ok()), "round {round}");
    }
    assert_eq!((batcher.statistics().failed, batcher.statistics().succeeded), (40, 20));
}

#[test]
fn each_request_gets_its_own_error_and_missing_answers_are_told() {
    let engine = made(4, |inputs, outputs| {
        let answer = |&input: &u64| if input == 2 { Err(Error::Run { reason: "two".into() }) } else { Ok(input) };
        outputs.extend(inputs.iter().take(3).map(answer));
        Ok(())
    });
    let batcher = Batcher::new(vec![engine], patient(4)).unwrap();
    let answers = waits([1, 2, 3, 4].map(|input| batcher.submit(input).unwrap()).into());
    assert!(matches!((&answers[0], &answers[2]), (Ok(1), Ok(3))));
    assert!(matches!(&answers[1], Err(Error::Run { reason }) if reason == "two"));
    assert!(matches!(&answers[3], Err(Error::Run { reason }) if reason.contains("3 answers to 4 requests")));
}

#[test]
fn out_of_memory_steps_down_retries_and_recovers() {
    let room = Arc::new(AtomicUsize::new(3));
    let limit = Arc::clone(&room);
    let engine = made(16, move |inputs, outputs| {
        if inputs.len() > limit.load(Ordering::SeqCst) { Err(out_of_memory()) } else { plus_one(inputs, outputs) }
    });
    let options = BatcherOptions { retry_after: 2, max_delay: Duration::from_millis(1), ..BatcherOptions::default() };
    let batcher = Batcher::new(vec![engine], options).unwrap();
    let burst = |count: u64| {
        let responses: Vec<_> = (0..count).map(|input| batcher.submit(input).unwrap()).collect();
        let answers: Vec<u64> = waits(responses).into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, (1..=count).collect::<Vec<u64>>());
    };
    burst(64);
    let statistics = batcher.statistics();
    assert!(statistics.out_of_memory >= 1 && statistics.ceiling < 16, "{statistics:?}");
    room.store(1000, Ordering::SeqCst);
    for _ in 0..200 {
        burst(32);
    }
    assert_eq!(batcher.statistics().ceiling, 16, "the room is back");
    room.store(0, Ordering::SeqCst);
    let answer = batcher.submit(1).unwrap().wait();
    assert!(matches!(&answer, Err(error @ Error::Batch { batch: 1, .. }) if error.is_out_of_memory()), "{answer:?}");
}

#[test]
fn deadlines_pass_before_and_during_execution() {
    let gate = Gate::closed();
    let engine = made(1, move |inputs, outputs| {
        gate.pass_through();
        plus_one(inputs, outputs)
    });
    let options = BatcherOptions { max_delay: Duration::ZERO, ..BatcherOptions::default() };
    let batcher = Batcher::new(vec![engine], options).unwrap();
    let during = batcher.submit_within(1, Duration::from_millis(30)).unwrap();
    while batcher.waiting() > 0 {
        std::thread::yield_now();
    }
    let before = batcher.submit_within(2, Duration::from_millis(10)).unwrap();
    let patient = batcher.submit(3).unwrap();
    let roomy = batcher.submit_within(4, WEEK).unwrap();
    std::thread::sleep(Duration::from_millis(40));
    gate.let_through();
    assert!(matches!(during.wait(), Err(Error::DeadlinePassed { executed: true, .. })));
    assert!(matches!(before.wait(), Err(Error::DeadlinePassed { executed: false, .. })));
    assert_eq!((patient.wait().unwrap(), roomy.wait().unwrap()), (4, 5));
    assert_eq!(batcher.statistics().expired, 2);
}

#[test]
fn a_deadline_does_not_wait_for_a_batch_to_fill() {
    let batcher = Batcher::new(vec![made(8, plus_one)], patient(8)).unwrap();
    for input in 0..3 {
        assert_eq!(batcher.submit_within(input, Duration::from_millis(500)).unwrap().wait().unwrap(), input + 1);
    }
}

#[test]
fn the_end_answers_everybody() {
    for finish in [false, true] {
        let gate = Gate::closed();
        let engine = made(1, move |inputs, outputs| {
            gate.pass_through();
            plus_one(inputs, outputs)
        });
        let options = BatcherOptions { max_delay: Duration::ZERO, ..BatcherOptions::default() };
        let batcher = Batcher::new(vec![engine], options).unwrap();
        let running = batcher.submit(0).unwrap();
        while batcher.waiting() > 0 {
            std::thread::yield_now();
        }
        let waiting: Vec<_> = (1..20).map(|input| batcher.submit(input).unwrap()).collect();
        let (sender, receiver) = mpsc::channel();
        batcher.submit_with(20, None, move |answer| sender.send(answer).unwrap()).unwrap();
        let ender = std::thread::spawn(move || if finish { batcher.finish() } else { batcher.shut_down() });
        std::thread::sleep(Duration::from_millis(10));
        gate.let_through();
        ender.join().unwrap();
        assert_eq!(running.wait().unwrap(), 1, "what runs is finished");
        for answer in waits(waiting).into_iter().chain([receiver.recv().unwrap()]) {
            assert!(if finish { answer.is_ok() } else { matches!(answer, Err(Error::ShutDown)) }, "{answer:?}");
        }
    }
}

#[test]
fn a_callback_that_panics_harms_nobody() {
    let batcher = Batcher::new(vec![made(4, plus_one)], patient(4)).unwrap();
    for _ in 0..10 {
        batcher.submit_with(1, None, |_| panic!("in the callback")).unwrap();
        let others: Vec<_> = (0..3).map(|input| batcher.submit(input).unwrap()).collect();
        assert!(waits(others).into_iter().all(|answer| answer.is_ok()));
    }
    batcher.submit_with(1, None, |_| panic!("at the end")).unwrap();
    batcher.shut_down();
}

/// Runs a future on this thread: all the executor there is.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn a_response_is_a_future_and_can_be_given_a_time() {
    let gate = Gate::closed();
    let engine = made(2, move |inputs, outputs| {
        gate.pass_through();
        plus_one(inputs, outputs)
    });
    let batcher = Batcher::new(vec![engine], patient(2)).unwrap();
    let (first, second) = (batcher.submit(1).unwrap(), batcher.submit(2).unwrap());
    assert!(!first.is_ready());
    let second = second.wait_for(Duration::from_millis(5)).unwrap_err();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(10));
        gate.let_through();
    });
    assert_eq!(block_on(async { (first.await.unwrap(), second.await.unwrap()) }), (2, 3));
}

#[test]
fn options_that_cannot_be_are_refused() {
    let refused = |options| Batcher::new(vec![made(4, plus_one)], options).is_err();
    assert!(refused(BatcherOptions { queue_capacity: 0, ..BatcherOptions::default() }));
    assert!(refused(BatcherOptions { preferred: vec![2, 5], ..BatcherOptions::default() }));
    assert!(refused(BatcherOptions { preferred: vec![0], ..BatcherOptions::default() }));
    assert!(Batcher::<Engine>::new(vec![], BatcherOptions::default()).is_err());
    assert!(Batcher::new(vec![made(0, plus_one)], BatcherOptions::default()).is_err());
}

#[test]
fn a_session_runs_batches_of_samples_and_a_wrong_sample_fails_alone() {
    let (engine, ..) = engine(double(3));
    let session = engine.session(Request::batch(4).into()).unwrap();
    let batcher = Batcher::new(vec![SessionEngine::new(session).unwrap()], patient(4)).unwrap();
    let inputs = [Sample::of(&[1.0f32, 2.0, 3.0]), Sample::of(&[9.0f32]), Sample::of(&[4.0f32; 3]), Sample::default()];
    let responses = inputs.map(|input| batcher.submit(input).unwrap());
    let answers = responses.map(Response::wait);
    assert_eq!(answers[0].as_ref().unwrap().values::<f32>(0).unwrap(), [2.0, 4.0, 6.0]);
    assert!(matches!(answers[1], Err(Error::WrongByteCount { expected: 12, actual: 4, .. })));
    assert_eq!(answers[2].as_ref().unwrap().values::<f32>(0).unwrap(), [8.0; 3]);
    assert!(matches!(answers[3], Err(Error::UnknownTensor { .. })));
}

#[test]
fn samples_of_a_batch_that_ran_out_of_memory_come_again_whole() {
    /// Takes two rows at a time, whatever it says.
    struct Small;
    impl Function for Small {
        fn signature(&self) -> Signature {
            double(3).signature()
        }
        fn run(&self, mut call: Call<'_>) -> Result<()> {
            if call.inputs.shape(0)[0] > 2 {
                return Err(out_of_memory());
            }
            let x = call.inputs.get::<f32>(0).unwrap();
            call.outputs.get::<f32>(0).unwrap().iter_mut().zip(x).for_each(|(y, x)| *y = x + 1.0);
            Ok(())
        }
    }
    let (engine, ..) = engine(Small);
    let session = engine.session(Request::batch(8).into()).unwrap();
    let options = BatcherOptions { max_delay: Duration::from_millis(1), ..BatcherOptions::default() };
    let batcher = Batcher::new(vec![SessionEngine::new(session).unwrap()], options).unwrap();
    let responses: Vec<_> = (0..40).map(|it| batcher.submit(Sample::of(&[it as f32; 3])).unwrap()).collect();
    for (number, response) in responses.into_iter().enumerate() {
        assert_eq!(response.wait().unwrap().values::<f32>(0).unwrap(), [number as f32 + 1.0; 3]);
    }
    assert!(batcher.statistics().out_of_memory > 0 && batcher.statistics().ceiling <= 2);
}

/// Lets one batch through per tick: the time of the test is counted, not measured.
#[derive(Default)]
struct Ticks {
    state: Mutex<(u64, u64)>,
    changed: Condvar,
}

impl Ticks {
    /// Waits for the tick that lets a batch through.
    fn serve(&self) {
        let mut state = self.state.lock().unwrap();
        while state.0 == 0 {
            let (next, waited) = self.changed.wait_timeout(state, Duration::from_secs(60)).unwrap();
            assert!(!waited.timed_out(), "the clock stands still");
            state = next;
        }
        state.0 -= 1;
    }

    fn tick(&self) {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        state.1 += 1;
        self.changed.notify_all();
    }

    fn now(&self) -> u64 {
        self.state.lock().unwrap().1
    }
}

#[test]
fn under_four_times_the_load_the_queue_and_every_wait_stay_bounded() {
    const BATCH: u64 = 8;
    const CAPACITY: u64 = 40;
    const TICKS: u64 = 200;
    let ticks = Arc::new(Ticks::default());
    let engine = made(BATCH as usize, {
        let ticks = Arc::clone(&ticks);
        move |inputs, outputs| {
            ticks.serve();
            plus_one(inputs, outputs)
        }
    });
    let options = BatcherOptions { queue_capacity: CAPACITY as usize, ..patient(BATCH as usize) };
    let batcher = Batcher::new(vec![engine], options).unwrap();
    // For each request let in: its number and the ticks from its arrival to its answer.
    let answers = Arc::new(Mutex::new(Vec::new()));
    let (mut accepted, mut refused) = (Vec::new(), 0);
    for tick in 0..TICKS {
        for request in 0..4 * BATCH {
            let number = tick * 4 * BATCH + request;
            let (seen, clock, arrived) = (Arc::clone(&answers), Arc::clone(&ticks), ticks.now());
            match batcher.submit_with(number, None, move |answer| {
                seen.lock().unwrap().push((number, answer.unwrap(), clock.now() - arrived));
            }) {
                Ok(()) => accepted.push(number),
                Err(Error::QueueFull { capacity }) => refused += u64::from(capacity as u64 == CAPACITY),
                Err(other) => panic!("{other}"),
            }
            assert!(batcher.waiting() as u64 <= CAPACITY);
        }
        let before = answers.lock().unwrap().len();
        ticks.tick();
        // The batch in service is answered within its tick.
        while answers.lock().unwrap().len() < before + BATCH as usize {
            std::thread::yield_now();
        }
    }
    let ends = std::thread::spawn(move || batcher.finish());
    while !ends.is_finished() {
        ticks.tick();
        std::thread::yield_now();
    }
    ends.join().unwrap();

    let mut answers = std::mem::take(&mut *answers.lock().unwrap());
    assert_eq!(accepted.len() as u64 + refused, TICKS * 4 * BATCH);
    assert!(refused > TICKS * 2 * BATCH, "only a quarter can be served: {refused} refused");
    let during = &answers[..(TICKS * BATCH) as usize];
    // Whoever is let in has at most a full queue and the batch in service ahead.
    let most = during.iter().map(|answer| answer.2).max().unwrap();
    assert!(most <= CAPACITY.div_ceil(BATCH) + 1, "{most} batches were served before the answer");
    answers.sort_unstable();
    assert_eq!(answers.iter().map(|answer| answer.0).collect::<Vec<_>>(), accepted, "each once, and none lost");
    assert!(answers.iter().all(|(number, answer, _)| *answer == number + 1));
}

#[test]
fn a_response_nobody_waits_for_harms_nobody_and_its_promise_serves_again() {
    /// Counts the answers that are alive.
    struct Counted(Arc<AtomicU64>, u64);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    struct Counts(Arc<AtomicU64>);
    impl BatchEngine for Counts {
        type Input = u64;
        type Output = Counted;
        fn largest_batch(&self) -> usize {
            4
        }
        fn run(&mut self, inputs: &mut [u64], outputs: &mut Vec<Result<Counted>>) -> Result<()> {
            self.0.fetch_add(inputs.len() as u64, Ordering::SeqCst);
            outputs.extend(inputs.iter().map(|&input| Ok(Counted(Arc::clone(&self.0), input))));
            Ok(())
        }
    }
    let alive = Arc::new(AtomicU64::new(0));
    let batcher = Batcher::new(vec![Counts(Arc::clone(&alive))], patient(4)).unwrap();
    for round in 0..100 {
        let mut responses: Vec<_> = (0..4).map(|input| batcher.submit(round * 4 + input).unwrap()).collect();
        let waited = responses.split_off(2);
        drop(responses);
        let answers: Vec<u64> = waited.into_iter().map(|response| response.wait().unwrap().1).collect();
        assert_eq!(answers, [round * 4 + 2, round * 4 + 3], "an answer of an earlier request");
    }
    batcher.finish();
    assert_eq!(alive.load(Ordering::SeqCst), 0, "answers that nobody took went all the same");
}

#[test]
fn many_threads_and_engines_lose_nothing_and_answer_once() {
    let seen = Arc::new(AtomicU64::new(0));
    let engines = (0..2).map(|_| {
        let seen = Arc::clone(&seen);
        let mut state = 1u64;
        made(32, move |inputs, outputs| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            match state >> 60 {
                0 => return Err(out_of_memory()),
                1 => return Err(Error::Run { reason: "now and then".into() }),
                2 => panic!("now and then"),
                _ => {}
            }
            seen.fetch_add(inputs.len() as u64, Ordering::Relaxed);
            plus_one(inputs, outputs)
        })
    });
    let options = BatcherOptions {
        max_delay: Duration::from_micros(100),
        queue_capacity: 200,
        retry_after: 3,
        ..BatcherOptions::default()
    };
    let batcher = Batcher::new(engines.collect(), options).unwrap();
    let answered = AtomicU64::new(0);
    let called = Arc::new(AtomicU64::new(0));
    let (accepted, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (batcher, answered, accepted, refused) = (&batcher, &answered, &accepted, &refused);
            let called = Arc::clone(&called);
            scope.spawn(move || {
                let mut pending = Vec::new();
                for round in 0..5000u64 {
                    let input = thread << 32 | round;
                    let within = (round % 7 == 0).then_some(Duration::from_micros(300));
                    let result = match (round % 3, within) {
                        (0, within) => {
                            let called = Arc::clone(&called);
                            batcher.submit_with(input, within, move |answer| {
                                assert!(answer.is_err() || answer.is_ok_and(|it| it == input + 1));
                                called.fetch_add(1, Ordering::Relaxed);
                            })
                        }
                        (_, Some(within)) => batcher.submit_within(input, within).map(|it| pending.push((input, it))),
                        (1, None) => batcher.submit(input).map(|it| pending.push((input, it))),
                        (_, None) => batcher.submit_when_room(input).map(|it| pending.push((input, it))),
                    };
                    match result {
                        Ok(()) => accepted.fetch_add(1, Ordering::Relaxed),
                        Err(Error::QueueFull { .. }) => refused.fetch_add(1, Ordering::Relaxed),
                        Err(other) => panic!("{other}"),
                    };
                    if pending.len() > 50 {
                        answered.fetch_add(drain(&mut pending), Ordering::Relaxed);
                    }
                }
                answered.fetch_add(drain(&mut pending), Ordering::Relaxed);
            });
        }
    });
    let statistics = {
        while batcher.waiting() > 0 {
            std::thread::yield_now();
        }
        let before = batcher.statistics();
        batcher.finish();
        before
    };
    let (answered, called) = (answered.into_inner(), called.load(Ordering::Relaxed));
    assert_eq!(answered + called, accepted.into_inner());
    assert_eq!(answered + called + refused.into_inner(), 20_000);
    assert!(statistics.peak_waiting <= 200 && statistics.callback_panics == 0, "{statistics:?}");
    assert!(seen.load(Ordering::Relaxed) >= statistics.succeeded);
}

fn drain(pending: &mut Vec<(u64, Response<u64>)>) -> u64 {
    let count = pending.len() as u64;
    for (input, response) in pending.drain(..) {
        match response.wait() {
            Ok(output) => assert_eq!(output, input + 1, "an answer of another request"),
            Err(Error::Batch { .. } | Error::DeadlinePassed { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    count
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_request_let_in_is_answered_once_and_in_order(
        largest in 1usize..20,
        capacity in 1usize..40,
        delay_micros in 0u64..300,
        engines in 1usize..3,
        requests in proptest::collection::vec((0u8..8, 0u64..60), 1..120),
        finish in any::<bool>(),
    ) {
        let order = Arc::new(Mutex::new(Vec::new()));
        let engines = (0..engines).map(|_| {
            let order = Arc::clone(&order);
            made(largest, move |inputs, outputs| {
                // A batch is seen whole or not at all, so that orders of two engines do not mix inside one.
                order.lock().unwrap().push(inputs.to_vec());
                if inputs.len() > 12 { Err(out_of_memory()) } else { plus_one(inputs, outputs) }
            })
        }).collect();
        let options = BatcherOptions {
            max_delay: Duration::from_micros(delay_micros), queue_capacity: capacity, retry_after: 2, ..BatcherOptions::default()
        };
        let batcher = Batcher::new(engines, options).unwrap();
        let answers = Arc::new(Mutex::new(Vec::new()));
        let mut accepted = Vec::new();
        for (number, (kind, pause)) in requests.into_iter().enumerate() {
            let number = number as u64;
            let (seen, within) = (Arc::clone(&answers), (kind == 0).then_some(Duration::from_micros(pause)));
            let panics = kind == 1;
            let result = batcher.submit_with(number, within, move |answer| {
                seen.lock().unwrap().push((number, answer.ok()));
                assert!(!panics, "in the callback");
            });
            match result {
                Ok(()) => accepted.push(number),
                Err(Error::QueueFull { .. }) => {}
                Err(other) => prop_assert!(false, "{}", other),
            }
            if kind > 5 {
                std::thread::sleep(Duration::from_micros(pause));
            }
        }
        if finish { batcher.finish() } else { batcher.shut_down() }
        let mut answers = answers.lock().unwrap().clone();
        prop_assert!(answers.iter().all(|(number, answer)| answer.is_none_or(|answer| answer == number + 1)));
        answers.sort_unstable();
        prop_assert_eq!(answers.iter().map(|it| it.0).collect::<Vec<_>>(), accepted);
        for batch in &*order.lock().unwrap() {
            prop_assert!(batch.len() <= largest && batch.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
