//! The id of `sys.monitoring` that the gate's events go by.
//!
//! There are six, and one that is free is taken for good. Where debuggers, coverage tools and profilers hold all of them,
//! the gate goes along with one of theirs, for as long as something is armed: events and callbacks are kept by id *and* kind
//! of event, so a tool that watches no single instructions does not notice that its id has a callback for them. Its own
//! events stay as they are: the one of the gate is added to each set and taken out again. The tool may change
//! these sets at any time and so switch the gate's events off; whoever arms looks, and the driver arms again and again.
//!
//! Only where each of the six watches single instructions itself there is no gate.

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::super::gil_cell::GilCell;
use super::monitoring::{on_instruction_event, on_start_event};

const PY_START: i32 = 1;
const PY_RESUME: i32 = 1 << 1;
const INSTRUCTION: i32 = 1 << 6;

/// Not the ids that debuggers (0), coverage tools (1), profilers (2) and optimizers (5) are meant to use, if possible.
const IDS: [i32; 6] = [4, 3, 5, 2, 1, 0];

/// An id with the gate's callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tool {
    id: i32,
    /// Somebody else's.
    lent: bool,
}

/// The id in use, if any; and whether one could be had when it was last asked for.
static TOOL: GilCell<Option<Tool>> = GilCell::new(None);
static AVAILABLE: GilCell<bool> = GilCell::new(false);

/// Functions of `sys.monitoring`, and those that it calls.
struct Api {
    use_tool_id: Py<PyAny>,
    get_tool: Py<PyAny>,
    register_callback: Py<PyAny>,
    get_events: Py<PyAny>,
    set_events: Py<PyAny>,
    get_local_events: Py<PyAny>,
    set_local_events: Py<PyAny>,
    on_instruction: Py<PyAny>,
    on_start: Py<PyAny>,
}

impl Api {
    fn get(py: Python<'_>) -> PyResult<&'static Api> {
        static API: PyOnceLock<Api> = PyOnceLock::new();
        let cell: &'static PyOnceLock<Api> = &API;
        cell.get_or_try_init(py, || {
            let monitoring = py.import("sys")?.getattr("monitoring")?;
            let of = |name| monitoring.getattr(name).map(Bound::unbind);
            Ok(Api {
                use_tool_id: of("use_tool_id")?,
                get_tool: of("get_tool")?,
                register_callback: of("register_callback")?,
                get_events: of("get_events")?,
                set_events: of("set_events")?,
                get_local_events: of("get_local_events")?,
                set_local_events: of("set_local_events")?,
                on_instruction: function(py, &ON_INSTRUCTION)?.unbind(),
                on_start: function(py, &ON_START)?.unbind(),
            })
        })
    }

    fn is_free(&self, py: Python<'_>, id: i32) -> PyResult<bool> {
        Ok(self.get_tool.bind(py).call1((id,))?.is_none())
    }

    /// Takes a free id. False: somebody was faster.
    fn claim(&self, py: Python<'_>, id: i32) -> PyResult<bool> {
        if self.use_tool_id.bind(py).call1((id, "quell")).is_err() {
            return Ok(false);
        }
        let register = self.register_callback.bind(py);
        register.call1((id, INSTRUCTION, &self.on_instruction))?;
        register.call1((id, PY_START, &self.on_start))?;
        register.call1((id, PY_RESUME, &self.on_start))?;
        Ok(true)
    }

    /// Makes sure that the callback for instructions under this id is ours. False: it is somebody else's, and stays.
    fn join(&self, py: Python<'_>, id: i32) -> PyResult<bool> {
        let register = self.register_callback.bind(py);
        let before = register.call1((id, INSTRUCTION, &self.on_instruction))?;
        if before.is_none() || before.is(&self.on_instruction) {
            return Ok(true);
        }
        register.call1((id, INSTRUCTION, before))?;
        Ok(false)
    }

    /// Takes our callback out from under somebody else's id.
    fn part(&self, py: Python<'_>, id: i32) -> PyResult<()> {
        let register = self.register_callback.bind(py);
        let before = register.call1((id, INSTRUCTION, py.None()))?;
        if !before.is_none() && !before.is(&self.on_instruction) {
            register.call1((id, INSTRUCTION, before))?;
        }
        Ok(())
    }
}

impl Tool {
    /// The id in use, or one to use from now on. Call it before anything is looked at: it may run audit hooks, which are
    /// Python code.
    ///
    /// # Errors
    /// All six are in use by tools that watch single instructions.
    pub(super) fn find(py: Python<'_>) -> PyResult<Tool> {
        if let Some(own) = Self::current(py).filter(|tool| !tool.lent) {
            return Ok(own);
        }
        let found = Self::look_for(py);
        AVAILABLE.with(py, |available| *available = found.is_ok());
        TOOL.with(py, |tool| *tool = found.as_ref().ok().copied());
        found
    }

    #[cold]
    fn look_for(py: Python<'_>) -> PyResult<Tool> {
        let api = Api::get(py)?;
        let lent = Self::current(py).map(|tool| tool.id);
        // That id first: under it events are on.
        for id in lent.into_iter().chain(IDS) {
            if api.is_free(py, id)? && api.claim(py, id)? {
                return Ok(Tool { id, lent: false });
            }
            if lent == Some(id) && api.join(py, id)? {
                return Ok(Tool { id, lent: true });
            }
        }
        for id in IDS {
            if api.join(py, id)? {
                return Ok(Tool { id, lent: true });
            }
        }
        Err(PyRuntimeError::new_err(
            "quell cannot interrupt running Python code: all six tool ids of sys.monitoring are in use, each by a tool \
             that watches single instructions; end one of these debuggers or profilers",
        ))
    }

    /// The id in use.
    pub(super) fn current(py: Python<'_>) -> Option<Tool> {
        TOOL.with(py, |tool| *tool)
    }

    /// Whether an id could be had when it was last asked for.
    pub(super) fn is_available(py: Python<'_>) -> bool {
        AVAILABLE.with(py, |available| *available)
    }

    /// Nothing is armed: somebody else's id is its own again.
    pub(super) fn give_back(self, py: Python<'_>) -> PyResult<()> {
        if self.lent && TOOL.with(py, |tool| tool.take_if(|tool| *tool == self)).is_some() {
            return Api::get(py)?.part(py, self.id);
        }
        Ok(())
    }

    /// Whether others may have switched events of the gate off.
    pub(super) fn is_lent(self) -> bool {
        self.lent
    }

    /// The events of this id in `code`, with or without ours.
    pub(super) fn set_local(
        self,
        py: Python<'_>,
        code: &Bound<'_, PyAny>,
        on: bool,
    ) -> PyResult<()> {
        let api = Api::get(py)?;
        let others = match self.lent {
            true => api.get_local_events.bind(py).call1((self.id, code))?.extract::<i32>()?,
            false => 0,
        };
        let wanted = if on { others | INSTRUCTION } else { others & !INSTRUCTION };
        if self.lent && wanted == others {
            return Ok(());
        }
        api.set_local_events.bind(py).call1((self.id, code, wanted)).map(drop)
    }

    /// Whether everything that starts or resumes anywhere reports itself; under somebody else's id, who may watch that
    /// too, every instruction does.
    pub(super) fn set_global(self, py: Python<'_>, on: bool) -> PyResult<()> {
        let api = Api::get(py)?;
        let wanted = if self.lent {
            let others = api.get_events.bind(py).call1((self.id,))?.extract::<i32>()?;
            let wanted = if on { others | INSTRUCTION } else { others & !INSTRUCTION };
            if wanted == others {
                return Ok(());
            }
            wanted
        } else if on {
            PY_START | PY_RESUME
        } else {
            0
        };
        api.set_events.bind(py).call1((self.id, wanted)).map(drop)
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
