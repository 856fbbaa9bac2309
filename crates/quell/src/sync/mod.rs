//! Locks and events, every wait of which can be interrupted and timed.
//!
//! [`Lock`] and [`RLock`] own their data and give it out through guards. [`RawLock`] and [`RawRLock`] are the same
//! without data, for embedders whose language brings its own idea of ownership.
//!
//! An acquire that does not have to wait is **not** an interruption point: it costs one atomic operation and looks
//! at nothing else. A pending interrupt is delivered by an acquire that finds the lock taken. Put a
//! [`checkpoint`](crate::checkpoint) into loops that must be reachable without contention.
//!
//! Completion beats interruption: an acquire that was given the lock returns it, and the interrupt stays pending.

mod barrier;
mod condition;
mod event;
mod guard;
mod holder;
mod lock;
mod raw_lock;
mod raw_rlock;
mod raw_semaphore;
mod rlock;
mod semaphore;

pub use barrier::{Barrier, BarrierError, BrokenBarrier};
pub use condition::Condition;
pub use event::Event;
pub use guard::Guard;
pub use holder::{ByTask, ByThread};
pub use lock::{Lock, LockGuard, MappedLockGuard};
pub use raw_lock::RawLock;
pub use raw_rlock::{NotOwner, RawRLock};
pub use rlock::{MappedRLockGuard, RLock, RLockGuard, WholeRLock};
pub use semaphore::{BoundedSemaphore, OverRelease, Permit, Semaphore};
