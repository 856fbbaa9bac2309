//! Semaphore: alone, and from hand to hand between two threads.

use super::turns::hand_off;
use crate::harness::{ANY, Bench, Goal, Metric, Place, Side};
use event_listener::Listener;
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// A number of permits.
trait Permits: Sync + 'static {
    const NAME: &'static str;

    fn new(count: u32) -> Self;

    fn acquire(&self);

    fn release(&self);
}

impl Permits for quell::Semaphore {
    const NAME: &'static str = "quell";

    fn new(count: u32) -> Self {
        quell::Semaphore::new(count)
    }

    #[inline]
    fn acquire(&self) {
        quell::Semaphore::acquire(self).unwrap().forget();
    }

    #[inline]
    fn release(&self) {
        quell::Semaphore::release(self, 1);
    }
}

/// A mutex and a condition variable, as one writes a semaphore with them.
struct Standard {
    count: std::sync::Mutex<u32>,
    more: std::sync::Condvar,
}

impl Permits for Standard {
    const NAME: &'static str = "std";

    fn new(count: u32) -> Self {
        Standard { count: std::sync::Mutex::new(count), more: std::sync::Condvar::new() }
    }

    #[inline]
    fn acquire(&self) {
        let mut count = self.count.lock().unwrap();
        while *count == 0 {
            count = self.more.wait(count).unwrap();
        }
        *count -= 1;
    }

    #[inline]
    fn release(&self) {
        *self.count.lock().unwrap() += 1;
        self.more.notify_one();
    }
}

/// The same with parking_lot's.
struct ParkingLot {
    count: parking_lot::Mutex<u32>,
    more: parking_lot::Condvar,
}

impl Permits for ParkingLot {
    const NAME: &'static str = "parking_lot";

    fn new(count: u32) -> Self {
        ParkingLot { count: parking_lot::Mutex::new(count), more: parking_lot::Condvar::new() }
    }

    #[inline]
    fn acquire(&self) {
        let mut count = self.count.lock();
        while *count == 0 {
            self.more.wait(&mut count);
        }
        *count -= 1;
    }

    #[inline]
    fn release(&self) {
        *self.count.lock() += 1;
        self.more.notify_one();
    }
}

/// A count of our own and event-listener's event for whoever finds it 0.
struct Listened {
    count: AtomicU32,
    event: event_listener::Event,
}

impl Listened {
    #[inline]
    fn try_acquire(&self) -> bool {
        self.count.fetch_update(SeqCst, SeqCst, |count| count.checked_sub(1)).is_ok()
    }
}

impl Permits for Listened {
    const NAME: &'static str = "event-listener";

    fn new(count: u32) -> Self {
        Listened { count: AtomicU32::new(count), event: event_listener::Event::new() }
    }

    #[inline]
    fn acquire(&self) {
        while !self.try_acquire() {
            let listener = self.event.listen();
            if self.try_acquire() {
                return;
            }
            listener.wait();
        }
    }

    #[inline]
    fn release(&self) {
        self.count.fetch_add(1, SeqCst);
        self.event.notify(1);
    }
}

/// tokio's semaphore, for which a thread can wait only by running a future to its end.
struct Tokio(tokio::sync::Semaphore);

impl Permits for Tokio {
    const NAME: &'static str = "tokio";

    fn new(count: u32) -> Self {
        Tokio(tokio::sync::Semaphore::new(count as usize))
    }

    #[inline]
    fn acquire(&self) {
        match self.0.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(_) => pollster::block_on(self.0.acquire()).unwrap().forget(),
        }
    }

    #[inline]
    fn release(&self) {
        self.0.add_permits(1);
    }
}

pub(super) fn benches() -> Vec<Bench> {
    vec![
        Bench {
            name: "semaphore/alone".to_owned(),
            what: "acquire, release, by one thread".to_owned(),
            place: Place::Pinned,
            at_most: ANY,
            metrics: vec![Metric::time(Goal::Ratio(1.0))],
            sides: vec![
                alone::<quell::Semaphore>(),
                alone::<Standard>(),
                alone::<ParkingLot>(),
                alone::<Listened>(),
                alone::<Tokio>(),
            ],
        },
        Bench {
            name: "semaphore/hand-off".to_owned(),
            what: "two threads take turns: there and back again through two semaphores".to_owned(),
            place: Place::Free,
            at_most: ANY,
            metrics: vec![Metric::time(Goal::Ratio(1.0))],
            sides: vec![
                turns::<quell::Semaphore>(),
                turns::<Standard>(),
                turns::<ParkingLot>(),
                turns::<Listened>(),
                turns::<Tokio>(),
            ],
        },
    ]
}

fn alone<P: Permits>() -> Side {
    let permits = P::new(1);
    Side::single(P::NAME, move |count| {
        let permits = black_box(&permits);
        for _ in 0..count {
            permits.acquire();
            permits.release();
        }
    })
}

fn turns<P: Permits>() -> Side {
    hand_off(P::NAME, || (P::new(0), P::new(0)), P::acquire, P::release)
}
