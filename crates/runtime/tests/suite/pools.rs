//! The pool: what it keeps, what it gives back, and that it never loses or shares a buffer.

use proptest::prelude::*;
use trtforge_runtime::pool::{Buffer, size_class};
use trtforge_runtime::{Budget, Class, Error, Host, Ledger, Plan, Pool, PoolLimits};

fn pool(host: &Host, ledger: &Ledger, limits: PoolLimits) -> Pool<Host> {
    Pool::new(host.clone(), ledger.clone(), "pool", limits)
}

#[test]
fn a_buffer_that_came_back_serves_the_next_of_its_size_and_class() {
    let (host, ledger) = (Host::new(), Ledger::default());
    let pool = pool(&host, &ledger, PoolLimits::default());
    drop(pool.take(Class::Io, 1000).unwrap());
    let again = pool.take(Class::Io, 900).unwrap();
    let other = pool.take(Class::PinnedInput, 900).unwrap();
    assert_eq!((pool.statistics().hits, pool.statistics().misses), (1, 2));
    assert_eq!(host.allocations(), 2);
    assert_eq!((again.len(), ledger.held()[Class::Io]), (900, size_class(900)));
    drop((again, other));
    assert_eq!(pool.clear(), 2 * size_class(900));
    assert_eq!((host.used_bytes(), ledger.held()), (0, Plan::default()));
}

#[test]
fn what_is_idle_for_longest_goes_first() {
    let (host, ledger) = (Host::new(), Ledger::default());
    let limits = PoolLimits { idle_buffers: 2, idle_bytes: u64::MAX };
    let pool = pool(&host, &ledger, limits);
    let taken: Vec<_> = [600, 1200, 2400].map(|bytes| pool.take(Class::Io, bytes).unwrap()).into();
    taken.into_iter().for_each(drop);
    assert_eq!((pool.statistics().idle_buffers, pool.statistics().freed), (2, 1));
    let before = host.allocations();
    drop(pool.take(Class::Io, 2400).unwrap());
    drop(pool.take(Class::Io, 1200).unwrap());
    assert_eq!(host.allocations(), before, "the two that came back last are still there");
    drop(pool.take(Class::Io, 600).unwrap());
    assert_eq!(host.allocations(), before + 1);
}

#[test]
fn idle_buffers_make_room_when_there_is_none() {
    let (host, ledger) = (Host::with_capacity(4096), Ledger::default());
    let pool = pool(&host, &ledger, PoolLimits::default());
    let many: Vec<_> = (0..4).map(|_| pool.take(Class::Io, 1024).unwrap()).collect();
    drop(many);
    let large = pool.take(Class::Io, 4096).unwrap();
    assert_eq!((pool.statistics().clears_under_pressure, pool.statistics().idle_buffers), (1, 0));
    let Err(error) = pool.take(Class::Io, 512) else { panic!("no room") };
    assert!(matches!(error, Error::OutOfMemory { free_bytes: Some(0), .. }), "{error}");
    drop(large);
    ledger.set_budget(Budget::device(4096));
    let small = pool.take(Class::Io, 512).unwrap();
    assert_eq!(pool.statistics().clears_under_pressure, 2, "a budget presses like a full device");
    let Err(Error::OverBudget(refusal)) = pool.take(Class::Io, 4096) else { panic!("over budget") };
    assert_eq!(refusal.have_bytes, 4096 - 512);
    drop(small);
}

#[test]
fn a_buffer_outlives_its_pool() {
    let (host, ledger) = (Host::new(), Ledger::default());
    let pool = pool(&host, &ledger, PoolLimits::default());
    let mut buffer = pool.take(Class::Io, 100).unwrap();
    drop(pool);
    buffer.bytes().unwrap().fill(1);
    drop(buffer);
    assert_eq!(host.used_bytes(), 0);
}

#[test]
fn threads_never_share_a_buffer() {
    let (host, ledger) = (Host::new(), Ledger::default());
    let pool = pool(&host, &ledger, PoolLimits { idle_buffers: 3, idle_bytes: 1 << 20 });
    std::thread::scope(|scope| {
        for id in 0..4u8 {
            let pool = pool.clone();
            scope.spawn(move || {
                for round in 0..500u64 {
                    let mut buffer = pool.take(Class::Io, 100 + (round * 37 + u64::from(id)) % 3000).unwrap();
                    buffer.bytes().unwrap().fill(id);
                    std::thread::yield_now();
                    assert!(buffer.bytes().unwrap().iter().all(|&byte| byte == id));
                }
            });
        }
    });
    assert_eq!(pool.statistics().used_bytes, 0);
    assert_eq!(pool.statistics().hits + pool.statistics().misses, 2000);
    assert_eq!(ledger.held()[Class::Io], pool.statistics().idle_bytes);
    assert_eq!(host.damage(), []);
}

proptest! {
    #[test]
    fn a_pool_holds_what_is_used_and_what_it_may_keep(
        buffers in 0usize..6,
        bytes in 0u64..8192,
        steps in proptest::collection::vec((0u64..4000, 0usize..3, 0u8..4), 1..60),
    ) {
        let (host, ledger) = (Host::with_capacity(20_000), Ledger::default());
        let limits = PoolLimits { idle_buffers: buffers, idle_bytes: bytes };
        let pool = pool(&host, &ledger, limits);
        let mut used: Vec<(u8, Buffer<Host>)> = Vec::new();
        for (number, (bytes, class, action)) in steps.into_iter().enumerate() {
            match action {
                0 if !used.is_empty() => drop(used.remove(bytes as usize % used.len())),
                1 => drop(pool.trim(bytes)),
                _ => match pool.take(Class::ALL[class + 1], bytes) {
                    Ok(mut buffer) => {
                        buffer.bytes().unwrap().fill(number as u8);
                        used.push((number as u8, buffer));
                    }
                    Err(error) => {
                        prop_assert!(error.is_out_of_memory());
                        prop_assert_eq!(pool.statistics().idle_bytes, 0, "idle buffers go before a refusal");
                    }
                },
            }
            let statistics = pool.statistics();
            prop_assert!(statistics.idle_buffers <= buffers && statistics.idle_bytes <= limits.idle_bytes);
            prop_assert_eq!(statistics.used_bytes, used.iter().map(|it| size_class(it.1.len())).sum::<u64>());
            prop_assert_eq!(ledger.held().total_bytes(), statistics.used_bytes + statistics.idle_bytes);
            prop_assert_eq!(host.used_bytes(), ledger.held().total_bytes());
            for (number, buffer) in &mut used {
                prop_assert!(buffer.bytes().unwrap().iter().all(|byte| byte == number));
            }
        }
        drop((used, pool));
        prop_assert_eq!(host.used_bytes(), 0);
        prop_assert!(host.damage().is_empty());
    }
}
