//! `time.sleep`.

use std::time::Duration;

use pyo3::ffi;
use pyo3::prelude::*;
use quell::syscall::{self, Nap};

use super::call::Call;
use super::wait;
use crate::primitives::call::Obj;

/// `time.sleep(seconds)`: by the monotonic clock, to a moment that is fixed when it begins.
pub(super) fn sleep(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let Some(duration) = call.positional().first().and_then(|&seconds| duration(seconds)) else {
        return Ok(call.original());
    };
    #[cfg(Py_3_13)]
    wait::audit(py, c"time.sleep", call.positional())?;
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes the time.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let end = Duration::new(now.tv_sec as u64, now.tv_nsec as u32) + duration;
    wait::done(py, |wait| syscall::clock_nanosleep(libc::CLOCK_MONOTONIC, Nap::Until(end), wait))?;
    Ok(py.None().into_ptr())
}

/// How long to sleep, if it is so many seconds, and worth it.
fn duration(seconds: Obj) -> Option<Duration> {
    /// Above this the original has an opinion.
    const LONGEST: f64 = 1e9;
    // SAFETY: a live object, whose type says what it is.
    let seconds = unsafe {
        if ffi::PyFloat_Check(seconds) != 0 {
            ffi::PyFloat_AS_DOUBLE(seconds)
        } else if ffi::PyLong_Check(seconds) != 0 {
            super::call::int(seconds)? as f64
        } else {
            return None;
        }
    };
    if !(seconds > 0.0 && seconds < LONGEST) {
        return None;
    }
    // Up to the next nanosecond, as there: a sleep is never too short.
    Some(Duration::from_nanos((seconds * 1e9).ceil() as u64))
}
