//! Barrier: of one thread, and of two and four that meet again and again.

use crate::harness::{ANY, Bench, Goal, Metric, Place, Side};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Where so many threads meet.
trait Meeting: Sync + 'static {
    const NAME: &'static str;

    fn new(parties: u32) -> Self;

    fn wait(&self);
}

impl Meeting for quell::Barrier {
    const NAME: &'static str = "quell";

    fn new(parties: u32) -> Self {
        quell::Barrier::new(parties)
    }

    #[inline]
    fn wait(&self) {
        quell::Barrier::wait(self).unwrap();
    }
}

impl Meeting for std::sync::Barrier {
    const NAME: &'static str = "std";

    fn new(parties: u32) -> Self {
        std::sync::Barrier::new(parties as usize)
    }

    #[inline]
    fn wait(&self) {
        std::sync::Barrier::wait(self);
    }
}

/// As std's is written, with parking_lot's mutex and condition variable.
struct ParkingLot {
    parties: u32,
    /// How many are here, and how often they have met.
    state: parking_lot::Mutex<(u32, u64)>,
    met: parking_lot::Condvar,
}

impl Meeting for ParkingLot {
    const NAME: &'static str = "parking_lot";

    fn new(parties: u32) -> Self {
        ParkingLot {
            parties,
            state: parking_lot::Mutex::new((0, 0)),
            met: parking_lot::Condvar::new(),
        }
    }

    #[inline]
    fn wait(&self) {
        let mut state = self.state.lock();
        let time = state.1;
        state.0 += 1;
        if state.0 == self.parties {
            *state = (0, time + 1);
            self.met.notify_all();
            return;
        }
        while state.1 == time {
            self.met.wait(&mut state);
        }
    }
}

/// tokio's barrier, at which a thread can wait only by running a future to its end.
impl Meeting for tokio::sync::Barrier {
    const NAME: &'static str = "tokio";

    fn new(parties: u32) -> Self {
        tokio::sync::Barrier::new(parties as usize)
    }

    #[inline]
    fn wait(&self) {
        pollster::block_on(tokio::sync::Barrier::wait(self));
    }
}

pub(super) fn benches() -> Vec<Bench> {
    let mut benches = vec![Bench {
        name: "barrier/alone".to_owned(),
        what: "a wait at a barrier of one thread".to_owned(),
        place: Place::Pinned,
        at_most: ANY,
        metrics: vec![Metric::time(Goal::Ratio(1.0))],
        sides: vec![
            alone::<quell::Barrier>(),
            alone::<std::sync::Barrier>(),
            alone::<ParkingLot>(),
            alone::<tokio::sync::Barrier>(),
        ],
    }];
    for parties in [2, 4] {
        benches.push(Bench {
            name: format!("barrier/{parties}"),
            what: format!("{parties} threads meet: time from one meeting to the next"),
            place: Place::Free,
            at_most: ANY,
            metrics: vec![Metric::time(Goal::Ratio(1.0))],
            sides: vec![
                meet::<quell::Barrier>(parties),
                meet::<std::sync::Barrier>(parties),
                meet::<ParkingLot>(parties),
                meet::<tokio::sync::Barrier>(parties),
            ],
        });
    }
    benches
}

fn alone<M: Meeting>() -> Side {
    let meeting = M::new(1);
    Side::single(M::NAME, move |count| {
        let meeting = black_box(&meeting);
        (0..count).for_each(|_| meeting.wait());
    })
}

fn meet<M: Meeting>(parties: u32) -> Side {
    Side::several(M::NAME, move |count| {
        let (meeting, arrivals) = (M::new(parties), AtomicU64::new(0));
        let begin = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..parties {
                scope.spawn(|| {
                    for round in 1..=count {
                        arrivals.fetch_add(1, Relaxed);
                        meeting.wait();
                        // The barrier orders it.
                        let all = arrivals.load(Relaxed);
                        assert!(
                            all >= round * u64::from(parties),
                            "nobody left before all were here"
                        );
                    }
                });
            }
        });
        begin.elapsed().as_nanos() as f64
    })
}
