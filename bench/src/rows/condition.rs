//! Condition: a notification that nobody waits for, and two threads that take turns.

use crate::harness::{ANY, Bench, Goal, Metric, Place, Side};
use std::hint::black_box;
use std::time::Instant;

/// Whose turn it is, as a number under a lock, and a condition for its changes.
trait Turn: Sync + 'static {
    const NAME: &'static str;

    fn new() -> Self;

    /// Waits until the number is `from`, makes it `to`, and notifies.
    fn pass(&self, from: u64, to: u64);

    /// Notifies under the lock.
    fn notify(&self);
}

struct Quell {
    turn: quell::Lock<u64>,
    changed: quell::Condition,
}

impl Turn for Quell {
    const NAME: &'static str = "quell";

    fn new() -> Self {
        Quell { turn: quell::Lock::new(0), changed: quell::Condition::new() }
    }

    #[inline]
    fn pass(&self, from: u64, to: u64) {
        let mut turn = self.turn.lock().unwrap();
        while *turn != from {
            self.changed.wait(&mut turn).unwrap();
        }
        *turn = to;
        self.changed.notify_one();
    }

    #[inline]
    fn notify(&self) {
        *self.turn.lock().unwrap() += 1;
        self.changed.notify_one();
    }
}

struct Standard {
    turn: std::sync::Mutex<u64>,
    changed: std::sync::Condvar,
}

impl Turn for Standard {
    const NAME: &'static str = "std";

    fn new() -> Self {
        Standard { turn: std::sync::Mutex::new(0), changed: std::sync::Condvar::new() }
    }

    #[inline]
    fn pass(&self, from: u64, to: u64) {
        let mut turn = self.turn.lock().unwrap();
        while *turn != from {
            turn = self.changed.wait(turn).unwrap();
        }
        *turn = to;
        self.changed.notify_one();
    }

    #[inline]
    fn notify(&self) {
        *self.turn.lock().unwrap() += 1;
        self.changed.notify_one();
    }
}

struct ParkingLot {
    turn: parking_lot::Mutex<u64>,
    changed: parking_lot::Condvar,
}

impl Turn for ParkingLot {
    const NAME: &'static str = "parking_lot";

    fn new() -> Self {
        ParkingLot { turn: parking_lot::Mutex::new(0), changed: parking_lot::Condvar::new() }
    }

    #[inline]
    fn pass(&self, from: u64, to: u64) {
        let mut turn = self.turn.lock();
        while *turn != from {
            self.changed.wait(&mut turn);
        }
        *turn = to;
        self.changed.notify_one();
    }

    #[inline]
    fn notify(&self) {
        *self.turn.lock() += 1;
        self.changed.notify_one();
    }
}

pub(super) fn benches() -> Vec<Bench> {
    vec![
        Bench {
            name: "condition/alone".to_owned(),
            what: "lock, add 1, notify one, unlock; nobody waits".to_owned(),
            place: Place::Pinned,
            at_most: ANY,
            metrics: vec![Metric::time(Goal::Ratio(1.0))],
            sides: vec![alone::<Quell>(), alone::<Standard>(), alone::<ParkingLot>()],
        },
        Bench {
            name: "condition/hand-off".to_owned(),
            what: "two threads take turns: there and back again through one condition".to_owned(),
            place: Place::Free,
            at_most: ANY,
            metrics: vec![Metric::time(Goal::Ratio(1.0))],
            sides: vec![turns::<Quell>(), turns::<Standard>(), turns::<ParkingLot>()],
        },
    ]
}

fn alone<T: Turn>() -> Side {
    let turn = T::new();
    Side::single(T::NAME, move |count| {
        let turn = black_box(&turn);
        (0..count).for_each(|_| turn.notify());
    })
}

fn turns<T: Turn>() -> Side {
    Side::several(T::NAME, |count| {
        let turn = T::new();
        let begin = Instant::now();
        std::thread::scope(|scope| {
            // Each number is seen by the one that waits for it, or nobody ever comes to an end.
            scope.spawn(|| (0..count).for_each(|i| turn.pass(2 * i, 2 * i + 1)));
            (0..count).for_each(|i| turn.pass(2 * i + 1, 2 * i + 2));
        });
        begin.elapsed().as_nanos() as f64
    })
}
