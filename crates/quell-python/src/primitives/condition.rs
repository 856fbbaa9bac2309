//! `quell.Condition`: `threading.Condition` whose wait is interruptible and never loses a notification or its lock.
//!
//! Who waits and who is told is in [`waiters`](super::waiters). A condition is used with quell's own locks, found by their
//! exact class and used without a call, or with whatever else has `acquire` and `release`: a *foreign* lock, asked as
//! the standard library asks it. Either way a wait has its lock again when it ends, however it ends: an interrupt is
//! raised after that.

use std::ffi::CStr;
use std::mem::offset_of;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed};
use std::time::Instant;

use pyo3::exceptions::{PyDeprecationWarning, PyGeneratorExit, PyTypeError};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::awaiting::{self, Operation, attached};
use super::bound::{self, Bindings, Entry};
use super::call::{self, Method, Obj, Parameters, answer, none, runtime_error, this, throw};
use super::lock::Lock;
use super::locking::{self, Given, Yielding};
use super::rlock::RLock;
use super::wait::{Patience, Waitable};
use super::waiters::{Ended, Occasion, Waiters};
use crate::delivery;
use crate::delivery::gil_cell::GilCell;
use crate::delivery::want::{Kind, What};
use crate::lazy;

/// A place to wait, with a lock released, for something to change under that lock. Used like threading.Condition.
///
/// The lock is a Lock or RLock of quell or of threading, or anything with acquire() and release(); a new quell.RLock unless
/// given.
///
/// wait() is an interruption point. However it ends, the lock is held again. One that was notified while it was being
/// interrupted raises, and the notification goes to the next.
#[pyclass(frozen, subclass, weakref, module = "quell", name = "Condition")]
pub struct Condition {
    /// None before `__init__`.
    mutex: GilCell<Option<Kept>>,
    /// The same lock, if it is one of ours, where it is quickly found.
    own: OwnPlace,
    pub(super) waiters: Waiters<()>,
    /// Tasks that were closed while they waited, and did not get the lock again that their `async with` is about to release.
    forfeited: AtomicU32,
    bindings: Bindings,
}

/// Whose lock it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Lock,
    RLock,
    /// The standard library's own class, whose acquire fails only if a signal handler raises.
    Standard,
    Other,
}

struct Kept {
    lock: Py<PyAny>,
    whose: Whose,
}

/// The lock of a condition, kept alive for the length of an operation.
struct Mutex<'py> {
    lock: Bound<'py, PyAny>,
    whose: Whose,
}

/// A lock of ours, by its class; borrowed.
#[derive(Clone, Copy)]
enum Own {
    Lock(Obj),
    RLock(Obj),
}

impl Own {
    /// Whether the calling thread has it, where that is found at once; false also where it is not.
    #[inline(always)]
    fn is_surely_owned(self) -> bool {
        // SAFETY: of exactly that class, and alive as long as it is kept.
        unsafe {
            match self {
                Self::Lock(lock) => Yielding::is_owned(this::<Lock>(lock)),
                Self::RLock(lock) => this::<RLock>(lock).is_surely_owned(),
            }
        }
    }

    fn is_owned(self) -> bool {
        // SAFETY: of exactly that class, and alive as long as it is kept.
        unsafe {
            match self {
                Self::Lock(lock) => Yielding::is_owned(this::<Lock>(lock)),
                Self::RLock(lock) => Yielding::is_owned(this::<RLock>(lock)),
            }
        }
    }
}

/// Where the lock of a condition stands that is one of ours: borrowed, null where it is another. Written and read with the GIL,
/// together with what keeps it alive.
#[derive(Default)]
struct OwnPlace {
    rlock: AtomicPtr<ffi::PyObject>,
    lock: AtomicPtr<ffi::PyObject>,
}

impl OwnPlace {
    fn new(kept: Option<&Kept>) -> Self {
        let own = Self::default();
        own.set(kept);
        own
    }

    fn set(&self, kept: Option<&Kept>) {
        let of = |whose| {
            kept.filter(|kept| kept.whose == whose).map_or(null_mut(), |kept| kept.lock.as_ptr())
        };
        self.rlock.store(of(Whose::RLock), Relaxed);
        self.lock.store(of(Whose::Lock), Relaxed);
    }

    #[inline(always)]
    fn get(&self) -> Option<Own> {
        let rlock = self.rlock.load(Relaxed);
        if !rlock.is_null() {
            return Some(Own::RLock(rlock));
        }
        let lock = self.lock.load(Relaxed);
        (!lock.is_null()).then_some(Own::Lock(lock))
    }
}

/// A lock that was given up.
enum GivenUp<'py> {
    Ours(Given),
    Foreign(Option<Bound<'py, PyAny>>),
}

fn whose(lock: &Bound<'_, PyAny>) -> PyResult<Whose> {
    let py = lock.py();
    if lock.is_exact_instance_of::<Lock>() {
        return Ok(Whose::Lock);
    }
    if lock.is_exact_instance_of::<RLock>() {
        return Ok(Whose::RLock);
    }
    let module = py.import("_thread")?;
    for name in ["LockType", "RLock"] {
        if lock.get_type().is(&module.getattr(name)?) {
            return Ok(Whose::Standard);
        }
    }
    Ok(Whose::Other)
}

impl<'py> Mutex<'py> {
    /// What answers for it, if it is one of ours.
    fn ours(&self) -> Option<&dyn Answers> {
        match self.whose {
            // SAFETY: of exactly that class, and alive as long as `self`.
            Whose::Lock => Some(unsafe { this::<Lock>(self.lock.as_ptr()) }),
            // SAFETY: as above.
            Whose::RLock => Some(unsafe { this::<RLock>(self.lock.as_ptr()) }),
            Whose::Standard | Whose::Other => None,
        }
    }

    fn is_owned(&self) -> PyResult<bool> {
        self.ours().map_or_else(|| self.is_owned_foreign(), |lock| Ok(lock.is_owned()))
    }

    #[cold]
    fn is_owned_foreign(&self) -> PyResult<bool> {
        if let Some(is_owned) = self.lock.getattr_opt("_is_owned")? {
            return is_owned.call0()?.is_truthy();
        }
        if self.lock.call_method1("acquire", (false,))?.is_truthy()? {
            self.lock.call_method0("release")?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Gives the lock up whole. For a foreign one, interrupts are kept out, so that it is known whether it was.
    fn give_up(&self, py: Python<'py>) -> PyResult<GivenUp<'py>> {
        match self.ours() {
            Some(lock) => lock.give_up(py).map(GivenUp::Ours),
            None => delivery::shielded(py, || self.release_save()).map(GivenUp::Foreign),
        }
    }

    fn release_save(&self) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.lock.getattr_opt("_release_save")? {
            Some(release_save) => release_save.call0().map(Some),
            None => self.lock.call_method0("release").map(|_| None),
        }
    }

    /// Takes the lock back, however long it takes; interrupts are kept out. An error of the standard library's locks is
    /// that of a signal handler: it is returned when the lock is there.
    fn take_back(&self, py: Python<'py>, given: GivenUp<'py>) -> PyResult<()> {
        let saved = match (given, self.ours()) {
            (GivenUp::Ours(given), Some(lock)) => {
                lock.take_back(py, given);
                return Ok(());
            }
            (GivenUp::Foreign(saved), _) => saved,
            (GivenUp::Ours(_), None) => unreachable!("the class of a lock does not change here"),
        };
        delivery::shielded(py, || {
            let mut first = Ok(());
            loop {
                match self.acquire_restore(saved.as_ref()) {
                    Ok(()) => return first,
                    Err(error) if self.whose == Whose::Standard => first = first.and(Err(error)),
                    Err(error) => return Err(error),
                }
            }
        })
    }

    fn acquire_restore(&self, saved: Option<&Bound<'py, PyAny>>) -> PyResult<()> {
        match self.lock.getattr_opt("_acquire_restore")? {
            Some(acquire_restore) => acquire_restore.call1((saved,)),
            None => self.lock.call_method0("acquire"),
        }
        .map(drop)
    }
}

/// The part of [`Yielding`] that one object can stand for.
trait Answers {
    fn is_owned(&self) -> bool;
    fn give_up(&self, py: Python<'_>) -> PyResult<Given>;
    fn take_back(&self, py: Python<'_>, given: Given);
}

impl<L: Yielding> Answers for L {
    fn is_owned(&self) -> bool {
        Yielding::is_owned(self)
    }

    fn give_up(&self, py: Python<'_>) -> PyResult<Given> {
        Yielding::give_up(self, py)
    }

    fn take_back(&self, py: Python<'_>, given: Given) {
        Yielding::take_back(self, py, given);
    }
}

/// A wait, which gives the lock up when it has joined.
struct Giving<'a, 'py> {
    condition: &'a Condition,
    py: Python<'py>,
    mutex: &'a Mutex<'py>,
    given: &'a mut Option<GivenUp<'py>>,
}

impl Occasion for Giving<'_, '_> {
    fn object(&self) -> &dyn Waitable {
        self.condition
    }

    fn joined(&mut self) -> PyResult<()> {
        *self.given = Some(self.mutex.give_up(self.py)?);
        Ok(())
    }
}

impl Waitable for Condition {
    fn forget_waiters_after_fork(&self) {
        // SAFETY: called by the thread that forked, attached.
        self.waiters.forget_others(unsafe { Python::assume_attached() });
    }

    fn what(&self) -> What {
        What::value(Kind::Condition, self)
    }
}

impl Condition {
    #[inline(always)]
    fn mutex<'py>(&self, py: Python<'py>) -> PyResult<Mutex<'py>> {
        self.mutex
            .with(py, |kept| {
                let kept = kept.as_ref()?;
                Some(Mutex { lock: kept.lock.bind(py).clone(), whose: kept.whose })
            })
            .ok_or_else(|| runtime_error("Condition.__init__() was not called"))
    }

    /// A condition of that lock, if there is one yet.
    fn of(kept: Option<Kept>) -> Self {
        let own = OwnPlace::new(kept.as_ref());
        let (mutex, waiters) = (GilCell::new(kept), Waiters::new());
        Self { mutex, own, waiters, forfeited: AtomicU32::new(0), bindings: Bindings::new() }
    }

    /// Keeps another lock. What was kept before is dropped where other code may run.
    fn keep(&self, py: Python<'_>, kept: Option<Kept>) {
        self.own.set(kept.as_ref());
        let before = self.mutex.with(py, |mutex| std::mem::replace(mutex, kept));
        drop(before);
    }

    fn wait(&self, py: Python<'_>, patience: Patience) -> PyResult<bool> {
        let mutex = self.mutex(py)?;
        if !mutex.is_owned()? {
            return Err(runtime_error("cannot wait on un-acquired lock"));
        }
        let mut given = None;
        let giving = Giving { condition: self, py, mutex: &mutex, given: &mut given };
        let ended = match self.waiters.wait(py, patience, giving) {
            Ended::Told(()) => Ok(true),
            Ended::Left(None) => Ok(false),
            Ended::Left(Some(error)) => Err(error),
            Ended::Both((), error) => {
                drop(self.waiters.tell(py, 1, ()));
                Err(error)
            }
        };
        match (given.map_or(Ok(()), |given| mutex.take_back(py, given)), ended) {
            (Err(later), Err(error)) => {
                later.set_context(py, Some(error));
                Err(later)
            }
            (Err(error), Ok(_)) => Err(error),
            (Ok(()), ended) => ended,
        }
    }

    fn notify(&self, py: Python<'_>, count: usize) -> PyResult<()> {
        let owned = match self.own.get() {
            Some(lock) => lock.is_owned(),
            None => self.mutex(py)?.is_owned_foreign()?,
        };
        if !owned {
            return Err(runtime_error("cannot notify on un-acquired lock"));
        }
        drop(self.waiters.tell(py, count, ()));
        Ok(())
    }

    /// A condition of that lock.
    pub(super) fn new_object(py: Python<'_>, lock: &Py<Lock>) -> PyResult<Py<Self>> {
        lazy::named(py, "Condition")?;
        let lock = lock.clone_ref(py).into_any();
        Py::new(py, Self::of(Some(Kept { lock, whose: Whose::Lock })))
    }

    /// The lock, for a task: an RLock is a thread's, and a foreign one knows no tasks.
    fn lock_of_tasks(&self, py: Python<'_>) -> PyResult<Py<Lock>> {
        let lock = self.mutex(py)?.lock;
        lock.cast_exact::<Lock>().map(|lock| lock.clone().unbind()).map_err(|_| {
            PyTypeError::new_err(format!(
                "a task can use a Condition of a quell.Lock, as Condition(Lock()) makes one, not of a {}",
                super::qualified_name(&lock.get_type())
            ))
        })
    }
}

/// Waits as a task, with the lock given up, which is held again at the end.
async fn wait_as_task(condition: &Condition, lock: &Lock) -> PyResult<()> {
    let place = attached(|py| {
        if !Yielding::is_owned(lock) {
            return Err(runtime_error("cannot wait on un-acquired lock"));
        }
        let place = condition.waiters.join(py).passing_on();
        // A hold of the thread ends here: what a task has is none.
        Yielding::give_up(lock, py).map(|_| place)
    })?;
    place.told().await;
    lock.raw.lock_as_task().await;
    place.used();
    Ok(())
}

/// Takes the lock for a task whose wait was cancelled.
async fn take_after_cancel(condition: &Condition, lock: &Lock) {
    let forfeit = Forfeit(condition);
    lock.raw.lock_as_task().await;
    std::mem::forget(forfeit);
}

/// Dropped: the task is gone before it has its lock again.
struct Forfeit<'a>(&'a Condition);

impl Drop for Forfeit<'_> {
    fn drop(&mut self) {
        let forfeited = &self.0.forfeited;
        forfeited.store(forfeited.load(Relaxed) + 1, Relaxed);
    }
}

#[pymethods]
impl Condition {
    // Arguments are for `__init__`, a subclass's or the one below.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(lock=None)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self::of(None)
    }

    #[pyo3(signature = (lock=None))]
    fn __init__(&self, py: Python<'_>, lock: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        let lock = match lock {
            Some(lock) => lock,
            None => lazy::named(py, "RLock")?.call0()?,
        };
        for name in ["acquire", "release"] {
            lock.getattr(name)?;
        }
        self.keep(py, Some(Kept { whose: whose(&lock)?, lock: lock.unbind() }));
        Ok(())
    }

    /// The lock.
    #[getter]
    fn _lock<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.mutex(py)?.lock)
    }

    /// Wait until the predicate is true, and return its value; after `timeout` seconds return it as it is.
    ///
    /// The predicate is called with the lock held: at first, and after each notification. An interruption point where it waits.
    #[pyo3(signature = (predicate, timeout=None))]
    fn wait_for<'py>(
        slf: &Bound<'py, Self>,
        predicate: &Bound<'py, PyAny>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let exact = slf.is_exact_instance_of::<Self>();
        // The end of the time-out, once there has been a wait.
        let mut end: Option<Option<Instant>> = None;
        loop {
            let result = predicate.call0()?;
            if result.is_truthy()? {
                return Ok(result);
            }
            let patience = match end {
                None => {
                    let timeout = timeout.map_or(null_mut(), Bound::as_ptr);
                    // SAFETY: attached; an argument of the running call, or null.
                    let patience = unsafe { Patience::of_wait(timeout) }?;
                    end = Some(patience.deadline());
                    patience
                }
                Some(None) => Patience::Forever,
                Some(Some(end)) if end <= Instant::now() => return Ok(result),
                Some(Some(end)) => Patience::Until(end),
            };
            if exact {
                slf.get().wait(py, patience)?;
            } else {
                // A subclass may have a wait of its own.
                slf.call_method1("wait", (patience.seconds(),))?;
            }
        }
    }

    /// Acquire the lock, as a task: await condition.acquire_async(), or async with condition. It must be a quell.Lock.
    fn acquire_async(&self, py: Python<'_>) -> PyResult<Py<Operation>> {
        Lock::acquire_async(self.lock_of_tasks(py)?.bind(py))
    }

    fn __aenter__(&self, py: Python<'_>) -> PyResult<Py<Operation>> {
        self.acquire_async(py)
    }

    #[pyo3(signature = (*exc_info))]
    fn __aexit__(&self, exc_info: &Bound<'_, PyTuple>) -> PyResult<Py<Operation>> {
        let py = exc_info.py();
        let closing =
            exc_info.get_item(0).is_ok_and(|class| class.is(py.get_type::<PyGeneratorExit>()));
        let forfeited = self.forfeited.load(Relaxed);
        if closing && forfeited > 0 {
            self.forfeited.store(forfeited - 1, Relaxed);
            return Operation::done(py, "__aexit__");
        }
        Lock::__aexit__(self.lock_of_tasks(py)?.bind(py), exc_info)
    }

    /// Release the lock, wait until notified, take the lock again and return True, as a task: await condition.wait_async().
    ///
    /// The lock must be a quell.Lock, and held. A task that is cancelled while it waits has the lock again when the cancellation is
    /// raised, and a notification that reached it goes to the next.
    fn wait_async(slf: &Bound<'_, Self>) -> PyResult<Py<Operation>> {
        let py = slf.py();
        let lock = slf.get().lock_of_tasks(py)?;
        let (condition, again) = (slf.clone().unbind(), (slf.clone().unbind(), lock.clone_ref(py)));
        let wait = async move {
            wait_as_task(condition.get(), lock.get()).await?;
            Ok(awaiting::truth())
        };
        let end = async move {
            take_after_cancel(again.0.get(), again.1.get()).await;
            Ok(awaiting::truth())
        };
        Operation::with_end(py, "wait_async", wait, end)
    }

    /// Wait until the predicate is true, and return its value, as a task: await condition.wait_for_async(predicate).
    ///
    /// The predicate, a plain function, is called with the lock held: at first, and after each notification. Otherwise as
    /// wait_async().
    fn wait_for_async(slf: &Bound<'_, Self>, predicate: Py<PyAny>) -> PyResult<Py<Operation>> {
        let py = slf.py();
        let lock = slf.get().lock_of_tasks(py)?;
        let (condition, again) = (slf.clone().unbind(), (slf.clone().unbind(), lock.clone_ref(py)));
        let wait = async move {
            loop {
                let answer = attached(|py| {
                    let answer = predicate.bind(py).call0()?;
                    Ok::<_, PyErr>(answer.is_truthy()?.then(|| answer.unbind()))
                })?;
                if let Some(answer) = answer {
                    return Ok(answer);
                }
                wait_as_task(condition.get(), lock.get()).await?;
            }
        };
        let end = async move {
            take_after_cancel(again.0.get(), again.1.get()).await;
            Ok(awaiting::truth())
        };
        Operation::with_end(py, "wait_for_async", wait, end)
    }

    /// Wake everybody who waits now. RuntimeError if the lock is not held.
    fn notify_all(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let count = slf.get().waiters.len(py);
        if slf.is_exact_instance_of::<Self>() {
            slf.get().notify(py, count)
        } else {
            slf.call_method1("notify", (count,)).map(drop)
        }
    }

    /// A deprecated name of notify_all().
    #[pyo3(name = "notifyAll")]
    fn notify_all_deprecated(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let category = py.get_type::<PyDeprecationWarning>();
        PyErr::warn(py, &category, c"notifyAll() is deprecated, use notify_all() instead", 1)?;
        slf.call_method0("notify_all").map(drop)
    }

    fn _is_owned(&self, py: Python<'_>) -> PyResult<bool> {
        self.mutex(py)?.is_owned()
    }

    fn _release_save<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.mutex(py)?.release_save()
    }

    fn _acquire_restore(&self, py: Python<'_>, state: &Bound<'_, PyAny>) -> PyResult<()> {
        self.mutex(py)?.acquire_restore(Some(state))
    }

    fn _at_fork_reinit(&self, py: Python<'_>) -> PyResult<()> {
        self.mutex(py)?.lock.call_method0("_at_fork_reinit")?;
        self.waiters.forget(py);
        Ok(())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let lock = self.mutex(py)?.lock;
        Ok(format!("<Condition({}, {})>", lock.str()?, self.waiters.len(py)))
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        Err(PyTypeError::new_err(format!("cannot pickle '{}' object", super::type_name(slf))))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the collector runs attached; nothing in the closure gives the GIL away.
        let py = unsafe { Python::assume_attached() };
        self.mutex.with(py, |kept| kept.as_ref().map_or(Ok(()), |kept| visit.call(&kept.lock)))
    }

    fn __clear__(&self, py: Python<'_>) {
        self.keep(py, None);
    }
}

/// What `call` does with the lock of the condition, which it is given as the object, too.
///
/// # Safety
/// Attached; `slf` is an instance of Condition.
#[inline]
unsafe fn on_mutex(slf: Obj, call: impl FnOnce(&Mutex<'_>, Obj) -> Obj) -> Obj {
    // SAFETY: as the caller promises.
    match unsafe { this::<Condition>(slf).mutex(Python::assume_attached()) } {
        Ok(mutex) => call(&mutex, mutex.lock.as_ptr()),
        // SAFETY: attached.
        Err(error) => unsafe { throw(error) },
    }
}

/// `Condition.acquire(*args, **kwargs)`: the lock's.
unsafe extern "C" fn acquire(slf: Obj, args: *const Obj, count: isize, keywords: Obj) -> Obj {
    // SAFETY: called by the method descriptor, attached, with an instance of Condition and a call's arguments.
    unsafe {
        on_mutex(slf, |mutex, lock| match mutex.whose {
            Whose::Lock => locking::acquire::<Lock>(lock, args, count, keywords),
            Whose::RLock => locking::acquire::<RLock>(lock, args, count, keywords),
            _ => call_foreign(mutex, "acquire", args, count, keywords),
        })
    }
}

/// `Condition.release()`: the lock's.
unsafe extern "C" fn release(slf: Obj, _: Obj) -> Obj {
    // SAFETY: as for `acquire`.
    unsafe {
        match this::<Condition>(slf).own.get() {
            Some(Own::Lock(lock)) => locking::release::<Lock>(lock, null_mut()),
            Some(Own::RLock(lock)) => locking::release::<RLock>(lock, null_mut()),
            None => on_foreign(slf, "release", null_mut(), 0),
        }
    }
}

/// The lock's own.
impl Entry for Condition {
    const BINDINGS: usize = offset_of!(Self, bindings);
    const ENTER: &CStr = <Lock as Entry>::ENTER;
    const EXIT: &CStr = <Lock as Entry>::EXIT;

    #[inline(always)]
    unsafe fn enter(slf: Obj) -> Obj {
        // SAFETY: the caller's promise.
        unsafe {
            match this::<Condition>(slf).own.get() {
                Some(Own::Lock(lock)) => <Lock as Entry>::enter(lock),
                Some(Own::RLock(lock)) => <RLock as Entry>::enter(lock),
                None => on_foreign(slf, "__enter__", null_mut(), 0),
            }
        }
    }

    #[inline(always)]
    unsafe fn exit(slf: Obj, args: *mut Obj, count: isize) -> Obj {
        // SAFETY: the caller's promise.
        unsafe {
            match this::<Condition>(slf).own.get() {
                Some(Own::Lock(lock)) => <Lock as Entry>::exit(lock, args, count),
                Some(Own::RLock(lock)) => <RLock as Entry>::exit(lock, args, count),
                None => on_foreign(slf, "__exit__", args, count),
            }
        }
    }
}

/// Calls a method of the condition's lock, which is none of ours.
///
/// # Safety
/// As [`on_mutex`], with a call's arguments.
#[cold]
#[inline(never)]
unsafe fn on_foreign(slf: Obj, method: &str, args: *mut Obj, count: isize) -> Obj {
    // SAFETY: the caller's promise.
    unsafe { on_mutex(slf, |mutex, _| call_foreign(mutex, method, args, count, null_mut())) }
}

/// Calls a method of a foreign lock.
///
/// # Safety
/// The arguments are those of a METH_FASTCALL | METH_KEYWORDS function.
#[cold]
unsafe fn call_foreign(
    mutex: &Mutex<'_>,
    method: &str,
    args: *const Obj,
    count: isize,
    keywords: Obj,
) -> Obj {
    match mutex.lock.getattr(method) {
        // SAFETY: the caller's promise; a live callable.
        Ok(method) => unsafe {
            ffi::PyObject_Vectorcall(method.as_ptr(), args, count as usize, keywords)
        },
        // SAFETY: attached.
        Err(error) => unsafe { throw(error) },
    }
}

/// `Condition.wait(timeout=None)`.
unsafe extern "C" fn wait(slf: Obj, args: *const Obj, count: isize, keywords: Obj) -> Obj {
    // SAFETY: as for `acquire`.
    unsafe {
        let py = Python::assume_attached();
        let patience = match count == 0 && keywords.is_null() {
            true => Ok(Patience::Forever),
            false => parameters(py, true)
                .bind(args, count, keywords)
                .and_then(|[timeout]| Patience::of_wait(timeout)),
        };
        answer(patience.and_then(|patience| this::<Condition>(slf).wait(py, patience)))
    }
}

/// `Condition.notify(n=1)`.
unsafe extern "C" fn notify(slf: Obj, args: *const Obj, count: isize, keywords: Obj) -> Obj {
    // SAFETY: as for `acquire`.
    unsafe {
        let (condition, py) = (this::<Condition>(slf), Python::assume_attached());
        // Mostly nobody waits.
        if count == 0
            && keywords.is_null()
            && condition.own.get().is_some_and(Own::is_surely_owned)
            && condition.waiters.len(py) == 0
        {
            return none();
        }
        notify_waiting(slf, args, count, keywords)
    }
}

/// # Safety
/// As [`acquire`].
#[cold]
#[inline(never)]
unsafe fn notify_waiting(slf: Obj, args: *const Obj, count: isize, keywords: Obj) -> Obj {
    // SAFETY: the caller's promise.
    unsafe {
        let py = Python::assume_attached();
        let how_many = match count == 0 && keywords.is_null() {
            true => Ok(1),
            false => parameters(py, false).bind(args, count, keywords).and_then(|[n]| {
                Bound::from_borrowed_ptr_or_opt(py, n).map_or(Ok(1), |n| n.extract::<isize>())
            }),
        };
        let how_many = how_many.map(|n| usize::try_from(n).unwrap_or(0));
        match how_many.and_then(|n| this::<Condition>(slf).notify(py, n)) {
            Ok(()) => none(),
            Err(error) => throw(error),
        }
    }
}

/// Those of `wait`, or of `notify`.
fn parameters(py: Python<'_>, wait: bool) -> &'static Parameters<1> {
    static WAIT: std::sync::OnceLock<Parameters<1>> = std::sync::OnceLock::new();
    static NOTIFY: std::sync::OnceLock<Parameters<1>> = std::sync::OnceLock::new();
    if wait {
        WAIT.get_or_init(|| Parameters::new(py, "wait", ["timeout"]))
    } else {
        NOTIFY.get_or_init(|| Parameters::new(py, "notify", ["n"]))
    }
}

const METHODS: &[Method] = &[
    call::keywords(
        c"acquire",
        acquire,
        c"acquire($self, /, *args, **kwargs)\n--\n\nAcquire the lock, with the arguments that it takes.",
    ),
    call::plain(c"release", release, c"release($self, /)\n--\n\nRelease the lock."),
    call::keywords(c"wait", wait, WAIT),
    call::keywords(c"notify", notify, NOTIFY),
];

const WAIT: &CStr = c"wait($self, /, timeout=None)\n--\n\n\
    Release the lock, wait until notified, take the lock again as it was, and return True.\n\n\
    With a timeout in seconds, wait at most so long for the notification; False if there was none.\n\
    RuntimeError if the lock is not held.\n\n\
    An interruption point. The interrupt is raised when the lock is held again.";

const NOTIFY: &CStr = c"notify($self, /, n=1)\n--\n\n\
    Wake the n threads that have waited longest, or as many as there are.\n\
    RuntimeError if the lock is not held.";

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    crate::lazy::add_class::<Condition>(module)?;
    call::install::<Condition>(py, METHODS)?;
    bound::install::<Condition, Condition>(py)
}
