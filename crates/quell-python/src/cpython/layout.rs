//! Offsets of private fields, one module per minor version of CPython.
//!
//! The figures were read with `offsetof` from the interpreter's own internal headers. Within a minor version they
//! have not moved between the releases that were compared (3.11.2 and 3.11.7); [`verify`] nevertheless compares
//! what they say about the calling thread with what the public API says, once, and the routes that need them are
//! refused on an interpreter that disagrees.

use std::ffi::c_int;
use std::sync::OnceLock;

use pyo3::ffi;

use super::frame::Frame;
use super::thread::ThreadState;

#[cfg(all(Py_3_11, not(Py_3_12)))]
mod offsets {
    pub(crate) const TS_NEXT: usize = 8;
    /// The limit follows it.
    pub(crate) const TS_RECURSION_REMAINING: usize = 32;
    pub(crate) const TS_TRACING: usize = 44;
    pub(crate) const TS_CFRAME: usize = 56;
    pub(crate) const CFRAME_USE_TRACING: usize = 0;
    pub(crate) const CFRAME_CURRENT: usize = 8;
    pub(crate) const TS_C_PROFILEFUNC: usize = 64;
    pub(crate) const TS_C_TRACEFUNC: usize = 72;
    pub(crate) const TS_THREAD_ID: usize = 152;
    pub(crate) const TS_NATIVE_ID: usize = 160;
    pub(crate) const TS_ID: usize = 240;
    pub(crate) const F_CODE: usize = 32;
    pub(crate) const F_INSTR: usize = 56;
    pub(crate) const F_IS_ENTRY: usize = 68;
    pub(crate) const F_PREVIOUS: usize = 48;
    pub(crate) const F_OWNER: usize = 69;
    pub(crate) const F_LOCALSPLUS: usize = 72;
    pub(crate) const CO_CODE: usize = 184;
    pub(crate) const CO_FLAGS: usize = 48;
    pub(crate) const CO_ARGCOUNT: usize = 56;
    pub(crate) const CO_KWONLY: usize = 64;
    pub(crate) const CO_EXCEPTION_TABLE: usize = 40;
    pub(crate) const CO_LINETABLE: usize = 136;
    pub(crate) const CO_FILENAME: usize = 112;
    pub(crate) const CO_NAME: usize = 120;
    pub(crate) const CO_QUALNAME: usize = 128;
    pub(crate) const CO_FIRSTLINENO: usize = 72;
    pub(crate) const GEN_EXC_VALUE: usize = 48;
    pub(crate) const GEN_IFRAME: usize = 80;
    pub(crate) const FO_TRACE_OPCODES: usize = 45;
    pub(crate) const RT_MAIN_THREAD: usize = 80;
    pub(crate) const RT_INTERP_MAIN: usize = 48;
    /// The GIL itself.
    pub(crate) const RT_GIL: usize = 360;
    /// The thread state of who has the GIL.
    pub(crate) const RT_CURRENT: usize = 576;
    pub(crate) const IS_THREADS_HEAD: usize = 16;
    pub(crate) const STR_ASCII_DATA: usize = 48;
    pub(crate) const STR_COMPACT_DATA: usize = 72;
}

#[cfg(all(Py_3_12, not(Py_3_13)))]
mod offsets {
    pub(crate) const TS_NEXT: usize = 8;
    /// The limit follows it.
    pub(crate) const TS_RECURSION_REMAINING: usize = 28;
    pub(crate) const TS_CFRAME: usize = 56;
    pub(crate) const CFRAME_CURRENT: usize = 0;
    pub(crate) const TS_THREAD_ID: usize = 136;
    pub(crate) const TS_NATIVE_ID: usize = 144;
    pub(crate) const TS_ID: usize = 224;
    pub(crate) const F_CODE: usize = 0;
    pub(crate) const F_INSTR: usize = 56;
    pub(crate) const F_PREVIOUS: usize = 8;
    pub(crate) const F_OWNER: usize = 70;
    pub(crate) const F_LOCALSPLUS: usize = 72;
    pub(crate) const CO_CODE: usize = 192;
    pub(crate) const CO_FLAGS: usize = 48;
    pub(crate) const CO_ARGCOUNT: usize = 52;
    pub(crate) const CO_KWONLY: usize = 60;
    pub(crate) const CO_EXCEPTION_TABLE: usize = 40;
    pub(crate) const CO_LINETABLE: usize = 136;
    pub(crate) const CO_FILENAME: usize = 112;
    pub(crate) const CO_NAME: usize = 120;
    pub(crate) const CO_QUALNAME: usize = 128;
    pub(crate) const CO_FIRSTLINENO: usize = 68;
    pub(crate) const GEN_EXC_VALUE: usize = 40;
    pub(crate) const GEN_IFRAME: usize = 72;
    pub(crate) const RT_MAIN_THREAD: usize = 64;
    pub(crate) const RT_INTERP_MAIN: usize = 48;
    pub(crate) const IS_THREADS_HEAD: usize = 72;
    /// Where the GIL is that the interpreter uses.
    pub(crate) const IS_GIL: usize = 384;
    pub(crate) const STR_ASCII_DATA: usize = 40;
    pub(crate) const STR_COMPACT_DATA: usize = 56;
}

#[cfg(all(Py_3_13, not(Py_3_14)))]
mod offsets {
    pub(crate) const TS_NEXT: usize = 8;
    /// The limit follows it.
    pub(crate) const TS_RECURSION_REMAINING: usize = 44;
    pub(crate) const TS_CURRENT_FRAME: usize = 72;
    pub(crate) const TS_THREAD_ID: usize = 152;
    pub(crate) const TS_NATIVE_ID: usize = 160;
    pub(crate) const TS_ID: usize = 224;
    pub(crate) const F_CODE: usize = 0;
    pub(crate) const F_INSTR: usize = 56;
    pub(crate) const F_PREVIOUS: usize = 8;
    pub(crate) const F_OWNER: usize = 70;
    pub(crate) const F_LOCALSPLUS: usize = 72;
    pub(crate) const CO_CODE: usize = 200;
    pub(crate) const CO_FLAGS: usize = 48;
    pub(crate) const CO_ARGCOUNT: usize = 52;
    pub(crate) const CO_KWONLY: usize = 60;
    pub(crate) const CO_EXCEPTION_TABLE: usize = 40;
    pub(crate) const CO_LINETABLE: usize = 136;
    pub(crate) const CO_FILENAME: usize = 112;
    pub(crate) const CO_NAME: usize = 120;
    pub(crate) const CO_QUALNAME: usize = 128;
    pub(crate) const CO_FIRSTLINENO: usize = 68;
    pub(crate) const GEN_EXC_VALUE: usize = 40;
    pub(crate) const GEN_IFRAME: usize = 72;
    pub(crate) const RT_MAIN_THREAD: usize = 656;
    pub(crate) const RT_INTERP_MAIN: usize = 640;
    pub(crate) const IS_THREADS_HEAD: usize = 7344;
    pub(crate) const IS_GIL: usize = 16;
    pub(crate) const STR_ASCII_DATA: usize = 40;
    pub(crate) const STR_COMPACT_DATA: usize = 56;
}

#[cfg(all(Py_3_14, not(Py_3_15)))]
mod offsets {
    pub(crate) const TS_NEXT: usize = 8;
    /// The limit follows it.
    pub(crate) const TS_RECURSION_REMAINING: usize = 48;
    pub(crate) const TS_CURRENT_FRAME: usize = 72;
    pub(crate) const TS_THREAD_ID: usize = 152;
    pub(crate) const TS_NATIVE_ID: usize = 160;
    pub(crate) const TS_ID: usize = 224;
    pub(crate) const F_CODE: usize = 0;
    pub(crate) const F_INSTR: usize = 56;
    pub(crate) const F_PREVIOUS: usize = 8;
    pub(crate) const F_OWNER: usize = 74;
    pub(crate) const F_LOCALSPLUS: usize = 80;
    pub(crate) const CO_CODE: usize = 208;
    pub(crate) const CO_FLAGS: usize = 48;
    pub(crate) const CO_ARGCOUNT: usize = 52;
    pub(crate) const CO_KWONLY: usize = 60;
    pub(crate) const CO_EXCEPTION_TABLE: usize = 40;
    pub(crate) const CO_LINETABLE: usize = 136;
    pub(crate) const CO_FILENAME: usize = 112;
    pub(crate) const CO_NAME: usize = 120;
    pub(crate) const CO_QUALNAME: usize = 128;
    pub(crate) const CO_FIRSTLINENO: usize = 68;
    pub(crate) const GEN_EXC_VALUE: usize = 40;
    pub(crate) const GEN_IFRAME: usize = 72;
    pub(crate) const RT_MAIN_THREAD: usize = 832;
    pub(crate) const RT_INTERP_MAIN: usize = 816;
    pub(crate) const IS_THREADS_HEAD: usize = 7344;
    pub(crate) const IS_GIL: usize = 16;
    pub(crate) const STR_ASCII_DATA: usize = 40;
    pub(crate) const STR_COMPACT_DATA: usize = 56;
}

#[cfg(not(all(Py_3_11, not(Py_3_15))))]
compile_error!(
    "quell knows the frame layout of CPython 3.11 to 3.14; this interpreter is another one. \
     Set PYO3_PYTHON to one of those."
);
#[cfg(Py_GIL_DISABLED)]
compile_error!(
    "quell does not support free-threaded builds of CPython yet. Set PYO3_PYTHON to a build with the GIL."
);

pub(crate) use offsets::*;

/// Values of a frame's `owner` field.
pub(crate) const OWNED_BY_GENERATOR: u8 = 1;
/// The entry record of an evaluation loop that C code started; it has no code of its own. From 3.12. Larger values, which
/// 3.14 knows, are other records that run none.
#[cfg(Py_3_12)]
pub(crate) const OWNED_BY_C_STACK: u8 = 3;

/// A reference as a frame holds it: a pointer on most versions. From 3.14 the two lowest bits say what kind of reference it
/// is, and if both are set it is none.
pub(crate) fn untagged(reference: usize) -> usize {
    if cfg!(not(Py_3_14)) {
        reference
    } else if reference & 3 == 3 {
        0
    } else {
        reference & !3
    }
}

unsafe extern "C" {
    static _PyRuntime: u8;
}

/// Address of the interpreter's one runtime record.
pub(crate) fn runtime() -> usize {
    &raw const _PyRuntime as usize
}

/// Reads a `T` at `base + offset`.
///
/// # Safety
/// `base + offset` must be readable, aligned and hold a `T`.
pub(crate) unsafe fn read<T: Copy>(base: *const u8, offset: usize) -> T {
    // SAFETY: the caller vouches for the place and its type.
    unsafe { base.add(offset).cast::<T>().read() }
}

/// Whether the layouts of this file describe the running interpreter. The first call must come from a thread
/// that holds the GIL and runs a Python frame, or any thread that holds it (then the frame is not compared);
/// later calls return the first answer.
pub(crate) fn verify() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(compare)
}

fn compare() -> bool {
    // The version this was compiled for, against the one that runs.
    // SAFETY: returns a static string.
    let version = unsafe { std::ffi::CStr::from_ptr(ffi::Py_GetVersion()) }.to_bytes();
    let minor = if cfg!(Py_3_14) {
        b"3.14."
    } else if cfg!(Py_3_13) {
        b"3.13."
    } else if cfg!(Py_3_12) {
        b"3.12."
    } else {
        b"3.11."
    };
    if !version.starts_with(minor) {
        return false;
    }
    // SAFETY: the GIL is held, so the current thread state is valid for this call.
    let ts = ThreadState::current();
    // SAFETY: public function; the GIL is held.
    if ts.as_ptr() != unsafe { ffi::PyThreadState_Get() } {
        return false;
    }
    // SAFETY: public function without preconditions.
    let id = unsafe { ffi::PyThreadState_GetID(ts.as_ptr()) } as u64;
    // SAFETY: gettid has no preconditions.
    let tid = unsafe { libc::syscall(libc::SYS_gettid) } as u64;
    // SAFETY: pthread_self has no preconditions.
    let ident = unsafe { libc::pthread_self() } as u64;
    if ts.id() != id || ts.ident() != ident || ts.native_id() != tid {
        return false;
    }
    // SAFETY: borrowed reference to the running frame object, or null where none runs.
    let object = unsafe { ffi::PyEval_GetFrame() };
    match (ts.top(), object.is_null()) {
        (None, true) => true,
        (Some(frame), false) => same_frame(frame, object),
        _ => false,
    }
}

/// Compares code, position and caller of one frame as the layout and as the public API give them.
fn same_frame(frame: Frame, object: *mut ffi::PyFrameObject) -> bool {
    // SAFETY: `object` is the running frame; PyFrame_GetCode returns a new reference, given back below.
    let code = unsafe { ffi::PyFrame_GetCode(object) };
    // SAFETY: as above.
    let lasti: c_int = unsafe { PyFrame_GetLasti(object) };
    let same = frame.code().is_some_and(|c| c.as_ptr() == code) && frame.lasti() == lasti;
    // SAFETY: gives back the reference taken above.
    unsafe { ffi::Py_DECREF(code.cast()) };
    same
}

unsafe extern "C" {
    fn PyFrame_GetLasti(frame: *mut ffi::PyFrameObject) -> c_int;
}
