//! `put` and `get`, as native methods.

use pyo3::Borrowed;
use pyo3::prelude::*;

use super::Queue;
use super::lean::Lean;
use super::operations::Operations;
use super::refusal::Refusal;
use crate::primitives::call::{self, Method, Obj, Parameters, none, this, throw};
use crate::primitives::items::Items;
use crate::primitives::wait::Patience;

/// `Queue.put(item, block=True, timeout=None)`.
unsafe extern "C" fn put(slf: Obj, args: *const Obj, count: isize, keywords: Obj) -> Obj {
    // SAFETY: called by the method descriptor, attached, with an instance of Queue and a call's arguments.
    unsafe {
        if count != 1 || !keywords.is_null() {
            return put_with_arguments(slf, args, count, keywords);
        }
        let py = Python::assume_attached();
        let item = || Bound::from_borrowed_ptr(py, *args).unbind();
        let tried = match &this::<Queue>(slf).lean {
            Lean::Fifo(items) => Items::try_put(items, item()),
            Lean::Lifo(items) => Items::try_put(items, item()),
            Lean::None => return put_open(py, slf, *args),
        };
        match tried {
            Ok(()) => none(),
            Err((item, refusal)) => put_waiting(slf, item, refusal),
        }
    }
}

/// `put(item)` that was not done at once.
///
/// # Safety
/// Attached, with a queue.
#[cold]
#[inline(never)]
unsafe fn put_waiting(slf: Obj, item: Py<PyAny>, refusal: Refusal) -> Obj {
    // SAFETY: the caller's promise.
    unsafe {
        match queue(Python::assume_attached(), slf).put_refused(item, refusal, Patience::Forever) {
            Ok(()) => none(),
            Err(error) => throw(error),
        }
    }
}

/// `put` with other arguments than the item.
///
/// # Safety
/// As [`Parameters::bind`], and `slf` is a queue.
#[inline(never)]
unsafe fn put_with_arguments(slf: Obj, args: *const Obj, count: isize, keywords: Obj) -> Obj {
    // SAFETY: the caller's promise.
    unsafe {
        match put_arguments(Python::assume_attached(), slf, args, count, keywords) {
            Ok(()) => none(),
            Err(error) => throw(error),
        }
    }
}

/// `put(item)` of a queue that has been open from the beginning.
///
/// # Safety
/// Attached, with such a queue and an argument of the running call.
#[inline(never)]
unsafe fn put_open(py: Python<'_>, slf: Obj, item: Obj) -> Obj {
    // SAFETY: the caller's promise.
    unsafe {
        let (queue, item) = (queue(py, slf), Borrowed::from_ptr(py, item));
        let at_once = queue.get().open.get().and_then(|open| open.put_at_once(&queue, &item));
        let put = at_once
            .unwrap_or_else(|| queue.put_object(item.to_owned().unbind(), Patience::Forever));
        match put {
            Ok(()) => none(),
            Err(error) => throw(error),
        }
    }
}

/// `get()` of a queue that has been open from the beginning.
///
/// # Safety
/// As [`put_open`].
#[inline(never)]
unsafe fn get_open(py: Python<'_>, slf: Obj) -> Obj {
    // SAFETY: the caller's promise.
    unsafe {
        let queue = queue(py, slf);
        let at_once = queue.get().open.get().and_then(|open| open.get_at_once(&queue));
        let got = match at_once {
            Some(got) => got.map(Bound::unbind),
            None => queue.get_object(Patience::Forever),
        };
        match got {
            Ok(item) => item.into_ptr(),
            Err(error) => throw(error),
        }
    }
}

/// The queue as an object.
///
/// # Safety
/// It is one, and alive.
unsafe fn queue<'a, 'py>(py: Python<'py>, slf: Obj) -> Borrowed<'a, 'py, Queue> {
    // SAFETY: the caller's promise.
    unsafe { Borrowed::from_ptr(py, slf).cast_unchecked() }
}

/// # Safety
/// As [`Parameters::bind`], and `slf` is a queue.
unsafe fn put_arguments(
    py: Python<'_>,
    slf: Obj,
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
        let queue = queue(py, slf);
        // As in the standard library, a queue without a limit does not look at the time-out.
        let patience = match queue.get().maxsize() > 0 {
            true => Patience::of_queue(block, timeout)?,
            false => Patience::Forever,
        };
        queue.put_object(Bound::from_borrowed_ptr(py, item).unbind(), patience)
    }
}

/// `Queue.get(block=True, timeout=None)`.
unsafe extern "C" fn get(slf: Obj, args: *const Obj, count: isize, keywords: Obj) -> Obj {
    // SAFETY: as for `put`.
    unsafe {
        if count != 0 || !keywords.is_null() {
            return get_with_arguments(slf, args, count, keywords);
        }
        let tried = match &this::<Queue>(slf).lean {
            Lean::Fifo(items) => Items::try_get(items),
            Lean::Lifo(items) => Items::try_get(items),
            Lean::None => return get_open(Python::assume_attached(), slf),
        };
        match tried {
            Ok(item) => item.into_ptr(),
            Err(refusal) => get_waiting(slf, refusal),
        }
    }
}

/// `get()` that was not done at once.
///
/// # Safety
/// Attached, with a queue.
#[cold]
#[inline(never)]
unsafe fn get_waiting(slf: Obj, refusal: Refusal) -> Obj {
    // SAFETY: the caller's promise.
    unsafe {
        match queue(Python::assume_attached(), slf).get_refused(refusal, Patience::Forever) {
            Ok(item) => item.into_ptr(),
            Err(error) => throw(error),
        }
    }
}

/// `get` with arguments.
///
/// # Safety
/// As [`Parameters::bind`], and `slf` is a queue.
#[inline(never)]
unsafe fn get_with_arguments(slf: Obj, args: *const Obj, count: isize, keywords: Obj) -> Obj {
    // SAFETY: the caller's promise.
    unsafe {
        let py = Python::assume_attached();
        let patience = get_arguments(py, args, count, keywords);
        match patience.and_then(|patience| queue(py, slf).get_object(patience)) {
            Ok(item) => item.into_ptr(),
            Err(error) => throw(error),
        }
    }
}

/// The arguments of a `get`.
///
/// # Safety
/// As [`Parameters::bind`].
pub(in crate::primitives) unsafe fn get_arguments(
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

pub(super) const METHODS: &[Method] =
    &[call::keywords(c"put", put, PUT), call::keywords(c"get", get, GET)];

const PUT: &std::ffi::CStr = c"put($self, /, item, block=True, timeout=None)\n--\n\n\
    Put an item into the queue, waiting for room if need be.\n\n\
    With block=False it does not wait, and with a timeout in seconds it waits at most so long; if there\n\
    was no room, Full is raised. ShutDown is raised if the queue was shut down.\n\n\
    An interruption point where it blocks; the item was not put if it is interrupted.";

const GET: &std::ffi::CStr = c"get($self, /, block=True, timeout=None)\n--\n\n\
    Remove and return the next item, waiting for one if need be.\n\n\
    With block=False it does not wait, and with a timeout in seconds it waits at most so long; if there\n\
    was no item, Empty is raised. ShutDown is raised if the queue was shut down and is empty.\n\n\
    An interruption point where it blocks; no item was taken if it is interrupted.";
