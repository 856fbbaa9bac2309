//! `_thread.lock` and `_thread.RLock`: what `threading` is made of.
//!
//! Both are a semaphore and a note of who has it; from 3.14 on, a [mutex](super::mutex) and such a note. All waiting is here: `Condition`, `Event`, `Semaphore`, `Barrier`, `queue.Queue`,
//! futures, and up to 3.12 `Thread.join` acquire a lock in the end.
//!
//! An acquire that was interrupted tries once more before it raises, with the GIL held: if the lock has been released by then,
//! it has it, and the interrupt stays pending. So a `notify` that had chosen this waiter is not lost.

use std::sync::atomic::AtomicU64;

use pyo3::ffi;
use pyo3::prelude::*;
use quell::CallError;
use quell::syscall::CSemaphore;

use super::call::Call;
use super::held;
use super::mutex;
use super::site::loaded;
use super::watched::Watched;
use crate::cpython::frame::Frame;
use crate::cpython::layout::read;
use crate::cpython::thread::ThreadState;
use crate::delivery::gil_cell::GilCell;
use crate::delivery::want::{Kind, What};
use crate::look::names::ident_of;
use crate::primitives::call::{Obj, boolean};
use crate::primitives::wait::Patience;

// Where the fields are, on every version that is patched: after the object header; verified before use.
const SEMAPHORE: usize = 16;
const LOCK_LOCKED: usize = 32;
pub(super) const RLOCK_OWNER: usize = 24;
pub(super) const RLOCK_COUNT: usize = 32;

/// What the count of an RLock is that was acquired once.
pub(super) const ONCE: u64 = if cfg!(Py_3_14) { 0 } else { 1 };

/// `lock.acquire(blocking=True, timeout=-1)` and its other name.
pub(super) fn acquire(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    acquire_by(py, call, false)
}

/// `lock.__enter__()`.
pub(super) fn enter(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    acquire_by(py, call, true)
}

fn acquire_by(py: Python<'_>, call: &Call, entered: bool) -> PyResult<Obj> {
    let answer = match patience(call) {
        None => call.original(),
        Some(patience) if cfg!(Py_3_14) => mutex::take(py, call, patience)?,
        Some(patience) => answer(py, take_or_leave(py, call.slf, patience)?),
    };
    if is_true(answer) {
        held::acquired(py, call.slf, Kind::StandardLock, entered);
    }
    Ok(answer)
}

/// Takes a Lock; false if the time is over first. A join that is interrupted is remembered.
fn take_or_leave(py: Python<'_>, lock: Obj, patience: Patience) -> PyResult<bool> {
    let taken = take(py, lock, patience);
    match &taken {
        // SAFETY: a live lock, whose layout was verified; its state changes with the GIL held.
        Ok(true) => unsafe { lock.cast::<u8>().add(LOCK_LOCKED).write(1) },
        Err(_) if joins() => {
            let me = ThreadState::current().ident();
            LEFT.with(py, |left| left.push((me, lock as usize)));
        }
        _ => {}
    }
    taken
}

/// Threads whose join was interrupted, and the locks that they joined by.
static LEFT: GilCell<Vec<(u64, usize)>> = GilCell::new(Vec::new());

/// `lock.locked()`, in every thread.
///
/// Up to 3.12 `Thread.join` waits for a lock that the other thread holds as long as it lives. When that is interrupted, it asks
/// whether the lock is held, takes a yes for its own, releases the lock, and declares that the thread has ended. So this
/// one time the answer is no.
pub(super) fn locked(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let key = (ThreadState::current().ident(), call.slf as usize);
    let left = LEFT.with(py, |left| {
        let at = left.iter().position(|entry| *entry == key);
        at.map(|at| left.swap_remove(at)).is_some()
    });
    if left && joins() { Ok(answer(py, false)) } else { Ok(call.original()) }
}

/// Whether it is a join that calls.
fn joins() -> bool {
    joining().is_some()
}

/// The frame of the join that calls, if one does: its first argument is the thread.
fn joining() -> Option<Frame> {
    let code = |frame: &Frame| frame.code();
    let is_join =
        |frame: &Frame| code(frame)?.is_qualified(c"Thread._wait_for_tstate_lock").then_some(());
    ThreadState::current().top().filter(|frame| cfg!(not(Py_3_13)) && is_join(frame).is_some())
}

/// `RLock.acquire(blocking=True, timeout=-1)` and `RLock.__enter__`.
pub(super) fn acquire_again(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let me = ThreadState::current().ident();
    let again = owner(call.slf) == me;
    let answer = match patience(call).filter(|_| !again) {
        None => call.original(),
        Some(patience) if cfg!(Py_3_14) => mutex::take_again(py, call, patience)?,
        Some(patience) => {
            let taken = take_again(py, call.slf, patience)?;
            if taken {
                own(call.slf, me, 1);
            }
            answer(py, taken)
        }
    };
    if is_true(answer) && !again {
        held::acquired(py, call.slf, Kind::StandardRLock, true);
    }
    Ok(answer)
}

/// `RLock._acquire_restore(state)`: takes it back for a thread that had acquired it so often. Ends in no other way.
pub(super) fn take_back(py: Python<'_>, call: &Call, me: u64, times: u64) -> PyResult<Obj> {
    if cfg!(Py_3_14) {
        return mutex::take_back(py, call, me, times);
    }
    let semaphore = semaphore_of(call.slf);
    if !semaphore.try_take() {
        let mut watched = Watched::insist(py, What::object(Kind::StandardRLock, call.slf));
        while watched.sleep(None, |wait| semaphore.wait(wait))?.is_err() {}
    }
    own(call.slf, me, times);
    Ok(py.None().into_ptr())
}

/// Notes in an RLock whose it is, who has acquired it so often.
pub(super) fn own(lock: Obj, owner: u64, times: u64) {
    // SAFETY: as in `take_or_leave`.
    unsafe {
        let base = lock.cast::<u8>();
        base.add(RLOCK_OWNER).cast::<u64>().write(owner);
        base.add(RLOCK_COUNT).cast::<u64>().write(ONCE + times - 1);
    }
}

/// Whose an RLock is, by `threading.get_ident()`; 0: nobody's.
pub(super) fn owner(lock: Obj) -> u64 {
    // SAFETY: as in `take_or_leave`.
    unsafe { read(lock.cast(), RLOCK_OWNER) }
}

/// Whether somebody has a lock of this kind.
pub(super) fn is_held(lock: Obj, kind: Kind) -> bool {
    match kind {
        Kind::StandardRLock => owner(lock) != 0,
        _ if cfg!(Py_3_14) => mutex::is_held(lock),
        // SAFETY: as in `take_or_leave`.
        _ => unsafe { read::<u8>(lock.cast(), LOCK_LOCKED) != 0 },
    }
}

fn is_true(answer: Obj) -> bool {
    // SAFETY: compared only.
    answer == unsafe { ffi::Py_True() }
}

pub(super) fn answer(_py: Python<'_>, value: bool) -> Obj {
    // SAFETY: attached.
    unsafe { boolean(value) }
}

/// How long to wait, if the call is one that waits and its arguments are right.
fn patience(call: &Call) -> Option<Patience> {
    let [blocking, timeout] = call.bind([c"blocking", c"timeout"])?;
    // SAFETY: attached, and arguments of the running call, or null.
    match unsafe { Patience::of_acquire(blocking, timeout) } {
        Ok(Patience::Try) | Err(_) => None,
        Ok(patience) => Some(patience),
    }
}

fn semaphore_of(lock: Obj) -> CSemaphore {
    // SAFETY: a live lock or RLock, whose layout was verified. It lives as long as the call on it.
    unsafe { CSemaphore::at(read(lock.cast(), SEMAPHORE)) }
}

/// Takes a Lock; false if the time is over first.
fn take(py: Python<'_>, lock: Obj, patience: Patience) -> PyResult<bool> {
    if semaphore_of(lock).try_take() {
        return Ok(true);
    }
    match joining() {
        // SAFETY: the first argument of a running method, borrowed.
        Some(join) => unsafe {
            let end = AtomicU64::new(number_of_thread(join.local(0)));
            wait_for(py, lock, What::end(&end), patience)
        },
        None => wait_for(py, lock, What::object(Kind::StandardLock, lock), patience),
    }
}

/// Takes an RLock; false if the time is over first.
fn take_again(py: Python<'_>, lock: Obj, patience: Patience) -> PyResult<bool> {
    if semaphore_of(lock).try_take() {
        return Ok(true);
    }
    wait_for(py, lock, What::object(Kind::StandardRLock, lock), patience)
}

/// Takes the semaphore of a lock, after a wait.
#[cold]
fn wait_for(py: Python<'_>, lock: Obj, what: What, patience: Patience) -> PyResult<bool> {
    let semaphore = semaphore_of(lock);
    let mut watched = Watched::begin(py, what, patience.deadline());
    loop {
        match watched.sleep(None, |wait| semaphore.wait(wait))? {
            Ok(()) => return Ok(true),
            Err(CallError::TimedOut) => return Ok(semaphore.try_take()),
            Err(_) if semaphore.try_take() => return Ok(true),
            Err(CallError::Signalled | CallError::Interrupted(_)) => watched.stopped()?,
            Err(CallError::Os(error)) => return Err(error.into()),
        }
    }
}

/// The number of the thread that a `threading.Thread` stands for; 0 if it has none.
///
/// # Safety
/// Attached; a live object or null.
unsafe fn number_of_thread(thread: Obj) -> u64 {
    if thread.is_null() {
        return 0;
    }
    // SAFETY: the caller's promise.
    let ident = unsafe { ident_of(thread) };
    ident.and_then(ThreadState::with_ident).map_or(0, ThreadState::id)
}

/// Whether locks are laid out as this file says.
pub(super) fn verify(py: Python<'_>) -> PyResult<bool> {
    if cfg!(Py_3_14) {
        return mutex::verify(py);
    }
    if !CSemaphore::is_known() {
        return Ok(false);
    }
    sampled(py, LOCK_LOCKED + 1, |lock, rlock, held| {
        // SAFETY: a byte of a live object that is at least so long.
        let locked: u8 = unsafe { read(lock.cast(), LOCK_LOCKED) };
        locked == u8::from(held) && [lock, rlock].map(is_free) == [!held; 2]
    })
}

/// Whether the semaphore of a lock can be taken: it is, and given back.
fn is_free(lock: Obj) -> bool {
    let free = semaphore_of(lock).try_take();
    if free {
        // SAFETY: the semaphore that was just taken.
        unsafe { libc::sem_post(read(lock.cast(), SEMAPHORE)) };
    }
    free
}

/// Looks at a Lock that is at least so long and at an RLock, while the calling thread holds them, the RLock twice, and then while
/// they are free: whether both looks find what they should, after the RLock's own fields have been found right.
pub(super) fn sampled(
    py: Python<'_>,
    least: usize,
    is_right: impl Fn(Obj, Obj, bool) -> bool,
) -> PyResult<bool> {
    let Some(thread) = loaded(py, c"_thread") else { return Ok(false) };
    let lock = thread.getattr("allocate_lock")?.call0()?;
    let rlock = thread.getattr("RLock")?.call0()?;
    // SAFETY: live objects.
    let size = |o: &Bound<'_, PyAny>| unsafe { (*ffi::Py_TYPE(o.as_ptr())).tp_basicsize as usize };
    if size(&lock) < least || size(&rlock) < RLOCK_COUNT + size_of::<u64>() {
        return Ok(false);
    }
    let me = ThreadState::current().ident();
    let look = |held: bool| {
        // SAFETY: words of a live object that is at least so long.
        let word = |at| unsafe { read::<u64>(rlock.as_ptr().cast(), at) };
        let expected = if held { (me, ONCE + 1) } else { (0, 0) };
        (word(RLOCK_OWNER), word(RLOCK_COUNT)) == expected
            && is_right(lock.as_ptr(), rlock.as_ptr(), held)
    };
    let both = |method| -> PyResult<()> {
        lock.call_method0(method)?;
        rlock.call_method0(method)?;
        rlock.call_method0(method).map(drop)
    };
    both("acquire")?;
    let mut right = look(true);
    // As a condition has it released and acquired again.
    let saved = rlock.call_method0("_release_save")?;
    right &= saved.extract::<(u64, u64)>().is_ok_and(|saved| saved == (2, me));
    rlock.call_method1("_acquire_restore", (saved,))?;
    right &= look(true);
    both("release")?;
    Ok(right && look(false))
}
