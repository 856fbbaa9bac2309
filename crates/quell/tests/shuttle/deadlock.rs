//! Large random schedules with detection of deadlocks on: philosophers, of whom some are interrupted or late; joins; and
//! threads that keep to one order. What loom shows for every interleaving of two or three, this looks for in longer runs of
//! more. A deadlock that is not found is one that shuttle reports.

use crate::schedules::{check, disturb, handles, settle, start};
use quell::deadlock::{Detection, Verdict, set_detection};
use quell::thread::JoinError;
use quell::{Condition, Interrupted, Lock, RawLock, Wait, WaitError, model};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Once with each way to choose who fails, with waiters that are woken to look and with waiters that get it handed over.
fn each_way(schedules: usize, model: impl Fn(Detection) + Send + Sync + Copy + 'static) {
    for fair in [false, true] {
        model::set_fair(fair);
        check(schedules, move || model(Detection::Fail));
        check(schedules, move || model(Detection::Youngest));
        check(schedules, move || model(Detection::ask(|_| Verdict::Fail)));
    }
    model::set_fair(false);
    model::end_detection();
}

/// Each takes its own fork and then the next one's, three times; whoever is told of a deadlock puts its fork back, and so does
/// who is interrupted. One is sometimes late.
#[test]
fn philosophers() {
    each_way(500, |detection| {
        const SEATS: usize = 4;
        set_detection(detection);
        let forks: Arc<[RawLock]> = (0..SEATS).map(|_| RawLock::new()).collect();
        let handles = handles(SEATS);
        let interrupted = Arc::new(AtomicU64::new(0));
        let seats: Vec<_> = handles
            .iter()
            .enumerate()
            .map(|(seat, handle)| {
                let (forks, interrupted) = (Arc::clone(&forks), Arc::clone(&interrupted));
                start(handle, move || {
                    let (own, next) = (&forks[seat], &forks[(seat + 1) % SEATS]);
                    let mut wait = if seat == 0 { model::timed() } else { Wait::new() };
                    for _ in 0..3 {
                        own.lock_uninterruptible();
                        match next.lock_with(&wait) {
                            Ok(()) => next.unlock(),
                            Err(WaitError::Interrupted(_)) => {
                                interrupted.fetch_add(1, SeqCst);
                            }
                            // A model's deadline passes once, and for ever.
                            Err(WaitError::TimedOut) => wait = Wait::new(),
                            Err(WaitError::Deadlock(deadlock)) => {
                                assert!(deadlock.threads().any(|t| *t == quell::current()));
                                // What it was told of is nothing that merely looks like a deadlock.
                                assert_eq!(deadlock.waits().len(), SEATS);
                            }
                            Err(other) => panic!("{other:?}"),
                        }
                        own.unlock();
                    }
                })
            })
            .collect();
        let disturber = disturb(&handles, model::expire);
        for seat in seats {
            seat.join().unwrap();
        }
        let delivered = settle(&handles, &disturber.join().unwrap());
        assert_eq!(delivered, interrupted.load(SeqCst));
        for fork in forks.iter() {
            assert!(fork.try_lock(), "each has put back what it had");
            fork.unlock();
        }
    });
}

/// Locks in one order, among them one that a condition takes again: nobody is told of a deadlock.
#[test]
fn one_order_is_never_a_deadlock() {
    each_way(500, |detection| {
        set_detection(detection);
        let locks = Arc::new([Lock::new(0_u32), Lock::new(0), Lock::new(0)]);
        let changed = Arc::new(Condition::new());
        let threads: Vec<_> = handles(3)
            .iter()
            .enumerate()
            .map(|(from, handle)| {
                let (locks, changed) = (Arc::clone(&locks), Arc::clone(&changed));
                start(handle, move || -> Result<(), Interrupted> {
                    for round in 0..2 {
                        let first = (from + round) % 2;
                        let outer = locks[first].lock()?;
                        let mut inner = locks[first + 1].lock()?;
                        *inner += 1;
                        drop(outer);
                        changed.notify_all();
                    }
                    let mut last = locks[2].lock()?;
                    // Three of the six rounds end here.
                    changed.wait_while(&mut last, |rounds| *rounds < 3)
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap().unwrap();
        }
    });
}

/// Who holds a lock waits for the end of a thread that wants it: one of the two is told, and both end.
#[test]
fn a_join_closes_a_circle() {
    each_way(500, |detection| {
        set_detection(detection);
        let lock = Arc::new(RawLock::new());
        lock.lock_uninterruptible();
        let inner = Arc::clone(&lock);
        let other = quell::spawn(move || {
            let taken = inner.lock();
            if taken.is_ok() {
                inner.unlock();
            }
            taken
        });
        match other.join() {
            // It was the other that failed.
            Ok(taken) => {
                assert!(taken.unwrap_err().deadlock().is_some());
                lock.unlock();
            }
            Err(JoinError::Deadlock(other, _)) => {
                lock.unlock();
                other.join().unwrap().unwrap();
            }
            Err(error) => panic!("{error:?}"),
        }
    });
}
