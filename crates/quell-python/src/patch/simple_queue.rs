//! `_queue.SimpleQueue.get`, on which idle workers of an executor wait.
//!
//! A get that would wait does so [in line](super::line), and every put tells the first one.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBool;

use super::call::Call;
use super::line::Ended;
use super::told::{self, Tellers, Wanted};
use super::wait::is_named;
use crate::delivery::want::Kind;
use crate::primitives::call::Obj;
use crate::primitives::wait::Patience;

/// `SimpleQueue.get(block=True, timeout=None)`.
pub(super) fn get(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let Some([block, timeout]) = call.bind([c"block", c"timeout"]) else {
        return Ok(call.original());
    };
    // SAFETY: attached, and arguments of the running call, or null.
    let patience = match unsafe { Patience::of_queue(block, timeout) } {
        Ok(Patience::Try) | Err(_) => return Ok(call.original()),
        Ok(patience) => patience,
    };
    if let Some(item) = look(py, call)? {
        return Ok(item);
    }
    let (object, deadline) = (call.slf, patience.deadline());
    let wanted = Wanted { kind: Kind::Queue, object, deadline, tellers: &PUTS };
    match wanted.wait(py, || look(py, call), || unreachable!("items are not given"))? {
        Ended::Got(item) => Ok(item),
        // The original has the error, and at once.
        Ended::Late => call.original_with(py, &[PyBool::new(py, false).as_ptr()]),
        Ended::Untold => wanted.wait_in_original(py, call),
    }
}

static PUTS: Tellers = Tellers::new(&["SimpleQueue.put", "SimpleQueue.put_nowait"]);

/// `SimpleQueue.put` and its other name, in every thread.
pub(super) fn put(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let answer = call.original();
    if !answer.is_null() {
        told::with(py, |line| line.tell(call.slf as usize));
    }
    Ok(answer)
}

/// An item, if there is one. If not, the GIL is held all along: the error is looked at as it was raised, because making an object of
/// it may have the collector run (CPython 3.11).
fn look(py: Python<'_>, call: &Call) -> PyResult<Option<Obj>> {
    let item = call.original_with(py, &[PyBool::new(py, false).as_ptr()])?;
    if !item.is_null() {
        return Ok(Some(item));
    }
    // SAFETY: attached, and the original has raised something: a live class.
    let empty = unsafe { is_named(ffi::PyErr_Occurred().cast(), c"Empty") };
    if !empty {
        return Err(PyErr::fetch(py));
    }
    // SAFETY: attached.
    unsafe { ffi::PyErr_Clear() };
    Ok(None)
}
