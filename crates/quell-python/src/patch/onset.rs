//! Patching a process that quell runs: with its first thread, and not before.
//!
//! The bodies are for threads other than the main one. So a script that starts none is left as it is: only the functions that
//! start a thread are replaced, by the same means as all others, and nothing is loaded, looked up or verified for the rest. The
//! first call of one of them takes that back, replaces everything, and goes on as what is there then: from 3.13 on that notes
//! the thread, for those who will join it.
//!
//! A thread that C code has started, in a script that starts none of its own, finds the originals.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pyo3::prelude::*;

use super::call::{Call, Given};
use super::site::{Entries, Site, Threads, site};
use super::table::SITES;
use crate::cpython::thread::ThreadState;
use crate::primitives::call::Obj;

static STARTS: [&Site; 3] = [
    site!("starts", "start_new_thread", c"_thread", "start_new_thread", All, first),
    site!("starts", "start_new", c"_thread", "start_new", All, first),
    site!("starts", "start_joinable_thread", c"_thread", "start_joinable_thread", All, first),
];

/// Written with the GIL held.
static HAS_COME: AtomicBool = AtomicBool::new(false);

/// Who is told.
static TOLD: OnceLock<fn(u64)> = OnceLock::new();

/// From now on the first thread brings it about. `told` hears of each thread in which an interrupt is raised in one of the
/// bodies, with its `threading.get_ident()`; it is called in that thread, with the GIL held, and does not wait.
pub(super) fn wait(py: Python<'_>, told: fn(u64)) -> PyResult<()> {
    let _ = TOLD.set(told);
    for site in STARTS {
        site.replace(py)?;
    }
    Ok(())
}

/// An interrupt is being raised in a body.
pub(super) fn note_raise() {
    if let Some(told) = TOLD.get() {
        told(ThreadState::current().ident());
    }
}

/// The functions that start a thread, in every thread.
fn first(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    // Somebody who has replaced it as well, while this one was there, still comes by.
    if HAS_COME.swap(true, Relaxed) {
        return Ok(call.original());
    }
    let retired = call.retire(py);
    for site in STARTS {
        site.restore(py);
    }
    // What cannot be replaced stays as it is: the script has not asked for it.
    let _ = super::replace(py, SITES);
    Ok(if retired { call.now().original() } else { call.original() })
}
