//! `select.select`, `poll` and `epoll`.
//!
//! The original does the looking, with no time to wait, and gives the answer; between two looks the thread waits here for the
//! same descriptors. So the answer is always the original's own, and an event that somebody else takes in between is waited for again.

use std::ffi::c_int;
use std::time::Instant;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyList, PyTuple};
use quell::syscall::{self, PollFd};

use super::call::{Call, int};
use super::descriptors::borrowed;
use super::site::loaded;
use super::wait::{self, Ended};
use crate::cpython::layout::read;
use crate::delivery::gil_cell::GilCell;
use crate::primitives::call::Obj;
use crate::primitives::wait::after;

/// How long the caller is ready to wait.
enum Time {
    Forever,
    Until(Instant),
    /// Not at all, or what the original has an opinion on.
    Original,
}

/// A time argument, null where not given, in units of so many seconds. What is negative waits for ever, where that is said so.
fn time(argument: Obj, unit: f64, negative: Time) -> Time {
    /// Milliseconds in an int, which is as far as `poll` and `epoll` go.
    const LONGEST: f64 = 2_147_483.0;
    // SAFETY: attached; a live object or null; errors are taken back.
    let seconds = unsafe {
        if argument.is_null() || argument == ffi::Py_None() {
            return Time::Forever;
        }
        let number = ffi::PyFloat_AsDouble(argument);
        if number == -1.0 && !ffi::PyErr_Occurred().is_null() {
            ffi::PyErr_Clear();
            return Time::Original;
        }
        number * unit
    };
    if seconds < 0.0 {
        return negative;
    }
    match after(seconds) {
        Some(end) if seconds > 0.0 && seconds < LONGEST => Time::Until(end),
        _ => Time::Original,
    }
}

impl Time {
    fn deadline(&self) -> Option<Option<Instant>> {
        match *self {
            Time::Forever => Some(None),
            Time::Until(end) => Some(Some(end)),
            Time::Original => None,
        }
    }
}

/// Waits for one of these. False: the deadline has passed.
fn any(py: Python<'_>, asked: &[(c_int, i16)], deadline: Option<Instant>) -> PyResult<bool> {
    let fds: Vec<_> = asked.iter().map(|(fd, events)| (borrowed(*fd), *events)).collect();
    let ended = wait::blocking(py, deadline, |wait| {
        let mut asked: Vec<_> = fds.iter().map(|(fd, events)| PollFd::new(fd, *events)).collect();
        syscall::poll(&mut asked, wait)
    })?;
    match ended {
        Ended::Done(_) => Ok(true),
        Ended::Late => Ok(false),
        Ended::Failed(errno) => Err(wait::os_error(py, errno)),
    }
}

/// `select.select(rlist, wlist, xlist, timeout=None)`.
pub(super) fn select(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let (lists, timeout) = match *call.positional() {
        [r, w, x] => ([r, w, x], std::ptr::null_mut()),
        [r, w, x, timeout] => ([r, w, x], timeout),
        _ => return Ok(call.original()),
    };
    let Some(deadline) = time(timeout, 1.0, Time::Original).deadline() else {
        return Ok(call.original());
    };
    // Once for all looks: they may be iterators.
    let mut kept = Vec::new();
    for list in lists {
        // SAFETY: a live argument.
        let list = unsafe { Bound::from_borrowed_ptr(py, list) };
        if list.is_instance_of::<PyList>() || list.is_instance_of::<PyTuple>() {
            kept.push(list);
            continue;
        }
        // An iterator cannot be given to the original afterwards, so the error is raised here, in its words.
        let items = list.try_iter().map_err(|_| {
            pyo3::exceptions::PyTypeError::new_err("arguments 1-3 must be sequences")
        })?;
        kept.push(PyList::new(py, items.collect::<PyResult<Vec<_>>>()?)?.into_any());
    }
    let zero = PyInt::new(py, 0);
    let [r, w, x] = [0, 1, 2].map(|i| kept[i].as_ptr());
    let look = || call.original_with(py, &[r, w, x, zero.as_ptr()]);
    let mut asked: Option<Sets> = None;
    loop {
        let answer = look()?;
        if answer.is_null() {
            return Ok(answer);
        }
        // SAFETY: a new reference: three lists.
        let found = unsafe { Bound::from_owned_ptr(py, answer) };
        let mut something = false;
        for list in found.try_iter()? {
            something |= !list?.is_empty()?;
        }
        if something || deadline.is_some_and(|end| end <= Instant::now()) {
            return Ok(found.into_ptr());
        }
        let ended = {
            let sets = match &asked {
                Some(sets) => sets,
                None => asked.insert(Sets::of(&kept)?),
            };
            wait::blocking(py, deadline, |wait| {
                let Sets { count, mut sets } = *sets;
                let [r, w, x] = sets.each_mut();
                syscall::select(count, Some(r), Some(w), Some(x), wait)
            })?
        };
        if let Ended::Failed(errno) = ended {
            return Err(wait::os_error(py, errno));
        }
    }
}

/// The descriptors of a select.
struct Sets {
    count: usize,
    sets: [libc::fd_set; 3],
}

impl Sets {
    fn of(lists: &[Bound<'_, PyAny>]) -> PyResult<Sets> {
        // SAFETY: a set of bits, for which zero is a value: the empty one.
        let mut all = Sets { count: 0, sets: unsafe { std::mem::zeroed() } };
        for (list, set) in lists.iter().zip(&mut all.sets) {
            for object in list.try_iter()? {
                let object = object?;
                // SAFETY: a live object; -1 with an error.
                let fd = unsafe { ffi::PyObject_AsFileDescriptor(object.as_ptr()) };
                if fd < 0 {
                    return Err(PyErr::fetch(object.py()));
                }
                // The original has refused what is beyond the set; a list may have changed since.
                if (fd as usize) < libc::FD_SETSIZE {
                    // SAFETY: within the set.
                    unsafe { libc::FD_SET(fd, set) };
                    all.count = all.count.max(fd as usize + 1);
                }
            }
        }
        Ok(all)
    }
}

/// Where a poll object keeps its descriptors, a dict; verified before use.
const POLL_DICT: usize = 16;

/// Poll objects that somebody waits on, which refuse a second one.
static POLLED: GilCell<Vec<usize>> = GilCell::new(Vec::new());

struct Polled<'py>(Python<'py>, usize);

impl Drop for Polled<'_> {
    fn drop(&mut self) {
        POLLED.with(self.0, |all| all.retain(|&other| other != self.1));
    }
}

/// `poll.poll(timeout=None)`, in milliseconds.
pub(super) fn poll(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let timeout = call.positional().first().copied().unwrap_or(std::ptr::null_mut());
    let deadline = time(timeout, 1e-3, Time::Forever).deadline();
    let (Some(deadline), true) = (deadline, call.positional().len() < 2) else {
        return Ok(call.original());
    };
    let key = call.slf as usize;
    let mine = POLLED.with(py, |all| {
        let mine = !all.contains(&key);
        if mine {
            all.push(key);
        }
        mine
    });
    if !mine {
        return Err(PyRuntimeError::new_err("concurrent poll() invocation"));
    }
    let _polled = Polled(py, key);
    let zero = PyInt::new(py, 0);
    loop {
        let answer = call.original_with(py, &[zero.as_ptr()])?;
        if done(py, answer, deadline)? {
            return Ok(answer);
        }
        let asked = registered(py, call.slf)?;
        // SAFETY: ours: an empty list.
        unsafe { ffi::Py_DECREF(answer) };
        any(py, &asked, deadline)?;
    }
}

/// Whether this is the answer: an error, something, or nothing when the time is over.
fn done(py: Python<'_>, answer: Obj, deadline: Option<Instant>) -> PyResult<bool> {
    if answer.is_null() || deadline.is_some_and(|end| end <= Instant::now()) {
        return Ok(true);
    }
    // SAFETY: a live list.
    Ok(!unsafe { Bound::from_borrowed_ptr(py, answer) }.is_empty()?)
}

/// What a poll object waits for.
fn registered(py: Python<'_>, object: Obj) -> PyResult<Vec<(c_int, i16)>> {
    // SAFETY: a live poll object, whose layout was verified.
    let dict = unsafe { Bound::<PyAny>::from_borrowed_ptr(py, read(object.cast(), POLL_DICT)) };
    let mut asked = Vec::new();
    for (fd, events) in dict.cast::<PyDict>()? {
        let fd: c_int = fd.extract()?;
        if fd >= 0 {
            asked.push((fd, events.extract::<u16>()? as i16));
        }
    }
    Ok(asked)
}

/// Whether poll objects are laid out as this file says.
pub(super) fn verify(py: Python<'_>) -> PyResult<bool> {
    const SOME: c_int = 12_345;
    let Some(module) = loaded(py, c"select") else { return Ok(true) };
    let object = module.getattr("poll")?.call0()?;
    object.call_method1("register", (SOME, libc::POLLIN))?;
    // SAFETY: within the object, whose header is followed by at least this; compared before it is followed.
    unsafe {
        if (*ffi::Py_TYPE(object.as_ptr())).tp_basicsize < POLL_DICT as isize + 8 {
            return Ok(false);
        }
        let dict: Obj = read(object.as_ptr().cast(), POLL_DICT);
        if dict.is_null() || !dict.is_aligned() || ffi::Py_TYPE(dict) != &raw mut ffi::PyDict_Type {
            return Ok(false);
        }
        let dict = Bound::<PyAny>::from_borrowed_ptr(py, dict);
        dict.cast::<PyDict>()?.contains(SOME)
    }
}

/// `epoll.poll(timeout=None, maxevents=-1)`.
pub(super) fn epoll(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let Some([timeout, most]) = call.bind([c"timeout", c"maxevents"]) else {
        return Ok(call.original());
    };
    let deadline = time(timeout, 1.0, Time::Forever).deadline();
    let most = if most.is_null() { Some(-1) } else { int(most) };
    let (Some(deadline), Some(most)) = (deadline, most) else { return Ok(call.original()) };
    let (zero, most) = (PyInt::new(py, 0), PyInt::new(py, most));
    loop {
        let answer = call.original_with(py, &[zero.as_ptr(), most.as_ptr()])?;
        if done(py, answer, deadline)? {
            return Ok(answer);
        }
        // SAFETY: ours: an empty list.
        unsafe { ffi::Py_DECREF(answer) };
        let fd: c_int = wait::method(py, call.slf, "fileno")?.extract()?;
        // The instance is itself a descriptor, which is ready when it has something to tell.
        any(py, &[(fd, libc::POLLIN)], deadline)?;
    }
}
