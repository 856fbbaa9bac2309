//! What native code of the package does with a queue: as the methods do, but for the exceptions that say that nothing was put or
//! taken.

use pyo3::prelude::*;

use super::Queue;
use super::operations::Operations;
use super::refusal::{Refusal, exception};
use crate::primitives::items::get_slow;
use crate::primitives::wait::Patience;

/// What became of an item that is to be put.
pub(crate) enum Put {
    Done,
    ShutDown,
}

/// What there is to be got at once.
pub(crate) enum Taken<'py> {
    Item(Bound<'py, PyAny>),
    Nothing,
    ShutDown,
}

fn is(error: &PyErr, py: Python<'_>, name: &str) -> bool {
    exception(py, name).is_ok_and(|class| error.is_instance(py, &class))
}

impl Queue {
    /// Puts the item. Waits for room, an interruption point where it does.
    pub(crate) fn give(slf: &Bound<'_, Self>, item: Py<PyAny>) -> PyResult<Put> {
        match slf.put_object(item, Patience::Forever) {
            Ok(()) => Ok(Put::Done),
            Err(error) if is(&error, slf.py(), "ShutDown") => Ok(Put::ShutDown),
            Err(error) => Err(error),
        }
    }

    /// Gets the next item, if there is one.
    pub(crate) fn take<'py>(slf: &Bound<'py, Self>) -> PyResult<Taken<'py>> {
        let py = slf.py();
        let tried = match slf.get().lean.items() {
            Some(items) => items.try_get(),
            None => Err(Refusal::ShutDown),
        };
        match tried {
            Ok(item) => return Ok(Taken::Item(item.into_bound(py))),
            Err(Refusal::Empty) => return Ok(Taken::Nothing),
            Err(_) if slf.get().open.get().is_none() => return Ok(Taken::ShutDown),
            Err(_) => {}
        }
        match slf.get_object(Patience::Try) {
            Ok(item) => Ok(Taken::Item(item.into_bound(py))),
            Err(error) if is(&error, py, "Empty") => Ok(Taken::Nothing),
            Err(error) if is(&error, py, "ShutDown") => Ok(Taken::ShutDown),
            Err(error) => Err(error),
        }
    }

    /// Gets the next item; None if the queue is shut down and empty. Waits for one, an interruption point where it does.
    pub(crate) fn take_or_wait<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = slf.py();
        let this = slf.get();
        if let Some(items) = this.lean.items() {
            if let Ok(item) = get_slow(py, items, slf.as_ptr(), Patience::Forever)? {
                return Ok(Some(item.into_bound(py)));
            }
            if this.open.get().is_none() {
                return Ok(None);
            }
        }
        match slf.get_object(Patience::Forever) {
            Ok(item) => Ok(Some(item.into_bound(py))),
            Err(error) if is(&error, py, "ShutDown") => Ok(None),
            Err(error) => Err(error),
        }
    }
}
