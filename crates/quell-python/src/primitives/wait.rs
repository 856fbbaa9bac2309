//! The slow path that all primitives share: block without the GIL, run Python's signal handlers, raise interrupts;
//! and the time-outs of the standard library's signatures.
//!
//! A wait ends in one of four ways, decided by the core: what was waited for came; the deadline passed; an interrupt
//! won, and nothing was taken (it stays pending until the thread has the GIL, and takes it); or, in the main thread, a signal handler of the process ran. In the last case the
//! Python-level handlers run here, and if none raises, the wait goes on until the same deadline.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyOverflowError, PyRuntimeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use quell::queue::{Fifo, InnerQueue, Lifo};
use quell::wait::{Wait, WaitError};

use super::awake::Vigil;
use super::call::Obj;
use crate::deadlock;
use crate::delivery;
use crate::delivery::gil_cell::GilCell;
use crate::delivery::want::{self, MayFail, What};

/// What a thread can wait for.
pub(crate) trait Waitable: Sync {
    /// In the child of a fork: forgets who waited for it.
    fn forget_waiters_after_fork(&self);

    /// What it is, for who looks.
    fn what(&self) -> What {
        What::OTHER
    }

    /// Before a fork: waits until nobody is in the middle of changing what the child will use, and keeps it so. Blocks for a
    /// few instructions of a thread that needs nothing of the caller's.
    fn hold_for_fork(&self) {}

    /// After a fork, in the parent and in the child.
    ///
    /// # Safety
    /// It is held so.
    unsafe fn release_after_fork(&self) {}
}

macro_rules! waitable {
    ($($Type:ty),*) => {
        $(impl Waitable for $Type {
            fn forget_waiters_after_fork(&self) {
                <$Type>::forget_waiters_after_fork(self);
            }
        })*
    };
}

// What these have besides their waiters is one word at most, which is whole at any moment.
waitable!(quell::RawLock, quell::RawRLock, quell::Semaphore, quell::Event, quell::Condition);

macro_rules! waitable_queue {
    ($($Kind:ident),*) => {
        $(impl Waitable for InnerQueue<Py<PyAny>, $Kind> {
            fn forget_waiters_after_fork(&self) {
                // SAFETY: called by the thread that forked, attached, as the two below.
                unsafe { self.whole() }.forget_waiters_after_fork();
            }

            fn hold_for_fork(&self) {
                // SAFETY: as above.
                unsafe { self.whole() }.hold_for_fork();
            }

            unsafe fn release_after_fork(&self) {
                // SAFETY: as above, and the caller's promise.
                unsafe { self.whole().release_after_fork() };
            }
        })*
    };
}

waitable_queue!(Fifo, Lifo);

/// Its waiters are the core's own business.
impl Waitable for quell::Receipt {
    fn forget_waiters_after_fork(&self) {}
}

/// What is being waited for, once for each waiting thread: in the child of a fork these threads do not exist, and what they
/// waited for must not be handed to them. While a thread is in this list, the object it waits for stays alive; in the
/// child, for ever.
static WAITED_FOR: GilCell<Vec<WaitedFor>> = GilCell::new(Vec::new());

struct WaitedFor(*const dyn Waitable);
// SAFETY: followed only in the child of a fork, under the GIL, where what it points at is alive.
unsafe impl Send for WaitedFor {}

/// What is held while a fork is made.
static HELD: GilCell<Vec<WaitedFor>> = GilCell::new(Vec::new());

/// Before a fork, by the thread that forks and has the GIL: holds everything that is waited for.
///
/// A thread changes a primitive either with the GIL, so not now, or in `block`, without it: when it begins to wait, gives up, or
/// finds at last what it waits for. Then it is in the list of those who wait, which changes with the GIL only. So nothing
/// else can be in the middle of a change, and the child finds every queue whole.
pub(crate) fn hold_for_fork(py: Python<'_>) {
    let mut known = HashSet::new();
    let all = WAITED_FOR.with(py, |list| list.iter().map(|w| w.0).collect::<Vec<_>>());
    for object in all.into_iter().filter(|object| known.insert(object.cast::<()>())) {
        // SAFETY: alive while it is in the list.
        unsafe { (*object).hold_for_fork() };
        HELD.with(py, |held| held.push(WaitedFor(object)));
    }
}

/// After a fork, in the parent and in the child, by the same thread.
pub(crate) fn release_after_fork(py: Python<'_>) {
    for WaitedFor(object) in HELD.with(py, std::mem::take) {
        // SAFETY: held since before the fork. The GIL has not been given away since, so it is in the list still.
        unsafe { (*object).release_after_fork() };
    }
}

/// In the child of a fork.
pub(crate) fn forget_waiters_after_fork(py: Python<'_>) {
    // The thread that forked was not waiting: all of them are gone.
    for WaitedFor(object) in WAITED_FOR.with(py, std::mem::take) {
        // SAFETY: the waiting thread's call kept it alive, and that call never ends here.
        unsafe { (*object).forget_waiters_after_fork() };
    }
}

fn note(py: Python<'_>, object: &dyn Waitable) {
    // SAFETY: only the lifetime is changed: `unnote` takes it out before the reference ends.
    let object: *const (dyn Waitable + 'static) = unsafe { std::mem::transmute(object) };
    WAITED_FOR.with(py, |list| list.push(WaitedFor(object)));
}

fn unnote(py: Python<'_>, object: &dyn Waitable) {
    WAITED_FOR.with(py, |list| {
        if let Some(at) = list.iter().rposition(|entry| std::ptr::addr_eq(entry.0, object)) {
            list.swap_remove(at);
        }
    });
}

/// Runs `operation`, which waits for `object` with the options that it is given, those of `wait`, with the GIL released. Whoever has a holder is waited for by [`block`]
/// or [`insist`].
pub(super) fn sleep<T: Send>(
    py: Python<'_>,
    object: &dyn Waitable,
    wait: &Wait,
    operation: impl FnOnce(&Wait) -> T + Send,
) -> T {
    let number = want::next_number();
    let (ended, verdict) = sleep_for(py, object, object.what(), wait, number, operation);
    debug_assert!(verdict.is_none(), "nobody holds it");
    ended
}

/// The same, with what it says it waits for, and the exception by which it was told to end, if it was.
fn sleep_for<T: Send>(
    py: Python<'_>,
    object: &dyn Waitable,
    what: What,
    wait: &Wait,
    number: u64,
    operation: impl FnOnce(&Wait) -> T + Send,
) -> (T, Option<Py<PyAny>>) {
    note(py, object);
    want::begin(py, what, wait, want::may_fail(wait), number);
    let vigil = Vigil::begin(py, wait);
    let wait = vigil.as_ref().map_or(*wait, |vigil| vigil.options(wait));
    let ended = py.detach(|| {
        let ended = operation(&wait);
        if let Some(vigil) = &vigil {
            vigil.over();
        }
        ended
    });
    if let Some(vigil) = vigil {
        vigil.end(py);
    }
    let verdict = want::end(py);
    unnote(py, object);
    (ended, verdict)
}

/// Blocks in `operation`, which waits for `object`, with the GIL released. None: the deadline passed.
#[cold]
#[inline(never)]
pub(crate) fn block<T: Send>(
    py: Python<'_>,
    object: &dyn Waitable,
    deadline: Option<Instant>,
    operation: impl FnMut(&Wait) -> Result<T, WaitError> + Send,
) -> PyResult<Option<T>> {
    block_for(py, object, object.what(), deadline, operation)
}

/// The same for something of which the caller knows what it is.
#[cold]
#[inline(never)]
pub(crate) fn block_for<T: Send>(
    py: Python<'_>,
    object: &dyn Waitable,
    what: What,
    deadline: Option<Instant>,
    mut operation: impl FnMut(&Wait) -> Result<T, WaitError> + Send,
) -> PyResult<Option<T>> {
    let number = want::next_number();
    let mut looks = delivery::Looks::default();
    let mut listens = true;
    loop {
        let options = delivery::wait_options(py, deadline, &mut looks)?;
        let interruptible = options.interruptible && listens;
        // An interrupt stays pending until this thread has the GIL again: who sees the want then knows that it is about to end.
        let wait = Wait { interruptible, leave_pending: true, ..options };
        if want::is_detecting() {
            deadlock::look(py, &what, &wait, want::may_fail(&wait), number)?;
        }
        let (ended, verdict) = sleep_for(py, object, what, &wait, number, &mut operation);
        match ended {
            Ok(value) => return Ok(Some(value)),
            Err(WaitError::TimedOut) => return Ok(None),
            // They are left pending.
            Err(WaitError::Interrupted(interrupt)) => {
                if let Some(error) = delivery::raise(py, interrupt) {
                    return Err(error);
                }
            }
            Err(WaitError::Signalled) => {
                if wait.interruptible
                    && let Some(interrupt) = delivery::take_where_blocked(py, &mut listens)
                {
                    return Err(delivery::delivered(py, interrupt));
                }
                match verdict {
                    Some(verdict) => return Err(PyErr::from_value(verdict.into_bound(py))),
                    None => py.check_signals()?,
                }
            }
            // Of locks of the core that other code of the process has: nobody switches that on for these.
            Err(WaitError::Deadlock(deadlock)) => {
                return Err(PyRuntimeError::new_err(deadlock.to_string()));
            }
        }
    }
}

/// Longest time-out in seconds, `threading.TIMEOUT_MAX`: what fits into 64 bits of nanoseconds.
const LONGEST: f64 = 9_223_372_036.0;

/// The moment `seconds` from now. None if the clock does not reach that far.
pub(crate) fn after(seconds: f64) -> Option<Instant> {
    Duration::try_from_secs_f64(seconds).ok().and_then(|d| Instant::now().checked_add(d))
}

#[cold]
fn too_large() -> PyErr {
    PyOverflowError::new_err("timestamp out of range for platform time_t")
}

/// A number of seconds, from anything `float()` takes.
///
/// # Safety
/// Attached; `object` is live.
unsafe fn seconds(object: Obj) -> PyResult<f64> {
    // SAFETY: the caller's promise.
    unsafe {
        let value = ffi::PyFloat_AsDouble(object);
        if value == -1.0 && !ffi::PyErr_Occurred().is_null() {
            return Err(PyErr::fetch(Python::assume_attached()));
        }
        Ok(value)
    }
}

/// What the standard library does with a timeout that is no number differs even between patch releases: an error, or no wait
/// at all. It is asked.
#[cold]
fn refuse_nan(py: Python<'_>, timeout: Obj) -> PyResult<Patience> {
    // SAFETY: a live object, borrowed from the caller's arguments.
    let timeout = unsafe { Bound::from_borrowed_ptr(py, timeout) };
    py.import("threading")?.getattr("Event")?.call0()?.call_method1("wait", (timeout,))?;
    Ok(Patience::Try)
}

/// How long an acquire may block.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Patience {
    /// Until the lock is there.
    Forever,
    /// Not at all.
    Try,
    /// At most so many seconds.
    Seconds(f64),
    /// At most until then.
    Until(Instant),
}

impl Patience {
    /// From the arguments `blocking` and `timeout` of `Lock.acquire`, null where not given, with the standard
    /// library's rules: -1 means for ever and nothing else may be negative; no time-out without blocking.
    ///
    /// # Safety
    /// Attached; each object is live or null.
    pub(crate) unsafe fn of_acquire(blocking: Obj, timeout: Obj) -> PyResult<Self> {
        // SAFETY: the caller's promise; a C integer or a float is read, as `_PyTime_FromSecondsObject` does.
        unsafe {
            let blocking = blocking.is_null() || super::call::truth(blocking)?;
            let timeout = if timeout.is_null() {
                -1.0
            } else if ffi::PyFloat_Check(timeout) != 0 {
                ffi::PyFloat_AS_DOUBLE(timeout)
            } else {
                #[cfg(Py_3_14)]
                if ffi::PyIndex_Check(timeout) == 0 {
                    let text = c"'%T' object cannot be interpreted as an integer or float";
                    ffi::PyErr_Format(ffi::PyExc_TypeError, text.as_ptr(), timeout);
                    return Err(PyErr::fetch(Python::assume_attached()));
                }
                let whole = ffi::PyLong_AsLongLong(timeout);
                if whole == -1 && !ffi::PyErr_Occurred().is_null() {
                    return Err(PyErr::fetch(Python::assume_attached()));
                }
                whole as f64
            };
            if timeout.is_nan() {
                return Err(PyValueError::new_err("Invalid value NaN (not a number)"));
            }
            if timeout > LONGEST {
                return Err(too_large());
            }
            match (blocking, timeout) {
                (true, -1.0) => Ok(Self::Forever),
                (false, -1.0) => Ok(Self::Try),
                (false, _) => {
                    Err(PyValueError::new_err("can't specify a timeout for a non-blocking call"))
                }
                (true, t) if t < 0.0 => Err(PyValueError::new_err(if cfg!(Py_3_13) {
                    "timeout value must be a non-negative number"
                } else {
                    "timeout value must be positive"
                })),
                (true, t) => Ok(Self::Seconds(t)),
            }
        }
    }

    /// From the argument `timeout` of `Event.wait` and `Condition.wait`, null where not given: None means for
    /// ever, and what is not positive means not at all.
    ///
    /// # Safety
    /// As [`Self::of_acquire`].
    pub(crate) unsafe fn of_wait(timeout: Obj) -> PyResult<Self> {
        // SAFETY: the caller's promise.
        unsafe {
            if timeout.is_null() || timeout == ffi::Py_None() {
                return Ok(Self::Forever);
            }
            match seconds(timeout)? {
                t if t > LONGEST => Err(too_large()),
                t if t > 0.0 => Ok(Self::Seconds(t)),
                t if t.is_nan() => refuse_nan(Python::assume_attached(), timeout),
                _ => Ok(Self::Try),
            }
        }
    }

    /// From the arguments `block` and `timeout` of `Queue.get` and `Queue.put`, null where not given: None means
    /// for ever; without `block` the time-out is not looked at.
    ///
    /// # Safety
    /// As [`Self::of_acquire`].
    pub(crate) unsafe fn of_queue(block: Obj, timeout: Obj) -> PyResult<Self> {
        // SAFETY: the caller's promise.
        unsafe {
            if !block.is_null() && !super::call::truth(block)? {
                return Ok(Self::Try);
            }
            if timeout.is_null() || timeout == ffi::Py_None() {
                return Ok(Self::Forever);
            }
            match seconds(timeout)? {
                t if t > LONGEST => Err(too_large()),
                t if t >= 0.0 => Ok(Self::Seconds(t)),
                _ => Err(PyValueError::new_err("'timeout' must be a non-negative number")),
            }
        }
    }

    /// As the standard library's methods take it; None means for ever.
    pub(crate) fn seconds(self) -> Option<f64> {
        match self {
            Self::Forever => None,
            Self::Try => Some(0.0),
            Self::Seconds(t) => Some(t),
            Self::Until(end) => Some(end.saturating_duration_since(Instant::now()).as_secs_f64()),
        }
    }

    /// When patience ends: None means never. Call it when about to block, not before.
    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Forever => None,
            Self::Try => Some(Instant::now()),
            Self::Seconds(t) => after(t),
            Self::Until(moment) => Some(moment),
        }
    }

    /// The same patience, beginning now: for an operation that may block more than once, so many seconds in all.
    pub(crate) fn started(self) -> Self {
        match self {
            Self::Seconds(t) => after(t).map_or(Self::Forever, Self::Until),
            other => other,
        }
    }
}

/// Blocks until it is done, whatever is pending: as under a shield.
pub(crate) fn insist<T: Send>(
    py: Python<'_>,
    object: &dyn Waitable,
    operation: impl Fn(&Wait) -> Result<T, WaitError> + Send + Sync,
) -> T {
    let (wait, what, number) = (Wait::new().shielded(), object.what(), want::next_number());
    if want::is_detecting() {
        // It cannot fail, so another one does, or nobody.
        let looked = deadlock::look(py, &what, &wait, MayFail::No, number);
        debug_assert!(looked.is_ok());
    }
    let slept = sleep_for(py, object, what, &wait, number, |wait| {
        loop {
            // Without a deadline, interrupts and signals a wait ends only in success; should it end otherwise after
            // all, it is begun again.
            if let Ok(value) = operation(wait) {
                return value;
            }
        }
    });
    slept.0
}
