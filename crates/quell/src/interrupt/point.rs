//! Interruption points of the current thread: where it takes what is pending.

use super::{Interrupt, Interrupted, Taken};
use crate::thread::{Thread, current, local, registered};

/// Delivers a pending interrupt, unless a mask or shield holds. The interruption point for code that does not wait:
/// put it into long loops. Costs one load when nothing is pending.
///
/// ```
/// use quell::Interrupted;
///
/// fn sum(numbers: &[u64]) -> Result<u64, Interrupted> {
///     let mut sum = 0;
///     for number in numbers {
///         quell::checkpoint()?;
///         sum += number;
///     }
///     Ok(sum)
/// }
/// assert_eq!(sum(&[1, 2, 3]).unwrap(), 6);
/// ```
///
/// # Errors
/// The interrupt that is delivered here.
#[inline]
pub fn checkpoint() -> Result<(), Interrupted> {
    if registered(|thread| thread.slot().has_pending()).unwrap_or(false) {
        return deliver();
    }
    Ok(())
}

#[cold]
fn deliver() -> Result<(), Interrupted> {
    match take_pending(false) {
        Some(interrupt) => Err(Interrupted::new(interrupt, current())),
        None => Ok(()),
    }
}

/// Takes the first pending interrupt of the current thread, if its masks allow. Its receipt then says *delivered*.
///
/// For embedders that raise it in a way of their own; others use [`checkpoint`]. With `where_blocked`, as a wait would:
/// a mask does not hold there, a shield does.
pub fn take_pending(where_blocked: bool) -> Option<Interrupt> {
    let (masked, shielded) = local(|l| (l.mask() > 0, l.shield() > 0));
    if shielded || (masked && !where_blocked) {
        return None;
    }
    registered(|thread| match thread.slot().has_pending() {
        true => match thread.slot().take_if(|| true) {
            Taken::Interrupt(interrupt) => Some(interrupt),
            Taken::Refused | Taken::Nothing => None,
        },
        false => None,
    })
    .flatten()
}

/// Undoes a [`take_pending`] whose raise was swallowed: the interrupt is pending again, first in line, and its receipt
/// says so.
pub fn requeue_front(interrupt: Interrupt) {
    let thread: Thread = current();
    thread.slot().put_back(&thread, interrupt);
}
