//! `os.wait` and its kin, under all of `subprocess` and `multiprocessing`.

use std::ffi::c_int;

use pyo3::prelude::*;
use pyo3::types::{PyInt, PyTuple};
use quell::syscall;

use super::call::{Call, int};
use super::wait;
use crate::primitives::call::Obj;

/// `os.waitpid(pid, options)`.
pub(super) fn waitpid(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let &[pid, options] = call.positional() else { return Ok(call.original()) };
    match (small(pid), small(options)) {
        (Some(pid), Some(options)) if options & libc::WNOHANG == 0 => child(py, pid, options),
        _ => Ok(call.original()),
    }
}

/// `os.wait()`.
pub(super) fn wait(py: Python<'_>, _call: &Call) -> PyResult<Obj> {
    child(py, -1, 0)
}

fn small(number: Obj) -> Option<c_int> {
    int(number)?.try_into().ok()
}

fn child(py: Python<'_>, pid: c_int, options: c_int) -> PyResult<Obj> {
    let (pid, status) = wait::done(py, |wait| syscall::waitpid(pid, options, wait))?;
    Ok(PyTuple::new(py, [pid, status])?.into_any().into_ptr())
}

/// `os.wait3(options)`.
pub(super) fn wait3(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let Some([options]) = call.bind([c"options"]) else { return Ok(call.original()) };
    let Some(asked) = small(options).filter(|o| o & libc::WNOHANG == 0) else {
        return Ok(call.original());
    };
    let looks = PyInt::new(py, asked | libc::WNOHANG);
    look_and_wait(py, (libc::P_ALL, 0), ends(asked), || call.original_with(py, &[looks.as_ptr()]))
}

/// `os.wait4(pid, options)`.
pub(super) fn wait4(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let Some([pid, options]) = call.bind([c"pid", c"options"]) else { return Ok(call.original()) };
    let (Some(number), Some(asked)) = (small(pid), small(options)) else {
        return Ok(call.original());
    };
    if asked & libc::WNOHANG != 0 {
        return Ok(call.original());
    }
    let whom = match number {
        -1 => (libc::P_ALL, 0),
        // SAFETY: asks for the process group.
        0 => (libc::P_PGID, unsafe { libc::getpgrp() }.cast_unsigned()),
        group if group < 0 => (libc::P_PGID, group.unsigned_abs()),
        pid => (libc::P_PID, pid.cast_unsigned()),
    };
    let looks = PyInt::new(py, asked | libc::WNOHANG);
    look_and_wait(py, whom, ends(asked), || call.original_with(py, &[pid, looks.as_ptr()]))
}

/// What these options of `wait4` wait for, in those of `waitid`.
fn ends(options: c_int) -> c_int {
    libc::WEXITED | options & (libc::WUNTRACED | libc::WCONTINUED)
}

/// `os.waitid(idtype, id, options)`.
pub(super) fn waitid(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let &[kind, id, options] = call.positional() else { return Ok(call.original()) };
    let (Some(number), Some(of), Some(asked)) = (small(kind), small(id), small(options)) else {
        return Ok(call.original());
    };
    if asked & libc::WNOHANG != 0 {
        return Ok(call.original());
    }
    let looks = PyInt::new(py, asked | libc::WNOHANG);
    let whom = (number.cast_unsigned(), of.cast_unsigned());
    look_and_wait(py, whom, asked, || call.original_with(py, &[kind, id, looks.as_ptr()]))
}

/// Has the original look, and waits as often as it has found nothing: for the same change of the same children, without taking it.
fn look_and_wait(
    py: Python<'_>,
    (kind, id): (libc::idtype_t, libc::id_t),
    events: c_int,
    look: impl Fn() -> PyResult<Obj>,
) -> PyResult<Obj> {
    let events = events | libc::WNOWAIT;
    loop {
        let answer = look()?;
        if answer.is_null() {
            return Ok(answer);
        }
        // SAFETY: a new reference: None, or a tuple that begins with a process number, 0 if there was nothing.
        let found = unsafe { Bound::<PyAny>::from_owned_ptr(py, answer) };
        let nothing = found.is_none()
            || found.get_item(0).and_then(|pid| pid.extract::<c_int>()).is_ok_and(|pid| pid == 0);
        if !nothing {
            return Ok(found.into_ptr());
        }
        wait::done(py, |wait| syscall::waitid(kind, id, events, wait).map(drop))?;
    }
}
