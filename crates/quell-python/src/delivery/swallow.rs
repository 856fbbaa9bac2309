//! Places where the interpreter would swallow an exception: finalizers and the like.
//!
//! An exception that leaves a `__del__`, a weak reference's callback, a garbage collection callback or a generator
//! that the collector closes is printed as ignored and gone: the interrupt would be lost and the body cut. One that
//! is raised in an event loop's own code ends the loop and not the task that ran too long. One that is raised where
//! `threading` starts a thread, before `run()`, or takes its leave after it, meets no handler but the interpreter's, and
//! leaves the module's table of threads wrong. So nothing is raised while one of these is on the stack; it is raised
//! when they have returned. The same for [functions that a C library has called](super::callbacks), which are cut by force alone.
//! What is printed as ignored all the same is caught by the [unraisable hook](super::unraisable).

use std::ffi::{CStr, c_int};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;

use super::callbacks;
use super::record::Record;
use crate::cpython::code::Code;
use crate::cpython::frame::Frame;
use crate::cpython::thread::ThreadState;

const CO_VARARGS: c_int = 0x4;
const CO_COROUTINE: c_int = 0x80;

/// Whether an exception would be swallowed, as far as the interpreter's frames tell.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Swallowed {
    Yes,
    No,
    /// If a [C library](super::callbacks) is what has called one of the functions.
    Perhaps,
}

/// Whether an exception raised now in the calling thread, whose record this is, would be swallowed.
pub(super) fn would_swallow(py: Python<'_>, record: &Record) -> bool {
    match by_frames(py, record) {
        Swallowed::Yes => true,
        Swallowed::No => false,
        Swallowed::Perhaps => callbacks::called_by_library(py),
    }
}

/// The same without a look at the C stack, which takes longer than all the rest.
pub(super) fn by_frames(py: Python<'_>, record: &Record) -> Swallowed {
    let mut in_coroutine = false;
    let mut called = None;
    // A function that neither the thread nor the program begins with.
    let mut callback = false;
    let swallowed = ThreadState::current().top().into_iter().flat_map(Frame::stack).any(|frame| {
        let Some(code) = frame.code() else { return false };
        if frame.is_called_from_c() {
            if swallows(py, frame, code) {
                return true;
            }
            callback |= !code.is_named(c"<module>") && !code.is_named(c"_bootstrap");
        }
        in_coroutine |= code.flags() & CO_COROUTINE != 0;
        let called = called.replace(code);
        !in_coroutine && code.is_qualified(c"BaseEventLoop.run_forever")
            || code.is_qualified(c"Thread._bootstrap_inner") && called.is_none_or(is_of_bootstrap)
            || code.is_qualified(c"Thread._bootstrap") && called.is_none()
    });
    match swallowed {
        true => Swallowed::Yes,
        false if callback && !record.state(py, |s| s.options.force) => Swallowed::Perhaps,
        false => Swallowed::No,
    }
}

/// Whether this is what `threading` itself calls as a thread starts or ends: not `run()`, and not the hook that is
/// told of what `run()` raised.
fn is_of_bootstrap(called: Code) -> bool {
    const CALLED: [&CStr; 6] = [
        c"Thread._set_ident",
        c"Thread._set_tstate_lock",
        c"Thread._set_native_id",
        c"Thread._set_os_name",
        c"Event.set",
        c"Thread._delete",
    ];
    CALLED.iter().any(|name| called.is_qualified(name))
}

/// The same for a thread that is blocked in somebody else's call: there an event loop that waits for events may be
/// interrupted, because no task runs and no event has been taken. It ends, and `asyncio.run` cancels its tasks.
pub(super) fn would_swallow_blocked(py: Python<'_>, record: &Record) -> bool {
    let mut stack = ThreadState::current().top().into_iter().flat_map(Frame::stack);
    let waits = stack.next().and_then(Frame::code).is_some_and(|code| code.is_named(c"select"))
        && stack
            .next()
            .and_then(Frame::code)
            .is_some_and(|code| code.is_qualified(c"BaseEventLoop._run_once"));
    // Nothing of Python's own calls the loop from a finalizer.
    !waits && would_swallow(py, record)
}

/// Borrowed arguments of a frame, taken out of their cells.
struct Arguments {
    frame: Frame,
    code: Code,
}

impl Arguments {
    fn get(&self, i: usize) -> *mut ffi::PyObject {
        let object = self.frame.local(i);
        // SAFETY: locals of a live frame are live objects or null; a cell's content likewise.
        unsafe {
            if !object.is_null() && ffi::PyCell_Check(object) != 0 {
                // Borrowed, like the cell itself.
                return PyCell_GET(object);
            }
        }
        object
    }

    /// The first few positional arguments, and all of `*args`.
    fn all(&self) -> Vec<*mut ffi::PyObject> {
        const FEW: usize = 4;
        let count = self.code.argcount();
        let mut all: Vec<_> = (0..count.min(FEW)).map(|i| self.get(i)).collect();
        if self.code.flags() & CO_VARARGS != 0 {
            let rest = self.get(count + self.code.kwonlyargcount());
            // SAFETY: checked to be a tuple; its items are borrowed from it.
            unsafe {
                if !rest.is_null() && ffi::PyTuple_Check(rest) != 0 {
                    all.extend((0..ffi::PyTuple_Size(rest)).map(|i| ffi::PyTuple_GetItem(rest, i)));
                }
            }
        }
        all.retain(|object| !object.is_null());
        all
    }
}

#[allow(non_snake_case)]
/// What a cell holds, borrowed.
///
/// # Safety
/// `cell` must be a live cell.
unsafe fn PyCell_GET(cell: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: the one field of a cell follows the object header.
    unsafe { cell.cast::<u8>().add(size_of::<ffi::PyObject>()).cast::<*mut ffi::PyObject>().read() }
}

fn swallows(py: Python<'_>, frame: Frame, code: Code) -> bool {
    // The third one shows the warnings of C code, among them those of finalizers. What leaves the last one becomes a
    // RuntimeError up to 3.11.
    if code.is_named(c"__del__")
        || closes_generator(frame)
        || code.is_named(c"_showwarnmsg")
        || cfg!(not(Py_3_12)) && code.is_named(c"__set_name__")
    {
        return true;
    }
    let arguments = Arguments { frame, code }.all();
    if arguments.iter().any(|&a| is_dead_reference(a)) {
        return true;
    }
    if let Some(&first) = arguments.first()
        && (is_finalizer_of(py, first, code) || is_unraisable(first))
    {
        return true;
    }
    arguments.windows(2).any(|pair| is_gc_callback(pair[0], pair[1]))
}

/// The frame is a generator's that handles GeneratorExit: `close()`, explicit or by the collector.
fn closes_generator(frame: Frame) -> bool {
    frame.generator_exception().is_some_and(|value| {
        // SAFETY: a live exception, compared with a static type.
        unsafe { ffi::PyErr_GivenExceptionMatches(value, ffi::PyExc_GeneratorExit) != 0 }
    })
}

fn is_dead_reference(object: *mut ffi::PyObject) -> bool {
    // SAFETY: `object` is live; a weak reference's referent is borrowed and only compared.
    unsafe { ffi::PyWeakref_Check(object) != 0 && referent(object) == ffi::Py_None() }
}

/// # Safety
/// `reference` must be a live weak reference.
unsafe fn referent(reference: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as the caller says; the field `wr_object` follows the object header.
    let object = unsafe {
        reference.cast::<u8>().add(size_of::<ffi::PyObject>()).cast::<*mut ffi::PyObject>().read()
    };
    // A referent whose count is down to nothing is being finalized: as good as dead.
    // SAFETY: the interpreter clears the field before it frees the referent.
    if object.is_null() || unsafe { ffi::Py_REFCNT(object) } <= 0 {
        // SAFETY: static object.
        return unsafe { ffi::Py_None() };
    }
    object
}

/// Whether `code` is the `__del__` of the type of its first argument under another name, or its `close`.
fn is_finalizer_of(py: Python<'_>, first: *mut ffi::PyObject, code: Code) -> bool {
    static DEL: PyOnceLock<Py<PyString>> = PyOnceLock::new();
    let name = DEL.get_or_init(py, || PyString::intern(py, "__del__").unbind());
    // SAFETY: `first` is live; the look-up returns a borrowed reference, runs no Python code and sets no error.
    unsafe {
        if ffi::PyType_Check(first) != 0 {
            return false;
        }
        let method = _PyType_Lookup(ffi::Py_TYPE(first), name.as_ptr());
        if method.is_null() {
            return false;
        }
        if code.is_named(c"close") {
            return true;
        }
        ffi::PyFunction_Check(method) != 0
            && ffi::PyFunction_GetCode(method) == code.as_ptr().cast()
    }
}

/// Whether this is what `sys.unraisablehook` is called with.
fn is_unraisable(first: *mut ffi::PyObject) -> bool {
    // SAFETY: `first` is live, and the name of its type a C string that lives as long.
    unsafe { CStr::from_ptr((*ffi::Py_TYPE(first)).tp_name) == c"UnraisableHookArgs" }
}

/// Whether these are the arguments of a function in `gc.callbacks`.
fn is_gc_callback(phase: *mut ffi::PyObject, info: *mut ffi::PyObject) -> bool {
    // SAFETY: both are live; the comparisons and the look-up of a str key run no Python code.
    unsafe {
        ffi::PyUnicode_CheckExact(phase) != 0
            && ffi::PyDict_CheckExact(info) != 0
            && [c"start", c"stop"]
                .iter()
                .any(|t| ffi::PyUnicode_CompareWithASCIIString(phase, t.as_ptr()) == 0)
            && !ffi::PyDict_GetItemString(info, c"generation".as_ptr()).is_null()
    }
}

unsafe extern "C" {
    fn _PyType_Lookup(
        class: *mut ffi::PyTypeObject,
        name: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject;
}
