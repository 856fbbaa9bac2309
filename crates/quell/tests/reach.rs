//! Guarantee 1, reach: a thread that is blocked in a quell wait is woken and raises. No window exists in which the
//! kick is lost.

#![cfg(not(any(quell_loom, quell_shuttle)))]

mod common;

use common::{Turns, stress};
use quell::thread::{JoinError, JoinHandle};
use quell::{
    Event, GetError, Interrupt, Lock, Outcome, PutError, Queue, RLock, Receipt, Wait, WaitError,
    thread,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// Interrupts a thread that waits for ever in `wait`, and expects it to come back with the error.
fn is_reached(wait: impl FnOnce() -> Result<(), WaitError> + Send + 'static) {
    let waiter = thread::spawn(wait);
    let receipt = waiter.thread().interrupt(Interrupt::new("reached"));
    match waiter.join().unwrap() {
        Err(WaitError::Interrupted(i)) => assert_eq!(i.downcast_ref::<&str>(), Some(&"reached")),
        other => panic!("{other:?}"),
    }
    assert_eq!(receipt.state(), Outcome::Delivered);
}

#[test]
fn in_a_lock() {
    let lock = Arc::new(Lock::new(()));
    let held = lock.lock().unwrap();
    let wanted = Arc::clone(&lock);
    is_reached(move || wanted.lock_with(&Wait::new()).map(drop));
    drop(held);
    assert!(!lock.is_locked());
}

#[test]
fn in_an_rlock() {
    let lock = Arc::new(RLock::new(()));
    let held = lock.lock().unwrap();
    let wanted = Arc::clone(&lock);
    is_reached(move || wanted.lock_with(&Wait::new()).map(drop));
    drop(held);
    assert_eq!(lock.owner(), None);
}

#[test]
fn in_an_event() {
    let event = Event::new();
    is_reached(move || event.wait_with(&Wait::new()));
}

#[test]
fn in_a_get() {
    let queue: Queue<()> = Queue::unbounded();
    is_reached(move || match queue.get() {
        Err(GetError::Interrupted(i)) => Err(i.into()),
        other => panic!("{other:?}"),
    });
}

#[test]
fn in_a_put() {
    let queue = Queue::bounded(1);
    queue.put(1).unwrap();
    is_reached(move || match queue.put(2) {
        Err(PutError::Interrupted(2, i)) => Err(i.into()),
        other => panic!("{other:?}"),
    });
}

#[test]
fn in_a_queues_join() {
    let queue = Queue::unbounded();
    queue.put(1).unwrap();
    is_reached(move || queue.join_with(&Wait::new()));
}

#[test]
fn in_a_threads_join() {
    let go_on = Arc::new(Event::new());
    let other = {
        let go_on = Arc::clone(&go_on);
        thread::spawn(move || go_on.wait().unwrap())
    };
    let handles = Arc::new(Lock::new(None::<JoinHandle<()>>));
    let out = Arc::clone(&handles);
    is_reached(move || match other.join() {
        Err(JoinError::Interrupted(handle, i)) => {
            *out.lock().unwrap() = Some(handle);
            Err(i.into())
        }
        other => panic!("{other:?}"),
    });
    // The handle came back, and still joins.
    go_on.set();
    let handle = handles.lock().unwrap().take().unwrap();
    handle.join().unwrap();
}

#[test]
fn in_a_receipts_wait() {
    let nobody = quell::Thread::unattached(None);
    let receipt = nobody.interrupt(Interrupt::new(()));
    let asked: Receipt = receipt.clone();
    is_reached(move || asked.wait(None).map(drop));
    assert_eq!(receipt.state(), Outcome::Pending);
    nobody.mark_exited();
    assert_eq!(receipt.wait(None).unwrap(), Outcome::TargetExited);
}

#[test]
fn in_a_sleep() {
    is_reached(|| quell::sleep(Duration::from_secs(3600)).map_err(WaitError::from));
}

#[test]
fn in_a_park() {
    is_reached(|| thread::park().map_err(WaitError::from));
}

#[test]
fn in_a_loop_with_a_checkpoint() {
    is_reached(|| {
        loop {
            quell::checkpoint()?;
            std::hint::spin_loop();
        }
    });
}

#[test]
fn before_the_thread_waits() {
    quell::current().interrupt(Interrupt::new(1));
    assert!(quell::sleep(Duration::from_secs(3600)).is_err());
    quell::current().interrupt(Interrupt::new(2));
    let event = Event::new();
    assert!(event.wait().is_err());
    event.set();
    event.wait().unwrap();
}

#[test]
fn oneself_from_a_drop_handler() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            quell::current().interrupt(Interrupt::new("from drop"));
        }
    }
    // The reason is dropped by the withdrawal; its handler sends the next one to the very slot it was in.
    let receipt = quell::current().interrupt(Interrupt::new(Bomb));
    assert!(receipt.withdraw());
    let interrupted = quell::checkpoint().unwrap_err();
    assert_eq!(interrupted.downcast_ref::<&str>(), Some(&"from drop"));
}

/// A sender and a target race over every window there is between "looks" and "sleeps". A lost kick hangs the test.
#[test]
fn no_kick_is_lost() {
    let rounds = stress(100_000);
    let event = Arc::new(Event::new());
    let lock = Arc::new(Lock::new(()));
    let queue: Arc<Queue<()>> = Arc::new(Queue::unbounded());
    let turns = Arc::new(Turns::new());
    let held = lock.lock().unwrap();
    let target = {
        let (event, lock, queue) = (Arc::clone(&event), Arc::clone(&lock), Arc::clone(&queue));
        let turns = Arc::clone(&turns);
        thread::spawn(move || {
            for round in 0..rounds {
                turns.done();
                let interrupted = match round % 4 {
                    0 => event.wait().unwrap_err(),
                    1 => lock.lock().map(drop).unwrap_err(),
                    2 => match queue.get() {
                        Err(GetError::Interrupted(i)) => i,
                        other => panic!("{other:?}"),
                    },
                    _ => quell::sleep(Duration::from_secs(3600)).unwrap_err(),
                };
                assert_eq!(interrupted.downcast_ref::<u64>(), Some(&round));
            }
        })
    };
    for round in 0..rounds {
        turns.wait_for(round);
        for _ in 0..round % 64 {
            std::hint::spin_loop();
        }
        target.thread().interrupt(Interrupt::new(round));
    }
    target.join().unwrap();
    drop(held);
}

/// Many senders, one target that goes in and out of waits.
#[test]
fn no_kick_is_lost_among_many_senders() {
    let each = stress(34_000);
    let received = Arc::new(AtomicU64::new(0));
    let target = {
        let received = Arc::clone(&received);
        thread::spawn(move || {
            while received.load(SeqCst) < 3 * each {
                if quell::sleep(Duration::from_secs(3600)).is_err() {
                    received.fetch_add(1, SeqCst);
                }
            }
        })
    };
    let senders: Vec<_> = (0..3)
        .map(|_| {
            let target = target.thread().clone();
            thread::spawn(move || {
                for i in 0..each {
                    target.interrupt(Interrupt::new(i));
                }
            })
        })
        .collect();
    for sender in senders {
        sender.join().unwrap();
    }
    target.join().unwrap();
    assert_eq!(received.load(SeqCst), 3 * each);
}
