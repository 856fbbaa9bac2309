//! Every interleaving of a task's end with what would end it earlier, and with the next task of its worker.

#![cfg(quell_loom)]

mod models;

use loom::thread;
use quell::pool::{Cancel, Failure, Pool, SubmitError, TaskError, TaskInterrupted, Why};
use quell::{Interrupted, Outcome};

fn reason(interrupted: &Interrupted) -> Why {
    interrupted.downcast_ref::<TaskInterrupted>().expect("a task's own").why()
}

/// A task is cancelled at any moment; the next task of the same worker never hears of it.
#[test]
fn an_interrupt_reaches_its_task_or_nobody() {
    models::bounded(2, || {
        let pool = Pool::new(1);
        let first = pool.submit(quell::checkpoint).unwrap();
        let next = pool.submit(quell::checkpoint).unwrap();
        let canceller = first.canceller();
        let canceller = thread::spawn(move || canceller.cancel());
        pool.shutdown();
        let ran = match first.get() {
            Ok(result) => Some(result),
            Err(TaskError::Failed(Failure::NeverRan(Why::Cancelled))) => None,
            other => panic!("{other:?}"),
        };
        next.get().unwrap().expect("meant for another task");
        match (canceller.join().unwrap(), ran) {
            (Cancel::NeverRuns, None) | (Cancel::Finished, Some(Ok(()))) => {}
            (Cancel::Interrupted(receipt), Some(Ok(()))) => {
                assert_eq!(receipt.state(), Outcome::Withdrawn);
            }
            (Cancel::Interrupted(receipt), Some(Err(interrupted))) => {
                assert_eq!(reason(&interrupted), Why::Cancelled);
                assert_eq!(receipt.state(), Outcome::Delivered);
            }
            other => panic!("{other:?}"),
        }
        pool.join().unwrap();
    });
}

/// Two cancel at once: one of them at most keeps it from running.
#[test]
fn two_cancellations() {
    models::bounded(2, || {
        let pool = Pool::new(1);
        let task = pool.submit(|| ()).unwrap();
        let canceller = task.canceller();
        let other = thread::spawn(move || canceller.cancel());
        let mine = task.cancel();
        pool.shutdown();
        let ran = task.get().is_ok();
        let never =
            [mine, other.join().unwrap()].iter().filter(|c| matches!(c, Cancel::NeverRuns)).count();
        assert_eq!(never, usize::from(!ran));
        pool.join().unwrap();
    });
}

/// Stopped while a task is on its way from the queue to the worker: it ends in one way, and is found wherever it is.
/// A task that nobody interrupts is a deadlock, which loom reports.
#[test]
fn stopped_while_a_task_is_taken() {
    models::bounded(2, || {
        let pool = Pool::new(1);
        let task =
            pool.submit(|| quell::thread::sleep_with(&quell::Wait::new()).unwrap_err()).unwrap();
        pool.shutdown_now();
        match task.get() {
            Ok(ended) => assert_eq!(reason(&ended.into_interrupted().unwrap()), Why::ShutDown),
            Err(TaskError::Failed(Failure::NeverRan(Why::ShutDown))) => {}
            other => panic!("{other:?}"),
        }
        pool.join().unwrap();
    });
}

/// Submitted while the pool is shut down: accepted and run, or refused with the function in the error.
#[test]
fn submitted_while_it_is_shut_down() {
    models::bounded(2, || {
        let pool = std::sync::Arc::new(Pool::new(1));
        let other = std::sync::Arc::clone(&pool);
        let stopper = thread::spawn(move || other.shutdown());
        match pool.submit(|| 7) {
            Ok(task) => assert_eq!(task.get().unwrap(), 7),
            Err(SubmitError::ShutDown(f)) => assert_eq!(f(), 7),
            Err(other) => panic!("{other:?}"),
        }
        stopper.join().unwrap();
        pool.join().unwrap();
    });
}

/// Awaited while it ends: the waker is found, or the end is.
#[test]
fn awaited_while_it_ends() {
    models::bounded(2, || {
        let pool = Pool::new(1);
        let task = pool.submit(|| 7).unwrap();
        pool.shutdown();
        assert_eq!(loom::future::block_on(task).unwrap(), 7);
        pool.join().unwrap();
    });
}
