//! How long a thread that waits stays awake before it sleeps.
//!
//! A hand-off between two threads takes 15 to 25 µs if the one that waits is asleep: the kernel wakes it, on a processor that may be
//! asleep as well; and then it asks for the GIL, which who woke it still has, and is put to sleep and woken a second time. If it is awake
//! it takes a microsecond. So a thread that has given the GIL up stays awake for a moment, looks whether its wait is over, and
//! then whether the GIL is free, before it asks for it. (The adaptive locks of Solaris, HotSpot and glibc; what is added is the GIL.)
//!
//! It looks without giving way to others: a thread that has given way is put behind everybody else on a busy machine, and comes
//! back after milliseconds.
//!
//! Whether that is worth the processor's time, the threads learn from their waits, all together, since it takes two that are awake
//! at the same time to answer each other:
//!
//! - A wait **pays** if its thread has the GIL again before it would have slept and been woken, nobody but the one that ended the wait had
//!   the GIL in between, and nobody else the thread's processor. (That is seen by the clock, which then jumped between two looks. It tells an
//!   answer that came from another processor from one that came because this thread was put aside for it.)
//! - If it pays **quickly**, the other thread was awake as well, and the next wait stays awake too. If it pays **slowly**, the other one
//!   was asleep; it may be awake the next time, but not for ever.
//! - If it **does not** pay, waits sleep at once, and their number doubles each time, from [`Luck::LEAST`] to [`Luck::MOST`]; it falls again with
//!   each wait that pays quickly. Where nothing is to be
//!   gained, beside a thread that computes, or where the processors are needed by others, one wait of some hundred takes 50 µs more.

use std::cell::Cell;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use quell::wait::{Look, Wait};

use crate::cpython::gil;
use crate::delivery::gil_cell::GilCell;

/// For how long a thread stays awake: longer than another one takes to be woken.
const AWAKE: Duration = Duration::from_micros(50);
/// For how long it then looks whether the GIL is free.
const FREE: Duration = Duration::from_micros(20);
/// Longer than two threads take that are awake, and shorter than it takes to wake one.
const QUICK: Duration = Duration::from_micros(10);

static LUCK: GilCell<Luck> = GilCell::new(Luck::NEW);

thread_local! {
    /// Whether somebody else has had the thread's processor since its wait began.
    static PUT_ASIDE: Cell<bool> = const { Cell::new(false) };
}

/// Looks until there is something to be done, for so long at most; or until the thread has lost its processor for a while.
fn look(time: Duration, news: impl Fn() -> bool) {
    /// How many looks there are between two looks at the clock: half a microsecond.
    const LOOKS: u32 = 16;
    /// What they never take.
    const LOST: Duration = Duration::from_micros(5);
    let begun = Instant::now();
    let mut last = begun;
    loop {
        let found = (0..LOOKS).any(|_| {
            let found = news();
            if !found {
                std::hint::spin_loop();
            }
            found
        });
        let now = Instant::now();
        let lost = now - last > LOST;
        if lost {
            PUT_ASIDE.set(true);
        }
        if found || lost || now - begun > time {
            return;
        }
        last = now;
    }
}

/// What a wait was that stayed awake.
#[derive(Clone, Copy, Debug)]
enum Pay {
    Quick,
    Slow,
    None,
}

/// What the threads have learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Luck {
    /// So many waits are to sleep at once.
    asleep: u32,
    /// So many did when it was tried last.
    next: u32,
    /// How often in a row it has paid slowly.
    slow: u32,
}

impl Luck {
    const NEW: Luck = Luck { asleep: 0, next: 0, slow: 0 };
    /// One wait that does not pay costs about as much as ten gain that pay quickly, so some sleep after it.
    const LEAST: u32 = 7;
    const MOST: u32 = 511;
    /// Each that pays quickly takes this part away.
    const PART: u32 = 16;
    /// Once for the other one to be woken, and some times more for threads that come in between.
    const SLOW: u32 = 4;

    /// Whether the wait that begins stays awake.
    fn tries(&mut self) -> bool {
        match self.asleep.checked_sub(1) {
            Some(fewer) => {
                self.asleep = fewer;
                false
            }
            None => true,
        }
    }

    /// A wait that stayed awake is over. Others may have ended since it began, and what they said holds.
    fn learns(&mut self, pay: Pay) {
        match pay {
            Pay::Quick => {
                self.next -= self.next.div_ceil(Self::PART);
                self.slow = 0;
            }
            Pay::Slow if self.slow < Self::SLOW => self.slow += 1,
            Pay::Slow | Pay::None => {
                self.next = (2 * self.next + 1).clamp(Self::LEAST, Self::MOST);
                self.asleep = self.asleep.max(self.next);
                self.slow = 0;
            }
        }
    }
}

/// A wait that stays awake first.
pub(super) struct Vigil {
    begun: Instant,
    /// How often the GIL had changed hands.
    switches: usize,
}

impl Vigil {
    /// If the wait that begins is to stay awake. One that has less time than that sleeps at once, to be over in time.
    pub(super) fn begin(py: Python<'_>, wait: &Wait) -> Option<Self> {
        let switches = gil::switches(py)?;
        if !LUCK.with(py, Luck::tries) {
            return None;
        }
        let begun = Instant::now();
        PUT_ASIDE.set(false);
        let has_time = wait.deadline.is_none_or(|deadline| deadline > begun + AWAKE);
        has_time.then_some(Self { begun, switches })
    }

    /// The wait's options.
    pub(super) fn options(&self, wait: &Wait) -> Wait {
        Wait { look: Look::With(|news| look(AWAKE, news)), ..*wait }
    }

    /// The wait is over; the thread is about to ask for the GIL. Detached.
    pub(super) fn over(&self) {
        if !PUT_ASIDE.get() && self.begun.elapsed() < AWAKE {
            look(FREE, gil::is_free);
        }
    }

    /// The thread has the GIL again.
    pub(super) fn end(self, py: Python<'_>) {
        /// To the one that ended the wait, and back.
        const THERE_AND_BACK: usize = 2;
        let switches = gil::switches(py).map(|now| now.wrapping_sub(self.switches));
        let alone = switches.is_some_and(|switches| switches <= THERE_AND_BACK);
        let pay = match self.begun.elapsed() {
            _ if !alone || PUT_ASIDE.get() => Pay::None,
            time if time < QUICK => Pay::Quick,
            time if time < AWAKE + FREE => Pay::Slow,
            _ => Pay::None,
        };
        LUCK.with(py, |luck| luck.learns(pay));
    }
}

#[cfg(test)]
mod tests {
    use super::{Luck, Pay};

    /// How many of so many waits stay awake, if each of these pays so.
    fn tries(luck: &mut Luck, waits: u32, pay: Pay) -> u32 {
        let one = |_: &u32| {
            let tries = luck.tries();
            if tries {
                luck.learns(pay);
            }
            tries
        };
        (0..waits).filter(one).count() as u32
    }

    #[test]
    fn what_pays_quickly_is_done_each_time() {
        let mut luck = Luck { asleep: Luck::MOST, next: Luck::MOST, ..Luck::NEW };
        assert_eq!(tries(&mut luck, Luck::MOST + 200, Pay::Quick), 200);
        // All is forgotten.
        assert_eq!(luck, Luck::NEW);
    }

    #[test]
    fn what_pays_seldom_enough_is_left() {
        let awake = |run: u32| {
            let (mut luck, mut tried) = (Luck::NEW, 0);
            for _ in 0..100_000 {
                if luck.tries() {
                    tried += 1;
                    luck.learns(if tried % run == 0 { Pay::None } else { Pay::Quick });
                }
            }
            tried
        };
        assert!(awake(3) < 5_000, "{}", awake(3));
        assert!(awake(100) > 90_000, "{}", awake(100));
    }

    #[test]
    fn what_does_not_pay_is_done_less_and_less() {
        let mut luck = Luck::NEW;
        let asleep = 7 + 15 + 31 + 63 + 127 + 255;
        assert_eq!(tries(&mut luck, asleep + 7, Pay::None), 7);
        assert_eq!(tries(&mut luck, 512 * 100, Pay::None), 100);
    }

    #[test]
    fn what_pays_slowly_is_done_some_times_in_a_row() {
        let mut luck = Luck { asleep: Luck::MOST, next: Luck::MOST, ..Luck::NEW };
        assert_eq!(tries(&mut luck, 511 + 5, Pay::Slow), 5);
        assert_eq!(luck, Luck { asleep: Luck::MOST, next: Luck::MOST, ..Luck::NEW });
        // If the other one is awake then, both are soon.
        assert_eq!(tries(&mut luck, 511 + 1, Pay::Slow), 1);
        assert_eq!(tries(&mut luck, 1, Pay::Quick), 1);
        assert!(luck.next < Luck::MOST && luck.asleep == 0);
    }

    #[test]
    fn a_wait_that_began_before_does_not_undo_what_was_learned_since() {
        let mut luck = Luck { asleep: 0, next: 127, slow: 0 };
        assert!(luck.tries() && luck.tries());
        luck.learns(Pay::None);
        let learned = luck.asleep;
        luck.learns(Pay::Slow);
        assert_eq!(luck.asleep, learned);
        luck.learns(Pay::Quick);
        assert_eq!(luck.asleep, learned);
    }
}
