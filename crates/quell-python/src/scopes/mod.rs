//! Scopes: blocks of Python code that interrupts do not enter (`mask`, `shield`), or that end in time (`timeout`).

mod firing;
mod home;
mod in_flight;
mod mask;
mod scope;
mod timeout;

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Exports of this folder.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    mask::register(module)?;
    timeout::register(module)?;
    let stop = pyo3::wrap_pyfunction!(firing::_stop_timeouts, module)?;
    py.import("atexit")?.call_method1("register", (stop,))?;
    let forked = pyo3::wrap_pyfunction!(firing::_after_fork_child, module)?;
    let hooks = PyDict::new(py);
    hooks.set_item("after_in_child", forked)?;
    py.import("os")?.getattr("register_at_fork")?.call((), Some(&hooks))?;
    Ok(())
}
