//! The monitor on this process and on others: what is recorded, what is shown, and what goes wrong meanwhile.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::{Duration, Instant};

use trtforge_runtime::monitor::{
    Form, Mark, MeetingPlace, Monitor, MonitorOptions, OwnSource, ProcessSource, Quantity, Recorder, Recording, Sample,
    Source, Values,
};
use trtforge_runtime::{
    Budget, Call, Class, ElementType, Engine, EngineOptions, Error, Function, Ledger, Request, Result, Shape,
    Signature, TensorInfo, mib,
};

struct Copy;

impl Function for Copy {
    fn signature(&self) -> Signature {
        let tensor = |name| vec![TensorInfo::batched(name, ElementType::Float32, &[256])];
        Signature { inputs: tensor("x"), outputs: tensor("y"), profiles: Vec::new() }
    }

    fn activation_bytes(&self, _: &[Shape]) -> u64 {
        mib(1)
    }

    fn run(&self, _: Call<'_>) -> Result<()> {
        Ok(())
    }
}

fn often() -> MonitorOptions {
    MonitorOptions { interval: Duration::from_millis(2), ..MonitorOptions::default() }
}

fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_there() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} does not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn sampled(monitor: &Monitor, more: Duration) {
    let since = monitor.latest().map_or(Duration::ZERO, |sample| sample.at);
    wait_for("a sample", || monitor.latest().is_some_and(|sample| sample.at > since + more));
}

#[test]
fn a_run_is_recorded_with_what_the_ledger_held_and_what_was_counted() {
    let options = EngineOptions { ledger: Ledger::new(Budget::device(mib(8))), ..EngineOptions::default() };
    let engine = options.function(Copy).unwrap();
    let monitor = Monitor::start("copying", OwnSource::engine(&engine).unwrap(), often()).unwrap();
    sampled(&monitor, Duration::ZERO);
    let mut session = engine.session(Request::batch(4).into()).unwrap();
    monitor.mark("session\nmade");
    let counters = monitor.counters();
    for _ in 0..10 {
        session.run().unwrap();
        counters.ran(4);
    }
    sampled(&monitor, Duration::from_millis(4));
    drop(session);
    drop(engine);
    let recording = monitor.finish();
    let held = recording.most(Quantity::Activation);
    assert_eq!((held, recording.last(Quantity::Activation)), (Some(mib(1)), Some(0)));
    assert_eq!(recording.most(Quantity::Io), Some(2 * 4 * 256 * 4));
    assert_eq!(recording.last(Quantity::Inferences), Some(40));
    assert_eq!(recording.last(Quantity::Batch), Some(4));
    assert_eq!(recording.last(Quantity::DeviceBudget), Some(mib(8)));
    assert_eq!(recording.last(Quantity::PinnedBudget), None);
    assert!(recording.most(Quantity::Resident) > Some(mib(1)) && recording.most(Quantity::Threads) >= Some(2));
    assert!(recording.most(Quantity::DeviceUsed) > Some(mib(1)), "the machine's memory");
    assert_eq!(recording.marks[0].label, "session made");
    assert!(recording.throughput().flatten().any(|rate| rate > 0.0));
    assert!(recording.notes().is_empty(), "{:?}", recording.notes());
}

#[test]
fn a_short_run_has_its_beginning_and_its_end() {
    let engine = Engine::function("copy", Copy).unwrap();
    let options = MonitorOptions { interval: Duration::from_secs(3600), ..MonitorOptions::default() };
    let monitor = Monitor::start("copying", OwnSource::engine(&engine).unwrap(), options).unwrap();
    assert!(monitor.latest().is_some(), "the first is there");
    monitor.counters().ran(3);
    let recording = monitor.finish();
    assert_eq!((recording.samples(), recording.last(Quantity::Inferences)), (2, Some(3)));
    let zero = MonitorOptions { interval: Duration::ZERO, ..MonitorOptions::default() };
    let error = Monitor::start("never", OwnSource::engine(&engine).unwrap(), zero).unwrap_err();
    assert!(matches!(error, Error::Request { value: 0, .. }), "{error}");
}

/// Sees the first quantity, then does what it is made to.
struct Broken(fn() -> Result<()>);

impl Source for Broken {
    fn look(&mut self, values: &mut Values) -> Result<()> {
        values.set(Quantity::Resident, 7);
        (self.0)()
    }
}

#[test]
fn what_goes_wrong_while_sampling_is_told_at_the_end_and_stops_nothing() {
    let refused = || Err(Error::Run { reason: "the device is asleep".to_owned() });
    let monitor = Monitor::start("broken", Broken(refused), often()).unwrap();
    sampled(&monitor, Duration::from_millis(4));
    let recording = monitor.finish();
    assert!(recording.faults.count >= 2 && recording.faults.count == recording.samples());
    assert_eq!(recording.last(Quantity::Resident), Some(7), "what was seen before counts");
    assert!(recording.notes()[0].contains("the device is asleep"), "{:?}", recording.notes());

    let monitor = Monitor::start("panics", Broken(|| panic!("on purpose")), often()).unwrap();
    wait_for("the first sample", || monitor.latest().is_some());
    std::thread::sleep(Duration::from_millis(10));
    monitor.mark("goes on");
    let recording = monitor.finish();
    assert!(matches!(&recording.faults.first, Some(Error::Panicked { message, .. }) if message == "on purpose"));
    assert_eq!((recording.samples(), recording.marks.len()), (1, 1));
}

#[test]
fn another_process_is_watched_until_it_ends() {
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let source = ProcessSource::new(child.id()).unwrap();
    assert!(source.unseen().iter().all(|what| what.contains("GPU")), "{:?}", source.unseen());
    let monitor = Monitor::start("sleep", source, often()).unwrap();
    sampled(&monitor, Duration::from_millis(4));
    child.kill().unwrap();
    child.wait().unwrap();
    std::thread::sleep(Duration::from_millis(20));
    let recording = monitor.finish();
    assert!(matches!(recording.faults.first, Some(Error::NoProcess { pid }) if pid == child.id()));
    assert_eq!((recording.faults.count, recording.last(Quantity::Threads)), (1, Some(1)));
    assert!(matches!(ProcessSource::new(u32::MAX), Err(Error::NoProcess { pid: u32::MAX })));
}

#[test]
fn a_process_shows_itself_to_its_owner_alone_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = MeetingPlace::at(folder.path().join("place"));
    assert!(place.processes().unwrap().is_empty());
    let engine = Engine::function("copy", Copy).unwrap();
    let options = MonitorOptions { shown: Some(place.clone()), ..often() };
    let monitor = Monitor::start("copying \"it\"", OwnSource::engine(&engine).unwrap(), options).unwrap();
    monitor.mark("here");
    monitor.counters().ran(5);
    let me = std::process::id();
    wait_for("what it shows", || place.process(me).is_ok_and(|found| found.is_some()));
    let found = place.processes().unwrap();
    assert_eq!((found.len(), found[0].pid(), found[0].title()), (1, me, "copying \"it\""));
    wait_for("the counter", || {
        let snapshot = found[0].snapshot().unwrap();
        snapshot.values.get(Quantity::Inferences) == Some(5) && snapshot.marks.len() == 1
    });
    let file = std::fs::read_dir(place.folder()).unwrap().next().unwrap().unwrap();
    assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
    assert_eq!(place.folder().metadata().unwrap().mode() & 0o777, 0o700);
    let before = found[0].snapshot().unwrap();
    let recording = monitor.finish();
    assert!(recording.unpublished.first.is_none());
    assert_eq!(std::fs::read_dir(place.folder()).unwrap().count(), 0);
    let after = found[0].snapshot().unwrap();
    assert!(after.sequence > before.sequence, "the last sample was shown before it went");
    assert_eq!(after.sequence, recording.samples());
}

#[test]
fn a_place_that_is_not_ours_alone_is_not_used_and_the_run_goes_on() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let open = folder.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path(), &link).unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let engine = Engine::function("copy", Copy).unwrap();
    for bad in [&open, &link, &file, &folder.path().join("file/below")] {
        let options = MonitorOptions { shown: Some(MeetingPlace::at(bad)), ..often() };
        let monitor = Monitor::start("copying", OwnSource::engine(&engine).unwrap(), options).unwrap();
        sampled(&monitor, Duration::ZERO);
        let recording = monitor.finish();
        assert!(recording.samples() >= 2 && recording.faults.first.is_none());
        let told = recording.notes();
        assert!(told.len() == 1 && told[0].contains(&bad.display().to_string()), "{told:?}");
    }
}

fn small() -> Recording {
    let options = MonitorOptions { buckets: 2, marks: 2, ..MonitorOptions::default() };
    let mut recorder = Recorder::new("a \"title\"", &options);
    for (index, resident) in [5, 9, 3, 4].into_iter().enumerate() {
        let mut values = Values::default();
        values.set(Quantity::Resident, resident);
        values.set(Quantity::of(Class::Io), (index > 1).then_some(8));
        values.set(Quantity::Inferences, 10 * index as u64);
        recorder.push(Sample { at: Duration::from_millis(100 * index as u64), values });
    }
    for (at, label) in [(0.05, "one, \"two\""), (0.09, "three"), (0.3, "no room")] {
        recorder.mark(Mark::new(Duration::from_secs_f64(at), label));
    }
    recorder.fault(Error::Run { reason: "asleep".to_owned() });
    recorder.finish()
}

#[test]
fn a_recording_as_comma_separated_values() {
    let mut text = Vec::new();
    small().write_csv(&mut text).unwrap();
    let expected = "\
from_s,to_s,samples,io_bytes,io_bytes_least,io_bytes_most,resident_bytes,resident_bytes_least,resident_bytes_most,\
inferences,inferences_least,inferences_most,inferences_per_s,marks
0.000,0.100,2,,,,9,5,9,10,0,10,100.000,\"one, \"\"two\"\"; three\"
0.200,0.300,2,8,8,8,4,3,4,30,20,30,100.000,
";
    assert_eq!(String::from_utf8(text).unwrap(), expected);
}

#[test]
fn a_recording_as_json() {
    let mut text = Vec::new();
    let recording = small();
    recording.write_json(&mut text).unwrap();
    let mut value: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert!(value["started_unix_ms"].take().as_u64().is_some_and(|since| since > 1_600_000_000_000));
    let expected = serde_json::json!({
        "schema": 1, "kind": "trtforge recording", "title": "a \"title\"", "started_unix_ms": null,
        "interval_ms": 100.0, "samples": 4, "samples_per_point": 2,
        "from_s": [0.0, 0.2], "to_s": [0.1, 0.3], "count": [2, 2],
        "series": {
            "resident_bytes": {"least": [5, 3], "most": [9, 4], "last": [9, 4]},
            "io_bytes": {"least": [null, 8], "most": [null, 8], "last": [null, 8]},
            "inferences": {"least": [0, 20], "most": [10, 30], "last": [10, 30]},
        },
        "inferences_per_s": [100.0, 100.0],
        "marks": [{"at_s": 0.05, "label": "one, \"two\""}, {"at_s": 0.09, "label": "three"}],
        "marks_dropped": 1, "faults": {"samples": 1, "first": "the engine failed: asleep"},
    });
    assert_eq!(value, expected);
    assert_eq!(recording.notes().len(), 3, "{:?}", recording.notes());
}

#[test]
fn a_recording_that_cannot_be_written_is_a_typed_error_and_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let recording = small();
    let kind = |path: &std::path::Path, form| match recording.save(path, form) {
        Err(Error::Io { action: "write", path: told, source }) if told == path => source.kind(),
        other => panic!("{other:?}"),
    };
    let full = std::path::Path::new("/dev/full");
    assert_eq!(kind(full, Form::Csv), io::ErrorKind::StorageFull);
    assert_eq!(kind(full, Form::Json), io::ErrorKind::StorageFull);
    assert_eq!(kind(&folder.path().join("no/such/a.csv"), Form::Csv), io::ErrorKind::NotFound);
    let path = folder.path().join("a.json");
    std::fs::write(&path, "old").unwrap();
    recording.save(&path, Form::Json).unwrap();
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("{\"schema\":1"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
