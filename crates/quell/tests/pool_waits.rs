//! Tasks that wait: for tasks of their own pool, of other pools, for other things. Who waits gives its place up, and somebody is
//! left to run what it waits for.

#![cfg(not(any(quell_loom, quell_shuttle)))]

mod common;

use common::{Random, stress};
use quell::pool::{self, Cancel, Failure, Pool, TaskError, TaskInterrupted, TaskState, Why};
use quell::{Event, Interrupted, sleep};
use std::sync::Arc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);

fn reason(interrupted: &Interrupted) -> Why {
    interrupted.downcast_ref::<TaskInterrupted>().expect("a task's own").why()
}

/// `depth` tasks, each of which submits the next and waits for it.
fn chain(pool: &Arc<Pool>, depth: u64) -> u64 {
    if depth == 0 {
        return 0;
    }
    let inner = Arc::clone(pool);
    1 + pool.submit(move || chain(&inner, depth - 1)).unwrap().get().unwrap()
}

/// A task that waits for a task of its own pool gives its place up; the spares end when they are not needed.
#[test]
fn a_task_waits_for_tasks_of_its_own_pool() {
    for workers in [1, 2] {
        let pool = Arc::new(Pool::builder().workers(workers).name("chain").build().unwrap());
        for _ in 0..stress(20) {
            assert_eq!(chain(&pool, 30), 30);
        }
        let inner = Arc::clone(&pool);
        let name = pool
            .submit(move || {
                let name = inner.submit(|| quell::current().name().unwrap().to_string()).unwrap();
                // In the meantime there are as many that can run as there are workers.
                let tasks: Vec<_> = (0..20).map(|n| inner.submit(move || n).unwrap()).collect();
                let sum: u32 = tasks.into_iter().map(|task| task.get().unwrap()).sum();
                assert_eq!(sum, 190);
                name.get().unwrap()
            })
            .unwrap();
        assert!(name.get().unwrap().starts_with("chain-"));
        pool.shutdown();
        pool.join().unwrap();
        assert_eq!(pool.stats().spares, 0);
        assert!(quell::enumerate().iter().all(|thread| {
            !thread.name().is_some_and(|name| name.starts_with("chain-")) || !thread.is_alive()
        }));
    }
}

/// Two pools, each with one worker, whose tasks wait for each other's.
#[test]
fn tasks_wait_across_pools() {
    let pools = [Arc::new(Pool::new(1)), Arc::new(Pool::new(1))];
    fn hop(pools: [Arc<Pool>; 2], left: usize) -> usize {
        if left == 0 {
            return 0;
        }
        let pool = Arc::clone(&pools[left % 2]);
        1 + pool.submit(move || hop(pools, left - 1)).unwrap().get().unwrap()
    }
    assert_eq!(hop(pools, 20), 20);
}

/// An interrupt ends the wait of the task it is for, and leaves the other alone.
#[test]
fn a_task_that_waits_for_another_is_cancelled() {
    let pool = Arc::new(Pool::new(1));
    let (inner, go_on) = (Arc::clone(&pool), Arc::new(Event::new()));
    let (held, running) = (Arc::clone(&go_on), Arc::new(Event::new()));
    let runs = Arc::clone(&running);
    let waits = pool
        .submit(move || {
            let other = inner.submit(move || {
                runs.set();
                held.wait().is_ok()
            });
            match other.unwrap().get() {
                Err(TaskError::Interrupted(task, interrupted)) => {
                    assert_eq!(reason(&interrupted), Why::Cancelled);
                    task
                }
                other => panic!("{other:?}"),
            }
        })
        .unwrap();
    running.wait().unwrap();
    assert!(matches!(waits.cancel(), Cancel::Interrupted(_)));
    let other = waits.get().unwrap();
    assert_eq!(other.state(), TaskState::Running);
    go_on.set();
    assert!(other.get().unwrap());
}

/// What a spare runs is stopped with the pool, like what a worker runs.
#[test]
fn a_spare_is_stopped_with_the_pool() {
    let pool = Arc::new(Pool::new(1));
    let (inner, running) = (Arc::clone(&pool), Arc::new(Event::new()));
    let runs = Arc::clone(&running);
    let outer = pool
        .submit(move || {
            let other = inner.submit(move || {
                runs.set();
                sleep(LONG).map_err(|interrupted| reason(&interrupted))
            });
            match other.unwrap().get() {
                // Whichever of the two was reached first.
                Ok(other) => other,
                Err(TaskError::Interrupted(task, interrupted)) => {
                    assert_eq!(reason(&interrupted), Why::ShutDown);
                    task.get().unwrap()
                }
                other => panic!("{other:?}"),
            }
        })
        .unwrap();
    running.wait().unwrap();
    assert_eq!((pool.stats().running, pool.stats().spares), (2, 1));
    assert_eq!(pool.shutdown_now(), 2);
    assert_eq!(outer.get().unwrap(), Err(Why::ShutDown));
    pool.join().unwrap();
}

/// Without spares, the last that does not wait is told so; one with a deadline may wait.
#[test]
fn the_last_one_does_not_wait() {
    let pool = Arc::new(Pool::builder().workers(1).spares(0).build().unwrap());
    let inner = Arc::clone(&pool);
    let outer = pool
        .submit(move || {
            let task = match inner.submit(|| 7).unwrap().get() {
                Err(stuck @ TaskError::Stuck(_)) => {
                    assert!(stuck.to_string().contains("no spare thread could be started"));
                    stuck.into_task().unwrap()
                }
                other => panic!("{other:?}"),
            };
            match task.get_timeout(Duration::from_millis(1)) {
                Err(TaskError::TimedOut(task)) => task,
                other => panic!("{other:?}"),
            }
        })
        .unwrap();
    assert_eq!(outer.get().unwrap().get().unwrap(), 7);
    let inner = Arc::clone(&pool);
    let outer = pool.submit(move || inner.submit(|| 7).unwrap().wait().is_ok()).unwrap();
    let panicked = outer.get().unwrap_err().to_string();
    assert!(panicked.contains("cannot wait for a task"), "{panicked}");
    // Nothing is counted wrong after it.
    assert_eq!(pool.submit(|| 8).unwrap().get().unwrap(), 8);
    pool.shutdown();
    pool.join().unwrap();
}

/// Other waits give the place up where they say so; also if they end in a panic, and inside of each other.
#[test]
fn a_task_that_blocks_gives_its_place_up() {
    let pool = Pool::new(1);
    let ready = Arc::new(Event::new());
    let waits = Arc::clone(&ready);
    let waits =
        pool.submit(move || pool::blocking(|| pool::blocking(|| waits.wait().is_ok()))).unwrap();
    let sets = Arc::clone(&ready);
    pool.submit(move || sets.set()).unwrap();
    assert!(waits.get().unwrap());
    let panics = pool.submit(|| pool::blocking(|| std::panic::resume_unwind(Box::new("so"))));
    let panicked: TaskError<()> = panics.unwrap().get().unwrap_err();
    assert_eq!(panicked.to_string(), "the task panicked: so");
    assert_eq!(pool::blocking(|| 1), 1);
    pool.wait_idle().unwrap();
    pool.shutdown();
    pool.join().unwrap();
    assert_eq!(pool.stats().spares, 0);
}

/// Many tasks wait for tasks and are cancelled at any moment: all come to an end, and so do the spares.
#[test]
fn tasks_that_wait_are_cancelled_at_any_moment() {
    let pool = Arc::new(Pool::new(2));
    let mut random = Random::new(3);
    for _ in 0..stress(2_000) {
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let inner = Arc::clone(&pool);
                let task = pool.submit(move || {
                    let other = inner.submit(quell::checkpoint).unwrap();
                    match other.get() {
                        Ok(result) => result.expect("nobody cancels it"),
                        Err(TaskError::Interrupted(..)) => {}
                        other => panic!("{other:?}"),
                    }
                });
                task.unwrap()
            })
            .collect();
        (0..random.below(200)).for_each(|_| std::hint::spin_loop());
        tasks[random.below(3) as usize].cancel();
        for task in tasks {
            match task.get() {
                Ok(()) | Err(TaskError::Failed(Failure::NeverRan(Why::Cancelled))) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    pool.wait_idle().unwrap();
    let stats = pool.stats();
    assert_eq!((stats.panicked, stats.submitted), (0, stats.finished()), "{stats}");
    pool.shutdown();
    pool.join().unwrap();
    assert_eq!(pool.stats().spares, 0);
}

#[test]
fn a_task_cannot_wait_for_its_own_pool_to_be_idle() {
    let pool = Arc::new(Pool::new(1));
    let inner = Arc::clone(&pool);
    let task = pool.submit(move || inner.wait_idle().is_ok()).unwrap();
    assert!(task.get().unwrap_err().to_string().contains("cannot wait that its own pool is idle"));
}
