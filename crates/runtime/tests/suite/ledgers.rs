//! The ledger against a plain list of what is held.

use std::sync::Arc;

use proptest::prelude::*;
use trtforge_runtime::ledger::{Allocator, Entry};
use trtforge_runtime::{Budget, Class, Error, Faults, Host, Ledger, Plan, Scope};

fn owner(name: &str) -> Arc<str> {
    Arc::from(name)
}

#[test]
fn a_refusal_says_what_is_needed_what_there_is_and_who_holds_the_rest() {
    let ledger = Ledger::new(Budget { device_bytes: Some(1000), pinned_bytes: Some(10) });
    let _a = ledger.enter(&owner("a"), Class::Weights, 300).unwrap();
    let _b = ledger.enter(&owner("b"), Class::Activation, 400).unwrap();
    let _c = ledger.enter(&owner("c"), Class::PinnedInput, 10).unwrap();
    let Err(Error::OverBudget(refusal)) = ledger.enter(&owner("b"), Class::Io, 301) else { panic!() };
    assert_eq!((refusal.need_bytes, refusal.have_bytes, refusal.limit_bytes), (301, 300, 1000));
    let holders: Vec<_> = refusal.holders.iter().map(|it| (it.owner.as_str(), it.class, it.bytes)).collect();
    assert_eq!(holders, [("b", Class::Activation, 400), ("a", Class::Weights, 300)]);
    assert!(refusal.hint().contains("1 B"), "{}", refusal.hint());
    let Err(Error::OverBudget(refusal)) = ledger.enter(&owner("c"), Class::PinnedOutput, 1) else { panic!() };
    assert_eq!((refusal.scope, refusal.holders.len()), (Scope::Pinned, 1));
    drop(ledger.enter(&owner("b"), Class::Io, 300).unwrap());
}

#[test]
fn an_allocation_that_the_device_refuses_leaves_the_ledger_as_it_was() {
    let (host, ledger) = (Host::new(), Ledger::default());
    let allocator = Allocator::new(host.clone(), ledger.clone(), "x");
    host.set_faults(Faults { failing_allocation: Some(0), ..Faults::default() });
    assert!(allocator.allocate(Class::Io, 100).is_err());
    assert_eq!(ledger.held(), Plan::default());
    let held = allocator.allocate(Class::Io, 100).unwrap();
    assert_eq!((ledger.held_by("x"), host.used_bytes()), (Plan::of(Class::Io, 100), 100));
    drop(held);
    assert_eq!((ledger.held(), host.used_bytes()), (Plan::default(), 0));
    assert_eq!(ledger.peak()[Class::Io], 100);
}

#[test]
fn an_entry_that_is_never_dropped_stays_on_the_account() {
    let ledger = Ledger::new(Budget::device(10));
    std::mem::forget(ledger.enter(&owner("leak"), Class::Io, 6).unwrap());
    assert!(ledger.enter(&owner("other"), Class::Io, 5).is_err());
}

proptest! {
    #[test]
    fn the_ledger_agrees_with_a_list(
        limit in 0u64..3000,
        steps in proptest::collection::vec((0usize..4, 0usize..5, 0u64..700, any::<bool>()), 1..80),
    ) {
        let ledger = Ledger::new(Budget::device(limit));
        let mut held: Vec<(String, Class, Entry)> = Vec::new();
        let mut peak = 0;
        for (who, class, bytes, release) in steps {
            if release && !held.is_empty() {
                held.remove(bytes as usize % held.len());
                continue;
            }
            let class = Class::ALL[class];
            let device: u64 = held.iter().filter(|it| !it.1.is_pinned()).map(|it| it.2.bytes()).sum();
            let name = format!("owner {who}");
            match ledger.enter(&owner(&name), class, bytes) {
                Ok(entry) => {
                    prop_assert!(class.is_pinned() || device + bytes <= limit);
                    held.push((name, class, entry));
                }
                Err(Error::OverBudget(refusal)) => {
                    prop_assert!(!class.is_pinned() && device + bytes > limit);
                    prop_assert_eq!(refusal.have_bytes, limit - device);
                    prop_assert_eq!(refusal.holders.iter().map(|it| it.bytes).sum::<u64>(), device);
                }
                Err(other) => prop_assert!(false, "{}", other),
            }
            let mut expected = Plan::default();
            held.iter().for_each(|it| expected += Plan::of(it.1, it.2.bytes()));
            peak = peak.max(expected.device_bytes());
            prop_assert_eq!(ledger.held(), expected);
            prop_assert_eq!(ledger.peak_device_bytes(), peak);
            if bytes % 4 == 0 {
                ledger.restart_peaks();
                peak = expected.device_bytes();
                prop_assert_eq!((ledger.peak_device_bytes(), ledger.peak()), (peak, expected));
            }
            let mut by_owner = Plan::default();
            (0..4).for_each(|who| by_owner += ledger.held_by(&format!("owner {who}")));
            prop_assert_eq!(by_owner, expected);
        }
        drop(held);
        prop_assert_eq!(ledger.held(), Plan::default());
        prop_assert!(ledger.holders().is_empty());
    }
}
