//! Every interleaving of threads that deadlock, or do not, with detection on. In a deadlock one wait fails, so that all
//! threads end (loom would say if one did not); never more than one, unless something else comes between; and none where there
//! is no deadlock. Also against interrupts, deadlines, and locks that are handed over.

use crate::models::{self, with_handle};
use loom::thread::JoinHandle;
use quell::deadlock::{Detection, Verdict, set_detection};
use quell::{Interrupt, Outcome, RawLock, RawRLock, Thread, Wait, WaitError, model};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

/// What the threads of one execution came to.
type Results = Vec<Result<(), WaitError>>;

/// With detection on; returns all that the executions came to: how many waits failed for a deadlock, and for another
/// reason.
fn detecting(
    preemptions: usize,
    detection: Detection,
    model: impl Fn() -> Results + Sync + Send + 'static,
) -> BTreeSet<(usize, usize)> {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let all = Arc::clone(&seen);
    models::bounded(preemptions, move || {
        // The graph is each execution's own.
        set_detection(detection.clone());
        let results = model();
        let failed = results.iter().filter(|result| result.is_err()).count();
        let deadlocks = results.iter().filter(|r| matches!(r, Err(WaitError::Deadlock(_)))).count();
        all.lock().unwrap().insert((deadlocks, failed - deadlocks));
    });
    model::end_detection();
    std::mem::take(&mut *seen.lock().unwrap())
}

fn locks(count: usize) -> Arc<[RawLock]> {
    (0..count).map(|_| RawLock::new()).collect()
}

fn handles<const N: usize>() -> [Thread; N] {
    std::array::from_fn(|_| Thread::unattached(None))
}

/// Takes one lock and then another, and frees both.
fn take(locks: &[RawLock], first: usize, second: usize, wait: &Wait) -> Result<(), WaitError> {
    locks[first].lock_uninterruptible();
    let taken = locks[second].lock_with(wait);
    match &taken {
        Ok(()) => locks[second].unlock(),
        Err(WaitError::Deadlock(deadlock)) => {
            assert!(deadlock.threads().any(|thread| *thread == quell::current()));
        }
        Err(_) => {}
    }
    locks[first].unlock();
    assert!(!model::is_condemned(&quell::current()), "a verdict ends with its wait");
    taken
}

/// The same in a thread of its own.
fn taker(
    handle: &Thread,
    locks: &Arc<[RawLock]>,
    (first, second): (usize, usize),
    wait: Wait,
) -> JoinHandle<Result<(), WaitError>> {
    let locks = Arc::clone(locks);
    with_handle(handle, move || take(&locks, first, second, &wait))
}

/// Of the threads that each take a lock and the next one's, in a ring.
fn ring(count: usize, wait: Wait) -> Results {
    let locks = locks(count);
    let others: Vec<_> = (1..count)
        .map(|at| taker(&Thread::unattached(None), &locks, (at, (at + 1) % count), wait))
        .collect();
    let mine = take(&locks, 0, 1, &wait);
    let results = others.into_iter().map(|other| other.join().unwrap());
    let results = std::iter::once(mine).chain(results).collect();
    all_free(&locks);
    results
}

fn all_free(locks: &[RawLock]) {
    for lock in locks {
        assert!(lock.try_lock(), "each has freed what it had");
        lock.unlock();
    }
}

/// With waiters that are woken to look, and with waiters that get the lock handed over.
fn both_ways(check: impl Fn()) {
    for fair in [false, true] {
        model::set_fair(fair);
        check();
    }
    model::set_fair(false);
}

#[test]
fn two_in_opposite_order() {
    both_ways(|| {
        let seen = detecting(3, Detection::Fail, || ring(2, Wait::new()));
        assert_eq!(seen, BTreeSet::from([(0, 0), (1, 0)]));
    });
}

#[test]
fn three_in_a_ring() {
    let seen = detecting(2, Detection::Fail, || ring(3, Wait::new()));
    assert_eq!(seen, BTreeSet::from([(0, 0), (1, 0)]));
}

/// The younger one fails, whoever closed the circle; the verdict reaches it before or in its sleep.
#[test]
fn the_victim_may_be_another() {
    both_ways(|| {
        let seen = detecting(3, Detection::Youngest, || {
            let [older, younger] = handles();
            let locks = locks(2);
            let other = taker(&younger, &locks, (1, 0), Wait::new());
            quell::adopt(&older).unwrap();
            let mine = take(&locks, 0, 1, &Wait::new());
            assert!(mine.is_ok(), "it is the older one: {mine:?}");
            let results = vec![mine, other.join().unwrap()];
            all_free(&locks);
            results
        });
        assert_eq!(seen, BTreeSet::from([(0, 0), (1, 0)]));
    });
}

/// One cannot fail, so the other does, whoever closed the circle.
#[test]
fn who_cannot_fail_does_not() {
    let seen = detecting(3, Detection::Fail, || {
        let locks = locks(2);
        let other = taker(&Thread::unattached(None), &locks, (1, 0), Wait::new());
        let mine = take(&locks, 0, 1, &Wait::new().shielded());
        assert!(mine.is_ok());
        let results = vec![mine, other.join().unwrap()];
        all_free(&locks);
        results
    });
    assert_eq!(seen, BTreeSet::from([(0, 0), (1, 0)]));
}

/// The same order everywhere, and locks that are handed over: no report, ever.
#[test]
fn one_order_is_no_deadlock() {
    both_ways(|| {
        let seen = detecting(2, Detection::Fail, || {
            let locks = locks(2);
            let order = (0, 1);
            let others: Vec<_> = (0..2)
                .map(|at| {
                    let wait = Wait::new();
                    let (locks, order) = if at == 0 { (&locks, order) } else { (&locks, (1, 1)) };
                    let locks = Arc::clone(locks);
                    with_handle(&Thread::unattached(None), move || match order {
                        (0, 1) => take(&locks, 0, 1, &wait),
                        // Waits for a lock that somebody waits for already, and holds nothing.
                        _ => locks[1].lock_with(&wait).map(|()| locks[1].unlock()),
                    })
                })
                .collect();
            let mine = take(&locks, order.0, order.1, &Wait::new());
            let results = others.into_iter().map(|other| other.join().unwrap());
            let results = std::iter::once(mine).chain(results).collect();
            all_free(&locks);
            results
        });
        assert_eq!(seen, BTreeSet::from([(0, 0)]));
    });
}

/// A lock goes back and forth between three threads: who gets it handed over is never taken to wait for itself.
#[test]
fn a_lock_that_is_handed_over_is_no_deadlock() {
    model::set_fair(true);
    let seen = detecting(2, Detection::Fail, || {
        let locks = locks(1);
        let once = |locks: &[RawLock]| locks[0].lock_with(&Wait::new()).map(|()| locks[0].unlock());
        let others: Vec<_> = (0..2)
            .map(|_| {
                let locks = Arc::clone(&locks);
                with_handle(&Thread::unattached(None), move || once(&locks))
            })
            .collect();
        let mine = once(&locks);
        let results = others.into_iter().map(|other| other.join().unwrap());
        let results = std::iter::once(mine).chain(results).collect();
        all_free(&locks);
        results
    });
    model::set_fair(false);
    assert_eq!(seen, BTreeSet::from([(0, 0)]));
}

/// A lock is freed just as somebody has found it held: who had it is not taken for its holder.
#[test]
fn a_lock_that_was_freed_has_no_holder() {
    let seen = detecting(3, Detection::Fail, || {
        let locks = locks(2);
        let other = {
            let locks = Arc::clone(&locks);
            with_handle(&Thread::unattached(None), move || {
                locks[1].lock_uninterruptible();
                locks[1].unlock();
                locks[0].lock_with(&Wait::new()).map(|()| locks[0].unlock())
            })
        };
        let mine = take(&locks, 0, 1, &Wait::new());
        vec![mine, other.join().unwrap()]
    });
    assert_eq!(seen, BTreeSet::from([(0, 0)]));
}

/// Who has a lock because it was handed over holds it like any other: it closes a circle.
#[test]
fn a_lock_that_was_handed_over_has_a_holder() {
    both_ways(|| {
        let seen = detecting(3, Detection::Fail, || {
            let locks = locks(2);
            assert!(locks[0].try_lock() && locks[1].try_lock());
            let other = taker(&Thread::unattached(None), &locks, (0, 1), Wait::new());
            locks[0].unlock();
            let mine = locks[0].lock_with(&Wait::new());
            if mine.is_ok() {
                locks[0].unlock();
            }
            locks[1].unlock();
            let results = vec![mine, other.join().unwrap()];
            all_free(&locks);
            results
        });
        assert_eq!(seen, BTreeSet::from([(0, 0), (1, 0)]));
    });
}

/// Two in opposite order, while another thread does `disturb` to the younger one, which waits as `wait` says; `check` is told what
/// that came to, and what of the younger one's wait became.
fn disturbed<T: 'static>(
    wait: fn() -> Wait,
    disturb: fn(&Thread) -> T,
    check: fn(T, &Result<(), WaitError>),
) {
    for detection in [Detection::Fail, Detection::Youngest] {
        let seen = detecting(2, detection, move || {
            let [older, younger] = handles();
            let locks = locks(2);
            let other = taker(&younger, &locks, (1, 0), wait());
            let disturber = {
                let younger = younger.clone();
                models::spawn(move || disturb(&younger))
            };
            quell::adopt(&older).unwrap();
            let mine = take(&locks, 0, 1, &Wait::new());
            let results = vec![mine, other.join().unwrap()];
            check(disturber.join().unwrap(), &results[1]);
            model::exit(&younger);
            all_free(&locks);
            results
        });
        // Nothing, the other reason, the deadlock. Both: the other came when the wait had been told to fail.
        assert!(seen.is_superset(&BTreeSet::from([(0, 0), (0, 1), (1, 0)])), "{seen:?}");
        assert!(seen.iter().all(|&(deadlocks, others)| deadlocks <= 1 && others <= 1), "{seen:?}");
    }
}

/// An interrupt competes. Whoever is interrupted gives up for that, or for the deadlock, or not at all; and nobody is left.
#[test]
fn an_interrupt_comes_as_well() {
    let interrupt = |younger: &Thread| younger.interrupt(Interrupt::new(()));
    disturbed(Wait::new, interrupt, |receipt, ended| {
        let delivered = matches!(ended, Err(WaitError::Interrupted(_)));
        assert_eq!(receipt.state() == Outcome::Delivered, delivered);
    });
}

/// A deadline passes meanwhile, of the one that is to fail.
#[test]
fn a_deadline_passes_as_well() {
    disturbed(model::timed, model::expire, |(), _| ());
}

/// After the deadlock, or its deadline, the victim waits for something else, which it gets: a verdict goes with its wait.
#[test]
fn a_verdict_goes_with_its_wait() {
    let seen = detecting(3, Detection::Youngest, || {
        let [older, younger] = handles();
        let locks = locks(3);
        // Held until this thread, the older one, has both of the others.
        quell::adopt(&older).unwrap();
        assert!(locks[2].try_lock());
        let other = {
            let (locks, wait) = (Arc::clone(&locks), model::timed());
            with_handle(&younger, move || {
                let first = take(&locks, 1, 0, &wait);
                // Holds nothing by now.
                locks[2].lock_with(&Wait::new()).expect("no deadlock here");
                locks[2].unlock();
                first
            })
        };
        let clock = models::spawn(move || model::expire(&younger));
        let mine = take(&locks, 0, 1, &Wait::new());
        locks[2].unlock();
        let results = vec![mine, other.join().unwrap()];
        clock.join().unwrap();
        results
    });
    assert!(seen.contains(&(1, 0)), "{seen:?}");
}

/// The one that closed the circle is about to leave when the other gives up for its deadline and tries again: it is not
/// told of a deadlock that is over.
#[test]
fn who_is_leaving_is_part_of_no_circle() {
    let seen = detecting(4, Detection::Fail, || {
        let [retries, closes] = handles();
        let locks = locks(2);
        let other = taker(&closes, &locks, (1, 0), Wait::new());
        let clock = {
            let retries = retries.clone();
            models::spawn(move || model::expire(&retries))
        };
        quell::adopt(&retries).unwrap();
        locks[0].lock_uninterruptible();
        let mut mine = locks[1].lock_with(&model::timed());
        if matches!(mine, Err(WaitError::TimedOut)) {
            mine = locks[1].lock_with(&Wait::new());
        }
        if mine.is_ok() {
            locks[1].unlock();
        }
        locks[0].unlock();
        let results = vec![mine, other.join().unwrap()];
        clock.join().unwrap();
        all_free(&locks);
        results
    });
    assert_eq!(seen, BTreeSet::from([(0, 0), (1, 0)]));
}

/// Who is asked says wait, and one of them gives up for its deadline; or says fail, which counts only if it still is one.
#[test]
fn who_is_asked_may_be_too_late() {
    for verdict in [Verdict::Wait, Verdict::Fail] {
        // std's, for it is no part of the model.
        let asked = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let ask = Detection::ask(move |_| {
            assert_eq!(count.fetch_add(1, SeqCst), 0, "of one deadlock, one is asked");
            verdict
        });
        let seen = detecting(2, ask, move || {
            asked.store(0, SeqCst);
            let [older, younger] = handles();
            let locks = locks(2);
            let other = taker(&younger, &locks, (1, 0), model::timed());
            let clock = models::spawn(move || model::expire(&younger));
            quell::adopt(&older).unwrap();
            let mine = take(&locks, 0, 1, &Wait::new());
            let results = vec![mine, other.join().unwrap()];
            clock.join().unwrap();
            all_free(&locks);
            results
        });
        let expected = if verdict == Verdict::Wait { (0, 1) } else { (1, 0) };
        assert!(seen.contains(&expected), "{seen:?}");
        assert!(seen.iter().all(|&(deadlocks, _)| verdict == Verdict::Fail || deadlocks == 0));
    }
}

/// The lock that its owner may take again: a circle through two of them, and none through one.
#[test]
fn recursive_locks_deadlock_too() {
    let seen = detecting(3, Detection::Fail, || {
        let locks: Arc<[RawRLock; 2]> = Arc::new([RawRLock::new(), RawRLock::new()]);
        let both = |locks: &[RawRLock; 2], first: usize| {
            locks[first].lock_uninterruptible();
            locks[first].lock_uninterruptible();
            let taken = locks[1 - first].lock_with(&Wait::new());
            if taken.is_ok() {
                locks[1 - first].unlock().unwrap();
            }
            locks[first].unlock().unwrap();
            locks[first].unlock().unwrap();
            taken
        };
        let other = {
            let locks = Arc::clone(&locks);
            with_handle(&Thread::unattached(None), move || both(&locks, 1))
        };
        let mine = both(&locks, 0);
        vec![mine, other.join().unwrap()]
    });
    assert_eq!(seen, BTreeSet::from([(0, 0), (1, 0)]));
}
