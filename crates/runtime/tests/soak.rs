//! Soaks of engines that leak on purpose and of those that do not. A binary and a test of its own: other tests would be in the
//! process's memory too.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use trtforge_runtime::leak::{Soak, Soaked, Verdict, Watched};
use trtforge_runtime::{
    Budget, Call, Class, ElementType, Engine, EngineOptions, Function, Ledger, Request, Result, Signature, Stage,
    TensorInfo,
};

/// Does nothing but what is asked with the number of each run.
struct Each<F>(F, AtomicU64);

impl<F: Fn(u64) + Send + Sync + 'static> Function for Each<F> {
    fn signature(&self) -> Signature {
        let tensor = |name| vec![TensorInfo::batched(name, ElementType::Float32, &[8])];
        Signature { inputs: tensor("x"), outputs: tensor("y"), profiles: Vec::new() }
    }

    fn run(&self, _: Call<'_>) -> Result<()> {
        (self.0)(self.1.fetch_add(1, Ordering::Relaxed));
        Ok(())
    }
}

const ITERATIONS: u64 = 20_000;

fn soaked(ledger: Ledger, each: impl Fn(u64) + Send + Sync + 'static) -> Soaked {
    let options = EngineOptions { ledger, ..EngineOptions::default() };
    let engine = options.function(Each(each, AtomicU64::new(0))).unwrap();
    let soak = Soak { iterations: ITERATIONS, request: Request::batch(4), ..Soak::default() };
    soak.run(&engine, |_| Ok(()), |_| true).unwrap()
}

fn verdict(soaked: &Soaked, what: Watched) -> Verdict {
    soaked.watches.iter().find(|watch| watch.what == what).unwrap().verdict
}

fn per_inference(verdict: Verdict) -> f64 {
    let Verdict::Leak { per_thousand, .. } = verdict else { panic!("{verdict:?}") };
    per_thousand / 1000.0
}

#[test]
fn leaks_are_told_from_warming_up() {
    let clean = soaked(Ledger::default(), |_| ());
    assert_eq!(clean.leaks().count(), 0, "{clean:?}");
    assert_eq!((clean.iterations, clean.sessions), (ITERATIONS, ITERATIONS / 500));

    // 1 KiB of the heap with every run.
    let host = soaked(Ledger::default(), |_| _ = Vec::leak(vec![1u8; 1024]));
    let leaked = per_inference(verdict(&host, Watched::Resident));
    assert!((900.0..1300.0).contains(&leaked), "{leaked}");
    assert_eq!(verdict(&host, Watched::Ledger), Verdict::Flat);
    assert!(!verdict(&host, Watched::OpenFiles).is_leak() && !verdict(&host, Watched::Threads).is_leak(), "{host:?}");

    // 4 KiB of the device with every run, in the ledger.
    let ledger = Ledger::default();
    let (owner, book): (Arc<str>, Ledger) = ("leak".into(), ledger.clone());
    let device = soaked(ledger, move |_| std::mem::forget(book.enter(&owner, Class::Activation, 4096).unwrap()));
    let leaked = per_inference(verdict(&device, Watched::Ledger));
    assert!((leaked - 4096.0).abs() < 1.0, "{leaked}");

    // 32 MiB while the first tenth runs, and nothing after.
    let kept = Mutex::new(Vec::new());
    let warm = soaked(Ledger::default(), move |run| {
        if run < ITERATIONS / 10 {
            kept.lock().unwrap().push(vec![1u8; 16 << 10]);
        }
    });
    assert_eq!(warm.leaks().count(), 0, "{warm:?}");
    assert!(matches!(verdict(&warm, Watched::Resident), Verdict::OneOff { growth } if growth > 16e6), "{warm:?}");

    // A file with every hundredth run.
    let files = soaked(Ledger::default(), |run| {
        if run % 100 == 0 {
            std::mem::forget(std::fs::File::open("/proc/self/status").unwrap());
        }
    });
    assert!((per_inference(verdict(&files, Watched::OpenFiles)) - 0.01).abs() < 0.001, "{files:?}");
}

#[test]
fn a_soak_ends_when_it_is_told_to() {
    let engine = Engine::function("nothing", Each(|_| (), AtomicU64::new(0))).unwrap();
    let soak = Soak { iterations: 1000, samples: 10, request: Request::batch(1), ..Soak::default() };
    let ended = soak.run(&engine, |_| Ok(()), |done| done < 300).unwrap();
    assert_eq!(ended.iterations, 300);
    assert!(ended.watches.iter().all(|watch| matches!(watch.verdict, Verdict::TooFew { samples: 3 })));
}

/// One after another, each adding one to its input.
fn stages(ledger: &Ledger) -> Engine {
    struct AddOne(usize);
    impl Function for AddOne {
        fn signature(&self) -> Signature {
            let tensor = |at: usize| vec![TensorInfo::batched(&format!("t{at}"), ElementType::Float32, &[8])];
            Signature { inputs: tensor(self.0), outputs: tensor(self.0 + 1), profiles: Vec::new() }
        }

        fn weights_bytes(&self) -> u64 {
            1000
        }

        fn run(&self, mut call: Call<'_>) -> Result<()> {
            let x = call.inputs.get::<f32>(0).unwrap();
            call.outputs.get::<f32>(0).unwrap().iter_mut().zip(x).for_each(|(y, x)| *y = x + 1.0);
            Ok(())
        }
    }
    let options = EngineOptions { ledger: ledger.clone(), ..EngineOptions::default() };
    let stage = |at: usize| {
        let load = move |options: &EngineOptions| options.function(AddOne(at));
        Stage::new(&format!("stage {at}"), AddOne(at).signature(), load).with_memory(1000, 0)
    };
    options.stages(&["t3"], (0..3).map(stage).collect()).unwrap()
}

#[test]
fn stages_that_come_and_go_leak_nothing() {
    // Room for two of three stages: they are loaded ahead, in threads of their own, and given up in every run.
    let ledger = Ledger::new(Budget::device(2600));
    let engine = stages(&ledger);
    let soak = Soak { iterations: 8000, request: Request::batch(4), ..Soak::default() };
    let soaked = soak.run(&engine, |_| Ok(()), |_| true).unwrap();
    assert_eq!(soaked.leaks().count(), 0, "{soaked:?}");
    assert!(ledger.peak_device_bytes() <= 2600);
    let statistics = engine.stages();
    assert!(statistics.iter().all(|it| it.runs >= 8000 && it.loads > 1000 && it.ahead_hits > 1000), "{statistics:?}");
}
