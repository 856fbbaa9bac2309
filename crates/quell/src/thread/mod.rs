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
//!
//! | to … | use |
//! | --- | --- |
//! | start a thread | [`spawn()`]; [`Builder`] for a name, a stack size, the masks it starts in |
//! | start threads that borrow | [`scope`]; [`scope_linked`] if they shall end when their parent is interrupted |
//! | wait for its end | [`JoinHandle::join`], with a timeout, a deadline, or every option of [`Wait`](crate::Wait) |
//! | stop it | [`Thread::interrupt`], from a handle, [`lookup`], [`enumerate`] or [`main`] |
//! | wait for nothing but time | [`sleep`], [`sleep_until`] |
//! | wait for one other thread | [`park`], [`park_timeout`] and [`Thread::unpark`] |
//! | know what it costs | [`Thread::cpu_time`] |
//!
//! A panic ends its thread only. It comes out of [`JoinHandle::join`] as [`JoinError::Panicked`], with its payload;
//! whoever waits for the thread in another way, by a [`Receipt`](crate::Receipt) say, is told that it has ended.

mod clock;
mod current;
mod handle;
mod join;
mod nap;
mod registry;
mod scoped;
mod spawn;

pub use current::{AlreadyRegistered, adopt, current, is_registered};
pub use handle::{Thread, ThreadId};
pub use join::{JoinError, JoinHandle};
pub use nap::{park, park_timeout, park_until, park_with, sleep, sleep_until, sleep_with};
pub use registry::{enumerate, interrupt_main, lookup, main, set_async_exc};
pub use scoped::{ParentInterrupted, Scope, ScopedJoinHandle, scope, scope_linked};
pub use spawn::{Builder, spawn};

#[cfg(quell_parker_locks)]
pub(crate) use current::hold_parker;
pub(crate) use current::{current_id, local, registered};
pub(crate) use join::panic_words;
pub(crate) use registry::lookup_number;
#[cfg(not(any(quell_loom, quell_shuttle)))]
pub(crate) use registry::{after_fork, hold_all, release_all};
