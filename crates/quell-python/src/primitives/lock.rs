//! `quell.Lock`: `threading.Lock` with interruptible waits that never leak it.
//!
//! The lock is the core's, under the GIL ([`GilLock`]); [`locking`] has what Python's delivery needs. As in the standard library any thread may
//! release, so a release looks for the hold where it is.

use std::ffi::CStr;
use std::mem::offset_of;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::awaiting::{self, Operation};
use super::bound::Bindings;
use super::call::{self, Obj, runtime_error, throw};
use super::gil_lock::GilLock;
use super::locking::{self, Given, Locking, Yielding};
use super::wait::Waitable;
use crate::delivery::want::{Kind, What};
use crate::delivery::{self, Me, Unheld};
use crate::lazy;

/// A mutual exclusion lock, used like threading.Lock.
///
/// Waiting for it is an interruption point: an interrupt ends the wait, and the lock is not taken. While a thread holds it,
/// an interrupt of that thread is raised only where its with or try statement would release it; elsewhere it waits, at the
/// latest for the release of the thread's last lock, which raises it once the lock is free. So no interrupt is ever raised
/// between the acquire and the try or with statement that protects the lock.
#[pyclass(frozen, weakref, module = "quell", name = "Lock")]
pub struct Lock {
    pub(super) raw: GilLock,
    /// Of a queue's mutex: the number of the thread whose operation has it. That is no hold: see [`queue`](super::queue). 0 of no
    /// thread; written and read with the GIL.
    pub(super) busy: AtomicU64,
    bindings: Bindings,
}

impl Lock {
    pub(super) fn new_object(py: Python<'_>) -> PyResult<Py<Self>> {
        lazy::named(py, "Lock")?;
        Py::new(py, Self::new())
    }

    /// What the thread's table of holds knows this lock by.
    #[inline(always)]
    pub(super) fn key(&self) -> *const () {
        (&raw const *self).cast()
    }

    #[cold]
    #[inline(never)]
    fn unhold_elsewhere(&self, py: Python<'_>) {
        delivery::unhold_foreign(py, self.key());
    }
}

impl Waitable for Lock {
    fn forget_waiters_after_fork(&self) {
        self.raw.forget_waiters_after_fork();
    }

    fn what(&self) -> What {
        What::value(Kind::Lock, self).or_held_by(&self.busy)
    }
}

impl Locking for Lock {
    const BINDINGS: usize = offset_of!(Self, bindings);
    const ACQUIRE: &CStr = c"acquire($self, /, blocking=True, timeout=-1)\n--\n\n\
        Acquire the lock, waiting for it if need be, and return True.\n\n\
        With blocking=False it does not wait, and with a timeout in seconds it waits at most so long;\n\
        if the lock could not be had, the answer is False.\n\n\
        An interruption point: an interrupt that is pending or arrives during the wait is raised, and\n\
        the lock is not taken. If the thread holds locks that would not be released then, it is deferred instead.";
    const RELEASE: &CStr = c"release($self, /)\n--\n\n\
        Release the lock, which any thread may have acquired. RuntimeError if it is not locked.\n\n\
        If this was the last lock that the thread held, an interrupt that was deferred is raised now,\n\
        after the lock is free.";

    #[inline(always)]
    fn try_lock(&self, me: Me<'_>) -> bool {
        self.raw.try_lock(me.py())
    }

    fn wait(&self, py: Python<'_>, deadline: Option<Instant>) -> PyResult<Option<()>> {
        self.raw.wait(py, self, deadline)
    }

    #[inline(always)]
    fn acquired(&self, me: Me<'_>) {
        me.hold(self.key());
    }

    #[inline(always)]
    fn take_at_once(&self, me: Me<'_>) -> bool {
        if !me.hold_at_once(self.key()) {
            return false;
        }
        let taken = self.raw.try_lock_at_once(me.py());
        if !taken {
            me.unhold_newest(self.key());
        }
        taken
    }

    #[inline(always)]
    fn give_at_once(&self, me: Me<'_>) -> bool {
        // What a thread holds is locked; in the child of a fork it may have been made anew.
        let mine = self.raw.is_locked() && me.unhold_newest(self.key());
        if mine {
            self.raw.unlock(me.py());
        }
        mine
    }

    fn give(&self, py: Python<'_>) -> PyResult<()> {
        // Unlocking needs the GIL, so what is locked here stays locked until the unlock below.
        if !self.raw.is_locked() {
            return Err(runtime_error("release unlocked lock"));
        }
        let me = delivery::me(py);
        let unheld = me.unhold(self.key());
        if unheld == Unheld::NotMine {
            self.unhold_elsewhere(py);
        }
        self.raw.unlock(py);
        if unheld == Unheld::Last { me.deliver_after_release() } else { Ok(()) }
    }
}

impl Yielding for Lock {
    fn is_owned(&self) -> bool {
        self.raw.is_locked()
    }

    fn give_up(&self, py: Python<'_>) -> PyResult<Given> {
        if !self.raw.is_locked() {
            return Err(runtime_error("release unlocked lock"));
        }
        let holds = delivery::me(py).lift(self.key());
        if holds.is_empty() {
            self.unhold_elsewhere(py);
        }
        self.raw.unlock(py);
        Ok(Given { count: 1, holds })
    }

    fn take_back(&self, py: Python<'_>, given: Given) {
        self.raw.insist(py, self);
        delivery::me(py).restore(self.key(), given.count, given.holds);
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.raw.is_locked() {
            // Nobody can release it any more: its holder must not stay uninterruptible.
            // SAFETY: the value of a Python object is dropped by its deallocator, attached.
            self.unhold_elsewhere(unsafe { Python::assume_attached() });
        }
    }
}

#[pymethods]
impl Lock {
    #[new]
    fn new() -> Self {
        Self { raw: GilLock::default(), busy: AtomicU64::new(0), bindings: Bindings::new() }
    }

    /// Whether the lock is held by any thread.
    fn locked(&self) -> bool {
        self.raw.is_locked()
    }

    /// Obsolete name of locked().
    fn locked_lock(&self) -> bool {
        self.raw.is_locked()
    }

    /// Acquire the lock, as a task: await lock.acquire_async(). The answer is True.
    ///
    /// A task that is cancelled while it waits has not got the lock. The lock is the task's, which may await while it has it:
    /// it is no hold of the thread, and interrupts are not deferred. Released with release().
    pub(super) fn acquire_async(slf: &Bound<'_, Self>) -> PyResult<Py<Operation>> {
        let lock = slf.clone().unbind();
        Operation::new(slf.py(), "acquire_async", async move {
            lock.get().raw.lock_as_task().await;
            Ok(awaiting::truth())
        })
    }

    fn __aenter__(slf: &Bound<'_, Self>) -> PyResult<Py<Operation>> {
        Self::acquire_async(slf)
    }

    #[pyo3(signature = (*_exc_info))]
    pub(super) fn __aexit__(
        slf: &Bound<'_, Self>,
        _exc_info: &Bound<'_, PyTuple>,
    ) -> PyResult<Py<Operation>> {
        Operation::done_with(slf.py(), "__aexit__", || slf.get().give(slf.py()))
    }

    // What threading.Condition asks of its lock. With these a wait gives the lock up and takes it back without an
    // interrupt in between, so that the `with` statement around the wait finds it held.

    fn _release_save(&self, py: Python<'_>) -> PyResult<()> {
        self.give_up(py).map(drop)
    }

    fn _acquire_restore(&self, py: Python<'_>, _state: &Bound<'_, PyAny>) {
        self.take_back(py, Given { count: 1, holds: Vec::new() });
    }

    fn _is_owned(&self) -> bool {
        self.is_owned()
    }

    fn _at_fork_reinit(&self, py: Python<'_>) {
        self.unhold_elsewhere(py);
        self.busy.store(0, Relaxed);
        self.raw.reset_after_fork();
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        let state = if slf.get().raw.is_locked() { "locked" } else { "unlocked" };
        format!("<{state} {} object at {:p}>", super::type_name(slf), slf.as_ptr())
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        Err(PyTypeError::new_err(format!("cannot pickle '{}' object", super::type_name(slf))))
    }
}

/// `Lock()`.
unsafe extern "C" fn make(_class: Obj, _args: *const Obj, count: usize, names: Obj) -> Obj {
    // SAFETY: called by the interpreter, attached, as a class is called.
    unsafe {
        let count = count & !ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
        if count != 0 || !names.is_null() && ffi::PyTuple_GET_SIZE(names) != 0 {
            return throw(PyTypeError::new_err("Lock() takes no arguments"));
        }
        match Bound::new(Python::assume_attached(), Lock::new()) {
            Ok(lock) => lock.into_ptr(),
            Err(error) => throw(error),
        }
    }
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    crate::lazy::add_class::<Lock>(module)?;
    call::install_constructor::<Lock>(module.py(), make);
    locking::install::<Lock>(module)?;
    locking::install_obsolete::<Lock>(module)
}
