//! What a future is at, and who may change that.
//!
//! # States
//!
//! ```text
//! PENDING ── a worker begins with it ──► RUNNING ── its call is over ──► FINISHED
//!    │                                      │
//!    │ cancel()                             │ its call was ended by cancel(interrupt=True)
//!    ▼                                      ▼
//! CANCELLED ── a worker comes to it ──► CANCELLED_AND_NOTIFIED
//! ```
//!
//! They are those of `concurrent.futures`, by name too: `wait()` and `as_completed()` read `_state`. In the hands of somebody who
//! uses it as his own, without an executor, a future also goes from PENDING to FINISHED.
//!
//! # Who changes them
//!
//! A change is one step under the GIL, in which no Python code runs. That is all as long as nobody has asked for the
//! future's condition or its list of waiters, as `concurrent.futures.wait()` does. From then on, and for good, the future is
//! *watched*: whoever changes its state acquires the condition first. So who holds the condition sees no change: either he
//! asked for it after the change and sees what came of it, or before, and the change waits for him.
//!
//! Once it has changed, whoever waits is told: those in `result()` and `exception()` by an event of the core, which is set in the same
//! breath; the others through the waiters in the list, and the condition. That is done in a shield, since it is Python code and
//! nobody may be forgotten; then the callbacks are called, each of them, whatever one raises. A callback is in the list before the
//! change or is called by who adds it, because both are one step under the GIL.

use std::sync::Arc;

use pyo3::exceptions::{PyException, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use quell::interrupt::ShieldGuard;

use super::call::Call;
use super::future::Future;
use crate::delivery::gil_cell::GilCell;
use crate::lazy;
use crate::scopes::{Limit, Scope};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Pending,
    Running,
    Cancelled,
    CancelledAndNotified,
    Finished,
}

const NAMES: [(Phase, &str); 5] = [
    (Phase::Pending, "PENDING"),
    (Phase::Running, "RUNNING"),
    (Phase::Cancelled, "CANCELLED"),
    (Phase::CancelledAndNotified, "CANCELLED_AND_NOTIFIED"),
    (Phase::Finished, "FINISHED"),
];

impl Phase {
    pub(super) fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    pub(super) fn of_name(name: &str) -> PyResult<Self> {
        let known = NAMES.iter().find(|(_, known)| *known == name);
        known.map(|(phase, _)| *phase).ok_or_else(|| {
            PyValueError::new_err(format!("{name:?} is not a state of concurrent.futures.Future"))
        })
    }

    /// Whether nobody waits for it any more.
    pub(super) fn is_over(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    pub(super) fn is_cancelled(self) -> bool {
        matches!(self, Self::Cancelled | Self::CancelledAndNotified)
    }
}

/// Guarded by the GIL.
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) result: Option<Py<PyAny>>,
    pub(super) exception: Option<Py<PyAny>>,
    /// What is to be called, until somebody begins with it.
    pub(super) call: Option<Call>,
    pub(super) limit: Limit,
    /// Around the call, while it runs.
    pub(super) scope: Option<Arc<Scope>>,
    /// cancel() ends it while it runs, unless told otherwise.
    pub(super) interrupts: bool,
    pub(super) condition: Option<Py<PyAny>>,
    pub(super) waiters: Option<Py<PyAny>>,
    pub(super) callbacks: Option<Py<PyAny>>,
}

impl State {
    pub(super) fn new() -> GilCell<Self> {
        GilCell::new(Self::pending())
    }

    pub(super) fn pending() -> Self {
        Self {
            phase: Phase::Pending,
            result: None,
            exception: None,
            call: None,
            limit: Limit::Never,
            scope: None,
            interrupts: false,
            condition: None,
            waiters: None,
            callbacks: None,
        }
    }

    fn is_watched(&self) -> bool {
        self.condition.is_some() || self.waiters.is_some()
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let own = [&self.result, &self.exception, &self.condition, &self.waiters, &self.callbacks];
        own.into_iter().try_for_each(|object| visit.call(object))?;
        self.call.as_ref().map_or(Ok(()), |call| call.traverse(visit))
    }
}

/// How a future comes to its end.
pub(super) enum End {
    Returned(Py<PyAny>),
    Raised(Py<PyAny>),
    /// The running call was ended by its cancellation: as if it had never begun.
    Cancelled,
}

impl End {
    /// What it is then, and how its waiters are told.
    fn means(&self) -> (Phase, &'static str) {
        match self {
            Self::Returned(_) => (Phase::Finished, "add_result"),
            Self::Raised(_) => (Phase::Finished, "add_exception"),
            Self::Cancelled => (Phase::CancelledAndNotified, "add_cancelled"),
        }
    }
}

/// What becomes of a future that a worker comes to.
pub(super) enum Begun {
    /// It runs now. The call, and what is around it, if that is asked for and there is one.
    Running(Option<(Call, Arc<Scope>)>),
    /// It had been cancelled.
    Cancelled,
    /// It was in this state, and still is.
    Unexpected(Phase),
}

/// The condition of a future that is watched: acquired, and in a shield.
struct Watched<'py> {
    condition: Bound<'py, PyAny>,
    shield: ShieldGuard,
    /// The first thing that went wrong.
    error: PyResult<()>,
}

impl<'py> Watched<'py> {
    /// None: it is not watched, and is not before the caller has released the GIL. An interruption point where it blocks.
    #[inline(always)]
    fn of(future: &Bound<'py, Future>) -> PyResult<Option<Self>> {
        match future.get().state.with(future.py(), |s| s.is_watched()) {
            true => Self::acquire(future).map(Some),
            false => Ok(None),
        }
    }

    #[cold]
    fn acquire(future: &Bound<'py, Future>) -> PyResult<Self> {
        let condition = condition(future)?;
        condition.call_method0(intern!(future.py(), "acquire"))?;
        Ok(Self { condition, shield: quell::shield(), error: Ok(()) })
    }

    fn note(&mut self, result: PyResult<Bound<'py, PyAny>>) {
        let result = result.map(drop);
        if self.error.is_ok() {
            self.error = result;
        }
    }

    /// Tells the waiters.
    #[cold]
    fn tell_waiters(&mut self, future: &Bound<'py, Future>, method: &str) {
        let Some(waiters) = own(future, |s| &s.waiters) else { return };
        match waiters.try_iter() {
            Ok(waiters) => {
                for waiter in waiters {
                    self.note(waiter.and_then(|waiter| waiter.call_method1(method, (future,))));
                }
            }
            Err(error) => self.note(Err(error)),
        }
    }

    /// Tells who waits for the condition itself.
    #[cold]
    fn notify(&mut self) {
        let notified = self.condition.call_method0(intern!(self.condition.py(), "notify_all"));
        self.note(notified);
    }

    #[cold]
    fn release(mut self) -> PyResult<()> {
        let released = self.condition.call_method0(intern!(self.condition.py(), "release"));
        self.note(released);
        drop(self.shield);
        self.error
    }
}

/// One of the objects of its state.
pub(super) fn own<'py>(
    future: &Bound<'py, Future>,
    which: fn(&State) -> &Option<Py<PyAny>>,
) -> Option<Bound<'py, PyAny>> {
    let py = future.py();
    future.get().state.with(py, |s| which(s).as_ref().map(|object| object.bind(py).clone()))
}

/// One of the objects of its state, which is made if it is not there.
pub(super) fn made<'py>(
    future: &Bound<'py, Future>,
    which: fn(&mut State) -> &mut Option<Py<PyAny>>,
    make: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = future.py();
    let state = &future.get().state;
    if let Some(there) = state.with(py, |s| which(s).as_ref().map(|there| there.clone_ref(py))) {
        return Ok(there.into_bound(py));
    }
    // It may let other threads run, which may want the same.
    let new = make()?.unbind();
    Ok(state
        .with(py, |s| which(s).get_or_insert_with(|| new.clone_ref(py)).clone_ref(py))
        .into_bound(py))
}

/// From now on the future is watched.
pub(super) fn condition<'py>(future: &Bound<'py, Future>) -> PyResult<Bound<'py, PyAny>> {
    made(future, |s| &mut s.condition, || lazy::named(future.py(), "Condition")?.call0())
}

pub(super) fn list<'py>(
    future: &Bound<'py, Future>,
    which: fn(&mut State) -> &mut Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    made(future, which, || Ok(PyList::empty(future.py()).into_any()))
}

/// PENDING to RUNNING, or CANCELLED to CANCELLED_AND_NOTIFIED. `calls`: who asks will make the call.
pub(super) fn begin(future: &Bound<'_, Future>, calls: bool) -> PyResult<Begun> {
    let py = future.py();
    let watched = Watched::of(future)?;
    let begun = future.get().state.with(py, |s| match s.phase {
        Phase::Pending => {
            s.phase = Phase::Running;
            let call = if calls { s.call.take() } else { None };
            Begun::Running(call.map(|call| {
                let scope = s.scope.insert(Scope::new(s.limit));
                (call, Arc::clone(scope))
            }))
        }
        Phase::Cancelled => {
            s.phase = Phase::CancelledAndNotified;
            Begun::Cancelled
        }
        other => Begun::Unexpected(other),
    });
    if let Some(mut watched) = watched {
        if matches!(begun, Begun::Cancelled) {
            watched.tell_waiters(future, "add_cancelled");
        }
        watched.release()?;
    }
    Ok(begun)
}

/// Brings a future to its end. The phase that it was in instead, if it was over already.
pub(super) fn end(future: &Bound<'_, Future>, end: End) -> PyResult<Result<(), Phase>> {
    let (py, this) = (future.py(), future.get());
    let watched = Watched::of(future)?;
    let (phase, method) = end.means();
    let changed = this.state.with(py, |s| {
        if s.phase.is_over() {
            return Err((s.phase, end));
        }
        s.phase = phase;
        let before = match end {
            End::Returned(value) => s.result.replace(value),
            End::Raised(error) => s.exception.replace(error),
            End::Cancelled => None,
        };
        // Dropped later, when other code may run.
        Ok((before, s.scope.take(), s.call.take()))
    });
    match changed {
        Ok(rest) => tell(future, watched, Some(method), rest).map(Ok),
        Err((phase, end)) => {
            drop(end);
            watched.map_or(Ok(()), Watched::release)?;
            Ok(Err(phase))
        }
    }
}

/// PENDING to CANCELLED. The phase that it is in then, or was in instead.
pub(super) fn cancel(future: &Bound<'_, Future>) -> PyResult<Phase> {
    let (py, this) = (future.py(), future.get());
    let phase = this.state.with(py, |s| s.phase);
    if phase != Phase::Pending {
        return Ok(phase);
    }
    let watched = Watched::of(future)?;
    let changed = this.state.with(py, |s| match s.phase {
        Phase::Pending => {
            s.phase = Phase::Cancelled;
            Ok(s.call.take())
        }
        other => Err(other),
    });
    match changed {
        // The waiters in the list are told when a worker comes to it.
        Ok(call) => tell(future, watched, None, call).map(|()| Phase::Cancelled),
        Err(phase) => {
            watched.map_or(Ok(()), Watched::release)?;
            Ok(phase)
        }
    }
}

/// Its state has changed, and nothing of what is waited for is to come: tells everybody. `method`: how the waiters in the list are told, if
/// they are. `rest`: what it does not need any more.
#[inline]
fn tell<T>(
    future: &Bound<'_, Future>,
    watched: Option<Watched<'_>>,
    method: Option<&str>,
    rest: T,
) -> PyResult<()> {
    future.get().over.set();
    drop(rest);
    let told = watched.map_or(Ok(()), |mut watched| {
        if let Some(method) = method {
            watched.tell_waiters(future, method);
        }
        watched.notify();
        watched.release()
    });
    let called = invoke_callbacks(future);
    told.and(called)
}

/// After it has come to its end: calls the callbacks, every one of them. What is no Exception, such as an interrupt, is raised when all
/// have been called.
pub(super) fn invoke_callbacks(future: &Bound<'_, Future>) -> PyResult<()> {
    let Some(callbacks) = own(future, |s| &s.callbacks) else { return Ok(()) };
    let mut first = Ok(());
    for callback in callbacks.try_iter()? {
        let called = callback.and_then(|callback| invoke(future, &callback));
        if first.is_ok() {
            first = called;
        }
    }
    first
}

/// Calls one callback. An Exception is logged, as in the standard library.
pub(super) fn invoke(future: &Bound<'_, Future>, callback: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = future.py();
    let Err(error) = callback.call1((future,)) else { return Ok(()) };
    if !error.is_instance_of::<PyException>(py) {
        return Err(error);
    }
    let keywords = PyDict::new(py);
    keywords.set_item(intern!(py, "exc_info"), error.value(py))?;
    let arguments = ("exception calling callback for %r", future);
    logger(py)?.call_method("error", arguments, Some(&keywords)).map(drop)
}

/// Somebody has set the state of a future that is not his. As in the standard library that is said where it is seen.
#[cold]
pub(super) fn say_unexpected(future: &Bound<'_, Future>, phase: Phase) -> PyResult<()> {
    let identity = future.as_ptr() as usize;
    let arguments = ("Future %s in unexpected state: %s", identity, phase.name());
    logger(future.py())?.call_method1("critical", arguments).map(drop)
}

/// The logger of `concurrent.futures`.
fn logger(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    py.import("concurrent.futures._base")?.getattr("LOGGER")
}
