//! Event: alone, and from hand to hand between two threads.

use super::turns::hand_off;
use crate::harness::{ANY, Bench, Goal, Metric, Place, Side};
use event_listener::Listener;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// A flag that threads wait for.
trait Flag: Sync + 'static {
    const NAME: &'static str;

    fn new() -> Self;

    fn set(&self);

    fn clear(&self);

    fn wait(&self);
}

impl Flag for quell::Event {
    const NAME: &'static str = "quell";

    fn new() -> Self {
        quell::Event::new()
    }

    #[inline]
    fn set(&self) {
        quell::Event::set(self);
    }

    #[inline]
    fn clear(&self) {
        quell::Event::clear(self);
    }

    #[inline]
    fn wait(&self) {
        quell::Event::wait(self).unwrap();
    }
}

/// A mutex and a condition variable, as one writes an event with them.
struct Standard {
    set: std::sync::Mutex<bool>,
    changed: std::sync::Condvar,
}

impl Flag for Standard {
    const NAME: &'static str = "std";

    fn new() -> Self {
        Standard { set: std::sync::Mutex::new(false), changed: std::sync::Condvar::new() }
    }

    #[inline]
    fn set(&self) {
        *self.set.lock().unwrap() = true;
        self.changed.notify_all();
    }

    #[inline]
    fn clear(&self) {
        *self.set.lock().unwrap() = false;
    }

    #[inline]
    fn wait(&self) {
        let mut set = self.set.lock().unwrap();
        while !*set {
            set = self.changed.wait(set).unwrap();
        }
    }
}

/// The same with parking_lot's.
struct ParkingLot {
    set: parking_lot::Mutex<bool>,
    changed: parking_lot::Condvar,
}

impl Flag for ParkingLot {
    const NAME: &'static str = "parking_lot";

    fn new() -> Self {
        ParkingLot { set: parking_lot::Mutex::new(false), changed: parking_lot::Condvar::new() }
    }

    #[inline]
    fn set(&self) {
        *self.set.lock() = true;
        self.changed.notify_all();
    }

    #[inline]
    fn clear(&self) {
        *self.set.lock() = false;
    }

    #[inline]
    fn wait(&self) {
        let mut set = self.set.lock();
        while !*set {
            self.changed.wait(&mut set);
        }
    }
}

/// A flag of our own and event-listener's event for whoever finds it clear, as its documentation shows.
struct Listened {
    set: AtomicBool,
    event: event_listener::Event,
}

impl Flag for Listened {
    const NAME: &'static str = "event-listener";

    fn new() -> Self {
        Listened { set: AtomicBool::new(false), event: event_listener::Event::new() }
    }

    #[inline]
    fn set(&self) {
        self.set.store(true, SeqCst);
        self.event.notify(usize::MAX);
    }

    #[inline]
    fn clear(&self) {
        self.set.store(false, SeqCst);
    }

    #[inline]
    fn wait(&self) {
        while !self.set.load(SeqCst) {
            let listener = self.event.listen();
            if self.set.load(SeqCst) {
                return;
            }
            listener.wait();
        }
    }
}

/// The same with tokio's `Notify`, which a thread can wait for only by running a future to its end.
struct Tokio {
    set: AtomicBool,
    changed: tokio::sync::Notify,
}

impl Flag for Tokio {
    const NAME: &'static str = "tokio";

    fn new() -> Self {
        Tokio { set: AtomicBool::new(false), changed: tokio::sync::Notify::new() }
    }

    #[inline]
    fn set(&self) {
        self.set.store(true, SeqCst);
        self.changed.notify_waiters();
    }

    #[inline]
    fn clear(&self) {
        self.set.store(false, SeqCst);
    }

    #[inline]
    fn wait(&self) {
        while !self.set.load(SeqCst) {
            let mut notified = std::pin::pin!(self.changed.notified());
            notified.as_mut().enable();
            if self.set.load(SeqCst) {
                return;
            }
            pollster::block_on(notified);
        }
    }
}

pub(super) fn benches() -> Vec<Bench> {
    let bench = |name: &str, what: &str, place, sides| Bench {
        name: name.to_owned(),
        what: what.to_owned(),
        place,
        at_most: ANY,
        metrics: vec![Metric::time(Goal::Ratio(1.0))],
        sides,
    };
    vec![
        bench(
            "event/alone",
            "set, wait, clear, by one thread",
            Place::Pinned,
            vec![
                alone::<quell::Event>(),
                alone::<Standard>(),
                alone::<ParkingLot>(),
                alone::<Listened>(),
                alone::<Tokio>(),
            ],
        ),
        bench(
            "event/hand-off",
            "two threads take turns: there and back again through two events",
            Place::Free,
            vec![
                turns::<quell::Event>(),
                turns::<Standard>(),
                turns::<ParkingLot>(),
                turns::<Listened>(),
                turns::<Tokio>(),
            ],
        ),
    ]
}

fn alone<F: Flag>() -> Side {
    let flag = F::new();
    Side::single(F::NAME, move |count| {
        let flag = black_box(&flag);
        for _ in 0..count {
            flag.set();
            flag.wait();
            flag.clear();
        }
    })
}

fn turns<F: Flag>() -> Side {
    let wait = |flag: &F| {
        flag.wait();
        flag.clear();
    };
    hand_off(F::NAME, || (F::new(), F::new()), wait, F::set)
}
