//! Every interleaving of a task's end with what would end it earlier, and with the next task of its worker.

use crate::models;
use quell::pool::{Cancel, Failure, Pool, SubmitError, TaskError, TaskInterrupted, Why};
use quell::{Interrupted, Outcome};
use std::sync::Arc;

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
        let canceller = models::spawn(move || canceller.cancel());
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
        let other = models::spawn(move || canceller.cancel());
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
        let pool = Arc::new(Pool::new(1));
        let other = Arc::clone(&pool);
        let stopper = models::spawn(move || other.shutdown());
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

/// One worker, whose task waits for another: a spare runs that one. Nobody would be a deadlock, which loom reports.
#[test]
fn a_task_waits_for_a_task() {
    models::bounded(2, || {
        let pool = Arc::new(Pool::new(1));
        let inner = Arc::clone(&pool);
        let outer = pool.submit(move || inner.submit(|| 7).unwrap().get().unwrap()).unwrap();
        assert_eq!(outer.get().unwrap(), 7);
        pool.shutdown();
        pool.join().unwrap();
        assert_eq!(pool.stats().spares, 0);
    });
}

/// Two workers, whose tasks wait for others at the same moment: each counts on the other, and on the spares.
#[test]
fn two_tasks_wait_for_tasks() {
    models::bounded(1, || {
        let pool = Arc::new(Pool::builder().workers(2).spares(1).build().unwrap());
        let outer: Vec<_> = (0..2)
            .map(|n| {
                let inner = Arc::clone(&pool);
                let outer = pool.submit(move || {
                    let task = inner.submit(move || n).unwrap();
                    match task.get() {
                        Ok(m) => assert_eq!(m, n),
                        Err(TaskError::Stuck(task)) => drop(task),
                        other => panic!("{other:?}"),
                    }
                });
                outer.unwrap()
            })
            .collect();
        for task in outer {
            task.get().unwrap();
        }
        pool.shutdown();
        pool.join().unwrap();
    });
}

/// Stopped while a task waits for one that a spare runs, or is about to: both end, and so does the spare.
#[test]
fn stopped_while_a_spare_starts() {
    models::bounded(2, || {
        let pool = Arc::new(Pool::new(1));
        let inner = Arc::clone(&pool);
        let sleep = || quell::thread::sleep_with(&quell::Wait::new()).unwrap_err();
        let outer = pool.submit(move || match inner.submit(sleep) {
            Ok(task) => match task.get() {
                Ok(ended) => drop(ended),
                Err(TaskError::Failed(Failure::NeverRan(Why::ShutDown))) => {}
                Err(TaskError::Interrupted(..)) => {}
                other => panic!("{other:?}"),
            },
            Err(SubmitError::ShutDown(_)) => {}
            Err(other) => panic!("{other:?}"),
        });
        let outer = outer.unwrap();
        pool.shutdown_now();
        match outer.get() {
            Ok(()) | Err(TaskError::Failed(Failure::NeverRan(Why::ShutDown))) => {}
            other => panic!("{other:?}"),
        }
        pool.join().unwrap();
    });
}
