//! Reading and writing descriptors: `os.read`, `os.write`, `FileIO`, on which all of Python's files stand; and opening FIFOs.
//!
//! Each is one system call, made through quell. A read that was interrupted has taken nothing; a write that has written a part says
//! how much, as ever. What is read or written in several steps (`FileIO.readall`, and what `io` does in its buffers) can be
//! interrupted between two of them, as the main thread can be by a signal's handler.

use std::ffi::{CStr, c_int};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt};
use pyo3::{ffi, wrap_pyfunction};
use quell::syscall;

use super::call::{Call, int};
use super::wait;
use crate::primitives::call::Obj;

/// What the interpreter asks the system for at most.
const MOST: usize = isize::MAX as usize;

/// A view into an object's memory.
pub(super) struct View(Box<ffi::Py_buffer>);

impl View {
    /// The bytes of `object`; None if it has none, or none that may be written.
    pub(super) fn of(object: Obj, flags: c_int) -> Option<View> {
        let mut view = Box::new(MaybeUninit::<ffi::Py_buffer>::zeroed());
        // SAFETY: attached, a live object or null, and a place for the view. An error is taken back.
        unsafe {
            if object.is_null() || ffi::PyObject_GetBuffer(object, view.as_mut_ptr(), flags) != 0 {
                ffi::PyErr_Clear();
                return None;
            }
            Some(View(view.assume_init()))
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len as usize
    }

    pub(super) fn address(&self) -> usize {
        self.0.buf as usize
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: attached: views are made and dropped in bodies.
        unsafe { ffi::PyBuffer_Release(&raw mut *self.0) };
    }
}

/// A descriptor argument that is one; the original has something to say of the others.
pub(super) fn descriptor(number: Obj) -> Option<c_int> {
    c_int::try_from(int(number)?).ok().filter(|&fd| fd >= 0)
}

/// The descriptor, for a call.
pub(super) fn borrowed(fd: c_int) -> BorrowedFd<'static> {
    // SAFETY: not -1. Whoever passes it keeps it open; if somebody closes it all the same, the system says so, as it does for
    // the original.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// A bytes object of this length, to be filled.
pub(super) struct Fresh(Obj);

impl Fresh {
    pub(super) fn new(py: Python<'_>, length: usize) -> PyResult<Fresh> {
        // SAFETY: attached; a new object that nobody else has, or an error.
        let bytes = unsafe { ffi::PyBytes_FromStringAndSize(std::ptr::null(), length as isize) };
        if bytes.is_null() { Err(PyErr::fetch(py)) } else { Ok(Fresh(bytes)) }
    }

    pub(super) fn address(&self) -> usize {
        // SAFETY: a live bytes object.
        unsafe { ffi::PyBytes_AsString(self.0) as usize }
    }

    /// The object, with what was put into it.
    pub(super) fn cut(mut self, length: usize) -> Obj {
        let mut bytes = std::mem::replace(&mut self.0, std::ptr::null_mut());
        // SAFETY: an object that nobody else has. Without memory it is null, with an error.
        unsafe { _PyBytes_Resize(&raw mut bytes, length as isize) };
        bytes
    }
}

unsafe extern "C" {
    /// Cuts a bytes object that nobody else has.
    fn _PyBytes_Resize(bytes: *mut Obj, length: isize) -> c_int;
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // SAFETY: attached; null or ours.
        unsafe { ffi::Py_XDECREF(self.0) };
    }
}

/// Reads into memory that stays where it is until the call is over.
fn read_at(
    py: Python<'_>,
    fd: c_int,
    address: usize,
    length: usize,
) -> PyResult<Result<usize, c_int>> {
    wait::unlimited(py, |wait| {
        // SAFETY: a buffer that the caller keeps.
        let buffer = unsafe { std::slice::from_raw_parts_mut(address as *mut u8, length) };
        syscall::read(borrowed(fd), buffer, wait)
    })
}

fn write_at(
    py: Python<'_>,
    fd: c_int,
    address: usize,
    length: usize,
) -> PyResult<Result<usize, c_int>> {
    wait::unlimited(py, |wait| {
        // SAFETY: as above.
        let buffer = unsafe { std::slice::from_raw_parts(address as *const u8, length) };
        syscall::write(borrowed(fd), buffer, wait)
    })
}

pub(super) fn number(py: Python<'_>, value: usize) -> Obj {
    PyInt::new(py, value).into_any().into_ptr()
}

/// `os.read(fd, length)`.
pub(super) fn read(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let &[fd, length] = call.positional() else { return Ok(call.original()) };
    let (Some(fd), Some(length)) = (descriptor(fd), int(length).and_then(|n| n.try_into().ok()))
    else {
        return Ok(call.original());
    };
    let length: usize = length;
    let bytes = Fresh::new(py, length.min(MOST))?;
    let ended = read_at(py, fd, bytes.address(), length.min(MOST))?;
    ended.map(|count| bytes.cut(count)).map_err(|errno| wait::os_error(py, errno))
}

/// `os.write(fd, data)`.
pub(super) fn write(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let &[fd, data] = call.positional() else { return Ok(call.original()) };
    let (Some(fd), Some(view)) = (descriptor(fd), View::of(data, ffi::PyBUF_SIMPLE)) else {
        return Ok(call.original());
    };
    let ended = write_at(py, fd, view.address(), view.len())?;
    ended.map(|count| number(py, count)).map_err(|errno| wait::os_error(py, errno))
}

/// The descriptor of a FileIO that may be used for this: `readable` or `writable`. None: the original has an error.
fn of_file(py: Python<'_>, call: &Call, able: &str) -> Option<c_int> {
    let able = wait::method(py, call.slf, able).and_then(|able| able.is_truthy());
    let fd = wait::method(py, call.slf, "fileno");
    match (able, fd) {
        (Ok(true), Ok(fd)) => descriptor(fd.as_ptr()),
        _ => None,
    }
}

/// What FileIO's methods answer: None where there is nothing now and the descriptor does not block.
fn of_file_ended(py: Python<'_>, ended: Result<Obj, c_int>) -> PyResult<Obj> {
    match ended {
        Ok(answer) => Ok(answer),
        Err(libc::EAGAIN) => Ok(py.None().into_ptr()),
        Err(errno) => Err(wait::os_error(py, errno)),
    }
}

/// `FileIO.readinto(buffer)`.
pub(super) fn file_readinto(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let Some([buffer]) = call.bind([c""]) else { return Ok(call.original()) };
    let Some(fd) = of_file(py, call, "readable") else { return Ok(call.original()) };
    let flags = ffi::PyBUF_WRITABLE;
    let Some(view) = View::of(buffer, flags) else { return Ok(call.original()) };
    let ended = read_at(py, fd, view.address(), view.len().min(MOST))?;
    of_file_ended(py, ended.map(|count| number(py, count)))
}

/// `FileIO.read(size=-1)`.
pub(super) fn file_read(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let Some([size]) = call.bind([c""]) else { return Ok(call.original()) };
    let Some(fd) = of_file(py, call, "readable") else { return Ok(call.original()) };
    // SAFETY: static object.
    if size.is_null() || size == unsafe { ffi::Py_None() } || int(size).is_some_and(|n| n < 0) {
        return all(py, call, fd);
    }
    let Some(size) = int(size).and_then(|n| usize::try_from(n).ok()) else {
        return Ok(call.original());
    };
    let bytes = Fresh::new(py, size.min(MOST))?;
    let ended = read_at(py, fd, bytes.address(), size.min(MOST))?;
    of_file_ended(py, ended.map(|count| bytes.cut(count)))
}

/// `FileIO.readall()`.
pub(super) fn file_readall(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    match of_file(py, call, "readable") {
        Some(fd) => all(py, call, fd),
        None => Ok(call.original()),
    }
}

fn all(py: Python<'_>, call: &Call, fd: c_int) -> PyResult<Obj> {
    const STEP: usize = 64 * 1024;
    if kind(|status| {
        // SAFETY: the system writes the status.
        unsafe { libc::fstat(fd, status) }
    })
    .is_none_or(|kind| kind == libc::S_IFREG || kind == libc::S_IFDIR)
    {
        // Nothing to wait for.
        return Ok(call.original());
    }
    let mut got: Vec<u8> = Vec::new();
    loop {
        let before = got.len();
        got.resize(before + STEP.max(before / 2), 0);
        let rest = &mut got[before..];
        let (address, room) = (rest.as_mut_ptr() as usize, rest.len());
        match read_at(py, fd, address, room)? {
            Ok(0) => got.truncate(before),
            Ok(count) => {
                got.truncate(before + count);
                continue;
            }
            Err(libc::EAGAIN) if before > 0 => got.truncate(before),
            Err(libc::EAGAIN) => return Ok(py.None().into_ptr()),
            Err(errno) => return Err(wait::os_error(py, errno)),
        }
        return Ok(PyBytes::new(py, &got).into_any().into_ptr());
    }
}

/// `FileIO.write(data)`.
pub(super) fn file_write(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let Some([data]) = call.bind([c""]) else { return Ok(call.original()) };
    let Some(fd) = of_file(py, call, "writable") else { return Ok(call.original()) };
    let Some(view) = View::of(data, ffi::PyBUF_SIMPLE) else { return Ok(call.original()) };
    let ended = write_at(py, fd, view.address(), view.len().min(MOST))?;
    of_file_ended(py, ended.map(|count| number(py, count)))
}

/// What kind of file it is.
fn kind(stat: impl FnOnce(*mut libc::stat) -> c_int) -> Option<libc::mode_t> {
    let mut status = MaybeUninit::<libc::stat>::zeroed();
    if stat(status.as_mut_ptr()) != 0 {
        return None;
    }
    // SAFETY: filled in by the system, and all zero before.
    Some(unsafe { status.assume_init() }.st_mode & libc::S_IFMT)
}

/// The path as the system takes it, if it is that of a FIFO, whose opening waits for the other end.
fn fifo<'py>(py: Python<'py>, path: Obj) -> Option<Bound<'py, PyBytes>> {
    // SAFETY: a live object or null; errors are taken back.
    let encoded = unsafe {
        if path.is_null() || ffi::PyLong_Check(path) != 0 {
            return None;
        }
        let mut encoded = std::ptr::null_mut::<ffi::PyObject>();
        if ffi::PyUnicode_FSConverter(path, (&raw mut encoded).cast()) == 0 {
            ffi::PyErr_Clear();
            return None;
        }
        Bound::from_owned_ptr(py, encoded).cast_into::<PyBytes>().ok()?
    };
    let path = CStr::from_bytes_until_nul(terminated(&encoded)).ok()?;
    let kind = kind(|status| {
        // SAFETY: a path that ends, and a place for the status.
        unsafe { libc::stat(path.as_ptr(), status) }
    });
    kind.is_some_and(|kind| kind == libc::S_IFIFO).then_some(encoded)
}

/// With the zero that follows the bytes of every bytes object.
fn terminated<'a>(bytes: &'a Bound<'_, PyBytes>) -> &'a [u8] {
    let bytes = bytes.as_bytes();
    // SAFETY: CPython keeps a zero there.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr(), bytes.len() + 1) }
}

/// Opens a FIFO.
fn open_fifo(
    py: Python<'_>,
    path: &Bound<'_, PyBytes>,
    name: Obj,
    flags: c_int,
    mode: u32,
) -> PyResult<Obj> {
    use std::os::fd::IntoRawFd;
    use std::os::unix::ffi::OsStrExt;
    let place = std::path::PathBuf::from(std::ffi::OsStr::from_bytes(path.as_bytes()));
    let ended =
        wait::unlimited(py, |wait| syscall::open(&place, flags, mode as libc::mode_t, wait))?;
    ended
        .map(|fd| number(py, fd.into_raw_fd() as usize))
        .map_err(|errno| wait::file_error(py, errno, name))
}

/// `os.open(path, flags, mode=0o777, *, dir_fd=None)`.
pub(super) fn open(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let Some([path, flags, mode]) = call.bind([c"path", c"flags", c"mode"]) else {
        return Ok(call.original());
    };
    let mode_given = if mode.is_null() { Some(0o777) } else { int(mode) };
    let (Some(encoded), Some(asked), Some(mode)) = (fifo(py, path), int(flags), mode_given) else {
        return Ok(call.original());
    };
    let Ok(asked) = c_int::try_from(asked) else { return Ok(call.original()) };
    if asked & libc::O_NONBLOCK != 0 {
        return Ok(call.original());
    }
    let none = py.None();
    let told = PyInt::new(py, asked | libc::O_CLOEXEC);
    wait::audit(py, c"open", &[path, none.as_ptr(), told.as_ptr()])?;
    open_fifo(py, &encoded, path, asked, mode as u32)
}

/// What `io.open` is given as its opener, for a FIFO.
#[pyfunction]
fn open_interruptibly(
    py: Python<'_>,
    path: &Bound<'_, PyAny>,
    flags: c_int,
) -> PyResult<Py<PyAny>> {
    let encoded = path.py().import("os")?.getattr("fsencode")?.call1((path,))?;
    let fd = open_fifo(py, encoded.cast::<PyBytes>()?, path.as_ptr(), flags, 0o666)?;
    // SAFETY: a new reference.
    Ok(unsafe { Bound::from_owned_ptr(py, fd) }.unbind())
}

/// `io.open`, which is `open`.
pub(super) fn open_file(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    /// file, mode, buffering, encoding, errors, newline, closefd.
    const BEFORE_OPENER: usize = 7;
    let first = call.positional().first().copied();
    let named = call.named();
    let opener = |name: Obj| {
        // SAFETY: a live str.
        unsafe { ffi::PyUnicode_CompareWithASCIIString(name, c"opener".as_ptr()) == 0 }
    };
    let has_opener = call.positional().len() > BEFORE_OPENER || named.iter().any(|n| opener(n.0));
    if has_opener || first.and_then(|path| fifo(py, path)).is_none() {
        return Ok(call.original());
    }
    let given = wrap_pyfunction!(open_interruptibly, py)?;
    call.original_and_named(py, c"opener", given.as_ptr())
}
