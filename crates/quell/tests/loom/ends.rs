//! Every interleaving of the waits for an end (of a thread, of a queue's work, of an interrupt, of a pool's task) with that
//! end, with interrupts, deadlines and futures that are dropped.

use crate::models::{self, poll, with_handle};
use quell::pool::{Pool, TaskError};
use quell::thread::JoinError;
use quell::{Interrupt, Outcome, Queue, Thread, Wait, WaitError, model};
use std::sync::Arc;

/// A thread ends while who waits for it is interrupted: the result, or the handle to ask again.
#[test]
fn a_join_is_interrupted_while_the_thread_ends() {
    models::bounded(2, || {
        let handle = Thread::unattached(None);
        let joiner = with_handle(&handle, || match quell::spawn(|| 7).join() {
            Ok(result) => (result, false),
            Err(JoinError::Interrupted(again, _)) => (again.join().unwrap(), true),
            other => panic!("{other:?}"),
        });
        let receipt = handle.interrupt(Interrupt::new(1));
        let (result, interrupted) = joiner.join().unwrap();
        assert_eq!(result, 7);
        let outcome = if interrupted { Outcome::Delivered } else { Outcome::Pending };
        assert_eq!(receipt.state(), outcome);
    });
}

#[test]
fn a_join_times_out_while_the_thread_ends() {
    models::bounded(2, || {
        let handle = Thread::unattached(None);
        let joiner = with_handle(&handle, || {
            let joined = quell::spawn(|| 7).join_with(&model::timed());
            match joined {
                Ok(result) => result,
                Err(JoinError::TimedOut(again)) => again.join().unwrap(),
                other => panic!("{other:?}"),
            }
        });
        model::expire(&handle);
        assert_eq!(joiner.join().unwrap(), 7);
    });
}

/// The last task is done while who waits for that is interrupted.
#[test]
fn a_queues_join_is_interrupted_while_the_last_task_ends() {
    models::bounded(3, || {
        let queue = Arc::new(Queue::unbounded());
        queue.put(1).unwrap();
        let handle = Thread::unattached(None);
        let joins = Arc::clone(&queue);
        let joins = with_handle(&handle, move || joins.join());
        let receipt = handle.interrupt(Interrupt::new(1));
        queue.task_done().unwrap();
        let outcome = match joins.join().unwrap() {
            Ok(()) => Outcome::Pending,
            Err(_) => Outcome::Delivered,
        };
        assert_eq!(receipt.state(), outcome);
        queue.join().unwrap();
    });
}

#[test]
fn a_queues_join_times_out_while_the_last_task_ends() {
    models::bounded(3, || {
        let queue = Arc::new(Queue::unbounded());
        queue.put(1).unwrap();
        let handle = Thread::unattached(None);
        let joins = Arc::clone(&queue);
        let joins = with_handle(&handle, move || joins.join_with(&model::timed()));
        model::expire(&handle);
        queue.task_done().unwrap();
        assert!(matches!(joins.join().unwrap(), Ok(()) | Err(WaitError::TimedOut)));
        queue.join().unwrap();
    });
}

/// One of two who wait is dropped while the last task ends: the other hears of it.
#[test]
fn a_queues_join_is_dropped_while_the_last_task_ends() {
    models::bounded(3, || {
        let queue = Arc::new(Queue::unbounded());
        queue.put(1).unwrap();
        let dropped = Arc::clone(&queue);
        let mut dropped = Box::pin(async move { dropped.join_async().await });
        assert!(poll(&mut dropped.as_mut()).is_pending());
        let stays = Arc::clone(&queue);
        let stays = models::spawn(move || stays.join_with(&Wait::new()).unwrap());
        let worker = Arc::clone(&queue);
        let worker = models::spawn(move || worker.task_done().unwrap());
        drop(dropped);
        stays.join().unwrap();
        worker.join().unwrap();
    });
}

/// A sender waits for the end of its interrupt, and is interrupted itself.
#[test]
fn a_receipts_wait_is_interrupted_while_it_is_settled() {
    models::bounded(3, || {
        let (sender, target) = (Thread::unattached(None), Thread::unattached(None));
        let receipt = target.interrupt(Interrupt::new(1));
        let waits = receipt.clone();
        let waits = with_handle(&sender, move || waits.wait(None));
        let own = sender.interrupt(Interrupt::new(2));
        assert!(receipt.withdraw());
        match waits.join().unwrap() {
            Ok(outcome) => {
                assert_eq!((outcome, own.state()), (Outcome::Withdrawn, Outcome::Pending));
            }
            Err(WaitError::Interrupted(_)) => assert_eq!(own.state(), Outcome::Delivered),
            Err(other) => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_receipts_wait_times_out_while_it_is_settled() {
    models::bounded(3, || {
        let (sender, target) = (Thread::unattached(None), Thread::unattached(None));
        let receipt = target.interrupt(Interrupt::new(1));
        let waits = receipt.clone();
        let waits = with_handle(&sender, move || waits.wait_with(&model::timed()));
        model::expire(&sender);
        assert!(receipt.withdraw());
        match waits.join().unwrap() {
            Ok(outcome) => assert_eq!(outcome, Outcome::Withdrawn),
            Err(error) => assert!(matches!(error, WaitError::TimedOut)),
        }
    });
}

/// Who waits for a task is interrupted while the task ends: the result, or the handle to ask again.
#[test]
fn a_tasks_get_is_interrupted_while_it_ends() {
    models::bounded(2, || {
        let pool = Pool::new(1);
        let task = pool.submit(|| 7).unwrap();
        let handle = Thread::unattached(None);
        let waits = with_handle(&handle, move || match task.get() {
            Ok(result) => (result, Outcome::Pending),
            Err(TaskError::Interrupted(again, _)) => (again.get().unwrap(), Outcome::Delivered),
            other => panic!("{other:?}"),
        });
        let receipt = handle.interrupt(Interrupt::new(1));
        let (result, outcome) = waits.join().unwrap();
        assert_eq!((result, receipt.state()), (7, outcome));
        pool.shutdown();
        pool.join().unwrap();
    });
}

#[test]
fn a_tasks_get_times_out_while_it_ends() {
    models::bounded(2, || {
        let pool = Pool::new(1);
        let task = pool.submit(|| 7).unwrap();
        let handle = Thread::unattached(None);
        let waits = with_handle(&handle, move || match task.get_with(&model::timed()) {
            Ok(result) => result,
            Err(TaskError::TimedOut(again)) => again.get().unwrap(),
            other => panic!("{other:?}"),
        });
        model::expire(&handle);
        assert_eq!(waits.join().unwrap(), 7);
        pool.shutdown();
        pool.join().unwrap();
    });
}

/// Dropped while the task ends: nobody is woken that is not there, and the pool ends.
#[test]
fn a_tasks_future_is_dropped_while_it_ends() {
    models::bounded(2, || {
        let pool = Pool::new(1);
        let mut task = Box::pin(pool.submit(|| 7).unwrap());
        let polled = poll(&mut task.as_mut());
        drop(task);
        if let std::task::Poll::Ready(result) = polled {
            assert_eq!(result.unwrap(), 7);
        }
        pool.shutdown();
        pool.join().unwrap();
        assert_eq!(pool.stats().returned, 1);
    });
}
