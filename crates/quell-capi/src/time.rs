//! Moments: the deadline that every blocking call takes.

use crate::status::{call, quell_status};
use quell_core::{Wait, WaitError};
use std::time::Duration;

/// A moment at which a call gives up: nanoseconds of the monotonic clock (CLOCK_MONOTONIC), as quell_now() shows it.
///
/// quell_after(QUELL_SECONDS(2)) is two seconds from now. QUELL_FOREVER never comes. QUELL_NOW has passed: the call does what
/// can be done at once, or returns QUELL_TIMED_OUT; it is an interruption point all the same. Because it is a moment and
/// not a length of time, several calls can share one, and a call that is made again need not count what is left.
pub type quell_deadline = u64;

/// See `QUELL_FOREVER` in the header's preamble.
///
/// cbindgen:ignore
const FOREVER: quell_deadline = u64::MAX;

/// The monotonic clock, in nanoseconds. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn quell_now() -> quell_deadline {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock is always there, and the answer goes to a local.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}

/// The moment so many nanoseconds from now. Beyond what the clock can represent: QUELL_FOREVER. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn quell_after(nanoseconds: u64) -> quell_deadline {
    quell_now().saturating_add(nanoseconds)
}

/// Sleeps until the deadline. Never returns early; QUELL_NOW does not sleep.
///
/// Interruption point. QUELL_OK: the time is over. QUELL_INTERRUPTED: not yet, and there is no more sleep.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn quell_sleep(deadline: quell_deadline) -> quell_status {
    call("quell_sleep", || match quell_core::thread::sleep_with(&until(deadline)) {
        Err(WaitError::TimedOut) => Ok(()),
        Err(other) => Err(other.into()),
        Ok(never) => match never {},
    })
}

/// As the core takes it.
pub(crate) fn until(deadline: quell_deadline) -> Wait {
    if deadline == FOREVER {
        return Wait::new();
    }
    // The clock that is counted from first, then the other: what passes in between makes it later, never earlier.
    let left = Duration::from_nanos(deadline.saturating_sub(quell_now()));
    Wait::new().timeout(left)
}
