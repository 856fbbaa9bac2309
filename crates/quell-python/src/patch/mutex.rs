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
//!
//! While deadlocks are looked for, a release in each of these ways takes away the [note](super::held) of who has it, and one to
//! whom it is given makes its own when it has the GIL: until then nobody is known to hold it.

use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::time::Duration;

use pyo3::prelude::*;

use super::call::Call;
use super::held;
use super::line::{self, Ended, Line, Releases};
use super::lock::{self, ONCE, RLOCK_COUNT, answer, own, owner};
use super::told::{self, Tellers, Wanted};
use crate::cpython::layout::read;
use crate::cpython::thread::ThreadState;
use crate::delivery::want::Kind;
use crate::primitives::call::Obj;
use crate::primitives::wait::Patience;

/// Where the byte is, in both: after the object header; verified before use.
const BYTE: usize = 16;

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

/// Whether somebody has it.
pub(super) fn is_held(lock: Obj) -> bool {
    byte_of(lock).load(SeqCst) & HELD != 0
}

static RELEASES: Tellers = Tellers::new(&["Lock.release", "Lock.release_lock", "Lock.__exit__"]);
static RLOCK_RELEASES: Tellers =
    Tellers::new(&["RLock.release", "RLock.__exit__", "RLock._release_save"]);

/// Whether all that release are replaced.
pub(super) fn releases_tell() -> bool {
    RELEASES.tell() && RLOCK_RELEASES.tell()
}

/// An acquire that may wait, of a Lock.
pub(super) fn take(py: Python<'_>, call: &Call, patience: Patience) -> PyResult<Obj> {
    let (object, deadline) = (call.slf, patience.deadline());
    let wanted = Wanted { kind: Kind::StandardLock, object, deadline, tellers: &RELEASES };
    take_as(py, call, &wanted, || try_take(object))
}

/// The same of an RLock that the calling thread does not have.
pub(super) fn take_again(py: Python<'_>, call: &Call, patience: Patience) -> PyResult<Obj> {
    let (lock, me) = (call.slf, ThreadState::current().ident());
    let wanted = Wanted { deadline: patience.deadline(), ..rlock(lock) };
    take_as(py, call, &wanted, || try_take_again(lock, me, 1))
}

fn take_as(
    py: Python<'_>,
    call: &Call,
    wanted: &Wanted,
    try_take: impl Fn() -> bool,
) -> PyResult<Obj> {
    if try_take() {
        return Ok(answer(py, true));
    }
    match wanted.wait(py, || Ok(try_take().then_some(())), || ())? {
        Ended::Got(()) => Ok(answer(py, true)),
        Ended::Late => Ok(answer(py, false)),
        Ended::Untold => wanted.wait_in_original(py, call),
    }
}

/// `RLock._acquire_restore(state)`, for a thread that had acquired it so often. Ends in no other way.
pub(super) fn take_back(py: Python<'_>, call: &Call, me: u64, times: u64) -> PyResult<Obj> {
    let lock = call.slf;
    let look = || Ok(try_take_again(lock, me, times).then_some(()));
    match rlock(lock).insist(py, look, || own(lock, me, times))? {
        Ended::Got(()) => Ok(py.None().into_ptr()),
        Ended::Late => unreachable!("it has no deadline"),
        Ended::Untold => Ok(call.original()),
    }
}

fn rlock(object: Obj) -> Wanted {
    Wanted { kind: Kind::StandardRLock, object, deadline: None, tellers: &RLOCK_RELEASES }
}

fn try_take_again(lock: Obj, me: u64, times: u64) -> bool {
    let taken = try_take(lock);
    if taken {
        own(lock, me, times);
    }
    taken
}

/// `lock.release()`, its other name and `lock.__exit__(…)`, in every thread.
pub(super) fn release(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let answer = Release { py, call, of: Of::Lock }.run();
    held::lock_released(py, call.slf, answer);
    Ok(answer)
}

/// `RLock.release()` and `RLock.__exit__(…)`, in every thread.
pub(super) fn release_again(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let answer = Release { py, call, of: Of::RLock }.run();
    held::rlock_released(py, call.slf, answer, false);
    Ok(answer)
}

/// `RLock._release_save()`, with which a condition releases its lock, however often it is held, in every thread.
pub(super) fn release_save(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let answer = Release { py, call, of: Of::Saved }.run();
    held::rlock_released(py, call.slf, answer, true);
    Ok(answer)
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
        let once = || unsafe { read::<u64>(lock.cast(), RLOCK_COUNT) } == ONCE;
        byte_of(lock).load(SeqCst) == HELD
            && match self.of {
                Of::Lock => true,
                Of::RLock => owner(lock) == ThreadState::current().ident() && once(),
                Of::Saved => false,
            }
    }

    fn give_to(&mut self, thread: u64) -> Obj {
        if self.of == Of::RLock {
            own(self.call.slf, thread, 1);
        }
        self.py.None().into_ptr()
    }

    fn let_go(&mut self) -> Obj {
        self.call.original()
    }

    /// If it is not, the original has given it to somebody in the parking lot, or the thread has more of it to release.
    fn is_free(&self) -> bool {
        !is_held(self.call.slf)
    }
}

/// Whether locks are laid out as this file says.
pub(super) fn verify(py: Python<'_>) -> PyResult<bool> {
    lock::sampled(py, BYTE + 1, |lock, rlock, held| {
        // SAFETY: bytes of live objects that are at least so long.
        let byte = |object: Obj| unsafe { read::<u8>(object.cast(), BYTE) };
        [byte(lock), byte(rlock)] == [if held { HELD } else { 0 }; 2]
    })
}
