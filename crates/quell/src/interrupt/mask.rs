//! Masks and shields: where a pending interrupt may be delivered. Two depth counters of the current thread.
//!
//! They decide for the owner alone, so they are plain cells in its thread-local state. A copy stands in its handle, for whoever
//! looks from outside.

use super::{Interrupted, checkpoint};
use crate::thread::local;
use std::marker::PhantomData;

/// Inside, interrupts are delivered only where the thread blocks.
///
/// For a stretch of code that must not be cut in the middle by a [`checkpoint`](crate::checkpoint), but may wait.
/// Nests. Leaving the last one is an interruption point: [`MaskGuard::leave`] delivers; a drop cannot, and leaves
/// what is pending to the next one.
///
/// ```
/// use quell::Interrupt;
/// use std::time::Duration;
///
/// let mask = quell::mask();
/// quell::current().interrupt(Interrupt::new("stop"));
/// assert!(quell::checkpoint().is_ok()); // not here
/// assert!(quell::sleep(Duration::from_secs(3600)).is_err()); // here it blocks
/// assert!(mask.leave().is_ok()); // nothing left
/// ```
#[inline]
pub fn mask() -> MaskGuard {
    enter_mask();
    MaskGuard { here: PhantomData }
}

/// Inside, interrupts are not delivered at all: every wait is as if nobody had sent any.
///
/// For cleanup that must finish. Nests, also with [`mask`]. Leaving the last one is an interruption point, as with
/// masks.
///
/// ```
/// use quell::Interrupt;
/// use std::time::Duration;
///
/// let shield = quell::shield();
/// quell::current().interrupt(Interrupt::new("stop"));
/// assert!(quell::sleep(Duration::from_millis(1)).is_ok());
/// assert!(shield.leave().is_err()); // delivered here
/// ```
#[inline]
pub fn shield() -> ShieldGuard {
    enter_shield();
    ShieldGuard { here: PhantomData }
}

/// A mask of the current thread; see [`mask`].
#[must_use = "the mask ends when its guard is dropped"]
pub struct MaskGuard {
    // Not Send: it speaks of the thread that made it.
    here: PhantomData<*const ()>,
}

impl MaskGuard {
    /// Ends the mask, and delivers what is pending if this was the last.
    ///
    /// # Errors
    /// The interrupt that is delivered here.
    #[inline]
    pub fn leave(self) -> Result<(), Interrupted> {
        drop(self);
        checkpoint()
    }
}

impl Drop for MaskGuard {
    #[inline]
    fn drop(&mut self) {
        leave_mask();
    }
}

/// A shield of the current thread; see [`shield`].
#[must_use = "the shield ends when its guard is dropped"]
pub struct ShieldGuard {
    here: PhantomData<*const ()>,
}

impl ShieldGuard {
    /// Ends the shield, and delivers what is pending if this was the last, and no mask is left.
    ///
    /// # Errors
    /// The interrupt that is delivered here.
    #[inline]
    pub fn leave(self) -> Result<(), Interrupted> {
        drop(self);
        checkpoint()
    }
}

impl Drop for ShieldGuard {
    #[inline]
    fn drop(&mut self) {
        leave_shield();
    }
}

/// Inside, the masks and shields around it do not hold. For a stretch within them that may be interrupted anywhere,
/// such as the body of a thread that was [started masked](crate::thread::Builder::masked) so that nothing comes
/// before its handlers are in place. The `restore` of GHC's `mask`.
///
/// ```
/// use quell::Interrupt;
///
/// let _mask = quell::mask();
/// quell::current().interrupt(Interrupt::new("stop"));
/// assert!(quell::checkpoint().is_ok());
/// let unmasked = quell::unmask();
/// assert!(quell::checkpoint().is_err());
/// drop(unmasked);
/// assert_eq!(quell::mask_depth(), 1);
/// ```
#[inline]
pub fn unmask() -> UnmaskGuard {
    let depths = local(|l| {
        let depths = (l.mask(), l.shield());
        l.set_depths(0, 0);
        depths
    });
    UnmaskGuard { mask: depths.0, shield: depths.1, here: PhantomData }
}

/// A stretch without the masks and shields around it; see [`unmask`]. Dropping it puts them back, whatever masks the
/// stretch itself has left behind.
#[must_use = "the masks are back when the guard is dropped"]
pub struct UnmaskGuard {
    mask: u32,
    shield: u32,
    here: PhantomData<*const ()>,
}

impl Drop for UnmaskGuard {
    #[inline]
    fn drop(&mut self) {
        local(|l| l.set_depths(self.mask, self.shield));
    }
}

/// Enters a mask without a guard, for embedders with a block structure of their own. Pair it with [`leave_mask`].
#[inline]
pub fn enter_mask() {
    local(|l| l.set_depths(l.mask() + 1, l.shield()));
}

/// Leaves a mask entered with [`enter_mask`]. Delivers nothing: call [`checkpoint`](crate::checkpoint) after it.
///
/// # Panics
/// If the thread is in no mask.
#[inline]
pub fn leave_mask() {
    local(|l| {
        let left = l.mask().checked_sub(1).expect("leave_mask() without enter_mask()");
        l.set_depths(left, l.shield());
    });
}

/// Enters a shield without a guard, for embedders with a block structure of their own. Pair it with [`leave_shield`].
#[inline]
pub fn enter_shield() {
    local(|l| l.set_depths(l.mask(), l.shield() + 1));
}

/// Leaves a shield entered with [`enter_shield`]. Delivers nothing: call [`checkpoint`](crate::checkpoint) after it.
///
/// # Panics
/// If the thread is in no shield.
#[inline]
pub fn leave_shield() {
    local(|l| {
        let left = l.shield().checked_sub(1).expect("leave_shield() without enter_shield()");
        l.set_depths(l.mask(), left);
    });
}

/// How many masks the current thread is in.
#[inline]
pub fn mask_depth() -> u32 {
    local(|l| l.mask())
}

/// How many shields the current thread is in.
#[inline]
pub fn shield_depth() -> u32 {
    local(|l| l.shield())
}
