//! Pipelines: what goes in comes out, errors and the end run through all stages, and nothing hangs.

#![cfg(not(any(quell_loom, quell_shuttle)))]

mod common;

use common::stress;
use quell::pool::{Pipeline, PipelineError, PipelineStopped, Stage};
use quell::{
    Event, GetError, Interrupt, Interrupted, Lock, PutError, Wait, WaitError, sleep, thread,
};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);

fn ok<T>(value: T) -> Result<T, Infallible> {
    Ok(value)
}

#[test]
fn in_order_with_one_worker_each() {
    let pipeline = Pipeline::stage(Stage::named("double").backlog(2), |n: u32| ok(n * 2))
        .then(Stage::named("text").backlog(1), |n| ok(n.to_string()))
        .start()
        .unwrap();
    thread::scope(|s| {
        s.spawn(|| {
            (0..100).for_each(|n| pipeline.put(n).unwrap());
            pipeline.close();
        });
        let out: Vec<String> = pipeline.iter().collect();
        assert_eq!(out, (0..100).map(|n| (2 * n).to_string()).collect::<Vec<_>>());
    });
    pipeline.join().unwrap();
    let stats = pipeline.stats();
    assert_eq!(stats.len(), 2);
    assert!(stats.iter().all(|stage| (stage.passed, stage.lost, stage.queued) == (100, 0, 0)));
    assert_eq!((stats[0].name.as_str(), stats[1].workers), ("double", 1));
}

/// With several workers nothing is lost or doubled, however often.
#[test]
fn nothing_is_lost_or_doubled() {
    for _ in 0..stress(30) {
        let pipeline = Pipeline::stage(Stage::named("a").workers(3).backlog(4), ok::<u64>)
            .then(Stage::named("b").workers(2).backlog(1), ok)
            .then(Stage::named("c").backlog(2), ok)
            .start()
            .unwrap();
        thread::scope(|s| {
            s.spawn(|| {
                (0..200).for_each(|n| pipeline.put(n).unwrap());
                pipeline.close();
            });
            let mut out: Vec<u64> = pipeline.iter().collect();
            out.sort_unstable();
            assert_eq!(out, (0..200).collect::<Vec<_>>());
        });
        pipeline.join().unwrap();
    }
}

#[test]
fn an_error_ends_everything_and_says_where() {
    let pipeline = Pipeline::stage(Stage::named("first"), |n: u32| ok(n))
        .then(Stage::named("second").workers(2), |n| match n {
            3 => Err("three"),
            n => Ok(n),
        })
        .then(Stage::named("third"), |n| sleep(LONG).map(|()| n))
        .start()
        .unwrap();
    // The third stage sleeps and fills up; the error gets through to all all the same.
    let refused = (1..).find_map(|n| pipeline.put(n).err());
    assert!(matches!(refused, Some(PutError::ShutDown(_))));
    assert!(matches!(pipeline.get(), Err(GetError::ShutDown)));
    match pipeline.join() {
        Err(error @ PipelineError::Failed { .. }) => {
            assert_eq!(error.to_string(), "stage \"second\" failed: three");
        }
        other => panic!("{other:?}"),
    }
    // It has been told; again there is only that it ended early.
    assert!(matches!(pipeline.join(), Err(PipelineError::Stopped)));
}

#[test]
fn a_panic_ends_everything_and_says_where() {
    let pipeline = Pipeline::stage(Stage::named("bad"), |_: u32| -> Result<u32, Infallible> {
        std::panic::resume_unwind(Box::new("on purpose"))
    })
    .start()
    .unwrap();
    pipeline.put(1).unwrap();
    let error = pipeline.join().unwrap_err();
    assert_eq!(error.to_string(), "stage \"bad\" panicked: on purpose");
    assert_eq!(pipeline.stats()[0].lost, 1);
}

/// A failure is what it was, though the pipeline is stopped while it still ends.
#[test]
fn the_first_reason_is_kept() {
    let (release, held) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let pipeline = {
        let (release, held) = (Arc::clone(&release), Arc::clone(&held));
        Pipeline::stage(Stage::named("two").workers(2), move |n: u32| match n {
            0 => {
                held.set();
                release.wait_with(&Wait::new().shielded()).unwrap();
                Err("much later")
            }
            _ => Err::<u32, _>("first"),
        })
        .start()
        .unwrap()
    };
    pipeline.put(0).unwrap();
    held.wait().unwrap();
    pipeline.put(1).unwrap();
    // The failure shuts everything down; the other function does not end for that.
    assert!(pipeline.get().is_err());
    pipeline.stop();
    release.set();
    assert_eq!(pipeline.join().unwrap_err().to_string(), "stage \"two\" failed: first");
}

/// A function that was told to end, and winds up, is not told again by the others that end for the same reason.
#[test]
fn the_end_interrupts_once() {
    for _ in 0..stress(30) {
        let threads = Arc::new(Lock::new(Vec::new()));
        let (told, tell) = std::sync::mpsc::channel();
        let pipeline = {
            let threads = Arc::clone(&threads);
            Pipeline::stage(Stage::named("three").workers(3), move |n: u32| {
                threads.lock().unwrap().push(quell::current());
                let slept = sleep(LONG).map(|()| n);
                if n == 0 {
                    // The others have failed, each by its own interrupt.
                    let me = quell::current();
                    let others = || threads.lock_uninterruptible().clone();
                    while others().iter().any(|thread| *thread != me && thread.is_alive()) {
                        std::thread::yield_now();
                    }
                    told.send(quell::checkpoint().is_ok()).unwrap();
                }
                slept
            })
            .start()
            .unwrap()
        };
        (0..3).for_each(|n| pipeline.put(n).unwrap());
        while threads.lock().unwrap().len() < 3 {
            std::thread::yield_now();
        }
        pipeline.stop();
        assert!(tell.recv().unwrap(), "interrupted a second time");
        assert!(matches!(pipeline.join(), Err(PipelineError::Stopped)));
    }
}

#[test]
fn stopped_while_a_function_runs() {
    let (told, tell) = std::sync::mpsc::channel();
    let pipeline =
        Pipeline::stage(Stage::named("sleeps"), move |started: std::sync::mpsc::Sender<()>| {
            started.send(()).unwrap();
            let slept = sleep(LONG);
            told.send(slept.as_ref().unwrap_err().downcast_ref::<PipelineStopped>().is_some())
                .unwrap();
            slept
        })
        .start()
        .unwrap();
    let (started, begun) = std::sync::mpsc::channel();
    pipeline.put(started).unwrap();
    begun.recv().unwrap();
    pipeline.stop();
    assert!(matches!(pipeline.join(), Err(PipelineError::Stopped)));
    assert!(tell.recv().unwrap());
}

/// Items in the queues are dropped, once, and the threads end.
#[test]
fn dropped_with_items_in_it() {
    struct Counted(Arc<AtomicU64>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    for _ in 0..stress(50) {
        let (dropped, mut put) = (Arc::new(AtomicU64::new(0)), 0);
        let pipeline = Pipeline::stage(Stage::named("pass").backlog(3), ok::<Counted>)
            .then(Stage::named("hold").backlog(2), |item| sleep(LONG).map(|()| item))
            .start()
            .unwrap();
        while put < 3 {
            pipeline.put(Counted(Arc::clone(&dropped))).unwrap();
            put += 1;
        }
        drop(pipeline);
        while dropped.load(SeqCst) < put {
            std::thread::yield_now();
        }
    }
}

#[test]
fn waits_at_both_ends_are_interruption_points() {
    let pipeline = Pipeline::stage(Stage::named("stuck").backlog(1), |n: u32| {
        sleep(LONG).map(|()| n).map_err(|interrupted: Interrupted| interrupted)
    })
    .start()
    .unwrap();
    // One in the function, one before it.
    pipeline.put(1).unwrap();
    pipeline.put(2).unwrap();
    let me = quell::current();
    me.interrupt(Interrupt::new(()));
    loop {
        match pipeline.put(3) {
            // The worker had not taken the first when the second was put.
            Ok(()) => {}
            Err(PutError::Interrupted(3, _)) => break,
            other => panic!("{other:?}"),
        }
    }
    me.interrupt(Interrupt::new(()));
    assert!(matches!(pipeline.get(), Err(GetError::Interrupted(_))));
    let timed = pipeline.join_with(&Wait::new().timeout(Duration::from_millis(1)));
    assert!(matches!(timed, Err(PipelineError::Wait(WaitError::TimedOut))));
    pipeline.stop();
    assert!(matches!(pipeline.join(), Err(PipelineError::Stopped)));
}

#[test]
fn awaited_at_both_ends() {
    let pipeline =
        Pipeline::stage(Stage::named("double").backlog(1), |n: u32| ok(n * 2)).start().unwrap();
    let sum = smol::block_on(async {
        let put = async {
            for n in 0..10 {
                pipeline.put_async(n).await.unwrap();
            }
            pipeline.close();
        };
        let get = async {
            let mut sum = 0;
            while let Ok(n) = pipeline.get_async().await {
                sum += n;
            }
            sum
        };
        let ((), sum) = smol::future::zip(put, get).await;
        pipeline.join_async().await.unwrap();
        sum
    });
    assert_eq!(sum, 90);
}
