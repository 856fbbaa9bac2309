//! The gate: it looks at the target's own instructions as the target runs them, and raises at the first harmless one.
//!
//! `PyThreadState_SetAsyncExc` raises where the evaluation loop next looks up, which is at a call's end or a backward
//! jump; an exception there is handled as if the call or the jump had raised it. So it is raised outside the `try` that
//! encloses a loop, between `acquire()` and `try:`, or in place of a value that a call has just returned. The gate
//! has the interpreter call back before each instruction of the target and chooses itself: [`points`] says which
//! instructions of a code object are harmless, this file whether the stack around allows it.
//!
//! Two ways to be called back: `sys.monitoring` instruction events from 3.12 (`monitoring`), a trace function on
//! 3.11 (`trace`). Both run in the target, with the GIL held, and cost nothing once the gate is disarmed.
//!
//! *Politeness.* The gate does not raise where any frame of the target is inside the body of a `finally`, or inside
//! the enter or exit of a context manager that a `with` statement runs, or inside a function with `acquire` in its name whose
//! caller opens a `try` next: the talk's masking between `lock.acquire()` and `try:`, for all Python code. A sender may
//! insist, or use force ([`Options`](super::Options)).

mod guards;
mod opcodes;
mod points;
mod structure;
#[cfg(test)]
mod tests;

#[cfg(Py_3_12)]
mod monitoring;
#[cfg(Py_3_12)]
mod tool;
#[cfg(not(Py_3_12))]
mod trace;

#[cfg(Py_3_12)]
use monitoring as form;
#[cfg(not(Py_3_12))]
use trace as form;

use pyo3::prelude::*;

use super::holds;
use super::record::Record;
use super::swallow;
use crate::cpython::code::Code;
use crate::cpython::frame::Frame;
use crate::cpython::thread::ThreadState;
use points::{BEFORE_TRY, ENTERING, IN_FINALLY, LEAVING, RUDE, SAFE};

pub(super) use points::Points;

pub(super) use form::{Arming, arm, disarm, escalate, is_available, prepare, refresh};

/// The target is about to execute the instruction at `offset` of `code`: raise here?
///
/// Err carries the exception; the gate is disarmed then, unless more is pending.
fn on_instruction(py: Python<'_>, record: &Record, code: Code, offset: i32) -> PyResult<()> {
    let (options, ceiling) = record.state(py, |s| {
        s.events += 1;
        (s.options, s.ceiling)
    });
    let flags = Points::of(py, code)?.at(offset);
    let allowed = if options.force {
        flags & (SAFE | RUDE) != 0
    } else if options.insist {
        flags & (SAFE | RUDE) != 0 && flags & IN_FINALLY == 0
    } else {
        flags & (SAFE | RUDE) == SAFE
    };
    if !allowed {
        return Ok(());
    }
    let Some(top) = ThreadState::current().top() else { return Ok(()) };
    if !below(ceiling, top)
        || swallow::would_swallow(py, record)
        || !(options.force || is_polite(py, top)?)
    {
        return Ok(());
    }
    // Where a lock would not be given back not even force raises.
    if !holds::covered(py, record)? {
        return Ok(());
    }
    match record.take(py, false) {
        Some(interrupt) => {
            // The next one is to be raised in the handler of this one, before it ends: see the ladder of those who
            // send several at once.
            if !record.thread().has_pending() {
                disarm(py, record);
            }
            Err(record.delivered(py, interrupt))
        }
        None => Ok(()),
    }
}

/// Whether `top` is the frame that swallowed the last raise, or that frame has returned.
fn below(ceiling: Option<usize>, top: Frame) -> bool {
    ceiling.is_none_or(|c| top.address() == c || top.stack().all(|f| f.address() != c))
}

/// Whether no caller of the running frame is in the middle of cleaning up or of setting up.
fn is_polite(py: Python<'_>, top: Frame) -> PyResult<bool> {
    let mut called = top;
    for frame in top.stack().skip(1) {
        let Some(code) = frame.code() else { continue };
        let flags = Points::of(py, code)?.at(frame.lasti());
        // What `logging` calls is `_acquireLock`, what `threading.Condition.wait` does to its lock before its `try` is named like
        // the second.
        let acquires = |c: Code| c.is_named_with("acquire") || c.is_named(c"_release_save");
        let acquiring = flags & BEFORE_TRY != 0 && called.code().is_some_and(acquires);
        if flags & (IN_FINALLY | ENTERING | LEAVING) != 0 || acquiring {
            return Ok(false);
        }
        called = frame;
    }
    Ok(true)
}

/// The code objects on a thread's stack.
fn codes(ts: ThreadState) -> impl Iterator<Item = Code> {
    ts.top().into_iter().flat_map(Frame::stack).filter_map(Frame::code)
}
