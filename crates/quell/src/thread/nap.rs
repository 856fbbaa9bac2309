//! Waits of a thread for nobody but the clock or its own handle: sleep and park.

use super::current;
use crate::deadlock::{Asleep, Kind};
use crate::interrupt::Interrupted;
use crate::wait::{Wait, WaitError, block};
use std::ptr;
use std::time::{Duration, Instant};

/// Sleeps for `time`. An interruption point. Never short; a time beyond what the clock can represent is for ever.
///
/// ```
/// use quell::{Interrupt, sleep, spawn};
/// use std::time::Duration;
///
/// let sleeper = spawn(|| sleep(Duration::from_secs(3600)));
/// sleeper.thread().interrupt(Interrupt::new("morning"));
/// assert!(sleeper.join().unwrap().unwrap_err().to_string().ends_with("morning"));
/// ```
///
/// # Errors
/// If the thread is interrupted before the time is over.
pub fn sleep(time: Duration) -> Result<(), Interrupted> {
    slept(sleep_with(&Wait::new().timeout(time)))
}

/// Sleeps until `deadline`. An interruption point.
///
/// # Errors
/// If the thread is interrupted before.
pub fn sleep_until(deadline: Instant) -> Result<(), Interrupted> {
    slept(sleep_with(&Wait::new().until(deadline)))
}

/// Sleeps with every option; without a deadline, until one of the others ends it. Comes back with
/// [`WaitError::TimedOut`] when the time is over: that is the good end.
///
/// # Errors
/// Always: it says how the sleep ended.
pub fn sleep_with(wait: &Wait) -> Result<std::convert::Infallible, WaitError> {
    let me = current();
    let _asleep = Asleep::enter(&me, Kind::Sleep, ptr::null::<()>());
    match block(&me, wait, || false, || true) {
        Err(ended) => Err(ended),
        Ok(()) => unreachable!("nothing was waited for"),
    }
}

fn slept(ended: Result<std::convert::Infallible, WaitError>) -> Result<(), Interrupted> {
    match ended {
        Err(WaitError::TimedOut) => Ok(()),
        Err(other) => Err(other.only_interrupt()),
        Ok(never) => match never {},
    }
}

/// Waits until somebody calls [`Thread::unpark`](crate::Thread::unpark) on the current thread, or has called it
/// since the last `park`. An interruption point. Never wakes for nothing.
///
/// ```
/// use quell::{spawn, thread};
///
/// let me = quell::current();
/// let other = spawn(move || me.unpark());
/// thread::park().unwrap(); // before or after the unpark: it is remembered
/// other.join().unwrap();
/// ```
///
/// # Errors
/// If the thread is interrupted. An `unpark` that came as well is kept for the next `park`.
pub fn park() -> Result<(), Interrupted> {
    park_with(&Wait::new()).map_err(WaitError::only_interrupt)
}

/// [`park`], for `time` at most.
///
/// ```
/// use quell::{WaitError, thread};
///
/// let parked = thread::park_timeout(std::time::Duration::from_millis(1));
/// assert!(matches!(parked, Err(WaitError::TimedOut)));
/// ```
///
/// # Errors
/// [`WaitError::TimedOut`]; [`WaitError::Interrupted`].
pub fn park_timeout(time: Duration) -> Result<(), WaitError> {
    park_with(&Wait::new().timeout(time))
}

/// [`park`], until `deadline` at most.
///
/// # Errors
/// [`WaitError::TimedOut`]; [`WaitError::Interrupted`].
pub fn park_until(deadline: Instant) -> Result<(), WaitError> {
    park_with(&Wait::new().until(deadline))
}

/// [`park`] with every option.
///
/// # Errors
/// As the options allow.
pub fn park_with(wait: &Wait) -> Result<(), WaitError> {
    let me = current();
    let _asleep = Asleep::enter(&me, Kind::Park, ptr::null::<()>());
    // Only this thread takes the permit, so what `done` has seen is still there afterwards; and there is no granter to
    // compete with, so it may leave whenever no permit was seen.
    block(&me, wait, || me.has_permit(), || true)?;
    me.take_permit();
    Ok(())
}
