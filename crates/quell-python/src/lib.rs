//! The Python package of quell, and everything in it that knows CPython.
//!
//! [`cpython`] reads the interpreter's private records, [`delivery`] brings an interrupt to a Python thread,
//! [`exceptions`] has the types. Each folder exports its part of the native module itself.

pub mod cpython;
pub mod delivery;
pub mod exceptions;
mod native;
pub mod run;

use pyo3::prelude::*;

/// The native half of the package `quell`.
#[pymodule(gil_used = true)]
pub mod _quell {
    use super::{delivery, exceptions, run};
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        exceptions::register(module)?;
        delivery::register(module)?;
        run::inside::register(module)
    }
}
