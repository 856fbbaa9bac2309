//! Sending interrupts, and asking what became of them.

use crate::object::{answer, borrow, free, hand_out, hold};
use crate::reason::{interrupt_with, quell_reason};
use crate::status::quell_status::{QUELL_EXITED, QUELL_TOO_LATE};
use crate::status::{Failure, call, call_for, quell_status};
use crate::thread::{living, lookup, quell_thread_id};
use crate::time::{quell_deadline, until};
use quell_core::{Outcome, Receipt, Thread};

/// What became of an interrupt: each ends exactly one way, once.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum quell_outcome {
    /// Nothing yet: it waits to be delivered.
    QUELL_PENDING = 0,
    /// The target has received it.
    QUELL_DELIVERED = 1,
    /// It was taken back, and never will be delivered.
    QUELL_WITHDRAWN = 2,
    /// The target ended first.
    QUELL_TARGET_EXITED = 3,
}

impl From<Outcome> for quell_outcome {
    fn from(outcome: Outcome) -> quell_outcome {
        match outcome {
            Outcome::Delivered => quell_outcome::QUELL_DELIVERED,
            Outcome::Withdrawn => quell_outcome::QUELL_WITHDRAWN,
            Outcome::TargetExited => quell_outcome::QUELL_TARGET_EXITED,
            _ => quell_outcome::QUELL_PENDING,
        }
    }
}

/// Asks what became of an interrupt, waits for it, or takes the interrupt back. Any thread may use it. Freeing it changes
/// nothing about the interrupt.
pub struct quell_receipt {
    receipt: Receipt,
}

/// Interrupts a thread: its current wait, or else its next interruption point, returns QUELL_INTERRUPTED, and
/// quell_take_reason() has the reason there. Several are delivered in the order they were sent.
///
/// Any thread may call this, for itself too. It never waits for the target. The reason stays the caller's: a reference is
/// taken for the way. If `receipt` is not NULL, a receipt is written there, to be freed with quell_receipt_free(); if the
/// call fails, NULL is.
///
/// QUELL_OK: sent. QUELL_EXITED: the thread has ended. QUELL_INVALID: the reason is NULL, or the id 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_interrupt(
    id: quell_thread_id,
    reason: *mut quell_reason,
    receipt: *mut *mut quell_receipt,
) -> quell_status {
    call("quell_interrupt", || {
        // SAFETY: what the caller promises of the two pointers.
        unsafe { send(|| living(id), reason, receipt) }
    })
}

/// quell_interrupt() of the process's main thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_interrupt_main(
    reason: *mut quell_reason,
    receipt: *mut *mut quell_receipt,
) -> quell_status {
    call("quell_interrupt_main", || {
        // SAFETY: what the caller promises of the two pointers.
        unsafe { send(|| Ok(quell_core::main()), reason, receipt) }
    })
}

/// # Safety
/// The caller has a reference to the reason, or it is null; the receipt is null or may be written to.
unsafe fn send(
    target: impl FnOnce() -> Result<Thread, Failure>,
    reason: *mut quell_reason,
    receipt: *mut *mut quell_receipt,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    unsafe { answer(receipt, std::ptr::null_mut()) };
    // SAFETY: the caller's promise.
    let interrupt = unsafe { interrupt_with(reason) }?;
    let target = target()?;
    let sent = target.interrupt(interrupt);
    if sent.state() == Outcome::TargetExited {
        return Err(Failure::new(QUELL_EXITED, format!("{target} has ended")));
    }
    if !receipt.is_null() {
        // SAFETY: the caller's promise.
        unsafe { answer(receipt, hand_out(quell_receipt { receipt: sent })) };
    }
    Ok(())
}

/// Interrupts a thread by its id; or, if the reason is NULL, takes back all that is pending in it. The safe form of CPython's
/// PyThreadState_SetAsyncExc().
///
/// Returns how many threads that concerned: 1, or 0 if no living thread has the id. It is never more, and never a stranger,
/// because ids are not reused. The reason stays the caller's. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_set_async_exc(
    id: quell_thread_id,
    reason: *mut quell_reason,
) -> usize {
    call_for("quell_set_async_exc", 0, || {
        let Some(thread) = lookup(id) else { return Ok(0) };
        if reason.is_null() {
            thread.withdraw_all();
            return Ok(1);
        }
        // SAFETY: the caller has a reference to the reason.
        let sent = thread.interrupt(unsafe { interrupt_with(reason) }?);
        Ok(usize::from(sent.state() != Outcome::TargetExited))
    })
}

/// Delivers an interrupt that is pending in the calling thread, unless a mask or shield holds. The interruption point for code
/// that does not wait: put it into long loops. Costs a few nanoseconds when nothing is pending. Does not block.
///
/// QUELL_OK: nothing was delivered. QUELL_INTERRUPTED.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn quell_checkpoint() -> quell_status {
    call("quell_checkpoint", || Ok(quell_core::checkpoint()?))
}

/// What became of the interrupt so far. QUELL_PENDING of NULL. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_receipt_state(receipt: *const quell_receipt) -> quell_outcome {
    call_for("quell_receipt_state", quell_outcome::QUELL_PENDING, || {
        // SAFETY: the caller's promise: NULL or a receipt.
        Ok(unsafe { borrow(receipt, "receipt") }?.receipt.state().into())
    })
}

/// Waits until the interrupt was delivered or withdrawn, or its target has ended, and writes which to `outcome`, unless that
/// is NULL.
///
/// Interruption point of the waiting thread, if it has to wait. QUELL_OK, QUELL_INTERRUPTED, QUELL_TIMED_OUT: the last two
/// change nothing about the interrupt that was asked after.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_receipt_wait(
    receipt: *const quell_receipt,
    outcome: *mut quell_outcome,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_receipt_wait", || {
        // SAFETY: the caller's promise: NULL or a receipt.
        let receipt = unsafe { hold(receipt, "receipt") }?;
        let ended = receipt.receipt.wait_with(&until(deadline))?;
        // SAFETY: the caller's promise: NULL or a place for it.
        unsafe { answer(outcome, ended.into()) };
        Ok(())
    })
}

/// Takes the interrupt back. Does not block.
///
/// QUELL_OK: it was pending, and never will be delivered. QUELL_TOO_LATE: it had come to its end, as quell_receipt_state()
/// tells.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_receipt_withdraw(receipt: *const quell_receipt) -> quell_status {
    call("quell_receipt_withdraw", || {
        // SAFETY: the caller's promise: NULL or a receipt.
        let receipt = unsafe { hold(receipt, "receipt") }?;
        if receipt.receipt.withdraw() { Ok(()) } else { Err(QUELL_TOO_LATE.into()) }
    })
}

/// Frees a receipt. NULL is ignored. Does not block. Always QUELL_OK.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_receipt_free(receipt: *mut quell_receipt) -> quell_status {
    call("quell_receipt_free", || {
        // SAFETY: the caller's promise: NULL or a receipt that it does not use again.
        unsafe { free(receipt, |_| Ok(())) }
    })
}
