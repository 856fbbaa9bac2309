//! The gate from 3.12 on: instruction events of `sys.monitoring`.
//!
//! Events are switched on for the code objects on the target's stack, counted per code object, because several
//! targets may run the same function. A function that the target enters afterwards is not among them: after a while
//! ([`escalate`]), or at once inside an event loop, every function that starts or resumes anywhere in the process
//! reports itself, and if it runs in a target, gets its events then.
//!
//! Under whose id the events go is the business of [`tool`](super::tool).
//!
//! Other threads that run the same functions are slowed down while the gate is armed; they are never raised in.

use std::collections::HashMap;

use pyo3::ffi;
use pyo3::prelude::*;

use super::super::gil_cell::GilCell;
use super::super::record::Record;
use super::points::Points;
use super::tool::Tool;
use super::{codes, on_instruction};
use crate::cpython::code::Code;

/// What is switched on for one record.
#[derive(Default)]
pub(in super::super) struct Arming {
    /// Under this id.
    tool: Option<Tool>,
    codes: HashMap<usize, Py<PyAny>>,
    global: bool,
}

/// Code objects with events on, by address, and for how many records; records that want every start.
static USE: GilCell<Option<HashMap<usize, usize>>> = GilCell::new(None);
static GLOBAL: GilCell<usize> = GilCell::new(0);

/// The record of the calling thread, if something is pending in it.
fn target(py: Python<'_>) -> Option<&Record> {
    Record::existing(py).filter(|record| record.thread().has_pending())
}

/// INSTRUCTION(code, offset), before the instruction is executed. An error is raised there.
pub(super) unsafe extern "C" fn on_instruction_event(
    _module: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: isize,
) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter with the GIL held.
    let py = unsafe { Python::assume_attached() };
    let raised = target(py).filter(|_| count >= 2).and_then(|record| {
        // SAFETY: the event's arguments, borrowed: a code object and an int.
        let (code, offset) = unsafe { (*arguments, ffi::PyLong_AsLong(*arguments.add(1))) };
        on_instruction(py, record, Code::from_object(code)?, offset as i32).err()
    });
    answer(py, raised)
}

/// PY_START(code, offset) and PY_RESUME(code, offset): a function begins or goes on.
pub(super) unsafe extern "C" fn on_start_event(
    _module: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: isize,
) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter with the GIL held.
    let py = unsafe { Python::assume_attached() };
    let raised = target(py).filter(|_| count >= 2).and_then(|record| {
        // SAFETY: the event's first argument, borrowed: a code object.
        let code = unsafe { *arguments };
        add(py, Tool::current(py)?, record, Code::from_object(code)?).err()
    });
    answer(py, raised)
}

fn answer(py: Python<'_>, raised: Option<PyErr>) -> *mut ffi::PyObject {
    match raised {
        Some(error) => {
            error.restore(py);
            std::ptr::null_mut()
        }
        None => py.None().into_ptr(),
    }
}

/// Does everything that can run Python code, before anything is decided.
pub(in super::super) fn prepare(py: Python<'_>) -> PyResult<()> {
    Tool::find(py).map(drop)
}

/// Whether a tool id could be had.
pub(in super::super) fn is_available(py: Python<'_>) -> bool {
    Tool::is_available(py)
}

/// Switches events on for what is on the target's stack and has none yet.
pub(in super::super) fn arm(py: Python<'_>, record: &Record) -> PyResult<()> {
    let tool = Tool::find(py)?;
    let Some(ts) = record.thread_state() else { return Ok(()) };
    if record.state(py, |s| s.arming.tool.replace(tool)).is_some_and(|before| before != tool) {
        // Under the old id the events are its owner's business now.
        release(py, record, |_, _| {});
    }
    if codes(ts).any(|code| code.is_qualified(c"BaseEventLoop.run_forever")) {
        // The next callback of the loop is a function that is not on the stack yet.
        escalate(py, record)?;
    } else if tool.is_lent() && record.state(py, |s| s.arming.global) {
        tool.set_global(py, true)?;
    }
    // Collected first: switching events on allocates.
    let codes: Vec<Code> = codes(ts).collect();
    for code in codes {
        add(py, tool, record, code)?;
    }
    Ok(())
}

fn add(py: Python<'_>, tool: Tool, record: &Record, code: Code) -> PyResult<()> {
    let key = code.as_ptr() as usize;
    // SAFETY: a live code object, borrowed from a frame or from the event.
    let object = unsafe { Bound::from_borrowed_ptr(py, code.as_ptr().cast()) };
    if record.state(py, |s| s.arming.codes.contains_key(&key)) {
        // Looks whether they are still on, if others could have switched them off.
        return if tool.is_lent() { tool.set_local(py, &object, true) } else { Ok(()) };
    }
    Points::of(py, code)?;
    tool.set_local(py, &object, true)?;
    record.state(py, |s| s.arming.codes.insert(key, object.unbind()));
    USE.with(py, |users| *users.get_or_insert_default().entry(key).or_default() += 1);
    Ok(())
}

/// Switches events off and on again for what is on the target's stack.
///
/// Where a trace function comes and goes while events are on, CPython 3.12 and 3.13 can lose the events of a code object:
/// it is instrumented and its events are set, but nobody is called. Measured with `sys.settrace` once in some hundred
/// interrupts; setting the events anew brings them back.
pub(in super::super) fn refresh(py: Python<'_>, record: &Record) -> PyResult<()> {
    let Some(tool) = Tool::current(py) else { return Ok(()) };
    let Some(ts) = record.thread_state() else { return Ok(()) };
    let codes: Vec<Code> = codes(ts).collect();
    for code in codes {
        let key = code.as_ptr() as usize;
        let known = record.state(py, |s| s.arming.codes.get(&key).map(|c| c.clone_ref(py)));
        if let Some(code) = known {
            tool.set_local(py, code.bind(py), false)?;
            tool.set_local(py, code.bind(py), true)?;
        }
    }
    Ok(())
}

/// Has every function that starts or resumes report itself.
pub(in super::super) fn escalate(py: Python<'_>, record: &Record) -> PyResult<()> {
    let Some(tool) = Tool::current(py) else { return Ok(()) };
    let first = !record.state(py, |s| std::mem::replace(&mut s.arming.global, true))
        && GLOBAL.with(py, |n| {
            *n += 1;
            *n == 1
        });
    // Again, if others could have switched it off.
    if first || tool.is_lent() { tool.set_global(py, true) } else { Ok(()) }
}

/// Switches off what was switched on for this record and nobody else needs.
pub(in super::super) fn disarm(py: Python<'_>, record: &Record) {
    // Without it nothing was switched on.
    let Some(tool) = Tool::current(py) else { return };
    release(py, record, |py, what| {
        report(
            py,
            match what {
                Last::Code(code) => tool.set_local(py, code.bind(py), false),
                Last::Start => tool.set_global(py, false),
            },
        );
    });
    let unused = USE.with(py, |users| users.as_ref().is_none_or(HashMap::is_empty))
        && GLOBAL.with(py, |n| *n == 0);
    if unused {
        report(py, tool.give_back(py));
    }
}

/// What no record needs any more.
enum Last {
    Code(Py<PyAny>),
    Start,
}

/// Forgets what is on for this record; `off` is called with what nobody else needs.
fn release(py: Python<'_>, record: &Record, off: impl Fn(Python<'_>, Last)) {
    let (codes, global) = record
        .state(py, |s| (std::mem::take(&mut s.arming.codes), std::mem::take(&mut s.arming.global)));
    let last = global
        && GLOBAL.with(py, |n| {
            *n -= 1;
            *n == 0
        });
    if last {
        off(py, Last::Start);
    }
    for (key, code) in codes {
        let last = USE.with(py, |users| {
            let users = users.get_or_insert_default();
            let count = users.get_mut(&key);
            let left = count.map_or(0, |n| {
                *n -= 1;
                *n
            });
            if left == 0 {
                users.remove(&key);
            }
            left == 0
        });
        if last {
            off(py, Last::Code(code));
        }
    }
}

/// Events that cannot be switched off only slow the code down; nobody could act on the error.
fn report(py: Python<'_>, outcome: PyResult<()>) {
    if let Err(error) = outcome {
        error.write_unraisable(py, None);
    }
}
