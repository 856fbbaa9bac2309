//! The exception types of the package.
//!
//! They are made natively, so that a command which embeds the interpreter has them before the package is imported.

use std::ffi::CStr;

use pyo3::exceptions::{PyBaseException, PyRuntimeError, PyTimeoutError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use crate::lazy::Part;

fn make(py: Python<'_>, name: &CStr, doc: &CStr, base: &Bound<'_, PyType>) -> PyResult<Py<PyType>> {
    // SAFETY: static strings, a live base class; returns a new reference or null with an error set.
    let made = unsafe {
        let made = ffi::PyErr_NewExceptionWithDoc(
            name.as_ptr(),
            doc.as_ptr(),
            base.as_ptr(),
            std::ptr::null_mut(),
        );
        Bound::from_owned_ptr_or_err(py, made)?
    };
    Ok(made.cast_into::<PyType>()?.unbind())
}

macro_rules! exception {
    ($function:ident, $name:literal, $base:expr, $doc:literal) => {
        #[doc = concat!("`", $name, "`: ", $doc)]
        pub fn $function(py: Python<'_>) -> &Bound<'_, PyType> {
            static TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
            let cell: &'static PyOnceLock<Py<PyType>> = &TYPE;
            const NAME: &CStr = match CStr::from_bytes_with_nul(concat!($name, "\0").as_bytes()) {
                Ok(name) => name,
                Err(_) => panic!("a name without NUL"),
            };
            const DOC: &CStr = match CStr::from_bytes_with_nul(concat!($doc, "\0").as_bytes()) {
                Ok(doc) => doc,
                Err(_) => panic!("a text without NUL"),
            };
            let base: fn(Python<'_>) -> Bound<'_, PyType> = $base;
            // Fails only without memory, where nothing else would work either.
            cell.get_or_init(py, || {
                make(py, NAME, DOC, &base(py)).unwrap_or_else(|_| base(py).unbind())
            })
            .bind(py)
        }
    };
}

exception!(
    interrupt_type,
    "quell.Interrupt",
    |py| py.get_type::<PyBaseException>(),
    "A thread was interrupted. Not an Exception, so that `except Exception` does not swallow it."
);
exception!(
    timeout_type,
    "quell.Timeout",
    |py| py.get_type::<PyTimeoutError>(),
    "The block of a timeout took longer than it may. Raised where the block is left, never outside it."
);
exception!(
    scope_timeout_type,
    "quell.ScopeTimeout",
    |py| py.get_type::<PyBaseException>(),
    "A timeout on its way out of its block, where it becomes quell.Timeout.\n\n\
     It is private to its scope: do not catch it. Like every interrupt it is a BaseException, so that\n\
     except Exception lets it pass."
);
exception!(
    task_cancelled_type,
    "quell.TaskCancelled",
    |py| interrupt_type(py).clone(),
    "The task is cancelled, by Future.cancel(interrupt=True) or Executor.shutdown(interrupt=True).\n\n\
     Raised in the task, and only there: who asks for its result gets a CancelledError. An Interrupt,\n\
     and so a BaseException, so that except Exception lets it pass. Clean up and let it go on."
);
exception!(
    limit_type,
    "quell.Limit",
    |py| py.get_type::<PyBaseException>(),
    "A limit of `quell run` was reached. Has the attributes `limit` and `used`."
);
exception!(
    time_limit_type,
    "quell.TimeLimit",
    |py| limit_type(py).clone(),
    "The script ran longer than it may. `limit` and `used` are seconds."
);
exception!(
    cpu_limit_type,
    "quell.CpuLimit",
    |py| limit_type(py).clone(),
    "The process used more processor time than it may. `limit` and `used` are seconds."
);
exception!(
    memory_limit_type,
    "quell.MemoryLimit",
    |py| limit_type(py).clone(),
    "The process used more memory than it may. `limit` and `used` are bytes."
);

exception!(
    deadlock_type,
    "quell.Deadlock",
    |py| py.get_type::<PyRuntimeError>(),
    "Threads wait for each other in a circle, so that none can go on. `threads` has a ThreadInfo of each: it waits for what the next one holds, and the last for what the first one holds, whose wait closed the circle."
);

/// Exports of this file.
pub(crate) static PARTS: [Part; 2] = [
    Part::new(
        &["Interrupt", "Timeout", "TaskCancelled", "Limit", "TimeLimit", "CpuLimit", "MemoryLimit"],
        register,
    ),
    Part::private(&["ScopeTimeout"], |module| {
        module.add("ScopeTimeout", scope_timeout_type(module.py()))
    }),
];

fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("Interrupt", interrupt_type(py))?;
    module.add("Timeout", timeout_type(py))?;
    module.add("TaskCancelled", task_cancelled_type(py))?;
    module.add("Limit", limit_type(py))?;
    module.add("TimeLimit", time_limit_type(py))?;
    module.add("CpuLimit", cpu_limit_type(py))?;
    module.add("MemoryLimit", memory_limit_type(py))
}
