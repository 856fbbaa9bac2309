//! How a lock is taken and given back from Python: the methods that Lock and RLock share, for whatever else is entered and
//! left like them.
//!
//! Taking it while an interrupt is pending raises and takes nothing, if every lock that the thread holds would be released
//! then. From then to the release it is one of the thread's *holds*, and interrupts are raised only where an exception would
//! release it; the release that ends the last hold raises what is left, after the lock is free. A class says how it takes and gives ([`Locking`]), and installs the methods with [`install`].

use std::ffi::CStr;
use std::time::Instant;

use pyo3::PyClass;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;

use super::bound::{self, Entry};
use super::call::{self, Method, Obj, Parameters, answer, boolean, none, this, throw};
use super::wait::Patience;
use crate::delivery::{self, Hold, Me};

/// What differs from one lock to the next. Every call has the GIL.
pub(super) trait Locking: PyClass<Frozen = True> + Sync {
    /// As of [`Entry`].
    const BINDINGS: usize;

    /// Documentation of `acquire` and `release`.
    const ACQUIRE: &CStr;
    const RELEASE: &CStr;

    /// Takes it for the calling thread if that needs no wait.
    fn try_lock(&self, me: Me<'_>) -> bool;

    /// Waits for it, with the GIL released. None: the deadline passed.
    fn wait(&self, py: Python<'_>, deadline: Option<Instant>) -> PyResult<Option<()>>;

    /// Notes that the calling thread has taken it. Nothing of Python ran since.
    fn acquired(&self, me: Me<'_>);

    /// The same for a `with` statement, whose exit will give it back.
    #[inline(always)]
    fn entered(&self, me: Me<'_>) {
        self.acquired(me);
    }

    /// Takes it and notes that, by a few instructions. False: that would take more, and nothing was done.
    #[inline(always)]
    fn take_at_once(&self, me: Me<'_>) -> bool {
        let taken = self.try_lock(me);
        if taken {
            self.acquired(me);
        }
        taken
    }

    /// The same for a `with` statement.
    #[inline(always)]
    fn enter_at_once(&self, me: Me<'_>) -> bool {
        self.take_at_once(me)
    }

    /// Gives it back where it is the newest hold of the calling thread, in which nothing is pending. False: it is not so, and
    /// nothing was done.
    #[inline(always)]
    fn give_at_once(&self, _me: Me<'_>) -> bool {
        false
    }

    /// Gives it back, and raises what waited for that.
    fn give(&self, py: Python<'_>) -> PyResult<()>;
}

/// What a condition asks of its lock besides: to give it up and take it back, as often as it was taken, without an
/// interrupt in between.
pub(super) trait Yielding: Locking {
    /// Whether the calling thread may give it up.
    fn is_owned(&self) -> bool;

    /// Gives it up whole. RuntimeError if that is not the calling thread's to do.
    fn give_up(&self, py: Python<'_>) -> PyResult<Given>;

    /// Takes it back, however long that takes. It is not the calling thread's.
    fn take_back(&self, py: Python<'_>, given: Given);
}

/// A lock that was given up for a while: how often it had been taken, and the holds.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) count: u32,
    pub(super) holds: Vec<Hold>,
}

/// Takes it where there is nothing in the way. If not, nothing was done, and [`take`] finds out why.
#[inline(always)]
fn take_at_once<L: Locking>(lock: &L, py: Python<'_>) -> bool {
    delivery::me_undisturbed(py).is_some_and(|me| lock.take_at_once(me))
}

/// The same for a `with` statement.
#[inline(always)]
fn enter_at_once<L: Locking>(lock: &L, py: Python<'_>) -> bool {
    delivery::me_undisturbed(py).is_some_and(|me| lock.enter_at_once(me))
}

/// Gives it back where there is nothing in the way. If not, nothing was done, and [`Locking::give`] finds out why.
#[inline(always)]
fn give_at_once<L: Locking>(lock: &L, py: Python<'_>) -> bool {
    delivery::me_undisturbed(py).is_some_and(|me| lock.give_at_once(me))
}

/// As [`take_at_once`]; raises what is pending, and waits if need be.
fn take<L: Locking>(
    lock: &L,
    py: Python<'_>,
    patience: impl FnOnce() -> PyResult<Patience>,
    noted: fn(&L, Me<'_>),
) -> PyResult<bool> {
    let me = delivery::me(py);
    me.deliver_before_acquire()?;
    if lock.try_lock(me) {
        noted(lock, me);
        return Ok(true);
    }
    take_slow(lock, py, patience()?, noted)
}

#[cold]
#[inline(never)]
fn take_slow<L: Locking>(
    lock: &L,
    py: Python<'_>,
    patience: Patience,
    noted: fn(&L, Me<'_>),
) -> PyResult<bool> {
    if patience == Patience::Try {
        return Ok(false);
    }
    let taken = lock.wait(py, patience.deadline())?;
    if taken.is_some() {
        noted(lock, delivery::me(py));
    }
    Ok(taken.is_some())
}

/// Takes it, and notes that; if need be, waits as long as `patience` says, which is asked then.
#[inline(always)]
pub(super) fn take_with<L: Locking>(
    lock: &L,
    py: Python<'_>,
    patience: impl FnOnce() -> PyResult<Patience>,
) -> PyResult<bool> {
    take(lock, py, patience, L::acquired)
}

/// `acquire()`, without arguments.
#[inline(always)]
pub(super) fn take_plainly<L: Locking>(lock: &L, py: Python<'_>) -> PyResult<bool> {
    if take_at_once(lock, py) { Ok(true) } else { take_forever(lock, py) }
}

#[cold]
#[inline(never)]
fn take_forever<L: Locking>(lock: &L, py: Python<'_>) -> PyResult<bool> {
    take_with(lock, py, || Ok(Patience::Forever))
}

/// `acquire(blocking=True, timeout=-1)`.
pub(super) unsafe extern "C" fn acquire<L: Locking>(
    slf: Obj,
    args: *const Obj,
    count: isize,
    keywords: Obj,
) -> Obj {
    // SAFETY: called by the method descriptor, attached, with an instance of the class and a call's arguments.
    unsafe {
        let py = Python::assume_attached();
        let lock = this::<L>(slf);
        if count == 0 && keywords.is_null() {
            return answer(take_plainly(lock, py));
        }
        acquire_arguments(lock, args, count, keywords)
    }
}

/// # Safety
/// As for [`acquire`].
#[inline(never)]
unsafe fn acquire_arguments<L: Locking>(
    lock: &L,
    args: *const Obj,
    count: isize,
    keywords: Obj,
) -> Obj {
    // SAFETY: the caller's promise.
    unsafe {
        let py = Python::assume_attached();
        let patience = parameters(py)
            .bind(args, count, keywords)
            .and_then(|[blocking, timeout]| Patience::of_acquire(blocking, timeout));
        answer(patience.and_then(|patience| take_with(lock, py, || Ok(patience))))
    }
}

/// Those of `acquire`.
pub(super) fn parameters(py: Python<'_>) -> &'static Parameters<2> {
    static PARAMETERS: std::sync::OnceLock<Parameters<2>> = std::sync::OnceLock::new();
    PARAMETERS.get_or_init(|| Parameters::new(py, "acquire", ["blocking", "timeout"]))
}

/// `release()`.
pub(super) unsafe extern "C" fn release<L: Locking>(slf: Obj, _: Obj) -> Obj {
    // SAFETY: as for `acquire`.
    unsafe { give_back::<L>(slf) }
}

/// # Safety
/// As for [`acquire`].
#[inline(always)]
unsafe fn give_back<L: Locking>(slf: Obj) -> Obj {
    // SAFETY: the caller's promise.
    unsafe {
        let (lock, py) = (this::<L>(slf), Python::assume_attached());
        if give_at_once(lock, py) { none() } else { give::<L>(slf) }
    }
}

/// # Safety
/// As for [`acquire`].
#[cold]
#[inline(never)]
unsafe fn give<L: Locking>(slf: Obj) -> Obj {
    // SAFETY: the caller's promise.
    unsafe {
        let py = Python::assume_attached();
        // A condition lends its lock, and may be given another one by what runs here.
        let kept = Bound::from_borrowed_ptr(py, slf);
        match this::<L>(kept.as_ptr()).give(py) {
            Ok(()) => none(),
            Err(error) => throw(error),
        }
    }
}

/// # Safety
/// As for [`acquire`].
#[cold]
#[inline(never)]
unsafe fn enter_waiting<L: Locking>(slf: Obj) -> Obj {
    // SAFETY: the caller's promise.
    unsafe {
        let py = Python::assume_attached();
        // As in `give`.
        let kept = Bound::from_borrowed_ptr(py, slf);
        answer(take(this::<L>(kept.as_ptr()), py, || Ok(Patience::Forever), L::entered))
    }
}

/// How each of them is entered and left.
impl<L: Locking> Entry for L {
    const BINDINGS: usize = L::BINDINGS;
    const ENTER: &CStr = c"__enter__($self, /)\n--\n\nAcquire the lock.";
    const EXIT: &CStr = c"__exit__($self, /, *exc_info)\n--\n\nRelease the lock.";

    #[inline(always)]
    unsafe fn enter(slf: Obj) -> Obj {
        // SAFETY: the caller's promise.
        unsafe {
            let (lock, py) = (this::<L>(slf), Python::assume_attached());
            if enter_at_once(lock, py) { boolean(true) } else { enter_waiting::<L>(slf) }
        }
    }

    #[inline(always)]
    unsafe fn exit(slf: Obj, _: *mut Obj, _: isize) -> Obj {
        // SAFETY: the caller's promise.
        unsafe { give_back::<L>(slf) }
    }
}

/// The methods of one class. Constants of their own: method definitions live for ever.
struct Methods<L>(std::marker::PhantomData<L>);

impl<L: Locking> Methods<L> {
    const ALL: &'static [Method] = &[
        call::keywords(c"acquire", acquire::<L>, L::ACQUIRE),
        call::plain(c"release", release::<L>, L::RELEASE),
    ];
    const OBSOLETE: &'static [Method] = &[
        call::keywords(c"acquire_lock", acquire::<L>, c"Obsolete name of acquire()."),
        call::plain(c"release_lock", release::<L>, c"Obsolete name of release()."),
    ];
}

/// Puts the methods on the class.
pub(super) fn install<L: Locking>(module: &Bound<'_, PyModule>) -> PyResult<()> {
    bound::install::<L, L>(module.py())?;
    call::install::<L>(module.py(), Methods::<L>::ALL)
}

/// Puts the obsolete names of `acquire` and `release` on the class too.
pub(super) fn install_obsolete<L: Locking>(module: &Bound<'_, PyModule>) -> PyResult<()> {
    call::install::<L>(module.py(), Methods::<L>::OBSOLETE)
}
