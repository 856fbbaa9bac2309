//! What the tests of the guarantees share.

#![allow(dead_code, reason = "every test file uses its own part")]

#[cfg(target_os = "linux")]
pub(crate) mod child;
pub(crate) mod detection;

use quell::thread::{self, JoinHandle};
use quell::{Interrupt, Receipt, Thread};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

/// How often a stress test goes round: `QUELL_STRESS` times its default. A factor below 1 is for builds that are many
/// times slower, as under a sanitizer.
pub(crate) fn stress(default: u64) -> u64 {
    match std::env::var("QUELL_STRESS") {
        Ok(factor) => {
            let factor: f64 = factor.parse().expect("QUELL_STRESS is a number");
            ((default as f64 * factor) as u64).max(1)
        }
        Err(_) => default,
    }
}

/// A counter of rounds that one thread completes and another waits for, without quell's own waits.
pub(crate) struct Turns(AtomicU64);

impl Turns {
    pub(crate) fn new() -> Turns {
        Turns(AtomicU64::new(0))
    }

    /// One more round has begun.
    pub(crate) fn done(&self) {
        self.0.fetch_add(1, SeqCst);
    }

    /// Until more than `round` rounds have begun.
    pub(crate) fn wait_for(&self, round: u64) {
        while self.0.load(SeqCst) <= round {
            std::thread::yield_now();
        }
    }
}

/// A small, fast, seedable source of numbers (xorshift64*), so that a failing run can be repeated.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }
}

/// Interrupts the threads at random, pausing at random, in bursts of up to `burst`, until `stop` or until it has sent
/// `at_least`; says how many it sent.
pub(crate) fn disturber(
    seed: u64,
    burst: u64,
    targets: Vec<Thread>,
    stop: &Arc<AtomicBool>,
    at_least: u64,
) -> JoinHandle<u64> {
    let stop = Arc::clone(stop);
    thread::spawn(move || {
        let mut random = Random::new(seed);
        let mut sent = 0;
        let mut last: Vec<Option<Receipt>> = targets.iter().map(|_| None).collect();
        let arrived = |last: &mut Option<Receipt>| {
            if let Some(last) = last.take() {
                last.wait(None).expect("nobody disturbs the disturber");
            }
        };
        while sent < at_least && !stop.load(SeqCst) {
            // In bursts, and ahead of each target by one of them at most: an interrupt that finds many pending meets no
            // new window. While one target has not had its burst yet, the others may have theirs.
            let at = random.below(targets.len() as u64) as usize;
            arrived(&mut last[at]);
            for _ in 0..=random.below(burst) {
                last[at] = Some(targets[at].interrupt(Interrupt::new(())));
                sent += 1;
                for _ in 0..random.below(200) {
                    std::hint::spin_loop();
                }
            }
        }
        last.iter_mut().for_each(arrived);
        stop.store(true, SeqCst);
        sent
    })
}
