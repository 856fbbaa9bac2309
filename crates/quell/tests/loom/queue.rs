//! Every interleaving of the queues with interrupts, deadlines and shut-down: no item is lost, none comes twice.

use crate::models::{self, with_handle as start};
use loom::thread;
use quell::{GetError, Interrupt, Outcome, PriorityQueue, PutError, Queue, Thread, Wait, model};
use std::sync::Arc;

#[test]
fn an_item_arrives() {
    models::bounded(3, || {
        let queue = Arc::new(Queue::unbounded());
        let getter = Arc::clone(&queue);
        let getter = models::spawn(move || getter.get().unwrap());
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
                models::spawn(move || queue.get().unwrap())
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
        let putter = models::spawn(move || putter.put(1).unwrap());
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
        let stays = models::spawn(move || stays.get().unwrap());
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

/// A full queue, and a thread that waits for room and is late now.
fn full_with_a_late_putter() -> (Arc<Queue<u32>>, thread::JoinHandle<Result<(), PutError<u32>>>) {
    let queue = Arc::new(Queue::bounded(1));
    queue.put(1).unwrap();
    let handle = Thread::unattached(None);
    let putter = Arc::clone(&queue);
    let putter = start(&handle, move || putter.put_with(2, &model::timed()));
    model::expire(&handle);
    (queue, putter)
}

#[test]
fn a_putter_times_out_while_room_comes() {
    models::bounded(3, || {
        let (queue, putter) = full_with_a_late_putter();
        assert_eq!(queue.get().unwrap(), 1);
        match putter.join().unwrap() {
            Ok(()) => assert_eq!(queue.try_get().unwrap(), 2),
            Err(PutError::TimedOut(2)) => assert!(queue.is_empty()),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_full_queue_passes_items_in_order() {
    models::bounded(2, || {
        let queue = Arc::new(Queue::bounded(1));
        let putter = Arc::clone(&queue);
        let putter = models::spawn(move || {
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
        let getter = models::spawn(move || match getter.get() {
            Err(GetError::ShutDown) => 0,
            other => other.unwrap(),
        });
        let putter = Arc::clone(&queue);
        let putter = models::spawn(move || match putter.put(1) {
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
                models::spawn(move || {
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

/// What a put came to: 0 if it has put, or the item that came back.
fn back(put: Result<(), PutError<u32>>) -> u32 {
    put.map_or_else(PutError::into_item, |()| 0)
}

/// What a get came to: 0 if it got none.
fn got(get: Result<u32, GetError>) -> u32 {
    get.unwrap_or(0)
}

#[test]
fn a_rendezvous_passes_each_item_from_hand_to_hand() {
    models::bounded(3, || {
        let queue = Arc::new(Queue::rendezvous());
        let putter = Arc::clone(&queue);
        let putter = models::spawn(move || {
            putter.put(1).unwrap();
            putter.put(2).unwrap();
        });
        assert_eq!(queue.get().unwrap(), 1);
        assert_eq!(queue.get().unwrap(), 2);
        putter.join().unwrap();
        assert!(queue.is_empty());
    });
}

/// The put of a rendezvous has not returned before a getter has the item.
#[test]
fn a_rendezvous_put_returns_when_a_getter_has_the_item() {
    models::bounded(3, || {
        let queue = Arc::new(Queue::rendezvous());
        let wanted = Arc::new(loom::sync::atomic::AtomicBool::new(false));
        let getter = {
            let (queue, wanted) = (Arc::clone(&queue), Arc::clone(&wanted));
            models::spawn(move || {
                wanted.store(true, loom::sync::atomic::Ordering::SeqCst);
                queue.get().unwrap()
            })
        };
        queue.put(1).unwrap();
        assert!(wanted.load(loom::sync::atomic::Ordering::SeqCst));
        assert_eq!(getter.join().unwrap(), 1);
    });
}

#[test]
fn both_sides_of_a_rendezvous_are_interrupted() {
    models::bounded(2, || {
        let queue = Arc::new(Queue::rendezvous());
        let (first, second) = (Thread::unattached(None), Thread::unattached(None));
        let putter = Arc::clone(&queue);
        let putter = start(&first, move || putter.put(1));
        let getter = Arc::clone(&queue);
        let getter = start(&second, move || getter.get());
        let receipts = [first.interrupt(Interrupt::new(())), second.interrupt(Interrupt::new(()))];
        let put = putter.join().unwrap();
        // A getter that found nobody waits for ever, but for its interrupt, which has come.
        let get = getter.join().unwrap();
        assert_eq!(put.is_ok(), get.is_ok());
        for (receipt, ok) in receipts.iter().zip([put.is_ok(), get.is_ok()]) {
            let outcome = if ok { Outcome::Pending } else { Outcome::Delivered };
            assert_eq!(receipt.state(), outcome);
        }
        assert_eq!(back(put) + got(get), 1);
    });
}

/// A putter that waits, a getter, an interrupt for the putter, and the end of the queue, all at once.
#[test]
fn put_get_interrupt_and_shut_down_compete() {
    for capacity in [0, 1] {
        models::bounded(2, move || {
            let queue = Arc::new(Queue::bounded(capacity));
            let mut expected = 2;
            if capacity == 1 {
                queue.put(8).unwrap();
                expected += 8;
            }
            let handle = Thread::unattached(None);
            let putter = Arc::clone(&queue);
            let putter = start(&handle, move || putter.put(2));
            let getter = Arc::clone(&queue);
            let getter = models::spawn(move || got(getter.get()));
            handle.interrupt(Interrupt::new(()));
            queue.shutdown(false);
            let put = back(putter.join().unwrap());
            let got = getter.join().unwrap();
            let left: u32 = queue.try_iter().sum();
            assert_eq!(put + got + left, expected);
            assert!(matches!(queue.try_get(), Err(GetError::ShutDown)));
        });
    }
}

/// Who waits for room is served in order, and puts its item in the very step that makes room.
#[test]
fn room_goes_to_the_first_who_waits_for_it() {
    models::bounded(3, || {
        let (queue, putter) = full_with_a_late_putter();
        assert_eq!(queue.try_get().unwrap(), 1);
        // Either the putter had waited, then its item is in the queue and there is no room; or it comes later, or has
        // given up.
        let third = queue.try_put(3);
        let put = putter.join().unwrap();
        let items: Vec<u32> = queue.try_iter().collect();
        match (back(put), back(third)) {
            (0, 3) => assert_eq!(items, [2]),
            (2, 0) => assert_eq!(items, [3]),
            other => panic!("{other:?}, {items:?}"),
        }
    });
}

#[test]
fn more_capacity_lets_waiters_in() {
    models::bounded(2, || {
        let queue = Arc::new(Queue::rendezvous());
        let putters: Vec<_> = [1, 2]
            .map(|item| {
                let queue = Arc::clone(&queue);
                models::spawn(move || queue.put(item).unwrap())
            })
            .into();
        queue.set_capacity(std::num::NonZeroUsize::new(2));
        for putter in putters {
            putter.join().unwrap();
        }
        assert_eq!(queue.try_iter().sum::<u32>(), 3);
    });
}

/// The smallest of what is in the queue; what waits for room is not, and is in it as soon as there is some.
#[test]
fn a_priority_queue_gives_the_smallest_that_is_in_it() {
    models::bounded(3, || {
        let queue = Arc::new(PriorityQueue::bounded(2));
        queue.put(3).unwrap();
        queue.put(2).unwrap();
        let putter = Arc::clone(&queue);
        let putter = models::spawn(move || putter.put(1).unwrap());
        assert_eq!(queue.get().unwrap(), 2);
        // If the putter had waited, 1 is there; it has come later, or is still to come, otherwise.
        let full = queue.len() == 2;
        let second = queue.get().unwrap();
        assert!(second == 1 || !full && second == 3);
        putter.join().unwrap();
        assert_eq!(queue.get().unwrap(), 4 - second);
    });
}
