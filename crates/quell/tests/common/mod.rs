//! What the tests of the guarantees share.

#![allow(dead_code, reason = "every test file uses its own part")]

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// How often a stress test goes round: `QUELL_STRESS` times its default.
pub(crate) fn stress(default: u64) -> u64 {
    match std::env::var("QUELL_STRESS") {
        Ok(factor) => default * factor.parse::<u64>().expect("QUELL_STRESS is a whole number"),
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
