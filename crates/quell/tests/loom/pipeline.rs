//! Every interleaving of a pipeline's end: items that pass through, a stage that fails, two that fail at once, a stop at
//! any moment. A worker that nobody ends, or an end that nobody hears of, is a deadlock, which loom reports.

use crate::models;
use quell::pool::{Pipeline, PipelineError, Stage, Stages};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

fn pass(n: u32) -> Result<u32, Infallible> {
    Ok(n + 1)
}

fn stage(name: &str) -> Stage {
    Stage::named(name).backlog(1)
}

fn start(stages: Stages<u32, u32>) -> Arc<Pipeline<u32, u32>> {
    Arc::new(stages.start().expect("a model starts any number of threads"))
}

/// The end runs through the stages behind the last item.
#[test]
fn the_end_comes_behind_the_last_item() {
    models::bounded(2, || {
        let pipeline = start(Pipeline::stage(stage("a"), pass).then(stage("b"), pass));
        pipeline.put(1).unwrap();
        pipeline.close();
        assert_eq!(pipeline.iter().collect::<Vec<_>>(), [3]);
        pipeline.join().unwrap();
        assert!(pipeline.stats().iter().all(|stage| (stage.passed, stage.lost) == (1, 0)));
    });
}

/// Two workers of one stage: the one that ends last shuts the next queue, behind what the other has put.
#[test]
fn the_last_worker_of_a_stage_ends_the_next() {
    models::bounded(2, || {
        let pipeline = start(Pipeline::stage(stage("a").workers(2).backlog(2), pass));
        pipeline.put(1).unwrap();
        pipeline.put(2).unwrap();
        pipeline.close();
        let mut out: Vec<_> = pipeline.iter().collect();
        out.sort_unstable();
        assert_eq!(out, [2, 3]);
        pipeline.join().unwrap();
    });
}

/// A stage fails while the pipeline is stopped: one reason is kept, the first, and said once.
#[test]
fn a_failure_competes_with_a_stop() {
    models::bounded(2, || {
        let pipeline = start(Pipeline::stage(stage("a"), |_: u32| Err::<u32, _>("no")));
        let stopper = Arc::clone(&pipeline);
        let stopper = models::spawn(move || stopper.stop());
        let put = pipeline.put(1).is_ok();
        match pipeline.join() {
            Err(PipelineError::Failed { stage, error }) => {
                assert!(put);
                assert_eq!((&*stage, &*error.to_string()), ("a", "no"));
            }
            Err(PipelineError::Stopped) => {}
            other => panic!("{other:?}"),
        }
        stopper.join().unwrap();
        assert!(matches!(pipeline.join(), Err(PipelineError::Stopped)));
        assert!(pipeline.get().is_err());
    });
}

/// Two workers fail at once, while somebody waits for what comes out: one of the two is the reason, and who waits is told.
#[test]
fn two_failures_at_once() {
    models::bounded(2, || {
        let fails = |n: u32| Err::<u32, _>(n.to_string());
        let pipeline = start(Pipeline::stage(stage("a").workers(2).backlog(2), fails));
        let first = pipeline.put(1).is_ok();
        let second = pipeline.put(2).is_ok();
        assert!(first, "the queue had room, and nothing had failed");
        assert!(pipeline.get().is_err());
        match pipeline.join() {
            Err(PipelineError::Failed { error, .. }) => {
                let error = error.to_string();
                assert!(error == "1" || (second && error == "2"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        let lost: u64 = pipeline.stats().iter().map(|stage| stage.lost).sum();
        assert!((1..=1 + u64::from(second)).contains(&lost));
    });
}

/// Stopped while an item passes: it comes out, or is lost; and the last stage, which waits for room that nobody makes, ends.
#[test]
fn stopped_while_items_pass() {
    models::bounded(1, || {
        let pipeline = start(Pipeline::stage(stage("a"), pass).then(stage("b"), pass));
        let stopper = Arc::clone(&pipeline);
        let stopper = models::spawn(move || stopper.stop());
        let put = pipeline.put(1).is_ok();
        if let Ok(item) = pipeline.get() {
            assert_eq!((item, put), (3, true));
        }
        stopper.join().unwrap();
        assert!(matches!(pipeline.join(), Err(PipelineError::Stopped)));
    });
}

/// Stopped while it ends well: it has ended well, or was stopped, and says the same to everybody.
#[test]
fn stopped_while_it_ends() {
    models::bounded(2, || {
        let pipeline = start(Pipeline::stage(stage("a"), pass));
        let stopper = Arc::clone(&pipeline);
        let stopper = models::spawn(move || stopper.stop());
        pipeline.close();
        let first = pipeline.join().is_ok();
        stopper.join().unwrap();
        assert_eq!(pipeline.join().is_ok(), first);
    });
}

/// Stopped while a function waits inside a stage: the interrupt ends it.
#[test]
fn stopped_while_a_function_waits() {
    models::bounded(2, || {
        let waits = |_: u32| -> Result<u32, quell::WaitError> {
            quell::thread::sleep_with(&quell::Wait::new())?;
            Ok(0)
        };
        let pipeline = start(Pipeline::stage(stage("a"), waits));
        let put = pipeline.put(1).is_ok();
        assert!(put);
        pipeline.stop();
        assert!(matches!(pipeline.join(), Err(PipelineError::Stopped)));
    });
}

/// Stopped while two functions wait, each of which fails for that: neither is interrupted again for the other's failure.
#[test]
fn the_end_interrupts_once() {
    models::bounded(2, || {
        // Not asserted in the function: a panic there is the pipeline's.
        let again = Arc::new(AtomicBool::new(false));
        let winds_up = {
            let again = Arc::clone(&again);
            move |_: u32| {
                let ended = quell::thread::sleep_with(&quell::Wait::new());
                again.fetch_or(ended.is_ok() || quell::checkpoint().is_err(), SeqCst);
                Err::<u32, _>("stopped")
            }
        };
        let pipeline = start(Pipeline::stage(stage("a").workers(2).backlog(2), winds_up));
        assert!([1, 2].map(|n| pipeline.put(n).is_ok()) == [true, true]);
        pipeline.stop();
        assert!(matches!(pipeline.join(), Err(PipelineError::Stopped)));
        assert!(!again.load(SeqCst), "a second interrupt");
    });
}
