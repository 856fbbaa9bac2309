//! The exception of a timeout on its way through its own block, and what becomes of it at the end of the block.
//!
//! Inside it is a `quell.ScopeTimeout` with its scope's number. Outside nobody is to see one: where the block ends it is replaced by a
//! `quell.Timeout` with the same traceback, and so is one that another exception carries as its context or cause.
//!
//! A task that is cancelled is ended by a scope too, with a `quell.TaskCancelled`: an Interrupt, which the task's handlers may
//! know, and which ends with the task.

use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::exceptions::{scope_timeout_type, task_cancelled_type};

/// The attribute with the scope's number.
const SCOPE: &str = "__quell_scope__";

/// How far a chain of contexts is followed.
const LONGEST_CHAIN: usize = 64;

/// An exception of this class, of the scope with this number.
pub(super) fn make<'py>(
    class: &Bound<'py, PyType>,
    scope: u64,
    message: String,
) -> PyResult<Bound<'py, PyBaseException>> {
    let exception = class.call1((message,))?;
    exception.setattr(SCOPE, scope)?;
    Ok(exception.cast_into::<PyBaseException>()?)
}

/// A scope's view of exceptions that leave its block.
pub(crate) struct Exit {
    /// The scope's number.
    pub(super) scope: u64,
    /// What its `quell.Timeout` says.
    pub(super) message: String,
}

impl Exit {
    /// Whether `exception` is one of the scope's time limit.
    fn is_mine(&self, exception: &Bound<'_, PyAny>) -> bool {
        exception.get_type().is(scope_timeout_type(exception.py())) && self.is_marked(exception)
    }

    /// Whether `exception` is one that cancels the scope.
    pub(crate) fn cancels(&self, exception: &Bound<'_, PyAny>) -> bool {
        exception.get_type().is(task_cancelled_type(exception.py())) && self.is_marked(exception)
    }

    fn is_marked(&self, exception: &Bound<'_, PyAny>) -> bool {
        let number = exception.getattr(SCOPE).and_then(|number| number.extract::<u64>());
        number.is_ok_and(|number| number == self.scope)
    }

    /// The public exception that stands for one in flight: with its traceback, and in its place in the chain of contexts. Others of
    /// the scope among its contexts, which had been swallowed on the way, are left out.
    fn stand_in<'py>(&self, exception: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = exception.py();
        let timeout = crate::exceptions::timeout_type(py).call1((&self.message,))?;
        for attribute in ["__traceback__", "__cause__", "__suppress_context__"] {
            timeout.setattr(attribute, exception.getattr(attribute)?)?;
        }
        let suppressed = exception.getattr("__suppress_context__")?;
        let mut context = exception.getattr("__context__")?;
        for _ in 0..LONGEST_CHAIN {
            if !self.is_mine(&context) {
                break;
            }
            context = context.getattr("__context__")?;
        }
        timeout.setattr("__context__", context)?;
        timeout.setattr("__suppress_context__", suppressed)?;
        Ok(timeout)
    }

    /// After the block, with the exception that ended it: what is to be raised in its stead, if anything is.
    #[cold]
    pub(crate) fn translate<'py>(
        &self,
        exception: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mine = self.is_mine(exception);
        let raised = if mine { self.stand_in(exception)? } else { exception.clone() };
        // An exception that a handler of ours raised on the way carries it as its context: people print that.
        let mut at = raised.clone();
        for _ in 0..LONGEST_CHAIN {
            let mut next = None;
            for link in ["__cause__", "__context__"] {
                let linked = at.getattr(link)?;
                if self.is_mine(&linked) {
                    // Setting a cause suppresses the context.
                    let suppressed = at.getattr("__suppress_context__")?;
                    at.setattr(link, self.stand_in(&linked)?)?;
                    at.setattr("__suppress_context__", suppressed)?;
                }
                if !linked.is_none() {
                    next = Some(at.getattr(link)?);
                }
            }
            match next {
                Some(next) if !next.is(&raised) => at = next,
                _ => break,
            }
        }
        Ok(mine.then_some(raised))
    }
}
