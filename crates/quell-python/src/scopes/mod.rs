//! Scopes: blocks of Python code that interrupts do not enter (`mask`, `shield`), or that end in time (`timeout`).

pub(crate) mod firing;
mod home;
mod in_flight;
mod mask;
mod scope;
mod timeout;

use pyo3::prelude::*;

pub(crate) use scope::{Limit, Scope};
pub(crate) use timeout::limit;

use crate::lazy::Part;

/// Exports of this folder.
pub(crate) static PARTS: [Part; 2] = [
    Part::new(&["mask", "shield"], mask::register),
    Part::new(&["timeout", "timeout_at"], timeout::register),
];

/// What has to be there from the start.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    crate::at_exit::register(pyo3::wrap_pyfunction!(firing::_stop_timeouts, py)?.as_any())
}
