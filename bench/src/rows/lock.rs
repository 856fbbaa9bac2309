//! Lock and RLock: alone, and with 2, 4 and 16 threads that want it.

use crate::harness::{ANY, Bench, Goal, Metric, Place, Plan, Side};
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A lock around a number.
trait Locked: Sync + 'static {
    const NAME: &'static str;

    fn new() -> Self;

    fn with<R>(&self, f: impl FnOnce(&mut u64) -> R) -> R;
}

impl Locked for quell::Lock<u64> {
    const NAME: &'static str = "quell";

    fn new() -> Self {
        quell::Lock::new(0)
    }

    #[inline]
    fn with<R>(&self, f: impl FnOnce(&mut u64) -> R) -> R {
        f(&mut self.lock().unwrap())
    }
}

impl Locked for std::sync::Mutex<u64> {
    const NAME: &'static str = "std";

    fn new() -> Self {
        std::sync::Mutex::new(0)
    }

    #[inline]
    fn with<R>(&self, f: impl FnOnce(&mut u64) -> R) -> R {
        f(&mut self.lock().unwrap())
    }
}

impl Locked for parking_lot::Mutex<u64> {
    const NAME: &'static str = "parking_lot";

    fn new() -> Self {
        parking_lot::Mutex::new(0)
    }

    #[inline]
    fn with<R>(&self, f: impl FnOnce(&mut u64) -> R) -> R {
        f(&mut self.lock())
    }
}

pub(super) fn benches() -> Vec<Bench> {
    let mut benches = vec![Bench {
        name: "lock/alone".to_owned(),
        what: "lock, add 1, unlock; nobody else wants it".to_owned(),
        place: Place::Pinned,
        at_most: ANY,
        metrics: vec![Metric::time(Goal::Ratio(1.0))],
        sides: vec![
            alone::<quell::Lock<u64>>(),
            alone::<std::sync::Mutex<u64>>(),
            alone::<parking_lot::Mutex<u64>>(),
        ],
    }];
    for threads in [2, 4, 16] {
        for section in [Section::SHORT, Section::LONG] {
            let name = format!("lock/contended/{threads}/{}", section.name);
            let what = format!("{threads} threads; {}", section.what);
            benches.push(Bench {
                name: format!("{name}/time"),
                what: format!("{what}: time for one section of any thread"),
                place: Place::Free,
                at_most: ANY,
                metrics: vec![Metric::time(Goal::Ratio(1.0))],
                sides: vec![
                    throughput::<quell::Lock<u64>>(threads, section),
                    throughput::<std::sync::Mutex<u64>>(threads, section),
                    throughput::<parking_lot::Mutex<u64>>(threads, section),
                ],
            });
            benches.push(Bench {
                name: format!("{name}/wait"),
                what: format!("{what}: how long one `lock()` took"),
                place: Place::Free,
                at_most: ANY,
                metrics: vec![
                    Metric::named("p99", Goal::None),
                    Metric::named("longest", Goal::Ratio(1.0)),
                ],
                sides: vec![
                    waits::<quell::Lock<u64>>(threads, section),
                    waits::<std::sync::Mutex<u64>>(threads, section),
                    waits::<parking_lot::Mutex<u64>>(threads, section),
                ],
            });
        }
    }
    benches.extend(reentrant());
    benches
}

fn alone<L: Locked>() -> Side {
    let lock = L::new();
    Side::single(L::NAME, move |count| {
        let lock = black_box(&lock);
        let before = lock.with(|value| *value);
        for _ in 0..count {
            lock.with(|value| *value += 1);
        }
        assert_eq!(lock.with(|value| *value) - before, count);
    })
}

/// What a thread does inside the lock, and again outside.
#[derive(Clone, Copy)]
struct Section {
    name: &'static str,
    what: &'static str,
    steps: u32,
}

impl Section {
    const SHORT: Section =
        Section { name: "short", what: "about 10 ns inside the lock, as long outside", steps: 10 };
    const LONG: Section =
        Section { name: "long", what: "about 5 µs inside the lock, as long outside", steps: 5000 };

    /// Steps that follow from each other, so that they take their time.
    #[inline]
    fn work(self, mut value: u64) -> u64 {
        for _ in 0..self.steps {
            value = black_box(value.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1));
        }
        value
    }
}

/// Threads that want the lock until the time is over; `one` is one section, told where to add 1. The total of what the
/// threads counted must be in the lock. Says how many sections there were, and what each thread made of them.
fn contend<L: Locked, R: Send>(
    threads: usize,
    time: Duration,
    lock: &L,
    thread: impl Fn(&L, &AtomicBool) -> (u64, R) + Sync,
) -> (u64, Duration, Vec<R>) {
    let stop = AtomicBool::new(false);
    let start = Barrier::new(threads + 1);
    let before = lock.with(|value| *value);
    let (done, took) = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    thread(lock, &stop)
                })
            })
            .collect();
        start.wait();
        let begin = Instant::now();
        std::thread::sleep(time);
        stop.store(true, Relaxed);
        let took = begin.elapsed();
        let done: Vec<_> = handles.into_iter().map(|handle| handle.join().unwrap()).collect();
        (done, took)
    });
    let (counts, results): (Vec<u64>, Vec<R>) = done.into_iter().unzip();
    let total: u64 = counts.iter().sum();
    assert_eq!(lock.with(|value| *value) - before, total, "every section was alone in the lock");
    (total, took, results)
}

fn throughput<L: Locked>(threads: usize, section: Section) -> Side {
    Side::new(L::NAME, move |plan: &Plan| {
        let lock = L::new();
        let (total, took, _) = contend(threads, plan.time, &lock, |lock, stop| {
            let mut count = 0;
            let mut seed = 1;
            while !stop.load(Relaxed) {
                seed = lock.with(|value| {
                    *value += 1;
                    section.work(seed)
                });
                seed = section.work(seed);
                count += 1;
            }
            (count, ())
        });
        vec![took.as_nanos() as f64 / total.max(1) as f64]
    })
}

/// How long each `lock()` took, in classes an eighth of a power of two wide, and the longest of all.
struct Waits {
    classes: Box<[u64; 8 * 64]>,
    longest: u64,
}

impl Waits {
    fn new() -> Waits {
        Waits { classes: Box::new([0; 8 * 64]), longest: 0 }
    }

    #[inline]
    fn add(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.classes[Waits::class(nanos)] += 1;
        self.longest = self.longest.max(nanos);
    }

    /// The power of two, and the three bits below it.
    #[inline]
    fn class(nanos: u64) -> usize {
        let nanos = nanos.max(8);
        let power = nanos.ilog2();
        power as usize * 8 + (nanos >> (power - 3) & 7) as usize
    }

    /// Where the class begins.
    fn of_class(class: usize) -> f64 {
        (1_u64 << (class / 8)) as f64 * (1.0 + (class % 8) as f64 / 8.0)
    }

    /// 99th percentile and longest of all threads together.
    fn summary(all: &[Waits]) -> Vec<f64> {
        let total: u64 = all.iter().flat_map(|waits| waits.classes.iter()).sum();
        let mut above = 0;
        let mut class = 8 * 64 - 1;
        while class > 0 {
            above += all.iter().map(|waits| waits.classes[class]).sum::<u64>();
            if above * 100 >= total {
                break;
            }
            class -= 1;
        }
        let longest = all.iter().map(|waits| waits.longest).max().unwrap_or(0);
        vec![Waits::of_class(class), longest as f64]
    }
}

fn waits<L: Locked>(threads: usize, section: Section) -> Side {
    Side::new(L::NAME, move |plan: &Plan| {
        let lock = L::new();
        let (_, _, waits) = contend(threads, plan.time, &lock, |lock, stop| {
            let mut waits = Waits::new();
            let mut count = 0;
            let mut seed = 1;
            while !stop.load(Relaxed) {
                let begin = Instant::now();
                let (next, waited) = lock.with(|value| {
                    let waited = begin.elapsed();
                    *value += 1;
                    (section.work(seed), waited)
                });
                waits.add(waited);
                seed = section.work(next);
                count += 1;
            }
            (count, waits)
        });
        Waits::summary(&waits)
    })
}

/// RLock, taken once and taken again while it is held.
fn reentrant() -> Vec<Bench> {
    use std::cell::Cell;
    let single = |name: &str, what: &str, sides| Bench {
        name: name.to_owned(),
        what: what.to_owned(),
        place: Place::Pinned,
        at_most: ANY,
        metrics: vec![Metric::time(Goal::Ratio(1.0))],
        sides,
    };
    let once = vec![
        Side::single("quell", {
            let lock = quell::RLock::new(Cell::new(0));
            move |count| {
                let lock = black_box(&lock);
                let before = lock.lock().unwrap().get();
                for _ in 0..count {
                    let value = lock.lock().unwrap();
                    value.set(value.get() + 1);
                }
                assert_eq!(lock.lock().unwrap().get() - before, count);
            }
        }),
        Side::single("parking_lot", {
            let lock = parking_lot::ReentrantMutex::new(Cell::new(0));
            move |count| {
                let lock = black_box(&lock);
                let before = lock.lock().get();
                for _ in 0..count {
                    let value = lock.lock();
                    value.set(value.get() + 1);
                }
                assert_eq!(lock.lock().get() - before, count);
            }
        }),
    ];
    let again = vec![
        Side::single("quell", {
            let lock = quell::RLock::new(Cell::new(0));
            move |count| {
                let lock = black_box(&lock);
                let outer = lock.lock().unwrap();
                let before = outer.get();
                for _ in 0..count {
                    let value = lock.lock().unwrap();
                    value.set(value.get() + 1);
                }
                assert_eq!(outer.get() - before, count);
            }
        }),
        Side::single("parking_lot", {
            let lock = parking_lot::ReentrantMutex::new(Cell::new(0));
            move |count| {
                let lock = black_box(&lock);
                let outer = lock.lock();
                let before = outer.get();
                for _ in 0..count {
                    let value = lock.lock();
                    value.set(value.get() + 1);
                }
                assert_eq!(outer.get() - before, count);
            }
        }),
    ];
    vec![
        single("rlock/alone", "lock, add 1, unlock; nobody else wants it", once),
        single("rlock/again", "the same by the thread that has the lock", again),
    ]
}

#[cfg(test)]
mod tests {
    use super::Waits;

    #[test]
    fn classes_keep_three_bits() {
        for nanos in [8, 9, 15, 16, 1000, 123_456_789] {
            let begins = Waits::of_class(Waits::class(nanos));
            let nanos = nanos as f64;
            assert!(begins <= nanos && nanos < begins * 1.126, "{nanos} in {begins}");
        }
    }
}
