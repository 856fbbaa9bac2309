//! The interrupt: what it carries, where it waits, when it is delivered, and what became of it.
//!
//! # The life of an interrupt
//!
//! ```text
//!   Interrupt::new          Thread::interrupt            the target, at an interruption point
//!   ───────────── UNSENT ──────────────────── PENDING ──────────────────────────────── DELIVERED
//!                   │                           │  └── the target ended ──────────── TARGET_EXITED
//!                   └── withdraw, drop ──┐      └── withdraw ──┐
//!                                        └─────────────────────┴──────────────────── WITHDRAWN
//! ```
//!
//! Each interrupt ends exactly one way, once. `UNSENT` is left by compare-exchange (sender against withdrawal).
//! `PENDING` is left only under the lock of the target's slot, by whoever takes the interrupt out of the FIFO: the
//! target (delivered), a withdrawal, or the target's exit. So there is one winner, and the order in the FIFO is the
//! order of delivery. [`requeue_front`] is the one way back, for an embedder whose raise was swallowed: the target
//! itself puts its interrupt back, first in line.
//!
//! # The slot and its state word
//!
//! A thread has one word with the bits `PENDING`, `BLOCKED`, `NUDGED`, `EXITED`, `CALLS` and `EXPIRED`, and under a short
//! lock a FIFO. (The last two belong to system calls: `syscall`.)
//!
//! - A **sender** locks the slot, appends, sets `PENDING`, and unlocks. If `BLOCKED` was set when it set `PENDING`, it
//!   unparks the target.
//! - The **target**, before it sleeps, sets `BLOCKED` and looks at `PENDING` in the same read-modify-write; before
//!   each sleep it looks again. If an interrupt may be delivered it does not sleep.
//! - `PENDING` is set exactly while the FIFO is not empty (seen under the slot's lock).
//!
//! No wake-up is lost: both steps are read-modify-writes of one word, which has one modification order. Either the
//! sender's came first, and the target sees `PENDING`; or the target's came first, and the sender sees `BLOCKED` and
//! leaves a token in the parker, which no sleep outlasts.
//!
//! An interrupt that ends a wait is taken under the slot's lock together with the compare-exchange on the wait's node
//! (see [`wait`](crate::wait)): if the grant won that race, the interrupt has not moved and stays pending. So
//! completion beats interruption, and no interrupt is ever seen as delivered and then not.
//!
//! An interrupt can be aimed at a [`Scope`], a stretch of the thread's run; it is then delivered inside or not at all.
//! That is a second handshake, between the sender and the target as it leaves; it is described in `scope`.
//!
//! Nothing a user supplied (a reason, a drop handler) is run under the slot's lock, but for what an embedder
//! [looks](crate::Thread::look_at_pending) with.

mod error;
mod fate;
mod mask;
mod point;
mod scope;
mod slot;
mod value;

pub use error::Interrupted;
pub use fate::{Outcome, Receipt};
pub use mask::{
    MaskGuard, ShieldGuard, UnmaskGuard, enter_mask, enter_shield, leave_mask, leave_shield, mask,
    mask_depth, shield, shield_depth, unmask,
};
pub use point::{checkpoint, requeue_front, take_pending};
pub use scope::{Aim, Left, Scope};
pub use value::Interrupt;

pub(crate) use slot::{EXPIRED, NUDGED, PENDING, Slot, Taken};
