//! The gate on 3.11: a trace function that the target does not know of.
//!
//! `f_trace_opcodes` is set on the target's frames and the thread's trace function is replaced by ours, with the old
//! object left in place, so that `sys.gettrace()` answers as before. Every event that is not our own is passed on to the
//! old function. Only opcode events raise: an exception raised from a line event that a jump caused skips the frame's
//! own handlers.
//!
//! Marking makes frame objects. CPython 3.11 collects garbage wherever an object is made, and a finalizer can let the target go
//! on; so there is no collection meanwhile, and nothing here calls what would tell audit hooks.

use std::collections::HashSet;
use std::ffi::c_int;

use pyo3::ffi;
use pyo3::prelude::*;

use super::super::record::Record;
use super::points::Points;
use super::{codes, on_instruction};
use crate::cpython::code::Code;
use crate::cpython::layout;
use crate::cpython::thread::ThreadState;

/// What is switched on for one record.
#[derive(Default)]
pub(in super::super) struct Arming {
    armed: bool,
    /// Frame objects whose `f_trace_opcodes` is our doing, by address.
    frames: HashSet<usize>,
    /// The trace function that stood there before ours.
    before: Option<ffi::Py_tracefunc>,
}

unsafe extern "C" {
    fn PyThreadState_GetFrame(ts: *mut ffi::PyThreadState) -> *mut ffi::PyFrameObject;
    fn PyFrame_GetBack(frame: *mut ffi::PyFrameObject) -> *mut ffi::PyFrameObject;
    fn PyFrame_GetLasti(frame: *mut ffi::PyFrameObject) -> c_int;
}

/// Does everything that can run Python code, before anything is decided.
pub(in super::super) fn prepare(_py: Python<'_>) -> PyResult<()> {
    Ok(())
}

/// A trace function can always be had.
pub(in super::super) fn is_available(_py: Python<'_>) -> bool {
    true
}

/// The frame's wish for opcode events.
fn wish(frame: *mut ffi::PyFrameObject) -> *mut bool {
    frame.cast::<u8>().wrapping_add(layout::FO_TRACE_OPCODES).cast()
}

fn mark(py: Python<'_>, record: &Record, frame: *mut ffi::PyFrameObject) {
    // SAFETY: a live frame object; the field is a char that holds 0 or 1.
    unsafe {
        if !*wish(frame) {
            *wish(frame) = true;
            record.state(py, |s| s.arming.frames.insert(frame as usize));
        }
    }
}

fn unmark(py: Python<'_>, record: &Record, frame: *mut ffi::PyFrameObject) {
    if record.state(py, |s| s.arming.frames.remove(&(frame as usize))) {
        // SAFETY: as above; it was ours to set.
        unsafe { *wish(frame) = false };
    }
}

/// Keeps the garbage collector from running. CPython 3.11 runs it wherever an object is made, and with it finalizers: Python
/// code, which releases the GIL.
struct NoCollection {
    was_enabled: bool,
}

impl NoCollection {
    fn start() -> Self {
        // SAFETY: the GIL is held.
        Self { was_enabled: unsafe { ffi::PyGC_Disable() } != 0 }
    }
}

impl Drop for NoCollection {
    fn drop(&mut self) {
        if self.was_enabled {
            // SAFETY: the GIL is held, and has been since `start`: nobody saw the collector switched off.
            unsafe { ffi::PyGC_Enable() };
        }
    }
}

/// Calls `f` for each frame object of the thread, which are made if need be.
///
/// The thread does not run meanwhile. If it did, CPython would tie the object it makes to a frame that has been left, that is,
/// to whatever stands in its place by then.
fn for_frames(ts: ThreadState, mut f: impl FnMut(*mut ffi::PyFrameObject)) {
    let _still = NoCollection::start();
    // SAFETY: new references, each given back once the next one is taken.
    unsafe {
        let mut frame = PyThreadState_GetFrame(ts.as_ptr());
        while !frame.is_null() {
            f(frame);
            let back = PyFrame_GetBack(frame);
            ffi::Py_DECREF(frame.cast());
            frame = back;
        }
    }
}

fn is_ours(ts: ThreadState) -> bool {
    ts.trace_function().is_some_and(|f| f as usize == trace as *const () as usize)
}

/// Puts the trace function in place and marks the target's frames.
pub(in super::super) fn arm(py: Python<'_>, record: &Record) -> PyResult<()> {
    let Some(ts) = record.thread_state() else { return Ok(()) };
    // Collected first: the analysis allocates.
    let stack: Vec<Code> = codes(ts).collect();
    for code in stack {
        Points::of(py, code)?;
    }
    record.state(py, |s| s.arming.armed = true);
    // Inside the old trace function a mark would show it one opcode event; the next look is soon.
    if ts.tracing() == 0 {
        for_frames(ts, |frame| mark(py, record, frame));
    }
    if !is_ours(ts) {
        let before = ts.trace_function();
        record.state(py, |s| s.arming.before = before);
        ts.set_trace_function(Some(trace));
    }
    Ok(())
}

/// A trace function, once in place, is called.
pub(in super::super) fn refresh(_py: Python<'_>, _record: &Record) -> PyResult<()> {
    Ok(())
}

/// 3.11 traces whatever the thread enters: there is nothing to add.
pub(in super::super) fn escalate(_py: Python<'_>, _record: &Record) -> PyResult<()> {
    Ok(())
}

/// Puts the old trace function back and takes the marks away.
pub(in super::super) fn disarm(py: Python<'_>, record: &Record) {
    if !record.state(py, |s| std::mem::replace(&mut s.arming.armed, false)) {
        return;
    }
    let Some(ts) = record.thread_state() else {
        record.state(py, |s| s.arming = Arming::default());
        return;
    };
    for_frames(ts, |frame| unmark(py, record, frame));
    let before = record.state(py, |s| {
        s.arming.frames.clear();
        s.arming.before.take()
    });
    if is_ours(ts) {
        ts.set_trace_function(before);
    }
}

/// The trace function. Runs in the target, with the GIL held.
extern "C" fn trace(
    object: *mut ffi::PyObject,
    frame: *mut ffi::PyFrameObject,
    what: c_int,
    argument: *mut ffi::PyObject,
) -> c_int {
    // SAFETY: called by the interpreter with the GIL held.
    let py = unsafe { Python::assume_attached() };
    let Some(record) = Record::existing(py) else { return 0 };
    let (before, mine) =
        record.state(py, |s| (s.arming.before, s.arming.frames.contains(&(frame as usize))));
    if let Some(before) = before
        && (what != ffi::PyTrace_OPCODE || !mine)
    {
        // SAFETY: the thread's own trace function, called as the interpreter would have called it.
        let outcome = unsafe { before(object, frame, what, argument) };
        if outcome != 0 {
            return outcome;
        }
    }
    if !record.state(py, |s| s.arming.armed) || !record.thread().has_pending() {
        return 0;
    }
    match what {
        ffi::PyTrace_CALL | ffi::PyTrace_LINE => mark(py, record, frame),
        ffi::PyTrace_RETURN => unmark(py, record, frame),
        ffi::PyTrace_OPCODE => {
            // SAFETY: the frame is live; its code is borrowed from it.
            let (code, offset) = unsafe {
                let code = ffi::PyFrame_GetCode(frame);
                ffi::Py_DECREF(code.cast());
                (code, PyFrame_GetLasti(frame))
            };
            let Some(code) = Code::from_object(code.cast()) else { return 0 };
            if let Err(error) = on_instruction(py, record, code, offset) {
                error.restore(py);
                return -1;
            }
        }
        _ => {}
    }
    0
}
