//! What is known of a thread, as Python sees it: records that do not change, and keep no object alive.

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::facts::{Facts, Held, Thing, Waits};
use super::kernel::State;
use super::text;
use crate::cpython::snapshot::Frame;

/// A line of a program.
#[pyclass(frozen, eq, hash, module = "quell", name = "Place")]
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// The file, as the code names it.
    #[pyo3(get)]
    file: String,
    /// The number of the line.
    #[pyo3(get)]
    line: u32,
    /// The qualified name of the function; `<module>` of a file's own code.
    #[pyo3(get)]
    function: String,
}

impl From<&Frame> for Place {
    fn from(frame: &Frame) -> Place {
        let Frame { function, file, line } = frame.clone();
        Place { file, line, function }
    }
}

#[pymethods]
impl Place {
    fn __str__(&self) -> String {
        format!("{}:{} in {}", self.file, self.line, self.function)
    }

    fn __repr__(&self) -> String {
        format!("<quell.Place {}>", self.__str__())
    }
}

/// What was known of a thread when quell.threads() looked. Does not change, and keeps no frame and no object alive.
#[pyclass(frozen, module = "quell", name = "ThreadInfo")]
pub(crate) struct ThreadInfo(Facts);

impl ThreadInfo {
    pub(crate) fn new(py: Python<'_>, mut facts: Facts) -> PyResult<Py<ThreadInfo>> {
        facts.weaken(py);
        Py::new(py, ThreadInfo(facts))
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.0
    }
}

#[pymethods]
impl ThreadInfo {
    /// What threading.get_ident() returns in the thread. The system uses it again when the thread has ended.
    #[getter]
    fn ident(&self) -> u64 {
        self.0.ident
    }

    /// The kernel's number of the thread; 0 of one that has ended.
    #[getter]
    fn native_id(&self) -> u64 {
        self.0.native_id
    }

    /// quell's number of the thread, which is never used again; None of a thread that quell has had nothing to do with.
    #[getter]
    fn id(&self) -> Option<u64> {
        self.0.id
    }

    /// The name of its threading.Thread; None of a thread that threading does not know.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// Whether the process ends without waiting for it; None of a thread that threading does not know.
    #[getter]
    fn daemon(&self) -> Option<bool> {
        self.0.daemon
    }

    /// 'running': it runs Python code, or waits for its turn to. 'blocked': it sleeps; see call and waits. 'native': it executes code that is
    /// not Python's, without the interpreter's lock. 'finished': it has ended with something in hand.
    #[getter]
    fn state(&self) -> &'static str {
        match self.0.state {
            State::Ended => "finished",
            state => state.word(),
        }
    }

    /// Where it is blocked: 'Lock', 'Queue', … in an operation of quell's; 'sleep', 'read', 'a lock', … in the system. None if it is not.
    #[getter]
    fn call(&self) -> Option<&str> {
        match (&self.0.waits, self.0.state) {
            (Some(waits), _) => Some(&waits.thing.kind),
            (None, State::Blocked(call)) => Some(call),
            _ => None,
        }
    }

    /// What it waits for, if it is blocked in an operation of quell's.
    #[getter]
    fn waits(slf: &Bound<'_, Self>) -> Option<Waiting> {
        slf.get().0.waits.as_ref().map(|_| Waiting(slf.clone().unbind()))
    }

    /// The quell locks that it holds, and permits that its with statements have; the oldest first.
    #[getter]
    fn holds<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let holds = (0..slf.get().0.holds.len()).map(|at| Holding(slf.clone().unbind(), at));
        PyTuple::new(slf.py(), holds.collect::<Vec<_>>())
    }

    /// The interrupts that are pending, the first in line first: the names of the exceptions.
    #[getter]
    fn pending<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.0.pending)
    }

    /// Whether it is in a mask: interrupts are raised only where it blocks.
    #[getter]
    fn masked(&self) -> bool {
        self.0.masked
    }

    /// Whether it is in a shield: no interrupts are raised.
    #[getter]
    fn shielded(&self) -> bool {
        self.0.shielded
    }

    /// Where it is; None if it runs no Python code.
    #[getter]
    fn place(&self) -> Option<Place> {
        self.0.place().map(Place::from)
    }

    /// Its stack, the innermost function first. Cut after 256.
    #[getter]
    fn stack<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.stack.iter().map(Place::from).collect::<Vec<_>>())
    }

    fn __repr__(&self) -> String {
        format!("<quell.ThreadInfo {}>", text::headline(&self.0))
    }
}

/// What a thread waited for when quell.threads() looked.
#[pyclass(frozen, module = "quell", name = "Waiting")]
pub(crate) struct Waiting(Py<ThreadInfo>);

impl Waiting {
    fn waits(&self) -> &Waits {
        self.0.get().facts().waits.as_ref().expect("it was made of one that waits")
    }

    fn thing(&self) -> &Thing {
        &self.waits().thing
    }
}

#[pymethods]
impl Waiting {
    /// The class of what it waits for, in a word; 'Thread' for a thread's end.
    #[getter]
    fn kind(&self) -> &str {
        &self.thing().kind
    }

    /// The id() of what it waits for; 0 of what is no object.
    #[getter]
    fn address(&self) -> usize {
        self.thing().address
    }

    /// What it waits for, if that still exists; it is not kept alive by this.
    #[getter]
    fn object(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.thing().object(py)
    }

    /// Since when, on the clock of time.monotonic().
    #[getter]
    fn since(&self) -> f64 {
        self.waits().since
    }

    /// For how many seconds it had waited.
    #[getter]
    fn seconds(&self) -> f64 {
        self.waits().seconds
    }

    /// Whether the wait has a time-out.
    #[getter]
    fn timed(&self) -> bool {
        self.waits().limited
    }

    /// The ident of the thread that holds it, or whose end it is. None if nobody does, or such a thing has no holder.
    #[getter]
    fn holder(&self) -> Option<u64> {
        self.waits().holder.as_ref().map(|holder| holder.ident)
    }

    /// Where the holder acquired it, if that is known.
    #[getter]
    fn taken(&self) -> Option<Place> {
        self.waits().holder.as_ref()?.taken.as_ref().map(Place::from)
    }

    fn __repr__(&self) -> String {
        format!("<quell.Waiting: {}>", text::waits(self.0.get().facts()).unwrap_or_default())
    }
}

/// A lock, or a permit of a with statement, that a thread held when quell.threads() looked.
#[pyclass(frozen, module = "quell", name = "Holding")]
pub(crate) struct Holding(Py<ThreadInfo>, usize);

impl Holding {
    fn held(&self) -> &Held {
        &self.0.get().facts().holds[self.1]
    }
}

#[pymethods]
impl Holding {
    /// Its class, in a word.
    #[getter]
    fn kind(&self) -> &str {
        &self.held().thing.kind
    }

    /// Its id().
    #[getter]
    fn address(&self) -> usize {
        self.held().thing.address
    }

    /// The lock, if it still exists; it is not kept alive by this.
    #[getter]
    fn object(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.held().thing.object(py)
    }

    /// Where it was acquired. None where the code that did it is gone.
    #[getter]
    fn taken(&self) -> Option<Place> {
        self.held().taken.as_ref().map(Place::from)
    }

    fn __repr__(&self) -> String {
        format!("<quell.Holding: {}>", text::held(self.held()))
    }
}
