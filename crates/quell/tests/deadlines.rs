//! Deadlines: the monitor runs what is due, in order, not before its time; and not what was cancelled.

#![cfg(not(any(quell_loom, quell_shuttle)))]

mod common;

use common::{Random, stress};
use quell::monitor::{self, Timer};
use quell::{Interrupt, Lock, Queue, thread};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

#[test]
fn in_order_and_not_before_its_time() {
    let queue = Arc::new(Queue::unbounded());
    let start = Instant::now();
    for millis in [9, 3, 6, 0, 3] {
        let queue = Arc::clone(&queue);
        monitor::at(start + Duration::from_millis(millis), move || {
            queue.put((millis, Instant::now())).unwrap();
        });
    }
    for expected in [0, 3, 3, 6, 9] {
        let (millis, at) = queue.get().unwrap();
        assert_eq!(millis, expected);
        assert!(at >= start + Duration::from_millis(millis));
    }
}

#[test]
fn what_was_cancelled_does_not_run() {
    let ran = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&ran);
    let timer = monitor::at(Instant::now() + Duration::from_secs(3600), move || {
        counted.fetch_add(1, SeqCst);
    });
    assert!(timer.is_armed());
    assert!(timer.cancel());
    // Its function was dropped by that.
    assert_eq!(Arc::strong_count(&ran), 1);
    assert!(!timer.is_armed());
    assert!(!timer.cancel());
}

#[test]
fn a_dropped_timer_still_runs() {
    let me = quell::current();
    drop(monitor::at(Instant::now(), move || me.unpark()));
    thread::park().unwrap();
}

#[test]
fn a_panic_does_not_stop_the_monitor() {
    monitor::at(Instant::now(), || std::panic::resume_unwind(Box::new("on purpose")));
    let me = quell::current();
    monitor::at(Instant::now(), move || me.unpark());
    thread::park().unwrap();
}

#[test]
fn a_function_may_arm_and_cancel() {
    let me = quell::current();
    let other = monitor::at(Instant::now() + Duration::from_secs(3600), || ());
    monitor::at(Instant::now(), move || {
        assert!(other.cancel());
        monitor::at(Instant::now(), move || me.unpark());
    });
    thread::park().unwrap();
}

#[test]
fn a_deadline_interrupts() {
    let me = quell::current();
    monitor::at(Instant::now() + Duration::from_millis(1), move || {
        me.interrupt(Interrupt::new("late"));
    });
    let lock = Lock::new(());
    let held = lock.lock().unwrap();
    let interrupted = lock.lock().unwrap_err();
    assert_eq!(interrupted.downcast_ref::<&str>(), Some(&"late"));
    drop(held);
}

/// Each armed function runs or was cancelled, never both, never neither.
#[test]
fn run_or_cancelled_exactly_once() {
    let ran = Arc::new(AtomicU64::new(0));
    let each = stress(30_000);
    let threads: Vec<_> = (0..2)
        .map(|seed| {
            let ran = Arc::clone(&ran);
            thread::spawn(move || {
                let mut random = Random::new(seed + 1);
                let mut cancelled = 0;
                let mut armed: Vec<Timer> = Vec::new();
                for _ in 0..each {
                    let ran = Arc::clone(&ran);
                    let deadline = Instant::now() + Duration::from_micros(random.below(300));
                    armed.push(monitor::at(deadline, move || {
                        ran.fetch_add(1, SeqCst);
                    }));
                    if armed.len() > 16 {
                        let at = random.below(16) as usize;
                        cancelled += u64::from(armed.swap_remove(at).cancel());
                    }
                }
                cancelled
            })
        })
        .collect();
    let cancelled: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    // Everything that is due comes before this.
    let (me, last) = (quell::current(), Instant::now() + Duration::from_millis(1));
    monitor::at(last, move || me.unpark());
    thread::park().unwrap();
    assert_eq!(ran.load(SeqCst) + cancelled, 2 * each);
}
