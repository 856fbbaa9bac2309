//! The workers of an executor: who takes the next task, and who is idle.
//!
//! A worker counts as idle from when it finds the queue empty until somebody who submits a task takes it off the count; he
//! starts another worker if there is none to take. The first task is not waited for by somebody idle: it is the one for which
//! the worker was started. The count is one step under the GIL, as are putting and taking; so whoever submits a task has
//! either an idle worker, which the task wakes, or one that has not looked at the queue yet since.
//!
//! [`Worker::close`] ends what a worker runs, and whatever it may yet begin. The worker says what it is at, and then looks whether
//! it was closed; who closes it does it the other way round. One of them sees what the other did.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::call::Call;
use super::future::Future;
use super::run;
use crate::delivery::gil_cell::GilCell;
use crate::primitives::queue::{Queue, Taken};

/// What the workers of an executor share: its queue, and how many of them are idle. It does not keep the executor alive.
#[pyclass(frozen, module = "quell", name = "_Crew")]
pub(super) struct Crew {
    pub(super) queue: Py<Queue>,
    idle: GilCell<usize>,
}

impl Crew {
    /// Takes one off the count of those who are idle, if there are any.
    pub(super) fn claim(&self, py: Python<'_>) -> bool {
        self.idle.with(py, |idle| idle.checked_sub(1).map(|fewer| *idle = fewer).is_some())
    }

    pub(super) fn is_idle(&self, py: Python<'_>) {
        self.idle.with(py, |idle| *idle += 1);
    }
}

#[pymethods]
impl Crew {
    #[new]
    fn new(queue: Py<Queue>) -> Self {
        Self { queue, idle: GilCell::new(0) }
    }

    /// In the child of a fork: none of those who were idle is there.
    fn nobody(&self, py: Python<'_>) {
        self.idle.with(py, |idle| *idle = 0);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.queue)
    }
}

/// One worker.
#[pyclass(frozen, module = "quell", name = "_Worker")]
struct Worker {
    crew: Py<Crew>,
    state: GilCell<State>,
}

#[derive(Default)]
struct State {
    /// What it is at.
    at: Option<Py<Future>>,
    closed: bool,
    /// It has looked for a task before.
    seasoned: bool,
}

impl Worker {
    /// The next task. Waits for it, not an interruption point in the worker's shield. None: there will be none.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let crew = self.crew.bind(py).get();
        let queue = crew.queue.bind(py);
        if self.state.with(py, |s| std::mem::replace(&mut s.seasoned, true)) {
            match Queue::take(queue)? {
                Taken::Item(item) => return Ok(Some(item)),
                Taken::ShutDown => return Ok(None),
                Taken::Nothing => crew.is_idle(py),
            }
        }
        Queue::take_or_wait(queue)
    }
}

#[pymethods]
impl Worker {
    #[new]
    fn new(crew: Py<Crew>) -> Self {
        Self { crew, state: GilCell::new(State::default()) }
    }

    /// Run the next task, waiting for it. False: there is none, and will be none. Errors are of callbacks.
    fn step(&self, py: Python<'_>) -> PyResult<bool> {
        let Some(item) = self.next(py)? else { return Ok(false) };
        // Something else was put into the queue by somebody who thinks that it is the standard library's.
        let Ok(future) = item.cast_into::<Future>() else { return Ok(true) };
        let closed = self.state.with(py, |s| {
            s.at = Some(future.clone().unbind());
            s.closed
        });
        let ran = match closed {
            true => super::future::cancel(&future, true).map(drop),
            false => Ok(()),
        };
        let ran = ran.and(run::run(&future));
        let at = self.state.with(py, |s| s.at.take());
        drop(at);
        ran.map(|()| true)
    }

    /// Call a function as a task is called, in the worker's shield.
    #[pyo3(signature = (function, args))]
    fn call(&self, function: &Bound<'_, PyAny>, args: &Bound<'_, PyTuple>) -> PyResult<()> {
        let py = function.py();
        let objects: Vec<_> = std::iter::once(function.as_ptr())
            .chain(args.iter_borrowed().map(|argument| argument.as_ptr()))
            .collect();
        // SAFETY: attached; so many live objects, none of them by name.
        let call = unsafe {
            Call::new(py, "call", objects.as_ptr(), objects.len() as isize, std::ptr::null_mut())?
        };
        run::alone(py, call)
    }

    /// End the task that runs, and each that begins.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let at = self.state.with(py, |s| {
            s.closed = true;
            s.at.as_ref().map(|at| at.clone_ref(py))
        });
        at.map_or(Ok(()), |at| super::future::cancel(at.bind(py), true).map(drop))
    }

    /// The future of the task that it is at.
    fn at(&self, py: Python<'_>) -> Option<Py<Future>> {
        self.state.with(py, |s| s.at.as_ref().map(|at| at.clone_ref(py)))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.crew)?;
        // SAFETY: the collector runs attached.
        let py = unsafe { Python::assume_attached() };
        self.state.with(py, |s| visit.call(&s.at))
    }
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    crate::lazy::add_class::<Crew>(module)?;
    crate::lazy::add_class::<Worker>(module)
}
