//! Sleeping on the clock, or on a word of memory; and waiting for randomness.

use super::CallError;
use super::call::{caller, result};
use super::ready::timespec;
use crate::wait::Wait;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

/// Sleeps for `time`, as `nanosleep(2)`, but over signals. An interruption point. (To wait for the clock alone,
/// [`sleep`](crate::sleep) is cheaper to interrupt.)
///
/// # Errors
/// As [`call`](super::call()).
pub fn nanosleep(time: Duration, wait: &Wait) -> Result<(), CallError> {
    clock_nanosleep(libc::CLOCK_MONOTONIC, Nap::For(time), wait)
}

/// How long [`clock_nanosleep`] sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nap {
    /// For so long.
    For(Duration),
    /// Until the clock shows this, counted from its own beginning (`TIMER_ABSTIME`).
    Until(Duration),
}

/// Sleeps by a clock, as `clock_nanosleep(2)`, but over signals: time that was slept before one counts. An
/// interruption point.
///
/// # Errors
/// As [`call`](super::call()).
pub fn clock_nanosleep(clock: libc::clockid_t, nap: Nap, wait: &Wait) -> Result<(), CallError> {
    let (absolute, time) = match nap {
        Nap::For(time) => (0, time),
        Nap::Until(time) => (libc::TIMER_ABSTIME, time),
    };
    let mut left = timespec(time);
    let at = &raw mut left as usize;
    // A sleep that was ended by a signal leaves there what is left of it; an absolute one, and one that did not begin, leave it
    // alone.
    let arguments = [clock as usize, absolute as usize, at, at, 0, 0];
    let number = libc::SYS_clock_nanosleep as usize;
    // SAFETY: the kernel reads and writes the time, which is ours.
    let raw = caller(wait, |caller| unsafe { caller.until_done(number, &arguments) })?;
    result(raw).map(drop)
}

/// Sleeps while `word` is `expected` and nobody wakes it, as `futex(2)` with `FUTEX_WAIT`: true if it was woken, false if
/// the word was something else. An interruption point. May come back for nothing, as there.
///
/// With `shared`, wakers may be in other processes.
///
/// # Errors
/// As [`call`](super::call()); [`CallError::TimedOut`] at the deadline, which the kernel keeps.
pub fn futex_wait(
    word: &AtomicU32,
    expected: u32,
    shared: bool,
    wait: &Wait,
) -> Result<bool, CallError> {
    let private = if shared { 0 } else { libc::FUTEX_PRIVATE_FLAG };
    let operation = (libc::FUTEX_WAIT | private) as usize;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let at = &raw mut time;
    let arguments = || {
        let until = wait.deadline.map_or(0, |deadline| {
            // SAFETY: nobody else uses it while no call is made.
            unsafe { at.write(timespec(deadline.saturating_duration_since(Instant::now()))) };
            at as usize
        });
        [word.as_ptr() as usize, operation, expected as usize, until, 0, 0]
    };
    caller(wait, |caller| {
        loop {
            // SAFETY: the word lives as long as the call, and the time is ours.
            let raw = unsafe { caller.until_done_by(libc::SYS_futex as usize, arguments) }?;
            match result(raw).map_err(|error| (error.os_error(), error)) {
                Ok(_) => return Ok(true),
                Err((Some(libc::EAGAIN), _)) => return Ok(false),
                Err((Some(libc::ETIMEDOUT), _)) => {
                    // Its clock may be a tick ahead of ours.
                    if wait.deadline.is_none_or(|deadline| Instant::now() >= deadline) {
                        return Err(CallError::TimedOut);
                    }
                }
                Err((_, error)) => return Err(error),
            }
        }
    })
}

/// Fills the buffer with random bytes, as `getrandom(2)`, and says how many it got; blocks only while the system has not
/// collected enough of them since its start, or if it is told to read the other source. An interruption point. What was
/// filled in part is returned as such.
///
/// # Errors
/// As [`call`](super::call()).
pub fn getrandom(buffer: &mut [u8], flags: u32, wait: &Wait) -> Result<usize, CallError> {
    let arguments = [buffer.as_mut_ptr() as usize, buffer.len(), flags as usize, 0, 0, 0];
    let number = libc::SYS_getrandom as usize;
    // SAFETY: the kernel writes into the buffer.
    let raw = caller(wait, |caller| unsafe { caller.until_done(number, &arguments) })?;
    result(raw)
}
