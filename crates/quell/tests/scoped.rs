//! Scoped threads: what they borrow outlives them, whatever is interrupted and whoever panics.

#![cfg(not(any(quell_loom, quell_shuttle)))]

mod common;

use common::stress;
use quell::thread::{self, Builder, JoinError, ParentInterrupted};
use quell::{Event, Interrupt, Outcome, Wait};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

#[test]
fn threads_borrow() {
    let mut numbers = vec![1_u64; 1000];
    thread::scope(|s| {
        for part in numbers.chunks_mut(300) {
            s.spawn(|| part.iter_mut().for_each(|n| *n += 1));
        }
    });
    assert_eq!(numbers.iter().sum::<u64>(), 2000);
}

#[test]
fn results_come_out_of_join() {
    let text = String::from("borrowed");
    let lengths = thread::scope(|s| {
        let handles: Vec<_> = (0..3)
            .map(|i| {
                s.spawn({
                    let text = &text;
                    move || text.len() + i
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(lengths, [8, 9, 10]);
}

#[test]
fn threads_start_threads() {
    let count = AtomicU64::new(0);
    thread::scope(|s| {
        s.spawn(|| {
            s.spawn(|| {
                s.spawn(|| count.fetch_add(1, SeqCst));
                count.fetch_add(1, SeqCst)
            });
            count.fetch_add(1, SeqCst)
        });
    });
    assert_eq!(count.load(SeqCst), 3);
}

/// An interrupt of the waiting parent ends nothing, and is there afterwards.
#[test]
fn an_interrupt_of_the_parent_stays_pending_at_the_scopes_end() {
    let (me, go_on) = (quell::current(), Event::new());
    let finished = AtomicU64::new(0);
    thread::scope(|s| {
        s.spawn(|| {
            go_on.wait().unwrap();
            // The parent is at the scope's end, or about to be.
            me.interrupt(Interrupt::new("parent"));
            std::thread::yield_now();
            finished.fetch_add(1, SeqCst);
        });
        go_on.set();
    });
    assert_eq!(finished.load(SeqCst), 1);
    let interrupted = quell::checkpoint().unwrap_err();
    assert_eq!(interrupted.downcast_ref::<&str>(), Some(&"parent"));
}

/// As GHC's `withAsync` and Trio's nurseries have it: the parent's interrupt ends the children first.
#[test]
fn a_linked_scope_passes_the_interrupt_on() {
    let (me, started) = (quell::current(), AtomicU64::new(0));
    let told = AtomicU64::new(0);
    let ((), waited) = thread::scope_linked(|s| {
        for _ in 0..3 {
            s.spawn(|| {
                if started.fetch_add(1, SeqCst) == 2 {
                    me.interrupt(Interrupt::new("stop"));
                }
                let interrupted = quell::sleep(Duration::from_secs(3600)).unwrap_err();
                let reason = interrupted.downcast_ref::<ParentInterrupted>().unwrap();
                assert_eq!(*reason.parent(), me);
                assert!(interrupted.to_string().ends_with("was interrupted: stop"));
                told.fetch_add(1, SeqCst);
            });
        }
    });
    assert_eq!(waited.unwrap_err().downcast_ref::<&str>(), Some(&"stop"));
    assert_eq!(told.load(SeqCst), 3);
    assert!(quell::checkpoint().is_ok());
}

/// A child that swallows the first is sent the second.
#[test]
fn a_linked_scope_passes_on_every_interrupt() {
    let me = quell::current();
    let ((), waited) = thread::scope_linked(|s| {
        s.spawn(|| {
            for reason in ["one", "two", "three"] {
                let receipt = me.interrupt(Interrupt::new(reason));
                quell::sleep(Duration::from_secs(3600)).unwrap_err();
                assert_eq!(receipt.state(), Outcome::Delivered);
            }
        });
    });
    assert_eq!(waited.unwrap_err().downcast_ref::<&str>(), Some(&"one"));
}

#[test]
fn all_are_interrupted_at_will() {
    thread::scope(|s| {
        let handles: Vec<_> =
            (0..3).map(|_| s.spawn(|| quell::sleep(Duration::from_secs(3600)).is_err())).collect();
        assert_eq!(s.running(), 3);
        assert_eq!(s.interrupt_all(|| Interrupt::new("all")), 3);
        assert!(handles.into_iter().all(|handle| handle.join().unwrap()));
    });
}

#[test]
fn a_join_in_a_scope_is_an_interruption_point() {
    let go_on = Event::new();
    thread::scope(|s| {
        let child = s.spawn(|| go_on.wait().is_ok());
        quell::current().interrupt(Interrupt::new(()));
        let child = match child.join() {
            Err(JoinError::Interrupted(child, _)) => child,
            other => panic!("{other:?}"),
        };
        let child = match child.join_timeout(Duration::from_millis(1)) {
            Err(error @ JoinError::TimedOut(_)) => error.into_handle().unwrap(),
            other => panic!("{other:?}"),
        };
        go_on.set();
        assert!(child.join_with(&Wait::new().shielded()).unwrap());
    });
}

#[test]
fn a_panic_nobody_took_comes_out_of_the_scope() {
    let others = AtomicU64::new(0);
    let result = catch_unwind(AssertUnwindSafe(|| {
        thread::scope(|s| {
            s.spawn(|| resume_unwind(Box::new("on purpose")));
            s.spawn(|| others.fetch_add(1, SeqCst));
        });
    }));
    let message = *result.unwrap_err().downcast::<&str>().unwrap();
    assert_eq!(message, "a thread of the scope panicked, and nobody has taken its result");
    assert_eq!(others.load(SeqCst), 1);
}

#[test]
fn a_panic_that_was_taken_stays_in_the_scope() {
    thread::scope(|s| {
        let child = s.spawn(|| -> () { resume_unwind(Box::new("on purpose")) });
        assert!(matches!(child.join(), Err(JoinError::Panicked(_))));
    });
}

/// The scope's own panic waits for the threads that borrow.
#[test]
fn a_panic_of_the_parent_waits_for_the_children() {
    let (finished, go_on) = (AtomicU64::new(0), Event::new());
    let result = catch_unwind(AssertUnwindSafe(|| {
        thread::scope(|s| {
            s.spawn(|| {
                go_on.wait().unwrap();
                finished.fetch_add(1, SeqCst);
            });
            go_on.set();
            resume_unwind(Box::new("parent"));
        });
    }));
    assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "parent");
    assert_eq!(finished.load(SeqCst), 1);
}

/// The result of a thread that nobody joins is dropped before the scope ends: it may borrow.
#[test]
fn an_unclaimed_result_is_dropped_inside() {
    struct Tell<'a>(&'a AtomicU64);
    impl Drop for Tell<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    for _ in 0..stress(200) {
        let dropped = AtomicU64::new(0);
        thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| Tell(&dropped));
            }
        });
        assert_eq!(dropped.load(SeqCst), 3);
    }
}

#[test]
fn a_name_in_a_scope() {
    thread::scope(|s| {
        let named = Builder::new().name("scoped".to_owned());
        let name = named.spawn_scoped(s, || quell::current().name()).unwrap().join().unwrap();
        assert_eq!(name.as_deref(), Some("scoped"));
    });
}
