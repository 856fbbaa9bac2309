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
    {
        let _dropped = monitor::at(Instant::now(), move || me.unpark());
    }
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

#[test]
fn a_repetition_runs_until_it_says_so() {
    let (me, count) = (quell::current(), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&count);
    let timer = monitor::repeat(Instant::now(), move || {
        if counted.fetch_add(1, SeqCst) + 1 < 5 {
            return Some(Instant::now() + Duration::from_micros(50));
        }
        me.unpark();
        None
    });
    thread::park().unwrap();
    assert_eq!(count.load(SeqCst), 5);
    while timer.is_armed() {
        std::thread::yield_now();
    }
    assert!(!timer.cancel());
}

/// Cancelled while it runs, it does not run again, and is dropped.
#[test]
fn a_repetition_is_cancelled_by_itself() {
    let (queue, count) = (Arc::new(Queue::<Timer>::unbounded()), Arc::new(AtomicU64::new(0)));
    let (own, counted) = (Arc::clone(&queue), Arc::clone(&count));
    let timer = monitor::repeat(Instant::now(), move || {
        counted.fetch_add(1, SeqCst);
        assert!(!own.get().unwrap().cancel());
        Some(Instant::now())
    });
    queue.put(timer).unwrap();
    while Arc::strong_count(&count) > 1 {
        std::thread::yield_now();
    }
    assert_eq!(count.load(SeqCst), 1);
}

#[test]
fn a_panic_ends_a_repetition() {
    let gone = Arc::new(());
    let inner = Arc::clone(&gone);
    let timer = monitor::repeat(Instant::now(), move || {
        let _inner = &inner;
        std::panic::resume_unwind(Box::new("on purpose"))
    });
    while Arc::strong_count(&gone) > 1 {
        std::thread::yield_now();
    }
    assert!(!timer.is_armed());
}

/// Very many, and far away: they are armed and gone again, and stand in nobody's way.
#[test]
fn a_million_stand_in_nobodys_way() {
    let far = Instant::now() + Duration::from_secs(3600);
    let many: Vec<_> = (0..1_000_000_u64)
        .map(|i| monitor::at(far + Duration::from_nanos(i * 7919 % 1_000_003), || ()))
        .collect();
    assert!(monitor::armed() >= 1_000_000); // others' too
    let me = quell::current();
    monitor::after(Duration::from_micros(10), move || me.unpark());
    thread::park().unwrap();
    assert!(many.iter().all(Timer::cancel));
}

#[test]
fn never_is_never() {
    let timer = monitor::after(Duration::MAX, || unreachable!());
    assert!(timer.is_armed());
    assert!(timer.cancel());
}
