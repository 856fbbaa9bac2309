//! The last net: an interrupt that the interpreter swallowed is made pending again.
//!
//! [`swallow`](super::swallow) refuses to raise where an exception would be ignored; a callback from foreign C code
//! cannot be recognised beforehand. When such a callback ends in our exception, the interpreter hands it to
//! `sys.unraisablehook`. This puts a function in front of that hook which knows our exceptions by the number they
//! carry, and passes everything else on. It is installed with the first interrupt, and again in front of whatever
//! the program has put there since.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::gate;
use super::gil_cell::GilCell;
use super::record::Record;

static BEFORE: GilCell<Option<Py<PyAny>>> = GilCell::new(None);

/// `sys.unraisablehook` while interrupts are about.
#[pyfunction]
#[pyo3(name = "unraisablehook")]
fn hook(unraisable: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = unraisable.py();
    let value = unraisable.getattr("exc_value")?;
    if let Some(record) = Record::existing(py)
        && record.swallowed(py, &value)
    {
        return gate::arm(py, record);
    }
    let before = BEFORE.with(py, |b| b.as_ref().map(|b| b.clone_ref(py)));
    match before {
        Some(before) => before.bind(py).call1((unraisable,)).map(drop),
        None => py.import("sys")?.getattr("__unraisablehook__")?.call1((unraisable,)).map(drop),
    }
}

pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    static HOOK: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let ours = HOOK.get_or_try_init(py, || -> PyResult<_> {
        Ok(pyo3::wrap_pyfunction!(hook, py)?.into_any().unbind())
    })?;
    // SAFETY: a borrowed reference or null, no error set.
    let now = unsafe {
        Bound::from_borrowed_ptr_or_opt(py, ffi::PySys_GetObject(c"unraisablehook".as_ptr()))
    };
    let Some(now) = now else { return Ok(()) };
    if now.is(ours.bind(py)) {
        return Ok(());
    }
    let previous = BEFORE.with(py, |b| b.replace(now.unbind()));
    drop(previous);
    py.import("sys")?.setattr("unraisablehook", ours.bind(py))
}
