//! A call that is to be made later, by another thread.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::primitives::call::Obj;

/// A function, its arguments as a vector call takes them, and the context in which it is called: a copy of that of who asks
/// for it.
pub(super) struct Call {
    /// The function, the positional arguments, the values of the others.
    objects: Box<[Py<PyAny>]>,
    /// The names of the others, or null; owned.
    names: Option<Py<PyAny>>,
    context: Py<PyAny>,
}

impl Call {
    /// # Safety
    /// Attached; `objects` has `count` positional arguments, a function and its own, and the values for `names`: what a
    /// METH_FASTCALL | METH_KEYWORDS function was called with.
    pub(super) unsafe fn new(
        py: Python<'_>,
        method: &str,
        objects: *const Obj,
        count: isize,
        names: Obj,
    ) -> PyResult<Self> {
        if count < 1 {
            return Err(PyTypeError::new_err(format!(
                "{method}() missing 1 required positional argument: 'fn'"
            )));
        }
        // SAFETY: the caller's promise; a new reference, or an error.
        unsafe {
            let context = Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent())?.unbind();
            let names = Bound::from_borrowed_ptr_or_opt(py, names).map(Bound::unbind);
            let named = names.as_ref().map_or(0, |names| ffi::PyTuple_GET_SIZE(names.as_ptr()));
            let objects = std::slice::from_raw_parts(objects, (count + named) as usize);
            let objects =
                objects.iter().map(|&object| Bound::from_borrowed_ptr(py, object).unbind());
            Ok(Self { objects: objects.collect(), names, context })
        }
    }

    /// Calls the function. Its arguments are dropped with this, later.
    pub(super) fn make<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: attached; anything but a context that is not entered is an error.
        if unsafe { ffi::PyContext_Enter(self.context.as_ptr()) } != 0 {
            return Err(PyErr::fetch(py));
        }
        let names = self.names.as_ref().map_or(std::ptr::null_mut(), Py::as_ptr);
        // SAFETY: a live tuple: a name for each of the values at the end.
        let named =
            self.names.as_ref().map_or(0, |names| unsafe { ffi::PyTuple_GET_SIZE(names.as_ptr()) });
        let function = self.objects[0].as_ptr();
        let objects = self.objects.as_mut_ptr().cast::<Obj>();
        // SAFETY: attached. `Py` is a pointer, and what is called may use the place before the arguments, which is the
        // function's, for the length of the call: nobody else looks there, since this is borrowed for as long.
        let result = unsafe {
            let count =
                (self.objects.len() - 1 - named as usize) | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
            let result = ffi::PyObject_Vectorcall(function, objects.add(1), count, names);
            Bound::from_owned_ptr_or_err(py, result)
        };
        // SAFETY: attached; entered above.
        if unsafe { ffi::PyContext_Exit(self.context.as_ptr()) } != 0 {
            return Err(PyErr::fetch(py));
        }
        result
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.objects.iter().try_for_each(|object| visit.call(object))?;
        visit.call(&self.context)
    }
}
