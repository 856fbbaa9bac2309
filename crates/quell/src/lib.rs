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
//! What follows is a guide: from a worker that ends cleanly to what holds throughout. The book's page *Coming from std,
//! parking_lot, crossbeam* says what to write for what one knows.
//!
//! # Workers on a queue
//!
//! Most threads need neither locks nor flags: work goes into a [`Queue`], threads take it out, and when there will be no more,
//! the queue is [shut down](queue::QueueOf::shutdown). Each worker goes through what is left, and ends.
//!
//! ```
//! use quell::{Interrupted, Queue, thread};
//!
//! let jobs = Queue::bounded(4); // who puts a fifth waits: nothing piles up
//! let total = thread::scope(|s| {
//!     let workers: Vec<_> = (0..2)
//!         .map(|_| {
//!             s.spawn(|| -> Result<u32, Interrupted> {
//!                 let mut sum = 0;
//!                 for job in &jobs {
//!                     sum += job?; // an interrupt ends it between two jobs
//!                 }
//!                 Ok(sum) // shut down, and empty
//!             })
//!         })
//!         .collect();
//!     (1..=10).for_each(|job| jobs.put(job).unwrap());
//!     jobs.shutdown(false);
//!     workers.into_iter().map(|worker| worker.join().unwrap().unwrap()).sum::<u32>()
//! });
//! assert_eq!(total, 55);
//! ```
//!
//! # Interrupts
//!
//! A [`Thread`] handle interrupts its thread, and the [`Receipt`] tells what became of it: *delivered*, *withdrawn*, or *target
//! exited*; one of them, once. It is delivered at an *interruption point*: every wait, if it has to wait, and
//! [`checkpoint`], which is a wait of no length for code that computes. Masks hold it off for a stretch: inside a [`mask`] it is
//! delivered only where the thread blocks, inside a [`shield`] not at all.
//!
//! ```
//! use quell::{Interrupt, Outcome};
//!
//! let worker = quell::spawn(|| {
//!     let mut steps = 0_u64;
//!     loop {
//!         let shield = quell::shield();
//!         steps += 1; // what must not be cut
//!         if let Err(interrupted) = shield.leave() {
//!             return (steps, *interrupted.downcast_ref::<&str>().unwrap());
//!         }
//!     }
//! });
//! let receipt = worker.thread().interrupt(Interrupt::new("enough"));
//! assert_eq!(receipt.wait(None).unwrap(), Outcome::Delivered);
//! assert_eq!(worker.join().unwrap().1, "enough");
//! ```
//!
//! The module [`interrupt`] has more: interrupts [aimed](interrupt::Aim) at a stretch of code, which arrive in it or never.
//!
//! # Deadlines
//!
//! Each operation that waits comes in the same forms: plain, `…_timeout`, `…_until`, `…_uninterruptible`, `try_…`, `…_async`, and
//! `…_with` every option of [`Wait`]. And [`timeout`] limits any stretch of code, whatever it waits for in there:
//!
//! ```
//! use quell::{LimitError, Queue, timeout};
//! use std::time::Duration;
//!
//! let (soon, queue) = (Duration::from_millis(5), Queue::<u32>::unbounded());
//! assert!(queue.get_timeout(soon).is_err());
//! let both = timeout(soon, || {
//!     let first = queue.get()?;
//!     Ok::<_, quell::queue::GetError>(first + queue.get()?)
//! });
//! assert!(matches!(both, Err(LimitError::Reached(..))));
//! ```
//!
//! [`Watchdog`] ends what gives no sign of life, [`CpuBudget`] what uses up its processor time. See [`monitor`].
//!
//! # Data under a lock
//!
//! Where threads do share data, a [`Lock`] protects it, and a [`Condition`] waits for it to change:
//!
//! ```
//! use quell::{Condition, Lock, thread};
//!
//! let (level, changed) = (Lock::new(0), Condition::new());
//! thread::scope(|s| {
//!     s.spawn(|| {
//!         for _ in 0..3 {
//!             *level.lock().unwrap() += 1;
//!             changed.notify_all();
//!         }
//!     });
//!     let mut level = level.lock().unwrap();
//!     changed.wait_while(&mut level, |level| *level < 3).unwrap();
//!     assert_eq!(*level, 3);
//! });
//! ```
//!
//! There are [`RLock`], [`Semaphore`], [`Event`] and [`Barrier`] too; see [`sync`].
//!
//! # The first of several
//!
//! [`Select`] waits for an item here, room there, an event, whichever comes first, and does that one alone:
//!
//! ```
//! use quell::{Event, Queue, Select};
//!
//! let (jobs, stop) = (Queue::<u32>::unbounded(), Event::new());
//! stop.set();
//! let job = Select::new().get(&jobs, Result::ok).event(&stop, || None).wait().unwrap();
//! assert_eq!(job, None);
//! ```
//!
//! # Pools and pipelines
//!
//! [`Pool`] is workers on a queue, ready made: tasks with results, limits, and a `cancel` that reaches the task while it runs.
//! [`Pipeline`] passes items through stages. See [`pool`].
//!
//! ```
//! use quell::Pool;
//!
//! let pool = Pool::new(2);
//! let tasks: Vec<_> = (1..=3).map(|n| pool.submit(move || n * n).unwrap()).collect();
//! let squares: Vec<i32> = tasks.into_iter().map(|task| task.get().unwrap()).collect();
//! assert_eq!(squares, [1, 4, 9]);
//! pool.shutdown();
//! pool.join().unwrap();
//! ```
//!
//! # Tasks of async runtimes
//!
//! The `…_async` forms wait in the same queues as the threads, under any runtime. A task is cancelled by dropping its future,
//! which leaves nothing half done; interrupts are for threads.
//!
//! ```
//! use quell::{Queue, thread};
//! use std::sync::Arc;
//!
//! let queue = Arc::new(Queue::rendezvous());
//! let putter = Arc::clone(&queue);
//! let putter = thread::spawn(move || putter.put(7).is_ok());
//! assert_eq!(smol::block_on(queue.get_async()).unwrap(), 7);
//! assert!(putter.join().unwrap());
//! ```
//!
//! # What holds
//!
//! - **Reach.** A thread that is blocked in a quell wait is woken and returns. No window exists in which that is lost.
//! - **Exactly once.** Each interrupt is delivered, withdrawn, or its target exited, in the order of sending.
//! - **Nothing half done.** An operation that was interrupted, timed out or dropped had no effect. Completion beats
//!   interruption: if what was waited for came first, the operation returns it, and the interrupt stays pending.
//! - **Scopes are exact.** A limit is never delivered outside its own stretch of code.
//! - **The right thread.** Ids are never reused, and an interrupt for a pool's task never reaches the next one.
//!
//! Each has tests named after it, models that explore every interleaving of small programs on this very code, and stress
//! tests with 100,000 interrupts; the book's chapter *Guarantees and the tests behind them* says which.
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
//! Every primitive is a fast path on one atomic and a slow path in the wait queue. Nothing else ever blocks. The protocols
//! between threads are written down where they live: a thread and its interrupts in [`interrupt`], a waiter and who serves
//! it in [`wait`], items that are handed over in [`queue`], a task and its worker in [`pool`], deadlines in [`monitor`].

#![cfg_attr(
    not(any(quell_calls, quell_loom, quell_shuttle)),
    allow(
        dead_code,
        unused_imports,
        reason = "where no system call can be ended, nobody ends one"
    )
)]

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
    Barrier, BoundedSemaphore, Condition, Event, InnerLock, Lock, LockGuard, NotOwner, OverRelease,
    Permit, RLock, RLockGuard, RawLock, RawRLock, Semaphore,
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

/// What to write for what one knows.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/src/coming-from.md")]
pub struct ComingFrom;

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
