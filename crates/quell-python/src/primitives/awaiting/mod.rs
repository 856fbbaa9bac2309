//! The `…_async` methods: what a primitive does for a task of an event loop.
//!
//! The core's futures know no runtime: they are polled, and call a waker. An [`Operation`] is one of them as a Python
//! coroutine. Awaited, it polls; where it must wait it suspends the task in the way of the event loop that runs it
//! ([`runtime`]), and polls again when it is resumed.
//!
//! **Cancelled**, by whatever exception comes out of the suspension, it drops the future. The core's futures can be dropped at
//! any moment: they have done nothing then, or what they were granted goes to the next. So a task that is cancelled has taken no
//! item, no lock and no permit. The wait of a condition has more to do: it has its lock again when it ends. Such an operation has
//! an [end](Operation::with_end), which is run before the exception goes on, and in which the task cannot be cancelled again.
//!
//! It is native so that it cannot be interrupted in its middle. A task is not a thread: none of this is an interruption point, and
//! what a task acquires is not a hold of the thread that runs it.

mod runtime;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use pyo3::exceptions::{PyRuntimeError, PyRuntimeWarning, PyStopIteration};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyTuple};

use crate::delivery::gil_cell::GilCell;
use runtime::Suspension;

/// What an operation does; polled with the GIL held.
type Steps = Pin<Box<dyn Future<Output = PyResult<Py<PyAny>>> + Send>>;

struct Work {
    steps: Steps,
    /// What is done besides if the task is cancelled.
    end: Option<Steps>,
    /// The task was cancelled, and this is raised when the steps, which are the end, are done.
    cancelled: Option<PyErr>,
}

impl Work {
    /// The task is cancelled: what is to be done still, or what is to be raised.
    fn cancel(mut self, error: PyErr) -> Result<Self, PyErr> {
        if self.cancelled.is_some() {
            return Ok(self);
        }
        // First: what it was granted goes to the next.
        drop(self.steps);
        match self.end.take() {
            None => Err(error),
            Some(end) => Ok(Self { steps: end, end: None, cancelled: Some(error) }),
        }
    }

    /// The task is gone, and cannot wait any more. What can be done at once is done.
    fn close(mut self) {
        drop(self.steps);
        if let Some(mut end) = self.end.take() {
            let _ = end.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

/// An operation that a task awaits, as a coroutine.
#[pyclass(frozen, weakref, module = "quell", name = "Operation")]
pub struct Operation {
    name: &'static str,
    state: GilCell<State>,
}

#[derive(Default)]
enum State {
    New(Work),
    Suspended(Work, Suspended),
    Running,
    #[default]
    Over,
}

/// What an operation does with the GIL, which its poll holds, and its drop too.
pub(super) fn attached<R>(f: impl FnOnce(Python<'_>) -> R) -> R {
    // SAFETY: operations are polled attached.
    f(unsafe { Python::assume_attached() })
}

/// True, as the answer of an operation.
pub(super) fn truth() -> Py<PyAny> {
    attached(|py| PyBool::new(py, true).to_owned().into_any().unbind())
}

/// How the task is suspended: an iterator of its event loop's.
struct Suspended {
    iterator: Py<PyAny>,
}

/// How the coroutine is resumed.
enum Resume<'a, 'py> {
    Send(Bound<'py, PyAny>),
    Throw(&'a Bound<'py, PyTuple>),
}

impl Operation {
    /// The operation, to be returned from the method of this name.
    pub(super) fn new(
        py: Python<'_>,
        name: &'static str,
        work: impl Future<Output = PyResult<Py<PyAny>>> + Send + 'static,
    ) -> PyResult<Py<Self>> {
        Self::made(py, name, Work { steps: Box::pin(work), end: None, cancelled: None })
    }

    /// One which, if its task is cancelled while it waits, does something else before that is over.
    pub(super) fn with_end(
        py: Python<'_>,
        name: &'static str,
        work: impl Future<Output = PyResult<Py<PyAny>>> + Send + 'static,
        end: impl Future<Output = PyResult<Py<PyAny>>> + Send + 'static,
    ) -> PyResult<Py<Self>> {
        let (steps, end): (Steps, Steps) = (Box::pin(work), Box::pin(end));
        Self::made(py, name, Work { steps, end: Some(end), cancelled: None })
    }

    fn made(py: Python<'_>, name: &'static str, work: Work) -> PyResult<Py<Self>> {
        Py::new(py, Self { name, state: GilCell::new(State::New(work)) })
    }

    /// One that is done already.
    pub(super) fn done(py: Python<'_>, name: &'static str) -> PyResult<Py<Self>> {
        Self::done_with(py, name, || Ok(()))
    }

    /// One that is done already, by what `f` does now. It is made first: should that fail, nothing was done that the
    /// statement it is for does not know of.
    pub(super) fn done_with(
        py: Python<'_>,
        name: &'static str,
        f: impl FnOnce() -> PyResult<()>,
    ) -> PyResult<Py<Self>> {
        let done = Self::new(py, name, std::future::ready(Ok(py.None())))?;
        match f() {
            Ok(()) => Ok(done),
            Err(error) => {
                // It is not to be awaited.
                done.get().set(py, State::Over);
                Err(error)
            }
        }
    }

    /// Up to the next suspension, whose object is returned, or to the end: StopIteration with the result.
    fn resume<'py>(&self, py: Python<'py>, how: Resume<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
        let work = match self.state.with(py, |s| std::mem::replace(s, State::Running)) {
            State::New(work) => match how {
                Resume::Send(_) => work,
                Resume::Throw(error) => {
                    self.set(py, State::Over);
                    return Err(raised(error)?);
                }
            },
            State::Suspended(work, suspended) => match suspended.resume(py, how) {
                Ok(Some(object)) => {
                    self.set(py, State::Suspended(work, suspended));
                    return Ok(object);
                }
                Ok(None) => work,
                Err(error) => match work.cancel(error) {
                    Ok(end) => end,
                    Err(error) => {
                        self.set(py, State::Over);
                        return Err(error);
                    }
                },
            },
            other => {
                let running = matches!(other, State::Running);
                self.set(py, other);
                let what = if running { "is being awaited" } else { "has been awaited" };
                let name = self.name;
                return Err(PyRuntimeError::new_err(format!("this {name}() {what} already")));
            }
        };
        let result = self.run(py, work);
        if result.is_err() {
            self.set(py, State::Over);
        }
        result
    }

    /// Polls until the task must be suspended, or it is done.
    fn run<'py>(&self, py: Python<'py>, mut work: Work) -> PyResult<Bound<'py, PyAny>> {
        let ending = work.cancelled.is_some();
        let mut poll = |waker: &Waker| {
            let polled = work.steps.as_mut().poll(&mut Context::from_waker(waker));
            let Poll::Ready(result) = polled else { return None };
            Some(match (work.cancelled.take(), result) {
                (Some(error), _) | (None, Err(error)) => error,
                (None, Ok(value)) => PyStopIteration::new_err((value,)),
            })
        };
        // Mostly there is nothing to wait for, and no event loop needs to be asked.
        if let Some(end) = poll(Waker::noop()) {
            return Err(end);
        }
        loop {
            let suspension = Arc::new(Suspension::of_current_task(py, ending)?);
            if let Some(end) = poll(&Waker::from(suspension.clone())) {
                return Err(end);
            }
            let suspended = Suspended { iterator: suspension.iterator(py)? };
            // A wake-up that came meanwhile resumes the task as soon as it has been suspended.
            let none = py.None().into_bound(py);
            if let Some(object) = suspended.resume(py, Resume::Send(none))? {
                self.set(py, State::Suspended(work, suspended));
                return Ok(object);
            }
        }
    }

    fn set(&self, py: Python<'_>, state: State) {
        let before = self.state.with(py, |s| std::mem::replace(s, state));
        drop(before);
    }
}

impl Suspended {
    /// What the event loop is to get; None: the task goes on.
    fn resume<'py>(
        &self,
        py: Python<'py>,
        how: Resume<'_, 'py>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let iterator = self.iterator.bind(py);
        let resumed = match how {
            Resume::Send(value) if value.is_none() => {
                iterator.call_method0(intern!(py, "__next__"))
            }
            Resume::Send(value) => iterator.call_method1(intern!(py, "send"), (value,)),
            Resume::Throw(error) => iterator.call_method1(intern!(py, "throw"), error),
        };
        match resumed {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_instance_of::<PyStopIteration>(py) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The error that the arguments of `throw` stand for.
fn raised(arguments: &Bound<'_, PyTuple>) -> PyResult<PyErr> {
    let first = arguments.get_item(0)?;
    match arguments.get_item(1) {
        Ok(value) if value.is_instance_of::<pyo3::exceptions::PyBaseException>() => {
            Ok(PyErr::from_value(value))
        }
        // An instance, or a class to be instantiated.
        _ => Ok(PyErr::from_value(first)),
    }
}

#[pymethods]
impl Operation {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.resume(py, Resume::Send(py.None().into_bound(py)))
    }

    /// Resume the operation. For event loops.
    fn send<'py>(&self, value: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.resume(value.py(), Resume::Send(value))
    }

    /// Raise an exception where the operation waits, which ends it. For event loops.
    #[pyo3(signature = (*error))]
    fn throw<'py>(&self, error: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        self.resume(error.py(), Resume::Throw(error))
    }

    /// Give the operation up.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.state.with(py, std::mem::take) {
            State::Running => {
                self.set(py, State::Running);
                Err(PyRuntimeError::new_err(format!("this {}() is being awaited", self.name)))
            }
            State::Suspended(work, suspended) => {
                work.close();
                match suspended.iterator.bind(py).getattr_opt(intern!(py, "close"))? {
                    Some(close) => close.call0().map(drop),
                    None => Ok(()),
                }
            }
            State::New(_) | State::Over => Ok(()),
        }
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        let this = slf.get();
        let state = this.state.with(slf.py(), |s| match s {
            State::New(_) => "not awaited yet",
            State::Suspended(..) => "waiting",
            State::Running => "running",
            State::Over => "over",
        });
        format!("<quell.Operation {}(), {state}>", this.name)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the collector runs attached; nothing in the closure gives the GIL away.
        let py = unsafe { Python::assume_attached() };
        self.state.with(py, |s| match s {
            State::Suspended(_, suspended) => visit.call(&suspended.iterator),
            _ => Ok(()),
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        self.set(py, State::Over);
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if !matches!(self.state.get_mut(), State::New(_)) {
            return;
        }
        // An item that was not put, a lock that was not taken: as for any coroutine.
        // SAFETY: the value of a Python object is dropped by its deallocator, attached.
        let py = unsafe { Python::assume_attached() };
        runtime::aside(py, || {
            let text = format!("{}() was never awaited", self.name);
            let text = std::ffi::CString::new(text).unwrap_or_default();
            PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &text, 1)
        });
    }
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    crate::lazy::add_class::<Operation>(module)
}
