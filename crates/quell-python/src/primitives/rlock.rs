//! `quell.RLock`: `threading.RLock` with interruptible waits that never leak it.
//!
//! The lock is the core's [`RawRLock`], which knows its owner by an id that is never reused. Each acquire is a hold of the
//! owner until its release, because each has a clause of its own that gives it back; see [`locking`] for what that means.

use std::ffi::CStr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use quell::sync::RawRLock;
use quell::wait::{Wait, WaitError};

use super::call::runtime_error;
use super::locking::{self, Given, Locking, Yielding};
use super::wait::{Waitable, insist};
use crate::delivery::{self, Me, Unheld};

/// A lock that its owner may acquire again, used like threading.RLock.
///
/// Each acquire needs its release; the last one frees the lock. Waiting for it is an interruption point. While a
/// thread holds it, an interrupt of that thread is raised only where the with or try statement of each acquire would
/// release it; elsewhere it waits, at the latest for the release of the thread's last lock.
#[pyclass(frozen, subclass, weakref, module = "quell", name = "RLock")]
pub struct RLock {
    raw: RawRLock,
    // `threading.get_ident()` of the owner, for people to read. Written by the owner between acquire and release,
    // with the GIL; zero when free.
    ident: AtomicU64,
}

const NOT_OWNED: &str = "cannot release un-acquired lock";

fn ident() -> u64 {
    // SAFETY: pthread_self has no preconditions.
    (unsafe { libc::pthread_self() }) as u64
}

impl RLock {
    #[inline(always)]
    fn key(&self) -> *const () {
        (&raw const *self).cast()
    }

    /// After a release. If it freed the lock another thread may have been granted it already, but that notes its ownership
    /// only once it has the GIL.
    #[inline(always)]
    fn released(&self, py: Python<'_>, free: bool) -> PyResult<()> {
        if free {
            self.ident.store(0, Relaxed);
        }
        let me = delivery::me(py);
        match me.unhold(self.key()) {
            Unheld::Last => me.deliver_after_release(),
            _ => Ok(()),
        }
    }
}

impl Locking for RLock {
    const ACQUIRE: &CStr = c"acquire($self, /, blocking=True, timeout=-1)\n--\n\n\
        Acquire the lock, waiting for it if another thread holds it, and return True. The thread that\n\
        holds it already acquires it once more, without waiting.\n\n\
        With blocking=False it does not wait, and with a timeout in seconds it waits at most so long;\n\
        if the lock could not be had, the answer is False.\n\n\
        An interruption point: an interrupt that is pending or arrives during the wait is raised, and\n\
        the lock is not taken. If the thread holds locks that would not be released then, it is deferred instead.";
    const RELEASE: &CStr = c"release($self, /)\n--\n\n\
        Take back one acquire of the calling thread, and free the lock if it was the last.\n\
        RuntimeError if the calling thread does not hold it.\n\n\
        If this was the last lock that the thread held, an interrupt that was deferred is raised now,\n\
        after the lock is free.";

    fn raw(&self) -> &dyn Waitable {
        &self.raw
    }

    #[inline(always)]
    fn try_lock(&self) -> bool {
        self.raw.try_lock()
    }

    fn lock_with(&self, wait: &Wait) -> Result<(), WaitError> {
        self.raw.lock_with(wait)
    }

    #[inline(always)]
    fn acquired(&self, me: Me<'_>) {
        if self.ident.load(Relaxed) == 0 {
            self.ident.store(ident(), Relaxed);
        }
        me.hold(self.key());
    }

    #[inline(always)]
    fn give(&self, py: Python<'_>) -> PyResult<()> {
        match self.raw.unlock() {
            Ok(free) => self.released(py, free),
            Err(_) => Err(runtime_error(NOT_OWNED)),
        }
    }
}

impl Yielding for RLock {
    fn is_owned(&self) -> bool {
        self.raw.is_owned()
    }

    fn give_up(&self, py: Python<'_>) -> PyResult<Given> {
        let count = self.raw.release_save().map_err(|_| runtime_error(NOT_OWNED))?;
        self.ident.store(0, Relaxed);
        Ok(Given { count, holds: delivery::me(py).lift(self.key()) })
    }

    fn take_back(&self, py: Python<'_>, given: Given) {
        insist(py, &self.raw, |wait| self.raw.acquire_restore(given.count, wait));
        self.ident.store(ident(), Relaxed);
        delivery::me(py).restore(self.key(), given.count, given.holds);
    }
}

impl Drop for RLock {
    fn drop(&mut self) {
        if self.ident.load(Relaxed) != 0 {
            // Nobody can release it any more: its holder must not stay uninterruptible.
            // SAFETY: the value of a Python object is dropped by its deallocator, attached.
            while delivery::unhold_foreign(unsafe { Python::assume_attached() }, self.key()) {}
        }
    }
}

#[pymethods]
impl RLock {
    // Arguments are for the `__init__` of a subclass; the standard library ignores them as well.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { raw: RawRLock::new(), ident: AtomicU64::new(0) }
    }

    /// Whether the lock is held by any thread.
    fn locked(&self) -> bool {
        self.raw.is_locked()
    }

    // What threading.Condition asks of its lock: a wait gives the lock up whole and takes it back as it was, without
    // an interrupt in between.

    fn _is_owned(&self) -> bool {
        self.is_owned()
    }

    fn _recursion_count(&self) -> u32 {
        if self.raw.is_owned() { self.raw.depth() } else { 0 }
    }

    fn _release_save(&self, py: Python<'_>) -> PyResult<(u32, u64)> {
        let owner = self.ident.load(Relaxed);
        Ok((self.give_up(py)?.count, owner))
    }

    fn _acquire_restore(&self, py: Python<'_>, state: (u32, u64)) -> PyResult<()> {
        let (count, _) = state;
        if count == 0 || self.raw.is_owned() {
            return Err(runtime_error("cannot restore a lock that was not given up"));
        }
        self.take_back(py, Given { count, holds: Vec::new() });
        Ok(())
    }

    fn _at_fork_reinit(&self, py: Python<'_>) {
        if self.ident.swap(0, Relaxed) != 0 {
            while delivery::unhold_foreign(py, self.key()) {}
        }
        self.raw.reset_after_fork();
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        let this = slf.get();
        let owner = this.ident.load(Relaxed);
        let (state, count) =
            if owner == 0 { ("unlocked", 0) } else { ("locked", this.raw.depth()) };
        let name = super::type_name(slf);
        format!("<{state} {name} object owner={owner} count={count} at {:p}>", slf.as_ptr())
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        Err(PyTypeError::new_err(format!("cannot pickle '{}' object", super::type_name(slf))))
    }
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RLock>()?;
    locking::install::<RLock>(module)
}
