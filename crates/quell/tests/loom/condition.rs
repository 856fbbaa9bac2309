//! Every interleaving of the condition's notifications with interrupts, deadlines and futures that are dropped.

use crate::models::{self, poll, with_handle};
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
        let waiter = models::spawn(move || waiter.wait());
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
                models::spawn(move || waiter.wait())
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

/// Notified under the lock, so moved to the lock's queue: an interrupt, a deadline and the grants of both queues compete.
/// Whoever was notified returns well, and the interrupt stays pending.
#[test]
fn who_is_moved_may_be_interrupted() {
    for fair in [false, true] {
        model::set_fair(fair);
        models::bounded(2, || {
            let shared = Shared::new();
            let handle = Thread::unattached(None);
            let waiter = Arc::clone(&shared);
            let waiter = with_handle(&handle, move || waiter.wait_once(&Wait::new()));
            let notifier = Arc::clone(&shared);
            let notifier = models::spawn(move || {
                let _held = notifier.flag.lock_uninterruptible();
                notifier.changed.notify_one()
            });
            let receipt = handle.interrupt(Interrupt::new(1));
            let (waited, notified) = (waiter.join().unwrap(), notifier.join().unwrap());
            match waited {
                Ok(()) => assert!(notified && receipt.state() == Outcome::Pending),
                Err(WaitError::Interrupted(_)) => {
                    assert!(!notified && receipt.state() == Outcome::Delivered);
                }
                Err(other) => panic!("{other:?}"),
            }
            assert!(*shared.flag.try_lock().expect("free"));
        });
        model::set_fair(false);
    }
}

#[test]
fn who_is_moved_may_be_late() {
    models::bounded(3, || {
        let shared = Shared::new();
        let handle = Thread::unattached(None);
        let waiter = Arc::clone(&shared);
        let waiter = with_handle(&handle, move || waiter.wait_once(&model::timed()).is_ok());
        let held = shared.flag.lock_uninterruptible();
        model::expire(&handle);
        let notified = shared.changed.notify_one();
        drop(held);
        assert_eq!(waiter.join().unwrap(), notified);
        assert!(shared.flag.try_lock().is_some());
    });
}

/// Moved behind a thread that waits for the lock, and may leave: each gets its turn, in the lock's queue.
#[test]
fn moved_behind_one_that_leaves() {
    for fair in [false, true] {
        model::set_fair(fair);
        models::bounded(2, || {
            let shared = Shared::new();
            let waiter = Arc::clone(&shared);
            let waiter = models::spawn(move || waiter.wait());
            let mut held = shared.flag.lock_uninterruptible();
            let handle = Thread::unattached(None);
            let leaves = Arc::clone(&shared);
            let leaves = with_handle(&handle, move || drop(leaves.flag.lock_with(&model::timed())));
            *held = true;
            shared.changed.notify_one();
            model::expire(&handle);
            drop(held);
            leaves.join().unwrap();
            waiter.join().unwrap();
            assert!(shared.flag.try_lock().is_some());
        });
        model::set_fair(false);
    }
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
            let waiter = models::spawn(move || waiter.wait());
            let notifier = Arc::clone(&shared);
            let notifier = models::spawn(move || {
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
        let task = models::spawn(move || {
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

/// The recursive lock is released wholly, and taken as often again, by who was woken and by who was moved to its queue.
#[test]
fn a_recursive_lock_is_released_wholly() {
    use loom::sync::atomic::{AtomicBool, Ordering::Relaxed};
    for under_the_lock in [false, true] {
        models::bounded(2, move || {
            let shared = Arc::new((RLock::new(AtomicBool::new(false)), Condition::new()));
            let waiter = Arc::clone(&shared);
            let waiter = models::spawn(move || {
                let outer = waiter.0.lock().unwrap();
                let mut inner = waiter.0.lock().unwrap();
                waiter.1.wait_while(&mut inner.whole(), |flag| !flag.load(Relaxed)).unwrap();
                drop(inner);
                assert!(waiter.0.is_owned());
                drop(outer);
                assert!(!waiter.0.is_owned());
            });
            let guard = shared.0.lock().unwrap();
            guard.store(true, Relaxed);
            let held = under_the_lock.then_some(guard);
            shared.1.notify_one();
            drop(held);
            waiter.join().unwrap();
            assert_eq!(shared.0.owner(), None);
        });
    }
}
