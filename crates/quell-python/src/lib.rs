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

/// The native half of the package `quell`.
#[pymodule(gil_used = true)]
pub mod _quell {
    use super::{cpython, delivery, fork, lazy, run, scopes};
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
        lazy::register(module)?;
        delivery::register(module)?;
        scopes::register(module)?;
        fork::register(module)?;
        run::inside::register(module)
    }
}
