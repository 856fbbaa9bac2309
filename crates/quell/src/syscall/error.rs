//! How a system call ends that does not succeed.

use crate::interrupt::Interrupted;
use crate::wait::WaitError;
use std::fmt;
use std::io;

/// Why a system call came back without success. Except for [`Os`](CallError::Os), it had no effect, unless the call's own
/// documentation says otherwise.
#[derive(Debug)]
pub enum CallError {
    /// The system refused it.
    Os(io::Error),
    /// The deadline has passed.
    TimedOut,
    /// The thread was interrupted.
    Interrupted(Interrupted),
    /// A signal handler ran in the thread, or it was nudged, and the wait had asked to know. A handler that was installed
    /// with `SA_RESTART` ends no call, here as anywhere.
    Signalled,
}

impl CallError {
    /// The interrupt, if it was one.
    ///
    /// # Errors
    /// The error itself, if it was something else.
    pub fn into_interrupted(self) -> Result<Interrupted, CallError> {
        match self {
            CallError::Interrupted(interrupted) => Ok(interrupted),
            other => Err(other),
        }
    }

    /// The system's error number, if it was the system.
    pub fn os_error(&self) -> Option<i32> {
        match self {
            CallError::Os(error) => error.raw_os_error(),
            _ => None,
        }
    }

    #[cfg(quell_calls)]
    pub(super) fn last(number: isize) -> CallError {
        CallError::Os(io::Error::from_raw_os_error(number as i32))
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Os(error) => error.fmt(f),
            CallError::TimedOut => f.write_str("the system call timed out"),
            CallError::Interrupted(interrupted) => interrupted.fmt(f),
            CallError::Signalled => f.write_str("the system call was ended by a signal"),
        }
    }
}

impl std::error::Error for CallError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CallError::Os(error) => Some(error),
            CallError::Interrupted(interrupted) => Some(interrupted),
            CallError::TimedOut | CallError::Signalled => None,
        }
    }
}

impl From<WaitError> for CallError {
    fn from(ended: WaitError) -> CallError {
        match ended {
            WaitError::TimedOut => CallError::TimedOut,
            WaitError::Signalled => CallError::Signalled,
            other => CallError::Interrupted(other.only_interrupt()),
        }
    }
}

/// For code that speaks `std::io`. An interrupt has the kind [`Other`](io::ErrorKind::Other): std's helpers, such as
/// `read_to_end`, take [`Interrupted`](io::ErrorKind::Interrupted) for "try again" and would never end. That kind stands
/// for [`Signalled`](CallError::Signalled), whose meaning it is. [`io::interrupted`](crate::io::interrupted) finds the
/// interrupt in such an error again.
impl From<CallError> for io::Error {
    fn from(error: CallError) -> io::Error {
        match error {
            CallError::Os(error) => error,
            CallError::Interrupted(interrupted) => io::Error::other(interrupted),
            CallError::TimedOut => io::Error::new(io::ErrorKind::TimedOut, CallError::TimedOut),
            CallError::Signalled => {
                io::Error::new(io::ErrorKind::Interrupted, CallError::Signalled)
            }
        }
    }
}
