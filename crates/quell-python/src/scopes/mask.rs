//! `quell.mask()` and `quell.shield()`: regions of code that interrupts do not enter.
//!
//! The depth that counts is the core's, one per thread and kind. The objects have no state: there is one of each, which every
//! call of the class returns, so that a `with` statement around a few instructions does not cost more than these.

use std::ffi::CStr;
use std::mem::offset_of;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::delivery;
use crate::primitives::bound::{self, Bindings, Entry};
use crate::primitives::call::{self, Obj, none, throw};

#[cold]
fn not_inside(what: &str) -> PyErr {
    PyRuntimeError::new_err(format!(
        "this thread is in no {what}: it was not entered here, or has been left"
    ))
}

/// A region in which interrupts are raised only where the thread blocks.
///
/// Use it in a with statement, around code that must not be cut between two steps. What arrives inside and does not
/// find the thread waiting is raised when the outermost mask is left. Masks nest, and are per thread: do not yield or await
/// inside one, since it would stay on in the code that runs meanwhile. To enter and leave one is no interruption point but for
/// that.
///
///     with quell.mask():
///         item = queue.get()      # may be interrupted while it waits
///         table[item.key] = item  # not between the two
#[pyclass(frozen, module = "quell", name = "mask")]
pub struct Mask {
    bindings: Bindings,
}

/// A region in which no interrupt is raised, not even where the thread blocks.
///
/// Use it in a with statement, for cleanup that waits for something and must not be given up. What arrives inside is raised
/// when the outermost shield is left. Shields nest, and are per thread: do not yield or await inside one. Time limits are kept out
/// as well, so give what waits inside a timeout of its own.
///
///     with quell.shield():
///         connection.send(b"bye", timeout=1)
#[pyclass(frozen, module = "quell", name = "shield")]
pub struct Shield {
    bindings: Bindings,
}

macro_rules! region {
    ($Class:ident, $module:ident, $name:literal, $enter:path, $leave:path, $depth:path) => {
        #[pymethods]
        impl $Class {
            #[new]
            fn new() -> Self {
                Self { bindings: Bindings::new() }
            }
        }

        mod $module {
            use super::*;

            /// The one object, made at import; it lives for ever.
            pub(super) static OBJECT: AtomicPtr<ffi::PyObject> = AtomicPtr::new(null_mut());

            pub(super) unsafe extern "C" fn make(
                _class: Obj,
                _args: *const Obj,
                count: usize,
                names: Obj,
            ) -> Obj {
                // SAFETY: called by the interpreter, attached, as a class is called.
                unsafe {
                    let count = count & !ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
                    if count != 0 || !names.is_null() && ffi::PyTuple_GET_SIZE(names) != 0 {
                        return throw(PyTypeError::new_err(concat!($name, "() takes no arguments")));
                    }
                    // Relaxed: written under the GIL before the class could be called.
                    let object = OBJECT.load(Relaxed);
                    ffi::Py_INCREF(object);
                    object
                }
            }

            impl Entry for $Class {
                const BINDINGS: usize = offset_of!(Self, bindings);

                const ENTER: &CStr = c"__enter__($self, /)\n--\n\nEnter the region.";
                const EXIT: &CStr = c"__exit__($self, /, *exc_info)\n--\n\n\
                    Leave the region. Leaving the outermost one is an interruption point: what arrived inside\n\
                    is raised.";

                #[inline(always)]
                unsafe fn enter(_slf: Obj) -> Obj {
                    $enter();
                    // SAFETY: the caller's promise.
                    unsafe { none() }
                }

                #[inline(always)]
                unsafe fn exit(_slf: Obj, _: *mut Obj, _: isize) -> Obj {
                    // SAFETY: the caller's promise.
                    unsafe {
                        if $depth() == 0 {
                            return throw(not_inside($name));
                        }
                        $leave();
                        match delivery::checkpoint(Python::assume_attached()) {
                            Ok(()) => none(),
                            Err(error) => throw(error),
                        }
                    }
                }
            }

            pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
                let py = module.py();
                crate::lazy::add_class::<$Class>(module)?;
                OBJECT.store(Py::new(py, $Class::new())?.into_ptr(), Relaxed);
                call::install_constructor::<$Class>(py, make);
                bound::install::<$Class, $Class>(py)
            }
        }
    };
}

region!(Mask, masked, "mask", quell::enter_mask, quell::leave_mask, quell::mask_depth);
region!(Shield, shielded, "shield", quell::enter_shield, quell::leave_shield, quell::shield_depth);

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    masked::register(module)?;
    shielded::register(module)
}
