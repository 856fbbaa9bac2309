//! Locks, conditions, semaphores, events and barriers, every wait of which can be interrupted, timed and awaited.
//!
//! | | |
//! | --- | --- |
//! | [`Lock`] | one at a time, around a value |
//! | [`RLock`] | the same, for a thread that may take it again |
//! | [`Condition`] | wait, with a lock released, for something to change |
//! | [`Semaphore`], [`BoundedSemaphore`] | so many at a time |
//! | [`Event`] | wait for a flag |
//! | [`Barrier`] | wait for each other |
//!
//! [`Lock`] and [`RLock`] own their data and give it out through guards. [`RawLock`] and [`RawRLock`] are the same
//! without data, for embedders whose language brings its own idea of ownership; [`InnerLock`] is for one whose objects are used under
//! a lock of the interpreter's. All can be made in a constant, stand in a
//! `static`, and wait without allocating.
//!
//! # The forms of a wait
//!
//! | | waits | ended by an interrupt |
//! | --- | --- | --- |
//! | `lock()`, `acquire()`, `wait()` | as long as it takes | yes |
//! | `…_timeout(time)`, `…_until(deadline)` | so long | yes |
//! | `…_with(&Wait)` | as the options say | as the options say |
//! | `…_uninterruptible()` | as long as it takes | no: it stays pending |
//! | `try_…()` | not | |
//! | `…_async()` | the task, not the thread | no: a task is not a thread |
//!
//! An acquire that does not have to wait is **not** an interruption point: it costs one atomic operation and looks
//! at nothing else. A pending interrupt is delivered by an acquire that finds the lock taken. Put a
//! [`checkpoint`](crate::checkpoint) into loops that must be reachable without contention.
//!
//! Completion beats interruption: an acquire that was given the lock returns it, and the interrupt stays pending. An
//! operation that ended otherwise had no effect, with two exceptions that are their point: a [`Condition`]'s wait has
//! released the lock for a while, and a [`Barrier`] that one party gives up is broken for all.
//!
//! # Tasks
//!
//! The asynchronous forms know no runtime. They wait in the same queues as the threads, each in its turn, and are woken
//! through the task's waker.
//!
//! - **Cancelling is dropping.** A future that is dropped leaves the queue; what it was just granted goes to the next.
//!   For a deadline, use the runtime's timer around it. Only a [`Barrier`]'s is missed by others: dropping it breaks the
//!   barrier.
//! - **Interrupts** are for threads. One that is sent to a thread that happens to run a task stays pending, and is
//!   delivered at that thread's next interruption point.
//! - **Guards** that a task took (`LockGuard<T, ByTask>`, [`Permit`]) are [`Send`] and may be held across an `await`. The
//!   lock is then held while the task is suspended; keep such stretches short, and never block the executor's thread
//!   for the same lock.
//! - An [`RLock`] has no asynchronous form, because "already mine" is a question about threads.

mod barrier;
mod condition;
mod event;
mod guard;
mod holder;
mod inner_lock;
mod lock;
mod raw_lock;
mod raw_rlock;
mod raw_semaphore;
mod rlock;
mod semaphore;
mod turn;

pub use barrier::{Barrier, BarrierError, BrokenBarrier};
pub use condition::Condition;
pub use event::Event;
pub use guard::Guard;
pub use holder::{ByTask, ByThread};
pub use inner_lock::{InnerLock, Outside};
pub use lock::{Lock, LockGuard, MappedLockGuard};
pub use raw_lock::RawLock;
pub use raw_rlock::{NotOwner, RawRLock};
pub use rlock::{MappedRLockGuard, RLock, RLockGuard, WholeRLock};
pub use semaphore::{BoundedSemaphore, OverRelease, Permit, Semaphore};
