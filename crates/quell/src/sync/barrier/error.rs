//! How a wait at a barrier fails.

use crate::interrupt::Interrupted;
use crate::wait::WaitError;
use std::fmt;

/// The barrier is broken: one of its parties gave up, its action panicked, or it was aborted or reset.
/// [`Barrier::reset`](super::Barrier::reset) makes it usable again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenBarrier(pub(super) ());

impl fmt::Display for BrokenBarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the barrier is broken: one of its parties gave up, or it was aborted or reset")
    }
}

impl std::error::Error for BrokenBarrier {}

/// Why a wait at a barrier ended before all had arrived.
#[derive(Debug)]
pub enum BarrierError {
    /// The barrier was broken, by another party or before.
    Broken(BrokenBarrier),
    /// The deadline has passed. The barrier is broken.
    TimedOut,
    /// The thread was interrupted. The barrier is broken.
    Interrupted(Interrupted),
    /// A signal handler ran in the thread, or it was nudged, and the wait had asked to know. The barrier is broken.
    Signalled,
}

impl fmt::Display for BarrierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BarrierError::Broken(broken) => broken.fmt(f),
            BarrierError::TimedOut => f.write_str("the wait at the barrier timed out"),
            BarrierError::Interrupted(interrupted) => interrupted.fmt(f),
            BarrierError::Signalled => f.write_str("the wait at the barrier was ended by a signal"),
        }
    }
}

impl std::error::Error for BarrierError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BarrierError::Broken(broken) => Some(broken),
            BarrierError::Interrupted(interrupted) => Some(interrupted),
            BarrierError::TimedOut | BarrierError::Signalled => None,
        }
    }
}

impl From<BrokenBarrier> for BarrierError {
    fn from(broken: BrokenBarrier) -> BarrierError {
        BarrierError::Broken(broken)
    }
}

impl From<WaitError> for BarrierError {
    fn from(error: WaitError) -> BarrierError {
        match error {
            WaitError::TimedOut => BarrierError::TimedOut,
            WaitError::Signalled => BarrierError::Signalled,
            other => BarrierError::Interrupted(other.only_interrupt()),
        }
    }
}
