//! `__enter__` and `__exit__` for `with` statements that cost nothing beside the operation.
//!
//! Up to 3.13 a `with` statement asks the class for both methods and has each bound to the object, for which the interpreter
//! makes an object that the garbage collector tracks. That costs more than an uncontended lock. Here an object's bindings are a
//! part of it ([`Bindings`]), outside of the collector: to bind is to count two references, and nothing is ever made.
//!
//! A binding keeps its object, once, as long as there is a reference to the binding; so all who have it at the same time share it.
//! When the last one has gone the interpreter "frees" it, which gives up the object and leaves the binding where it is.
//!
//! Only where the class is exactly the one the method was put on, because an instance of a subclass can refer to its own
//! bound method, and the collector would not see the circle. For those, and for everything but being called (its name,
//! its documentation), the descriptor passes on to the ordinary method descriptor that it wraps.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::mem::{MaybeUninit, offset_of, size_of};
use std::ptr::null_mut;

use pyo3::exceptions::{PyMemoryError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use pyo3::{PyClass, ffi};

use super::call::{self, Method, Obj, descriptor, throw};

/// What a `with` statement calls. Both are found by the interpreter on the class, and called attached.
pub(crate) trait Entry {
    /// Where the [`Bindings`] stand in this, which is what an object of the class begins with.
    const BINDINGS: usize;

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

/// From the object to its bindings.
const fn enter_offset<E: Entry>() -> usize {
    call::VALUE_OFFSET + E::BINDINGS + offset_of!(Both, enter)
}

const fn exit_offset<E: Entry>() -> usize {
    call::VALUE_OFFSET + E::BINDINGS + offset_of!(Both, exit)
}

#[repr(C)]
struct Descriptor {
    head: ffi::PyObject,
    vectorcall: Option<ffi::vectorcallfunc>,
    /// What calls the method by a binding.
    call: ffi::vectorcallfunc,
    /// The class it was put on; lives as long as the interpreter.
    class: *mut ffi::PyTypeObject,
    /// From an object of the class to its binding.
    offset: usize,
    /// The class of bindings, which lives as long.
    bound: *mut ffi::PyTypeObject,
    /// The ordinary descriptor of the same method, owned.
    ordinary: Obj,
}

#[repr(C)]
struct Binding {
    head: ffi::PyObject,
    vectorcall: Option<ffi::vectorcallfunc>,
    /// Of the method; lives as long as the interpreter.
    descriptor: *mut Descriptor,
}

impl Binding {
    /// Instead of the number of references: the binding was never used, and nothing else of it is there yet.
    const NEW: isize = -1;

    /// The number of references to it, or [`NEW`](Self::NEW). Of this size on each version, or of half of it, the other half being
    /// zero.
    ///
    /// # Safety
    /// Room for a binding.
    #[inline(always)]
    const unsafe fn references(this: *mut Self) -> *mut isize {
        // SAFETY: the caller's promise.
        unsafe { (&raw mut (*this).head.ob_refcnt).cast() }
    }

    /// Whose it is.
    ///
    /// # Safety
    /// Of a live object, and used before.
    #[inline(always)]
    unsafe fn object(this: *mut Self) -> Obj {
        // SAFETY: the caller's promise.
        unsafe { this.byte_sub((*(*this).descriptor).offset).cast() }
    }
}

#[repr(C)]
struct Both {
    enter: Binding,
    exit: Binding,
}

/// `__enter__` and `__exit__` of one object, bound to it: a field of its value. Used with the GIL.
#[repr(transparent)]
pub(crate) struct Bindings(UnsafeCell<MaybeUninit<Both>>);

// SAFETY: every access is made attached.
unsafe impl Send for Bindings {}
// SAFETY: as above.
unsafe impl Sync for Bindings {}

impl Bindings {
    pub(crate) const fn new() -> Self {
        let mut both = MaybeUninit::<Both>::uninit();
        let this = both.as_mut_ptr();
        // SAFETY: room for both.
        unsafe {
            Binding::references(&raw mut (*this).enter).write(Binding::NEW);
            Binding::references(&raw mut (*this).exit).write(Binding::NEW);
        }
        Self(UnsafeCell::new(both))
    }
}

struct Types {
    descriptor: Py<PyType>,
    bound: Py<PyType>,
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
    // SAFETY: called by the interpreter, attached, with a binding of this file, which it keeps during the call: a part of an object whose
    // class `E` was installed for, so that the object begins so far before it.
    unsafe {
        // One look, as a `with` statement calls it.
        if nargsf | names as usize != 0 && (count(nargsf) != 0 || has_keywords(names)) {
            return no_arguments();
        }
        E::enter(callee.byte_sub(enter_offset::<E>()))
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
        E::exit(callee.byte_sub(exit_offset::<E>()), args.cast_mut(), count(nargsf))
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
    // SAFETY: called by the interpreter, attached, with a descriptor of this file and what it was found on. An object of exactly the
    // descriptor's class has a binding at the descriptor's offset.
    unsafe {
        let this = descriptor.cast::<Descriptor>();
        if object.is_null() || ffi::Py_TYPE(object) != (*this).class {
            return get_ordinary(descriptor, object, class);
        }
        let bound = object.byte_add((*this).offset).cast::<Binding>();
        match *Binding::references(bound) {
            // The object is kept by who has it.
            1.. => {
                ffi::Py_INCREF(bound.cast());
                return bound.cast();
            }
            Binding::NEW => begin(bound, this),
            _ => {}
        }
        // From none to one. What `PyObject_Init` does besides is for interpreters that trace references.
        ffi::Py_INCREF(bound.cast());
        ffi::Py_INCREF(object);
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

/// Makes what a binding is, with no reference to it.
///
/// # Safety
/// Attached, with a new binding of an object of the descriptor's class.
#[inline]
unsafe fn begin(bound: *mut Binding, descriptor: *mut Descriptor) {
    // SAFETY: the caller's promise; all of it is written, in which everything that is not said is zero.
    unsafe {
        bound.write_bytes(0, 1);
        (*bound).head.ob_type = (*descriptor).bound;
        (*bound).vectorcall = Some((*descriptor).call);
        (*bound).descriptor = descriptor;
    }
}

unsafe extern "C" fn free_bound(object: Obj) {
    // SAFETY: called by the interpreter, attached, when the last reference is gone. May free the binding with its object.
    unsafe { ffi::Py_DECREF(Binding::object(object.cast())) };
}

unsafe extern "C" fn bound_attribute(object: Obj, name: Obj) -> Obj {
    // SAFETY: called by the interpreter, attached, with a bound method of this file: what it does not know itself, the
    // ordinary bound method knows.
    unsafe {
        let bound = object.cast::<Binding>();
        let ordinary = (*(*bound).descriptor).ordinary;
        let slf = Binding::object(bound);
        let class = ffi::Py_TYPE(slf).cast();
        let Some(bind) = (*ffi::Py_TYPE(ordinary)).tp_descr_get else { return null_mut() };
        let method = bind(ordinary, slf, class);
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

/// The ordinary methods. Constants of their own: method definitions live for ever.
struct Methods<E>(PhantomData<E>);

impl<E: Entry> Methods<E> {
    const ENTER: &'static Method = &call::positional(c"__enter__", enter::<E>, E::ENTER);
    const EXIT: &'static Method = &call::positional(c"__exit__", exit::<E>, E::EXIT);
}

/// Puts `__enter__` and `__exit__` on the class `T`, which is what `E` works on, or has it as its base.
pub(crate) fn install<T: PyClass, E: Entry>(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<T>();
    install_one(&class, Methods::<E>::ENTER, call_enter::<E>, enter_offset::<E>())?;
    install_one(&class, Methods::<E>::EXIT, call_exit::<E>, exit_offset::<E>())
}

fn install_one(
    class: &Bound<'_, PyType>,
    method: &Method,
    call: ffi::vectorcallfunc,
    offset: usize,
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
        (*this).offset = offset;
        (*this).bound = types.bound.as_ptr().cast();
        Bound::from_owned_ptr(py, made)
    };
    class.setattr(method.name(), &made)?;
    std::mem::forget(made.unbind());
    Ok(())
}
