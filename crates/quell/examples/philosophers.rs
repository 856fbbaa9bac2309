//! Philosophers at a round table, each with a fork to the left and one to the right, who all take the left one first. Sooner
//! or later each has one fork and waits for the other.
//!
//! With detection on, the one that closes the circle is told so, puts its fork back, and tries again.
//!
//!     cargo run --release -p quell --example philosophers

use quell::deadlock::{self, Detection};
use quell::{Interrupted, Lock, thread};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const SEATS: usize = 5;
const MEALS: u64 = 2_000;

/// How often each fork was used.
type Fork = Lock<u64>;

pub(crate) fn main() {
    deadlock::set_detection(Detection::Fail);
    let forks: [Fork; SEATS] = std::array::from_fn(|_| Lock::new(0));
    let names: [String; SEATS] = std::array::from_fn(|at| format!("fork {at}"));
    let _named = forks.iter().zip(&names).map(|(fork, name)| deadlock::name(fork, name));
    let _named: Vec<_> = _named.collect();
    let deadlocks = AtomicU64::new(0);

    thread::scope(|s| {
        for seat in 0..SEATS {
            let (forks, deadlocks) = (&forks, &deadlocks);
            let philosopher = thread::Builder::new().name(format!("philosopher {seat}"));
            let life = move || {
                let mut meals = 0;
                while meals < MEALS {
                    match eat(&forks[seat], &forks[(seat + 1) % SEATS]) {
                        Ok(()) => meals += 1,
                        Err(failed) => {
                            let deadlock = failed.deadlock().expect("nobody interrupts them");
                            if deadlocks.fetch_add(1, Relaxed) == 0 {
                                println!("the first {deadlock}\n");
                            }
                        }
                    }
                }
            };
            philosopher.spawn_scoped(s, life).expect("the system can start a few threads");
        }
    });

    let deadlocks = deadlocks.into_inner();
    let uses: u64 = forks.iter().map(|fork| *fork.lock_uninterruptible()).sum();
    assert_eq!(uses, 2 * MEALS * SEATS as u64);
    deadlock::set_detection(Detection::Off);
    println!("{} meals, {deadlocks} deadlocks, nobody starved", MEALS * SEATS as u64);
}

/// One after the other; if that cannot be, the first is put back.
fn eat(left: &Fork, right: &Fork) -> Result<(), Interrupted> {
    let mut left = left.lock()?;
    std::thread::yield_now(); // to reach for the other
    let mut right = right.lock()?;
    *left += 1;
    *right += 1;
    Ok(())
}
