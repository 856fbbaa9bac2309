//! Guarantee 7, the right thread: ids are never reused, so a late interrupt cannot hit a stranger.

#![cfg(not(any(quell_loom, quell_shuttle)))]

mod common;

use common::stress;
use quell::{Event, Interrupt, Outcome, Thread, ThreadId, thread};
use std::collections::HashSet;
use std::num::NonZeroU64;
use std::sync::Arc;

#[test]
fn ids_are_never_reused() {
    let mut seen = HashSet::new();
    for _ in 0..stress(2_000) {
        let id = thread::spawn(|| quell::current().id()).join().unwrap();
        assert!(seen.insert(id));
        let id = std::thread::spawn(|| quell::current().id()).join().unwrap();
        assert!(seen.insert(id));
    }
}

#[test]
fn a_thread_that_has_ended_is_not_found() {
    let handle = thread::spawn(|| ());
    let thread = handle.thread().clone();
    handle.join().unwrap();
    assert!(!thread.is_alive());
    assert!(quell::lookup(thread.id()).is_none());
    assert_eq!(quell::set_async_exc(thread.id(), Some(Interrupt::new(()))), 0);
    assert!(!quell::enumerate().contains(&thread));
    assert_eq!(thread.interrupt(Interrupt::new(())).state(), Outcome::TargetExited);
}

#[test]
fn an_id_that_nobody_has_finds_nobody() {
    let id = ThreadId::from_number(NonZeroU64::MAX);
    assert!(quell::lookup(id).is_none());
    assert_eq!(quell::set_async_exc(id, None), 0);
}

#[test]
fn by_id() {
    let go_on = Arc::new(Event::new());
    let target = {
        let go_on = Arc::clone(&go_on);
        thread::Builder::new()
            .name("by id".to_owned())
            .spawn(move || go_on.wait().unwrap_err().to_string())
            .unwrap()
    };
    let id = target.thread().id();
    assert_eq!(quell::lookup(id).as_ref(), Some(target.thread()));
    assert!(quell::enumerate().contains(target.thread()));
    assert_eq!(quell::set_async_exc(id, Some(Interrupt::new("found"))), 1);
    let message = target.join().unwrap();
    assert_eq!(message, format!("thread {id} \"by id\" was interrupted: found"));
}

#[test]
fn taken_back_by_id() {
    let target = Thread::unattached(None);
    let receipts = [1, 2, 3].map(|i| target.interrupt(Interrupt::new(i)));
    assert_eq!(quell::set_async_exc(target.id(), None), 1);
    assert!(receipts.iter().all(|receipt| receipt.state() == Outcome::Withdrawn));
    assert!(!target.has_pending());
    target.mark_exited();
}

/// Many threads, which come and go, each told its own number again and again: everybody gets its own, and as many as were sent.
#[test]
fn everybody_gets_its_own() {
    const TOLD: usize = 100;
    for _ in 0..stress(20) {
        let waiters: Vec<_> = (0..50)
            .map(|_| {
                thread::spawn(|| {
                    let me = quell::current();
                    for _ in 0..TOLD {
                        let long = std::time::Duration::from_secs(3600);
                        let interrupted = quell::sleep(long).unwrap_err();
                        assert_eq!(*interrupted.thread(), me);
                        assert_eq!(*interrupted.downcast_ref::<ThreadId>().unwrap(), me.id());
                    }
                })
            })
            .collect();
        // In turns, so that each is awake and asleep again in between. Those of the last round may find that it has ended.
        for told in 0..=TOLD {
            for waiter in &waiters {
                let id = waiter.thread().id();
                let found = quell::set_async_exc(id, Some(Interrupt::new(id)));
                assert!(found == 1 || told == TOLD);
            }
        }
        for waiter in waiters {
            waiter.join().unwrap();
        }
    }
}
