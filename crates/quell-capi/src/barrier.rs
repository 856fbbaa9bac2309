//! The barrier.

use crate::object::{Waiting, answer, free, hand_out, hold};
use crate::status::quell_status::{QUELL_BROKEN, QUELL_INTERNAL, QUELL_TIMED_OUT};
use crate::status::{Failure, call, call_for, quell_status};
use crate::thread::Pointer;
use crate::time::{quell_deadline, until};
use quell_core::Barrier;
use quell_core::sync::BarrierError;
use std::ffi::c_void;

/// What the last party to arrive runs, before anybody gets through. It must return.
pub type quell_action = Option<extern "C" fn(*mut c_void)>;

/// A place where a number of threads wait for each other: none gets through before all have arrived. Then it is ready for
/// the next round.
///
/// If one of them gives up (it is interrupted, or its deadline passes), the others would wait for ever. So that breaks the
/// barrier: all who wait, and all who come, get QUELL_BROKEN, until somebody resets it.
pub struct quell_barrier {
    pub(crate) barrier: Barrier<Box<dyn Fn() + Send + Sync>>,
    pub(crate) waiting: Waiting,
}

/// Makes a barrier for so many threads, to be freed with quell_barrier_free(). The last to arrive calls `action(argument)`,
/// unless that is NULL. Does not block. NULL if `parties` is 0.
#[unsafe(no_mangle)]
pub extern "C" fn quell_barrier_new(
    parties: u32,
    action: quell_action,
    argument: *mut c_void,
) -> *mut quell_barrier {
    call_for("quell_barrier_new", std::ptr::null_mut(), || {
        if parties == 0 {
            return Err(Failure::invalid("a barrier is for one thread at least"));
        }
        let argument = Pointer(argument);
        let action: Box<dyn Fn() + Send + Sync> = match action {
            None => Box::new(|| {}),
            Some(action) => Box::new(move || {
                // The whole of it goes along, not its field.
                let Pointer(argument) = { argument };
                action(argument);
            }),
        };
        let barrier = Barrier::with_action(parties, action);
        Ok(hand_out(quell_barrier { barrier, waiting: Waiting::new() }))
    })
}

impl From<BarrierError> for Failure {
    fn from(error: BarrierError) -> Failure {
        match error {
            BarrierError::Broken(broken) => Failure::new(QUELL_BROKEN, broken.to_string()),
            BarrierError::TimedOut => {
                Failure::new(QUELL_TIMED_OUT, "the deadline has passed, and the barrier is broken")
            }
            BarrierError::Interrupted(interrupted) => interrupted.into(),
            BarrierError::Signalled => QUELL_INTERNAL.into(),
        }
    }
}

/// Waits until all have arrived, and writes which one this was to `index`, unless that is NULL: 0 for the first, the number
/// of parties less one for the last, which has run the action.
///
/// Interruption point, if it has to wait. QUELL_OK. QUELL_INTERRUPTED, QUELL_TIMED_OUT: the barrier is broken by that, unlike
/// with other calls. QUELL_BROKEN.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_barrier_wait(
    barrier: *mut quell_barrier,
    index: *mut usize,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_barrier_wait", || {
        // SAFETY: the caller's promise: NULL or a barrier.
        let barrier = unsafe { hold(barrier, "barrier") }?;
        let place = barrier.waiting.during(|| barrier.barrier.wait_with(&until(deadline)))?;
        // SAFETY: the caller's promise: NULL or a place for it.
        unsafe { answer(index, place) };
        Ok(())
    })
}

/// Breaks the barrier: all who wait, and all who come, get QUELL_BROKEN. Does not block; no interruption point.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_barrier_abort(barrier: *mut quell_barrier) -> quell_status {
    call("quell_barrier_abort", || {
        // SAFETY: the caller's promise: NULL or a barrier.
        unsafe { hold(barrier, "barrier") }?.barrier.abort();
        Ok(())
    })
}

/// Makes the barrier as new: who waits gets QUELL_BROKEN, who comes begins a new round. Does not block; no interruption
/// point.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_barrier_reset(barrier: *mut quell_barrier) -> quell_status {
    call("quell_barrier_reset", || {
        // SAFETY: the caller's promise: NULL or a barrier.
        unsafe { hold(barrier, "barrier") }?.barrier.reset();
        Ok(())
    })
}

/// How many have arrived and wait. Out of date as soon as it is known. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_barrier_waiting(barrier: *const quell_barrier) -> u32 {
    call_for("quell_barrier_waiting", 0, || {
        // SAFETY: the caller's promise: NULL or a barrier.
        Ok(unsafe { hold(barrier, "barrier") }?.barrier.waiting())
    })
}

/// Frees a barrier that nobody waits at. NULL is ignored. Does not block.
///
/// QUELL_OK. QUELL_BUSY: somebody waits at it; it was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_barrier_free(barrier: *mut quell_barrier) -> quell_status {
    call("quell_barrier_free", || {
        // SAFETY: the caller's promise: NULL or a barrier that it does not use again.
        unsafe { free(barrier, |barrier| barrier.waiting.check("barrier")) }
    })
}

impl quell_barrier {
    pub(crate) fn reset_after_fork(&self) {
        self.barrier.reset_after_fork();
        self.waiting.forget();
    }
}
