//! The queue-based architecture, ready to use: workers on a queue, and lines of them.
//!
//! Work is described by functions and travels through queues; threads take it from there, and share nothing else. A
//! [`Pool`] runs tasks that have nothing to do with each other, a [`Pipeline`] passes items through stages. Both bound what
//! may pile up, hand errors and panics to who waits, and end in an orderly way, or at once.
//!
//! ```
//! use quell::pool::{Pool, TaskState};
//! use std::time::Duration;
//!
//! let pool = Pool::builder().workers(2).backlog(16).build().unwrap();
//!
//! // Results come back through a handle: wait for it, with or without a deadline, or `.await` it.
//! let answer = pool.submit(|| 6 * 7).unwrap();
//! assert_eq!(answer.get().unwrap(), 42);
//!
//! // A task that takes too long is interrupted, and says itself what comes of that.
//! let long = Duration::from_secs(3600);
//! let slow = pool.task().timeout(Duration::from_millis(5)).submit(move || quell::sleep(long)).unwrap();
//! let words = slow.get().unwrap().unwrap_err().to_string();
//! assert!(words.ends_with("the task has run for longer than 5ms"));
//!
//! // Whatever is queued is cancelled before it runs, whatever runs is interrupted.
//! let cancelled = pool.submit(move || quell::sleep(long)).unwrap();
//! cancelled.cancel();
//! cancelled.wait().unwrap();
//! assert_eq!(cancelled.state(), TaskState::Finished);
//!
//! // A panic is the waiter's to handle. The worker goes on.
//! let failed = pool.submit(|| -> u32 { std::panic::resume_unwind(Box::new("on purpose")) }).unwrap();
//! assert_eq!(failed.get().unwrap_err().to_string(), "the task panicked: on purpose");
//!
//! pool.shutdown();
//! pool.join().unwrap();
//! ```
//!
//! # The right task
//!
//! ```text
//!           ┌── start ──── RUNNING ── the function returned ──┐
//!   QUEUED ─┤                                                 ├── SETTLED
//!           └── cancelled, deadline, shut down ───────────────┘
//! ```
//!
//! `QUEUED` is left by compare-exchange: by the worker, or by whoever ends the task before it runs. The winner takes the
//! function: to call it, or to drop it. So a task that was cancelled in the queue never runs, and one that runs was not.
//!
//! A running task is interrupted through a [scope](crate::interrupt::Scope) of its own. The worker enters it before
//! `RUNNING` and leaves it when the function has returned, before it looks for the next task, and leaving is a handshake:
//! what was sent and not delivered is taken back, what is sent later is refused. So an interrupt for a task is
//! delivered in that task or never; it reaches neither the idle worker nor the next task, however late it comes. Masks and
//! shields that the task leaves behind end with it, too.
//!
//! `shutdown_now` marks the pool, empties the queue (what is dropped there settles itself), and then interrupts what each worker
//! shows that it runs. A worker shows its task, under a lock, before it looks at the mark; so a task that was taken from the
//! queue just before is found, or finds the mark.
//!
//! # Tasks that wait for tasks
//!
//! A task may wait for another one of its own pool. Its worker gives up its place meanwhile, and a spare thread takes it if need be;
//! so that there is always somebody to run what is waited for, whatever the number of workers. A task that waits in another
//! way for what a task of its pool does says so by [`blocking`]. The protocol is in `pool/crew.rs`.
//!
//! In the child of a fork a pool has no workers: nothing is run, and who waits for a task waits for its deadline.

mod base;
mod crew;
mod error;
mod job;
mod pipeline;
mod stats;
mod task;
mod worker;

pub use base::{Builder, Pool, Submission};
pub use crew::blocking;
pub use error::{Failure, SubmitError, TaskError, TaskInterrupted, Why};
pub use job::{Cancel, TaskState};
pub use pipeline::{Pipeline, PipelineError, PipelineStopped, Stage, StageStats, Stages};
pub use stats::Stats;
pub use task::{Canceller, Task};
