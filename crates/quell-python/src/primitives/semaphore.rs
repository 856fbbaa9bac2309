//! `quell.Semaphore` and `quell.BoundedSemaphore`: `threading`'s with interruptible waits that never lose a permit.
//!
//! The permits are the core's; the bound is looked at here. A permit that a `with` statement has taken is a hold until its exit
//! gives it back. One that was taken by `acquire()` is none, because semaphores count events as often as they guard: who acquires need never be who releases.

use std::ffi::CStr;
use std::mem::offset_of;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Instant;

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::awaiting::{self, Operation};
use super::bound::{self, Bindings};
use super::call::{self, Method, Obj, Parameters, answer, none, this, throw, truth};
use super::locking::{self, Locking};
use super::wait::{Patience, Waitable, block};
use crate::delivery::want::{Kind, What};
use crate::delivery::{self, Me, Unheld};

/// A number of permits, used like threading.Semaphore: acquire() takes one, and waits for one if there is none; release() gives
/// some back, or adds them.
///
/// Waiting is an interruption point, and an interrupted acquire() has taken no permit. Inside `with semaphore:` an
/// interrupt is raised only where the permit will be given back.
#[pyclass(frozen, subclass, weakref, module = "quell", name = "Semaphore")]
pub struct Semaphore {
    raw: quell::Semaphore,
    /// The most permits there may be.
    bound: AtomicU32,
    /// How many permits `with` statements have; changes with the GIL.
    entered: AtomicU32,
    bindings: Bindings,
}

/// A semaphore that never has more permits than at first: release() raises ValueError instead. Used like
/// threading.BoundedSemaphore.
#[pyclass(frozen, subclass, extends = Semaphore, module = "quell", name = "BoundedSemaphore")]
pub struct BoundedSemaphore;

/// What the core can count.
const MOST: u32 = (1 << 30) - 1;
/// The bound of a semaphore without one.
const UNBOUNDED: u32 = u32::MAX;

#[cold]
fn too_many() -> PyErr {
    PyOverflowError::new_err(format!("a semaphore has {MOST} permits at most"))
}

impl Semaphore {
    fn made() -> Self {
        let (bound, entered) = (AtomicU32::new(UNBOUNDED), AtomicU32::new(0));
        Self { raw: quell::Semaphore::new(0), bound, entered, bindings: Bindings::new() }
    }

    #[inline(always)]
    fn key(&self) -> *const () {
        (&raw const *self).cast()
    }

    /// Sets the number of permits, for a semaphore that nobody uses yet.
    fn set(&self, value: i64) -> PyResult<u32> {
        if value < 0 {
            return Err(PyValueError::new_err("semaphore initial value must be >= 0"));
        }
        let value = u32::try_from(value).ok().filter(|value| *value <= MOST);
        let value = value.ok_or_else(too_many)?;
        let now = self.raw.value();
        if let Some(permit) = self.raw.try_acquire_many(now.saturating_sub(value)) {
            permit.forget();
        }
        self.raw.release_within(value.saturating_sub(now), MOST).map_err(|_| too_many())?;
        Ok(value)
    }

    /// Gives `count` permits back. No hold is looked at.
    #[inline(always)]
    fn give_back(&self, count: u32) -> PyResult<()> {
        let bound = self.bound.load(Relaxed);
        self.raw.release_within(count, bound).map_err(|_| match bound {
            UNBOUNDED => too_many(),
            _ => PyValueError::new_err("Semaphore released too many times"),
        })
    }

    /// Ends the hold of a `with` statement of the calling thread, if it has one. What was deferred by it is raised by the gate,
    /// at the next safe point: not here, where an interrupt that ends the block may be on its way already.
    #[inline(always)]
    fn leave(&self, py: Python<'_>) {
        if self.entered.load(Relaxed) != 0 && delivery::unhold(py, self.key()) != Unheld::NotMine {
            self.entered.store(self.entered.load(Relaxed) - 1, Relaxed);
        }
    }

    /// A `with` statement's permit is given back in another thread than it was taken in, or nowhere at all.
    #[cold]
    #[inline(never)]
    fn leave_elsewhere(&self, py: Python<'_>) {
        if let Some(fewer) = self.entered.load(Relaxed).checked_sub(1) {
            self.entered.store(fewer, Relaxed);
            delivery::unhold_foreign(py, self.key());
        }
    }
}

impl Waitable for Semaphore {
    fn forget_waiters_after_fork(&self) {
        self.raw.forget_waiters_after_fork();
    }

    fn what(&self) -> What {
        What::value(Kind::Semaphore, self)
    }
}

impl Locking for Semaphore {
    const BINDINGS: usize = offset_of!(Self, bindings);
    const ACQUIRE: &CStr = c"acquire($self, /, blocking=True, timeout=None)\n--\n\n\
        Take a permit, waiting for one if need be, and return True.\n\n\
        With blocking=False it does not wait, and with a timeout in seconds it waits at most so long;\n\
        if no permit could be had, the answer is False.\n\n\
        An interruption point: an interrupt that is pending or arrives during the wait is raised, and\n\
        no permit is taken. If the thread holds locks that would not be released then, it is deferred instead.";
    const RELEASE: &CStr = c"release($self, /, n=1)\n--\n\n\
        Give n permits back, or add them, and let as many waiting threads go on. Any thread may do so.\n\n\
        ValueError if n is less than 1, or if a BoundedSemaphore would have more permits than at first.";

    #[inline(always)]
    fn try_lock(&self, _me: Me<'_>) -> bool {
        self.raw.try_acquire().map(quell::Permit::forget).is_some()
    }

    fn wait(&self, py: Python<'_>, deadline: Option<Instant>) -> PyResult<Option<()>> {
        block(py, self, deadline, |wait| self.raw.acquire_with(wait).map(quell::Permit::forget))
    }

    #[inline(always)]
    fn acquired(&self, _me: Me<'_>) {}

    #[inline(always)]
    fn entered(&self, me: Me<'_>) {
        self.entered.store(self.entered.load(Relaxed) + 1, Relaxed);
        me.hold(self.key());
    }

    #[inline(always)]
    fn enter_at_once(&self, me: Me<'_>) -> bool {
        let taken = self.try_lock(me);
        if taken {
            self.entered(me);
        }
        taken
    }

    /// By the exit of a `with` statement.
    #[inline(always)]
    fn give(&self, py: Python<'_>) -> PyResult<()> {
        let entered = self.entered.load(Relaxed);
        self.leave(py);
        if self.entered.load(Relaxed) == entered {
            self.leave_elsewhere(py);
        }
        self.give_back(1)
    }
}

impl Drop for Semaphore {
    fn drop(&mut self) {
        // Nobody can give these permits back any more: the holders must not stay uninterruptible.
        for _ in 0..*self.entered.get_mut() {
            // SAFETY: the value of a Python object is dropped by its deallocator, attached.
            self.leave_elsewhere(unsafe { Python::assume_attached() });
        }
    }
}

#[pymethods]
impl Semaphore {
    // Arguments are for `__init__`, a subclass's or the one below.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(value=1)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self::made()
    }

    #[pyo3(signature = (value=1))]
    fn __init__(&self, value: i64) -> PyResult<()> {
        self.set(value).map(drop)
    }

    /// Take a permit, as a task: await semaphore.acquire_async(), or async with semaphore. The answer is True.
    ///
    /// A task that is cancelled while it waits has taken no permit.
    fn acquire_async(slf: &Bound<'_, Self>) -> PyResult<Py<Operation>> {
        let semaphore = slf.clone().unbind();
        Operation::new(slf.py(), "acquire_async", async move {
            semaphore.get().raw.acquire_async().await.forget();
            Ok(awaiting::truth())
        })
    }

    fn __aenter__(slf: &Bound<'_, Self>) -> PyResult<Py<Operation>> {
        Self::acquire_async(slf)
    }

    #[pyo3(signature = (*_exc_info))]
    fn __aexit__(slf: &Bound<'_, Self>, _exc_info: &Bound<'_, PyTuple>) -> PyResult<Py<Operation>> {
        Operation::done_with(slf.py(), "__aexit__", || slf.get().give_back(1))
    }

    /// How many permits nobody has. Out of date as soon as it is known.
    #[getter]
    fn _value(&self) -> u32 {
        self.raw.value()
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        let this = slf.get();
        let name = super::type_name(slf);
        let value = this.raw.value();
        match this.bound.load(Relaxed) {
            UNBOUNDED => format!("<{name} at {:p}: value={value}>", slf.as_ptr()),
            bound => format!("<{name} at {:p}: value={value}/{bound}>", slf.as_ptr()),
        }
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        Err(PyTypeError::new_err(format!("cannot pickle '{}' object", super::type_name(slf))))
    }
}

#[pymethods]
impl BoundedSemaphore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(value=1)")]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyClassInitializer<Self> {
        PyClassInitializer::from(Semaphore::made()).add_subclass(Self)
    }

    #[pyo3(signature = (value=1))]
    fn __init__(slf: &Bound<'_, Self>, value: i64) -> PyResult<()> {
        let semaphore = slf.as_super().get();
        let bound = semaphore.set(value)?;
        semaphore.bound.store(bound, Relaxed);
        Ok(())
    }

    /// How many permits it has if nobody has one.
    #[getter]
    fn _initial_value(slf: &Bound<'_, Self>) -> u32 {
        slf.as_super().get().bound.load(Relaxed)
    }
}

/// `Semaphore.acquire(blocking=True, timeout=None)`.
unsafe extern "C" fn acquire(slf: Obj, args: *const Obj, count: isize, keywords: Obj) -> Obj {
    // SAFETY: called by the method descriptor, attached, with an instance of Semaphore and a call's arguments.
    unsafe {
        let py = Python::assume_attached();
        let semaphore = this::<Semaphore>(slf);
        if count == 0 && keywords.is_null() {
            return answer(locking::take_plainly(semaphore, py));
        }
        let bound = locking::parameters(py).bind(args, count, keywords);
        answer(bound.and_then(|[blocking, timeout]| {
            let timed = !timeout.is_null() && timeout != ffi::Py_None();
            let blocking = blocking.is_null() || truth(blocking)?;
            if timed && !blocking {
                return Err(PyValueError::new_err(
                    "can't specify timeout for non-blocking acquire",
                ));
            }
            // As in the standard library, the time-out is looked at where there is a wait.
            locking::take_with(semaphore, py, || {
                if blocking { Patience::of_wait(timeout) } else { Ok(Patience::Try) }
            })
        }))
    }
}

/// `Semaphore.release(n=1)`.
unsafe extern "C" fn release(slf: Obj, args: *const Obj, count: isize, keywords: Obj) -> Obj {
    // SAFETY: as for `acquire`.
    unsafe {
        let py = Python::assume_attached();
        let semaphore = this::<Semaphore>(slf);
        let permits = if count == 0 && keywords.is_null() {
            Ok(1)
        } else {
            release_parameters(py)
                .bind(args, count, keywords)
                .and_then(|[n]| Bound::from_borrowed_ptr_or_opt(py, n).map_or(Ok(1), how_many))
        };
        let given = permits.and_then(|permits| {
            semaphore.leave(py);
            semaphore.give_back(permits)
        });
        match given {
            Ok(()) => none(),
            Err(error) => throw(error),
        }
    }
}

fn release_parameters(py: Python<'_>) -> &'static Parameters<1> {
    static PARAMETERS: std::sync::OnceLock<Parameters<1>> = std::sync::OnceLock::new();
    PARAMETERS.get_or_init(|| Parameters::new(py, "release", ["n"]))
}

/// The argument of `release`.
#[cold]
fn how_many(n: Bound<'_, PyAny>) -> PyResult<u32> {
    if n.lt(1)? {
        return Err(PyValueError::new_err("n must be one or more"));
    }
    let count: i64 = n.extract()?;
    // What is beyond the core's numbers is beyond every bound.
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

const METHODS: &[Method] = &[
    call::keywords(c"acquire", acquire, Semaphore::ACQUIRE),
    call::keywords(c"release", release, Semaphore::RELEASE),
];

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    crate::lazy::add_class::<Semaphore>(module)?;
    crate::lazy::add_class::<BoundedSemaphore>(module)?;
    call::install::<Semaphore>(py, METHODS)?;
    // Again: the interpreter is quicker with a method of the very class.
    call::install::<BoundedSemaphore>(py, METHODS)?;
    bound::install::<Semaphore, Semaphore>(py)?;
    bound::install::<BoundedSemaphore, Semaphore>(py)
}
