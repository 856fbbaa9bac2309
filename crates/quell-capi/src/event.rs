//! The event.

use crate::object::{Waiting, free, hand_out, hold};
use crate::status::{call, call_for, quell_status};
use crate::time::{quell_deadline, until};
use quell_core::Event;

/// A flag that threads wait for. Clear at first; once set, it stays so until it is cleared.
pub struct quell_event {
    pub(crate) event: Event,
    pub(crate) waiting: Waiting,
}

/// Makes a clear event, to be freed with quell_event_free(). Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn quell_event_new() -> *mut quell_event {
    call_for("quell_event_new", std::ptr::null_mut(), || {
        Ok(hand_out(quell_event { event: Event::new(), waiting: Waiting::new() }))
    })
}

/// Waits until the event is set, or the deadline.
///
/// Interruption point, if it has to wait. QUELL_OK: it was set. QUELL_INTERRUPTED, QUELL_TIMED_OUT.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_event_wait(
    event: *mut quell_event,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_event_wait", || {
        // SAFETY: the caller's promise: NULL or an event.
        let event = unsafe { hold(event, "event") }?;
        if event.event.is_set() {
            return Ok(());
        }
        Ok(event.waiting.during(|| event.event.wait_with(&until(deadline)))?)
    })
}

/// Sets the event, and wakes everybody who waits for it. No effect if it is set. Does not block; no interruption point.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_event_set(event: *mut quell_event) -> quell_status {
    call("quell_event_set", || {
        // SAFETY: the caller's promise: NULL or an event. It is held, so that whoever is woken may free it at once.
        unsafe { hold(event, "event") }?.event.set();
        Ok(())
    })
}

/// Clears the event. No effect if it is clear. Does not block; no interruption point.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_event_clear(event: *mut quell_event) -> quell_status {
    call("quell_event_clear", || {
        // SAFETY: the caller's promise: NULL or an event.
        unsafe { hold(event, "event") }?.event.clear();
        Ok(())
    })
}

/// Whether the event is set. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_event_is_set(event: *const quell_event) -> bool {
    call_for("quell_event_is_set", false, || {
        // SAFETY: the caller's promise: NULL or an event.
        Ok(unsafe { hold(event, "event") }?.event.is_set())
    })
}

/// Frees an event that nobody waits for. NULL is ignored. Does not block.
///
/// QUELL_OK. QUELL_BUSY: somebody waits for it; it was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_event_free(event: *mut quell_event) -> quell_status {
    call("quell_event_free", || {
        // SAFETY: the caller's promise: NULL or an event that it does not use again.
        unsafe { free(event, |event| event.waiting.check("event")) }
    })
}

impl quell_event {
    pub(crate) fn forget_waiters_after_fork(&self) {
        self.event.forget_waiters_after_fork();
        self.waiting.forget();
    }
}
