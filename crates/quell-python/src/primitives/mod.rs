//! Python's primitives, native in every method: `Lock`, `RLock`, `Condition`, `Semaphore`, `BoundedSemaphore`, `Event`, `Barrier`,
//! the queues.
//!
//! Each is a drop-in for the standard library's class of that name, on a primitive of the core. None of them has a Python-level
//! `__enter__`, `__exit__` or method in which an interrupt could be raised halfway; that, as much as the speed, is
//! why they are native. [`call`] has the native calling convention, [`bound`] what `with`
//! statements call, [`gil_lock`] the lock that costs no atomic operation, [`wait`] the slow path they share, [`awake`] what a thread does
//! before it sleeps.

mod awaiting;
mod awake;
mod barrier;
pub(crate) mod bound;
pub(crate) mod call;
mod condition;
mod event;
mod gil_lock;
mod items;
mod lock;
mod locking;
pub(crate) mod queue;
mod rlock;
mod semaphore;
mod simple_queue;
pub(crate) mod wait;
mod waiters;

use pyo3::prelude::*;
use pyo3::types::PyType;
use pyo3::{PyClass, ffi};

use crate::lazy::Part;

/// `module.QualName` of an object's class, for its repr.
fn type_name<T: PyClass>(object: &Bound<'_, T>) -> String {
    qualified_name(&object.as_any().get_type())
}

fn qualified_name(class: &Bound<'_, PyType>) -> String {
    class.fully_qualified_name().map_or_else(|_| class.to_string(), |name| name.to_string())
}

/// `Class[item]`, for annotations.
fn generic_alias<'py>(
    class: &Bound<'py, PyType>,
    item: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: attached, two live objects; a new reference or an error.
    unsafe {
        let alias = ffi::Py_GenericAlias(class.as_ptr(), item.as_ptr());
        Bound::from_owned_ptr_or_err(class.py(), alias)
    }
}

/// Exports of this folder.
pub(crate) static PARTS: [Part; 10] = [
    Part::new(&["Lock"], lock::register),
    Part::new(&["RLock"], rlock::register),
    Part::new(&["Condition"], condition::register),
    Part::new(&["Semaphore", "BoundedSemaphore"], semaphore::register),
    Part::new(&["Event"], event::register),
    Part::new(&["Barrier"], barrier::register),
    Part::new(&["Queue", "LifoQueue", "PriorityQueue"], queue::register),
    Part::new(&["SimpleQueue"], simple_queue::register),
    Part::imported(&["Empty", "Full", "ShutDown"], queue::register_exceptions),
    Part::private(&["Operation"], awaiting::register),
];
