//! `__enter__` and `__exit__` for `with` statements that cost nothing beside the operation.
//!
//! Up to 3.13 a `with` statement asks the class for both methods and has each bound to the object, for which the interpreter
//! makes an object that the garbage collector tracks. That costs more than an uncontended lock. The descriptor here
//! binds to a smaller object, outside of the collector, from a free list.
//!
//! Only where the class is exactly the one the method was put on, because an instance of a subclass can refer to its own
//! bound method, and the collector would not see the circle. For those, and for everything but being called (its name,
//! its documentation), the descriptor passes on to the ordinary method descriptor that it wraps.

use std::ffi::{CStr, c_int, c_void};
use std::mem::{offset_of, size_of};
use std::ptr::null_mut;

use pyo3::exceptions::{PyMemoryError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use pyo3::{PyClass, ffi};

use super::call::{Method, Obj, descriptor, throw};

/// The native function: `self`, and the arguments of the call.
pub(crate) type Function = unsafe extern "C" fn(Obj, *mut Obj, isize) -> Obj;

#[repr(C)]
struct Descriptor {
    head: ffi::PyObject,
    vectorcall: Option<ffi::vectorcallfunc>,
    function: Function,
    /// The class it was put on; lives as long as the interpreter.
    class: *mut ffi::PyTypeObject,
    /// The ordinary descriptor of the same method, owned.
    ordinary: Obj,
    free: Free,
}

#[repr(C)]
struct Binding {
    head: ffi::PyObject,
    vectorcall: Option<ffi::vectorcallfunc>,
    function: Function,
    /// Owned, while the binding is in use.
    slf: Obj,
    /// Whose it is; lives as long as the interpreter.
    descriptor: *mut Descriptor,
}

/// Bindings of a descriptor that are not in use, as they were but for what they were bound to, with no reference to them. Guarded
/// by the GIL.
struct Free {
    count: usize,
    bindings: [*mut Binding; Free::ROOM],
}

impl Free {
    const ROOM: usize = 8;
    const EMPTY: Self = Self { count: 0, bindings: [null_mut(); Self::ROOM] };

    #[inline(always)]
    fn pop(&mut self) -> Option<*mut Binding> {
        self.count = self.count.checked_sub(1)?;
        // SAFETY: `push` leaves no greater count than there is room.
        Some(unsafe { *self.bindings.get_unchecked(self.count) })
    }

    /// False: there is no room.
    #[inline(always)]
    fn push(&mut self, binding: *mut Binding) -> bool {
        let Some(place) = self.bindings.get_mut(self.count) else { return false };
        *place = binding;
        self.count += 1;
        true
    }
}

struct Types {
    descriptor: Py<PyType>,
    bound: Py<PyType>,
}

static TYPES: PyOnceLock<Types> = PyOnceLock::new();

/// Without the flag that says there is room before the arguments.
fn count(nargsf: usize) -> isize {
    (nargsf & !ffi::PY_VECTORCALL_ARGUMENTS_OFFSET) as isize
}

unsafe extern "C" fn call_bound(callee: Obj, args: *const Obj, nargsf: usize, names: Obj) -> Obj {
    // SAFETY: called by the interpreter, attached, with a bound method of this file.
    unsafe {
        let bound = callee.cast::<Binding>();
        if !names.is_null() && ffi::PyTuple_GET_SIZE(names) != 0 {
            return throw(PyTypeError::new_err("this method takes no keyword arguments"));
        }
        ((*bound).function)((*bound).slf, args.cast_mut(), count(nargsf))
    }
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
        let Some(bound) = (*this).free.pop() else { return make_bound(this, object) };
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
        let made = ffi::PyObject_Init(memory.cast(), types.bound.as_ptr().cast());
        let bound = made.cast::<Binding>();
        (*bound).vectorcall = Some(call_bound);
        (*bound).function = (*descriptor).function;
        ffi::Py_INCREF(object);
        (*bound).slf = object;
        (*bound).descriptor = descriptor;
        made
    }
}

unsafe extern "C" fn free_bound(object: Obj) {
    // SAFETY: called by the interpreter, attached, when the last reference is gone.
    unsafe {
        let bound = object.cast::<Binding>();
        let slf = (*bound).slf;
        if !(*(*bound).descriptor).free.push(bound) {
            free_for_good(object);
        }
        // May run code, which may come back here: last.
        ffi::Py_DECREF(slf);
    }
}

/// # Safety
/// Attached, with a binding that nobody has.
#[cold]
#[inline(never)]
unsafe fn free_for_good(bound: Obj) {
    // SAFETY: the caller's promise; an object keeps its class.
    unsafe {
        let class = ffi::Py_TYPE(bound);
        ffi::PyObject_Free(bound.cast());
        ffi::Py_DECREF(class.cast());
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
            bound: make_type(
                py,
                c"quell.method",
                size_of::<Binding>(),
                offset_of!(Binding, vectorcall),
                &[
                    (ffi::Py_tp_dealloc, free_bound as *mut c_void),
                    (ffi::Py_tp_getattro, bound_attribute as *mut c_void),
                ],
            )?,
        })
    })
}

/// Puts `__enter__` and `__exit__` on the class.
pub(crate) fn install_with<T: PyClass>(
    py: Python<'_>,
    methods: [(&Method, Function); 2],
) -> PyResult<()> {
    let class = py.get_type::<T>();
    let types = types(py)?;
    for (method, function) in methods {
        let ordinary = descriptor(&class, method)?;
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
            (*this).function = function;
            (*this).class = class.as_ptr().cast();
            (*this).ordinary = ordinary.into_ptr();
            (*this).free = Free::EMPTY;
            Bound::from_owned_ptr(py, made)
        };
        class.setattr(method.name(), &made)?;
        std::mem::forget(made.unbind());
    }
    Ok(())
}
