//! The exception of a timeout on its way through its own block, and what becomes of it at the end of the block.
//!
//! Inside it is a `quell.ScopeTimeout` with its scope's number. Outside nobody is to see one: where the block ends it is replaced by a
//! `quell.Timeout` with the same traceback, and so is one that another exception carries as its context or cause.
//!
//! A task that is cancelled is ended by a scope too, with a `quell.TaskCancelled`: an Interrupt, which the task's handlers may
//! know, and which ends with the task.

use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// The attribute with the scope's number.
const SCOPE: &str = "__quell_scope__";

/// How far a chain of contexts is followed.
const LONGEST_CHAIN: usize = 64;

/// `quell.ScopeTimeout`, what a timeout raises inside its own block.
pub(super) fn class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = TYPE.get_or_try_init(py, || {
        PyErr::new_type(
            py,
            c"quell.ScopeTimeout",
            Some(
                c"A timeout on its way out of its block, where it becomes quell.Timeout.\n\n\
                  It is private to its scope: do not catch it. Like every interrupt it is a BaseException, so that\n\
                  except Exception lets it pass.",
            ),
            Some(&py.get_type::<PyBaseException>()),
            None,
        )
    })?;
    Ok(class.bind(py))
}

/// Exports of this file.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("ScopeTimeout", class(module.py())?)
}

/// `quell.TaskCancelled`, what a task that is cancelled is ended by.
pub(super) fn cancelled_class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = TYPE.get_or_try_init(py, || {
        PyErr::new_type(
            py,
            c"quell.TaskCancelled",
            Some(
                c"The task is cancelled, by Future.cancel(interrupt=True) or Executor.shutdown(interrupt=True).\n\n\
                  Raised in the task, and only there: who asks for its result gets a CancelledError. An Interrupt,\n\
                  and so a BaseException, so that except Exception lets it pass. Clean up and let it go on.",
            ),
            Some(crate::exceptions::interrupt_type(py).as_any().cast()?),
            None,
        )
    })?;
    Ok(class.bind(py))
}

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
pub(super) struct Exit {
    /// The scope's number.
    pub(super) scope: u64,
    /// What its `quell.Timeout` says.
    pub(super) message: String,
}

impl Exit {
    /// Whether `exception` is one of the scope's time limit.
    fn is_mine(&self, exception: &Bound<'_, PyAny>) -> bool {
        class(exception.py()).is_ok_and(|class| exception.get_type().is(class))
            && self.is_marked(exception)
    }

    /// Whether `exception` is one that cancels the scope.
    pub(super) fn cancels(&self, exception: &Bound<'_, PyAny>) -> bool {
        cancelled_class(exception.py()).is_ok_and(|class| exception.get_type().is(class))
            && self.is_marked(exception)
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
    pub(super) fn translate<'py>(
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
