//! Other ways of `os` to move bytes: several buffers at once, from descriptor to descriptor, and counters.
//!
//! One system call each, as in [`descriptors`](super::descriptors). (`os.pread`, `pwrite` and their kin, and `copy_file_range`, are for
//! files, which nobody is waited for at.)

use std::ffi::{CStr, c_int};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyList, PyTuple};
use quell::syscall;

use super::call::{Call, int};
use super::descriptors::{View, descriptor, number};
use super::wait;
use crate::primitives::call::Obj;

/// The buffers of a list or tuple, as the kernel takes them. None: the original has something to say of them.
struct Buffers {
    _views: Vec<View>,
    all: Vec<libc::iovec>,
}

// SAFETY: addresses in memory that the views keep, read by the kernel while the call is made.
unsafe impl Send for Buffers {}
// SAFETY: as above.
unsafe impl Sync for Buffers {}

impl Buffers {
    /// What the kernel takes at most.
    const MOST: usize = 1024;

    fn of(py: Python<'_>, sequence: Obj, flags: c_int) -> PyResult<Option<Buffers>> {
        // SAFETY: a live argument.
        let sequence = unsafe { Bound::<PyAny>::from_borrowed_ptr(py, sequence) };
        if !sequence.is_instance_of::<PyList>() && !sequence.is_instance_of::<PyTuple>() {
            return Ok(None);
        }
        let mut views = Vec::new();
        for buffer in sequence.try_iter()? {
            let Some(view) = View::of(buffer?.as_ptr(), flags) else { return Ok(None) };
            views.push(view);
        }
        if views.is_empty() || views.len() > Self::MOST {
            return Ok(None);
        }
        let vector = |view: &View| libc::iovec {
            iov_base: view.address() as *mut libc::c_void,
            iov_len: view.len(),
        };
        Ok(Some(Buffers { all: views.iter().map(vector).collect(), _views: views }))
    }
}

fn vectored(py: Python<'_>, call: &Call, flags: c_int, which: libc::c_long) -> PyResult<Obj> {
    let &[fd, buffers] = call.positional() else { return Ok(call.original()) };
    let Some(fd) = descriptor(fd) else { return Ok(call.original()) };
    let Some(buffers) = Buffers::of(py, buffers, flags)? else { return Ok(call.original()) };
    let at = buffers.all.as_ptr() as usize;
    // SAFETY: descriptors of memory that is kept until the call is over.
    unsafe { moved(py, which, [fd as usize, at, buffers.all.len(), 0, 0, 0]) }
}

/// Makes a call that answers how many bytes it has moved.
///
/// # Safety
/// As the call itself.
unsafe fn moved(py: Python<'_>, which: libc::c_long, arguments: [usize; 6]) -> PyResult<Obj> {
    // SAFETY: the caller's promise.
    let count = wait::done(py, |wait| unsafe { syscall::call(which, arguments, wait) })?;
    Ok(number(py, count))
}

/// `os.readv(fd, buffers)`.
pub(super) fn readv(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    vectored(py, call, ffi::PyBUF_WRITABLE, libc::SYS_readv)
}

/// `os.writev(fd, buffers)`.
pub(super) fn writev(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    vectored(py, call, ffi::PyBUF_SIMPLE, libc::SYS_writev)
}

/// A position argument: null or None for none. The outer None: it is something else.
fn position(argument: Obj) -> Option<Option<i64>> {
    // SAFETY: static object.
    if argument.is_null() || argument == unsafe { ffi::Py_None() } {
        return Some(None);
    }
    int(argument).map(Some)
}

/// The address of a position, or of none.
fn place(position: &mut Option<i64>) -> usize {
    position.as_mut().map_or(0, |position| &raw mut *position as usize)
}

/// `os.sendfile(out_fd, in_fd, offset, count)`.
pub(super) fn sendfile(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    const NAMES: [&CStr; 4] = [c"out_fd", c"in_fd", c"offset", c"count"];
    let Some([to, from, offset, count]) = call.bind(NAMES) else { return Ok(call.original()) };
    let (Some(to), Some(from), Some(mut offset), Some(count)) =
        (descriptor(to), descriptor(from), given(offset).and_then(position), size(count))
    else {
        return Ok(call.original());
    };
    let arguments = [to as usize, from as usize, place(&mut offset), count, 0, 0];
    // SAFETY: the kernel reads and writes the position.
    unsafe { moved(py, libc::SYS_sendfile, arguments) }
}

/// `os.splice(src, dst, count, offset_src=None, offset_dst=None, flags=0)`.
pub(super) fn splice(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    const NAMES: [&CStr; 6] = [c"src", c"dst", c"count", c"offset_src", c"offset_dst", c"flags"];
    let Some([from, to, count, start, end, flags]) = call.bind(NAMES) else {
        return Ok(call.original());
    };
    let flags = if flags.is_null() { Some(0) } else { size(flags) };
    let (Some(from), Some(to), Some(count), Some(mut start), Some(mut end), Some(flags)) =
        (descriptor(from), descriptor(to), size(count), position(start), position(end), flags)
    else {
        return Ok(call.original());
    };
    let (at, until) = (place(&mut start), place(&mut end));
    let arguments = [from as usize, at, to as usize, until, count, flags];
    // SAFETY: the kernel reads and writes the positions.
    unsafe { moved(py, libc::SYS_splice, arguments) }
}

fn given(argument: Obj) -> Option<Obj> {
    (!argument.is_null()).then_some(argument)
}

fn size(argument: Obj) -> Option<usize> {
    int(argument)?.try_into().ok()
}

/// A call on a counter of eight bytes; what stands in them then, or the error.
fn counter(py: Python<'_>, fd: c_int, which: libc::c_long, value: u64) -> PyResult<u64> {
    let mut word = value;
    let arguments = [fd as usize, &raw mut word as usize, size_of::<u64>(), 0, 0, 0];
    // SAFETY: the kernel reads or writes the word.
    wait::done(py, |wait| unsafe { syscall::call(which, arguments, wait) })?;
    Ok(word)
}

/// `os.eventfd_read(fd)`.
pub(super) fn eventfd_read(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let Some(fd) = call.bind([c"fd"]).and_then(|[fd]| descriptor(fd)) else {
        return Ok(call.original());
    };
    Ok(PyInt::new(py, counter(py, fd, libc::SYS_read, 0)?).into_any().into_ptr())
}

/// `os.eventfd_write(fd, value)`.
pub(super) fn eventfd_write(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let Some([fd, value]) = call.bind([c"fd", c"value"]) else { return Ok(call.original()) };
    let (Some(fd), Some(value)) = (descriptor(fd), int(value).and_then(|n| u64::try_from(n).ok()))
    else {
        return Ok(call.original());
    };
    counter(py, fd, libc::SYS_write, value)?;
    Ok(py.None().into_ptr())
}
