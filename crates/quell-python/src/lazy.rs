//! Names of the package that are made when somebody first asks for one.
//!
//! Making a type costs the interpreter tens of microseconds, and a program uses one or two of them; a script under `quell
//! run` mostly none. So a module gets a `__getattr__` ([PEP 562](https://peps.python.org/pep-0562/)), which makes the [`Part`] that
//! holds the name and puts its names where they would have been. It is native, and what it makes is native: no Python code runs, so
//! nothing can be interrupted in the middle of it, and no thread sees half of it.
//!
//! A part also completes its types, with methods that [`call`](crate::primitives::call) puts on them. So whoever makes an object
//! of a type that is another part's asks for that with [`named`] first.

use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyModule};
use pyo3::{PyClass, ffi};

use crate::{api, deadlock, exceptions, executor, look, patch, primitives, scopes};

type Export = fn(&Bound<'_, PyModule>) -> PyResult<()>;

/// Some names, and what puts them into the native module. That is done once, or again after it has failed.
pub(crate) struct Part {
    names: &'static [&'static str],
    export: Export,
    /// Whether the package shows them.
    public: bool,
    /// Whether they come from a Python module, which may have to be imported.
    imported: bool,
}

impl Part {
    pub(crate) const fn new(names: &'static [&'static str], export: Export) -> Self {
        Self { names, export, public: true, imported: false }
    }

    /// Names of what others have made.
    pub(crate) const fn imported(names: &'static [&'static str], export: Export) -> Self {
        Self { names, export, public: true, imported: true }
    }

    /// Names of the native module alone.
    pub(crate) const fn private(names: &'static [&'static str], export: Export) -> Self {
        Self { names, export, public: false, imported: false }
    }
}

fn parts() -> impl Iterator<Item = &'static Part> {
    [
        &exceptions::PARTS[..],
        &primitives::PARTS,
        &scopes::PARTS,
        &executor::PARTS,
        &api::PARTS,
        &patch::PARTS,
        &look::PARTS,
        &deadlock::PARTS,
    ]
    .into_iter()
    .flatten()
}

/// The native module.
static NATIVE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

/// What has this name, whole. None if nothing has, or the module is not there yet.
fn find<'py>(py: Python<'py>, name: &str) -> PyResult<Option<(Bound<'py, PyAny>, &'static Part)>> {
    let part = parts().find(|part| part.names.contains(&name));
    let (Some(part), Some(native)) = (part, NATIVE.get(py)) else { return Ok(None) };
    let native = native.bind(py);
    // In its dictionary: to ask the module would be to come back here.
    let mut value = native.dict().get_item(name)?;
    if value.is_none() {
        if part.imported {
            (part.export)(native)?;
        } else {
            undisturbed(|| (part.export)(native))?;
        }
        value = native.dict().get_item(name)?;
    }
    Ok(value.map(|value| (value, part)))
}

/// What the native module has under this name, which is one of a [`Part`].
pub(crate) fn named<'py>(py: Python<'py>, name: &'static str) -> PyResult<Bound<'py, PyAny>> {
    find(py, name)?.map(|(value, _)| value).ok_or_else(|| unknown("quell._quell", name))
}

fn unknown(module: &str, name: &str) -> PyErr {
    PyAttributeError::new_err(format!("module '{module}' has no attribute '{name}'"))
}

/// The `__getattr__` of the native module.
#[pyfunction]
fn __getattr__<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    find(py, name)?.map(|(value, _)| value).ok_or_else(|| unknown("quell._quell", name))
}

/// The `__getattr__` of the package, which keeps what it was asked for.
#[pyfunction]
fn _attribute<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let Some((value, Part { public: true, .. })) = find(py, name)? else {
        return Err(unknown("quell", name));
    };
    // Without an import, which the end of the interpreter allows no more.
    // SAFETY: attached; borrowed from the module `sys`, or null.
    let modules =
        unsafe { Bound::from_borrowed_ptr_or_opt(py, ffi::PySys_GetObject(c"modules".as_ptr())) };
    if let Some(modules) = modules.as_ref().and_then(|modules| modules.cast::<PyDict>().ok())
        && let Some(package) = modules.get_item("quell")?
    {
        package.setattr(name, &value)?;
    }
    Ok(value)
}

/// Without the garbage collector, which CPython 3.11 calls wherever an object is made: a finalizer that asks for the same
/// name would find half of it.
fn undisturbed<R>(export: impl FnOnce() -> R) -> R {
    struct Collecting(bool);
    impl Drop for Collecting {
        fn drop(&mut self) {
            if self.0 {
                // SAFETY: attached; puts back what was found.
                unsafe { ffi::PyGC_Enable() };
            }
        }
    }
    // SAFETY: attached.
    let _collecting = Collecting(unsafe { ffi::PyGC_Disable() } != 0);
    export()
}

/// What there is, made or not.
#[pyfunction]
fn __dir__(py: Python<'_>) -> PyResult<Vec<String>> {
    let made = NATIVE.get(py).map(|native| native.bind(py).dict().keys().extract());
    let mut names: Vec<String> = made.transpose()?.unwrap_or_default();
    names.extend(parts().flat_map(|part| part.names).map(|name| (*name).to_owned()));
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Gives the native module its `__getattr__`.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let _ = NATIVE.set(py, module.clone().unbind());
    let dict = module.dict();
    dict.set_item("_attribute", wrap_pyfunction!(_attribute, py)?)?;
    dict.set_item("__getattr__", wrap_pyfunction!(__getattr__, py)?)?;
    dict.set_item("__dir__", wrap_pyfunction!(__dir__, py)?)
}

/// Adds a class to the module. Its values lie in the interpreter's memory, which is aligned to 16 bytes: a class that asks for
/// more does not compile.
pub(crate) fn add_class<T: PyClass>(module: &Bound<'_, PyModule>) -> PyResult<()> {
    const { assert!(align_of::<T>() <= 16) };
    module.add_class::<T>()
}
