//! Every interleaving of arming and cancelling with the monitor's look, promise and sleep. A deadline that is missed is a
//! deadlock, which loom reports.

use crate::models;
use loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use quell::model::Deadlines;
use std::sync::Arc;

/// The time at which the models stand still. What is armed for later never runs.
const NOW: u64 = 10;

fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, SeqCst);
}

/// Armed while the monitor goes to sleep.
#[test]
fn what_is_due_runs() {
    models::all(|| {
        let (deadlines, ran) = (Arc::new(Deadlines::new()), Arc::new(AtomicUsize::new(0)));
        let monitor = {
            let (deadlines, ran) = (Arc::clone(&deadlines), Arc::clone(&ran));
            models::spawn(move || deadlines.monitor(NOW, || ran.load(SeqCst) == 1))
        };
        let counted = Arc::clone(&ran);
        deadlines.at(0, 5, move || count(&counted));
        monitor.join().unwrap();
        assert_eq!(ran.load(SeqCst), 1);
    });
}

/// Two threads, in different heaps and in the same one.
#[test]
fn two_threads_arm() {
    for shard in [0, 1] {
        models::bounded(2, move || {
            let (deadlines, ran) = (Arc::new(Deadlines::new()), Arc::new(AtomicUsize::new(0)));
            let monitor = {
                let (deadlines, ran) = (Arc::clone(&deadlines), Arc::clone(&ran));
                models::spawn(move || deadlines.monitor(NOW, || ran.load(SeqCst) == 2))
            };
            let other = {
                let (deadlines, ran) = (Arc::clone(&deadlines), Arc::clone(&ran));
                models::spawn(move || {
                    deadlines.at(shard, 3, move || count(&ran));
                })
            };
            let counted = Arc::clone(&ran);
            deadlines.at(0, 5, move || count(&counted));
            other.join().unwrap();
            monitor.join().unwrap();
        });
    }
}

/// What is armed for later makes a promise that does not stand in the way of what is due; its cancellation neither.
#[test]
fn an_early_one_after_a_late_one() {
    models::bounded(3, || {
        let (deadlines, ran) = (Arc::new(Deadlines::new()), Arc::new(AtomicUsize::new(0)));
        let monitor = {
            let (deadlines, ran) = (Arc::clone(&deadlines), Arc::clone(&ran));
            models::spawn(move || deadlines.monitor(NOW, || ran.load(SeqCst) == 1))
        };
        let late = deadlines.at(0, 100, || panic!("not in this life"));
        let counted = Arc::clone(&ran);
        deadlines.at(0, 5, move || count(&counted));
        assert!(deadlines.cancel(late));
        monitor.join().unwrap();
    });
}

/// Cancelled while it comes due: it runs or was cancelled, never both, never neither.
#[test]
fn run_or_cancelled() {
    models::bounded(3, || {
        let (deadlines, ran) = (Arc::new(Deadlines::new()), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&ran);
        let armed = deadlines.at(0, 5, move || count(&counted));
        let monitor = {
            let deadlines = Arc::clone(&deadlines);
            models::spawn(move || deadlines.monitor(NOW, || true))
        };
        let cancelled = deadlines.cancel(armed);
        monitor.join().unwrap();
        assert_eq!(ran.load(SeqCst), usize::from(!cancelled));
        assert!(!deadlines.cancel(armed));
        assert_eq!(Arc::strong_count(&ran), 1);
    });
}

/// One that repeats, cancelled at any moment, does not begin again after that.
#[test]
fn a_repetition_ends() {
    models::bounded(3, || {
        let (deadlines, ran) = (Arc::new(Deadlines::new()), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&ran);
        let armed = deadlines.repeat(0, 5, move || {
            // Twice, then for another day.
            Some(if counted.fetch_add(1, SeqCst) == 0 { 6 } else { 100 })
        });
        let monitor = {
            let deadlines = Arc::clone(&deadlines);
            models::spawn(move || deadlines.monitor(NOW, || true))
        };
        deadlines.cancel(armed);
        let before = ran.load(SeqCst);
        monitor.join().unwrap();
        // At most the one that was running.
        assert!(ran.load(SeqCst) <= before + 1);
        assert!(!deadlines.cancel(armed));
        assert_eq!(Arc::strong_count(&ran), 1);
    });
}
