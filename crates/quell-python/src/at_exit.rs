//! Exit functions of the interpreter, registered without importing `atexit`.
//!
//! `python` does not import that module by itself, and a script under `quell run` shall not find it imported either; nor is the
//! import cheap. The module has no state of its own: its functions work on the interpreter's, so those of a copy that nobody else sees
//! do what those of the module do, in one order with them.

use std::ffi::CStr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyModule};

const NAME: &CStr = c"atexit";

/// Has the interpreter call it at its end, before whatever was registered earlier.
pub(crate) fn register(function: &Bound<'_, PyAny>) -> PyResult<()> {
    static REGISTER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = function.py();
    let register = REGISTER.get_or_try_init(py, || {
        let imported =
            py.import("sys")?.getattr("modules")?.cast::<PyDict>()?.get_item("atexit")?;
        let module = match imported {
            Some(module) => module,
            None => match copy(py)? {
                Some(module) => module,
                None => py.import("atexit")?.into_any(),
            },
        };
        module.getattr("register").map(Bound::unbind)
    })?;
    register.call1(py, (function,)).map(drop)
}

/// A module like the built-in one, where the interpreter has one that is initialized in two phases, as all are that hold no state.
fn copy(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    // SAFETY: attached. The table ends with an entry without a name; its strings and functions live for ever.
    let initialize = unsafe {
        let mut entry = (&raw const ffi::PyImport_Inittab).read();
        loop {
            if entry.is_null() || (*entry).name.is_null() {
                break None;
            }
            if CStr::from_ptr((*entry).name) == NAME {
                break (*entry).initfunc;
            }
            entry = entry.add(1);
        }
    };
    let Some(initialize) = initialize else { return Ok(None) };
    // All that is read of a specification here.
    let specification = PyModule::new(py, "atexit")?;
    specification.setattr("name", "atexit")?;
    // SAFETY: attached; the result is a definition that lives for ever, or a module that is new, or an error.
    unsafe {
        let definition = initialize();
        if definition.is_null() {
            return Err(PyErr::fetch(py));
        }
        if ffi::Py_TYPE(definition) != &raw mut ffi::PyModuleDef_Type {
            drop(Bound::from_owned_ptr(py, definition));
            return Ok(None);
        }
        let definition = definition.cast::<ffi::PyModuleDef>();
        let module = ffi::PyModule_FromDefAndSpec(definition, specification.as_ptr());
        let module = Bound::from_owned_ptr_or_err(py, module)?;
        if ffi::PyModule_ExecDef(module.as_ptr(), definition) != 0 {
            return Err(PyErr::fetch(py));
        }
        Ok(Some(module))
    }
}
