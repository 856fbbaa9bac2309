//! Every interleaving of a scope's end with the ends of its threads, and with an interrupt of the one that waits.

use crate::models;
use quell::thread::{self, ParentInterrupted};
use quell::{Interrupt, Outcome};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Both have finished when the scope ends. A lost end is a deadlock, which loom reports.
#[test]
fn the_scope_ends_after_its_threads() {
    models::bounded(2, || {
        let finished = AtomicUsize::new(0);
        thread::scope(|s| {
            s.spawn(|| finished.fetch_add(1, SeqCst));
            s.spawn(|| finished.fetch_add(1, SeqCst));
        });
        assert_eq!(finished.load(SeqCst), 2);
    });
}

/// A thread adds one while the scope ends.
#[test]
fn a_thread_adds_another() {
    models::bounded(2, || {
        let finished = AtomicUsize::new(0);
        thread::scope(|s| {
            s.spawn(|| {
                s.spawn(|| finished.fetch_add(1, SeqCst));
            });
        });
        assert_eq!(finished.load(SeqCst), 1);
    });
}

/// The interrupt of the waiting parent is pending or delivered after the scope, never lost, and no reason to leave it.
#[test]
fn an_interrupt_does_not_end_the_wait() {
    models::bounded(2, || {
        let me = quell::current();
        let finished = AtomicUsize::new(0);
        thread::scope(|s| {
            s.spawn(|| {
                me.interrupt(Interrupt::new(()));
                finished.fetch_add(1, SeqCst);
            });
        });
        assert_eq!(finished.load(SeqCst), 1);
        assert!(quell::checkpoint().is_err());
    });
}

/// The child waits for the interrupt that the parent passes on: it gets there whenever the parent's comes.
#[test]
fn a_linked_scope_passes_on() {
    models::bounded(2, || {
        let me = quell::current();
        let receipt = me.interrupt(Interrupt::new(()));
        let ((), waited) = thread::scope_linked(|s| {
            s.spawn(|| {
                let ended = quell::thread::sleep_with(&quell::Wait::new()).unwrap_err();
                let interrupted = ended.into_interrupted().unwrap();
                assert!(interrupted.downcast_ref::<ParentInterrupted>().is_some());
            });
        });
        assert!(waited.is_err());
        assert_eq!(receipt.state(), Outcome::Delivered);
    });
}
