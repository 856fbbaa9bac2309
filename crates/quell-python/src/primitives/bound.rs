//! `__enter__` and `__exit__` for `with` statements that cost nothing beside the operation.
//!
//! Up to 3.13 a `with` statement asks the class for both methods and has each bound to the object, for which the interpreter
//! makes an object that the garbage collector tracks. That costs more than an uncontended lock. The descriptor here
//! binds to a smaller object, outside of the collector, from a pool of its own.
//!
//! Only where the class is exactly the one the method was put on, because an instance of a subclass can refer to its own
//! bound method, and the collector would not see the circle. For those, and for everything but being called (its name,
//! its documentation), the descriptor passes on to the ordinary method descriptor that it wraps.

use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::mem::{offset_of, size_of};
use std::ptr::null_mut;

use pyo3::exceptions::{PyMemoryError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use pyo3::{PyClass, ffi};

use super::call::{self, Method, Obj, descriptor, throw};

/// What a `with` statement calls. Both are found by the interpreter on the class, and called attached.
pub(crate) trait Entry {
    /// Documentation of `__enter__`, after its signature, and of `__exit__`.
    const ENTER: &CStr;
    const EXIT: &CStr;

    /// `__enter__()`.
    ///
    /// # Safety
    /// Attached, with an instance of the class that [`install`] was called for.
    unsafe fn enter(slf: Obj) -> Obj;

    /// `__exit__(*args)`.
    ///
    /// # Safety
    /// As `enter`, with so many arguments.
    unsafe fn exit(slf: Obj, args: *mut Obj, count: isize) -> Obj;
}

#[repr(C)]
struct Descriptor {
    head: ffi::PyObject,
    vectorcall: Option<ffi::vectorcallfunc>,
    /// What calls the method by a binding.
    call: ffi::vectorcallfunc,
    /// The class it was put on; lives as long as the interpreter.
    class: *mut ffi::PyTypeObject,
    /// The ordinary descriptor of the same method, owned.
    ordinary: Obj,
    /// The first binding of the pool that is not in use. Guarded by the GIL, as the next.
    free: *mut Binding,
    /// How many bindings the pool has, in use or not.
    pool: usize,
}

impl Descriptor {
    /// Bindings in a pool at most. One is in use for each thread in a `with` statement of the class, and two for each that waits to
    /// enter. Those beyond are made and freed each time.
    const ROOM: usize = 512;
}

#[repr(C)]
struct Binding {
    head: ffi::PyObject,
    vectorcall: Option<ffi::vectorcallfunc>,
    /// Owned, while the binding is in use.
    slf: Obj,
    /// Whose it is; lives as long as the interpreter.
    descriptor: *mut Descriptor,
    /// Not in use, there is no reference to it, and this is the next one that is not.
    next: *mut Binding,
}

struct Types {
    descriptor: Py<PyType>,
    /// Of bindings that go back to the pool.
    bound: Py<PyType>,
    /// Of those that do not.
    single: Py<PyType>,
}

static TYPES: PyOnceLock<Types> = PyOnceLock::new();

/// Without the flag that says there is room before the arguments.
#[inline(always)]
fn count(nargsf: usize) -> isize {
    (nargsf & !ffi::PY_VECTORCALL_ARGUMENTS_OFFSET) as isize
}

/// Whether a call has keyword arguments.
///
/// # Safety
/// Attached; null, or a tuple.
#[inline(always)]
unsafe fn has_keywords(names: Obj) -> bool {
    // SAFETY: the caller's promise.
    !names.is_null() && unsafe { ffi::PyTuple_GET_SIZE(names) != 0 }
}

unsafe extern "C" fn call_enter<E: Entry>(
    callee: Obj,
    _args: *const Obj,
    nargsf: usize,
    names: Obj,
) -> Obj {
    // SAFETY: called by the interpreter, attached, with a binding of this file, which it keeps during the call.
    unsafe {
        // One look, as a `with` statement calls it.
        if nargsf | names as usize != 0 && (count(nargsf) != 0 || has_keywords(names)) {
            return no_arguments();
        }
        E::enter((*callee.cast::<Binding>()).slf)
    }
}

unsafe extern "C" fn call_exit<E: Entry>(
    callee: Obj,
    args: *const Obj,
    nargsf: usize,
    names: Obj,
) -> Obj {
    // SAFETY: as `call_enter`.
    unsafe {
        if has_keywords(names) {
            return no_keywords();
        }
        E::exit((*callee.cast::<Binding>()).slf, args.cast_mut(), count(nargsf))
    }
}

/// `__enter__` as an ordinary method.
unsafe extern "C" fn enter<E: Entry>(slf: Obj, _: *mut Obj, count: isize) -> Obj {
    // SAFETY: called by the method descriptor, attached, with an instance of the class.
    unsafe { if count == 0 { E::enter(slf) } else { no_arguments() } }
}

/// `__exit__` as an ordinary method.
unsafe extern "C" fn exit<E: Entry>(slf: Obj, args: *mut Obj, count: isize) -> Obj {
    // SAFETY: as `enter`, and a call's arguments.
    unsafe { E::exit(slf, args, count) }
}

#[cold]
#[inline(never)]
fn no_arguments() -> Obj {
    // SAFETY: attached, as who calls it.
    unsafe { throw(PyTypeError::new_err("__enter__() takes no arguments")) }
}

#[cold]
#[inline(never)]
fn no_keywords() -> Obj {
    // SAFETY: as above.
    unsafe { throw(PyTypeError::new_err("__exit__() takes no keyword arguments")) }
}

unsafe extern "C" fn call_descriptor(
    callee: Obj,
    args: *const Obj,
    nargsf: usize,
    names: Obj,
) -> Obj {
    // SAFETY: called by the interpreter, attached, with a descriptor of this file: unbound, as `Lock.__enter__(lock)`.
    unsafe {
        ffi::PyObject_Vectorcall((*callee.cast::<Descriptor>()).ordinary, args, nargsf, names)
    }
}

unsafe extern "C" fn get(descriptor: Obj, object: Obj, class: Obj) -> Obj {
    // SAFETY: called by the interpreter, attached, with a descriptor of this file and what it was found on.
    unsafe {
        let this = descriptor.cast::<Descriptor>();
        if object.is_null() || ffi::Py_TYPE(object) != (*this).class {
            return get_ordinary(descriptor, object, class);
        }
        let bound = (*this).free;
        if bound.is_null() {
            return make_bound(this, object);
        }
        (*this).free = (*bound).next;
        // From none to one. What `PyObject_Init` does besides is for interpreters that trace references.
        ffi::Py_INCREF(bound.cast());
        ffi::Py_INCREF(object);
        (*bound).slf = object;
        bound.cast()
    }
}

/// What is got by the class itself, or by an object of a subclass.
///
/// # Safety
/// As [`get`].
#[cold]
#[inline(never)]
unsafe fn get_ordinary(descriptor: Obj, object: Obj, class: Obj) -> Obj {
    // SAFETY: the caller's promise.
    unsafe {
        if object.is_null() {
            ffi::Py_INCREF(descriptor);
            return descriptor;
        }
        let ordinary = (*descriptor.cast::<Descriptor>()).ordinary;
        let bind = (*ffi::Py_TYPE(ordinary)).tp_descr_get;
        bind.map_or(null_mut(), |bind| bind(ordinary, object, class))
    }
}

/// A new binding to the object; null with an exception.
///
/// # Safety
/// Attached, with a descriptor and an object of its class.
#[cold]
#[inline(never)]
unsafe fn make_bound(descriptor: *mut Descriptor, object: Obj) -> Obj {
    // SAFETY: attached; room for one, initialised in full.
    unsafe {
        let Some(types) = TYPES.get(Python::assume_attached()) else { return null_mut() };
        let memory = ffi::PyObject_Malloc(size_of::<Binding>());
        if memory.is_null() {
            return ffi::PyErr_NoMemory();
        }
        let class = if (*descriptor).pool < Descriptor::ROOM {
            (*descriptor).pool += 1;
            &types.bound
        } else {
            &types.single
        };
        let made = ffi::PyObject_Init(memory.cast(), class.as_ptr().cast());
        let bound = made.cast::<Binding>();
        (*bound).vectorcall = Some((*descriptor).call);
        ffi::Py_INCREF(object);
        (*bound).slf = object;
        (*bound).descriptor = descriptor;
        (*bound).next = null_mut();
        made
    }
}

unsafe extern "C" fn free_bound(object: Obj) {
    // SAFETY: called by the interpreter, attached, when the last reference is gone.
    unsafe {
        let bound = object.cast::<Binding>();
        let (slf, descriptor) = ((*bound).slf, (*bound).descriptor);
        (*bound).next = (*descriptor).free;
        (*descriptor).free = bound;
        // May run code, which may come back here: last.
        ffi::Py_DECREF(slf);
    }
}

unsafe extern "C" fn free_single(object: Obj) {
    // SAFETY: as above. An object keeps its class.
    unsafe {
        let (slf, class) = ((*object.cast::<Binding>()).slf, ffi::Py_TYPE(object));
        ffi::PyObject_Free(object.cast());
        ffi::Py_DECREF(class.cast());
        ffi::Py_DECREF(slf);
    }
}

unsafe extern "C" fn bound_attribute(object: Obj, name: Obj) -> Obj {
    // SAFETY: called by the interpreter, attached, with a bound method of this file: what it does not know itself, the
    // ordinary bound method knows.
    unsafe {
        let bound = object.cast::<Binding>();
        let ordinary = (*(*bound).descriptor).ordinary;
        let class = ffi::Py_TYPE((*bound).slf).cast();
        let Some(bind) = (*ffi::Py_TYPE(ordinary)).tp_descr_get else { return null_mut() };
        let method = bind(ordinary, (*bound).slf, class);
        if method.is_null() {
            return null_mut();
        }
        let value = ffi::PyObject_GetAttr(method, name);
        ffi::Py_DECREF(method);
        value
    }
}

unsafe extern "C" fn descriptor_attribute(object: Obj, name: Obj) -> Obj {
    // SAFETY: as above, for a descriptor.
    unsafe { ffi::PyObject_GetAttr((*object.cast::<Descriptor>()).ordinary, name) }
}

unsafe extern "C" fn descriptor_repr(object: Obj) -> Obj {
    // SAFETY: as above.
    unsafe { ffi::PyObject_Repr((*object.cast::<Descriptor>()).ordinary) }
}

fn make_type(
    py: Python<'_>,
    name: &'static CStr,
    size: usize,
    vectorcall: usize,
    slots: &[(c_int, *mut c_void)],
) -> PyResult<Py<PyType>> {
    let member = |name: &'static CStr, offset: usize| ffi::PyMemberDef {
        name: name.as_ptr(),
        type_code: ffi::Py_T_PYSSIZET,
        offset: offset as isize,
        flags: ffi::Py_READONLY,
        doc: std::ptr::null(),
    };
    // SAFETY: an all-zero entry ends the list.
    let end: ffi::PyMemberDef = unsafe { std::mem::zeroed() };
    // The type keeps a pointer to its members.
    let members = Box::leak(Box::new([member(c"__vectorcalloffset__", vectorcall), end]));
    let common = [
        (ffi::Py_tp_members, members.as_mut_ptr().cast::<c_void>()),
        (ffi::Py_tp_call, ffi::PyVectorcall_Call as *mut c_void),
        (0, null_mut()),
    ];
    let mut slots: Vec<_> = slots
        .iter()
        .chain(&common)
        .map(|&(slot, function)| ffi::PyType_Slot { slot, pfunc: function })
        .collect();
    let mut spec = ffi::PyType_Spec {
        name: name.as_ptr(),
        basicsize: size as c_int,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT
            | ffi::Py_TPFLAGS_HAVE_VECTORCALL
            | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION) as u32,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: a complete specification; a new reference or an error.
    let made = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&raw mut spec))? };
    Ok(made.cast_into::<PyType>()?.unbind())
}

/// The type of bindings that are freed so.
fn bound_type(py: Python<'_>, free: ffi::destructor) -> PyResult<Py<PyType>> {
    make_type(
        py,
        c"quell.method",
        size_of::<Binding>(),
        offset_of!(Binding, vectorcall),
        &[
            (ffi::Py_tp_dealloc, free as *mut c_void),
            (ffi::Py_tp_getattro, bound_attribute as *mut c_void),
        ],
    )
}

fn types(py: Python<'_>) -> PyResult<&Types> {
    TYPES.get_or_try_init(py, || {
        Ok(Types {
            descriptor: make_type(
                py,
                c"quell.method_descriptor",
                size_of::<Descriptor>(),
                offset_of!(Descriptor, vectorcall),
                &[
                    (ffi::Py_tp_descr_get, get as *mut c_void),
                    (ffi::Py_tp_getattro, descriptor_attribute as *mut c_void),
                    (ffi::Py_tp_repr, descriptor_repr as *mut c_void),
                ],
            )?,
            bound: bound_type(py, free_bound)?,
            single: bound_type(py, free_single)?,
        })
    })
}

/// The ordinary methods. Constants of their own: method definitions live for ever.
struct Methods<E>(PhantomData<E>);

impl<E: Entry> Methods<E> {
    const ENTER: &'static Method = &call::positional(c"__enter__", enter::<E>, E::ENTER);
    const EXIT: &'static Method = &call::positional(c"__exit__", exit::<E>, E::EXIT);
}

/// Puts `__enter__` and `__exit__` on the class `T`, which is what `E` works on, or has it as its base.
pub(crate) fn install<T: PyClass, E: Entry>(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<T>();
    install_one(&class, Methods::<E>::ENTER, call_enter::<E>)?;
    install_one(&class, Methods::<E>::EXIT, call_exit::<E>)
}

fn install_one(
    class: &Bound<'_, PyType>,
    method: &Method,
    call: ffi::vectorcallfunc,
) -> PyResult<()> {
    let py = class.py();
    let types = types(py)?;
    let ordinary = descriptor(class, method)?;
    // SAFETY: room for a descriptor, initialised in full before anybody sees it; it lives as long as the class, which is
    // for ever, so that it needs no deallocator of its own.
    let made = unsafe {
        let memory = ffi::PyObject_Malloc(size_of::<Descriptor>());
        if memory.is_null() {
            return Err(PyMemoryError::new_err(()));
        }
        let made = ffi::PyObject_Init(memory.cast(), types.descriptor.as_ptr().cast());
        let this = made.cast::<Descriptor>();
        (*this).vectorcall = Some(call_descriptor);
        (*this).call = call;
        (*this).class = class.as_ptr().cast();
        (*this).ordinary = ordinary.into_ptr();
        (*this).free = null_mut();
        (*this).pool = 0;
        Bound::from_owned_ptr(py, made)
    };
    class.setattr(method.name(), &made)?;
    std::mem::forget(made.unbind());
    Ok(())
}
