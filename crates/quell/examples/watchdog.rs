//! A worker that is watched: when it gives no sign of life for too long it is interrupted, cleans up, and is started
//! again. A second watch only tells.
//!
//!     cargo run -p quell --example watchdog

use quell::{Interrupted, LimitError, Queue, Watchdog, spawn};
use std::sync::Arc;
use std::time::Duration;

/// Works through jobs, of which some hang.
fn work(jobs: &Queue<&'static str>, done: &Queue<String>) -> Result<(), LimitError<Interrupted>> {
    let watched = Watchdog::every(Duration::from_millis(100)).named("worker").enter();
    let result = (|| {
        while let Ok(job) = jobs.try_get() {
            watched.beat();
            if job == "hangs" {
                // Waits for something that never comes. The interrupt finds it here.
                Queue::<()>::unbounded().get().map_err(|error| match error {
                    quell::GetError::Interrupted(interrupted) => interrupted,
                    other => unreachable!("{other}"),
                })?;
            }
            done.put(job.to_owned()).unwrap();
        }
        Ok(())
    })();
    watched.finish(result)
}

pub(crate) fn main() {
    let (jobs, done) = (Arc::new(Queue::unbounded()), Arc::new(Queue::unbounded()));
    for job in ["first", "hangs", "second", "hangs", "third"] {
        jobs.put(job).unwrap();
    }
    let mut restarts = 0;
    loop {
        let (jobs, done) = (Arc::clone(&jobs), Arc::clone(&done));
        match spawn(move || work(&jobs, &done)).join().unwrap() {
            Ok(()) => break,
            Err(LimitError::Reached(reached, interrupted)) => {
                println!("{interrupted}; {} is started again", reached.name().unwrap());
                restarts += 1;
            }
            Err(LimitError::Failed(other)) => panic!("{other}"),
        }
    }
    let finished: Vec<String> = done.try_iter().collect();
    println!("done: {}", finished.join(", "));
    assert_eq!((restarts, finished), (2, ["first", "second", "third"].map(String::from).to_vec()));

    // The same for a thread that must not be interrupted: somebody is told, again and again, and decides.
    let told = Arc::new(Queue::unbounded());
    let tell = Arc::clone(&told);
    let watch = Watchdog::every(Duration::from_millis(10)).named("batch").watch(move |silence| {
        tell.put(format!("{} is silent, told {}", silence.name().unwrap(), silence.times()))
            .unwrap();
        silence.times() < 2
    });
    println!("{}", told.get().unwrap());
    println!("{}", told.get().unwrap());
    drop(watch);
}
