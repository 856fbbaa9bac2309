//! What a fork means for the package: the one place that knows the order.
//!
//! The child has one thread, the one that forked. Before the fork everything that other threads could be in the middle of is
//! brought to rest; after it, what those threads waited for, owned and were to do is forgotten in the child.
//!
//! The first part must not let Python code run before the fork is made, which `os.register_at_fork` would: functions that were
//! registered earlier run later, and may use what is held. So it is done by handlers of `pthread_atfork`, which
//! run inside the system's `fork`.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::primitives::wait;
use crate::{delivery, patch, scopes};

/// The token, if the calling thread has the GIL. A thread without it (native code that forks) leaves Python's state alone, and
/// so must its child.
fn attached() -> Option<Python<'static>> {
    // SAFETY: both may be called by any thread at any time. The second one alone answers yes to every thread once there
    // have been subinterpreters.
    unsafe {
        let known = !ffi::PyGILState_GetThisThreadState().is_null();
        (known && ffi::PyGILState_Check() != 0).then(|| Python::assume_attached())
    }
}

extern "C" fn prepare() {
    if let Some(py) = attached() {
        wait::hold_for_fork(py);
    }
}

extern "C" fn release() {
    if let Some(py) = attached() {
        wait::release_after_fork(py);
    }
}

/// In the child, when the interpreter is in order again.
#[pyfunction]
fn after_fork_in_child(py: Python<'_>) {
    wait::forget_waiters_after_fork(py);
    delivery::after_fork(py);
    patch::after_fork(py);
    scopes::firing::after_fork();
    // Starts the monitor again if timeouts are armed: they hold in the child as well.
    quell::after_fork_child();
}

/// Installs the handlers.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    use std::sync::Once;
    static ONCE: Once = Once::new();
    // SAFETY: functions of this library, which is never unloaded. The call can fail for want of memory only; then a queue that is
    // in use during a fork can be found locked in the child.
    ONCE.call_once(|| unsafe {
        libc::pthread_atfork(Some(prepare), Some(release), Some(release));
    });
    let hooks = PyDict::new(py);
    hooks.set_item("after_in_child", wrap_pyfunction!(after_fork_in_child, py)?)?;
    // `posix` is built in and always loaded; `os` may not be.
    py.import("posix")?.getattr("register_at_fork")?.call((), Some(&hooks)).map(drop)
}
