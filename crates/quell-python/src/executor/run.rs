//! How a worker runs a task.
//!
//! A worker is in a shield all its life, so nothing is ever raised in its loop. Only here, natively and around nothing but the
//! call, the shield does not hold. What may end the call is its own [`Scope`]: its limit, or [`cancel`](Scope::cancel). The scope is
//! left when the call is over, with the handshake of every timeout, so that neither of the two reaches the worker or its next task.
//!
//! An interrupt that somebody sends to the worker's thread, and not to a task, ends the task that is running. It belongs to no other one:
//! what is pending when a task begins, or is left when it ends, is taken back.

use std::sync::Arc;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::call::Call;
use super::future::Future;
use super::state::{self, Begun, End, Phase};
use crate::scopes::{Limit, Scope};

/// What was sent to the thread itself is taken back.
fn discard() {
    let me = quell::current();
    if me.has_pending() {
        me.withdraw_all();
    }
}

/// Makes the call outside of the shields around this, within the scope, which is good for one call.
fn within<'py>(
    py: Python<'py>,
    scope: &Arc<Scope>,
    call: &mut Call,
) -> PyResult<Bound<'py, PyAny>> {
    if quell::shield_depth() == 0 {
        return Err(PyRuntimeError::new_err("a task is run inside a shield"));
    }
    discard();
    scope.enter_here(py)?;
    let open = quell::unmask();
    let result = call.make(py);
    drop(open);
    let fired = scope.leave(py)?;
    if fired {
        scope.take_back(py);
    }
    discard();
    match result {
        Err(error) if fired => {
            let value = error.into_value(py).into_bound(py).into_any();
            // As it is: raised anew, it would have the private exception as its context.
            let value = scope.exit(py).translate(&value)?.unwrap_or(value);
            Err(PyErr::from_value(value))
        }
        result => result,
    }
}

/// Makes a call that is nobody's future.
pub(super) fn alone(py: Python<'_>, mut call: Call) -> PyResult<()> {
    within(py, &Scope::new(Limit::Never), &mut call).map(drop)
}

/// Runs a task, if it was not cancelled, and brings its future to its end. In a shield.
///
/// # Errors
/// Of waiters and callbacks; the future has come to its end.
pub(super) fn run(future: &Bound<'_, Future>) -> PyResult<()> {
    let py = future.py();
    let (mut call, scope) = match state::begin(future, true)? {
        Begun::Running(Some(begun)) => begun,
        Begun::Cancelled => return Ok(()),
        // Of a future that is no task of ours.
        Begun::Running(None) => return state::say_unexpected(future, Phase::Pending),
        Begun::Unexpected(phase) => return state::say_unexpected(future, phase),
    };
    let end = match within(py, &scope, &mut call) {
        Ok(result) => End::Returned(result.unbind()),
        Err(error) => {
            let error = error.into_value(py).into_any();
            match scope.exit(py).cancels(error.bind(py)) {
                true => End::Cancelled,
                false => End::Raised(error),
            }
        }
    };
    match state::end(future, end)? {
        Ok(()) => Ok(()),
        Err(phase) => state::say_unexpected(future, phase),
    }
}
