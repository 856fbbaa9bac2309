//! What the shuttle models share.

use quell::{Interrupt, Outcome, Receipt, Thread};
use shuttle::thread;

/// Uniformly random schedules, and schedules with few, randomly placed switches (Burckhardt and others, *A Randomized
/// Scheduler with Probabilistic Guarantees of Finding Bugs*, 2010). `QUELL_SCHEDULES` says how many of each, or `QUELL_STRESS` how
/// many times the default.
pub(crate) fn check(default: usize, model: impl Fn() + Send + Sync + Copy + 'static) {
    let schedules = match std::env::var("QUELL_SCHEDULES") {
        Ok(count) => count.parse().expect("QUELL_SCHEDULES is a whole number"),
        Err(_) => {
            let factor = std::env::var("QUELL_STRESS")
                .map_or(1.0, |factor| factor.parse().expect("QUELL_STRESS is a number"));
            (default as f64 * factor) as usize
        }
    };
    shuttle::check_random(model, schedules);
    shuttle::check_pct(model, schedules, 4);
}

/// A thread that is `handle`'s.
pub(crate) fn start<T: Send + 'static>(
    handle: &Thread,
    f: impl FnOnce() -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let handle = handle.clone();
    thread::spawn(move || {
        quell::adopt(&handle).unwrap();
        f()
    })
}

pub(crate) fn handles(count: usize) -> Vec<Thread> {
    (0..count).map(|_| Thread::unattached(None)).collect()
}

/// Interrupts each twice, and takes some back; then does `after` to each. Says what it sent.
pub(crate) fn disturb(targets: &[Thread], after: fn(&Thread)) -> thread::JoinHandle<Vec<Receipt>> {
    let targets = targets.to_vec();
    thread::spawn(move || {
        let mut receipts = Vec::new();
        for round in 0..2 {
            for (i, target) in targets.iter().enumerate() {
                let receipt = target.interrupt(Interrupt::new(()));
                if (i + round) % 3 == 0 {
                    receipt.withdraw();
                }
                receipts.push(receipt);
            }
        }
        targets.iter().for_each(after);
        receipts
    })
}

/// How many were delivered; none is lost.
pub(crate) fn settle(targets: &[Thread], receipts: &[Receipt]) -> u64 {
    for target in targets {
        target.withdraw_all();
    }
    assert!(receipts.iter().all(|receipt| receipt.state() != Outcome::Pending));
    receipts.iter().filter(|receipt| receipt.state() == Outcome::Delivered).count() as u64
}
