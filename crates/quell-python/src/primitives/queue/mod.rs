//! `quell.Queue`, `quell.LifoQueue`, `quell.PriorityQueue`: those of the module `queue`, whose waits can be interrupted.
//!
//! A queue keeps its items in a queue of the core (`items`) as long as nobody but its own methods touches them. In the
//! standard library a queue is also a container, a mutex and three conditions that code may use, and methods that a subclass may
//! replace; a queue of which that is asked for becomes an open one ([`open`]): it moves its items into the container, once
//! and for good, and whoever waits goes on waiting there. A priority queue is open from the beginning, because its
//! order is Python code.

mod calls;
mod direct;
mod heap;
mod lean;
mod open;
mod operations;
mod refusal;
mod tasks;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use super::awaiting::Operation;
use super::call;
use super::condition::Condition;
use super::items::{Items, outside};
use super::lock::Lock;
use super::wait::{Patience, block_for};
use crate::delivery::want::{Kind, What};
pub(super) use calls::get_arguments;
pub(crate) use direct::{Put, Taken};
use lean::{Lean, Order};
use open::{Open, Overrides, too_many_done};
use operations::Operations;
pub(super) use refusal::Refusal;

/// A queue of items for any number of threads at both ends, first in, first out; used like queue.Queue.
///
/// put() waits while there are maxsize items or more; with maxsize 0 or less there is no such limit. Where they block, put(),
/// get() and join() are interruption points. An interrupted put() has put nothing and an interrupted get() has taken
/// nothing; one that took an item returns it, and the interrupt stays pending.
///
/// A subclass may replace how items are kept, with _init(maxsize), _qsize(), _put(item) and _get(). They run with
/// the queue's mutex held, and are not interrupted.
#[pyclass(frozen, subclass, weakref, dict, module = "quell", name = "Queue")]
pub struct Queue {
    lean: Lean,
    order: Order,
    /// From then on the queue is this, and `lean` is retired.
    open: OnceLock<Box<Open>>,
    // As given, for people to read; what counts for a lean queue is the core's capacity.
    maxsize: AtomicIsize,
    /// False in memory that holds no queue yet: CPython 3.11 may collect garbage between the allocation of an object, in which it
    /// makes a dictionary too, and the moment its value is written.
    made: bool,
}

/// A queue that gives back the newest item first; used like queue.LifoQueue. Otherwise a Queue.
#[pyclass(frozen, subclass, extends = Queue, module = "quell", name = "LifoQueue")]
pub struct LifoQueue;

/// A queue that gives back the smallest item first; used like queue.PriorityQueue. Otherwise a Queue.
///
/// Items are compared with <. If a comparison raises, or is interrupted, nothing has been put or taken.
#[pyclass(frozen, subclass, extends = Queue, module = "quell", name = "PriorityQueue")]
pub struct PriorityQueue;

impl Queue {
    fn of_order(class: &Bound<'_, PyType>, order: Order) -> PyResult<Self> {
        let plain = Overrides::default();
        let overrides = if is_ours(class) { plain } else { Overrides::of(class)? };
        let maxsize = AtomicIsize::new(0);
        if overrides == plain && order != Order::Priority {
            return Ok(Self {
                lean: Lean::new(order),
                order,
                open: OnceLock::new(),
                maxsize,
                made: true,
            });
        }
        let open = Open::new(class.py(), order, overrides)?;
        Ok(Self {
            lean: Lean::None,
            order,
            open: OnceLock::from(Box::new(open)),
            maxsize,
            made: true,
        })
    }

    fn maxsize(&self) -> isize {
        self.maxsize.load(Relaxed)
    }

    fn body(&self) -> Body<'_> {
        match (self.open.get(), self.lean.items()) {
            (Some(open), _) => Body::Open(open),
            (None, Some(items)) => Body::Lean(items),
            (None, None) => unreachable!("what is not lean is open from the beginning"),
        }
    }
}

/// What a queue is now.
enum Body<'a> {
    Lean(&'a dyn Items),
    Open(&'a Open),
}

/// Whether it is one of the classes of this file, and not one derived from them.
fn is_ours(class: &Bound<'_, PyType>) -> bool {
    let py = class.py();
    class.is(py.get_type::<Queue>())
        || class.is(py.get_type::<LifoQueue>())
        || class.is(py.get_type::<PriorityQueue>())
}

/// Up to 3.12 the interpreter gives a new object a dictionary of attributes at once if there is room for one. CPython 3.12 then
/// looks into it at each call of a method; without one it knows the method from the call before, and an attribute that is set
/// makes a dictionary again. With 3.11 it is the other way round: it knows the methods of an object that has its dictionary.
fn shed_dict(slf: &Bound<'_, Queue>) {
    if cfg!(not(Py_3_12)) {
        return;
    }
    // SAFETY: a live object whose class, or a base of it, has room for a dictionary at that offset: null, or owned by the
    // object. An empty one is dropped, which runs no code.
    unsafe {
        let offset = (*ffi::Py_TYPE(slf.as_ptr())).tp_dictoffset;
        if offset > 0 {
            let place = slf.as_ptr().byte_offset(offset).cast::<*mut ffi::PyObject>();
            if !(*place).is_null() && ffi::PyDict_Size(*place) == 0 {
                ffi::Py_CLEAR(place);
            }
        }
    }
}

#[pymethods]
impl Queue {
    // Arguments are for `__init__`, a subclass's or the one below.
    #[new]
    #[classmethod]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(maxsize=0)")]
    fn new(
        cls: &Bound<'_, PyType>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        Self::of_order(cls, Order::Fifo)
    }

    #[pyo3(signature = (maxsize=0))]
    fn __init__(slf: &Bound<'_, Self>, maxsize: isize) -> PyResult<()> {
        shed_dict(slf);
        slf.get().set_maxsize(maxsize);
        slf.get().open.get().map_or(Ok(()), |open| open.initialize(slf, maxsize))
    }

    #[classmethod]
    fn __class_getitem__<'py>(
        cls: &Bound<'py, PyType>,
        item: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        super::generic_alias(cls, item)
    }

    /// How many items the queue takes; 0 or less: any number. May be changed.
    #[getter]
    fn get_maxsize(&self) -> isize {
        self.maxsize()
    }

    #[setter]
    fn set_maxsize(&self, maxsize: isize) {
        self.maxsize.store(maxsize, Relaxed);
        self.lean.set_maxsize(maxsize);
    }

    /// How many items were put and not yet reported done.
    #[getter]
    fn unfinished_tasks(&self) -> isize {
        match self.body() {
            Body::Lean(items) => items.unfinished().cast_signed(),
            Body::Open(open) => open.unfinished(),
        }
    }

    #[setter]
    fn set_unfinished_tasks(slf: &Bound<'_, Self>, count: isize) -> PyResult<()> {
        slf.opened().map(|open| open.set_unfinished(count))
    }

    /// Whether the queue was shut down.
    #[getter]
    fn is_shutdown(&self) -> bool {
        match self.body() {
            Body::Lean(items) => items.is_shut_down(),
            Body::Open(open) => open.is_shut_down(),
        }
    }

    /// What holds the items: a deque, or a list that is a heap for a PriorityQueue. To be used with the mutex held.
    #[getter]
    fn queue<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.opened()?.container(slf)
    }

    #[setter]
    fn set_queue(slf: &Bound<'_, Self>, container: Py<PyAny>) -> PyResult<()> {
        slf.opened().map(|open| open.set_container(slf.py(), container))
    }

    /// The lock that is held while items are put or taken.
    #[getter]
    fn mutex(slf: &Bound<'_, Self>) -> PyResult<Py<Lock>> {
        slf.opened().map(|open| open.mutex.clone_ref(slf.py()))
    }

    /// Told for each item that is put. A Condition of the mutex.
    #[getter]
    fn not_empty(slf: &Bound<'_, Self>) -> PyResult<Py<Condition>> {
        slf.opened().map(|open| open.not_empty.clone_ref(slf.py()))
    }

    /// Told for each item that is taken. A Condition of the mutex.
    #[getter]
    fn not_full(slf: &Bound<'_, Self>) -> PyResult<Py<Condition>> {
        slf.opened().map(|open| open.not_full.clone_ref(slf.py()))
    }

    /// Told when no task is unfinished any more. A Condition of the mutex.
    #[getter]
    fn all_tasks_done(slf: &Bound<'_, Self>) -> PyResult<Py<Condition>> {
        slf.opened().map(|open| open.all_tasks_done.clone_ref(slf.py()))
    }

    /// How many items are in the queue. Out of date as soon as it is known.
    fn qsize(slf: &Bound<'_, Self>) -> PyResult<isize> {
        match slf.get().body() {
            Body::Lean(items) => Ok(items.len().cast_signed()),
            Body::Open(open) => open.len(slf),
        }
    }

    /// Whether the queue has no items. Out of date as soon as it is known.
    fn empty(slf: &Bound<'_, Self>) -> PyResult<bool> {
        Self::qsize(slf).map(|len| len == 0)
    }

    /// Whether the queue has no room. Out of date as soon as it is known.
    fn full(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let len = Self::qsize(slf)?;
        let maxsize = slf.get().maxsize();
        Ok(0 < maxsize && maxsize <= len)
    }

    /// Put an item into the queue if there is room; otherwise raise Full.
    fn put_nowait(slf: &Bound<'_, Self>, item: Py<PyAny>) -> PyResult<()> {
        if is_ours(&slf.get_type()) {
            return slf.put_object(item, Patience::Try);
        }
        let py = slf.py();
        let keywords = PyDict::new(py);
        keywords.set_item(intern!(py, "block"), false)?;
        slf.call_method(intern!(py, "put"), (item,), Some(&keywords)).map(drop)
    }

    /// Remove and return the next item if there is one; otherwise raise Empty.
    fn get_nowait(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        if is_ours(&slf.get_type()) {
            return slf.get_object(Patience::Try);
        }
        let py = slf.py();
        let keywords = PyDict::new(py);
        keywords.set_item(intern!(py, "block"), false)?;
        slf.call_method(intern!(py, "get"), (), Some(&keywords)).map(Bound::unbind)
    }

    /// Say that the work on an item that was got is done. When all of it is, join() returns.
    ///
    /// ValueError if it is called more often than items were put.
    fn task_done(slf: &Bound<'_, Self>) -> PyResult<()> {
        match slf.get().body() {
            Body::Lean(items) if items.task_done() => Ok(()),
            Body::Lean(_) => Err(too_many_done()),
            Body::Open(open) => open.task_done(slf),
        }
    }

    /// Block until every item that was put has been got and reported done. An interruption point where it blocks.
    fn join(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        if let Body::Lean(items) = this.body() {
            let what = What::object(Kind::Queue, slf.as_ptr());
            outside(items, || {
                block_for(slf.py(), items, what, None, |wait| items.join_with(wait))
            })?;
        }
        // It may have been opened meanwhile, and then nothing was done.
        this.open.get().map_or(Ok(()), |open| open.join(slf))
    }

    /// Put an item into the queue, as a task: await queue.put_async(item). Waits for room if need be.
    ///
    /// A task that is cancelled while it waits has not put the item.
    fn put_async(slf: &Bound<'_, Self>, item: Py<PyAny>) -> PyResult<Py<Operation>> {
        tasks::put(slf, item)
    }

    /// Remove and return the next item, as a task: item = await queue.get_async(). Waits for one if need be.
    ///
    /// A task that is cancelled while it waits has taken no item.
    fn get_async(slf: &Bound<'_, Self>) -> PyResult<Py<Operation>> {
        tasks::get(slf)
    }

    /// Wait until every item that was put has been got and reported done, as a task: await queue.join_async().
    fn join_async(slf: &Bound<'_, Self>) -> PyResult<Py<Operation>> {
        tasks::join(slf)
    }

    /// Shut the queue down: from now on put() raises ShutDown, and so does get() once the queue is empty. Who waits is woken.
    ///
    /// With immediate=True the items that are left are dropped, and count as done.
    #[pyo3(signature = (immediate=false))]
    fn shutdown(slf: &Bound<'_, Self>, immediate: bool) -> PyResult<()> {
        match slf.get().body() {
            Body::Lean(items) => {
                items.shutdown(immediate);
                Ok(())
            }
            Body::Open(open) => open.shutdown(slf, immediate),
        }
    }

    // What a subclass may replace. Called with the mutex held.

    fn _init(slf: &Bound<'_, Self>, _maxsize: &Bound<'_, PyAny>) -> PyResult<()> {
        let open = slf.opened()?;
        open.empty_container(slf.py()).map(|container| open.set_container(slf.py(), container))
    }

    fn _qsize(slf: &Bound<'_, Self>) -> PyResult<isize> {
        slf.opened()?.own_qsize(slf)
    }

    fn _put(slf: &Bound<'_, Self>, item: &Bound<'_, PyAny>) -> PyResult<()> {
        slf.opened()?.own_put(slf, item)
    }

    fn _get<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.opened()?.own_get(slf)
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        Err(PyTypeError::new_err(format!("cannot pickle '{}' object", super::type_name(slf))))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.made {
            return Ok(());
        }
        let mut result = Ok(());
        if let Some(items) = self.lean.items() {
            // Nobody runs Python code or asks for the GIL under the queue's lock, so this waits for a few instructions.
            items.visit(&mut |item| {
                if result.is_ok() {
                    result = visit.call(item);
                }
            });
        }
        result.and_then(|()| self.open.get().map_or(Ok(()), |open| open.traverse(&visit)))
    }

    fn __clear__(&self) {
        if let Some(items) = self.lean.items() {
            while items.try_get().is_ok() {}
        }
        if let Some(open) = self.open.get() {
            // SAFETY: the collector runs attached.
            open.clear(unsafe { Python::assume_attached() });
        }
    }
}

#[pymethods]
impl LifoQueue {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(maxsize=0)")]
    fn new(
        cls: &Bound<'_, PyType>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        Ok(PyClassInitializer::from(Queue::of_order(cls, Order::Lifo)?).add_subclass(Self))
    }
}

#[pymethods]
impl PriorityQueue {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(maxsize=0)")]
    fn new(
        cls: &Bound<'_, PyType>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        Ok(PyClassInitializer::from(Queue::of_order(cls, Order::Priority)?).add_subclass(Self))
    }
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    crate::lazy::add_class::<Queue>(module)?;
    crate::lazy::add_class::<LifoQueue>(module)?;
    crate::lazy::add_class::<PriorityQueue>(module)?;
    call::install::<Queue>(module.py(), calls::METHODS)?;
    // Again: the interpreter is quicker with a method of the very class.
    call::install::<LifoQueue>(module.py(), calls::METHODS)?;
    call::install::<PriorityQueue>(module.py(), calls::METHODS)
}

pub(super) fn register_exceptions(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    ["Empty", "Full", "ShutDown"]
        .into_iter()
        .try_for_each(|name| module.add(name, refusal::exception(py, name)?))
}
