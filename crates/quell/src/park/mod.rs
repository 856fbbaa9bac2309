//! One thread sleeps, another wakes it. Used by `wait` alone.
//!
//! A [`Parker`] belongs to one thread and holds at most one *token*. [`Parker::unpark`] leaves the token and wakes the
//! owner; [`Parker::park`] takes the token, sleeping until there is one, the deadline has passed, or a signal handler
//! has run. An answer is a hint to look again at whatever the caller waits for, never the truth about it: a token may
//! be left over from an earlier wait.
//!
//! # States (the futex form)
//!
//! | word | meaning | who makes it |
//! | --- | --- | --- |
//! | `EMPTY` | no token, owner awake | owner, whenever it leaves `park` |
//! | `NOTIFIED` | a token | anybody, in `unpark`, from any state |
//! | `PARKED` | no token, owner asleep or about to be | owner, from `EMPTY` |
//!
//! No wake-up is lost: the owner goes to `PARKED` by compare-exchange from `EMPTY`, so a token that came first is
//! seen and taken; one that comes later finds `PARKED`, and its maker calls the kernel, which compares the word
//! with `PARKED` under its own lock before it puts the owner to sleep. All of it is one word with one modification
//! order.
//!
//! Two forms exist, with the same interface: `futex` on Linux, `portable` (a mutex and a condition variable) on
//! other systems and, for tests, under `--cfg quell_portable_park`. [`short`] is the lock for the few instructions that
//! change a list, [`burst`] that of the queues. In the models, [`kernel`] stands for the futex calls.

mod burst;
#[cfg(quell_futex)]
mod futex;
#[cfg(quell_futex)]
mod kernel;
#[cfg(not(quell_futex))]
mod portable;
mod short;

pub(crate) use burst::{Burst, BurstGuard};
#[cfg(quell_futex)]
pub(crate) use futex::Parker;
#[cfg(quell_parker_locks)]
pub(crate) use portable::Held;
#[cfg(not(quell_futex))]
pub(crate) use portable::Parker;
#[cfg(all(quell_futex, any(quell_loom, quell_shuttle)))]
pub(crate) use short::three_state;
pub(crate) use short::{RawShort, Short, ShortGuard};

/// Why [`Parker::park`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parked {
    /// There was a token, or for no reason at all.
    Woken,
    /// The deadline has passed.
    TimedOut,
    /// A signal handler ran in this thread while it slept. Only the futex form can tell.
    Signalled,
}
