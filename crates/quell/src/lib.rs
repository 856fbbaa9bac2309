//! Threads that can be stopped: the core of quell. It knows nothing of Python.
//!
//! Any thread can be interrupted by any other, wherever it waits: for a lock, an event, a queue, another thread, or
//! the clock. The interrupt arrives as an ordinary error, [`Interrupted`], that carries whatever the sender attached
//! to it; the interrupted operation had no effect; no lock is left held and no item is lost.
//!
//! ```
//! use quell::{Interrupt, Queue, thread};
//! use std::sync::Arc;
//!
//! let queue: Arc<Queue<u32>> = Arc::new(Queue::unbounded());
//! let worker = {
//!     let queue = Arc::clone(&queue);
//!     // Nothing is ever put: without the interrupt this would wait for ever.
//!     thread::spawn(move || queue.get().unwrap_err().to_string())
//! };
//! let receipt = worker.thread().interrupt(Interrupt::new("enough"));
//! assert!(worker.join().unwrap().ends_with("was interrupted: enough"));
//! assert_eq!(receipt.state(), quell::Outcome::Delivered);
//! ```
//!
//! # The rooms
//!
//! From the bottom up; arrows point down only.
//!
//! | module | concern |
//! | --- | --- |
//! | `park` | one thread sleeps, another wakes it |
//! | [`interrupt`] | the interrupt, the pending slot, masks, checkpoints, receipts |
//! | [`thread`] | spawn, registry, ids, current, main, join |
//! | [`wait`] | the wait queue: the one slow path that every primitive shares |
//! | [`sync`] | lock, rlock, condition, semaphore, event, barrier |
//! | [`queue`] | items between threads: first in first out, last in first out, by priority |
//! | [`pool`] | workers on a queue; pipelines of stages |
//! | [`syscall`] | system calls that can be interrupted |
//! | [`io`] | the same with the traits of `std::io`: descriptors, sockets, pipes, child processes |
//! | [`deadlock`] | who waits for whom, and what becomes of a wait that closes a circle |
//! | [`fork`] | what a fork means for all of these |
//! | [`monitor`] | deadlines, and what is built on them: timeouts, watchdogs, budgets |
//!
//! Every primitive is a fast path on one atomic and a slow path in the wait queue. Nothing else ever blocks.

#[macro_use]
mod sys;
pub mod deadlock;
pub mod fork;
pub mod interrupt;
#[cfg(quell_calls)]
pub mod io;
pub mod monitor;
mod park;
pub mod pool;
pub mod queue;
pub mod sync;
pub mod syscall;
pub mod thread;
pub mod wait;

pub use fork::after_fork_child;
pub use interrupt::{
    Interrupt, Interrupted, MaskGuard, Outcome, Receipt, ShieldGuard, UnmaskGuard, checkpoint,
    enter_mask, enter_shield, leave_mask, leave_shield, mask, mask_depth, requeue_front, shield,
    shield_depth, take_pending, unmask,
};
#[cfg(not(any(quell_loom, quell_shuttle)))]
pub use monitor::{CpuBudget, LimitError, Reached, Timeout, Watchdog, timeout};
pub use pool::{Pipeline, Pool, Stage, Task};
pub use queue::{GetError, LifoQueue, PriorityQueue, PutError, Queue, Select};
pub use sync::{
    Barrier, BoundedSemaphore, Condition, Event, Lock, LockGuard, NotOwner, OverRelease, Permit,
    RLock, RLockGuard, RawLock, RawRLock, Semaphore,
};
pub use syscall::CallError;
pub use thread::{
    AlreadyRegistered, Thread, ThreadId, adopt, current, enumerate, interrupt_main, is_registered,
    lookup, main, set_async_exc, sleep, sleep_until, spawn,
};
pub use wait::{Wait, WaitError};

#[cfg(any(quell_loom, quell_shuttle))]
pub mod model;

/// The book's chapter on Rust, here so that its examples are compiled and run with the others.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/src/rust.md")]
pub struct Book;

/// The chapter on deadlocks.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/src/deadlocks.md")]
pub struct DeadlockChapter;

/// The chapter on pools, pipelines and limits.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/src/pool.md")]
pub struct PoolChapter;

/// The chapter on system calls.
#[cfg(all(doctest, quell_calls))]
#[doc = include_str!("../../../docs/src/system-calls.md")]
pub struct SystemCallsChapter;

/// README's example, here for the same reason.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
