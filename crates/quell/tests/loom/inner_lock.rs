//! Every interleaving of a lock that is used under another one: those who have the outer lock and touch the word plainly, and those
//! who wait without it.

use crate::models::{self, poll, with_handle};
use loom::cell::UnsafeCell;
use loom::sync::{Mutex, MutexGuard};
use quell::{InnerLock, Interrupt, Outcome, Thread, Wait, WaitError, model};
use std::sync::Arc;

/// An interpreter's lock, an object's lock, and what that protects. Loom itself checks that two accesses never overlap and are
/// ordered.
struct World {
    outer: Mutex<()>,
    lock: InnerLock,
    value: UnsafeCell<u32>,
}

// SAFETY: the value is reached under the lock.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    fn new() -> Arc<World> {
        let (outer, lock) = (Mutex::new(()), InnerLock::new());
        Arc::new(World { outer, lock, value: UnsafeCell::new(0) })
    }

    fn enter(&self) -> MutexGuard<'_, ()> {
        self.outer.lock().unwrap()
    }

    /// Takes the lock as an object's method does, under the outer lock but for the wait; and gives the outer lock up with it.
    fn take(&self, wait: &Wait) -> Result<(), WaitError> {
        let held = self.enter();
        // SAFETY: under the outer lock, as in all of this file but for the wait.
        if unsafe { self.lock.try_lock() } {
            return Ok(());
        }
        // SAFETY: as above.
        let outside = unsafe { self.lock.go_outside() };
        drop(held);
        let ended = outside.lock_with(wait);
        let held = self.enter();
        // SAFETY: as above.
        unsafe { outside.come_back() };
        drop(held);
        ended
    }

    fn free(&self) {
        let _held = self.enter();
        // SAFETY: as above.
        unsafe { self.lock.unlock() };
    }

    /// Without the outer lock in between, as when an interpreter switches threads.
    fn add(&self, wait: &Wait) -> Result<(), WaitError> {
        self.take(wait)?;
        // SAFETY: we have the lock.
        self.value.with_mut(|value| unsafe { *value += 1 });
        self.free();
        Ok(())
    }

    /// Nobody uses it any more: it is free, and was taken so often.
    fn expect(&self, times: u32) {
        let _held = self.enter();
        assert!(!self.lock.is_locked());
        // SAFETY: as above.
        assert!(unsafe { self.lock.try_lock() });
        // SAFETY: we have the lock.
        assert_eq!(self.value.with(|value| unsafe { *value }), times);
        // SAFETY: as above.
        unsafe { self.lock.unlock() };
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
fn it_excludes() {
    both_ways(3, || {
        let world = World::new();
        let other = Arc::clone(&world);
        let other = models::spawn(move || other.add(&Wait::new()).unwrap());
        world.add(&Wait::new()).unwrap();
        other.join().unwrap();
        world.expect(2);
    });
}

/// One of them is back from a wait, or on its way to one, while another frees the lock and the third takes it.
#[test]
fn it_excludes_three() {
    both_ways(2, || {
        let world = World::new();
        let others: Vec<_> = (0..2)
            .map(|_| {
                let world = Arc::clone(&world);
                models::spawn(move || world.add(&Wait::new()).unwrap())
            })
            .collect();
        world.add(&Wait::new()).unwrap();
        for other in others {
            other.join().unwrap();
        }
        world.expect(3);
    });
}

/// Taken and freed again and again, while somebody goes to wait for it and comes back.
#[test]
fn it_is_taken_again_beside_a_waiter() {
    both_ways(2, || {
        let world = World::new();
        let other = Arc::clone(&world);
        let other = models::spawn(move || other.add(&Wait::new()).unwrap());
        world.add(&Wait::new()).unwrap();
        world.add(&Wait::new()).unwrap();
        other.join().unwrap();
        world.expect(3);
    });
}

#[test]
fn a_waiter_is_interrupted_while_the_lock_is_freed() {
    both_ways(3, || {
        let world = World::new();
        let handle = Thread::unattached(None);
        world.take(&Wait::new()).unwrap();
        let waiter = {
            let world = Arc::clone(&world);
            with_handle(&handle, move || world.add(&Wait::new()))
        };
        let receipt = handle.interrupt(Interrupt::new(1));
        world.free();
        match waiter.join().unwrap() {
            Ok(()) => {
                assert_eq!(receipt.state(), Outcome::Pending);
                world.expect(1);
            }
            Err(WaitError::Interrupted(_)) => {
                assert_eq!(receipt.state(), Outcome::Delivered);
                world.expect(0);
            }
            Err(other) => panic!("{other:?}"),
        }
    });
}

/// A task that waits is counted for nothing: what it leaves in the word keeps plain stores away. It is dropped when it has been woken,
/// or just before.
#[test]
fn a_task_waits_and_is_dropped_beside_a_thread() {
    both_ways(2, || {
        let world = World::new();
        world.take(&Wait::new()).unwrap();
        let other = Arc::clone(&world);
        let other = models::spawn(move || other.add(&Wait::new()).unwrap());
        // SAFETY: polled and dropped under the outer lock.
        let mut task = Box::pin(unsafe { world.lock.lock_async() });
        {
            let _held = world.enter();
            assert!(poll(&mut task.as_mut()).is_pending());
        }
        world.free();
        {
            let _held = world.enter();
            let taken = poll(&mut task.as_mut()).is_ready();
            drop(task);
            if taken {
                // SAFETY: under the outer lock.
                unsafe { world.lock.unlock() };
            }
        }
        other.join().unwrap();
        world.expect(1);
    });
}
