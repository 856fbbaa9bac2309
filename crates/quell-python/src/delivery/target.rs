//! Naming a Python thread to interrupt.

use std::sync::Arc;

use pyo3::exceptions::PyLookupError;
use pyo3::prelude::*;
use quell::thread::Thread;

use super::record::Record;
use super::signal;
use crate::cpython::thread::ThreadState;

/// A Python thread of this interpreter. It stands for that thread alone: when the thread has ended, so has the target, and
/// a later thread with the same ident is not meant.
#[derive(Clone)]
pub struct Target(Arc<Record>);

impl Target {
    pub(super) fn record(&self) -> &Arc<Record> {
        &self.0
    }

    /// `threading.get_ident()` of the thread.
    pub fn ident(&self) -> u64 {
        self.0.ident()
    }

    /// The kernel's id of the thread; 0 when the thread has ended.
    pub fn native_id(&self, _py: Python<'_>) -> u64 {
        self.0.thread_state().map_or(0, |ts| ts.native_id())
    }

    /// `PyThreadState.id`.
    pub fn tstate_id(&self) -> u64 {
        self.0.tstate_id()
    }

    /// Whether the interpreter still has the thread.
    pub fn is_alive(&self, _py: Python<'_>) -> bool {
        self.0.thread_state().is_some()
    }

    /// Whether this is the main thread.
    pub fn is_main(&self) -> bool {
        self.0.ident() == signal::main_ident()
    }

    /// The thread in the core.
    pub fn thread(&self) -> &Thread {
        self.0.thread()
    }
}

fn by_ident(py: Python<'_>, ident: u64) -> Option<Target> {
    // A thread that ends leaves its record before its ident can be given away: the newest state comes first.
    ThreadState::with_ident(ident).map(|ts| Target(Record::of(py, ts)))
}

/// The main thread of the process.
pub fn main_target(py: Python<'_>) -> PyResult<Target> {
    by_ident(py, signal::main_ident()).ok_or_else(|| {
        PyLookupError::new_err(
            "the main thread runs no Python in this interpreter: there is nothing to interrupt",
        )
    })
}

/// The thread with this `threading.get_ident()`.
pub fn target_by_ident(py: Python<'_>, ident: u64) -> PyResult<Target> {
    by_ident(py, ident).ok_or_else(|| {
        PyLookupError::new_err(format!(
            "no running Python thread has the ident {ident}: it has not started, or it has ended"
        ))
    })
}

/// Every Python thread of this interpreter, the calling one included.
pub fn targets(py: Python<'_>) -> Vec<Target> {
    let states: Vec<_> = ThreadState::all().collect();
    states.into_iter().map(|ts| Target(Record::of(py, ts))).collect()
}
