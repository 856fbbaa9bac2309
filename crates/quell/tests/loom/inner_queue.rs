//! Every interleaving of a queue that is used under another lock: those who have the outer lock and move items without the
//! queue's own, and those who wait without it.

use crate::models::{self, poll, with_handle};
use loom::sync::{Mutex, MutexGuard};
use quell::queue::{Fifo, GetError, InnerQueue};
use quell::{Interrupt, Outcome, Thread, Wait};
use std::num::NonZeroUsize;
use std::sync::Arc;

/// An interpreter's lock, and an object's queue.
struct World {
    outer: Mutex<()>,
    queue: InnerQueue<u32, Fifo>,
}

impl World {
    fn new(capacity: Option<usize>) -> Arc<World> {
        let queue = InnerQueue::unbounded();
        // SAFETY: nobody else has it.
        unsafe { queue.whole() }.set_capacity(capacity.and_then(NonZeroUsize::new));
        Arc::new(World { outer: Mutex::new(()), queue })
    }

    fn enter(&self) -> MutexGuard<'_, ()> {
        self.outer.lock().unwrap()
    }

    /// As an object's method does: under the outer lock but for the wait.
    fn get(&self, wait: &Wait) -> Result<u32, GetError> {
        let held = self.enter();
        // SAFETY: under the outer lock, as in all of this file but for the waits.
        if let Ok(item) = unsafe { self.queue.try_get() } {
            return Ok(item);
        }
        // SAFETY: as above.
        unsafe { self.queue.go_outside() };
        drop(held);
        // SAFETY: outside.
        let ended = unsafe { self.queue.whole() }.get_with(wait);
        let _held = self.enter();
        // SAFETY: as above.
        unsafe { self.queue.come_back() };
        ended
    }

    fn put(&self, item: u32) {
        let held = self.enter();
        // SAFETY: as above.
        let Err(error) = (unsafe { self.queue.try_put(item) }) else { return };
        // SAFETY: as above.
        unsafe { self.queue.go_outside() };
        drop(held);
        // SAFETY: outside.
        unsafe { self.queue.whole() }.put(error.into_item()).unwrap();
        let _held = self.enter();
        // SAFETY: as above.
        unsafe { self.queue.come_back() };
    }

    /// How many items are left.
    fn left(&self) -> usize {
        let _held = self.enter();
        // SAFETY: as above.
        unsafe { self.queue.whole() }.len()
    }
}

fn sum(items: impl IntoIterator<Item = u32>) -> u32 {
    items.into_iter().sum()
}

#[test]
fn every_item_comes_once_and_in_order() {
    models::bounded(3, || {
        let world = World::new(None);
        let other = Arc::clone(&world);
        let other = models::spawn(move || {
            other.put(1);
            other.put(2);
        });
        assert_eq!(world.get(&Wait::new()).unwrap(), 1);
        assert_eq!(world.get(&Wait::new()).unwrap(), 2);
        other.join().unwrap();
        assert_eq!(world.left(), 0);
    });
}

#[test]
fn two_get_what_two_are_put() {
    models::bounded(2, || {
        let world = World::new(None);
        let getters: Vec<_> = (0..2)
            .map(|_| {
                let world = Arc::clone(&world);
                models::spawn(move || world.get(&Wait::new()).unwrap())
            })
            .collect();
        world.put(1);
        world.put(2);
        assert_eq!(sum(getters.into_iter().map(|getter| getter.join().unwrap())), 3);
        assert_eq!(world.left(), 0);
    });
}

/// Room for one: who puts waits too, and is let in by who gets.
#[test]
fn who_waits_for_room_gets_it() {
    models::bounded(2, || {
        let world = World::new(Some(1));
        let other = Arc::clone(&world);
        let other = models::spawn(move || {
            other.put(1);
            other.put(2);
            other.put(3);
        });
        let got = (0..3).map(|_| world.get(&Wait::new()).unwrap()).collect::<Vec<_>>();
        other.join().unwrap();
        assert_eq!(got, [1, 2, 3]);
        assert_eq!(world.left(), 0);
    });
}

/// The getter is interrupted while an item is put: it has the item or the interrupt, and the item is somewhere.
#[test]
fn a_getter_is_interrupted_while_an_item_is_put() {
    models::bounded(3, || {
        let world = World::new(None);
        let handle = Thread::unattached(None);
        let getter = {
            let world = Arc::clone(&world);
            with_handle(&handle, move || world.get(&Wait::new()))
        };
        let receipt = handle.interrupt(Interrupt::new(1));
        world.put(7);
        match getter.join().unwrap() {
            Ok(item) => {
                assert_eq!((item, world.left()), (7, 0));
                assert_eq!(receipt.state(), Outcome::Pending);
            }
            Err(GetError::Interrupted(_)) => {
                assert_eq!(world.left(), 1);
                assert_eq!(receipt.state(), Outcome::Delivered);
            }
            Err(other) => panic!("{other:?}"),
        }
    });
}

/// A task that waits is counted for nothing: it is in the line, where the straight way finds it. It is dropped when it has been
/// served, or just before.
#[test]
fn a_task_waits_and_is_dropped_beside_a_thread() {
    models::bounded(2, || {
        let world = World::new(None);
        // SAFETY: polled and dropped under the outer lock.
        let mut task = Box::pin(unsafe { world.queue.whole() }.get_async());
        {
            let _held = world.enter();
            assert!(poll(&mut task.as_mut()).is_pending());
        }
        let other = Arc::clone(&world);
        let other = models::spawn(move || other.put(1));
        let of_task = {
            let _held = world.enter();
            let got = poll(&mut task.as_mut());
            drop(task);
            matches!(got, std::task::Poll::Ready(Ok(1)))
        };
        other.join().unwrap();
        assert_eq!(world.left(), usize::from(!of_task));
    });
}
