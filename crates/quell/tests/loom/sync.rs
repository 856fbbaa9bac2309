//! Every interleaving of the lock, the recursive lock and the event with interrupts and deadlines.

use crate::models::{self, with_handle};
use loom::cell::UnsafeCell;
use quell::{Event, Interrupt, Outcome, RawLock, RawRLock, Thread, Wait, WaitError, model};
use std::sync::Arc;

/// A lock and what it protects. Loom itself checks that two accesses never overlap and are ordered.
struct Counter {
    lock: RawLock,
    value: UnsafeCell<u32>,
}

// SAFETY: the value is reached under the lock.
unsafe impl Sync for Counter {}
// SAFETY: as above.
unsafe impl Send for Counter {}

impl Counter {
    fn new() -> Arc<Counter> {
        Arc::new(Counter { lock: RawLock::new(), value: UnsafeCell::new(0) })
    }

    fn add(&self, wait: &Wait) -> Result<(), WaitError> {
        self.lock.lock_with(wait)?;
        // SAFETY: we hold the lock.
        self.value.with_mut(|value| unsafe { *value += 1 });
        self.lock.unlock();
        Ok(())
    }

    /// Nobody uses it any more: it is free, and was taken so often.
    fn expect(&self, times: u32) {
        assert!(!self.lock.is_locked());
        assert!(self.lock.try_lock());
        // SAFETY: we hold the lock.
        assert_eq!(self.value.with(|value| unsafe { *value }), times);
        self.lock.unlock();
    }
}

/// With waiters that are woken to look, and with waiters that get the lock handed over.
fn both_ways(preemptions: usize, model: impl Fn() + Sync + Send + Copy + 'static) {
    for fair in [false, true] {
        model::set_fair(fair);
        models::bounded(preemptions, model);
    }
}

#[test]
fn a_lock_excludes() {
    both_ways(3, || {
        let counter = Counter::new();
        let other = Arc::clone(&counter);
        let other = models::spawn(move || other.add(&Wait::new()).unwrap());
        counter.add(&Wait::new()).unwrap();
        other.join().unwrap();
        counter.expect(2);
    });
}

#[test]
fn a_lock_excludes_three() {
    both_ways(2, || {
        let counter = Counter::new();
        let others: Vec<_> = (0..2)
            .map(|_| {
                let counter = Arc::clone(&counter);
                models::spawn(move || counter.add(&Wait::new()).unwrap())
            })
            .collect();
        counter.add(&Wait::new()).unwrap();
        for other in others {
            other.join().unwrap();
        }
        counter.expect(3);
    });
}

/// Somebody takes the lock in the moment between its release and the hand-over: the waiter is not forgotten.
#[test]
fn a_lock_that_is_taken_before_it_is_handed_over_wakes_its_waiter_later() {
    both_ways(2, || {
        let counter = Counter::new();
        counter.lock.lock().unwrap();
        let waiter = Arc::clone(&counter);
        let waiter = models::spawn(move || waiter.add(&Wait::new()).unwrap());
        let barger = Arc::clone(&counter);
        let barger = models::spawn(move || {
            let taken = barger.lock.try_lock();
            if taken {
                // SAFETY: we hold the lock.
                barger.value.with_mut(|value| unsafe { *value += 1 });
                barger.lock.unlock();
            }
            u32::from(taken)
        });
        counter.lock.unlock();
        waiter.join().unwrap();
        counter.expect(1 + barger.join().unwrap());
    });
}

/// The waiter is interrupted while the holder unlocks: it has the lock or the interrupt, not both, and the lock
/// ends up free.
#[test]
fn a_waiter_is_interrupted_while_the_lock_is_freed() {
    both_ways(3, || {
        let counter = Counter::new();
        let handle = Thread::unattached(None);
        counter.lock.lock().unwrap();
        let waiter = {
            let counter = Arc::clone(&counter);
            with_handle(&handle, move || counter.add(&Wait::new()))
        };
        let receipt = handle.interrupt(Interrupt::new(1));
        counter.lock.unlock();
        match waiter.join().unwrap() {
            Ok(()) => {
                assert_eq!(receipt.state(), Outcome::Pending);
                counter.expect(1);
            }
            Err(WaitError::Interrupted(_)) => {
                assert_eq!(receipt.state(), Outcome::Delivered);
                counter.expect(0);
            }
            Err(other) => panic!("{other:?}"),
        }
    });
}

/// Two wait, one of them leaves: the other must be woken. A wake-up that went to the one that leaves would be a
/// deadlock.
#[test]
fn a_waiter_that_leaves_takes_no_wake_up_along() {
    both_ways(2, || {
        let counter = Counter::new();
        let handle = Thread::unattached(None);
        counter.lock.lock().unwrap();
        let leaves = {
            let counter = Arc::clone(&counter);
            with_handle(&handle, move || u32::from(counter.add(&Wait::new()).is_ok()))
        };
        let stays = {
            let counter = Arc::clone(&counter);
            models::spawn(move || counter.add(&Wait::new()).unwrap())
        };
        handle.interrupt(Interrupt::new(1));
        counter.lock.unlock();
        stays.join().unwrap();
        counter.expect(1 + leaves.join().unwrap());
    });
}

#[test]
fn a_waiter_times_out_while_the_lock_is_freed() {
    both_ways(3, || {
        let counter = Counter::new();
        let handle = Thread::unattached(None);
        counter.lock.lock().unwrap();
        let waiter = {
            let counter = Arc::clone(&counter);
            with_handle(&handle, move || u32::from(counter.add(&model::timed()).is_ok()))
        };
        model::expire(&handle);
        counter.lock.unlock();
        counter.expect(waiter.join().unwrap());
    });
}

#[test]
fn a_recursive_lock_is_free_when_released_as_often() {
    models::bounded(2, || {
        let shared = Arc::new((RawRLock::new(), Counter::new()));
        let work = |shared: &(RawRLock, Arc<Counter>)| {
            shared.0.lock().unwrap();
            shared.0.lock().unwrap();
            // SAFETY: we hold the lock.
            shared.1.value.with_mut(|value| unsafe { *value += 1 });
            assert_eq!(shared.0.unlock(), Ok(false));
            assert_eq!(shared.0.unlock(), Ok(true));
        };
        let other = Arc::clone(&shared);
        let other = models::spawn(move || work(&other));
        work(&shared);
        other.join().unwrap();
        assert_eq!(shared.0.owner(), None);
        shared.1.expect(2);
    });
}

#[test]
fn a_recursive_lock_is_not_half_taken_by_an_interrupted_thread() {
    models::bounded(2, || {
        let lock = Arc::new(RawRLock::new());
        let handle = Thread::unattached(None);
        lock.lock().unwrap();
        let waiter = {
            let lock = Arc::clone(&lock);
            with_handle(&handle, move || {
                let taken = lock.lock().is_ok();
                assert_eq!(lock.is_owned(), taken);
                if taken {
                    assert_eq!(lock.unlock(), Ok(true));
                }
            })
        };
        handle.interrupt(Interrupt::new(1));
        assert_eq!(lock.unlock(), Ok(true));
        waiter.join().unwrap();
        assert_eq!((lock.owner(), lock.depth()), (None, 0));
        assert!(lock.try_lock());
    });
}

/// The owner frees it while a waiter's deadline passes: held by nobody, or by the waiter, once.
#[test]
fn a_recursive_lock_is_not_half_taken_at_a_deadline() {
    both_ways(2, || {
        let lock = Arc::new(RawRLock::new());
        lock.lock().unwrap();
        let handle = Thread::unattached(None);
        let waiter = {
            let lock = Arc::clone(&lock);
            with_handle(&handle, move || match lock.lock_with(&model::timed()) {
                Ok(()) => {
                    assert_eq!((lock.depth(), lock.is_owned()), (1, true));
                    assert_eq!(lock.unlock(), Ok(true));
                }
                Err(WaitError::TimedOut) => assert!(!lock.is_owned()),
                Err(other) => panic!("{other:?}"),
            })
        };
        model::expire(&handle);
        assert_eq!(lock.unlock(), Ok(true));
        waiter.join().unwrap();
        assert_eq!((lock.owner(), lock.depth()), (None, 0));
        assert!(lock.try_lock());
    });
}

/// Who waits is woken by a `set`, however soon a `clear` follows; what came before `set` is visible.
#[test]
fn a_set_wakes_who_waits() {
    models::bounded(3, || {
        let event = Arc::new((Event::new(), loom::sync::atomic::AtomicBool::new(false)));
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let event = Arc::clone(&event);
                models::spawn(move || {
                    event.0.wait().unwrap();
                    assert!(event.1.load(loom::sync::atomic::Ordering::Relaxed));
                })
            })
            .collect();
        event.1.store(true, loom::sync::atomic::Ordering::Relaxed);
        event.0.set();
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

/// One `set` is one moment: a waiter that saw it and cleared the event is not woken by it again.
#[test]
fn a_set_counts_once() {
    models::bounded(2, || {
        let event = Arc::new(Event::new());
        let handle = Thread::unattached(None);
        let waiter = {
            let event = Arc::clone(&event);
            with_handle(&handle, move || {
                event.wait().unwrap();
                event.clear();
                event.wait_with(&Wait::new())
            })
        };
        let other = {
            let event = Arc::clone(&event);
            models::spawn(move || event.wait_with(&model::timed()).is_ok())
        };
        event.set();
        // Both have seen it, or the second came after the clear and waits still.
        handle.interrupt(Interrupt::new(1));
        assert!(matches!(waiter.join().unwrap(), Err(WaitError::Interrupted(_))));
        event.set();
        assert!(other.join().unwrap());
    });
}

#[test]
fn a_waiter_is_interrupted_while_the_event_is_set() {
    models::bounded(3, || {
        let event = Arc::new(Event::new());
        let handle = Thread::unattached(None);
        let waiter = {
            let event = Arc::clone(&event);
            with_handle(&handle, move || event.wait_with(&Wait::new()))
        };
        let setter = Arc::clone(&event);
        let setter = models::spawn(move || setter.set());
        let receipt = handle.interrupt(Interrupt::new(1));
        let ended = waiter.join().unwrap();
        setter.join().unwrap();
        assert_eq!(ended.is_ok(), receipt.state() == Outcome::Pending);
        assert!(event.is_set());
    });
}

#[test]
fn a_waiter_times_out_while_the_event_is_set() {
    models::bounded(3, || {
        let event = Arc::new(Event::new());
        let handle = Thread::unattached(None);
        let waiter = {
            let event = Arc::clone(&event);
            with_handle(&handle, move || {
                let waited = event.wait_with(&model::timed());
                // Whatever the wait came to, the event tells the truth, and the next wait hears of it.
                event.wait().unwrap();
                waited
            })
        };
        model::expire(&handle);
        event.set();
        assert!(matches!(waiter.join().unwrap(), Ok(()) | Err(WaitError::TimedOut)));
        assert!(event.is_set());
    });
}

/// `set` and `clear` with a waiter that leaves: the word and the list agree in the end.
#[test]
fn an_event_is_whole_after_a_waiter_left() {
    models::bounded(2, || {
        let event = Arc::new(Event::new());
        let handle = Thread::unattached(None);
        let leaves = {
            let event = Arc::clone(&event);
            with_handle(&handle, move || {
                let _ = event.wait_with(&model::timed());
            })
        };
        let stays = {
            let event = Arc::clone(&event);
            models::spawn(move || event.wait().unwrap())
        };
        model::expire(&handle);
        event.set();
        leaves.join().unwrap();
        stays.join().unwrap();
    });
}
