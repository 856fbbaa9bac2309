//! `quell.Queue`: `queue.Queue` on the core's queue.
//!
//! No operation leaves anything half done: a `get` that was interrupted took no item, and one that took an item returns it, whatever
//! is pending. The core keeps the items, the count of unfinished tasks and the flag of the shut-down under one
//! short lock that no Python code ever runs under. The garbage collector sees the items.
//!
//! The exceptions are the standard library's own, found when one is raised for the first time: importing its module costs
//! more than importing this package.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};

use pyo3::exceptions::{PyException, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};
use quell::queue::{GetError, PutError};
use quell::wait::WaitError;

use super::call::{self, Method, Obj, Parameters, none, this, throw};
use super::wait::{Patience, block};

/// Queue(maxsize=0)
/// --
///
/// A queue of items for any number of threads at both ends, first in, first out; used like queue.Queue.
///
/// put() waits while there are maxsize items or more; with maxsize 0 or less there is no such limit. Where they block, put(),
/// get() and join() are interruption points. An interrupted put() has put nothing and an interrupted get() has taken
/// nothing; one that took an item returns it, and the interrupt stays pending.
///
/// A subclass may not replace how items are kept (_init, _qsize, _put, _get); use queue.Queue for that.
#[pyclass(frozen, subclass, weakref, module = "quell", name = "Queue")]
pub struct Queue {
    raw: quell::Queue<Py<PyAny>>,
    // As given, for people to read; what counts is the core's capacity.
    maxsize: AtomicIsize,
}

/// Why nothing was put or taken.
enum Refusal {
    Full,
    Empty,
    ShutDown,
}

impl Refusal {
    #[cold]
    fn error(self, py: Python<'_>) -> PyErr {
        let name = match self {
            Self::Full => "Full",
            Self::Empty => "Empty",
            Self::ShutDown => "ShutDown",
        };
        match _queue_exception(py, name) {
            Ok(class) => match class.into_bound(py).cast_into::<PyType>() {
                Ok(class) => PyErr::from_type(class, ()),
                Err(error) => error.into(),
            },
            Err(error) => error,
        }
    }
}

/// The exception of this name from the standard library, or the package's own `ShutDown` where that has none.
#[pyfunction]
fn _queue_exception(py: Python<'_>, name: &str) -> PyResult<Py<PyAny>> {
    static CLASSES: [PyOnceLock<Py<PyAny>>; 3] =
        [PyOnceLock::new(), PyOnceLock::new(), PyOnceLock::new()];
    let slot = match name {
        "Full" => 0,
        "Empty" => 1,
        _ => 2,
    };
    let class = CLASSES[slot].get_or_try_init(py, || {
        if name == "ShutDown" && !cfg!(Py_3_13) {
            let doc = c"Raised by put() and get() of a queue that was shut down.";
            let base = py.get_type::<PyException>();
            return Ok(
                PyErr::new_type(py, c"quell.ShutDown", Some(doc), Some(&base), None)?.into_any()
            );
        }
        Ok::<_, PyErr>(py.import("queue")?.getattr(name)?.unbind())
    })?;
    Ok(class.clone_ref(py))
}

impl Queue {
    /// Puts without waiting, or says what was in the way and gives the item back.
    #[inline(always)]
    fn try_put(&self, item: Py<PyAny>) -> Result<(), (Py<PyAny>, Refusal)> {
        self.raw.try_put(item).map_err(|error| match error {
            PutError::ShutDown(item) => (item, Refusal::ShutDown),
            other => (other.into_item(), Refusal::Full),
        })
    }

    #[cold]
    #[inline(never)]
    fn put_slow(&self, py: Python<'_>, item: Py<PyAny>, patience: Patience) -> PyResult<()> {
        if patience == Patience::Try {
            return Err(Refusal::Full.error(py));
        }
        let mut item = Some(item);
        let put = block(py, &self.raw, patience.deadline(), |wait| {
            let Some(this) = item.take() else { return Ok(false) };
            let error = match self.raw.put_with(this, wait) {
                Ok(()) => return Ok(true),
                Err(error) => error,
            };
            let (back, result) = match error {
                PutError::ShutDown(back) => (back, Ok(false)),
                PutError::Full(back) | PutError::TimedOut(back) => (back, Err(WaitError::TimedOut)),
                PutError::Signalled(back) => (back, Err(WaitError::Signalled)),
                PutError::Interrupted(back, interrupted) => {
                    (back, Err(WaitError::Interrupted(interrupted)))
                }
            };
            item = Some(back);
            result
        })?;
        match put {
            Some(true) => Ok(()),
            Some(false) => Err(Refusal::ShutDown.error(py)),
            None => Err(Refusal::Full.error(py)),
        }
    }

    fn put_with(
        &self,
        py: Python<'_>,
        item: Py<PyAny>,
        patience: impl FnOnce(bool) -> PyResult<Patience>,
    ) -> PyResult<()> {
        let patience = patience(self.maxsize.load(Relaxed) > 0)?;
        match self.try_put(item) {
            Ok(()) => Ok(()),
            Err((item, Refusal::Full)) => self.put_slow(py, item, patience),
            Err((_, refusal)) => Err(refusal.error(py)),
        }
    }

    #[inline(always)]
    fn try_get(&self) -> Result<Py<PyAny>, Refusal> {
        self.raw.try_get().map_err(|error| match error {
            GetError::ShutDown => Refusal::ShutDown,
            _ => Refusal::Empty,
        })
    }

    #[cold]
    #[inline(never)]
    fn get_slow(&self, py: Python<'_>, patience: Patience) -> PyResult<Py<PyAny>> {
        if patience == Patience::Try {
            return Err(Refusal::Empty.error(py));
        }
        let got =
            block(py, &self.raw, patience.deadline(), |wait| match self.raw.get_with(wait) {
                Ok(item) => Ok(Some(item)),
                Err(GetError::ShutDown) => Ok(None),
                Err(GetError::Empty | GetError::TimedOut) => Err(WaitError::TimedOut),
                Err(GetError::Signalled) => Err(WaitError::Signalled),
                Err(GetError::Interrupted(interrupted)) => Err(WaitError::Interrupted(interrupted)),
            })?;
        match got {
            Some(Some(item)) => Ok(item),
            Some(None) => Err(Refusal::ShutDown.error(py)),
            None => Err(Refusal::Empty.error(py)),
        }
    }

    #[inline(always)]
    fn get_with(&self, py: Python<'_>, patience: Patience) -> PyResult<Py<PyAny>> {
        match self.try_get() {
            Ok(item) => Ok(item),
            Err(Refusal::Empty) => self.get_slow(py, patience),
            Err(refusal) => Err(refusal.error(py)),
        }
    }
}

#[pymethods]
impl Queue {
    // Arguments are for `__init__`, a subclass's or the one below.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { raw: quell::Queue::unbounded(), maxsize: AtomicIsize::new(0) }
    }

    #[pyo3(signature = (maxsize=0))]
    fn __init__(&self, maxsize: isize) {
        self.set_maxsize(maxsize);
    }

    #[classmethod]
    #[pyo3(signature = (**kwargs))]
    fn __init_subclass__(
        cls: &Bound<'_, PyType>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        for name in ["_init", "_qsize", "_put", "_get"] {
            if cls.getattr("__dict__")?.contains(name)? {
                return Err(PyTypeError::new_err(format!(
                    "{} defines {name}(), but quell.Queue keeps its items itself; derive from queue.Queue",
                    super::qualified_name(cls)
                )));
            }
        }
        let object = cls.py().get_type::<PyAny>();
        object.getattr("__init_subclass__")?.call((), kwargs).map(drop)
    }

    #[classmethod]
    fn __class_getitem__<'py>(
        cls: &Bound<'py, PyType>,
        item: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: attached, two live objects; a new reference or an error.
        unsafe {
            Bound::from_owned_ptr_or_err(
                cls.py(),
                ffi::Py_GenericAlias(cls.as_ptr(), item.as_ptr()),
            )
        }
    }

    /// How many items the queue takes; 0 or less: any number. May be changed.
    #[getter]
    fn maxsize(&self) -> isize {
        self.maxsize.load(Relaxed)
    }

    #[setter]
    fn set_maxsize(&self, maxsize: isize) {
        self.maxsize.store(maxsize, Relaxed);
        self.raw.set_capacity(NonZeroUsize::new(usize::try_from(maxsize).unwrap_or(0)));
    }

    /// How many items were put and not yet reported done.
    #[getter]
    fn unfinished_tasks(&self) -> usize {
        self.raw.unfinished()
    }

    /// Whether the queue was shut down.
    #[getter]
    fn is_shutdown(&self) -> bool {
        self.raw.is_shut_down()
    }

    /// How many items are in the queue. Out of date as soon as it is known.
    fn qsize(&self) -> usize {
        self.raw.len()
    }

    /// Whether the queue has no items. Out of date as soon as it is known.
    fn empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Whether the queue has no room. Out of date as soon as it is known.
    fn full(&self) -> bool {
        let maxsize = self.maxsize.load(Relaxed);
        usize::try_from(maxsize).is_ok_and(|maxsize| 0 < maxsize && maxsize <= self.raw.len())
    }

    /// Put an item into the queue if there is room; otherwise raise Full.
    fn put_nowait(&self, py: Python<'_>, item: Py<PyAny>) -> PyResult<()> {
        self.put_with(py, item, |_| Ok(Patience::Try))
    }

    /// Remove and return the first item if there is one; otherwise raise Empty.
    fn get_nowait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.get_with(py, Patience::Try)
    }

    /// Say that the work on an item that was got is done. When all of it is, join() returns.
    ///
    /// ValueError if it is called more often than items were put.
    fn task_done(&self) -> PyResult<()> {
        self.raw.task_done().map_err(|_| PyValueError::new_err("task_done() called too many times"))
    }

    /// Block until every item that was put has been got and reported done. An interruption point where it blocks.
    fn join(&self, py: Python<'_>) -> PyResult<()> {
        block(py, &self.raw, None, |wait| self.raw.join_with(wait)).map(drop)
    }

    /// Shut the queue down: from now on put() raises ShutDown, and so does get() once the queue is empty. Who waits is woken.
    ///
    /// With immediate=True the items that are left are dropped, and count as done.
    #[pyo3(signature = (immediate=false))]
    fn shutdown(&self, immediate: bool) {
        self.raw.shutdown(immediate);
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        Err(PyTypeError::new_err(format!("cannot pickle '{}' object", super::type_name(slf))))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let mut result = Ok(());
        // Nobody runs Python code or asks for the GIL under the queue's lock, so this waits for a few instructions at most.
        self.raw.visit(|item| {
            if result.is_ok() {
                result = visit.call(item);
            }
        });
        result
    }

    fn __clear__(&self) {
        while self.try_get().is_ok() {}
    }
}

/// `Queue.put(item, block=True, timeout=None)`.
unsafe extern "C" fn put(slf: Obj, args: *const Obj, count: isize, keywords: Obj) -> Obj {
    // SAFETY: called by the method descriptor, attached, with an instance of Queue and a call's arguments.
    unsafe {
        let py = Python::assume_attached();
        let queue = this::<Queue>(slf);
        let result = if count == 1 && keywords.is_null() {
            match queue.try_put(Bound::from_borrowed_ptr(py, *args).unbind()) {
                Ok(()) => return none(),
                Err((item, Refusal::Full)) => queue.put_slow(py, item, Patience::Forever),
                Err((_, refusal)) => Err(refusal.error(py)),
            }
        } else {
            put_arguments(py, queue, args, count, keywords)
        };
        match result {
            Ok(()) => none(),
            Err(error) => throw(error),
        }
    }
}

/// # Safety
/// As [`Parameters::bind`].
unsafe fn put_arguments(
    py: Python<'_>,
    queue: &Queue,
    args: *const Obj,
    count: isize,
    keywords: Obj,
) -> PyResult<()> {
    static PARAMETERS: std::sync::OnceLock<Parameters<3>> = std::sync::OnceLock::new();
    let parameters =
        PARAMETERS.get_or_init(|| Parameters::new(py, "put", ["item", "block", "timeout"]));
    // SAFETY: the caller's promise; the item is an argument of the running call.
    unsafe {
        let [item, block, timeout] = parameters.bind(args, count, keywords)?;
        if item.is_null() {
            return Err(parameters.missing(0));
        }
        queue.put_with(py, Bound::from_borrowed_ptr(py, item).unbind(), |bounded| {
            // As in the standard library, a queue without a limit does not look at the time-out.
            if bounded { Patience::of_queue(block, timeout) } else { Ok(Patience::Forever) }
        })
    }
}

/// `Queue.get(block=True, timeout=None)`.
unsafe extern "C" fn get(slf: Obj, args: *const Obj, count: isize, keywords: Obj) -> Obj {
    // SAFETY: as for `put`.
    unsafe {
        let py = Python::assume_attached();
        let queue = this::<Queue>(slf);
        let patience = if count == 0 && keywords.is_null() {
            Ok(Patience::Forever)
        } else {
            get_arguments(py, args, count, keywords)
        };
        match patience.and_then(|patience| queue.get_with(py, patience)) {
            Ok(item) => item.into_ptr(),
            Err(error) => throw(error),
        }
    }
}

/// # Safety
/// As [`Parameters::bind`].
unsafe fn get_arguments(
    py: Python<'_>,
    args: *const Obj,
    count: isize,
    keywords: Obj,
) -> PyResult<Patience> {
    static PARAMETERS: std::sync::OnceLock<Parameters<2>> = std::sync::OnceLock::new();
    let parameters = PARAMETERS.get_or_init(|| Parameters::new(py, "get", ["block", "timeout"]));
    // SAFETY: the caller's promise.
    unsafe {
        let [block, timeout] = parameters.bind(args, count, keywords)?;
        Patience::of_queue(block, timeout)
    }
}

const METHODS: &[Method] = &[call::keywords(c"put", put, PUT), call::keywords(c"get", get, GET)];

const PUT: &std::ffi::CStr = c"put($self, /, item, block=True, timeout=None)\n--\n\n\
    Put an item into the queue, waiting for room if need be.\n\n\
    With block=False it does not wait, and with a timeout in seconds it waits at most so long; if there\n\
    was no room, Full is raised. ShutDown is raised if the queue was shut down.\n\n\
    An interruption point where it blocks; the item was not put if it is interrupted.";

const GET: &std::ffi::CStr = c"get($self, /, block=True, timeout=None)\n--\n\n\
    Remove and return the first item, waiting for one if need be.\n\n\
    With block=False it does not wait, and with a timeout in seconds it waits at most so long; if there\n\
    was no item, Empty is raised. ShutDown is raised if the queue was shut down and is empty.\n\n\
    An interruption point where it blocks; no item was taken if it is interrupted.";

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Queue>()?;
    module.add_function(wrap_pyfunction!(_queue_exception, module)?)?;
    call::install::<Queue>(module.py(), METHODS)
}
