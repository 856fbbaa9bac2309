//! `_queue.SimpleQueue.get`, on which idle workers of an executor wait.
//!
//! What a queue waits on is its own business and differs by version. So a get that would wait asks to be told: it leaves an
//! event under the queue's address, and looks; a put, in whatever thread, adds its item, and sets the first of the events. All of it
//! happens with the GIL held, so one of the two sees the other. Who was told looks again; who gives up looks once more,
//! so that what it was told of is not left lying while others wait.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use pyo3::prelude::*;
use quell::Event;
use quell::wait::WaitError;

use super::call::Call;
use super::wait::{Listens, is_of};
use crate::delivery::gil_cell::GilCell;
use crate::primitives::call::Obj;
use crate::primitives::wait::Patience;

static WAITING: GilCell<Option<HashMap<usize, VecDeque<Arc<Event>>>>> = GilCell::new(None);

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
    let deadline = patience.deadline();
    let mut listens = Listens::begin(py);
    loop {
        let told = Arc::new(Event::new());
        let queue = call.slf as usize;
        WAITING.with(py, |all| {
            all.get_or_insert_default().entry(queue).or_default().push_back(told.clone());
        });
        let there = look(py, call);
        let mut ended = Ok(());
        if matches!(there, Ok(None)) {
            let wait = listens.wait(deadline);
            ended = py.detach(|| told.wait_with(&wait));
        }
        forget(py, queue, &told);
        if let Some(item) = there? {
            return Ok(item);
        }
        if let Some(item) = look(py, call)? {
            return Ok(item);
        }
        match ended {
            Ok(()) | Err(WaitError::Deadlock(_)) => {}
            // The original has the error, and at once.
            Err(WaitError::TimedOut) => {
                let no = pyo3::types::PyBool::new(py, false);
                return call.original_with(py, &[no.as_ptr()]);
            }
            Err(_) => listens.look(py)?,
        }
    }
}

/// `SimpleQueue.put` and its other name, in every thread.
pub(super) fn put(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let answer = call.original();
    if !answer.is_null() {
        let told = WAITING.with(py, |all| {
            all.as_mut().and_then(|all| all.get_mut(&(call.slf as usize))?.pop_front())
        });
        if let Some(told) = told {
            told.set();
        }
    }
    Ok(answer)
}

/// An item, if there is one.
fn look(py: Python<'_>, call: &Call) -> PyResult<Option<Obj>> {
    let no = pyo3::types::PyBool::new(py, false);
    let item = call.original_with(py, &[no.as_ptr()])?;
    if !item.is_null() {
        return Ok(Some(item));
    }
    let error = PyErr::fetch(py);
    if is_of(py, &error, c"Empty") { Ok(None) } else { Err(error) }
}

fn forget(py: Python<'_>, queue: usize, told: &Arc<Event>) {
    WAITING.with(py, |all| {
        let Some(all) = all.as_mut() else { return };
        if let Some(waiting) = all.get_mut(&queue) {
            waiting.retain(|other| !Arc::ptr_eq(other, told));
            if waiting.is_empty() {
                all.remove(&queue);
            }
        }
    });
}

/// In the child of a fork nobody waits. What the others waited on stays as it is, for ever.
pub(super) fn after_fork(py: Python<'_>) {
    std::mem::forget(WAITING.with(py, Option::take));
}
