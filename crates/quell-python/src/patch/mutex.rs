//! Locks from CPython 3.14 on: a mutex of the interpreter's own (`PyMutex`), and a note of who has it.
//!
//! One byte says whether it is held, and whether somebody waits in the interpreter's *parking lot*, where nothing ends the wait. So who
//! waits here does so [in line](super::line), takes the byte when it is told to look, and every release tells. A
//! release that finds somebody in the parking lot is the original's, which wakes him: those wait for a lock in the main thread, or have
//! waited for it before it was patched.
//!
//! | byte | meaning |
//! | --- | --- |
//! | 0 | free |
//! | 1 | held |
//! | 2 | free, somebody waits in the parking lot |
//! | 3 | held, the same |
//!
//! From 0 or 2 anybody makes 1 or 3, with the GIL held; what an original makes of it, it makes in one step as well. A lock
//! is given to who has waited for a millisecond, as the original gives it; so its byte stays 1, and its owner, if it is an RLock,
//! is another. It is not given while somebody waits in the parking lot, who may have waited for longer.

use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::time::Duration;

use pyo3::ffi;
use pyo3::prelude::*;

use super::call::Call;
use super::line::{self, Ended, Line, Releases};
use super::lock::{RLOCK_COUNT, RLOCK_OWNER, answer, own, owner};
use super::site::loaded;
use super::told::{self, Wanted};
use crate::cpython::layout::read;
use crate::cpython::thread::ThreadState;
use crate::delivery::want::{Kind, What};
use crate::primitives::call::Obj;
use crate::primitives::wait::Patience;

/// Where the byte is, in both: after the object header; verified before use.
const BYTE: usize = 16;

/// The count of an RLock that was acquired once.
const FIRST: u64 = 0;

const HELD: u8 = 1;

/// How long one waits to whom a lock is given.
const FAIR: Duration = Duration::from_millis(1);

fn byte_of<'a>(lock: Obj) -> &'a AtomicU8 {
    // SAFETY: a live lock or RLock, whose layout was verified. It lives as long as the call on it.
    unsafe { AtomicU8::from_ptr(lock.cast::<u8>().add(BYTE)) }
}

fn try_take(lock: Obj) -> bool {
    byte_of(lock).fetch_or(HELD, SeqCst) & HELD == 0
}

/// An acquire that may wait, of a lock, or of an RLock that the calling thread does not have.
pub(super) fn take(
    py: Python<'_>,
    call: &Call,
    patience: Patience,
    recursive: bool,
) -> PyResult<Obj> {
    let (lock, me) = (call.slf, ThreadState::current().ident());
    let look = || {
        let taken = try_take(lock);
        if taken && recursive {
            own(lock, me, FIRST);
        }
        taken
    };
    if look() {
        return Ok(answer(py, true));
    }
    let tellers: &[&str] = if recursive {
        &["RLock.release", "RLock.__exit__", "RLock._release_save"]
    } else {
        &["Lock.release", "Lock.release_lock", "Lock.__exit__"]
    };
    let kind = if recursive { Kind::StandardRLock } else { Kind::StandardLock };
    let what = Some(What::object(kind, lock));
    let wanted = Wanted { object: lock, what, deadline: patience.deadline(), tellers };
    match told::wait(py, &wanted, || Ok(look().then_some(())), || ())? {
        Ended::Got(()) => Ok(answer(py, true)),
        Ended::Late => Ok(answer(py, false)),
        Ended::Untold => wanted.wait_in_original(py, call),
    }
}

/// `lock.release()`, its other name and `lock.__exit__(…)`, in every thread.
pub(super) fn release(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    Ok(Release { py, call, of: Of::Lock }.run())
}

/// `RLock.release()` and `RLock.__exit__(…)`, in every thread.
pub(super) fn release_again(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    Ok(Release { py, call, of: Of::RLock }.run())
}

/// `RLock._release_save()`, with which a condition releases its lock, however often it is held, in every thread.
pub(super) fn release_save(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    Ok(Release { py, call, of: Of::Saved }.run())
}

#[derive(Clone, Copy, PartialEq)]
enum Of {
    Lock,
    RLock,
    /// It answers with how often it was held, so the original has to run.
    Saved,
}

struct Release<'a, 'py> {
    py: Python<'py>,
    call: &'a Call,
    of: Of,
}

impl Release<'_, '_> {
    #[inline]
    fn run(&mut self) -> Obj {
        if told::nobody_waits(self.py) {
            return self.call.original();
        }
        line::release(self, self.call.slf as usize, FAIR)
    }
}

impl Releases for Release<'_, '_> {
    type Answer = Obj;

    fn with<R>(&self, f: impl FnOnce(&mut Line) -> R) -> R {
        told::with(self.py, f)
    }

    /// Held, by the calling thread and once if it matters, and nobody in the parking lot.
    fn may_give(&self) -> bool {
        let lock = self.call.slf;
        // SAFETY: a live RLock, whose layout was verified.
        let once = || unsafe { read::<u64>(lock.cast(), RLOCK_COUNT) } == FIRST;
        byte_of(lock).load(SeqCst) == HELD
            && match self.of {
                Of::Lock => true,
                Of::RLock => owner(lock) == ThreadState::current().ident() && once(),
                Of::Saved => false,
            }
    }

    fn give_to(&mut self, thread: u64) -> Obj {
        if self.of == Of::RLock {
            own(self.call.slf, thread, FIRST);
        }
        self.py.None().into_ptr()
    }

    fn let_go(&mut self) -> Obj {
        self.call.original()
    }

    /// If it is not, the original has given it to somebody in the parking lot, or the thread has more of it to release.
    fn is_free(&self) -> bool {
        byte_of(self.call.slf).load(SeqCst) & HELD == 0
    }
}

/// Whether locks are laid out as this file says: looked at in two of them as they are acquired and released.
pub(super) fn verify(py: Python<'_>) -> PyResult<bool> {
    let Some(thread) = loaded(py, c"_thread") else { return Ok(false) };
    let lock = thread.getattr("allocate_lock")?.call0()?;
    let rlock = thread.getattr("RLock")?.call0()?;
    // SAFETY: live objects.
    let size = |o: &Bound<'_, PyAny>| unsafe { (*ffi::Py_TYPE(o.as_ptr())).tp_basicsize as usize };
    if size(&lock) <= BYTE || size(&rlock) < RLOCK_COUNT + size_of::<u64>() {
        return Ok(false);
    }
    // SAFETY: words of live objects that are at least so long.
    let look = || unsafe {
        let byte = |o: &Bound<'_, PyAny>| read::<u8>(o.as_ptr().cast(), BYTE);
        let at = |field| read::<u64>(rlock.as_ptr().cast(), field);
        (byte(&lock), byte(&rlock), at(RLOCK_OWNER), at(RLOCK_COUNT))
    };
    let free = look();
    lock.call_method0("acquire")?;
    rlock.call_method0("acquire")?;
    rlock.call_method0("acquire")?;
    let held = look();
    lock.call_method0("release")?;
    rlock.call_method0("release")?;
    rlock.call_method0("release")?;
    let me = ThreadState::current().ident();
    Ok([free, look()] == [(0, 0, 0, 0); 2] && held == (HELD, HELD, me, FIRST + 1))
}
