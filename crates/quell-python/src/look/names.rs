//! What the module `threading` knows of threads: their names, and whether the process waits for them.
//!
//! Read from its table, natively: no method or property of a thread object is called, nothing is imported.

use std::collections::HashMap;
use std::ffi::CStr;

use pyo3::ffi;

use crate::cpython::code::words;

pub(super) struct Named {
    pub(super) name: String,
    pub(super) daemon: bool,
}

/// By `threading.get_ident()`.
pub(super) struct Names {
    known: HashMap<u64, Named>,
    main: u64,
}

impl Names {
    /// With the GIL, which is not given up.
    pub(super) fn read() -> Names {
        let mut known = HashMap::new();
        // SAFETY: attached; borrowed references, which nothing in between gives up.
        unsafe {
            let (mut at, mut key, mut thread) = (0, std::ptr::null_mut(), std::ptr::null_mut());
            let active = table();
            while !active.is_null()
                && ffi::PyDict_Next(active, &raw mut at, &raw mut key, &raw mut thread) != 0
            {
                let ident = ffi::PyLong_AsUnsignedLongLong(key);
                if !ffi::PyErr_Occurred().is_null() {
                    ffi::PyErr_Clear();
                    continue;
                }
                if let Some(named) = named(thread) {
                    known.insert(ident, named);
                }
            }
        }
        Names { known, main: crate::delivery::main_ident() }
    }

    pub(super) fn get(&self, ident: u64) -> Option<&Named> {
        self.known.get(&ident)
    }

    /// The main thread's ident.
    pub(super) fn main(&self) -> u64 {
        self.main
    }
}

/// `threading._active`, borrowed; null if the module is not there.
unsafe fn table() -> *mut ffi::PyObject {
    let none = std::ptr::null_mut();
    // SAFETY: attached; borrowed references, null of what is not there, as at the end of the interpreter.
    unsafe {
        let modules = ffi::PySys_GetObject(c"modules".as_ptr());
        if modules.is_null() || ffi::PyDict_Check(modules) == 0 {
            return none;
        }
        let module = ffi::PyDict_GetItemString(modules, c"threading".as_ptr());
        if module.is_null() || ffi::PyModule_Check(module) == 0 {
            return none;
        }
        let active = ffi::PyDict_GetItemString(ffi::PyModule_GetDict(module), c"_active".as_ptr());
        if active.is_null() || ffi::PyDict_Check(active) == 0 { none } else { active }
    }
}

/// # Safety
/// Attached, a live object.
unsafe fn named(thread: *mut ffi::PyObject) -> Option<Named> {
    // SAFETY: the caller's promise; new references, given back.
    unsafe {
        let name = attribute(thread, c"_name")?;
        let text = (ffi::PyUnicode_Check(name) != 0).then(|| words(name));
        ffi::Py_DECREF(name);
        let daemon = attribute(thread, c"_daemonic")?;
        let is_daemon = daemon == ffi::Py_True();
        ffi::Py_DECREF(daemon);
        Some(Named { name: text?, daemon: is_daemon })
    }
}

/// What `threading.get_ident()` returns in a thread, by its `threading.Thread`.
///
/// # Safety
/// As [`named`].
pub(crate) unsafe fn ident_of(thread: *mut ffi::PyObject) -> Option<u64> {
    // SAFETY: the caller's promise; a new reference, given back.
    unsafe {
        let ident = attribute(thread, c"_ident")?;
        let number = ffi::PyLong_AsUnsignedLongLong(ident);
        ffi::Py_DECREF(ident);
        // None, before it has begun.
        if !ffi::PyErr_Occurred().is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(number)
    }
}

/// An attribute as it is kept, whatever the class makes of attributes: a new reference.
///
/// # Safety
/// As [`named`].
unsafe fn attribute(object: *mut ffi::PyObject, name: &CStr) -> Option<*mut ffi::PyObject> {
    // SAFETY: the caller's promise.
    unsafe {
        let key = ffi::PyUnicode_InternFromString(name.as_ptr());
        let value = if key.is_null() { key } else { ffi::PyObject_GenericGetAttr(object, key) };
        ffi::Py_XDECREF(key);
        if value.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(value)
    }
}
