//! Objects that C code has a pointer to: locks, events, queues.
//!
//! The pointer is a counted reference ([`Arc`]). A call holds one of its own while it runs, so that an object may be freed as
//! soon as its owner knows that nobody will use it any more: the thread whose `set` has woken the owner may still be on its
//! way out of the event. Freeing an object that somebody waits for is refused; that is a courtesy to whoever made the
//! mistake, not a protocol: who frees an object must know that no call on it is about to begin.

use crate::status::Failure;
use crate::status::quell_status::QUELL_BUSY;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// Gives an object to C.
pub(crate) fn hand_out<T>(object: T) -> *mut T {
    Arc::into_raw(Arc::new(object)).cast_mut()
}

/// A reference for the time of a call.
///
/// # Safety
/// `pointer` is null, or came from [`hand_out`] and was not freed.
pub(crate) unsafe fn hold<T>(pointer: *const T, what: &str) -> Result<Arc<T>, Failure> {
    if pointer.is_null() {
        return Err(null(what));
    }
    // SAFETY: as the caller promises, it is an Arc's with a reference that C holds.
    unsafe {
        Arc::increment_strong_count(pointer);
        Ok(Arc::from_raw(pointer))
    }
}

/// The object itself, for calls that are over for everybody else before they have their effect.
///
/// # Safety
/// As for [`hold`]; and it is not freed while the reference is in use.
pub(crate) unsafe fn borrow<'a, T>(pointer: *const T, what: &str) -> Result<&'a T, Failure> {
    // SAFETY: as the caller promises.
    unsafe { pointer.as_ref() }.ok_or_else(|| null(what))
}

/// Takes C's reference back, if `unused` agrees. Null is nothing to free.
///
/// # Safety
/// As for [`hold`]; C does not use the pointer again, unless this fails.
pub(crate) unsafe fn free<T>(
    pointer: *mut T,
    unused: impl FnOnce(&T) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if pointer.is_null() {
        return Ok(());
    }
    // SAFETY: as the caller promises.
    unused(unsafe { &*pointer })?;
    // SAFETY: the reference that `hand_out` gave away.
    drop(unsafe { Arc::from_raw(pointer) });
    Ok(())
}

/// Where a call leaves its answer.
///
/// # Safety
/// `out` is null or may be written to.
pub(crate) unsafe fn answer<T>(out: *mut T, value: T) {
    if !out.is_null() {
        // SAFETY: as the caller promises.
        unsafe { out.write(value) };
    }
}

pub(crate) fn null(what: &str) -> Failure {
    Failure::invalid(format!("the {what} is NULL"))
}

/// How many threads wait for an object.
pub(crate) struct Waiting(AtomicU32);

impl Waiting {
    pub(crate) const fn new() -> Waiting {
        Waiting(AtomicU32::new(0))
    }

    /// Counts the calling thread while `wait` runs.
    pub(crate) fn during<R>(&self, wait: impl FnOnce() -> R) -> R {
        /// Also if it panics.
        struct Left<'a>(&'a AtomicU32);
        impl Drop for Left<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Relaxed);
            }
        }
        // Relaxed, here and below: a count for a message, which nothing else depends on.
        self.0.fetch_add(1, Relaxed);
        let _left = Left(&self.0);
        wait()
    }

    /// An error if somebody waits.
    pub(crate) fn check(&self, what: &str) -> Result<(), Failure> {
        match self.0.load(Relaxed) {
            0 => Ok(()),
            1 => Err(Failure::new(QUELL_BUSY, format!("a thread waits for the {what}"))),
            n => Err(Failure::new(QUELL_BUSY, format!("{n} threads wait for the {what}"))),
        }
    }

    /// In the child of a fork: they are not here.
    pub(crate) fn forget(&self) {
        self.0.store(0, Relaxed);
    }
}
