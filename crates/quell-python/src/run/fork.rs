//! quell's threads around a fork of the script.
//!
//! A fork copies only the thread that called it, so the child starts quell's threads again for itself, with the
//! same limits counted from the same start: a fork that outlives its parent still ends. And the parent stops them
//! before the fork and starts them again afterwards, because CPython 3.12 and later count the process's threads
//! after a fork and warn when there is more than one: a script that has no threads must not be told that it has.
//! They are only stopped if there are no others, and not once a limit was reached. Without threads of the
//! script, the caller of fork is the main thread, and CPython runs pending calls in that thread right after the
//! call of fork has returned: that is where they start again.
//!
//! The hooks are registered with `os.register_at_fork` before the script starts. So in the parent ours is the last
//! before the fork, and in the child the first after it.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict};

use super::session::Session;
use crate::procfs;

static STOPPED: AtomicBool = AtomicBool::new(false);

/// Registers the hooks.
pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    let hook = |f: fn()| {
        PyCFunction::new_closure(
            py,
            None,
            None,
            move |_: &Bound<'_, _>, _: Option<&Bound<'_, PyDict>>| {
                f();
            },
        )
    };
    let named = PyDict::new(py);
    named.set_item("before", hook(before)?)?;
    named.set_item("after_in_parent", hook(after_in_parent)?)?;
    named.set_item("after_in_child", hook(after_in_child)?)?;
    // `posix` is built in and always loaded; `os` may not be.
    py.import("posix")?.call_method("register_at_fork", (), Some(&named))?;
    Ok(())
}

fn threads(session: &Session) -> u32 {
    procfs::stat(session.pid).map_or(0, |stat| stat.threads)
}

fn before() {
    let Some(session) = Session::current() else { return };
    let others = || session.crew.others(|| threads(session));
    if !cfg!(Py_3_12) || session.fired().is_some() || others() != 1 {
        return;
    }
    session.set_stopping(true);
    session.crew.join();
    STOPPED.store(true, SeqCst);
    // A joined thread is counted until the kernel has taken it off its list, some microseconds later.
    for _ in 0..1_000 {
        if threads(session) <= 1 {
            break;
        }
        std::thread::yield_now();
    }
}

fn after_in_parent() {
    if STOPPED.load(SeqCst) {
        // SAFETY: the function takes no argument; it may be called at any time later. A full queue of pending calls is
        // the one way this fails, and then the threads start at once.
        let queued = unsafe { pyo3::ffi::Py_AddPendingCall(Some(restart), std::ptr::null_mut()) };
        if queued != 0 {
            restart(std::ptr::null_mut());
        }
    }
}

extern "C" fn restart(_: *mut c_void) -> c_int {
    if let Some(session) = Session::current()
        && STOPPED.swap(false, SeqCst)
    {
        session.set_stopping(false);
        super::start_threads_again(session);
    }
    0
}

fn after_in_child() {
    STOPPED.store(false, SeqCst);
    let Some(parent) = Session::current() else { return };
    let session = parent.forked();
    super::start_threads_again(session);
}
