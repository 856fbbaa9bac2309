//! `_Pool`, the native base of `quell.ThreadPoolExecutor`: how a task is submitted.
//!
//! Nobody holds a lock while a task is submitted. What says that no more are taken is the queue itself: it is shut down, with the
//! executor, with the interpreter, when the executor is gone or broken; then nothing can be put, and workers get what is left.

use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

use super::call::Call;
use super::future::Future;
use super::worker::Crew;
use crate::delivery::gil_cell::GilCell;
use crate::lazy;
use crate::primitives::call::{self, Method, Obj, throw};
use crate::primitives::queue::{Put, Queue};
use crate::scopes::{Limit, limit};

/// What of an executor is native.
#[pyclass(frozen, subclass, module = "quell", name = "_Pool")]
struct Pool {
    open: GilCell<Option<Open>>,
}

/// What its tasks are made with.
struct Open {
    crew: Py<Crew>,
    limit: Limit,
    interrupts: bool,
}

impl Open {
    fn clone_ref(&self, py: Python<'_>) -> Self {
        Self { crew: self.crew.clone_ref(py), ..*self }
    }
}

#[pymethods]
impl Pool {
    // Arguments are for `__init__`.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { open: GilCell::new(None) }
    }

    /// Whose tasks these are, how long they may take, and whether cancel() ends them while they run.
    fn _open(
        &self,
        py: Python<'_>,
        crew: Py<Crew>,
        seconds: Option<&Bound<'_, PyAny>>,
        interrupts: bool,
    ) -> PyResult<()> {
        let open = Open { crew, limit: limit(seconds)?, interrupts };
        let before = self.open.with(py, |now| now.replace(open));
        drop(before);
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the collector runs attached.
        let py = unsafe { Python::assume_attached() };
        self.open.with(py, |open| open.as_ref().map_or(Ok(()), |open| visit.call(&open.crew)))
    }
}

/// Puts a call into the queue, and has somebody there to make it.
fn put<'py>(
    pool: &Bound<'py, Pool>,
    open: &Open,
    limit: Limit,
    call: Call,
) -> PyResult<Bound<'py, Future>> {
    let py = pool.py();
    let future = make(py)?;
    future.get().state.with(py, |s| {
        s.call = Some(call);
        s.limit = limit;
        s.interrupts = open.interrupts;
    });
    let crew = open.crew.bind(py).get();
    let claimed = crew.claim(py);
    if !claimed && has_room(pool)? {
        pool.call_method0(intern!(py, "_adjust_thread_count"))?;
    }
    let queue = crew.queue.bind(py);
    match Queue::give(queue, future.clone().into_any().unbind()) {
        Ok(Put::Done) => return Ok(future),
        Ok(Put::ShutDown) => {}
        // Interrupted: nothing was submitted.
        Err(error) => {
            if claimed {
                crew.is_idle(py);
            }
            return Err(error);
        }
    }
    Err(PyErr::from_value(pool.call_method0(intern!(py, "_refusal"))?))
}

/// Whether it may have more workers than it has.
fn has_room(pool: &Bound<'_, Pool>) -> PyResult<bool> {
    let py = pool.py();
    let workers = pool.getattr(intern!(py, "_threads"))?.len()?;
    let most: isize = pool.getattr(intern!(py, "_max_workers"))?.extract()?;
    Ok(workers.cast_signed() < most)
}

/// A `quell.Future`.
fn make(py: Python<'_>) -> PyResult<Bound<'_, Future>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = match CLASS.get(py) {
        Some(class) => class.bind(py),
        None => {
            let class = lazy::named(py, "Future")?.cast_into::<PyType>()?.unbind();
            CLASS.get_or_init(py, || class).bind(py)
        }
    };
    // SAFETY: attached. The class is one of ours, derived from `_Future`, whose `__new__` is the only one; it has no `__init__` that
    // does anything.
    unsafe {
        let class = class.as_ptr().cast::<ffi::PyTypeObject>();
        let Some(new) = (*class).tp_new else {
            return Err(call::runtime_error("quell.Future has no __new__"));
        };
        let nothing = ffi::PyTuple_New(0);
        let made = new(class, nothing, std::ptr::null_mut());
        ffi::Py_DECREF(nothing);
        Ok(Bound::from_owned_ptr_or_err(py, made)?.cast_into_unchecked::<Future>())
    }
}

/// # Safety
/// As of [`submit`].
unsafe fn submitted(
    slf: Obj,
    args: *const Obj,
    count: isize,
    names: Obj,
    method: &str,
    own_limit: impl FnOnce(Python<'_>) -> PyResult<Option<Limit>>,
) -> Obj {
    // SAFETY: the caller's promise.
    unsafe {
        let py = Python::assume_attached();
        let pool = Bound::from_borrowed_ptr(py, slf).cast_into_unchecked::<Pool>();
        let submitted = Call::new(py, method, args, count, names).and_then(|call| {
            let own_limit = own_limit(py)?;
            let Some(open) =
                pool.get().open.with(py, |open| open.as_ref().map(|o| o.clone_ref(py)))
            else {
                return Err(call::runtime_error("ThreadPoolExecutor.__init__() was not called"));
            };
            put(&pool, &open, own_limit.unwrap_or(open.limit), call)
        });
        match submitted {
            Ok(future) => future.into_ptr(),
            Err(error) => throw(error),
        }
    }
}

/// `ThreadPoolExecutor.submit(fn, /, *args, **kwargs)`.
unsafe extern "C" fn submit(slf: Obj, args: *const Obj, count: isize, names: Obj) -> Obj {
    // SAFETY: called by the method descriptor, attached, with an instance of Pool and a call's arguments.
    unsafe { submitted(slf, args, count, names, "submit", |_| Ok(None)) }
}

/// `ThreadPoolExecutor.submit_timeout(seconds, fn, /, *args, **kwargs)`.
unsafe extern "C" fn submit_timeout(slf: Obj, args: *const Obj, count: isize, names: Obj) -> Obj {
    // SAFETY: as for `submit`. The seconds, if they are there, come before the rest.
    unsafe {
        if count < 2 {
            return throw(pyo3::exceptions::PyTypeError::new_err(
                "submit_timeout() missing a required positional argument: 'seconds' or 'fn'",
            ));
        }
        submitted(slf, args.add(1), count - 1, names, "submit_timeout", |py| {
            let seconds = Bound::from_borrowed_ptr(py, *args);
            limit((!seconds.is_none()).then_some(&seconds)).map(Some)
        })
    }
}

const METHODS: &[Method] = &[
    call::keywords(
        c"submit",
        submit,
        c"submit($self, fn, /, *args, **kwargs)\n--\n\n\
          Have a worker call fn(*args, **kwargs). Returns a Future for the result.\n\n\
          Waits only if the executor has a queue_size and as many tasks wait: an interruption point; who is interrupted there\n\
          has submitted nothing. RuntimeError after shutdown(), BrokenThreadPool if an initializer has failed.",
    ),
    call::keywords(
        c"submit_timeout",
        submit_timeout,
        c"submit_timeout($self, seconds, fn, /, *args, **kwargs)\n--\n\n\
          As submit(), for a task that may run for so many seconds, whatever the executor's limit; None means no limit.\n\n\
          The time counts from when a worker begins with it. Past it the task is interrupted wherever it is, and ends with\n\
          quell.Timeout.",
    ),
];

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    crate::lazy::add_class::<Pool>(module)?;
    call::install::<Pool>(module.py(), METHODS)
}
