//! Scopes: blocks of Python code that interrupts do not enter (`mask`, `shield`), or that end in time (`timeout`).

pub(crate) mod firing;
mod home;
mod in_flight;
mod mask;
mod scope;
mod timeout;

use pyo3::prelude::*;

/// Exports of this folder.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    mask::register(module)?;
    timeout::register(module)?;
    let stop = pyo3::wrap_pyfunction!(firing::_stop_timeouts, module)?;
    py.import("atexit")?.call_method1("register", (stop,))?;
    Ok(())
}
