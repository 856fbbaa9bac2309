//! Every interleaving of the queue with interrupts, deadlines and shut-down: no item is lost, none comes twice.

#![cfg(quell_loom)]

mod models;

use loom::thread;
use quell::{GetError, Interrupt, Outcome, PutError, Queue, Thread, Wait, model};
use std::sync::Arc;

fn start<T: 'static>(handle: &Thread, f: impl FnOnce() -> T + 'static) -> thread::JoinHandle<T> {
    let handle = handle.clone();
    thread::spawn(move || {
        quell::adopt(&handle).unwrap();
        f()
    })
}

#[test]
fn an_item_arrives() {
    models::bounded(3, || {
        let queue = Arc::new(Queue::unbounded());
        let getter = Arc::clone(&queue);
        let getter = thread::spawn(move || getter.get().unwrap());
        queue.put(1).unwrap();
        assert_eq!(getter.join().unwrap(), 1);
    });
}

#[test]
fn two_items_arrive_at_two_getters() {
    models::bounded(2, || {
        let queue = Arc::new(Queue::unbounded());
        let getters: Vec<_> = (0..2)
            .map(|_| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || queue.get().unwrap())
            })
            .collect();
        queue.put(1).unwrap();
        queue.put(2).unwrap();
        let sum: u32 = getters.into_iter().map(|getter| getter.join().unwrap()).sum();
        assert_eq!(sum, 3);
    });
}

/// The item is in the hands of the getter or in the queue; the interrupt was delivered or is pending.
#[test]
fn a_getter_is_interrupted_while_an_item_comes() {
    models::bounded(3, || {
        let queue = Arc::new(Queue::unbounded());
        let handle = Thread::unattached(None);
        let getter = Arc::clone(&queue);
        let getter = start(&handle, move || getter.get());
        let putter = Arc::clone(&queue);
        let putter = thread::spawn(move || putter.put(1).unwrap());
        let receipt = handle.interrupt(Interrupt::new(()));
        let got = getter.join().unwrap();
        putter.join().unwrap();
        match got {
            Ok(1) => {
                assert_eq!(receipt.state(), Outcome::Pending);
                assert!(queue.is_empty());
            }
            Err(GetError::Interrupted(_)) => {
                assert_eq!(receipt.state(), Outcome::Delivered);
                assert_eq!(queue.try_get().unwrap(), 1);
            }
            other => panic!("{other:?}"),
        }
    });
}

/// Two getters, one item, one of the getters leaves: the other must get the item. A wake-up that went to the one that
/// leaves would be a deadlock.
#[test]
fn a_getter_that_leaves_takes_no_wake_up_along() {
    models::bounded(2, || {
        let queue = Arc::new(Queue::unbounded());
        let handle = Thread::unattached(None);
        let leaves = Arc::clone(&queue);
        let leaves = start(&handle, move || leaves.get().is_ok());
        let stays = Arc::clone(&queue);
        let stays = thread::spawn(move || stays.get().unwrap());
        handle.interrupt(Interrupt::new(()));
        queue.put(1).unwrap();
        if leaves.join().unwrap() {
            queue.put(2).unwrap();
        }
        stays.join().unwrap();
        assert!(queue.is_empty());
    });
}

#[test]
fn a_getter_times_out_while_an_item_comes() {
    models::bounded(3, || {
        let queue = Arc::new(Queue::unbounded());
        let handle = Thread::unattached(None);
        let getter = Arc::clone(&queue);
        let getter = start(&handle, move || getter.get_with(&model::timed()));
        model::expire(&handle);
        queue.put(1).unwrap();
        match getter.join().unwrap() {
            Ok(1) => assert!(queue.is_empty()),
            Err(GetError::TimedOut) => assert_eq!(queue.try_get().unwrap(), 1),
            other => panic!("{other:?}"),
        }
    });
}

/// The item is in the queue or back in the putter's hands.
#[test]
fn a_putter_is_interrupted_while_room_comes() {
    models::bounded(3, || {
        let queue = Arc::new(Queue::bounded(1));
        queue.put(1).unwrap();
        let handle = Thread::unattached(None);
        let putter = Arc::clone(&queue);
        let putter = start(&handle, move || putter.put(2));
        let receipt = handle.interrupt(Interrupt::new(()));
        assert_eq!(queue.get().unwrap(), 1);
        match putter.join().unwrap() {
            Ok(()) => {
                assert_eq!(receipt.state(), Outcome::Pending);
                assert_eq!(queue.try_get().unwrap(), 2);
            }
            Err(PutError::Interrupted(2, _)) => {
                assert_eq!(receipt.state(), Outcome::Delivered);
                assert!(queue.is_empty());
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_full_queue_passes_items_in_order() {
    models::bounded(2, || {
        let queue = Arc::new(Queue::bounded(1));
        let putter = Arc::clone(&queue);
        let putter = thread::spawn(move || {
            for item in 1..=3 {
                putter.put(item).unwrap();
            }
        });
        for item in 1..=3 {
            assert_eq!(queue.get().unwrap(), item);
        }
        putter.join().unwrap();
    });
}

#[test]
fn a_shut_down_wakes_everybody() {
    models::bounded(2, || {
        let queue: Arc<Queue<u32>> = Arc::new(Queue::bounded(1));
        let getter = Arc::clone(&queue);
        let getter = thread::spawn(move || match getter.get() {
            Err(GetError::ShutDown) => 0,
            other => other.unwrap(),
        });
        let putter = Arc::clone(&queue);
        let putter = thread::spawn(move || match putter.put(1) {
            Err(PutError::ShutDown(1)) => 0,
            other => other.map(|()| 1).unwrap(),
        });
        queue.shutdown(false);
        let (got, put) = (getter.join().unwrap(), putter.join().unwrap());
        let left = queue.try_get().unwrap_or(0);
        assert_eq!(got + left, put);
    });
}

#[test]
fn a_join_waits_for_the_last_task() {
    models::bounded(2, || {
        let queue = Arc::new(Queue::unbounded());
        queue.put(1).unwrap();
        queue.put(2).unwrap();
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || {
                    queue.try_get().unwrap();
                    queue.task_done().unwrap();
                })
            })
            .collect();
        queue.join_with(&Wait::new()).unwrap();
        assert_eq!(queue.unfinished(), 0);
        for worker in workers {
            worker.join().unwrap();
        }
    });
}
