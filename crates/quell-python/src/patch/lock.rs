//! `_thread.lock` and `_thread.RLock`: what `threading` is made of.
//!
//! Both are a semaphore and a note of who has it. All waiting is here: `Condition`, `Event`, `Semaphore`, `Barrier`, `queue.Queue`,
//! futures, and up to 3.12 `Thread.join` acquire a lock in the end.
//!
//! An acquire that was interrupted tries once more before it raises, with the GIL held: if the lock has been released by then,
//! it has it, and the interrupt stays pending. So a `notify` that had chosen this waiter is not lost.

use pyo3::ffi;
use pyo3::prelude::*;
use quell::CallError;
use quell::syscall::CSemaphore;

use super::call::Call;
use super::site::loaded;
use super::wait::Listens;
use crate::cpython::frame::Frame;
use crate::cpython::layout::read;
use crate::cpython::thread::ThreadState;
use crate::delivery::gil_cell::GilCell;
use crate::delivery::want::{self, Kind, What};
use crate::primitives::call::{Obj, boolean};
use crate::primitives::wait::Patience;

// Where the fields are, on every version that is patched: after the object header; verified before use.
const SEMAPHORE: usize = 16;
const LOCK_LOCKED: usize = 32;
const RLOCK_OWNER: usize = 24;
const RLOCK_COUNT: usize = 32;

/// `lock.acquire(blocking=True, timeout=-1)` and its other names.
pub(super) fn acquire(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let Some(patience) = patience(call) else { return Ok(call.original()) };
    let taken = take(py, call.slf, patience);
    if taken.is_err() && joins() {
        let me = ThreadState::current().ident();
        LEFT.with(py, |left| left.push((me, call.slf as usize)));
    }
    if !taken? {
        return Ok(answer(py, false));
    }
    // SAFETY: a live lock, whose layout was verified; its state changes with the GIL held.
    unsafe { call.slf.cast::<u8>().add(LOCK_LOCKED).write(1) };
    Ok(answer(py, true))
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
    cfg!(not(Py_3_13))
        && ThreadState::current()
            .top()
            .and_then(Frame::code)
            .is_some_and(|code| code.is_qualified(c"Thread._wait_for_tstate_lock"))
}

/// `RLock.acquire(blocking=True, timeout=-1)` and `RLock.__enter__`.
pub(super) fn acquire_again(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let me = ThreadState::current().ident();
    // SAFETY: as in `acquire`.
    let owner: u64 = unsafe { read(call.slf.cast(), RLOCK_OWNER) };
    let Some(patience) = patience(call).filter(|_| owner != me) else {
        return Ok(call.original());
    };
    if !take(py, call.slf, patience)? {
        return Ok(answer(py, false));
    }
    // SAFETY: as in `acquire`.
    unsafe {
        let base = call.slf.cast::<u8>();
        base.add(RLOCK_OWNER).cast::<u64>().write(me);
        base.add(RLOCK_COUNT).cast::<u64>().write(1);
    }
    Ok(answer(py, true))
}

fn answer(_py: Python<'_>, value: bool) -> Obj {
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

/// Takes the semaphore of a lock; false if the time is over first.
fn take(py: Python<'_>, lock: Obj, patience: Patience) -> PyResult<bool> {
    let semaphore = semaphore_of(lock);
    if semaphore.try_take() {
        return Ok(true);
    }
    let deadline = patience.deadline();
    let mut listens = Listens::begin(py);
    loop {
        let wait = listens.wait(deadline);
        let what = What::object(Kind::Standard, lock);
        match want::during(py, what, &wait, || semaphore.wait(&wait)) {
            Ok(()) => return Ok(true),
            Err(CallError::TimedOut) => return Ok(semaphore.try_take()),
            Err(_) if semaphore.try_take() => return Ok(true),
            Err(CallError::Signalled | CallError::Interrupted(_)) => listens.look(py)?,
            Err(CallError::Os(error)) => return Err(error.into()),
        }
    }
}

/// Whether locks are laid out as this file says: looked at in two of them as they are acquired and released.
pub(super) fn verify(py: Python<'_>) -> PyResult<bool> {
    if !CSemaphore::is_known() {
        return Ok(false);
    }
    let Some(thread) = loaded(py, c"_thread") else { return Ok(false) };
    let lock = thread.getattr("allocate_lock")?.call0()?;
    let rlock = thread.getattr("RLock")?.call0()?;
    let me = ThreadState::current().ident();
    // SAFETY: words of live objects that are at least so long.
    let (size, again) = unsafe {
        let size = |o: &Bound<'_, PyAny>| (*ffi::Py_TYPE(o.as_ptr())).tp_basicsize as usize;
        (size(&lock), size(&rlock))
    };
    if size < LOCK_LOCKED + 1 || again < RLOCK_COUNT + 8 {
        return Ok(false);
    }
    // SAFETY: as above; what the lock's first field points to is its semaphore if all else is right.
    let look = || unsafe {
        let at = |o: &Bound<'_, PyAny>, field| read::<u64>(o.as_ptr().cast(), field);
        let locked: u8 = read(lock.as_ptr().cast(), LOCK_LOCKED);
        (locked, at(&rlock, RLOCK_OWNER), at(&rlock, RLOCK_COUNT))
    };
    let free = look();
    lock.call_method0("acquire")?;
    rlock.call_method0("acquire")?;
    rlock.call_method0("acquire")?;
    let held = look();
    if free != (0, 0, 0) || held != (1, me, 2) {
        return Ok(false);
    }
    let empty = !semaphore_of(lock.as_ptr()).try_take() && !semaphore_of(rlock.as_ptr()).try_take();
    lock.call_method0("release")?;
    rlock.call_method0("release")?;
    rlock.call_method0("release")?;
    let semaphore = semaphore_of(lock.as_ptr());
    let full = semaphore.try_take();
    if full {
        // SAFETY: the semaphore that was just taken, given back.
        unsafe { libc::sem_post(read(lock.as_ptr().cast(), SEMAPHORE)) };
    }
    Ok(empty && full && look() == (0, 0, 0))
}
