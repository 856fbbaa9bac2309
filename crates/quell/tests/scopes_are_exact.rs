//! Guarantee 5, scopes are exact: a limit never fires outside its scope, nested ones each keep their own, and an inner
//! handler does not take an outer one's interrupt for its own.

#![cfg(not(any(quell_loom, quell_shuttle)))]

mod common;

use common::{Random, stress};
use quell::interrupt::{Left, Scope};
use quell::monitor::Limit;
use quell::{
    CpuBudget, Event, Interrupt, Interrupted, LimitError, Lock, Outcome, Reached, Timeout,
    Watchdog, sleep, thread, timeout,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(2);

fn spin() -> Result<(), Interrupted> {
    loop {
        quell::checkpoint()?;
    }
}

#[test]
fn a_timeout_ends_a_wait_a_loop_and_a_lock() {
    let waits: [fn() -> Result<(), Interrupted>; 3] = [
        || sleep(LONG),
        spin,
        || {
            let lock = Lock::new(());
            let _held = lock.lock().unwrap();
            lock.lock().map(drop)
        },
    ];
    for wait in waits {
        let start = Instant::now();
        match timeout(SHORT, wait) {
            Err(LimitError::Reached(reached, interrupted)) => {
                assert_eq!(reached.limit(), Limit::Time(Some(SHORT)));
                assert_eq!(interrupted.downcast_ref::<Reached>(), Some(&reached));
                assert!(interrupted.to_string().ends_with("the time limit of 2ms was reached"));
            }
            other => panic!("{other:?}"),
        }
        assert!(start.elapsed() >= SHORT);
        assert!(!quell::current().has_pending());
    }
}

#[test]
fn what_is_done_in_time_is_left_alone() {
    assert_eq!(timeout(LONG, || Ok::<_, Interrupted>(7)).unwrap(), 7);
    let failed = timeout(LONG, || Err::<(), _>("its own error"));
    assert_eq!(failed, Err(LimitError::Failed("its own error")));
}

#[test]
fn no_time_at_all_ends_at_the_first_point() {
    let result = timeout(Duration::ZERO, || quell::checkpoint().map(|()| panic!("not delivered")));
    assert!(matches!(result, Err(LimitError::Reached(..))));
    let past = Timeout::at(Instant::now()).run(|_| quell::checkpoint());
    assert!(matches!(past, Err(LimitError::Reached(..))));
    assert!(Timeout::never().run(|_| quell::checkpoint()).is_ok());
}

/// A scope that ends well after its time was over: the result counts, and the interrupt is gone.
#[test]
fn completion_beats_the_limit() {
    let result = Timeout::at(Instant::now()).run(|_| Ok::<_, Interrupted>(7));
    assert_eq!(result.unwrap(), 7);
    assert!(quell::checkpoint().is_ok());
    // Delivered, handled, and then done.
    let result = timeout(Duration::ZERO, || {
        quell::checkpoint().unwrap_err();
        Ok::<_, Interrupted>(8)
    });
    assert_eq!(result.unwrap(), 8);
}

#[test]
fn nested_the_inner_one_is_shorter() {
    let result = timeout(LONG, || {
        let inner = timeout(SHORT, || sleep(LONG));
        assert!(matches!(inner, Err(LimitError::Reached(..))));
        // The outer one goes on.
        quell::checkpoint()
    });
    result.unwrap();
}

#[test]
fn nested_the_outer_one_is_shorter_and_passes_the_inner_handler() {
    let result: Result<(), _> = Timeout::after(SHORT).named("outer").run(|_| {
        let inner = Timeout::after(LONG).named("inner").run(|_| sleep(LONG));
        match inner {
            Err(LimitError::Failed(interrupted)) => Err(interrupted),
            other => panic!("the inner limit took it: {other:?}"),
        }
    });
    let error = result.unwrap_err();
    assert_eq!(error.reached().and_then(Reached::name), Some("outer"));
    assert_eq!(error.to_string(), "the time limit of 2ms of \"outer\" was reached");
}

/// Both are over: each delivers its own, in its own scope.
#[test]
fn nested_both_are_over() {
    let now = Instant::now();
    let outer = Timeout::at(now).run(|outer| {
        let inner = Timeout::at(now).run(|inner| {
            // First come, first served: the outer one was sent first.
            let first = quell::checkpoint().unwrap_err();
            assert!(outer.sent(&first) && !inner.sent(&first));
            let second = quell::checkpoint().unwrap_err();
            assert!(inner.sent(&second) && !outer.sent(&second));
            Err::<(), _>(second)
        });
        assert!(matches!(inner, Err(LimitError::Reached(..))));
        inner.map_err(LimitError::into_inner)
    });
    assert!(matches!(outer, Err(LimitError::Reached(..))));
}

/// An interrupt that somebody else sent is not the limit's.
#[test]
fn another_interrupt_passes_through() {
    quell::current().interrupt(Interrupt::new("other"));
    match timeout(LONG, || sleep(LONG)) {
        Err(LimitError::Failed(other)) => assert_eq!(other.downcast_ref::<&str>(), Some(&"other")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_shield_holds_and_the_exit_takes_back() {
    let scope = Timeout::at(Instant::now()).enter();
    let shield = quell::shield();
    sleep(SHORT).unwrap();
    assert_eq!(scope.leave(), Left::TakenBack);
    shield.leave().unwrap();
}

#[test]
fn rescheduled() {
    let mut scope = Timeout::after(LONG).enter();
    assert!(scope.reschedule(None));
    assert_eq!(scope.deadline(), None);
    assert!(scope.reschedule(Some(Instant::now() + SHORT)));
    assert!(matches!(scope.finish(sleep(LONG)), Err(LimitError::Reached(..))));
    // Too late once it has gone off, whether or not it insists.
    for timeout in [Timeout::at(Instant::now()), Timeout::at(Instant::now()).insisting(SHORT)] {
        let mut scope = timeout.enter();
        assert!(!scope.reschedule(None));
        assert!(quell::checkpoint().is_err());
        assert_eq!(scope.leave(), Left::Delivered);
    }
}

/// One that insists gets through to code that goes on after the first.
#[test]
fn insisting() {
    let result = Timeout::after(SHORT).insisting(SHORT).run(|scope| {
        for _ in 0..5 {
            assert!(scope.sent(&sleep(LONG).unwrap_err()));
        }
        sleep(LONG)
    });
    assert!(matches!(result, Err(LimitError::Reached(..))));
    assert!(!quell::current().has_pending());
}

#[test]
fn scopes_end_in_any_order() {
    let first = Timeout::after(LONG).enter();
    let second = Timeout::at(Instant::now()).enter();
    drop(first);
    assert!(second.sent(&quell::checkpoint().unwrap_err()));
    drop(second);
    quell::checkpoint().unwrap();
}

/// Limits of every length around the moment at which the scope is left: nothing is delivered outside, and each error is
/// its own scope's.
#[test]
fn nothing_escapes() {
    let threads: Vec<_> = (0..2)
        .map(|seed| {
            thread::spawn(move || {
                let mut random = Random::new(seed + 1);
                let (mut reached, mut in_time) = (0, 0);
                let me = quell::current();
                for _ in 0..stress(50_000) {
                    let limit = Duration::from_nanos(random.below(60_000));
                    let work = random.below(40);
                    let nested = random.below(4) == 0;
                    let result = timeout(limit, || {
                        for _ in 0..work {
                            quell::checkpoint()?;
                            std::hint::spin_loop();
                        }
                        if nested {
                            let inner = Duration::from_nanos(random.below(60_000));
                            match timeout(inner, || sleep(Duration::from_micros(20))) {
                                Err(LimitError::Failed(outer)) => return Err(outer),
                                Ok(()) | Err(LimitError::Reached(..)) => {}
                            }
                        }
                        Ok(())
                    });
                    assert!(!me.has_pending());
                    match result {
                        Ok(()) => in_time += 1,
                        Err(LimitError::Reached(reached_limit, interrupted)) => {
                            assert_eq!(interrupted.downcast_ref(), Some(&reached_limit));
                            reached += 1;
                        }
                        Err(LimitError::Failed(stranger)) => panic!("{stranger}"),
                    }
                }
                (reached, in_time)
            })
        })
        .collect();
    for thread in threads {
        let (reached, in_time) = thread.join().unwrap();
        // Both sides were there.
        assert!(reached > 0 && in_time > 0, "{reached} reached, {in_time} in time");
    }
}

/// Many senders aim at scopes that come and go; each receipt is true.
#[test]
fn what_is_aimed_at_a_scope_arrives_in_it_or_not_at_all() {
    let (delivered, rounds) = (Arc::new(AtomicU64::new(0)), stress(50_000));
    let aims = Arc::new(quell::Queue::bounded(4));
    let senders: Vec<_> = (0..2)
        .map(|_| {
            let aims: Arc<quell::Queue<quell::interrupt::Aim>> = Arc::clone(&aims);
            thread::spawn(move || {
                let mut receipts = Vec::new();
                while let Ok(aim) = aims.get() {
                    receipts.push(aim.interrupt(Interrupt::new(())));
                }
                receipts
            })
        })
        .collect();
    for _ in 0..rounds {
        let scope = Scope::enter();
        let mask = quell::shield();
        aims.put(scope.aim().clone()).unwrap();
        aims.put(scope.aim().clone()).unwrap();
        drop(mask);
        while let Err(interrupted) = quell::checkpoint() {
            assert!(scope.aim().sent(&interrupted));
            delivered.fetch_add(1, SeqCst);
        }
        drop(scope);
        assert!(!quell::current().has_pending());
    }
    aims.shutdown(false);
    let receipts: Vec<_> = senders.into_iter().flat_map(|s| s.join().unwrap()).collect();
    assert_eq!(receipts.len() as u64, 2 * rounds);
    let arrived = receipts.iter().filter(|receipt| receipt.state() == Outcome::Delivered).count();
    assert_eq!(arrived as u64, delivered.load(SeqCst));
    let back = receipts.iter().filter(|receipt| receipt.state() == Outcome::Withdrawn).count();
    assert_eq!(arrived + back, receipts.len());
}

#[test]
fn who_beats_is_left_alone_and_who_does_not_is_interrupted() {
    let watched = Watchdog::every(Duration::from_millis(500)).named("worker").enter();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(20) {
        watched.beat();
        quell::checkpoint().unwrap();
    }
    let beaten = Instant::now();
    let result = sleep(LONG);
    assert!(beaten.elapsed() >= Duration::from_millis(400));
    match watched.finish(result) {
        Err(LimitError::Reached(reached, _)) => {
            assert_eq!(reached.limit(), Limit::Silence(Duration::from_millis(500)));
            assert_eq!(reached.name(), Some("worker"));
        }
        other => panic!("{other:?}"),
    }
    assert!(!quell::current().has_pending());
}

/// Somebody else's beats count, and a watch tells again of a silence that lasts.
#[test]
fn a_watch_tells_of_each_period_of_silence() {
    let told = Arc::new(quell::Queue::unbounded());
    let tell = Arc::clone(&told);
    let watch = Watchdog::every(SHORT).named("watched").watch(move |silence| {
        assert_eq!(silence.name(), Some("watched"));
        assert!(silence.lasted() >= SHORT);
        tell.put(silence.times()).is_ok() && silence.times() < 3
    });
    for times in 1..=3 {
        assert_eq!(told.get().unwrap(), times);
    }
    drop(watch);
}

#[test]
fn a_dropped_watch_tells_nobody() {
    let told = Arc::new(AtomicU64::new(0));
    let tell = Arc::clone(&told);
    let watch = Watchdog::every(LONG).watch(move |_| {
        tell.fetch_add(1, SeqCst);
        true
    });
    watch.heart().clone().beat();
    drop(watch);
    // Its function is gone.
    assert_eq!(Arc::strong_count(&told), 1);
}

#[test]
#[cfg(target_os = "linux")]
fn a_budget_counts_processor_time_only() {
    let limit = Duration::from_millis(30);
    let scope = CpuBudget::of(limit).named("sleeper").enter().unwrap();
    // Waiting for much longer costs nothing of it.
    sleep(limit * 2).unwrap();
    assert!(scope.left() > Duration::ZERO);
    let result = spin();
    assert!(scope.used() >= limit);
    match scope.finish(result) {
        Err(LimitError::Reached(reached, _)) => assert_eq!(reached.limit(), Limit::CpuTime(limit)),
        other => panic!("{other:?}"),
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_budget_of_another_thread() {
    let (started, over) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let busy = {
        let started = Arc::clone(&started);
        thread::spawn(move || {
            started.set();
            spin().unwrap_err().to_string()
        })
    };
    started.wait().unwrap();
    let told = Arc::clone(&over);
    let watch = CpuBudget::of(SHORT)
        .watch(busy.thread(), move |thread| {
            told.set();
            thread.interrupt(Interrupt::new("spent"));
        })
        .unwrap();
    over.wait().unwrap();
    let thread = busy.thread().clone();
    assert!(busy.join().unwrap().ends_with("spent"));
    drop(watch);
    let ended = CpuBudget::of(SHORT).watch(&thread, |_| ()).unwrap_err();
    assert_eq!(ended.kind(), std::io::ErrorKind::NotFound);
}
