//! Guarantee 3 for conditions, semaphores and barriers: under interrupts and deadlines, no notification and no permit is
//! lost, the lock is held again when a wait returns, and a barrier lets all through or none.

#![cfg(not(any(quell_loom, quell_shuttle)))]

mod common;

use common::{Random, disturber, stress};
use quell::sync::BarrierError;
use quell::thread::JoinHandle;
use quell::{
    Barrier, BoundedSemaphore, Condition, Interrupt, Lock, Outcome, RLock, Semaphore, Wait,
    WaitError, thread,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// As many waits return well as were notified, and each has the lock when it returns.
#[test]
fn no_notification_is_lost_or_doubled() {
    struct Shared {
        inside: Lock<u64>,
        changed: Condition,
        notified: AtomicU64,
        stop: Arc<AtomicBool>,
    }
    let stop = Arc::new(AtomicBool::new(false));
    let shared = Arc::new(Shared {
        inside: Lock::new(0),
        changed: Condition::new(),
        notified: AtomicU64::new(0),
        stop: Arc::clone(&stop),
    });
    let waiters: Vec<JoinHandle<u64>> = (0..3)
        .map(|seed| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let mut random = Random::new(seed);
                let mut well = 0;
                let mut guard = shared.inside.lock_uninterruptible();
                while !shared.stop.load(SeqCst) {
                    let wait = match random.below(4) {
                        0 => Wait::new().timeout(Duration::from_micros(random.below(100))),
                        _ => Wait::new(),
                    };
                    match shared.changed.wait_with(&mut guard, &wait) {
                        Ok(()) => well += 1,
                        Err(WaitError::Interrupted(_) | WaitError::TimedOut) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                    *guard += 1;
                }
                well
            })
        })
        .collect();
    let notifier = {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            let mut random = Random::new(5);
            while !shared.stop.load(SeqCst) {
                let count = match random.below(3) {
                    0 => shared.changed.notify_all(),
                    1 => shared.changed.notify(2),
                    _ => usize::from(shared.changed.notify_one()),
                };
                shared.notified.fetch_add(count as u64, SeqCst);
                if random.below(4) == 0 {
                    drop(shared.inside.lock_uninterruptible());
                }
            }
        })
    };
    let targets = waiters.iter().map(|waiter| waiter.thread().clone()).collect();
    disturber(11, 4, targets, &stop, stress(100_000)).join().unwrap();
    notifier.join().unwrap();
    // Whoever still waits.
    while !waiters.iter().all(JoinHandle::is_finished) {
        let count = shared.changed.notify_all() as u64;
        shared.notified.fetch_add(count, SeqCst);
        std::thread::yield_now();
    }
    let well: u64 = waiters.into_iter().map(|waiter| waiter.join().unwrap()).sum();
    assert_eq!(well, shared.notified.load(SeqCst));
    assert!(shared.inside.try_lock().is_some());
}

/// A recursive lock that is released wholly is taken as often again, whatever ends the wait.
#[test]
fn a_recursive_lock_is_taken_as_often_again() {
    let lock = RLock::new(AtomicU64::new(0));
    let changed = Condition::new();
    let outer = lock.lock().unwrap();
    let mut inner = lock.lock().unwrap();
    quell::current().interrupt(Interrupt::new(()));
    assert!(changed.wait(&mut inner.whole()).is_err());
    let soon = Duration::from_micros(10);
    assert!(changed.wait_timeout(&mut inner.whole(), soon).is_err());
    drop(inner);
    assert!(lock.is_owned());
    drop(outer);
    assert!(!lock.is_owned());
}

#[test]
#[should_panic(expected = "has other guards of the lock it would release")]
fn a_condition_does_not_share_what_another_guard_lends() {
    let lock = RLock::new(std::cell::Cell::new(0));
    let _outer = lock.lock().unwrap();
    let mut inner = lock.lock().unwrap();
    let _ = Condition::new().wait(&mut inner);
}

/// Threads take one or several permits, with deadlines and interrupts; in the end all are back, and never were there more
/// in use than there are.
#[test]
fn no_permit_is_lost_or_doubled() {
    const PERMITS: u32 = 3;
    let stop = Arc::new(AtomicBool::new(false));
    let semaphore = Arc::new(BoundedSemaphore::new(PERMITS));
    let in_use = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (0..4)
        .map(|seed| {
            let (semaphore, stop, in_use) =
                (Arc::clone(&semaphore), Arc::clone(&stop), Arc::clone(&in_use));
            thread::spawn(move || {
                let mut random = Random::new(seed);
                while !stop.load(SeqCst) {
                    let _ = quell::checkpoint();
                    let count = 1 + random.below(PERMITS.into()) as u32;
                    let wait = match random.below(3) {
                        0 => Wait::new().timeout(Duration::from_micros(random.below(100))),
                        _ => Wait::new(),
                    };
                    let Ok(permits) = semaphore.acquire_many_with(count, &wait) else { continue };
                    let now = in_use.fetch_add(u64::from(count), SeqCst) + u64::from(count);
                    assert!(now <= PERMITS.into(), "{now} of {PERMITS} in use");
                    if random.below(8) == 0 {
                        std::thread::yield_now();
                    }
                    in_use.fetch_sub(u64::from(permits.count()), SeqCst);
                }
                quell::current().withdraw_all();
            })
        })
        .collect();
    let targets = workers.iter().map(|worker| worker.thread().clone()).collect();
    disturber(11, 4, targets, &stop, stress(100_000)).join().unwrap();
    for worker in workers {
        worker.join().unwrap();
    }
    assert_eq!(semaphore.value(), PERMITS);
}

/// Who wants many gets them, though those who want one come and go all the time.
#[test]
fn who_wants_many_is_not_passed_over_for_ever() {
    let stop = Arc::new(AtomicBool::new(false));
    let semaphore = Arc::new(Semaphore::new(2));
    let others: Vec<_> = (0..3)
        .map(|_| {
            let (semaphore, stop) = (Arc::clone(&semaphore), Arc::clone(&stop));
            thread::spawn(move || {
                while !stop.load(SeqCst) {
                    let _permit = semaphore.acquire().unwrap();
                    std::thread::yield_now();
                }
            })
        })
        .collect();
    for _ in 0..stress(20) {
        drop(semaphore.acquire_many(2).unwrap());
    }
    stop.store(true, SeqCst);
    for other in others {
        other.join().unwrap();
    }
    assert_eq!(semaphore.value(), 2);
}

/// Parties meet again and again and are interrupted. A round lets all through or none: the counts of rounds agree.
#[test]
fn a_barrier_lets_all_through_or_none() {
    const PARTIES: u32 = 3;
    let rounds = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&rounds);
    let action = move || {
        counted.fetch_add(1, SeqCst);
    };
    let barrier = Arc::new(Barrier::with_action(PARTIES, action));
    let stop = Arc::new(AtomicBool::new(false));
    let parties: Vec<JoinHandle<u64>> = (0..PARTIES)
        .map(|_| {
            let (barrier, stop) = (Arc::clone(&barrier), Arc::clone(&stop));
            thread::spawn(move || {
                let mut through = 0;
                loop {
                    match barrier.wait() {
                        Ok(_) => through += 1,
                        Err(BarrierError::Interrupted(_)) => {}
                        Err(BarrierError::Broken(_)) if stop.load(SeqCst) => break through,
                        Err(BarrierError::Broken(_)) => std::thread::yield_now(),
                        Err(other) => panic!("{other:?}"),
                    }
                    let _ = quell::checkpoint();
                }
            })
        })
        .collect();
    let mender = {
        let (barrier, stop) = (Arc::clone(&barrier), Arc::clone(&stop));
        thread::spawn(move || {
            while !stop.load(SeqCst) {
                if barrier.is_broken() {
                    barrier.reset();
                }
                std::thread::yield_now();
            }
        })
    };
    let targets = parties.iter().map(|party| party.thread().clone()).collect();
    disturber(11, 4, targets, &stop, stress(100_000)).join().unwrap();
    mender.join().unwrap();
    barrier.abort();
    let through: Vec<u64> = parties.into_iter().map(|party| party.join().unwrap()).collect();
    assert_eq!(through, [rounds.load(SeqCst); PARTIES as usize]);
}

#[test]
fn an_action_that_panics_breaks_the_barrier() {
    let barrier =
        Arc::new(Barrier::with_action(2, || std::panic::resume_unwind(Box::new("on purpose"))));
    let other = Arc::clone(&barrier);
    let other = thread::spawn(move || other.wait_uninterruptible());
    while barrier.waiting() == 0 && !other.is_finished() {
        std::thread::yield_now();
    }
    let acting = Arc::clone(&barrier);
    std::panic::catch_unwind(move || acting.wait()).unwrap_err();
    assert!(other.join().unwrap().is_err());
    assert!(barrier.is_broken());
    barrier.reset();
    assert!(!barrier.is_broken());
}

#[test]
fn uninterruptible_forms_leave_the_interrupt_pending() {
    let receipt = quell::current().interrupt(Interrupt::new(()));
    let shared = Arc::new((Lock::new(false), Condition::new(), Semaphore::new(0), Barrier::new(2)));
    let other = {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            *shared.0.lock().unwrap() = true;
            while !shared.1.notify_one() {
                std::thread::yield_now();
            }
            shared.2.release(1);
            shared.3.wait().unwrap();
        })
    };
    let mut flag = shared.0.lock_uninterruptible();
    shared.1.wait_uninterruptible(&mut flag);
    drop(flag);
    drop(shared.2.acquire_uninterruptible());
    shared.3.wait_uninterruptible().unwrap();
    assert_eq!(receipt.state(), Outcome::Pending);
    assert!(receipt.withdraw());
    other.join().unwrap();
}

/// In statics, made at compile time.
#[test]
fn in_statics() {
    static LOCK: Lock<u32> = Lock::new(0);
    static CONDITION: Condition = Condition::new();
    static SEMAPHORE: Semaphore = Semaphore::new(1);
    static BOUNDED: BoundedSemaphore = BoundedSemaphore::new(1);
    static BARRIER: Barrier = Barrier::new(1);
    static ACTING: Barrier<fn()> = Barrier::with_action(1, || *LOCK.lock().unwrap() += 1);
    assert!(!CONDITION.notify_one());
    drop((SEMAPHORE.acquire().unwrap(), BOUNDED.acquire().unwrap()));
    assert_eq!((BARRIER.wait().unwrap(), ACTING.wait().unwrap()), (0, 0));
    assert_eq!(*LOCK.lock().unwrap(), 1);
}

#[test]
fn they_show_their_state() {
    let lock = RLock::new(1);
    let guard = lock.lock().unwrap();
    let owner = quell::current().id();
    assert_eq!(format!("{lock:?}"), format!("RLock {{ owner: Some({owner:?}), value: 1 }}"));
    drop(guard);
    let semaphore = BoundedSemaphore::new(2);
    assert_eq!(format!("{semaphore:?}"), "BoundedSemaphore { value: 2, waited_for: false, .. }");
    let barrier = Barrier::new(2);
    assert_eq!(format!("{barrier:?}"), "Barrier { parties: 2, waiting: 0, broken: false, .. }");
}
