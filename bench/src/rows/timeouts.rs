//! A million deadlines of the monitor at once: armed and disarmed, and armed and left to fire.

use crate::harness::stats::tail;
use crate::harness::{Bench, Goal, Metric, Place, Plan, Side};
use quell::monitor;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const MILLION: usize = 1_000_000;

pub(super) fn benches() -> Vec<Bench> {
    vec![
        Bench {
            name: "timeouts/arm+disarm".to_owned(),
            what: "arm a million deadlines in no order, disarm them: time for one".to_owned(),
            place: Place::Free,
            at_most: 5,
            metrics: vec![Metric::time(Goal::AtMost(100.0))],
            sides: vec![Side::new("quell", arm_and_disarm)],
        },
        Bench {
            name: "timeouts/late".to_owned(),
            what: "a million armed deadlines within three seconds: how late each fires".to_owned(),
            place: Place::Free,
            at_most: 3,
            metrics: vec![
                Metric::named("p50", Goal::None),
                Metric::named("p99", Goal::AtMost(1e6)),
                Metric::named("longest", Goal::None),
            ],
            sides: vec![Side::new("quell", fire)],
        },
    ]
}

/// The same numbers in another order, without a generator's state: a multiplication modulo a power of two, by an odd
/// number, and the high bits of it.
fn scattered(i: usize, of: usize) -> u64 {
    let mixed = (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((u128::from(mixed) * of as u128) >> 64) as u64
}

fn arm_and_disarm(plan: &Plan) -> Vec<f64> {
    let count = plan.part_of(MILLION, 1000);
    let hour = Instant::now() + Duration::from_secs(3600);
    let begin = Instant::now();
    let timers: Vec<_> = (0..count)
        .map(|i| monitor::at(hour + Duration::from_micros(scattered(i, count)), || {}))
        .collect();
    let disarmed = timers.iter().filter(|timer| timer.cancel()).count();
    let took = begin.elapsed().as_nanos() as f64;
    assert_eq!(disarmed, count);
    vec![took / count as f64]
}

fn fire(plan: &Plan) -> Vec<f64> {
    let count = plan.part_of(MILLION, 1000);
    // As far apart as at full size; and late enough that all should be armed before the first one is due.
    let apart = Duration::from_micros(3);
    let first = Instant::now() + apart * u32::try_from(count).expect("a million at most");
    let late: Arc<Vec<AtomicU64>> = Arc::new((0..count).map(|_| AtomicU64::new(0)).collect());
    for i in 0..count {
        let after = apart * u32::try_from(scattered(i, count)).expect("below the count");
        let deadline = first + after;
        let late = Arc::clone(&late);
        // What was not armed in time is not the monitor's fault.
        let due = deadline.max(Instant::now());
        monitor::at(deadline, move || {
            let nanos = due.elapsed().as_nanos();
            // Never 0, which stands for "not yet".
            late[i].store(u64::try_from(nanos).unwrap_or(u64::MAX).max(1), Ordering::Release);
        });
    }
    let end = first + apart * u32::try_from(count).expect("a million at most");
    let given_up = end + Duration::from_secs(60);
    quell::sleep_until(end).unwrap();
    let times = late.iter().map(|late| {
        loop {
            match late.load(Ordering::Acquire) {
                0 => assert!(Instant::now() < given_up, "all of them fire"),
                nanos => return nanos as f64,
            }
            std::thread::yield_now();
        }
    });
    tail(times.collect())
}
