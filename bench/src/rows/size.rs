//! Size, and what is allocated in a wait.

use crate::harness::allocations::allocations;
use crate::harness::{ANY, Bench, Goal, Metric, Place, Side, Unit};
use quell::{Event, Lock, Queue, Wait};
use std::time::Duration;

pub(super) fn benches() -> Vec<Bench> {
    let size = |name: &str, what: &str, goal, sides| Bench {
        name: name.to_owned(),
        what: what.to_owned(),
        place: Place::Free,
        at_most: ANY,
        metrics: vec![Metric { name: "", unit: Unit::Bytes, goal }],
        sides,
    };
    let mut benches = vec![
        size(
            "size/lock",
            "a lock around nothing",
            Goal::AtMost(16.0),
            vec![
                bytes::<quell::Lock<()>>("quell"),
                bytes::<std::sync::Mutex<()>>("std"),
                bytes::<parking_lot::Mutex<()>>("parking_lot"),
            ],
        ),
        size(
            "size/condition",
            "a condition variable",
            Goal::None,
            vec![
                bytes::<quell::Condition>("quell"),
                bytes::<std::sync::Condvar>("std"),
                bytes::<parking_lot::Condvar>("parking_lot"),
            ],
        ),
        size(
            "size/event",
            "an event",
            Goal::None,
            vec![
                bytes::<quell::Event>("quell"),
                bytes::<(std::sync::Mutex<bool>, std::sync::Condvar)>("std"),
                bytes::<(parking_lot::Mutex<bool>, parking_lot::Condvar)>("parking_lot"),
                bytes::<event_listener::Event>("event-listener"),
                bytes::<tokio::sync::Notify>("tokio"),
            ],
        ),
    ];
    type Ends = fn(&Wait) -> bool;
    let waits: [(&str, &str, Ends); 4] = [
        ("allocations/lock", "allocations in a wait for a lock that times out", |wait| {
            let lock = Lock::new(());
            let _held = lock.lock().unwrap();
            lock.lock_with(wait).is_err()
        }),
        ("allocations/event", "allocations in a wait for an event that times out", |wait| {
            Event::new().wait_with(wait).is_err()
        }),
        ("allocations/queue", "allocations in a wait for an item that times out", |wait| {
            Queue::<u8>::unbounded().get_with(wait).is_err()
        }),
        ("allocations/sleep", "allocations in a sleep that is interrupted", |wait| {
            quell::thread::sleep_with(wait).is_err()
        }),
    ];
    for (name, what, ended) in waits {
        benches.push(Bench {
            name: name.to_owned(),
            what: what.to_owned(),
            place: Place::Free,
            at_most: ANY,
            metrics: vec![Metric { name: "", unit: Unit::Count, goal: Goal::AtMost(0.0) }],
            sides: vec![Side::new("quell", move |_| {
                let me = quell::current();
                let sent = name.ends_with("sleep").then(|| me.interrupt(quell::Interrupt::new(())));
                let wait = Wait::new().timeout(Duration::from_micros(100));
                let (ended, count) = allocations(|| ended(&wait));
                assert!(ended, "{name}: it ended as it was to");
                assert!(sent.is_none_or(|sent| sent.state() == quell::Outcome::Delivered));
                vec![count as f64]
            })],
        });
    }
    benches
}

fn bytes<T>(name: &'static str) -> Side {
    Side::new(name, |_| vec![size_of::<T>() as f64])
}
