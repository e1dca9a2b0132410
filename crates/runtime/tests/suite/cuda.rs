//! The GPU device. Without a driver its absence is tried; the rest needs a GPU and passes, saying so, where there is none.

use trtforge_runtime::device::{Cuda, Device};
use trtforge_runtime::monitor::{OwnSource, ProcessSource, Quantity, Source, Values};
use trtforge_runtime::{Class, Error, Ledger, Memory};

fn gpu() -> Option<Cuda> {
    match Cuda::open(0) {
        Ok(gpu) => Some(gpu),
        Err(error @ Error::NoGpu { .. }) => {
            assert!(error.hint().is_some());
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_gpu_that_is_not_there_is_an_error_value() {
    let Err(error) = Cuda::open(10_000) else { panic!("nobody has that many") };
    assert!(matches!(error, Error::NoGpu { .. }), "{error}");
}

#[test]
fn bytes_go_to_the_gpu_and_come_back_in_order() {
    let Some(gpu) = gpu() else { return };
    let mut stream = gpu.stream().unwrap();
    let mut input = gpu.allocate(Class::PinnedInput, 1 << 20).unwrap();
    let mut output = gpu.allocate(Class::PinnedOutput, 1 << 20).unwrap();
    let (mut near, far) = (gpu.allocate(Class::Io, 1 << 20).unwrap(), gpu.allocate(Class::Io, 1 << 20).unwrap());
    assert!(near.bytes().is_none(), "the host does not see it");
    for (index, byte) in input.bytes().unwrap().iter_mut().enumerate() {
        *byte = (index % 251) as u8;
    }
    gpu.copy(&mut stream, &input, &near, 1 << 20).unwrap();
    gpu.copy(&mut stream, &near, &far, 1 << 20).unwrap();
    gpu.copy(&mut stream, &far, &output, 1 << 20).unwrap();
    let event = gpu.event().unwrap();
    gpu.record(&event, &mut stream).unwrap();
    assert!(output.bytes().is_none(), "held until the stream was waited for");
    event.synchronize().unwrap();
    assert!(gpu.is_done(&event).unwrap());
    gpu.synchronize(&mut stream).unwrap();
    let back = output.bytes().unwrap();
    assert!(back.iter().enumerate().all(|(index, &byte)| byte == (index % 251) as u8));
}

#[test]
fn events_that_keep_time_tell_how_long_copies_took() {
    let Some(gpu) = gpu() else { return };
    let mut stream = gpu.stream().unwrap();
    let (near, far) = (gpu.allocate(Class::Io, 64 << 20).unwrap(), gpu.allocate(Class::Io, 64 << 20).unwrap());
    let marks = [gpu.timed_event().unwrap(), gpu.timed_event().unwrap(), gpu.timed_event().unwrap()];
    gpu.record(&marks[0], &mut stream).unwrap();
    gpu.copy(&mut stream, &near, &far, 64 << 20).unwrap();
    gpu.record(&marks[1], &mut stream).unwrap();
    gpu.record(&marks[2], &mut stream).unwrap();
    gpu.synchronize(&mut stream).unwrap();
    let (copy, nothing) = (marks[1].since(&marks[0]).unwrap(), marks[2].since(&marks[1]).unwrap());
    assert!(copy > nothing, "{copy:?} for 64 MiB, {nothing:?} for nothing");
    let plain = gpu.event().unwrap();
    gpu.record(&plain, &mut stream).unwrap();
    gpu.synchronize(&mut stream).unwrap();
    assert!(matches!(plain.since(&marks[0]), Err(Error::Device { .. })), "an event that keeps no time");
}

#[test]
fn more_than_the_gpu_has_is_a_typed_error_and_the_gpu_goes_on() {
    let Some(gpu) = gpu() else { return };
    let total = gpu.memory_info().unwrap().total_bytes;
    let Err(error) = gpu.allocate(Class::Activation, total * 2) else { panic!("there is not that much") };
    assert!(matches!(error, Error::OutOfMemory { free_bytes: Some(_), .. }), "{error}");
    drop(gpu.allocate(Class::Activation, 1 << 20).unwrap());
}

#[test]
fn captured_work_is_done_at_each_launch_and_not_before() {
    let Some(gpu) = gpu() else { return };
    let mut stream = gpu.stream().unwrap();
    let (mut from, mut to) =
        (gpu.allocate(Class::PinnedInput, 64).unwrap(), gpu.allocate(Class::PinnedOutput, 64).unwrap());
    let far = gpu.allocate(Class::Io, 64).unwrap();
    let graph = gpu
        .capture(&mut stream, |stream| {
            gpu.copy(stream, &from, &far, 64)?;
            gpu.copy(stream, &far, &to, 64)
        })
        .unwrap();
    assert!(to.bytes().unwrap().iter().all(|&byte| byte == 0), "nothing was done yet");
    for round in 1..4 {
        from.bytes().unwrap().fill(round);
        gpu.launch(&graph, &mut stream, [&from, &far, &to].into_iter()).unwrap();
        assert!(to.bytes().is_none(), "held until the stream was waited for");
        let error = gpu.capture(&mut stream, |_| Ok(())).map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::InFlight { .. }), "{error}");
        gpu.synchronize(&mut stream).unwrap();
        assert!(to.bytes().unwrap().iter().all(|&byte| byte == round));
    }
    let error = gpu.launch(&graph, &mut stream, [&from, &far].into_iter()).unwrap_err();
    assert!(error.to_string().contains("not among those given"), "{error}");
    gpu.synchronize(&mut stream).unwrap();
}

#[test]
fn a_capture_that_fails_leaves_a_stream_that_works() {
    let Some(gpu) = gpu() else { return };
    let mut stream = gpu.stream().unwrap();
    let refused = || Error::Run { reason: "on purpose".to_owned() };
    let error = gpu.capture(&mut stream, |_| Err(refused())).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Run { .. }), "{error}");
    // Waiting for a stream is nothing that can be captured.
    assert!(gpu.capture(&mut stream, |stream| gpu.synchronize(stream)).is_err());
    let (mut from, mut to) =
        (gpu.allocate(Class::PinnedInput, 64).unwrap(), gpu.allocate(Class::PinnedOutput, 64).unwrap());
    from.bytes().unwrap().fill(7);
    gpu.copy(&mut stream, &from, &to, 64).unwrap();
    gpu.synchronize(&mut stream).unwrap();
    assert!(to.bytes().unwrap().iter().all(|&byte| byte == 7));
}

#[test]
fn what_is_freed_is_free_and_streams_may_go_with_work_under_way() {
    let Some(gpu) = gpu() else { return };
    let warm = gpu.allocate(Class::Io, 1 << 20).unwrap();
    let before = gpu.memory_info().unwrap().free_bytes;
    for _ in 0..20 {
        let mut stream = gpu.stream().unwrap();
        let (from, to) = (gpu.allocate(Class::Io, 64 << 20).unwrap(), gpu.allocate(Class::Io, 64 << 20).unwrap());
        gpu.copy(&mut stream, &from, &to, 64 << 20).unwrap();
        drop((from, to));
        drop(stream);
    }
    assert!(gpu.memory_info().unwrap().free_bytes + (8 << 20) >= before, "nothing of 2.5 GiB stays");
    drop(warm);
}

#[test]
fn a_monitor_sees_what_is_allocated_on_the_gpu() {
    const BYTES: u64 = 512 << 20;
    let Some(gpu) = gpu() else { return };
    let mut own = OwnSource::device(Ledger::default(), gpu.clone()).unwrap();
    let mut system = ProcessSource::new(std::process::id()).unwrap();
    let mut look = || {
        let (mut mine, mut told) = (Values::default(), Values::default());
        own.look(&mut mine).unwrap();
        system.look(&mut told).unwrap();
        (mine.get(Quantity::DeviceUsed).unwrap(), told.get(Quantity::GpuProcess))
    };
    let before = look();
    let block = gpu.allocate(Class::Io, BYTES).unwrap();
    let after = look();
    assert!(after.0 >= before.0 + BYTES, "{before:?} {after:?}");
    match before.1.zip(after.1) {
        Some((before, after)) => assert!(after >= before + BYTES, "{before} {after}"),
        // In a container the driver knows processes by other numbers.
        None => eprintln!("the driver does not tell what this process holds"),
    }
    drop(block);
}
