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

/// Interrupts one thread again and again, a little ahead of it: an interrupt that finds many pending meets no new window, but
/// to wait for each to arrive would take a turn of the scheduler each time, and on a busy machine those are long.
pub(crate) struct Sender {
    target: Thread,
    sent: u64,
    /// The last one, and one that was sent before.
    receipts: (Option<Receipt>, Option<Receipt>),
}

impl Sender {
    /// The most that it is ahead of its target, by half.
    const AHEAD: u64 = 64;

    pub(crate) fn new(target: Thread) -> Sender {
        Sender { target, sent: 0, receipts: (None, None) }
    }

    pub(crate) fn send(&mut self) {
        let receipt = self.target.interrupt(Interrupt::new(()));
        self.sent += 1;
        if self.sent.is_multiple_of(Sender::AHEAD)
            && let Some(before) = self.receipts.1.replace(receipt.clone())
        {
            before.wait(None).expect("nobody disturbs the disturber");
        }
        self.receipts.0 = Some(receipt);
    }

    /// Gives the target a moment to take what it has, if it is awake.
    pub(crate) fn pace(&self) {
        for _ in 0..300 {
            if !self.target.has_pending() {
                return;
            }
            std::hint::spin_loop();
        }
    }

    /// Waits until the last has arrived, or its target has ended. Says how many were sent.
    pub(crate) fn finish(self) -> u64 {
        if let Some(last) = self.receipts.0 {
            last.wait(None).expect("nobody disturbs the disturber");
        }
        self.sent
    }
}

/// Interrupts the threads at random, pausing at random, in bursts of up to `burst`, until `stop` or until it has sent
/// `at_least`; says how many it sent. Has sent one when this returns.
pub(crate) fn disturber(
    seed: u64,
    burst: u64,
    targets: Vec<Thread>,
    stop: &Arc<AtomicBool>,
    at_least: u64,
) -> JoinHandle<u64> {
    let stop = Arc::clone(stop);
    let (begun, begins) = std::sync::mpsc::channel();
    let disturber = thread::spawn(move || {
        let mut random = Random::new(seed);
        let mut senders: Vec<_> = targets.into_iter().map(Sender::new).collect();
        let mut sent = 0;
        while sent < at_least && !stop.load(SeqCst) {
            let at = random.below(senders.len() as u64) as usize;
            senders[at].pace();
            for _ in 0..=random.below(burst) {
                senders[at].send();
                sent += 1;
                if sent == 1 {
                    begun.send(()).expect("somebody waits for it");
                }
                for _ in 0..random.below(200) {
                    std::hint::spin_loop();
                }
            }
        }
        let sent = senders.into_iter().map(Sender::finish).sum();
        stop.store(true, SeqCst);
        sent
    });
    begins.recv().expect("it sends at least one");
    disturber
}
