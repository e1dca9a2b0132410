//! The host device: order, late errors, limits, faults, what memory shows while work holds it.

use std::time::Duration;

use trtforge_runtime::{Class, Device, Error, Faults, Host, Memory};

fn filled(host: &Host, bytes: u64, value: u8) -> trtforge_runtime::device::HostMemory {
    let mut memory = host.allocate(Class::Io, bytes).unwrap();
    memory.bytes().unwrap().fill(value);
    memory
}

#[test]
fn copies_happen_in_the_order_they_were_given() {
    let host = Host::new();
    let mut stream = host.stream().unwrap();
    let (one, two) = (filled(&host, 1000, 1), filled(&host, 1000, 2));
    let mut target = filled(&host, 1000, 0);
    for _ in 0..50 {
        host.copy(&mut stream, &one, &target, 1000).unwrap();
        host.copy(&mut stream, &two, &target, 500).unwrap();
    }
    host.synchronize(&mut stream).unwrap();
    let bytes = target.bytes().unwrap();
    assert!(bytes[..500].iter().all(|&byte| byte == 2) && bytes[500..].iter().all(|&byte| byte == 1));
}

#[test]
fn memory_shows_nothing_while_work_holds_it() {
    let host = Host::new();
    let (mut first, mut second) = (host.stream().unwrap(), host.stream().unwrap());
    let (from, mut to) = (filled(&host, 64, 9), filled(&host, 64, 0));
    let (gate, done) = (host.event().unwrap(), host.event().unwrap());
    assert!(host.is_done(&gate).unwrap(), "an event that was never recorded counts as passed");
    // The second stream cannot start before the first is given its record, which it is only further below.
    let hold = filled(&host, 1 << 22, 1);
    let sink = filled(&host, 1 << 22, 0);
    for _ in 0..20 {
        host.copy(&mut first, &hold, &sink, 1 << 22).unwrap();
    }
    host.record(&gate, &mut first).unwrap();
    host.wait(&mut second, &gate).unwrap();
    host.copy(&mut second, &from, &to, 64).unwrap();
    host.record(&done, &mut second).unwrap();
    if !host.is_done(&done).unwrap() {
        // It may end at any moment, but what is shown is never a half.
        assert!(to.bytes().is_none_or(|bytes| bytes.iter().all(|&byte| byte == 9)));
    }
    host.synchronize(&mut second).unwrap();
    assert!(host.is_done(&gate).unwrap() && host.is_done(&done).unwrap());
    assert!(to.bytes().unwrap().iter().all(|&byte| byte == 9));
}

#[test]
fn a_stream_dropped_with_work_under_way_finishes_it() {
    let host = Host::new();
    let mut stream = host.stream().unwrap();
    let (from, mut to) = (filled(&host, 1 << 20, 3), filled(&host, 1 << 20, 0));
    host.copy(&mut stream, &from, &to, 1 << 20).unwrap();
    drop((from, stream));
    assert!(to.bytes().unwrap().iter().all(|&byte| byte == 3));
    drop(to);
    assert_eq!(host.used_bytes(), 0);
    assert_eq!(host.damage(), []);
}

#[test]
fn a_copy_to_itself_and_copies_to_and_fro_end() {
    let host = Host::new();
    let (mut first, mut second) = (host.stream().unwrap(), host.stream().unwrap());
    let (a, b) = (filled(&host, 4096, 1), filled(&host, 4096, 1));
    for _ in 0..500 {
        host.copy(&mut first, &a, &b, 4096).unwrap();
        host.copy(&mut second, &b, &a, 4096).unwrap();
        host.copy(&mut second, &b, &b, 4096).unwrap();
    }
    host.synchronize(&mut first).unwrap();
    host.synchronize(&mut second).unwrap();
}

#[test]
fn what_fails_late_is_told_once_by_the_next_wait_and_stops_what_follows() {
    let host = Host::new();
    let mut stream = host.stream().unwrap();
    let (from, mut to) = (filled(&host, 64, 5), filled(&host, 64, 0));
    host.set_faults(Faults { late_error: Some(1), ..Faults::default() });
    let event = host.event().unwrap();
    host.record(&event, &mut stream).unwrap();
    host.copy(&mut stream, &from, &to, 64).unwrap();
    host.copy(&mut stream, &from, &to, 64).unwrap();
    assert!(matches!(host.synchronize(&mut stream), Err(Error::Late { .. })));
    assert!(to.bytes().unwrap().iter().all(|&byte| byte == 0), "what stood behind the failure was not done");
    host.copy(&mut stream, &from, &to, 64).unwrap();
    host.synchronize(&mut stream).unwrap();
    assert!(to.bytes().unwrap().iter().all(|&byte| byte == 5));
}

#[test]
fn a_copy_longer_than_a_block_is_refused() {
    let host = Host::new();
    let mut stream = host.stream().unwrap();
    let (short, long) = (filled(&host, 10, 0), filled(&host, 20, 0));
    assert!(matches!(host.copy(&mut stream, &short, &long, 11), Err(Error::Device { .. })));
    assert!(matches!(host.copy(&mut stream, &long, &short, 11), Err(Error::Device { .. })));
}

#[test]
fn the_capacity_is_kept_to_the_byte() {
    let host = Host::with_capacity(1000);
    let first = host.allocate(Class::Weights, 600).unwrap();
    let error = host.allocate(Class::Activation, 401).unwrap_err();
    let Error::OutOfMemory { class, bytes, free_bytes, .. } = &error else { panic!("{error}") };
    assert_eq!((*class, *bytes, *free_bytes), (Class::Activation, 401, Some(400)));
    assert!(error.is_out_of_memory() && error.hint().is_some());
    let second = host.allocate(Class::Activation, 400).unwrap();
    assert_eq!(host.memory_info().unwrap().free_bytes, 0);
    drop((first, second));
    assert_eq!(host.memory_info().unwrap().free_bytes, 1000);
    assert!(host.allocate(Class::Io, u64::MAX).unwrap_err().is_out_of_memory());
}

#[test]
fn the_allocation_that_was_named_fails_and_no_other() {
    let host = Host::new();
    host.set_faults(Faults { failing_allocation: Some(2), ..Faults::default() });
    let results: Vec<bool> = (0..5).map(|_| host.allocate(Class::Io, 8).is_ok()).collect();
    assert_eq!(results, [true, true, false, true, true]);
    assert_eq!(host.allocations(), 5);
}

#[test]
fn a_virtual_clock_stands_still() {
    let host = Host::with_virtual_clock();
    assert_eq!(host.now(), Duration::ZERO);
    host.advance(Duration::from_millis(5));
    assert_eq!(host.now(), Duration::from_millis(5));
}
