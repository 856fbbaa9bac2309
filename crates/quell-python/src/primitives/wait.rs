//! The slow path that all primitives share: block without the GIL, run Python's signal handlers, raise interrupts;
//! and the time-outs of the standard library's signatures.
//!
//! A wait ends in one of four ways, decided by the core: what was waited for came; the deadline passed; an interrupt
//! won, and nothing was taken; or, in the main thread, a signal handler of the process ran. In the last case the
//! Python-level handlers run here, and if none raises, the wait goes on until the same deadline.

use std::time::{Duration, Instant};

use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use quell::wait::{Wait, WaitError};

use super::call::Obj;
use crate::delivery;

/// Blocks in `operation` with the GIL released. None: the deadline passed.
#[cold]
#[inline(never)]
pub(crate) fn block<T: Send>(
    py: Python<'_>,
    deadline: Option<Instant>,
    mut operation: impl FnMut(&Wait) -> Result<T, WaitError> + Send,
) -> PyResult<Option<T>> {
    loop {
        let wait = delivery::wait_options(py, deadline)?;
        match py.detach(|| operation(&wait)) {
            Ok(value) => return Ok(Some(value)),
            Err(WaitError::TimedOut) => return Ok(None),
            Err(WaitError::Interrupted(interrupt)) => {
                // An interrupt that may not be raised here (a scope of a suspended generator) is put off.
                if let Some(error) = delivery::raise(py, interrupt) {
                    return Err(error);
                }
            }
            Err(WaitError::Signalled) => py.check_signals()?,
        }
    }
}

/// Longest time-out in seconds, `threading.TIMEOUT_MAX`: what fits into 64 bits of nanoseconds.
const LONGEST: f64 = 9_223_372_036.0;

/// The moment `seconds` from now. None if the clock does not reach that far.
pub(crate) fn after(seconds: f64) -> Option<Instant> {
    Duration::try_from_secs_f64(seconds).ok().and_then(|d| Instant::now().checked_add(d))
}

#[cold]
fn too_large() -> PyErr {
    PyOverflowError::new_err("timestamp out of range for platform time_t")
}

/// A number of seconds, from anything `float()` takes.
///
/// # Safety
/// Attached; `object` is live.
unsafe fn seconds(object: Obj) -> PyResult<f64> {
    // SAFETY: the caller's promise.
    unsafe {
        let value = ffi::PyFloat_AsDouble(object);
        if value == -1.0 && !ffi::PyErr_Occurred().is_null() {
            return Err(PyErr::fetch(Python::assume_attached()));
        }
        Ok(value)
    }
}

/// How long an acquire may block.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Patience {
    /// Until the lock is there.
    Forever,
    /// Not at all.
    Try,
    /// At most so many seconds.
    Seconds(f64),
}

impl Patience {
    /// From the arguments `blocking` and `timeout` of `Lock.acquire`, null where not given, with the standard
    /// library's rules: -1 means for ever and nothing else may be negative; no time-out without blocking.
    ///
    /// # Safety
    /// Attached; each object is live or null.
    pub(crate) unsafe fn of_acquire(blocking: Obj, timeout: Obj) -> PyResult<Self> {
        // SAFETY: the caller's promise; a C integer or a float is read, as `_PyTime_FromSecondsObject` does.
        unsafe {
            let blocking = blocking.is_null() || super::call::truth(blocking)?;
            let timeout = if timeout.is_null() {
                -1.0
            } else if ffi::PyFloat_Check(timeout) != 0 {
                ffi::PyFloat_AS_DOUBLE(timeout)
            } else {
                let whole = ffi::PyLong_AsLongLong(timeout);
                if whole == -1 && !ffi::PyErr_Occurred().is_null() {
                    return Err(PyErr::fetch(Python::assume_attached()));
                }
                whole as f64
            };
            if timeout.is_nan() {
                return Err(PyValueError::new_err("Invalid value NaN (not a number)"));
            }
            if timeout > LONGEST {
                return Err(too_large());
            }
            match (blocking, timeout) {
                (true, -1.0) => Ok(Self::Forever),
                (false, -1.0) => Ok(Self::Try),
                (false, _) => {
                    Err(PyValueError::new_err("can't specify a timeout for a non-blocking call"))
                }
                (true, t) if t < 0.0 => Err(PyValueError::new_err(if cfg!(Py_3_13) {
                    "timeout value must be a non-negative number"
                } else {
                    "timeout value must be positive"
                })),
                (true, t) => Ok(Self::Seconds(t)),
            }
        }
    }

    /// From the argument `timeout` of `Event.wait` and `Condition.wait`, null where not given: None means for
    /// ever, and what is not positive means not at all.
    ///
    /// # Safety
    /// As [`Self::of_acquire`].
    pub(crate) unsafe fn of_wait(timeout: Obj) -> PyResult<Self> {
        // SAFETY: the caller's promise.
        unsafe {
            if timeout.is_null() || timeout == ffi::Py_None() {
                return Ok(Self::Forever);
            }
            match seconds(timeout)? {
                t if t > LONGEST => Err(too_large()),
                t if t > 0.0 => Ok(Self::Seconds(t)),
                _ => Ok(Self::Try),
            }
        }
    }

    /// From the arguments `block` and `timeout` of `Queue.get` and `Queue.put`, null where not given: None means
    /// for ever; without `block` the time-out is not looked at.
    ///
    /// # Safety
    /// As [`Self::of_acquire`].
    pub(crate) unsafe fn of_queue(block: Obj, timeout: Obj) -> PyResult<Self> {
        // SAFETY: the caller's promise.
        unsafe {
            if !block.is_null() && !super::call::truth(block)? {
                return Ok(Self::Try);
            }
            if timeout.is_null() || timeout == ffi::Py_None() {
                return Ok(Self::Forever);
            }
            match seconds(timeout)? {
                t if t > LONGEST => Err(too_large()),
                t if t >= 0.0 => Ok(Self::Seconds(t)),
                _ => Err(PyValueError::new_err("'timeout' must be a non-negative number")),
            }
        }
    }

    /// When patience ends: None means never. Call it when about to block, not before.
    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Forever => None,
            Self::Try => Some(Instant::now()),
            Self::Seconds(t) => after(t),
        }
    }
}

/// Blocks until it is done, whatever is pending: as under a shield. Without the GIL.
pub(crate) fn insist<T>(operation: impl Fn(&Wait) -> Result<T, WaitError>) -> T {
    let wait = Wait { deadline: None, interruptible: false, signals: false };
    loop {
        // Without a deadline, interrupts and signals a wait ends only in success; should it end otherwise after
        // all, it is begun again.
        if let Ok(value) = operation(&wait) {
            return value;
        }
    }
}
