//! How a task is suspended and resumed, whatever event loop runs it: the package's `_tasks` knows those there are.

use std::sync::Arc;
use std::task::Wake;

use pyo3::intern;
use pyo3::prelude::*;

/// The suspension of one task, and the waker that ends it.
pub(super) struct Suspension {
    /// Of the classes in `_tasks`.
    object: Py<PyAny>,
}

impl Suspension {
    /// `insists`: the task is not to be cancelled in it.
    pub(super) fn of_current_task(py: Python<'_>, insists: bool) -> PyResult<Self> {
        let suspension = py.import("quell._tasks")?.getattr("suspension")?;
        let object = suspension.call1((insists,))?.unbind();
        Ok(Self { object })
    }

    /// What the task yields from, to be suspended.
    pub(super) fn iterator(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.object.call_method0(py, intern!(py, "__await__"))
    }
}

impl Wake for Suspension {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    /// Called by whoever grants, in any thread, with or without the GIL.
    fn wake_by_ref(self: &Arc<Self>) {
        // None: the interpreter is gone, and the loop with it.
        let _ = Python::try_attach(|py| {
            aside(py, || {
                let wake = || self.object.call_method0(py, intern!(py, "wake")).map(drop);
                // A signal handler may have raised in the middle; waking twice is no harm, and not at all would be.
                wake().or_else(|error| wake().and(Err(error)))
            });
        });
    }
}

/// Runs Python code beside what the calling thread does: no interrupt is raised in it, and an exception that is on its way
/// stays so. An error of its own is reported as one that nobody can catch.
pub(super) fn aside(py: Python<'_>, f: impl FnOnce() -> PyResult<()>) {
    quell::enter_shield();
    // SAFETY: attached.
    let before = unsafe { in_flight::take() };
    if let Err(error) = f() {
        error.write_unraisable(py, None);
    }
    // SAFETY: what was taken.
    unsafe { in_flight::put_back(before) };
    quell::leave_shield();
}

/// The exception that is on its way in the calling thread, if there is one. (`PyErr::take` does not take every one.)
mod in_flight {
    use pyo3::ffi;

    #[cfg(Py_3_12)]
    pub(super) unsafe fn take() -> *mut ffi::PyObject {
        // SAFETY: the caller is attached.
        unsafe { ffi::PyErr_GetRaisedException() }
    }

    #[cfg(Py_3_12)]
    pub(super) unsafe fn put_back(exception: *mut ffi::PyObject) {
        // SAFETY: an exception that is owned here, or null; the caller is attached.
        unsafe { ffi::PyErr_SetRaisedException(exception) };
    }

    #[cfg(not(Py_3_12))]
    pub(super) unsafe fn take() -> [*mut ffi::PyObject; 3] {
        let mut parts = [std::ptr::null_mut(); 3];
        let [class, value, traceback] = &mut parts;
        // SAFETY: the caller is attached.
        unsafe { ffi::PyErr_Fetch(class, value, traceback) };
        parts
    }

    #[cfg(not(Py_3_12))]
    pub(super) unsafe fn put_back([class, value, traceback]: [*mut ffi::PyObject; 3]) {
        // SAFETY: what was fetched, owned here; the caller is attached.
        unsafe { ffi::PyErr_Restore(class, value, traceback) };
    }
}
