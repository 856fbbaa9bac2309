//! Native methods without a trampoline: how they are put on a class, how they reach `self`, read their arguments
//! and raise.
//!
//! PyO3 wraps each method in code that sets up a panic boundary and converts arguments; for an operation that costs
//! a few nanoseconds that is most of the time. The hot methods of the primitives are therefore plain C functions,
//! installed over the class with `PyDescr_NewMethod` at module initialisation. The descriptor checks the type of
//! `self`, so a method may rely on it.
//!
//! A panic in such a function ends the process: nothing here, and nothing that the fast paths call, may panic.

use std::ffi::{CStr, c_int};
use std::ptr::null_mut;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::{PyString, PyType};
use pyo3::{Borrowed, PyClass, ffi};

/// A Python object as the C API passes it.
pub(crate) type Obj = *mut ffi::PyObject;

/// The Rust value inside `self`.
///
/// # Safety
/// The calling thread is attached to the interpreter, and `slf` is a live instance of `T` or of a subclass: what
/// a method descriptor of `T` guarantees for the length of the call.
#[inline(always)]
pub(crate) unsafe fn this<'a, T: PyClass<Frozen = True> + Sync>(slf: Obj) -> &'a T {
    // SAFETY: the caller's promise.
    unsafe {
        // Or it is looked whether it is null, each time.
        std::hint::assert_unchecked(!slf.is_null());
        let py = Python::assume_attached();
        let object: Borrowed<'a, '_, PyAny> = Borrowed::from_ptr(py, slf);
        object.cast_unchecked::<T>().get()
    }
}

/// The other way round: the object that a value of one of the package's classes is in, borrowed.
#[inline]
pub(crate) fn object_of<T: PyClass<BaseType = PyAny>>(value: &T) -> Obj {
    const { assert!(align_of::<T>() <= align_of::<ffi::PyObject>()) };
    let object = object_behind((&raw const *value).cast());
    // SAFETY: attached, as all callers are; a live object and a live type.
    debug_assert!(unsafe {
        let class = T::type_object_raw(Python::assume_attached());
        ffi::PyObject_TypeCheck(object, class) != 0
    });
    object
}

/// From an object to its value: PyO3 puts that of a class without a base of ours right behind the object's head.
pub(crate) const VALUE_OFFSET: usize = size_of::<ffi::PyObject>();

/// The same by the value's address.
#[inline]
pub(crate) fn object_behind(value: *const ()) -> Obj {
    value.wrapping_byte_sub(VALUE_OFFSET).cast::<ffi::PyObject>().cast_mut()
}

/// A new reference to None.
///
/// # Safety
/// The calling thread is attached to the interpreter; the same holds for every function below.
#[inline(always)]
pub(crate) unsafe fn none() -> Obj {
    // SAFETY: None lives for ever.
    unsafe { immortal(ffi::Py_None()) }
}

/// A new reference to True or False.
///
/// # Safety
/// As [`none`].
#[inline(always)]
pub(crate) unsafe fn boolean(value: bool) -> Obj {
    // SAFETY: both live for ever.
    unsafe { immortal(if value { ffi::Py_True() } else { ffi::Py_False() }) }
}

/// A new reference to what lives for ever. From CPython 3.12 on it is not counted; where it is in other files, it is asked each time.
///
/// # Safety
/// As [`none`], with None, True or False.
#[inline(always)]
unsafe fn immortal(object: Obj) -> Obj {
    if cfg!(not(Py_3_12)) {
        // SAFETY: the caller's promise.
        unsafe { ffi::Py_INCREF(object) };
    }
    object
}

/// Raises, as a `raise` statement would: an exception that is being handled becomes the context of this one.
///
/// # Safety
/// As [`none`].
#[cold]
#[inline(never)]
pub(crate) unsafe fn throw(error: PyErr) -> Obj {
    // SAFETY: attached; PyErr_SetObject takes the traceback from the value and chains the context, which
    // `PyErr::restore` would not. By pointers: PyO3 has not been told that the thread is attached, so what it drops here
    // it would keep until it is, and the exception with it, and whatever its frames hold.
    unsafe {
        error.restore(Python::assume_attached());
        let value = fetched();
        ffi::PyErr_SetObject(ffi::Py_TYPE(value).cast(), value);
        ffi::Py_DECREF(value);
    }
    null_mut()
}

/// The exception that is set, which is not set any more: a new reference.
///
/// # Safety
/// As [`none`]; there is one.
#[cfg(Py_3_12)]
unsafe fn fetched() -> Obj {
    // SAFETY: the caller's promise.
    unsafe { ffi::PyErr_GetRaisedException() }
}

/// The exception that is set, which is not set any more: a new reference.
///
/// # Safety
/// As [`none`]; there is one.
#[cfg(not(Py_3_12))]
unsafe fn fetched() -> Obj {
    let (mut class, mut value, mut traceback) = (null_mut(), null_mut(), null_mut());
    // SAFETY: the caller's promise; the three are new references or null, and a value that was normalized is an exception.
    unsafe {
        ffi::PyErr_Fetch(&raw mut class, &raw mut value, &raw mut traceback);
        ffi::PyErr_NormalizeException(&raw mut class, &raw mut value, &raw mut traceback);
        if !traceback.is_null() {
            ffi::PyException_SetTraceback(value, traceback);
        }
        ffi::Py_XDECREF(class);
        ffi::Py_XDECREF(traceback);
    }
    value
}

/// Raises RuntimeError.
#[cold]
#[inline(never)]
pub(crate) fn runtime_error(message: &'static str) -> PyErr {
    PyRuntimeError::new_err(message)
}

/// Returns the object, or raises.
///
/// # Safety
/// As [`none`].
#[inline(always)]
pub(crate) unsafe fn answer(result: PyResult<bool>) -> Obj {
    // SAFETY: the caller's promise.
    unsafe {
        match result {
            Ok(value) => boolean(value),
            Err(error) => throw(error),
        }
    }
}

/// The parameters of a method, for binding a call's arguments to them.
pub(crate) struct Parameters<const N: usize> {
    function: &'static str,
    names: [&'static str; N],
    // Interned, so that a keyword written in source is recognised by its address.
    interned: [Obj; N],
}

// SAFETY: the objects are interned strings that this value keeps alive for ever; only their addresses and, under
// the GIL, their text are read.
unsafe impl<const N: usize> Sync for Parameters<N> {}
// SAFETY: as above.
unsafe impl<const N: usize> Send for Parameters<N> {}

impl<const N: usize> Parameters<N> {
    pub(crate) fn new(py: Python<'_>, function: &'static str, names: [&'static str; N]) -> Self {
        let interned = names.map(|name| PyString::intern(py, name).into_ptr());
        Self { function, names, interned }
    }

    /// One object per parameter, borrowed from the call; null where the call gave none.
    ///
    /// # Safety
    /// `args`, `count` and `keywords` are what a METH_FASTCALL | METH_KEYWORDS function was called with.
    #[inline]
    pub(crate) unsafe fn bind(
        &self,
        args: *const Obj,
        count: isize,
        keywords: Obj,
    ) -> PyResult<[Obj; N]> {
        let mut bound = [null_mut(); N];
        let count = count as usize;
        let named = match keywords.is_null() {
            true => 0,
            // SAFETY: a tuple of names.
            false => unsafe { ffi::PyTuple_GET_SIZE(keywords) as usize },
        };
        if count + named > N {
            return Err(self.too_many(count + named));
        }
        for (i, slot) in bound.iter_mut().enumerate().take(count) {
            // SAFETY: `args` has `count` positional arguments.
            *slot = unsafe { *args.add(i) };
        }
        for k in 0..named {
            // SAFETY: the tuple has `named` names, and their values follow the positional arguments.
            let (name, value) =
                unsafe { (ffi::PyTuple_GET_ITEM(keywords, k as isize), *args.add(count + k)) };
            match self.position(name) {
                Some(i) if bound[i].is_null() => bound[i] = value,
                Some(i) => return Err(self.twice(i)),
                None => return Err(self.unknown(name)),
            }
        }
        Ok(bound)
    }

    #[inline]
    fn position(&self, name: Obj) -> Option<usize> {
        self.interned.iter().position(|&own| own == name).or_else(|| {
            // A name that was put together at run time need not be interned.
            // SAFETY: both are str objects; the comparison neither raises nor runs Python code.
            self.interned.iter().position(|&own| unsafe { ffi::PyUnicode_Compare(own, name) } == 0)
        })
    }

    #[cold]
    fn too_many(&self, given: usize) -> PyErr {
        let (function, plural) = (self.function, if N == 1 { "" } else { "s" });
        PyTypeError::new_err(format!(
            "{function}() takes at most {N} argument{plural} ({given} given)"
        ))
    }

    #[cold]
    fn twice(&self, i: usize) -> PyErr {
        let (function, name) = (self.function, self.names[i]);
        PyTypeError::new_err(format!(
            "argument for {function}() given by name ('{name}') and position ({})",
            i + 1
        ))
    }

    #[cold]
    fn unknown(&self, name: Obj) -> PyErr {
        // SAFETY: a live str object; attached.
        let name = unsafe { Borrowed::from_ptr(Python::assume_attached(), name) }.to_string();
        let function = self.function;
        if cfg!(Py_3_13) {
            PyTypeError::new_err(format!(
                "{function}() got an unexpected keyword argument '{name}'"
            ))
        } else {
            PyTypeError::new_err(format!(
                "'{name}' is an invalid keyword argument for {function}()"
            ))
        }
    }

    /// The error for a parameter without a default that the call did not give.
    #[cold]
    pub(crate) fn missing(&self, i: usize) -> PyErr {
        let (function, name) = (self.function, self.names[i]);
        PyTypeError::new_err(format!(
            "{function}() missing required argument '{name}' (pos {})",
            i + 1
        ))
    }
}

/// The truth of an object.
///
/// # Safety
/// Attached; `object` is live.
#[inline(always)]
pub(crate) unsafe fn truth(object: Obj) -> PyResult<bool> {
    // SAFETY: the caller's promise.
    unsafe {
        if object == ffi::Py_True() {
            return Ok(true);
        }
        if object == ffi::Py_False() {
            return Ok(false);
        }
        match ffi::PyObject_IsTrue(object) {
            -1 => Err(PyErr::fetch(Python::assume_attached())),
            answer => Ok(answer != 0),
        }
    }
}

/// One native method of a class.
pub(crate) struct Method {
    name: &'static CStr,
    function: ffi::PyMethodDefPointer,
    flags: c_int,
    doc: &'static CStr,
}

/// `method()`.
pub(crate) const fn plain(
    name: &'static CStr,
    function: unsafe extern "C" fn(Obj, Obj) -> Obj,
    doc: &'static CStr,
) -> Method {
    let function = ffi::PyMethodDefPointer { PyCFunction: function };
    Method { name, function, flags: ffi::METH_NOARGS, doc }
}

/// `method(*args)`.
pub(crate) const fn positional(
    name: &'static CStr,
    function: unsafe extern "C" fn(Obj, *mut Obj, isize) -> Obj,
    doc: &'static CStr,
) -> Method {
    let function = ffi::PyMethodDefPointer { PyCFunctionFast: function };
    Method { name, function, flags: ffi::METH_FASTCALL, doc }
}

/// `method(*args, **keywords)`.
pub(crate) const fn keywords(
    name: &'static CStr,
    function: unsafe extern "C" fn(Obj, *const Obj, isize, Obj) -> Obj,
    doc: &'static CStr,
) -> Method {
    let function = ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: function };
    Method { name, function, flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS, doc }
}

impl Method {
    pub(crate) fn name(&self) -> &'static str {
        self.name.to_str().expect("method names are ASCII")
    }
}

/// The method as a descriptor of the class.
pub(crate) fn descriptor<'py>(
    class: &Bound<'py, PyType>,
    method: &Method,
) -> PyResult<Bound<'py, PyAny>> {
    // The descriptor keeps a pointer to the definition, and classes live as long as the interpreter.
    let definition = Box::leak(Box::new(ffi::PyMethodDef {
        ml_name: method.name.as_ptr(),
        ml_meth: method.function,
        ml_flags: method.flags,
        ml_doc: method.doc.as_ptr(),
    }));
    // SAFETY: a live type and a definition that lives for ever; the result is a new reference or an error.
    unsafe {
        let made = ffi::PyDescr_NewMethod(class.as_ptr().cast(), definition);
        Bound::from_owned_ptr_or_err(class.py(), made)
    }
}

/// Puts the methods on the class.
pub(crate) fn install<T: PyClass>(py: Python<'_>, methods: &[Method]) -> PyResult<()> {
    let class = py.get_type::<T>();
    for method in methods {
        class.setattr(method.name(), descriptor(&class, method)?)?;
    }
    Ok(())
}

/// Has calls of the class go to a function of ours, without the tuple that `__new__` and `__init__` take. Subclasses are called as
/// ever.
pub(crate) fn install_constructor<T: PyClass>(py: Python<'_>, constructor: ffi::vectorcallfunc) {
    let class = py.get_type::<T>();
    // SAFETY: a heap type that no thread but this one uses yet; the field is not inherited.
    unsafe { (*class.as_ptr().cast::<ffi::PyTypeObject>()).tp_vectorcall = Some(constructor) };
}
