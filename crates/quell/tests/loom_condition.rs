//! Every interleaving of the condition's notifications with interrupts, deadlines and futures that are dropped.

#![cfg(quell_loom)]

mod models;

use loom::thread;
use models::{poll, with_handle};
use quell::{Condition, Interrupt, Lock, Outcome, RLock, Thread, Wait, WaitError, model};
use std::sync::Arc;

/// A flag under a lock, and a condition that tells when it changes.
struct Shared {
    flag: Lock<bool>,
    changed: Condition,
}

impl Shared {
    fn new() -> Arc<Shared> {
        Arc::new(Shared { flag: Lock::new(false), changed: Condition::new() })
    }

    fn wait(&self) {
        let mut flag = self.flag.lock().unwrap();
        self.changed.wait_while(&mut flag, |flag| !flag).unwrap();
    }

    /// Waits for one notification, whatever the flag says.
    fn wait_once(&self, wait: &Wait) -> Result<(), WaitError> {
        let mut flag = self.flag.lock_uninterruptible();
        let waited = self.changed.wait_with(&mut flag, wait);
        // Would deadlock, or panic, if the lock were not held here.
        *flag = true;
        waited
    }
}

#[test]
fn no_notification_is_lost() {
    models::bounded(3, || {
        let shared = Shared::new();
        let waiter = Arc::clone(&shared);
        let waiter = thread::spawn(move || waiter.wait());
        *shared.flag.lock().unwrap() = true;
        shared.changed.notify_one();
        waiter.join().unwrap();
    });
}

#[test]
fn all_are_notified() {
    models::bounded(2, || {
        let shared = Shared::new();
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let waiter = Arc::clone(&shared);
                thread::spawn(move || waiter.wait())
            })
            .collect();
        {
            let mut flag = shared.flag.lock().unwrap();
            *flag = true;
            shared.changed.notify_all();
        }
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

/// If the notification wins, the interrupt stays pending; if the interrupt wins, nobody was notified. Either way the
/// waiter has the lock again.
#[test]
fn a_notification_competes_with_an_interrupt() {
    models::bounded(3, || {
        let shared = Shared::new();
        let handle = Thread::unattached(None);
        let waiter = Arc::clone(&shared);
        let waiter = with_handle(&handle, move || waiter.wait_once(&Wait::new()));
        let receipt = handle.interrupt(Interrupt::new(1));
        let notified = shared.changed.notify_one();
        match waiter.join().unwrap() {
            Ok(()) => {
                assert!(notified);
                assert_eq!(receipt.state(), Outcome::Pending);
            }
            Err(WaitError::Interrupted(_)) => {
                assert!(!notified);
                assert_eq!(receipt.state(), Outcome::Delivered);
            }
            Err(other) => panic!("{other:?}"),
        }
        assert!(*shared.flag.try_lock().expect("free"));
    });
}

#[test]
fn a_notification_competes_with_a_time_out() {
    models::bounded(3, || {
        let shared = Shared::new();
        let handle = Thread::unattached(None);
        let waiter = Arc::clone(&shared);
        let waiter = with_handle(&handle, move || waiter.wait_once(&model::timed()).is_ok());
        model::expire(&handle);
        let notified = shared.changed.notify_one();
        assert_eq!(waiter.join().unwrap(), notified);
        assert!(shared.flag.try_lock().is_some());
    });
}

/// Two wait, one of them is interrupted, and one is notified: as many return well as were notified.
#[test]
fn a_notification_goes_to_who_stays() {
    models::bounded(2, || {
        let shared = Shared::new();
        let handles = [Thread::unattached(None), Thread::unattached(None)];
        let waiters = handles.clone().map(|handle| {
            let waiter = Arc::clone(&shared);
            with_handle(&handle, move || waiter.wait_once(&Wait::new()).is_ok())
        });
        handles[0].interrupt(Interrupt::new(1));
        let notified = shared.changed.notify_one();
        handles[1].interrupt(Interrupt::new(2));
        let well: u32 = waiters.into_iter().map(|w| u32::from(w.join().unwrap())).sum();
        assert_eq!(well, u32::from(notified));
        assert!(shared.flag.try_lock().is_some());
    });
}

/// A task is dropped while it is notified, before or while it takes the lock again: the next hears of it.
#[test]
fn a_dropped_task_passes_the_notification_on() {
    for (polls, under_the_lock) in [(0, false), (1, false), (1, true)] {
        models::bounded(2, move || {
            let shared = Shared::new();
            let task = Arc::clone(&shared);
            let mut task = Box::pin(async move {
                let guard = task.flag.lock_async().await;
                drop(task.changed.wait_async(guard).await);
            });
            assert!(poll(&mut task.as_mut()).is_pending());
            let waiter = Arc::clone(&shared);
            let waiter = thread::spawn(move || waiter.wait());
            let notifier = Arc::clone(&shared);
            let notifier = thread::spawn(move || {
                let mut flag = notifier.flag.lock().unwrap();
                *flag = true;
                let held = under_the_lock.then_some(flag);
                notifier.changed.notify_one();
                drop(held);
            });
            let mut ready = false;
            for _ in 0..polls {
                ready |= poll(&mut task.as_mut()).is_ready();
            }
            drop(task);
            notifier.join().unwrap();
            if ready {
                // It took the notification, and could make use of it.
                shared.changed.notify_one();
            }
            waiter.join().unwrap();
        });
    }
}

#[test]
fn a_task_is_notified() {
    models::bounded(2, || {
        let shared = Shared::new();
        let task = Arc::clone(&shared);
        let task = thread::spawn(move || {
            loom::future::block_on(async {
                let guard = task.flag.lock_async().await;
                drop(task.changed.wait_while_async(guard, |flag| !flag).await);
            });
        });
        *shared.flag.lock().unwrap() = true;
        shared.changed.notify_one();
        task.join().unwrap();
    });
}

/// The recursive lock is released wholly, and taken as often again.
#[test]
fn a_recursive_lock_is_released_wholly() {
    models::bounded(2, || {
        let shared =
            Arc::new((RLock::new(loom::sync::atomic::AtomicBool::new(false)), Condition::new()));
        let waiter = Arc::clone(&shared);
        let waiter = thread::spawn(move || {
            let outer = waiter.0.lock().unwrap();
            let mut inner = waiter.0.lock().unwrap();
            let set = |flag: &loom::sync::atomic::AtomicBool| {
                flag.load(loom::sync::atomic::Ordering::Relaxed)
            };
            waiter.1.wait_while(&mut inner.whole(), |flag| !set(flag)).unwrap();
            drop(inner);
            assert!(waiter.0.is_owned());
            drop(outer);
            assert!(!waiter.0.is_owned());
        });
        shared.0.lock().unwrap().store(true, loom::sync::atomic::Ordering::Relaxed);
        shared.1.notify_one();
        waiter.join().unwrap();
        assert_eq!(shared.0.owner(), None);
    });
}
