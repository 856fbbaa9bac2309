//! `quell.RLock`: `threading.RLock` with interruptible waits that never leak it.
//!
//! The lock is the core's, under the GIL ([`GilLock`]); who owns it, and how often, the GIL guards. The owner is known by the number of its thread
//! state, which is never reused. Each acquire is a hold of the owner until its release, because each has a clause of its
//! own that gives it back; see [`locking`] for what that means.

use std::ffi::CStr;
use std::mem::offset_of;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::bound::Bindings;
use super::call::runtime_error;
use super::gil_lock::GilLock;
use super::locking::{self, Given, Locking, Yielding};
use super::wait::Waitable;
use crate::delivery::want::{Kind, What};
use crate::delivery::{self, Me, Unheld};

/// A lock that its owner may acquire again, used like threading.RLock.
///
/// Each acquire needs its release; the last one frees the lock. Waiting for it is an interruption point. While a
/// thread holds it, an interrupt of that thread is raised only where the with or try statement of each acquire would
/// release it; elsewhere it waits, at the latest for the release of the thread's last lock.
#[pyclass(frozen, subclass, weakref, module = "quell", name = "RLock")]
pub struct RLock {
    raw: GilLock,
    // What follows is written by the owner between acquire and release, with the GIL.
    /// The thread state of the owner, by its number. Zero when free, and for the moment between the grant of the lock and the GIL;
    /// then the two below mean nothing.
    owner: AtomicU64,
    /// `threading.get_ident()` of the owner, for people to read.
    ident: AtomicU64,
    depth: AtomicU32,
    bindings: Bindings,
}

const NOT_OWNED: &str = "cannot release un-acquired lock";

impl RLock {
    #[inline(always)]
    fn key(&self) -> *const () {
        (&raw const *self).cast()
    }

    /// Makes the calling thread the owner, so many times.
    #[inline(always)]
    fn own(&self, me: Me<'_>, depth: u32) {
        self.owner.store(me.number(), Relaxed);
        self.ident.store(me.ident(), Relaxed);
        self.depth.store(depth, Relaxed);
    }

    /// Takes back one acquire of the owner; the last one frees the lock.
    #[inline(always)]
    fn take_away_one(&self, py: Python<'_>) {
        let left = self.depth.load(Relaxed) - 1;
        if left > 0 {
            self.depth.store(left, Relaxed);
        } else {
            self.disown();
            self.raw.unlock(py);
        }
    }

    /// Whether the calling thread has it, where that is found at once; false also where it is not.
    #[inline(always)]
    pub(super) fn is_surely_owned(&self) -> bool {
        delivery::my_number_at_once() == self.owner.load(Relaxed)
    }

    /// Makes nobody the owner.
    #[inline(always)]
    fn disown(&self) {
        self.owner.store(0, Relaxed);
    }
}

impl Waitable for RLock {
    fn forget_waiters_after_fork(&self) {
        self.raw.forget_waiters_after_fork();
    }

    fn what(&self) -> What {
        What::value(Kind::RLock, self)
    }
}

impl Locking for RLock {
    const BINDINGS: usize = offset_of!(Self, bindings);
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

    #[inline(always)]
    fn try_lock(&self, me: Me<'_>) -> bool {
        if self.owner.load(Relaxed) == me.number() {
            self.depth.store(self.depth.load(Relaxed) + 1, Relaxed);
            return true;
        }
        self.raw.try_lock(me.py())
    }

    fn wait(&self, py: Python<'_>, deadline: Option<Instant>) -> PyResult<Option<()>> {
        self.raw.wait(py, self, deadline)
    }

    #[inline(always)]
    fn acquired(&self, me: Me<'_>) {
        if self.owner.load(Relaxed) != me.number() {
            self.own(me, 1);
        }
        me.hold(self.key());
    }

    #[inline(always)]
    fn take_at_once(&self, me: Me<'_>) -> bool {
        if !me.hold_at_once(self.key()) {
            return false;
        }
        if self.owner.load(Relaxed) == me.number() {
            self.depth.store(self.depth.load(Relaxed) + 1, Relaxed);
            return true;
        }
        let taken = self.raw.try_lock_at_once(me.py());
        if taken {
            self.own(me, 1);
        } else {
            me.unhold_newest(self.key());
        }
        taken
    }

    #[inline(always)]
    fn give_at_once(&self, me: Me<'_>) -> bool {
        let mine = self.owner.load(Relaxed) == me.number() && me.unhold_newest(self.key());
        if mine {
            self.take_away_one(me.py());
        }
        mine
    }

    fn give(&self, py: Python<'_>) -> PyResult<()> {
        let me = delivery::me(py);
        if self.owner.load(Relaxed) != me.number() {
            return Err(runtime_error(NOT_OWNED));
        }
        let unheld = me.unhold(self.key());
        self.take_away_one(py);
        if unheld == Unheld::Last { me.deliver_after_release() } else { Ok(()) }
    }
}

impl Yielding for RLock {
    fn is_owned(&self) -> bool {
        self.owner.load(Relaxed) == delivery::my_number()
    }

    fn give_up(&self, py: Python<'_>) -> PyResult<Given> {
        if !Yielding::is_owned(self) {
            return Err(runtime_error(NOT_OWNED));
        }
        let count = self.depth.load(Relaxed);
        self.disown();
        let holds = delivery::me(py).lift(self.key());
        self.raw.unlock(py);
        Ok(Given { count, holds })
    }

    fn take_back(&self, py: Python<'_>, given: Given) {
        self.raw.insist(py, self);
        let me = delivery::me(py);
        self.own(me, given.count);
        me.restore(self.key(), given.count, given.holds);
    }
}

impl Drop for RLock {
    fn drop(&mut self) {
        if self.owner.load(Relaxed) != 0 {
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
        Self {
            raw: GilLock::default(),
            owner: AtomicU64::new(0),
            ident: AtomicU64::new(0),
            depth: AtomicU32::new(0),
            bindings: Bindings::new(),
        }
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
        if self.is_owned() { self.depth.load(Relaxed) } else { 0 }
    }

    fn _release_save(&self, py: Python<'_>) -> PyResult<(u32, u64)> {
        let owner = self.ident.load(Relaxed);
        Ok((self.give_up(py)?.count, owner))
    }

    fn _acquire_restore(&self, py: Python<'_>, state: (u32, u64)) -> PyResult<()> {
        let (count, _) = state;
        if count == 0 || self.is_owned() {
            return Err(runtime_error("cannot restore a lock that was not given up"));
        }
        self.take_back(py, Given { count, holds: Vec::new() });
        Ok(())
    }

    fn _at_fork_reinit(&self, py: Python<'_>) {
        if self.owner.load(Relaxed) != 0 {
            self.disown();
            while delivery::unhold_foreign(py, self.key()) {}
        }
        self.raw.reset_after_fork();
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        let this = slf.get();
        let (state, owner, count) = match this.owner.load(Relaxed) {
            0 => ("unlocked", 0, 0),
            _ => ("locked", this.ident.load(Relaxed), this.depth.load(Relaxed)),
        };
        let name = super::type_name(slf);
        format!("<{state} {name} object owner={owner} count={count} at {:p}>", slf.as_ptr())
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        Err(PyTypeError::new_err(format!("cannot pickle '{}' object", super::type_name(slf))))
    }
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    crate::lazy::add_class::<RLock>(module)?;
    locking::install::<RLock>(module)
}
