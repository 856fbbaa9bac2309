//! Ten thousand threads blocked on one queue, all of them interrupted, beside a hundred.

use crate::harness::{Bench, Goal, Metric, Place, Plan, Side, machine};
use quell::{Event, Interrupt, Queue, thread::Builder};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

pub(super) fn benches() -> Vec<Bench> {
    vec![Bench {
        name: "crowd/10000".to_owned(),
        what: "threads blocked on one queue, all interrupted: time for each of 10,000, beside each of 100".to_owned(),
        place: Place::Free,
        at_most: 5,
        metrics: vec![Metric::time(Goal::Ratio(1.5))],
        sides: vec![
            Side::new("quell, 10,000", |plan: &Plan| vec![crowd(plan.part_of(10_000, 200))]),
            Side::new("quell, 100", |plan: &Plan| {
                // As many in all, so that the two runs are equally long.
                let times = plan.part_of(100, 2);
                vec![(0..times).map(|_| crowd(100)).sum::<f64>() / times as f64]
            }),
        ],
    }]
}

/// Nanoseconds for each thread, from the first interrupt until the last thread is back from its wait.
fn crowd(size: usize) -> f64 {
    let shared = Arc::new(Shared {
        queue: Queue::unbounded(),
        numbers: Mutex::new(Vec::with_capacity(size)),
        back: AtomicUsize::new(0),
        all_back: Event::new(),
    });
    let threads: Vec<_> = (0..size)
        .map(|_| {
            let shared = Arc::clone(&shared);
            let body = move || {
                shared.numbers.lock().unwrap().push(machine::thread_number());
                let interrupted = shared.queue.get().is_err();
                if shared.back.fetch_add(1, Ordering::AcqRel) + 1 == size {
                    shared.all_back.set();
                }
                interrupted
            };
            Builder::new().stack_size(64 * 1024).spawn(body).expect("a thread")
        })
        .collect();
    while shared.numbers.lock().unwrap().len() < size {
        std::thread::yield_now();
    }
    for &number in shared.numbers.lock().unwrap().iter() {
        machine::until_asleep(number);
    }
    let begin = Instant::now();
    for thread in &threads {
        thread.thread().interrupt(Interrupt::new(()));
    }
    shared.all_back.wait().unwrap();
    let took = begin.elapsed().as_nanos() as f64;
    for thread in threads {
        assert!(thread.join().unwrap(), "each was interrupted");
    }
    took / size as f64
}

struct Shared {
    queue: Queue<u8>,
    /// The threads' numbers in the system.
    numbers: Mutex<Vec<i32>>,
    back: AtomicUsize,
    all_back: Event,
}
