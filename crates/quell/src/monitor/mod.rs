//! The monitor: deadlines, and what is built on them. One thread, started on first use, that sleeps until the earliest
//! deadline and runs what is due.
//!
//! | to … | use |
//! | --- | --- |
//! | end a stretch of code when its time is over | [`timeout()`], [`Timeout`] |
//! | end it when it has computed for too long | [`CpuBudget`] |
//! | end it, or be told, when it gives no sign of life | [`Watchdog`] |
//! | run something at a moment | [`at`], [`after`], [`repeat`] |
//! | give up one wait at a moment | the wait's own deadline: [`Wait::until`](crate::Wait::until) |
//!
//! The first three are *limits*: scopes that are never left while their interrupt is in flight. It is delivered inside,
//! or taken back; nothing that comes after the scope is hit by it. The handshake is described in
//! [`interrupt`](crate::interrupt).
//!
//! Made for very many deadlines that are armed and cancelled again: neither wakes the monitor, allocates (for a function
//! that captures up to three words), or takes longer because a million others are armed. How that works is in `timers`
//! and `heap`.

pub(crate) mod function;
mod heap;
pub(crate) mod timers;

// A model has no clock.
#[cfg(not(any(quell_loom, quell_shuttle)))]
mod budget;
#[cfg(not(any(quell_loom, quell_shuttle)))]
mod deadline;
#[cfg(not(any(quell_loom, quell_shuttle)))]
mod limit;
#[cfg(not(any(quell_loom, quell_shuttle)))]
mod timeout;
#[cfg(not(any(quell_loom, quell_shuttle)))]
mod watchdog;

#[cfg(not(any(quell_loom, quell_shuttle)))]
mod exported {
    pub use super::budget::{BudgetScope, BudgetWatch, CpuBudget};
    pub use super::deadline::{Timer, after, armed, at, repeat};
    pub use super::limit::{Limit, LimitError, Reached};
    pub use super::timeout::{Timeout, TimeoutScope, timeout};
    pub use super::watchdog::{Heart, Silence, Watch, Watchdog, WatchedScope};
}
#[cfg(quell_parker_locks)]
pub(crate) use deadline::hold_parker;
#[cfg(not(any(quell_loom, quell_shuttle)))]
pub(crate) use deadline::{after_fork, forget_thread, hold, release};
#[cfg(not(any(quell_loom, quell_shuttle)))]
pub use exported::*;
