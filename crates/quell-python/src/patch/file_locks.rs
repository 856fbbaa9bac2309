//! File locks: `fcntl.flock`, `fcntl.lockf`, `fcntl.fcntl` with the commands that wait for one, `os.lockf`.

use std::ffi::c_int;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt};
use quell::syscall;
use quell::syscall::RangeOwner;

use super::call::{Call, int};
use super::descriptors::{borrowed, descriptor};
use super::wait;
use crate::primitives::call::Obj;

/// A file argument as a descriptor, and what is to be done, if it is to wait for a lock.
fn asked(file: Obj, operation: Obj) -> Option<(c_int, c_int)> {
    let operation = c_int::try_from(int(operation)?).ok()?;
    if operation & libc::LOCK_NB != 0 || operation & (libc::LOCK_SH | libc::LOCK_EX) == 0 {
        return None;
    }
    Some((file_descriptor(file)?, operation))
}

fn file_descriptor(file: Obj) -> Option<c_int> {
    // SAFETY: a live object; an error is taken back, for the original to make it again.
    let fd = unsafe {
        let fd = ffi::PyObject_AsFileDescriptor(file);
        if fd < 0 {
            ffi::PyErr_Clear();
        }
        fd
    };
    (fd >= 0).then_some(fd)
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

/// `fcntl.fcntl(fd, cmd, arg=0)` with `F_SETLKW` or `F_OFD_SETLKW` and a `struct flock` in bytes, which are returned.
pub(super) fn fcntl(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let &[file, command, argument] = call.positional() else { return Ok(call.original()) };
    let waits = |command: &c_int| [libc::F_SETLKW, libc::F_OFD_SETLKW].contains(command);
    let asked = int(command).and_then(|command| command.try_into().ok()).filter(waits);
    // SAFETY: a live argument.
    let bytes = unsafe { Bound::<PyAny>::from_borrowed_ptr(py, argument) };
    let (Some(asked), Ok(bytes)) = (asked, bytes.cast::<PyBytes>()) else {
        return Ok(call.original());
    };
    /// What the original takes.
    const MOST: usize = 1024;
    if !(size_of::<libc::flock>()..=MOST).contains(&bytes.as_bytes().len()) {
        return Ok(call.original());
    }
    let Some(fd) = file_descriptor(file) else { return Ok(call.original()) };
    let number = PyInt::new(py, fd);
    wait::audit(py, c"fcntl.fcntl", &[number.as_ptr(), command, argument])?;
    // SAFETY: as many bytes as the structure has, for which every value is one.
    let range: libc::flock =
        unsafe { bytes.as_bytes().as_ptr().cast::<libc::flock>().read_unaligned() };
    let owner = if asked == libc::F_SETLKW { RangeOwner::Process } else { RangeOwner::OpenFile };
    wait::done(py, |wait| syscall::lock_range(borrowed(fd), owner, &range, wait))?;
    // The kernel leaves it as it is.
    Ok(PyBytes::new(py, bytes.as_bytes()).into_any().into_ptr())
}

/// `os.F_LOCK`, which the crate `libc` has for other systems only.
const F_LOCK: std::ffi::c_long = 1;

/// `os.lockf(fd, command, length)` with `F_LOCK`: from where the file stands.
pub(super) fn lockf_here(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let &[fd, command, length] = call.positional() else { return Ok(call.original()) };
    let (Some(number), Some(F_LOCK), Some(len)) = (descriptor(fd), int(command), int(length))
    else {
        return Ok(call.original());
    };
    wait::audit(py, c"os.lockf", &[fd, command, length])?;
    // SAFETY: plain data, for which zero is a value.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = libc::F_WRLCK as i16;
    range.l_whence = libc::SEEK_CUR as i16;
    range.l_len = len;
    wait::done(py, |wait| {
        syscall::lock_range(borrowed(number), RangeOwner::Process, &range, wait)
    })?;
    Ok(py.None().into_ptr())
}
