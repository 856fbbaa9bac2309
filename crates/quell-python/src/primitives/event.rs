//! `quell.Event`: `threading.Event` whose wait is interruptible, as one atomic flag and the core's wait queue.

use pyo3::exceptions::{PyDeprecationWarning, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use quell::wait::Wait;

use super::awaiting::Operation;
use super::call::{self, Method, Obj, Parameters, answer, boolean, none, this, throw};
use super::wait::{Patience, Waitable, block};
use crate::delivery::want::{End, Kind, What};

/// A flag that threads can wait for, used like threading.Event.
///
/// wait() is an interruption point where it blocks. A wait that was reached by set() returns True even if an interrupt
/// came at the same moment; the interrupt stays pending.
#[pyclass(frozen, subclass, weakref, module = "quell", name = "Event")]
pub struct Event {
    raw: quell::sync::Event,
    /// Of an event that stands for the end of a thread.
    end: End,
}

impl Waitable for Event {
    fn forget_waiters_after_fork(&self) {
        self.raw.forget_waiters_after_fork();
    }

    fn what(&self) -> What {
        self.end.what().unwrap_or_else(|| What::value(Kind::Event, self))
    }
}

#[pymethods]
impl Event {
    // Arguments are for `__init__`, a subclass's or the one below.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "()")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { raw: quell::sync::Event::new(), end: End::default() }
    }

    fn __init__(&self) {}

    /// A deprecated name of is_set().
    #[pyo3(name = "isSet")]
    fn is_set_deprecated(&self, py: Python<'_>) -> PyResult<bool> {
        let category = py.get_type::<PyDeprecationWarning>();
        PyErr::warn(py, &category, c"isSet() is deprecated, use is_set() instead", 1)?;
        Ok(self.raw.is_set())
    }

    /// Wait until the flag is set, as a task: await event.wait_async(). The answer is True.
    fn wait_async(slf: &Bound<'_, Self>) -> PyResult<Py<Operation>> {
        let event = slf.clone().unbind();
        Operation::new(slf.py(), "wait_async", async move {
            event.get().raw.wait_async().await;
            Ok(super::awaiting::truth())
        })
    }

    /// Say that the event stands for the end of a thread: of the calling one, or of one that will say so. Who waits for it
    /// joins that thread, for who looks.
    fn _is_end(&self, of_caller: bool) {
        self.end.stand_for(of_caller);
    }

    /// The flag survives a fork, its waiters do not.
    fn _at_fork_reinit(&self) {
        let was_set = self.raw.is_set();
        self.raw.reset_after_fork();
        if was_set {
            self.raw.set();
        }
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        let status = if slf.get().raw.is_set() { "set" } else { "unset" };
        format!("<{} at {:p}: {status}>", super::type_name(slf), slf.as_ptr())
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        Err(PyTypeError::new_err(format!("cannot pickle '{}' object", super::type_name(slf))))
    }
}

/// `Event.is_set()`.
unsafe extern "C" fn is_set(slf: Obj, _: Obj) -> Obj {
    // SAFETY: called by the method descriptor, attached, with an instance of Event.
    unsafe { boolean(this::<Event>(slf).raw.is_set()) }
}

/// `Event.set()`.
unsafe extern "C" fn set(slf: Obj, _: Obj) -> Obj {
    // SAFETY: as for `is_set`.
    unsafe {
        this::<Event>(slf).raw.set();
        none()
    }
}

/// `Event.clear()`.
unsafe extern "C" fn clear(slf: Obj, _: Obj) -> Obj {
    // SAFETY: as for `is_set`.
    unsafe {
        this::<Event>(slf).raw.clear();
        none()
    }
}

/// `Event.wait(timeout=None)`.
unsafe extern "C" fn wait(slf: Obj, args: *const Obj, count: isize, keywords: Obj) -> Obj {
    // SAFETY: called by the method descriptor, attached, with an instance of Event and a call's arguments.
    unsafe {
        let event = this::<Event>(slf);
        let given = if count == 0 && keywords.is_null() {
            std::ptr::null_mut()
        } else if count == 1 && keywords.is_null() {
            *args
        } else {
            return wait_arguments(event, args, count, keywords);
        };
        if event.raw.is_set() {
            return boolean(true);
        }
        wait_slow(event, given)
    }
}

/// # Safety
/// As [`Parameters::bind`].
#[inline(never)]
unsafe fn wait_arguments(event: &Event, args: *const Obj, count: isize, keywords: Obj) -> Obj {
    // SAFETY: the caller's promise; the time-out is an argument of the running call, or null.
    unsafe {
        match parameters(Python::assume_attached()).bind(args, count, keywords) {
            Ok(_) if event.raw.is_set() => boolean(true),
            Ok([timeout]) => wait_slow(event, timeout),
            Err(error) => throw(error),
        }
    }
}

/// # Safety
/// Attached; the time-out is a live object or null.
#[cold]
#[inline(never)]
unsafe fn wait_slow(event: &Event, timeout: Obj) -> Obj {
    // SAFETY: the caller's promise.
    unsafe {
        let py = Python::assume_attached();
        answer(Patience::of_wait(timeout).and_then(|patience| match patience {
            Patience::Try => Ok(event.raw.is_set()),
            patience => {
                let wait = |wait: &Wait| event.raw.wait_with(wait);
                Ok(block(py, event, patience.deadline(), wait)?.is_some())
            }
        }))
    }
}

fn parameters(py: Python<'_>) -> &'static Parameters<1> {
    static PARAMETERS: std::sync::OnceLock<Parameters<1>> = std::sync::OnceLock::new();
    PARAMETERS.get_or_init(|| Parameters::new(py, "wait", ["timeout"]))
}

const METHODS: &[Method] = &[
    call::plain(c"is_set", is_set, c"is_set($self, /)\n--\n\nWhether the flag is set."),
    call::plain(c"set", set, c"set($self, /)\n--\n\nSet the flag, and let every waiting thread go on."),
    call::plain(
        c"clear",
        clear,
        c"clear($self, /)\n--\n\nTake the flag down: from now on wait() blocks until the next set().",
    ),
    call::keywords(c"wait", wait, WAIT),
];

const WAIT: &std::ffi::CStr = c"wait($self, /, timeout=None)\n--\n\n\
    Block until the flag is set, and return True; at once if it is set already.\n\n\
    With a timeout in seconds, block at most so long; False if the flag was not set by then.\n\n\
    An interruption point where it blocks.";

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    crate::lazy::add_class::<Event>(module)?;
    call::install::<Event>(module.py(), METHODS)
}
