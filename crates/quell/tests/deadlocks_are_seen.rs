//! Guarantee 8: with detection on, the wait that would close a circle of locks fails at once, with an error that names
//! threads and locks; a chosen victim can be made to fail instead. Nothing else is ever called a deadlock.

#![cfg(not(any(quell_loom, quell_shuttle)))]

mod common;

use common::detection::{until, with};
use quell::deadlock::{self, Deadlock, Detection, Holder, Verdict};
use quell::thread::{self, JoinError};
use quell::{
    Barrier, Condition, Interrupt, Interrupted, Lock, RLock, RawLock, Thread, Wait, WaitError,
};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Two threads take two locks in opposite order, surely. What each of them came to; the older one's first.
fn cross<R: Send>(
    first: impl Fn(&Lock<()>) -> R + Sync,
    second: impl Fn(&Lock<()>) -> R + Sync,
) -> (R, R) {
    let (left, right, both) = (Lock::new(()), Lock::new(()), Barrier::new(2));
    let (left, right, both, first, second) = (&left, &right, &both, &first, &second);
    thread::scope(|s| {
        let older = s.spawn(move || {
            let _held = left.lock().unwrap();
            both.wait().unwrap();
            first(right)
        });
        let younger = s.spawn(move || {
            let _held = right.lock().unwrap();
            both.wait().unwrap();
            second(left)
        });
        (older.join().unwrap(), younger.join().unwrap())
    })
}

fn plain(lock: &Lock<()>) -> Result<(), Interrupted> {
    lock.lock().map(drop)
}

fn is_deadlock(result: &Result<(), Interrupted>) -> bool {
    result.as_ref().is_err_and(|interrupted| interrupted.deadlock().is_some())
}

/// A reporter that keeps what it is told.
fn keep_reports() -> Arc<Mutex<Vec<Deadlock>>> {
    let reports = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&reports);
    deadlock::set_reporter(Some(Arc::new(move |deadlock| {
        kept.lock().unwrap().push(deadlock.clone());
    })));
    reports
}

#[test]
fn one_of_two_fails_and_the_other_goes_on() {
    let _with = with(Detection::Fail);
    for _ in 0..common::stress(200) {
        let (a, b) = cross(plain, plain);
        assert!(is_deadlock(&a) != is_deadlock(&b) && (a.is_ok() || b.is_ok()), "{a:?} {b:?}");
    }
}

#[test]
fn the_report_names_threads_locks_and_places() {
    let _with = with(Detection::Fail);
    let (accounts, log, both) = (Lock::new(()), RLock::new(()), Barrier::new(2));
    let _names = (deadlock::name(&accounts, "accounts"), deadlock::name(&log, "the \"log\""));
    let found: Vec<Deadlock> = thread::scope(|s| {
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let one = named("one").spawn_scoped(s, || {
            let _held = accounts.lock().unwrap();
            both.wait().unwrap();
            log.lock().err()
        });
        let two = named("two").spawn_scoped(s, || {
            let _held = log.lock().unwrap();
            both.wait().unwrap();
            accounts.lock().err()
        });
        let ended = [one.unwrap().join().unwrap(), two.unwrap().join().unwrap()];
        ended.iter().flatten().filter_map(|error| error.deadlock().cloned()).collect()
    });
    let [deadlock] = &found[..] else { panic!("one of them: {found:?}") };
    let words = deadlock.to_string();
    for part in [
        "deadlock of 2 threads",
        "\"one\" waits for rlock \"the \\\"log\\\"\"",
        "\"two\" waits for lock \"accounts\"",
        "deadlocks_are_seen.rs:",
        "took at",
        "in one order",
    ] {
        assert!(words.contains(part), "no {part:?} in {words}");
    }
    assert_eq!(deadlock.waits().len(), 2);
    for waiting in deadlock.waits() {
        assert!(matches!(&waiting.holder, Holder::Thread(other) if *other != waiting.thread));
        assert!(
            waiting.at.unwrap().location().unwrap().line()
                != waiting.taken_at.unwrap().location().unwrap().line()
        );
        assert!(waiting.may_fail && !waiting.limited && waiting.since.is_some());
    }
    assert!(deadlock.waits().to_json().contains(r#""name":"the \"log\"""#));
    assert!(deadlock.waits().to_dot().contains(r#"rlock the \"log\""#));
}

#[test]
fn a_thread_deadlocks_with_itself() {
    let _with = with(Detection::Fail);
    let lock = Lock::new(());
    let held = lock.lock().unwrap();
    let again = lock.lock_with(&Wait::new()).map(drop);
    let Err(WaitError::Deadlock(deadlock)) = again else { panic!("{again:?}") };
    assert!(deadlock.to_string().starts_with("deadlock of a thread with itself"), "{deadlock}");
    // A deadline makes it no other thing: it fails at once.
    let again = lock.lock_timeout(Duration::from_secs(3600)).map(drop).unwrap_err();
    assert!(again.deadlock().unwrap().waits().iter().all(|waiting| waiting.limited));
    drop(held);
    assert!(lock.lock().is_ok());
    // Taken without waiting, it is held all the same.
    let raw = RawLock::new();
    assert!(raw.try_lock());
    assert!(raw.lock().unwrap_err().deadlock().is_some());
    // Freed, it is not.
    raw.unlock();
    assert!(raw.lock().is_ok());
    raw.unlock();
    let again = RLock::new(());
    let (_one, _two) = (again.lock().unwrap(), again.lock().unwrap());
}

/// Who waits for a thread waits for what it holds: itself, as long as it lives.
#[test]
fn joins_deadlock_too() {
    let _with = with(Detection::Fail);
    let (lock, handle) = (Lock::new(()), Arc::new(Mutex::new(None)));
    // With itself.
    let me = Arc::clone(&handle);
    let own = thread::spawn(move || {
        until(|| me.lock().unwrap().is_some());
        let own: thread::JoinHandle<()> = me.lock().unwrap().take().unwrap();
        match own.join() {
            Err(JoinError::Deadlock(handle, _)) => assert_eq!(*handle.thread(), quell::current()),
            other => panic!("{other:?}"),
        }
    });
    let thread = own.thread().clone();
    *handle.lock().unwrap() = Some(own);
    until(|| !thread.is_alive());
    // With one that waits for what it holds. Whoever comes second fails.
    let (joined, locked) = thread::scope(|s| {
        let held = lock.lock().unwrap();
        let child = s.spawn(|| lock.lock().map(drop));
        let (joined, child) = match child.join() {
            Err(JoinError::Deadlock(child, deadlock)) => (Some(deadlock), Some(child)),
            other => (None, other.map(|locked| assert!(is_deadlock(&locked))).err().and(None)),
        };
        drop(held);
        let locked = child.map(|child| child.join().unwrap());
        (joined, locked)
    });
    match joined {
        Some(deadlock) => {
            assert!(deadlock.to_string().contains("joins thread"), "{deadlock}");
            assert!(locked.unwrap().is_ok());
        }
        None => assert!(locked.is_none()),
    }
}

/// A condition has to have its lock again; that cannot fail, so the other one does.
#[test]
fn a_condition_that_takes_its_lock_again_is_part_of_it() {
    let _with = with(Detection::Fail);
    let (own, shared, changed) = (Lock::new(()), Lock::new(false), Condition::new());
    thread::scope(|s| {
        let waiter = s.spawn(|| {
            let _own = own.lock().unwrap();
            let mut ready = shared.lock().unwrap();
            changed.wait_while(&mut ready, |ready| !*ready)
        });
        until(|| deadlock::waits().of(waiter.thread()).is_some());
        let mut ready = shared.lock().unwrap();
        *ready = true;
        changed.notify_all();
        // It wants `shared` again and has `own`.
        let failed = own.lock().map(drop);
        assert!(is_deadlock(&failed), "{failed:?}");
        drop(ready);
        waiter.join().unwrap().unwrap();
    });
}

#[test]
fn a_report_changes_nothing() {
    let _with = with(Detection::Report);
    let reports = keep_reports();
    let (left, right, both) = (Lock::new(()), Lock::new(()), Barrier::new(2));
    let (left, right, both) = (&left, &right, &both);
    let take = move |first: &Lock<()>, second: &Lock<()>| {
        let _held = first.lock().unwrap();
        both.wait().unwrap();
        second.lock().map(drop)
    };
    let ended = thread::scope(|s| {
        let one = s.spawn(move || take(left, right));
        let two = s.spawn(move || take(right, left));
        until(|| !reports.lock().unwrap().is_empty());
        one.thread().interrupt(Interrupt::new("make room"));
        [one.join().unwrap(), two.join().unwrap()]
    });
    assert!(ended[0].is_err() && !is_deadlock(&ended[0]) && ended[1].is_ok(), "{ended:?}");
    assert_eq!(reports.lock().unwrap().len(), 1);
}

#[test]
fn the_youngest_may_be_the_victim() {
    let _with = with(Detection::Youngest);
    for _ in 0..common::stress(100) {
        let (older, younger) = cross(plain, plain);
        assert!(older.is_ok() && is_deadlock(&younger), "{older:?} {younger:?}");
    }
}

#[test]
fn who_is_asked_chooses() {
    let older = |deadlock: &Deadlock| deadlock.threads().map(Thread::id).min().unwrap();
    let _with = with(Detection::ask(move |deadlock| {
        // Asked without locks: all of this may be used, and waited in.
        assert!(deadlock.threads().all(|thread| deadlock::waits().of(thread).is_some()));
        quell::sleep(Duration::from_micros(1)).unwrap();
        Verdict::Thread(older(deadlock))
    }));
    for _ in 0..common::stress(100) {
        let (older, younger) = cross(plain, plain);
        assert!(is_deadlock(&older) && younger.is_ok(), "{older:?} {younger:?}");
    }
}

/// While somebody is asked, one of them is interrupted: the answer is void, and nobody fails for it.
#[test]
fn an_answer_that_comes_too_late_is_void() {
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let _with = with(Detection::ask(move |deadlock| {
        let other = deadlock.threads().nth(1).unwrap();
        let wait = other.interrupt(Interrupt::new("leave")).wait(None);
        wait.expect("it is in a wait that can be interrupted");
        // It has left its wait; it may hold its lock for a moment longer.
        until(|| deadlock::waits().of(other).is_none());
        count.fetch_add(1, SeqCst);
        Verdict::Fail
    }));
    let (a, b) = cross(plain, plain);
    assert!(!is_deadlock(&a) && !is_deadlock(&b), "{a:?} {b:?}");
    assert!(a.is_ok() != b.is_ok());
    assert_eq!(asked.load(SeqCst), 1);
}

/// None of them can fail: it is reported, and stays until another thread frees one of the locks.
#[test]
fn a_deadlock_that_nobody_can_end_is_reported() {
    let _with = with(Detection::Fail);
    let reports = keep_reports();
    let locks = [RawLock::new(), RawLock::new()];
    let both = Barrier::new(2);
    let (locks, both) = (&locks, &both);
    let take = move |first: usize| {
        locks[first].lock().unwrap();
        both.wait().unwrap();
        let _shield = quell::shield();
        locks[1 - first].lock().unwrap();
    };
    thread::scope(|s| {
        let (one, two) = (s.spawn(move || take(0)), s.spawn(move || take(1)));
        until(|| !reports.lock().unwrap().is_empty());
        let report = reports.lock().unwrap()[0].clone();
        assert!(report.waits().iter().all(|waiting| !waiting.may_fail));
        locks[0].unlock();
        two.join().unwrap();
        locks[1].unlock();
        one.join().unwrap();
    });
}

/// What the embedder says takes the place of where it was called.
#[test]
fn an_embedder_says_where() {
    let _with = with(Detection::Fail);
    deadlock::set_where(Some(Arc::new(|waiting| {
        Some(format!("line {} of a \\script\\\n", waiting.thread.id()))
    })));
    let lock = Lock::new(());
    let _held = lock.lock().unwrap();
    let failed = lock.lock().map(drop).unwrap_err();
    let deadlock = failed.deadlock().unwrap();
    let id = quell::current().id();
    assert!(deadlock.to_string().contains(&format!("at line {id} of a \\script\\")), "{deadlock}");
    assert!(deadlock.waits().to_json().contains(r"of a \\script\\\u000a"));
    assert!(deadlock.waits().to_dot().contains(r"of a \\script\\\n"));
}

/// A task is not a thread: who waits for what it holds waits for nobody that is known.
#[test]
fn a_lock_that_a_task_holds_has_no_holder() {
    let _with = with(Detection::Fail);
    let lock = Lock::new(());
    let held = smol::block_on(lock.lock_async());
    assert!(matches!(lock.lock_timeout(Duration::from_millis(1)), Err(WaitError::TimedOut)));
    drop(held);
    let held = lock.try_lock_async().unwrap();
    assert!(matches!(lock.lock_timeout(Duration::from_millis(1)), Err(WaitError::TimedOut)));
    drop(held);
    assert!(lock.lock().is_ok());
}

/// Freed by another thread than took it, it is nobody's.
#[test]
fn a_lock_that_another_thread_frees_is_free() {
    let _with = with(Detection::Fail);
    let lock = RawLock::new();
    for _ in 0..100 {
        lock.lock().unwrap();
        thread::scope(|s| s.spawn(|| lock.unlock()).join().unwrap());
    }
    lock.lock().unwrap();
    let failed = lock.lock().unwrap_err();
    let line = failed
        .deadlock()
        .unwrap()
        .waits()
        .iter()
        .next()
        .unwrap()
        .taken_at
        .unwrap()
        .location()
        .unwrap()
        .line();
    assert!(line > 300, "where it was taken last: {line}");
    lock.unlock();
}

/// Philosophers who grasp their left fork first: each round ends, whoever has to put a fork back.
#[test]
fn philosophers_dine() {
    const SEATS: usize = 5;
    let meals = common::stress(2_000);
    for detection in [Detection::Fail, Detection::Youngest] {
        let _with = with(detection);
        let forks: Vec<Lock<u64>> = (0..SEATS).map(|_| Lock::new(0)).collect();
        let again = AtomicU64::new(0);
        thread::scope(|s| {
            for seat in 0..SEATS {
                let (forks, again) = (&forks, &again);
                s.spawn(move || {
                    let mut eaten = 0;
                    while eaten < meals {
                        let mut left =
                            forks[seat].lock().expect("who has nothing is no part of it");
                        std::thread::yield_now();
                        match forks[(seat + 1) % SEATS].lock() {
                            Ok(mut right) => {
                                *left += 1;
                                *right += 1;
                                eaten += 1;
                            }
                            Err(failed) => {
                                let deadlock = failed.deadlock().expect("nobody interrupts");
                                assert_eq!(deadlock.waits().len(), SEATS);
                                again.fetch_add(1, SeqCst);
                            }
                        }
                    }
                });
            }
        });
        let uses: u64 = forks.into_iter().map(Lock::into_inner).sum();
        assert_eq!(uses, 2 * meals * SEATS as u64);
    }
}

/// Locks that are always taken in the same order, hand over hand and in bulk, with interrupts: never a deadlock.
#[test]
fn one_order_is_never_a_deadlock() {
    const LOCKS: u64 = 6;
    let _with = with(Detection::Fail);
    let reports = keep_reports();
    let rounds = common::stress(100_000) / 4;
    let locks: Vec<Lock<()>> = (0..LOCKS).map(|_| Lock::new(())).collect();
    thread::scope(|s| {
        for seed in 1..=4 {
            let locks = &locks;
            s.spawn(move || {
                let mut random = common::Random::new(seed);
                for _ in 0..rounds {
                    let from = random.below(LOCKS - 1);
                    let to = from + 1 + random.below(LOCKS - 1 - from);
                    let outer = locks[from as usize].lock().unwrap();
                    let inner = locks[to as usize].lock().unwrap();
                    // Not in the order in which they were taken.
                    drop(outer);
                    drop(inner);
                }
            });
        }
    });
    assert!(reports.lock().unwrap().is_empty());
}

/// Deadlocks all the time, and interrupts and deadlines at random: who fails for a deadlock was in the very wait that the
/// report shows, and all of them go on.
#[test]
fn a_verdict_is_for_the_wait_it_names() {
    const LOCKS: u64 = 3;
    for detection in [Detection::Fail, Detection::Youngest] {
        let _with = with(detection);
        let rounds = common::stress(5_000);
        let locks: Arc<Vec<Lock<()>>> = Arc::new((0..LOCKS).map(|_| Lock::new(())).collect());
        let names: Vec<_> = (0..LOCKS).map(|at| at.to_string()).collect();
        let _names: Vec<_> = locks.iter().zip(&names).map(|(l, n)| deadlock::name(l, n)).collect();
        let threads: Vec<_> = (1..=4)
            .map(|seed| {
                let locks = Arc::clone(&locks);
                thread::spawn(move || {
                    let mut random = common::Random::new(seed);
                    let mut deadlocks = 0;
                    for _ in 0..rounds {
                        let (first, second) = (random.below(LOCKS), random.below(LOCKS));
                        let _held = locks[first as usize].lock_uninterruptible();
                        std::thread::yield_now();
                        let wait = match random.below(4) {
                            0 => Wait::new().timeout(Duration::from_micros(random.below(300))),
                            _ => Wait::new(),
                        };
                        let ended = locks[second as usize].lock_with(&wait).map(drop);
                        if let Err(WaitError::Deadlock(deadlock)) = ended {
                            let mine = deadlock.waits().of(&quell::current()).expect("ours");
                            assert_eq!(mine.name.as_deref(), Some(&*second.to_string()));
                            deadlocks += 1;
                        }
                    }
                    deadlocks
                })
            })
            .collect();
        let targets = threads.iter().map(|t| t.thread().clone()).collect();
        let stop = Arc::new(false.into());
        let disturber = common::disturber(9, 3, targets, &stop, u64::MAX);
        let deadlocks: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        stop.store(true, SeqCst);
        disturber.join().unwrap();
        assert!(deadlocks > 0);
    }
}

/// Somebody switches while others lock and unlock: every lock excludes, and is free in the end.
#[test]
fn it_can_be_switched_at_any_time() {
    let _with = with(Detection::Off);
    let rounds = common::stress(20_000);
    let (lock, again) = (Lock::new(0_u64), RLock::new(std::cell::Cell::new(0_u64)));
    thread::scope(|s| {
        let threads: Vec<_> = (0..3)
            .map(|_| {
                s.spawn(|| {
                    for _ in 0..rounds {
                        *lock.lock().unwrap() += 1;
                        let outer = again.lock().unwrap();
                        let inner = again.lock().unwrap();
                        inner.set(inner.get() + 1);
                        drop((outer, inner));
                        if let Some(mut held) = lock.try_lock() {
                            *held += 0;
                        }
                    }
                })
            })
            .collect();
        let mut on = false;
        while threads.iter().any(|thread| !thread.is_finished()) {
            on = !on;
            deadlock::set_detection(if on { Detection::Fail } else { Detection::Off });
            std::thread::yield_now();
        }
    });
    deadlock::set_detection(Detection::Off);
    // The first look clears what was left over.
    assert_eq!((lock.into_inner(), again.into_inner().get()), (3 * rounds, 3 * rounds));
}
