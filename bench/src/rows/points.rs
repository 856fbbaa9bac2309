//! What it costs to be interruptible where nothing is pending: checkpoints and masks, beside a loop without them.

use crate::harness::{ANY, Bench, Goal, Metric, Place, Side};
use std::hint::black_box;

pub(super) fn benches() -> Vec<Bench> {
    let bench = |name: &str, what: &str, most, work: fn(u64)| Bench {
        name: name.to_owned(),
        what: what.to_owned(),
        place: Place::Pinned,
        at_most: ANY,
        metrics: vec![Metric::time(Goal::Above(most))],
        sides: vec![
            // Once for all: the thread knows itself, as it does from its first wait on.
            Side::single("quell", move |count| {
                quell::current();
                work(count);
            }),
            Side::single("empty loop", empty),
        ],
    };
    vec![
        bench("checkpoint", "`checkpoint()`, nothing pending, above an empty loop", 1.0, |count| {
            let mut passed = 0;
            for i in 0..count {
                quell::checkpoint().unwrap();
                passed += black_box(i) & 1;
            }
            assert_eq!(passed, count / 2);
        }),
        bench("mask", "`mask()`, then its guard's `leave()`, above an empty loop", 3.0, |count| {
            let mut passed = 0;
            for i in 0..count {
                let mask = quell::mask();
                passed += black_box(i) & 1;
                mask.leave().unwrap();
            }
            assert_eq!(passed, count / 2);
        }),
    ]
}

fn empty(count: u64) {
    let mut passed = 0;
    for i in 0..count {
        passed += black_box(i) & 1;
    }
    assert_eq!(passed, count / 2);
}
