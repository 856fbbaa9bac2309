//! The Python package of quell, and everything in it that knows CPython.

pub mod run;

use pyo3::prelude::*;

/// The native half of the package `quell`.
#[pymodule(gil_used = true)]
pub mod _quell {
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::run::inside::register(module)
    }
}
