//! The Python package of quell, and everything in it that knows CPython.

use pyo3::prelude::*;

/// The native half of the package `quell`.
#[pymodule(gil_used = true)]
pub mod _quell {}
