//! Lock and RLock, one type: an RLock lets its owner take it again, a Lock says that this would wait for ever.

use crate::object::{Waiting, borrow, free, hand_out, hold};
use crate::status::quell_status::{QUELL_BUSY, QUELL_DEADLOCK, QUELL_NOT_OWNER};
use crate::status::{Failure, call, call_for, quell_status};
use crate::time::{quell_deadline, until};
use quell_core::{NotOwner, RawRLock, deadlock};
use std::ffi::{CStr, c_char};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

/// A lock: one thread at a time has it. Made by quell_lock_new(), or by quell_rlock_new() for one that its owner may take
/// again, and is free when it was released as often. Only the owner releases it.
///
/// Not fair from moment to moment, but nobody is passed over for long. A thread that ends releases nothing. For a flag or a
/// count that one thread gives and another takes, use quell_event or quell_semaphore.
pub struct quell_lock {
    pub(crate) raw: RawRLock,
    pub(crate) waiting: Waiting,
    reentrant: bool,
    /// Whether it was given a name, which stands elsewhere, by its address.
    named: AtomicBool,
}

impl quell_lock {
    /// Whether the calling thread may try to take it; an error if that would wait for itself.
    fn check(&self) -> Result<(), Failure> {
        if !self.reentrant && self.raw.is_owned() {
            let me = quell_core::current();
            let what = format!(
                "{me} holds the lock already; quell_rlock_new() makes one that can be taken again"
            );
            return Err(Failure::new(QUELL_DEADLOCK, what));
        }
        Ok(())
    }

    pub(crate) fn set_name(&self, name: Option<&str>) {
        // Relaxed: who frees it knows of every call on it.
        self.named.store(name.is_some(), Relaxed);
        let given = deadlock::name(&self.raw, name.unwrap_or_default());
        match name {
            Some(_) => given.keep(),
            None => drop(given),
        }
    }
}

impl Drop for quell_lock {
    fn drop(&mut self) {
        if self.named.load(Relaxed) {
            self.set_name(None);
        }
    }
}

impl From<NotOwner> for Failure {
    fn from(error: NotOwner) -> Failure {
        Failure::new(QUELL_NOT_OWNER, error.to_string())
    }
}

/// Makes a free Lock, to be freed with quell_lock_free(). Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn quell_lock_new() -> *mut quell_lock {
    make("quell_lock_new", false)
}

/// Makes a free RLock, to be freed with quell_lock_free(). Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn quell_rlock_new() -> *mut quell_lock {
    make("quell_rlock_new", true)
}

fn make(function: &'static str, reentrant: bool) -> *mut quell_lock {
    call_for(function, std::ptr::null_mut(), || {
        let (raw, waiting, named) = (RawRLock::new(), Waiting::new(), AtomicBool::new(false));
        Ok(hand_out(quell_lock { raw, waiting, reentrant, named }))
    })
}

/// Takes the lock; waits for it until the deadline.
///
/// Interruption point, if it has to wait. QUELL_OK: the calling thread has it. QUELL_INTERRUPTED, QUELL_TIMED_OUT: it does
/// not. QUELL_DEADLOCK: it is a Lock, and the calling thread has it already; or, with quell_set_detection(), the wait would never
/// end.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_lock_acquire(
    lock: *mut quell_lock,
    deadline: quell_deadline,
) -> quell_status {
    // SAFETY: as the caller promises.
    call("quell_lock_acquire", || unsafe { acquire(lock, deadline, "quell_lock_acquire()") })
}

/// quell_lock_acquire(), which this header makes this, called at `place`: words for reports of deadlocks, which must stay as long as
/// the process lives, such as "main.c:12". NULL: none.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_lock_acquire_at(
    lock: *mut quell_lock,
    deadline: quell_deadline,
    place: *const c_char,
) -> quell_status {
    call("quell_lock_acquire", || {
        // SAFETY: as the caller promises.
        unsafe { acquire(lock, deadline, words(place, "quell_lock_acquire()")) }
    })
}

/// # Safety
/// As quell_lock_acquire().
unsafe fn acquire(
    lock: *mut quell_lock,
    deadline: quell_deadline,
    place: &'static str,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise: NULL or a lock. It is not freed before this thread has it, or has given up: who
    // frees it knows that.
    let free = unsafe { borrow(lock, "lock") }?;
    free.check()?;
    if deadlock::called_from(place, || free.raw.try_lock()) {
        return Ok(());
    }
    // SAFETY: as above.
    let lock = unsafe { hold(lock, "lock") }?;
    let wait = || lock.raw.lock_with(&until(deadline));
    Ok(deadlock::called_from(place, || lock.waiting.during(wait))?)
}

/// What the caller says of its place.
///
/// # Safety
/// NULL, or a string that ends, and stays.
pub(crate) unsafe fn words(place: *const c_char, otherwise: &'static str) -> &'static str {
    if place.is_null() {
        return otherwise;
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(place) }.to_str().unwrap_or(otherwise)
}

/// Takes the lock if it is free, or an RLock of the calling thread. Does not block; no interruption point.
///
/// QUELL_OK: the calling thread has it. QUELL_BUSY: it is taken, perhaps by the calling thread.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_lock_try_acquire(lock: *mut quell_lock) -> quell_status {
    // SAFETY: as the caller promises.
    call("quell_lock_try_acquire", || unsafe { try_acquire(lock, "quell_lock_try_acquire()") })
}

/// quell_lock_try_acquire(), which this header makes this, called at `place`; see quell_lock_acquire_at().
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_lock_try_acquire_at(
    lock: *mut quell_lock,
    place: *const c_char,
) -> quell_status {
    call("quell_lock_try_acquire", || {
        // SAFETY: as the caller promises.
        unsafe { try_acquire(lock, words(place, "quell_lock_try_acquire()")) }
    })
}

/// # Safety
/// As quell_lock_try_acquire().
unsafe fn try_acquire(lock: *mut quell_lock, place: &'static str) -> Result<(), Failure> {
    // SAFETY: the caller's promise: NULL or a lock.
    let lock = unsafe { borrow(lock, "lock") }?;
    let mine = !lock.reentrant && lock.raw.is_owned();
    let taken = !mine && deadlock::called_from(place, || lock.raw.try_lock());
    if taken { Ok(()) } else { Err(QUELL_BUSY.into()) }
}

/// Releases the lock, once. Does not block; no interruption point.
///
/// QUELL_OK. QUELL_NOT_OWNER: the calling thread does not have it, and nothing has changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_lock_release(lock: *mut quell_lock) -> quell_status {
    call("quell_lock_release", || {
        // SAFETY: the caller's promise: NULL or a lock. Held for the time of the call: the next owner may free it while
        // this thread is still on its way out.
        let lock = unsafe { hold(lock, "lock") }?;
        lock.raw.unlock()?;
        Ok(())
    })
}

/// Whether the calling thread has the lock. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_lock_is_owned(lock: *const quell_lock) -> bool {
    call_for("quell_lock_is_owned", false, || {
        // SAFETY: the caller's promise: NULL or a lock.
        Ok(unsafe { borrow(lock, "lock") }?.raw.is_owned())
    })
}

/// Frees a lock that nobody has or waits for. NULL is ignored. Does not block.
///
/// QUELL_OK. QUELL_BUSY: somebody has it or waits for it; it was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_lock_free(lock: *mut quell_lock) -> quell_status {
    call("quell_lock_free", || {
        // SAFETY: the caller's promise: NULL or a lock that it does not use again.
        unsafe {
            free(lock, |lock| {
                if let Some(owner) = lock.raw.owner() {
                    return Err(Failure::new(QUELL_BUSY, format!("thread {owner} has the lock")));
                }
                lock.waiting.check("lock")
            })
        }
    })
}
