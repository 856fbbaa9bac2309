//! Native functions of the interpreter with one of quell's in their place.
//!
//! A built-in function object refers to an entry of its module's method table, and takes the address of the C function from
//! there at each call. That address is exchanged. The object stays the same one, so a script finds no difference
//! whatever it looks at (`repr`, `pickle`, `inspect`, identity), also where it took the function before; and what is not
//! called costs nothing, unlike an audit hook, which is asked about every event.
//!
//! An interpreter whose function is declared in another way than this version's is left as it is.

use std::ffi::c_int;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use pyo3::ffi;
use pyo3::prelude::*;

pub(super) type Object = *mut ffi::PyObject;
/// `METH_FASTCALL`
pub(super) type Fast = unsafe extern "C" fn(Object, *mut Object, ffi::Py_ssize_t) -> Object;
/// `METH_FASTCALL | METH_KEYWORDS`
pub(super) type Keywords =
    unsafe extern "C" fn(Object, *mut Object, ffi::Py_ssize_t, Object) -> Object;
/// `METH_O`
pub(super) type One = unsafe extern "C" fn(Object, Object) -> Object;

/// What stands in the place of a native function.
#[derive(Clone, Copy)]
pub(super) enum Ours {
    Fast(Fast),
    Keywords(Keywords),
    One(One),
}

/// The function that stood there; to be kept in a static.
pub(super) struct Native(AtomicUsize);

impl Native {
    pub(super) const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Puts `ours` in the place of `module.name`. Once; a second call changes nothing.
    ///
    /// # Errors
    /// When the module has no such function.
    pub(super) fn replace(
        &self,
        module: &Bound<'_, PyModule>,
        name: &str,
        ours: Ours,
    ) -> PyResult<()> {
        let function = module.getattr(name)?;
        let (flags, ours): (c_int, usize) = match ours {
            Ours::Fast(f) => (ffi::METH_FASTCALL, f as usize),
            Ours::Keywords(f) => (ffi::METH_FASTCALL | ffi::METH_KEYWORDS, f as usize),
            Ours::One(f) => (ffi::METH_O, f as usize),
        };
        // SAFETY: GIL held. The object is checked to be a native function, declared in the way in which `ours` is called.
        // The table is writable static memory of the interpreter; the union holds a function pointer.
        unsafe {
            if ffi::PyCFunction_CheckExact(function.as_ptr()) == 0 || self.0.load(SeqCst) != 0 {
                return Ok(());
            }
            let method = (*function.as_ptr().cast::<ffi::PyCFunctionObject>()).m_ml;
            if (*method).ml_flags == flags {
                let place = (&raw mut (*method).ml_meth).cast::<usize>();
                self.0.store(*place, SeqCst);
                *place = ours;
            }
        }
        Ok(())
    }

    /// Calls the function that stood there.
    ///
    /// # Safety
    /// As for the function that was put in its place: the arguments are those it was called with, and it is one of this kind.
    pub(super) unsafe fn fast(
        &self,
        module: Object,
        arguments: *mut Object,
        count: ffi::Py_ssize_t,
    ) -> Object {
        // SAFETY: ours is called only after the address was stored, which was of a function of this type.
        let original: Fast = unsafe { std::mem::transmute(self.0.load(SeqCst)) };
        // SAFETY: the caller's.
        unsafe { original(module, arguments, count) }
    }

    /// See [`fast`](Self::fast).
    ///
    /// # Safety
    /// The same.
    pub(super) unsafe fn keywords(
        &self,
        module: Object,
        arguments: *mut Object,
        count: ffi::Py_ssize_t,
        names: Object,
    ) -> Object {
        // SAFETY: as above.
        let original: Keywords = unsafe { std::mem::transmute(self.0.load(SeqCst)) };
        // SAFETY: the caller's.
        unsafe { original(module, arguments, count, names) }
    }

    /// See [`fast`](Self::fast).
    ///
    /// # Safety
    /// The same.
    pub(super) unsafe fn one(&self, module: Object, argument: Object) -> Object {
        // SAFETY: as above.
        let original: One = unsafe { std::mem::transmute(self.0.load(SeqCst)) };
        // SAFETY: the caller's.
        unsafe { original(module, argument) }
    }
}

/// The argument at `index` as a C integer, if it is one for Python too; without an error left set.
///
/// # Safety
/// GIL held; `arguments` holds `count` live objects.
pub(super) unsafe fn integer(
    arguments: *mut Object,
    count: ffi::Py_ssize_t,
    index: ffi::Py_ssize_t,
) -> Option<i64> {
    if index >= count {
        return None;
    }
    // SAFETY: the caller's; a new reference, given back.
    unsafe {
        let number = ffi::PyNumber_Index(*arguments.offset(index));
        let value = if number.is_null() { -1 } else { ffi::PyLong_AsLongLong(number) };
        ffi::Py_XDECREF(number);
        if !ffi::PyErr_Occurred().is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(value)
    }
}
