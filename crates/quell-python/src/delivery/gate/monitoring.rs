//! The gate from 3.12 on: instruction events of `sys.monitoring`.
//!
//! Events are switched on for the code objects on the target's stack, counted per code object, because several
//! targets may run the same function. A function that the target enters afterwards is not among them: after a while
//! ([`escalate`]), or at once inside an event loop, every function that starts or resumes anywhere in the process
//! reports itself, and if it runs in a target, gets its events then.
//!
//! Other threads that run the same functions are slowed down while the gate is armed; they are never raised in.

use std::collections::HashMap;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyInt;

use super::super::gil_cell::GilCell;
use super::super::record::Record;
use super::points::Points;
use super::{codes, on_instruction};
use crate::cpython::code::Code;

/// What is switched on for one record.
#[derive(Default)]
pub(in super::super) struct Arming {
    codes: HashMap<usize, Py<PyAny>>,
    global: bool,
}

/// Code objects with events on, by address, and for how many records; records that want every start.
static USE: GilCell<Option<HashMap<usize, usize>>> = GilCell::new(None);
static GLOBAL: GilCell<usize> = GilCell::new(0);

const PY_START: i32 = 1;
const PY_RESUME: i32 = 1 << 1;
const INSTRUCTION: i32 = 1 << 6;

/// Not the ids that debuggers (0), coverage tools (1), profilers (2) and optimizers (5) are meant to use, if possible.
const TOOL_IDS: [i32; 6] = [4, 3, 5, 2, 1, 0];

struct Monitoring {
    tool: Py<PyInt>,
    set_local_events: Py<PyAny>,
    set_events: Py<PyAny>,
}

static MONITORING: PyOnceLock<Monitoring> = PyOnceLock::new();

impl Monitoring {
    fn get(py: Python<'_>) -> PyResult<&'static Monitoring> {
        let cell: &'static PyOnceLock<Monitoring> = &MONITORING;
        cell.get_or_try_init(py, || Self::claim(py))
    }

    fn claim(py: Python<'_>) -> PyResult<Monitoring> {
        let monitoring = py.import("sys")?.getattr("monitoring")?;
        let tool = TOOL_IDS
            .into_iter()
            .find(|id| monitoring.call_method1("use_tool_id", (*id, "quell")).is_ok())
            .ok_or_else(|| {
                PyRuntimeError::new_err(
                    "quell cannot interrupt running Python code: all six tool ids of sys.monitoring are in use; \
                     end one of the debuggers, coverage tools or profilers that hold them",
                )
            })?;
        let register = monitoring.getattr("register_callback")?;
        register.call1((tool, INSTRUCTION, function(py, &ON_INSTRUCTION)?))?;
        let on_start = function(py, &ON_START)?;
        register.call1((tool, PY_START, &on_start))?;
        register.call1((tool, PY_RESUME, &on_start))?;
        Ok(Monitoring {
            tool: tool.into_pyobject(py)?.unbind(),
            set_local_events: monitoring.getattr("set_local_events")?.unbind(),
            set_events: monitoring.getattr("set_events")?.unbind(),
        })
    }

    fn set_local(&self, py: Python<'_>, code: &Bound<'_, PyAny>, events: i32) -> PyResult<()> {
        self.set_local_events.bind(py).call1((&self.tool, code, events)).map(drop)
    }

    fn set_global(&self, py: Python<'_>, events: i32) -> PyResult<()> {
        self.set_events.bind(py).call1((&self.tool, events)).map(drop)
    }
}

/// A `PyMethodDef` that never changes.
struct Definition(ffi::PyMethodDef);
// SAFETY: read-only after construction.
unsafe impl Sync for Definition {}

static ON_INSTRUCTION: Definition = Definition(ffi::PyMethodDef {
    ml_name: c"quell_on_instruction".as_ptr(),
    ml_meth: ffi::PyMethodDefPointer { PyCFunctionFast: on_instruction_event },
    ml_flags: ffi::METH_FASTCALL,
    ml_doc: std::ptr::null(),
});

static ON_START: Definition = Definition(ffi::PyMethodDef {
    ml_name: c"quell_on_start".as_ptr(),
    ml_meth: ffi::PyMethodDefPointer { PyCFunctionFast: on_start_event },
    ml_flags: ffi::METH_FASTCALL,
    ml_doc: std::ptr::null(),
});

fn function<'py>(py: Python<'py>, definition: &'static Definition) -> PyResult<Bound<'py, PyAny>> {
    let definition = (&raw const definition.0).cast_mut();
    // SAFETY: the definition is static; the result is a new reference or null with an error set.
    unsafe {
        Bound::from_owned_ptr_or_err(
            py,
            ffi::PyCFunction_NewEx(definition, std::ptr::null_mut(), std::ptr::null_mut()),
        )
    }
}

/// The record of the calling thread, if something is pending in it.
fn target(py: Python<'_>) -> Option<&Record> {
    Record::existing(py).filter(|record| record.thread().has_pending())
}

/// INSTRUCTION(code, offset), before the instruction is executed. An error is raised there.
unsafe extern "C" fn on_instruction_event(
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
unsafe extern "C" fn on_start_event(
    _module: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: isize,
) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter with the GIL held.
    let py = unsafe { Python::assume_attached() };
    let raised = target(py).filter(|_| count >= 2).and_then(|record| {
        // SAFETY: the event's first argument, borrowed: a code object.
        let code = unsafe { *arguments };
        add(py, Monitoring::get(py).ok()?, record, Code::from_object(code)?).err()
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
    Monitoring::get(py).map(drop)
}

/// Whether a tool id could be had.
pub(in super::super) fn is_available(py: Python<'_>) -> bool {
    MONITORING.get(py).is_some()
}

/// Switches events on for what is on the target's stack and has none yet.
pub(in super::super) fn arm(py: Python<'_>, record: &Record) -> PyResult<()> {
    let Some(ts) = record.thread_state() else { return Ok(()) };
    let monitoring = Monitoring::get(py)?;
    if codes(ts).any(|code| code.is_qualified(c"BaseEventLoop.run_forever")) {
        // The next callback of the loop is a function that is not on the stack yet.
        escalate(py, record)?;
    }
    // Collected first: switching events on allocates.
    let codes: Vec<Code> = codes(ts).collect();
    for code in codes {
        add(py, monitoring, record, code)?;
    }
    Ok(())
}

fn add(py: Python<'_>, monitoring: &Monitoring, record: &Record, code: Code) -> PyResult<()> {
    let key = code.as_ptr() as usize;
    if record.state(py, |s| s.arming.codes.contains_key(&key)) {
        return Ok(());
    }
    Points::of(py, code)?;
    // SAFETY: a live code object, borrowed from a frame or from the event.
    let object = unsafe { Bound::from_borrowed_ptr(py, code.as_ptr().cast()) };
    monitoring.set_local(py, &object, INSTRUCTION)?;
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
    let Some(ts) = record.thread_state() else { return Ok(()) };
    let monitoring = Monitoring::get(py)?;
    let codes: Vec<Code> = codes(ts).collect();
    for code in codes {
        let key = code.as_ptr() as usize;
        let known = record.state(py, |s| s.arming.codes.get(&key).map(|c| c.clone_ref(py)));
        if let Some(code) = known {
            monitoring.set_local(py, code.bind(py), 0)?;
            monitoring.set_local(py, code.bind(py), INSTRUCTION)?;
        }
    }
    Ok(())
}

/// Has every function that starts or resumes report itself.
pub(in super::super) fn escalate(py: Python<'_>, record: &Record) -> PyResult<()> {
    if record.state(py, |s| std::mem::replace(&mut s.arming.global, true)) {
        return Ok(());
    }
    let first = GLOBAL.with(py, |n| {
        *n += 1;
        *n == 1
    });
    if first {
        Monitoring::get(py)?.set_global(py, PY_START | PY_RESUME)?;
    }
    Ok(())
}

/// Switches off what was switched on for this record and nobody else needs.
pub(in super::super) fn disarm(py: Python<'_>, record: &Record) {
    let arming = record.state(py, |s| std::mem::take(&mut s.arming));
    // Without it nothing was switched on.
    let Some(monitoring) = MONITORING.get(py) else { return };
    if arming.global {
        let last = GLOBAL.with(py, |n| {
            *n -= 1;
            *n == 0
        });
        if last {
            report(py, monitoring.set_global(py, 0));
        }
    }
    for (key, code) in arming.codes {
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
            report(py, monitoring.set_local(py, code.bind(py), 0));
        }
    }
}

/// Events that cannot be switched off only slow the code down; nobody could act on the error.
fn report(py: Python<'_>, outcome: PyResult<()>) {
    if let Err(error) = outcome {
        error.write_unraisable(py, None);
    }
}
