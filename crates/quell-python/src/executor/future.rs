//! `_Future`, the native base of `quell.Future`.
//!
//! Everything that `concurrent.futures.Future` has is here as well, its private attributes included: `wait()` and `as_completed()` use
//! some of them, and so does other people's code. They are not in the object's dictionary, but looked up in what [`state`] keeps;
//! a condition or a list is made when it is asked for.

use std::sync::OnceLock;

use pyo3::exceptions::{PyRuntimeError, PyTimeoutError, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use super::state::{self, Begun, End, Phase, State};
use crate::delivery::gil_cell::GilCell;
use crate::primitives::call::{self, Method, Obj, Parameters, boolean, none, this, throw};
use crate::primitives::wait::{Patience, block};

/// What of a future is native.
#[pyclass(frozen, subclass, module = "quell", name = "_Future")]
pub(super) struct Future {
    /// Set when it is over: nothing of what is waited for is to come.
    pub(super) over: quell::Event,
    pub(super) state: GilCell<State>,
}

/// As `Future.cancel()`, for a task that runs as well if `interrupt` is set.
pub(super) fn cancel(future: &Bound<'_, Future>, interrupt: bool) -> PyResult<bool> {
    let py = future.py();
    match state::cancel(future)? {
        Phase::Pending | Phase::Finished => Ok(false),
        Phase::Cancelled | Phase::CancelledAndNotified => Ok(true),
        Phase::Running => {
            let scope = future.get().state.with(py, |s| s.scope.clone());
            Ok(interrupt && scope.is_some_and(|scope| scope.cancel(py)))
        }
    }
}

#[cold]
fn cancelled(py: Python<'_>) -> PyErr {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class = CLASS.get_or_try_init(py, || {
        Ok::<_, PyErr>(py.import("concurrent.futures")?.getattr("CancelledError")?.unbind())
    });
    match class.and_then(|class| class.bind(py).call0()) {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}

/// What was asked of a future that had come to its end already.
#[cold]
fn over_already(future: &Bound<'_, Future>, phase: Phase) -> PyErr {
    let made = future.repr().and_then(|repr| {
        let class = future.py().import("concurrent.futures")?.getattr("InvalidStateError")?;
        class.call1((format!("{}: {repr}", phase.name()),))
    });
    made.map_or_else(|error| error, PyErr::from_value)
}

impl Future {
    /// What it came to. None: it has not come to anything yet.
    fn came_to(&self, py: Python<'_>) -> Option<PyResult<Came>> {
        self.state
            .with(py, |s| match s.phase {
                Phase::Pending | Phase::Running => None,
                Phase::Cancelled | Phase::CancelledAndNotified => Some(Err(())),
                Phase::Finished => Some(Ok(match &s.exception {
                    Some(error) => Came::Raised(error.clone_ref(py)),
                    None => Came::Returned(s.result.as_ref().map(|result| result.clone_ref(py))),
                })),
            })
            .map(|came| came.map_err(|()| cancelled(py)))
    }

    /// Waits until it has come to something, an interruption point where it blocks.
    #[inline]
    fn wait(
        &self,
        py: Python<'_>,
        patience: impl FnOnce() -> PyResult<Patience>,
    ) -> PyResult<Came> {
        if let Some(came) = self.came_to(py) {
            return came;
        }
        match patience()? {
            Patience::Try => {}
            patience => {
                block(py, &self.over, patience.deadline(), |wait| self.over.wait_with(wait))?;
            }
        }
        self.came_to(py).unwrap_or_else(|| Err(PyTimeoutError::new_err(())))
    }
}

enum Came {
    Returned(Option<Py<PyAny>>),
    Raised(Py<PyAny>),
}

/// Puts something into its state; what was there is dropped when other code may run.
fn put(
    future: &Bound<'_, Future>,
    which: fn(&mut State) -> &mut Option<Py<PyAny>>,
    value: Option<Py<PyAny>>,
) {
    let before = future.get().state.with(future.py(), |s| std::mem::replace(which(s), value));
    drop(before);
}

#[pymethods]
impl Future {
    // Arguments are for the `__init__` of a subclass.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { over: quell::Event::new(), state: State::new() }
    }

    // In the place of the base class's, which makes what is made here when it is asked for.
    fn __init__(&self) {}

    /// Cancel the task if it has not begun; with `interrupt`, end it if it has.
    ///
    /// A running task is ended by a quell.TaskCancelled (an Interrupt, a BaseException) that is raised in it wherever it is; its
    /// handlers and finally clauses run, and then the future is cancelled. One that swallows it gets another one. Unless
    /// `interrupt` is given, it is as the executor was made: see its interrupt_on_cancel.
    ///
    /// True: the task will not begin, or has been told to end, which takes a moment: see wait() and exception(). It may still
    /// come to its result in that moment. False: it is over, or is running and is not to be interrupted. The interrupt never
    /// reaches the worker or its next task.
    #[pyo3(signature = (*, interrupt=None))]
    fn cancel(slf: &Bound<'_, Self>, interrupt: Option<bool>) -> PyResult<bool> {
        let interrupt =
            interrupt.unwrap_or_else(|| slf.get().state.with(slf.py(), |s| s.interrupts));
        cancel(slf, interrupt)
    }

    /// Whether it was cancelled. Does not block.
    fn cancelled(&self, py: Python<'_>) -> bool {
        self.state.with(py, |s| s.phase.is_cancelled())
    }

    /// Whether the task has begun, and is not over. Does not block.
    fn running(&self, py: Python<'_>) -> bool {
        self.state.with(py, |s| s.phase == Phase::Running)
    }

    /// Have fn(future) called when it is over, by the thread that brings it to its end; at once if it is over already.
    ///
    /// What it raises is logged, if it is an Exception. All callbacks are called, in their order, also if one of them is interrupted.
    fn add_done_callback(slf: &Bound<'_, Self>, r#fn: &Bound<'_, PyAny>) -> PyResult<()> {
        let callbacks = state::list(slf, |s| &mut s.callbacks)?;
        // Nothing comes between the look and the list: see the protocol.
        if slf.get().state.with(slf.py(), |s| s.phase.is_over()) {
            return state::invoke(slf, r#fn);
        }
        callbacks.cast::<PyList>()?.append(r#fn)
    }

    /// Mark it as running, for who uses it without an executor. False: it was cancelled, and whoever waits is told.
    fn set_running_or_notify_cancel(slf: &Bound<'_, Self>) -> PyResult<bool> {
        match state::begin(slf, false)? {
            Begun::Running(..) => Ok(true),
            Begun::Cancelled => Ok(false),
            Begun::Unexpected(phase) => {
                state::say_unexpected(slf, phase)?;
                Err(PyRuntimeError::new_err("Future in unexpected state"))
            }
        }
    }

    /// Bring it to its end with a result, for who uses it without an executor. InvalidStateError if it is over.
    fn set_result(slf: &Bound<'_, Self>, result: Py<PyAny>) -> PyResult<()> {
        state::end(slf, End::Returned(result))?.map_err(|phase| over_already(slf, phase))
    }

    /// Bring it to its end with an exception, for who uses it without an executor. InvalidStateError if it is over.
    fn set_exception(slf: &Bound<'_, Self>, exception: Py<PyAny>) -> PyResult<()> {
        state::end(slf, End::Raised(exception))?.map_err(|phase| over_already(slf, phase))
    }

    fn _invoke_callbacks(slf: &Bound<'_, Self>) -> PyResult<()> {
        state::invoke_callbacks(slf)
    }

    #[getter(_state)]
    fn private_state(&self, py: Python<'_>) -> Py<PyString> {
        let phase = self.state.with(py, |s| s.phase);
        PyString::intern(py, phase.name()).unbind()
    }

    #[setter(_state)]
    fn set_private_state(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        let phase = Phase::of_name(name)?;
        self.state.with(py, |s| s.phase = phase);
        match phase.is_over() {
            true => self.over.set(),
            false => self.over.clear(),
        }
        Ok(())
    }

    #[getter(_result)]
    fn private_result<'py>(slf: &Bound<'py, Self>) -> Option<Bound<'py, PyAny>> {
        state::own(slf, |s| &s.result)
    }

    #[setter(_result)]
    fn set_private_result(slf: &Bound<'_, Self>, value: Option<Py<PyAny>>) {
        put(slf, |s| &mut s.result, value);
    }

    #[getter(_exception)]
    fn private_exception<'py>(slf: &Bound<'py, Self>) -> Option<Bound<'py, PyAny>> {
        state::own(slf, |s| &s.exception)
    }

    #[setter(_exception)]
    fn set_private_exception(slf: &Bound<'_, Self>, value: Option<Py<PyAny>>) {
        put(slf, |s| &mut s.exception, value);
    }

    #[getter(_condition)]
    fn private_condition<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        state::condition(slf)
    }

    #[setter(_condition)]
    fn set_private_condition(slf: &Bound<'_, Self>, value: Py<PyAny>) {
        put(slf, |s| &mut s.condition, Some(value));
    }

    #[getter(_waiters)]
    fn private_waiters<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        state::list(slf, |s| &mut s.waiters)
    }

    #[setter(_waiters)]
    fn set_private_waiters(slf: &Bound<'_, Self>, value: Py<PyAny>) {
        put(slf, |s| &mut s.waiters, Some(value));
    }

    #[getter(_done_callbacks)]
    fn private_done_callbacks<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        state::list(slf, |s| &mut s.callbacks)
    }

    #[setter(_done_callbacks)]
    fn set_private_done_callbacks(slf: &Bound<'_, Self>, value: Py<PyAny>) {
        put(slf, |s| &mut s.callbacks, Some(value));
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        let name = slf.get_type().fully_qualified_name()?;
        Err(PyTypeError::new_err(format!("cannot pickle '{name}' object")))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the collector runs attached.
        let py = unsafe { Python::assume_attached() };
        self.state.with(py, |s| s.traverse(&visit))
    }

    fn __clear__(&self) {
        // SAFETY: as above.
        let py = unsafe { Python::assume_attached() };
        let rest = self.state.with(py, |s| std::mem::replace(s, State::pending()));
        drop(rest);
    }
}

/// `Future.done()`.
unsafe extern "C" fn done(slf: Obj, _: Obj) -> Obj {
    // SAFETY: called by the method descriptor, attached, with an instance of Future.
    unsafe {
        let py = Python::assume_attached();
        boolean(this::<Future>(slf).state.with(py, |s| s.phase.is_over()))
    }
}

/// The argument `timeout` of a call, null where not given.
///
/// # Safety
/// As [`Parameters::bind`].
#[inline(always)]
unsafe fn timeout(
    py: Python<'_>,
    args: *const Obj,
    count: isize,
    keywords: Obj,
    function: &'static str,
    parameters: &'static OnceLock<Parameters<1>>,
) -> PyResult<Obj> {
    if count == 0 && keywords.is_null() {
        return Ok(std::ptr::null_mut());
    }
    // SAFETY: the caller's promise.
    let bound = unsafe {
        parameters
            .get_or_init(|| Parameters::new(py, function, ["timeout"]))
            .bind(args, count, keywords)
    };
    bound.map(|[timeout]| timeout)
}

/// `Future.result(timeout=None)`.
unsafe extern "C" fn result(slf: Obj, args: *const Obj, count: isize, keywords: Obj) -> Obj {
    static PARAMETERS: OnceLock<Parameters<1>> = OnceLock::new();
    // SAFETY: called by the method descriptor, attached, with an instance of Future and a call's arguments.
    unsafe {
        let py = Python::assume_attached();
        let came = timeout(py, args, count, keywords, "result", &PARAMETERS)
            .and_then(|timeout| this::<Future>(slf).wait(py, || Patience::of_wait(timeout)));
        match came {
            Ok(Came::Returned(result)) => result.map_or_else(|| none(), Py::into_ptr),
            Ok(Came::Raised(error)) => throw(PyErr::from_value(error.into_bound(py))),
            Err(error) => throw(error),
        }
    }
}

/// `Future.exception(timeout=None)`.
unsafe extern "C" fn exception(slf: Obj, args: *const Obj, count: isize, keywords: Obj) -> Obj {
    static PARAMETERS: OnceLock<Parameters<1>> = OnceLock::new();
    // SAFETY: as for `result`.
    unsafe {
        let py = Python::assume_attached();
        let came = timeout(py, args, count, keywords, "exception", &PARAMETERS)
            .and_then(|timeout| this::<Future>(slf).wait(py, || Patience::of_wait(timeout)));
        match came {
            Ok(Came::Returned(_)) => none(),
            Ok(Came::Raised(error)) => error.into_ptr(),
            Err(error) => throw(error),
        }
    }
}

const METHODS: &[Method] = &[
    call::plain(
        c"done",
        done,
        c"done($self, /)\n--\n\nWhether it is over: finished or cancelled. Does not block.",
    ),
    call::keywords(
        c"result",
        result,
        c"result($self, /, timeout=None)\n--\n\n\
          What the task has returned; raises what it has raised. Waits until it is over.\n\n\
          With a timeout in seconds it waits at most so long, and raises TimeoutError. CancelledError if the task was cancelled.\n\n\
          An interruption point where it blocks: who is interrupted there has done nothing to the task.",
    ),
    call::keywords(
        c"exception",
        exception,
        c"exception($self, /, timeout=None)\n--\n\n\
          What the task has raised, or None. Waits, and raises, as result() does otherwise.",
    ),
];

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    crate::lazy::add_class::<Future>(module)?;
    call::install::<Future>(module.py(), METHODS)
}
