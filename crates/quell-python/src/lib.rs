//! The Python package of quell, and everything in it that knows CPython.
//!
//! [`cpython`] reads the interpreter's private records, [`delivery`] brings an interrupt to a Python thread,
//! [`exceptions`] has the types, [`api`] the functions that send; [`primitives`] are the locks and queues, [`scopes`] the
//! blocks that mask or time out, [`executor`] runs tasks, [`look`] shows what every thread does, [`deadlock`] finds those that wait
//! for each other, [`run`] is the command. Each exports its part of the native module itself, most of it when somebody
//! first asks for it ([`lazy`]).

mod api;
mod at_exit;
pub mod cpython;
mod deadlock;
pub mod delivery;
pub mod exceptions;
mod executor;
mod fork;
mod lazy;
mod look;
mod native;
pub mod patch;
mod primitives;
mod procfs;
pub mod run;
mod scopes;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// The native half of the package `quell`.
#[pymodule(gil_used = true)]
pub mod _quell {
    use super::{cpython, lazy, run};
    use pyo3::exceptions::PyImportError;
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        // From 3.12 on CPython asks the module whether it may, but only for a subinterpreter that is isolated.
        if !cpython::thread::is_in_main_interpreter(module.py()) {
            return Err(PyImportError::new_err(
                "module quell._quell does not support loading in subinterpreters: import quell in the main interpreter",
            ));
        }
        // Into the dictionary: `add` keeps an `__all__` too, and looks for it by an exception.
        module.dict().set_item("__version__", env!("CARGO_PKG_VERSION"))?;
        super::install(module.py())?;
        lazy::register(module)?;
        run::inside::register(module)
    }
}

/// Installs what delivery needs of the running interpreter: the signal's handler, exit functions, hooks around a fork. Done once, by
/// the import of the native module or by `quell run`, which does without that module until the script asks for it.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    static DONE: PyOnceLock<()> = PyOnceLock::new();
    DONE.get_or_try_init(py, || {
        cpython::gil::find(py);
        delivery::install(py)?;
        scopes::install(py)?;
        fork::install(py)
    })
    .copied()
}
