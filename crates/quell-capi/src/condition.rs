//! The condition, over a Lock or RLock.

use crate::lock::quell_lock;
use crate::object::{Waiting, free, hand_out, hold};
use crate::status::quell_status::QUELL_NOT_OWNER;
use crate::status::{Failure, call, call_for, quell_status};
use crate::time::{quell_deadline, until};
use quell_core::deadlock::called_from;
use quell_core::{Condition, Wait};

/// A place to wait, with a lock released, for something to change under that lock. Also called a condition variable.
///
/// None wakes for nothing: a wait that returns QUELL_OK was notified; but what it waits for may have changed again before it
/// had the lock, so look again. A notification that competes with an interrupt or a deadline is never lost: it went to this
/// waiter, which returns QUELL_OK, or to the next.
pub struct quell_condition {
    pub(crate) condition: Condition,
    pub(crate) waiting: Waiting,
}

/// Makes a condition, to be freed with quell_condition_free(). Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn quell_condition_new() -> *mut quell_condition {
    call_for("quell_condition_new", std::ptr::null_mut(), || {
        let condition = Condition::new();
        Ok(hand_out(quell_condition { condition, waiting: Waiting::new() }))
    })
}

/// Releases the lock, waits until it is notified, and takes the lock again: an RLock as often as it was taken. The calling
/// thread must have it, and has it again when this returns, however that ends. Taking it again may take longer than until
/// the deadline, and is no interruption point.
///
/// Interruption point. QUELL_OK: notified. QUELL_INTERRUPTED, QUELL_TIMED_OUT: not. QUELL_NOT_OWNER: the calling thread does
/// not have the lock.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_condition_wait(
    condition: *mut quell_condition,
    lock: *mut quell_lock,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_condition_wait", || {
        // SAFETY: the caller's promise: NULL or a condition.
        let condition = unsafe { hold(condition, "condition") }?;
        // SAFETY: the caller's promise: NULL or a lock.
        let lock = unsafe { hold(lock, "lock") }?;
        if !lock.raw.is_owned() {
            let me = quell_core::current();
            let what = format!("{me} does not hold the lock that the wait would release");
            return Err(Failure::new(QUELL_NOT_OWNER, what));
        }
        let wait = || {
            let mut depth = 0;
            let release = || depth = lock.raw.release_save().expect("this thread owns it");
            let waited = condition.condition.wait_releasing(release, &until(deadline));
            let again = || lock.raw.acquire_restore(depth, &Wait::new().shielded());
            let taken = called_from("quell_condition_wait()", again);
            debug_assert!(taken.is_ok(), "nothing else ends this wait");
            waited
        };
        Ok(condition.waiting.during(|| lock.waiting.during(wait))?)
    })
}

/// Wakes the `count` threads that have waited longest, or as many as there are. Best called with the lock held, or after it
/// was held to make the change. Does not block; no interruption point.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_condition_notify(
    condition: *mut quell_condition,
    count: usize,
) -> quell_status {
    call("quell_condition_notify", || {
        // SAFETY: the caller's promise: NULL or a condition.
        unsafe { hold(condition, "condition") }?.condition.notify(count);
        Ok(())
    })
}

/// Wakes every thread that waits now. Does not block; no interruption point.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_condition_notify_all(
    condition: *mut quell_condition,
) -> quell_status {
    call("quell_condition_notify_all", || {
        // SAFETY: the caller's promise: NULL or a condition.
        unsafe { hold(condition, "condition") }?.condition.notify_all();
        Ok(())
    })
}

/// Frees a condition that nobody waits for. NULL is ignored. Does not block.
///
/// QUELL_OK. QUELL_BUSY: somebody waits for it; it was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_condition_free(condition: *mut quell_condition) -> quell_status {
    call("quell_condition_free", || {
        // SAFETY: the caller's promise: NULL or a condition that it does not use again.
        unsafe { free(condition, |condition| condition.waiting.check("condition")) }
    })
}

impl quell_condition {
    pub(crate) fn reset_after_fork(&self) {
        self.condition.reset_after_fork();
        self.waiting.forget();
    }
}
