//! `fcntl.flock` and `fcntl.lockf`.

use std::ffi::c_int;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyInt;
use quell::syscall;
use quell::syscall::RangeOwner;

use super::call::{Call, int};
use super::descriptors::borrowed;
use super::wait;
use crate::primitives::call::Obj;

/// A file argument as a descriptor, and what is to be done, if it is to wait for a lock.
fn asked(file: Obj, operation: Obj) -> Option<(c_int, c_int)> {
    let operation = c_int::try_from(int(operation)?).ok()?;
    if operation & libc::LOCK_NB != 0 || operation & (libc::LOCK_SH | libc::LOCK_EX) == 0 {
        return None;
    }
    // SAFETY: a live object; an error is taken back, for the original to make it again.
    let fd = unsafe {
        let fd = ffi::PyObject_AsFileDescriptor(file);
        if fd < 0 {
            ffi::PyErr_Clear();
        }
        fd
    };
    (fd >= 0).then_some((fd, operation))
}

/// `fcntl.flock(fd, operation)`.
pub(super) fn flock(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let &[file, operation] = call.positional() else { return Ok(call.original()) };
    let Some((fd, wanted)) = asked(file, operation) else { return Ok(call.original()) };
    let number = PyInt::new(py, fd);
    wait::audit(py, c"fcntl.flock", &[number.as_ptr(), operation])?;
    wait::done(py, |wait| syscall::flock(borrowed(fd), wanted, wait))?;
    Ok(py.None().into_ptr())
}

/// `fcntl.lockf(fd, cmd, len=0, start=0, whence=0)`.
pub(super) fn lockf(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let Some([file, command, length, start, whence]) = call.bind([c"", c"", c"", c"", c""]) else {
        return Ok(call.original());
    };
    let given = |argument: Obj| if argument.is_null() { Some(0) } else { int(argument) };
    let ask = if file.is_null() { None } else { asked(file, command) };
    let (Some((fd, wanted)), Some(len), Some(from), Some(base)) =
        (ask, given(length), given(start), given(whence))
    else {
        return Ok(call.original());
    };
    let Ok(base) = i16::try_from(base) else { return Ok(call.original()) };
    let none = py.None();
    let or_none = |argument: Obj| if argument.is_null() { none.as_ptr() } else { argument };
    let (number, place) = (PyInt::new(py, fd), PyInt::new(py, base));
    let told = [number.as_ptr(), command, or_none(length), or_none(start), place.as_ptr()];
    wait::audit(py, c"fcntl.lockf", &told)?;
    // SAFETY: plain data, for which zero is a value.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    let kind = if wanted & libc::LOCK_SH != 0 { libc::F_RDLCK } else { libc::F_WRLCK };
    range.l_type = kind as i16;
    range.l_whence = base;
    range.l_start = from;
    range.l_len = len;
    wait::done(py, |wait| syscall::lock_range(borrowed(fd), RangeOwner::Process, &range, wait))?;
    Ok(py.None().into_ptr())
}
