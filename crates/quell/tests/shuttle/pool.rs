//! Large random schedules of a pool: several workers and submitters, random cancels, a shut-down at any moment.
//!
//! `QUELL_SCHEDULES` says how many schedules; a failing one prints how to repeat it.

use crate::schedules::check;
use quell::pool::{Failure, Pipeline, Pool, Stage, SubmitError, TaskError, TaskInterrupted};
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Every task ends once; only what was cancelled, or stopped, is interrupted.
fn tasks(stop: bool) {
    const TASKS: u64 = 4;
    let pool = Arc::new(
        Pool::builder()
            .workers(2)
            .backlog(2)
            .build()
            .expect("a model starts any number of threads"),
    );
    let ran = Arc::new(AtomicU64::new(0));
    let submitters: Vec<_> = (0..2)
        .map(|_| {
            let (pool, ran) = (Arc::clone(&pool), Arc::clone(&ran));
            thread::spawn(move || {
                let (mut done, mut never, mut refused) = (0, 0, 0);
                for _ in 0..TASKS {
                    let cancels = thread_rng().gen_bool(0.5);
                    let count = Arc::clone(&ran);
                    let submitted = pool.submit(move || {
                        count.fetch_add(1, SeqCst);
                        thread::yield_now();
                        quell::checkpoint()
                    });
                    let task = match submitted {
                        Ok(task) => task,
                        Err(SubmitError::ShutDown(_)) => {
                            refused += 1;
                            continue;
                        }
                        Err(other) => panic!("{other:?}"),
                    };
                    if cancels {
                        task.cancel();
                    }
                    match task.get() {
                        Ok(Ok(())) => done += 1,
                        Ok(Err(interrupted)) => {
                            assert!(cancels || stop);
                            assert!(interrupted.downcast_ref::<TaskInterrupted>().is_some());
                            done += 1;
                        }
                        Err(TaskError::Failed(Failure::NeverRan(_))) => {
                            assert!(cancels || stop);
                            never += 1;
                        }
                        other => panic!("{other:?}"),
                    }
                }
                assert_eq!(done + never + refused, TASKS);
                done
            })
        })
        .collect();
    if stop {
        thread::yield_now();
        pool.shutdown_now();
    }
    let done: u64 = submitters.into_iter().map(|submitter| submitter.join().unwrap()).sum();
    pool.shutdown();
    pool.join().unwrap();
    assert_eq!(ran.load(SeqCst), done);
    let stats = pool.stats();
    assert_eq!(stats.submitted, stats.finished());
}

#[test]
fn tasks_are_submitted_and_cancelled() {
    check(2_500, || tasks(false));
}

#[test]
fn a_pool_is_stopped_at_any_moment() {
    check(2_500, || tasks(true));
}

/// What goes in comes out once, or the pipeline was stopped; it ends in any case.
#[test]
fn a_pipeline_is_closed_or_stopped() {
    check(2_500, || {
        let pass = |n: u64| {
            thread::yield_now();
            Ok::<_, std::convert::Infallible>(n)
        };
        let pipeline = Pipeline::stage(Stage::named("a").workers(2).backlog(1), pass)
            .then(Stage::named("b").backlog(1), pass)
            .start()
            .unwrap();
        let pipeline = Arc::new(pipeline);
        let stop = thread_rng().gen_bool(0.5);
        let putter = {
            let pipeline = Arc::clone(&pipeline);
            thread::spawn(move || {
                for n in 0..3 {
                    if pipeline.put(n).is_err() {
                        assert!(stop);
                        break;
                    }
                }
                if stop { pipeline.stop() } else { pipeline.close() }
            })
        };
        let mut out: Vec<u64> = pipeline.iter().collect();
        putter.join().unwrap();
        assert_eq!(pipeline.join().is_err(), stop);
        out.sort_unstable();
        if stop {
            out.dedup();
            assert!(out.iter().all(|n| *n < 3));
        } else {
            assert_eq!(out, [0, 1, 2]);
        }
    });
}
