//! `quell.SimpleQueue`: `queue.SimpleQueue` whose `get` can be interrupted.
//!
//! A queue of the core and nothing else. `put` never blocks, runs no Python code and may be called anywhere: in a finalizer, in a
//! signal handler, in the middle of another call of the same queue.

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use super::awaiting::Operation;
use super::call::{self, Method, Obj, Parameters, none, this, throw};
use super::items::{FifoItems, Items, get_slow};
use super::queue::get_arguments;
use super::wait::Patience;

/// A queue of any number of items, first in, first out, used like queue.SimpleQueue: put() never blocks, and may be called anywhere,
/// in a __del__ method or a signal handler too.
///
/// get() is an interruption point where it blocks. An interrupted get() has taken nothing; one that took an item returns
/// it, and the interrupt stays pending.
#[pyclass(frozen, subclass, weakref, module = "quell", name = "SimpleQueue")]
pub struct SimpleQueue {
    items: FifoItems,
}

#[pymethods]
impl SimpleQueue {
    // Arguments are for the `__init__` of a subclass.
    #[new]
    #[classmethod]
    #[pyo3(signature = (*args, **kwargs), text_signature = "()")]
    fn new(
        cls: &Bound<'_, PyType>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let given = !args.is_empty() || kwargs.is_some_and(|kwargs| !kwargs.is_empty());
        if given && cls.is(cls.py().get_type::<Self>()) {
            return Err(PyTypeError::new_err("SimpleQueue() takes no arguments"));
        }
        Ok(Self { items: FifoItems::unbounded() })
    }

    #[classmethod]
    fn __class_getitem__<'py>(
        cls: &Bound<'py, PyType>,
        item: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        super::generic_alias(cls, item)
    }

    /// How many items are in the queue. Out of date as soon as it is known.
    fn qsize(&self) -> usize {
        Items::len(&self.items)
    }

    /// Whether the queue has no items. Out of date as soon as it is known.
    fn empty(&self) -> bool {
        Items::len(&self.items) == 0
    }

    /// Put an item into the queue: the same as put().
    fn put_nowait(&self, item: Py<PyAny>) {
        self.put(item);
    }

    /// Remove and return the first item if there is one; otherwise raise Empty.
    fn get_nowait(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        slf.get().get(slf.as_ptr(), slf.py(), Patience::Try)
    }

    /// Remove and return the first item, as a task: item = await queue.get_async(). Waits for one if need be.
    ///
    /// A task that is cancelled while it waits has taken no item.
    fn get_async(slf: &Bound<'_, Self>) -> PyResult<Py<Operation>> {
        let queue = slf.clone().unbind();
        Operation::new(slf.py(), "get_async", async move {
            // SAFETY: an operation is polled and dropped attached.
            let got = unsafe { queue.get().items.whole() }.get_async().await;
            // Nobody can shut it down.
            got.map_err(|error| PyRuntimeError::new_err(error.to_string()))
        })
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        Err(PyTypeError::new_err(format!("cannot pickle '{}' object", super::type_name(slf))))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let mut result = Ok(());
        // Nobody runs Python code or asks for the GIL under the queue's lock, so this waits for a few instructions at most.
        Items::visit(&self.items, &mut |item| {
            if result.is_ok() {
                result = visit.call(item);
            }
        });
        result
    }

    fn __clear__(&self) {
        while Items::try_get(&self.items).is_ok() {}
    }
}

impl SimpleQueue {
    #[inline(always)]
    fn put(&self, item: Py<PyAny>) {
        // A queue without a limit that nobody can shut down refuses nothing.
        let put = Items::try_put(&self.items, item);
        debug_assert!(put.is_ok());
    }

    fn get(&self, slf: Obj, py: Python<'_>, patience: Patience) -> PyResult<Py<PyAny>> {
        match Items::try_get(&self.items) {
            Ok(item) => Ok(item),
            Err(_) => {
                get_slow(py, &self.items, slf, patience)?.map_err(|refusal| refusal.error(py))
            }
        }
    }
}

/// `SimpleQueue.put(item, block=True, timeout=None)`.
unsafe extern "C" fn put(slf: Obj, args: *const Obj, count: isize, keywords: Obj) -> Obj {
    // SAFETY: called by the method descriptor, attached, with an instance of SimpleQueue and a call's arguments.
    unsafe {
        let py = Python::assume_attached();
        let item = if count == 1 && keywords.is_null() {
            *args
        } else {
            static PARAMETERS: std::sync::OnceLock<Parameters<3>> = std::sync::OnceLock::new();
            let names = ["item", "block", "timeout"];
            let parameters = PARAMETERS.get_or_init(|| Parameters::new(py, "put", names));
            // Whether to wait and how long is accepted, and no matter.
            match parameters.bind(args, count, keywords) {
                Ok([item, ..]) if !item.is_null() => item,
                Ok(_) => return throw(parameters.missing(0)),
                Err(error) => return throw(error),
            }
        };
        this::<SimpleQueue>(slf).put(Bound::from_borrowed_ptr(py, item).unbind());
        none()
    }
}

/// `SimpleQueue.get(block=True, timeout=None)`.
unsafe extern "C" fn get(slf: Obj, args: *const Obj, count: isize, keywords: Obj) -> Obj {
    // SAFETY: as for `put`.
    unsafe {
        if count == 0
            && keywords.is_null()
            && let Ok(item) = Items::try_get(&this::<SimpleQueue>(slf).items)
        {
            return item.into_ptr();
        }
        get_waiting(slf, args, count, keywords)
    }
}

/// `get` with arguments, or where there is no item.
///
/// # Safety
/// As [`Parameters::bind`], and `slf` is a SimpleQueue.
#[cold]
#[inline(never)]
unsafe fn get_waiting(slf: Obj, args: *const Obj, count: isize, keywords: Obj) -> Obj {
    // SAFETY: the caller's promise.
    unsafe {
        let py = Python::assume_attached();
        let got = get_arguments(py, args, count, keywords)
            .and_then(|patience| this::<SimpleQueue>(slf).get(slf, py, patience));
        match got {
            Ok(item) => item.into_ptr(),
            Err(error) => throw(error),
        }
    }
}

const METHODS: &[Method] = &[call::keywords(c"put", put, PUT), call::keywords(c"get", get, GET)];

const PUT: &std::ffi::CStr = c"put($self, /, item, block=True, timeout=None)\n--\n\n\
    Put an item into the queue. Never blocks; block and timeout are there for code that uses a Queue as well.";

const GET: &std::ffi::CStr = c"get($self, /, block=True, timeout=None)\n--\n\n\
    Remove and return the first item, waiting for one if need be.\n\n\
    With block=False it does not wait, and with a timeout in seconds it waits at most so long; if there\n\
    was no item, Empty is raised.\n\n\
    An interruption point where it blocks; no item was taken if it is interrupted.";

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    crate::lazy::add_class::<SimpleQueue>(module)?;
    call::install::<SimpleQueue>(module.py(), METHODS)
}
