//! Threads: ids, handles, the registry, spawn and join, and the current thread's own state.
//!
//! Every thread that uses quell has a [`Thread`]: threads spawned here from their start, others (*foreign* threads)
//! from their first use of anything that needs one. The registry knows the living ones by id. Ids are never reused,
//! so a late interrupt cannot reach a stranger.
//!
//! A thread *ends*, as quell sees it, when the function it was spawned with has returned or panicked; a foreign
//! thread, when its thread-locals are destroyed. What is pending then becomes
//! [`TargetExited`](crate::Outcome::TargetExited). quell operations in thread-local destructors that run later
//! still work, but nobody can interrupt them any more.

mod current;
mod handle;
mod nap;
mod registry;
mod spawn;

pub use current::{AlreadyRegistered, adopt, current, is_registered};
pub use handle::{Thread, ThreadId};
pub use nap::{park, park_with, sleep, sleep_until, sleep_with};
pub use registry::{enumerate, interrupt_main, lookup, main, set_async_exc};
pub use spawn::{Builder, JoinError, JoinHandle, spawn};

pub(crate) use current::{current_id, local, registered};
#[cfg(not(any(quell_loom, quell_shuttle)))]
pub(crate) use registry::{after_fork, hold_all, release_all};
