//! `_quell._Task`: one call of a function that others can end, for the workers of `quell.ThreadPoolExecutor`.
//!
//! A worker is in a shield all its life, so nothing is ever raised in its loop. Only here, natively and around nothing but the
//! call, the shield does not hold. What may end the call is its own [`Scope`]: its limit, or [`cancel`](Scope::cancel). The scope is
//! left when the call is over, with the handshake of every timeout, so that neither of the two reaches the worker or its next task.
//!
//! An interrupt that somebody sends to the worker's thread, and not to a task, ends the task that is running. It belongs to no other one:
//! what is pending when a task begins, or is left when it ends, is taken back.

use std::sync::Arc;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::scope::Scope;
use super::timeout::limit;

/// One call of a function: run once, in a shield; ended by its limit or by cancel().
#[pyclass(frozen, module = "quell", name = "_Task")]
struct Task {
    scope: Arc<Scope>,
}

/// What was sent to the thread itself is taken back.
fn discard() {
    let me = quell::current();
    if me.has_pending() {
        me.withdraw_all();
    }
}

/// Makes the call in a copy of somebody's context.
fn call<'py>(
    context: &Bound<'py, PyAny>,
    function: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = function.py();
    // SAFETY: attached; anything but a context that is not entered is an error.
    if unsafe { ffi::PyContext_Enter(context.as_ptr()) } != 0 {
        return Err(PyErr::fetch(py));
    }
    let result = function.call(args, kwargs);
    // SAFETY: attached; entered above.
    if unsafe { ffi::PyContext_Exit(context.as_ptr()) } != 0 {
        return Err(PyErr::fetch(py));
    }
    result
}

#[pymethods]
impl Task {
    #[new]
    #[pyo3(signature = (seconds=None))]
    fn new(seconds: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        Ok(Self { scope: Scope::new(limit(seconds)?) })
    }

    /// Call the function, in a context, outside of the shields around this.
    #[pyo3(signature = (context, function, args, kwargs, /))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        context: &Bound<'py, PyAny>,
        function: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if quell::shield_depth() == 0 {
            return Err(PyRuntimeError::new_err("a task is run inside a shield"));
        }
        discard();
        self.scope.enter(py)?;
        let open = quell::unmask();
        let result = call(context, function, args, kwargs);
        drop(open);
        let fired = self.scope.leave(py)?;
        if fired {
            self.scope.take_back(py);
        }
        discard();
        match result {
            Err(error) if fired => {
                let value = error.into_value(py).into_bound(py).into_any();
                // As it is: raised anew, it would have the private exception as its context.
                let value = self.scope.exit(py).translate(&value)?.unwrap_or(value);
                Err(PyErr::from_value(value))
            }
            result => result,
        }
    }

    /// End the call, or have it end as it begins. False: it is over.
    fn cancel(&self, py: Python<'_>) -> bool {
        self.scope.cancel(py)
    }

    /// Whether this exception, which ended the call, is the one by which it was cancelled.
    fn cancelled_by(&self, py: Python<'_>, error: &Bound<'_, PyAny>) -> bool {
        self.scope.exit(py).cancels(error)
    }
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Task>()
}

/// What is made of it, in Python.
pub(super) fn register_executor(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let executor = module.py().import("quell._executor")?;
    for name in ["Future", "ThreadPoolExecutor"] {
        module.add(name, executor.getattr(name)?)?;
    }
    Ok(())
}
