//! Blocking for somebody else's code: without the GIL, until the call is done, its time is over, or an interrupt is raised.

use std::ffi::{CStr, c_char, c_int};
use std::time::Instant;

use pyo3::exceptions::{PyOSError, PyTimeoutError};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use pyo3::{Borrowed, ffi};
use quell::syscall::{self, PollFd};
use quell::wait::Look;
use quell::{CallError, Wait};

use super::descriptors::borrowed;
use super::onset;
use crate::cpython::frame::Frame;
use crate::cpython::thread::ThreadState;
use crate::delivery::{self, Hit, OwnCall};
use crate::primitives::call::Obj;

/// How a call has ended that was not interrupted.
#[derive(Debug)]
pub(super) enum Ended<T> {
    /// With this.
    Done(T),
    /// The system has refused it, with this number.
    Failed(c_int),
    /// The deadline has passed.
    Late,
}

/// Makes a call through quell until it has ended, with the GIL released. `attempt` is made again, with the same deadline, when it
/// was stopped for an interrupt that may not be raised here, or was withdrawn.
pub(super) fn blocking<T: Send>(
    py: Python<'_>,
    deadline: Option<Instant>,
    mut attempt: impl FnMut(&Wait) -> Result<T, CallError> + Send,
) -> PyResult<Ended<T>> {
    let mut listens = Listens::begin(py);
    loop {
        let wait = listens.wait(deadline);
        match py.detach(|| attempt(&wait)) {
            Ok(value) => return Ok(Ended::Done(value)),
            Err(CallError::TimedOut) => return Ok(Ended::Late),
            Err(CallError::Os(error)) => {
                return Ok(Ended::Failed(error.raw_os_error().unwrap_or(libc::EIO)));
            }
            Err(CallError::Signalled | CallError::Interrupted(_)) => listens.look(py)?,
        }
    }
}

/// The same for a call that has no deadline: what it has done, or the number with which the system has refused it.
pub(super) fn unlimited<T: Send>(
    py: Python<'_>,
    attempt: impl FnMut(&Wait) -> Result<T, CallError> + Send,
) -> PyResult<Result<T, c_int>> {
    Ok(match blocking(py, None, attempt)? {
        Ended::Done(value) => Ok(value),
        Ended::Failed(errno) => Err(errno),
        Ended::Late => unreachable!("it has no deadline"),
    })
}

/// The same, for a caller to whom a refusal is an OSError and no more.
pub(super) fn done<T: Send>(
    py: Python<'_>,
    attempt: impl FnMut(&Wait) -> Result<T, CallError> + Send,
) -> PyResult<T> {
    unlimited(py, attempt)?.map_err(|errno| os_error(py, errno))
}

/// Whether the calling thread, about to wait or waiting, is ended by interrupts. Made and dropped with the GIL held.
pub(super) struct Listens<'py> {
    listens: bool,
    _call: OwnCall<'py>,
}

impl<'py> Listens<'py> {
    /// It is, as far as is known: where it stands is looked at when an interrupt has come.
    pub(super) fn begin(py: Python<'py>) -> Self {
        Listens { listens: true, _call: OwnCall::begin(py) }
    }

    /// The options for the next attempt.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Wait {
        let interruptible = self.listens;
        Wait { deadline, interruptible, look: Look::Not, leave_pending: true, ..Wait::new() }
    }

    /// It is not ended by interrupts.
    pub(super) fn stop(&mut self) {
        self.listens = false;
    }

    /// After an attempt that was stopped: raises the interrupt, or sees to it that the next attempt is not stopped for it.
    pub(super) fn look(&mut self, py: Python<'_>) -> PyResult<()> {
        if breaks_caller() {
            self.stop();
            return Ok(());
        }
        match delivery::hit(py)? {
            Hit::Raise(error) => {
                onset::note_raise();
                return Err(error);
            }
            Hit::Later => self.stop(),
            Hit::Nothing => {}
        }
        Ok(())
    }
}

/// Whether an exception raised in this wait would leave something of the standard library's half done. All of these wait
/// for what comes soon: a condition for its lock, before it returns; a starting thread, or a starting program.
pub(super) fn breaks_caller() -> bool {
    const NEAR: usize = 5;
    let mut stack = ThreadState::current().top().into_iter().flat_map(Frame::stack).take(NEAR);
    stack.any(|frame| {
        frame.code().is_some_and(|code| {
            [c"Condition._acquire_restore", c"Thread.start", c"Popen._execute_child"]
                .iter()
                .any(|name| code.is_qualified(name))
        })
    })
}

/// Waits until a descriptor is ready for one of these events, or can only fail. False: the deadline has passed.
pub(super) fn ready(
    py: Python<'_>,
    fd: c_int,
    events: i16,
    deadline: Option<Instant>,
) -> PyResult<bool> {
    let ended = blocking(py, deadline, |wait| {
        syscall::poll(&mut [PollFd::new(&borrowed(fd), events)], wait).map(drop)
    })?;
    // What the system has against it, the call itself will say.
    Ok(!matches!(ended, Ended::Late))
}

/// The OSError for a number.
pub(super) fn os_error(py: Python<'_>, number: c_int) -> PyErr {
    // SAFETY: attached; sets an error from errno, which is this thread's own.
    unsafe {
        *libc::__errno_location() = number;
        ffi::PyErr_SetFromErrno(ffi::PyExc_OSError);
    }
    PyErr::fetch(py)
}

/// The OSError for a number, about a file.
pub(super) fn file_error(py: Python<'_>, number: c_int, file: Obj) -> PyErr {
    // SAFETY: as above, and a live object.
    unsafe {
        *libc::__errno_location() = number;
        ffi::PyErr_SetFromErrnoWithFilenameObject(ffi::PyExc_OSError, file);
    }
    PyErr::fetch(py)
}

/// What a socket raises when its time is over.
pub(super) fn timed_out() -> PyErr {
    PyTimeoutError::new_err("timed out")
}

unsafe extern "C" {
    /// With a format of `Py_BuildValue`.
    fn PySys_Audit(event: *const c_char, format: *const c_char, ...) -> c_int;
}

/// Tells the audit hooks, as the original would.
pub(super) fn audit(py: Python<'_>, event: &CStr, arguments: &[Obj]) -> PyResult<()> {
    // SAFETY: live objects of the running call.
    let arguments = arguments.iter().map(|a| unsafe { Borrowed::from_ptr(py, *a) });
    let arguments = PyTuple::new(py, arguments.collect::<Vec<_>>())?;
    // SAFETY: a value that is a tuple is the list of arguments.
    let refused = unsafe { PySys_Audit(event.as_ptr(), c"O".as_ptr(), arguments.as_ptr()) };
    if refused != 0 { Err(PyErr::fetch(py)) } else { Ok(()) }
}

/// Calls a method by name.
pub(super) fn method<'py>(py: Python<'py>, object: Obj, name: &str) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: a live object of the running call.
    let object = unsafe { Bound::from_borrowed_ptr(py, object) };
    object.call_method0(PyString::intern(py, name))
}

/// Whether an error that the original has just raised is of the class of this name. Not by the class itself: a module that was loaded
/// a second time has its own. Nothing is looked up for it: what is looked up once, by a thread that is gone after a fork, is waited
/// for in the child for ever.
pub(super) fn is_of(py: Python<'_>, error: &PyErr, name: &CStr) -> bool {
    // SAFETY: a live class.
    unsafe { is_named(error.get_type(py).as_type_ptr(), name) }
}

/// Whether the last part of a class's name is this.
///
/// # Safety
/// With the GIL; a live class.
pub(super) unsafe fn is_named(class: *const ffi::PyTypeObject, name: &CStr) -> bool {
    // SAFETY: the caller's promise; the name lives as long as the class.
    let full = unsafe { CStr::from_ptr((*class).tp_name) }.to_bytes();
    full.rsplit(|byte| *byte == b'.').next() == Some(name.to_bytes())
}

/// Whether an error is of the class that the system's number stands for.
pub(super) fn errno_of(py: Python<'_>, error: &PyErr) -> Option<c_int> {
    if !error.is_instance_of::<PyOSError>(py) {
        return None;
    }
    error.value(py).getattr("errno").ok()?.extract().ok()
}
