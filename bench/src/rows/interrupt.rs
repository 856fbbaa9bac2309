//! How long it takes from an interrupt until its target is awake, beside the least that waking a thread can cost: one
//! futex word, changed and woken, between two threads in the same places.

use crate::harness::stats::tail;
use crate::harness::{ANY, Bench, Goal, Metric, Place, Plan, Side, machine};
use quell::{Condition, Interrupt, Lock, Queue, Thread};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

pub(super) fn benches() -> Vec<Bench> {
    let bench = |name: &str, what: &str, ours: fn() -> Side| Bench {
        name: format!("interrupt/{name}"),
        what: format!("from `interrupt()` until a thread on another processor is back from {what}"),
        place: Place::Pinned,
        at_most: ANY,
        metrics: vec![
            Metric::named("p50", Goal::Ratio(1.25)),
            Metric::named("p99", Goal::Ratio(2.0)),
            Metric::named("longest", Goal::None),
        ],
        sides: vec![ours(), futex()],
    };
    vec![
        bench("lock", "a lock", || {
            blocked(|| {
                let lock = Arc::new(Lock::new(()));
                let held = Arc::clone(&lock);
                // Kept for ever: nobody is to get it.
                std::mem::forget(held.lock().unwrap());
                move || assert!(lock.lock().is_err())
            })
        }),
        bench("queue", "a queue", || {
            blocked(|| {
                let queue = Queue::<u8>::unbounded();
                move || assert!(queue.get().is_err())
            })
        }),
        bench("condition", "a condition", || {
            blocked(|| {
                let (lock, condition) = (Lock::new(()), Condition::new());
                move || {
                    let mut held = lock.lock().unwrap();
                    assert!(condition.wait(&mut held).is_err());
                }
            })
        }),
        bench("join", "waiting for another thread", || {
            blocked(|| {
                let ended = Arc::new(AtomicBool::new(false));
                let other = quell::spawn({
                    let ended = Arc::clone(&ended);
                    move || {
                        while !ended.load(Ordering::Acquire) {
                            // Never interrupted, so it ends with the unpark of `Ender`.
                            quell::thread::park().unwrap();
                        }
                    }
                });
                let ender = Ender { thread: other.thread().clone(), ended };
                let mut handle = Some(other);
                move || {
                    let _keep = &ender;
                    let joined = handle.take().expect("put back each time").join();
                    handle = joined.err().and_then(quell::thread::JoinError::into_handle);
                    assert!(handle.is_some());
                }
            })
        }),
    ]
}

/// Lets a thread end when it is dropped.
struct Ender {
    thread: Thread,
    ended: Arc<AtomicBool>,
}

impl Drop for Ender {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// What the two threads of a pair tell each other.
#[derive(Default)]
pub(super) struct Pair {
    /// The target's number in the system.
    thread: AtomicI32,
    /// Which round the target is in, from 1.
    round: AtomicU64,
    /// When it was woken, in nanoseconds of the clock below.
    woken: AtomicU64,
}

fn nanos() -> u64 {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    u64::try_from(BEGIN.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Rounds in one run.
pub(super) fn rounds(plan: &Plan) -> usize {
    plan.part_of(300, 3)
}

impl Pair {
    /// The target: `block` sleeps until it is woken. How long each waking took.
    pub(super) fn target(&self, rounds: usize, mut block: impl FnMut()) -> Vec<f64> {
        machine::pin(1);
        self.thread.store(machine::thread_number(), Ordering::Release);
        let mut times = Vec::with_capacity(rounds);
        for round in 1..=rounds as u64 {
            self.round.store(round, Ordering::Release);
            block();
            times.push((nanos() - self.woken.load(Ordering::Acquire)) as f64);
        }
        times
    }

    /// The other thread: wakes it as often, each time when it certainly sleeps.
    pub(super) fn wake(&self, rounds: usize, mut wake: impl FnMut()) {
        for round in 1..=rounds as u64 {
            while self.round.load(Ordering::Acquire) != round {
                std::thread::yield_now();
            }
            machine::until_asleep(self.thread.load(Ordering::Acquire));
            self.woken.store(nanos(), Ordering::Release);
            wake();
        }
    }
}

/// A thread that is blocked in quell, and interrupted. `make` makes what blocks it.
pub(super) fn blocked<B: FnMut() + Send + 'static>(make: impl Fn() -> B + 'static) -> Side {
    Side::new("quell", move |plan| {
        let rounds = rounds(plan);
        let pair = Arc::new(Pair::default());
        let block = make();
        let target = quell::spawn({
            let pair = Arc::clone(&pair);
            move || pair.target(rounds, block)
        });
        let thread = target.thread().clone();
        pair.wake(rounds, || drop(thread.interrupt(Interrupt::new(()))));
        tail(target.join().unwrap())
    })
}

/// A thread that sleeps on a futex word, and is woken.
fn futex() -> Side {
    Side::new("futex", |plan| {
        let rounds = rounds(plan);
        let pair = Arc::new(Pair::default());
        let word = Arc::new(AtomicU32::new(0));
        let target = std::thread::spawn({
            let (pair, word) = (Arc::clone(&pair), Arc::clone(&word));
            move || {
                pair.target(rounds, || {
                    while word.swap(0, Ordering::Acquire) == 0 {
                        futex_call(&word, libc::FUTEX_WAIT, 0);
                    }
                })
            }
        });
        pair.wake(rounds, || {
            word.store(1, Ordering::Release);
            futex_call(&word, libc::FUTEX_WAKE, 1);
        });
        tail(target.join().unwrap())
    })
}

fn futex_call(word: &AtomicU32, operation: i32, value: u32) {
    let forever = std::ptr::null::<libc::timespec>();
    // SAFETY: the word is alive and aligned; a wait without a timeout takes a null pointer.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            operation | libc::FUTEX_PRIVATE_FLAG,
            value,
            forever,
        )
    };
}
