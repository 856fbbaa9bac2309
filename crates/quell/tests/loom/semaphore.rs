//! Every interleaving of the semaphore with interrupts, deadlines, waiters that want several permits, and futures that
//! are dropped.

use crate::models::{self, poll, with_handle};
use loom::cell::UnsafeCell;
use quell::{BoundedSemaphore, Interrupt, Outcome, Semaphore, Thread, Wait, WaitError, model};
use std::sync::Arc;

/// With waiters that are woken to look, and with waiters that get their permits handed over.
fn both_ways(preemptions: usize, model: impl Fn() + Sync + Send + Copy + 'static) {
    for fair in [false, true] {
        model::set_fair(fair);
        models::bounded(preemptions, model);
    }
}

/// A semaphore of one, and what it protects. Loom itself checks that two accesses never overlap and are ordered.
struct Counter {
    semaphore: Semaphore,
    value: UnsafeCell<u32>,
}

// SAFETY: the value is reached with the permit.
unsafe impl Sync for Counter {}
// SAFETY: as above.
unsafe impl Send for Counter {}

impl Counter {
    fn add(&self) {
        let _permit = self.semaphore.acquire().unwrap();
        // SAFETY: there is one permit.
        self.value.with_mut(|value| unsafe { *value += 1 });
    }
}

#[test]
fn one_permit_excludes() {
    for (threads, preemptions) in [(1, 3), (2, 2)] {
        both_ways(preemptions, move || {
            let counter =
                Arc::new(Counter { semaphore: Semaphore::new(1), value: UnsafeCell::new(0) });
            let others: Vec<_> = (0..threads)
                .map(|_| {
                    let counter = Arc::clone(&counter);
                    models::spawn(move || counter.add())
                })
                .collect();
            counter.add();
            for other in others {
                other.join().unwrap();
            }
            assert_eq!(counter.semaphore.value(), 1);
            // SAFETY: nobody else is there.
            assert_eq!(counter.value.with(|value| unsafe { *value }), threads + 1);
        });
    }
}

/// The waiter has the permit or the interrupt, not both; and a permit is never lost.
#[test]
fn a_release_competes_with_an_interrupt() {
    both_ways(3, || {
        let semaphore = Arc::new(Semaphore::new(0));
        let handle = Thread::unattached(None);
        let waiter = Arc::clone(&semaphore);
        let waiter = with_handle(&handle, move || waiter.acquire().map(quell::Permit::forget));
        let receipt = handle.interrupt(Interrupt::new(1));
        semaphore.release(1);
        if waiter.join().unwrap().is_ok() {
            assert_eq!((receipt.state(), semaphore.value()), (Outcome::Pending, 0));
        } else {
            assert_eq!((receipt.state(), semaphore.value()), (Outcome::Delivered, 1));
        }
    });
}

#[test]
fn a_release_competes_with_a_time_out() {
    both_ways(3, || {
        let semaphore = Arc::new(Semaphore::new(0));
        let handle = Thread::unattached(None);
        let waiter = Arc::clone(&semaphore);
        let waiter = with_handle(&handle, move || {
            waiter.acquire_with(&model::timed()).map(quell::Permit::forget)
        });
        model::expire(&handle);
        semaphore.release(1);
        let left = match waiter.join().unwrap() {
            Ok(()) => 0,
            Err(WaitError::TimedOut) => 1,
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(semaphore.value(), left);
    });
}

/// Two wait, one of them leaves: the other gets the permit.
#[test]
fn a_waiter_that_leaves_takes_no_permit_along() {
    both_ways(2, || {
        let semaphore = Arc::new(Semaphore::new(0));
        let handle = Thread::unattached(None);
        let leaves = Arc::clone(&semaphore);
        let leaves = with_handle(&handle, move || drop(leaves.acquire()));
        let stays = Arc::clone(&semaphore);
        let stays = models::spawn(move || drop(stays.acquire().unwrap()));
        handle.interrupt(Interrupt::new(1));
        semaphore.release(1);
        stays.join().unwrap();
        leaves.join().unwrap();
        assert_eq!(semaphore.value(), 1);
    });
}

/// One waits for two permits, and leaves; the permit that there is goes to who waits behind it.
#[test]
fn who_waits_behind_one_that_leaves_is_served() {
    both_ways(2, || {
        let semaphore = Arc::new(Semaphore::new(0));
        let handle = Thread::unattached(None);
        let leaves = Arc::clone(&semaphore);
        let leaves = with_handle(&handle, move || assert!(leaves.acquire_many(2).is_err()));
        let stays = Arc::clone(&semaphore);
        let stays = models::spawn(move || drop(stays.acquire().unwrap()));
        semaphore.release(1);
        handle.interrupt(Interrupt::new(1));
        leaves.join().unwrap();
        stays.join().unwrap();
        assert_eq!(semaphore.value(), 1);
    });
}

/// Permits that come one by one add up for who wants two.
#[test]
fn permits_add_up() {
    both_ways(2, || {
        let semaphore = Arc::new(Semaphore::new(0));
        let wants_two = Arc::clone(&semaphore);
        let wants_two = models::spawn(move || wants_two.acquire_many(2).unwrap().forget());
        let other = Arc::clone(&semaphore);
        let other = models::spawn(move || other.release(1));
        semaphore.release(1);
        other.join().unwrap();
        wants_two.join().unwrap();
        assert_eq!(semaphore.value(), 0);
    });
}

/// One wants two of two, another wants one, all the time: in the end all are back.
#[test]
fn those_who_want_many_and_those_who_want_one() {
    both_ways(2, || {
        let semaphore = Arc::new(BoundedSemaphore::new(2));
        let many = Arc::clone(&semaphore);
        let many = models::spawn(move || drop(many.acquire_many(2).unwrap()));
        let one = Arc::clone(&semaphore);
        let one = models::spawn(move || drop(one.acquire().unwrap()));
        drop(semaphore.acquire().unwrap());
        many.join().unwrap();
        one.join().unwrap();
        assert_eq!(semaphore.value(), 2);
        assert!(semaphore.try_acquire_many(2).is_some());
    });
}

/// One permit comes while a waiter that has just come wants it, and one behind it, which has waited for long, wants two. The
/// permit is promised to the first, so it is not kept back for the second: who was woken would find nothing.
#[test]
fn a_promised_permit_is_not_kept_back() {
    model::set_fair(false);
    models::bounded(2, || {
        let semaphore = Arc::new(Semaphore::new(0));
        let young = Arc::clone(&semaphore);
        let young = models::spawn(move || drop(young.acquire().unwrap()));
        let old = Arc::clone(&semaphore);
        let old = models::spawn(move || {
            model::set_waited_for_long(true);
            drop(old.acquire_many(2).unwrap());
        });
        semaphore.release(1);
        semaphore.release(1);
        young.join().unwrap();
        old.join().unwrap();
        assert_eq!(semaphore.value(), 2);
    });
}

/// Permits that are kept back for one that has waited for long are free for all again when it leaves.
#[test]
fn permits_are_kept_back_until_who_waits_for_them_leaves() {
    model::set_fair(false);
    models::bounded(2, || {
        let semaphore = Arc::new(Semaphore::new(0));
        let handle = Thread::unattached(None);
        let old = Arc::clone(&semaphore);
        let old = with_handle(&handle, move || {
            model::set_waited_for_long(true);
            old.acquire_many(2).is_err()
        });
        let young = Arc::clone(&semaphore);
        let young = models::spawn(move || young.acquire().unwrap().forget());
        semaphore.release(1);
        handle.interrupt(Interrupt::new(1));
        assert!(old.join().unwrap());
        young.join().unwrap();
        assert_eq!(semaphore.value(), 0);
    });
}

/// A `try_acquire` sees what is there, also while somebody gives back and grants.
#[test]
fn a_try_does_not_fail_for_nothing() {
    model::set_fair(false);
    models::bounded(2, || {
        let semaphore = Arc::new(Semaphore::new(2));
        let handle = Thread::unattached(None);
        let wants_many = Arc::clone(&semaphore);
        let wants_many = with_handle(&handle, move || wants_many.acquire_many(5).is_err());
        let other = Arc::clone(&semaphore);
        let other = models::spawn(move || other.release(1));
        assert!(semaphore.try_acquire().is_some());
        other.join().unwrap();
        handle.interrupt(Interrupt::new(1));
        assert!(wants_many.join().unwrap());
        assert_eq!(semaphore.value(), 3);
    });
}

/// A task that was given the permit, or woken to look for it, is dropped: the next gets it.
#[test]
fn a_dropped_task_passes_the_permit_on() {
    both_ways(2, || {
        let semaphore = Arc::new(Semaphore::new(0));
        let task = Arc::clone(&semaphore);
        let mut task = Box::pin(async move { task.acquire_many_async(1).await.forget() });
        assert!(poll(&mut task.as_mut()).is_pending());
        let next = Arc::clone(&semaphore);
        let next = models::spawn(move || next.acquire_with(&Wait::new()).unwrap().forget());
        let other = Arc::clone(&semaphore);
        let other = models::spawn(move || other.release(1));
        drop(task);
        next.join().unwrap();
        other.join().unwrap();
        assert_eq!(semaphore.value(), 0);
    });
}
