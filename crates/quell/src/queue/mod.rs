//! Queues: items go from thread to thread.
//!
//! # A worker that ends cleanly
//!
//! The pattern that most threaded programs need: work goes into a queue, workers take it out, and when there will be no
//! more, the queue is shut down, which ends them.
//!
//! ```
//! use quell::{Queue, thread};
//! use std::sync::Arc;
//!
//! let queue = Arc::new(Queue::bounded(2));
//! let worker = {
//!     let queue = Arc::clone(&queue);
//!     thread::spawn(move || {
//!         let mut sum = 0;
//!         while let Ok(number) = queue.get() {
//!             sum += number;
//!             queue.task_done().unwrap();
//!         }
//!         sum // the queue was shut down and is empty, or the thread was interrupted
//!     })
//! };
//! for number in 1..=10 {
//!     queue.put(number).unwrap(); // waits while two are in the queue
//! }
//! queue.join().unwrap(); // every number was worked on
//! queue.shutdown(false);
//! assert_eq!(worker.join().unwrap(), 55);
//! ```
//!
//! # Which one
//!
//! | queue | gives back | |
//! | --- | --- | --- |
//! | [`Queue`] | first in, first out | what one wants, but for a reason |
//! | [`LifoQueue`] | last in, first out | the newest is worth most, or its memory is still warm |
//! | [`PriorityQueue`] | the smallest; of equal ones, the one that was put first | as Python's; wrap in [`std::cmp::Reverse`] for the largest |
//!
//! | made with | a `put` waits |
//! | --- | --- |
//! | [`unbounded`](QueueOf::unbounded) | never: who puts faster than others get fills the memory |
//! | [`bounded(n)`](QueueOf::bounded) | while `n` items are in the queue: the back-pressure that keeps a fast end from running away |
//! | [`rendezvous`](QueueOf::rendezvous) | until a getter has the item |
//!
//! # What holds for all
//!
//! - **An item is never lost and never comes twice.** It is in the queue, in the hands of who got it, or in the error that
//!   gives it back to who wanted to put it, whatever interrupts, deadlines and shut-downs come.
//! - **Completion beats interruption.** An operation that was served returns so, and the interrupt stays pending for the
//!   next; one that was interrupted, timed out or ended by a signal has moved nothing.
//! - **Who waits is served in order.** The first who waits for an item gets the next; the first who waits for room puts
//!   next. Who need not wait does not queue up: an item that is in the queue goes to whoever comes.
//! - **Items are dropped with nothing locked.** What runs under a queue's lock is moving items, and the order of a
//!   [`PriorityQueue`]'s: an `Ord` must be short, and must not use the queue. If it panics, the item that is being got may
//!   be dropped; the queue stays usable.
//!
//! # Several at once
//!
//! A [`Select`] waits for the first of several things, an item here, room there, an event, and does that one alone:
//!
//! ```
//! use quell::{Event, LifoQueue, Queue, Select, thread};
//! use std::sync::Arc;
//!
//! let urgent = Arc::new(LifoQueue::unbounded());
//! let normal = Arc::new(Queue::unbounded());
//! let stop = Arc::new(Event::new());
//! let worker = {
//!     let (urgent, normal, stop) = (urgent.clone(), normal.clone(), stop.clone());
//!     thread::spawn(move || {
//!         let mut done = Vec::new();
//!         loop {
//!             let job = Select::new()
//!                 .get(&urgent, |job| job.ok())
//!                 .get(&normal, |job| job.ok())
//!                 .event(&stop, || None)
//!                 .wait()
//!                 .expect("nobody interrupts it");
//!             match job {
//!                 Some(job) => done.push(job),
//!                 None => return done,
//!             }
//!         }
//!     })
//! };
//! urgent.put("put out the fire").unwrap();
//! normal.put("water the plants").unwrap();
//! while !(urgent.is_empty() && normal.is_empty()) {
//!     thread::sleep(std::time::Duration::from_millis(1)).unwrap();
//! }
//! stop.set();
//! assert_eq!(worker.join().unwrap().len(), 2);
//! ```
//!
//! # Tasks
//!
//! [`put_async`](QueueOf::put_async), [`get_async`](QueueOf::get_async), [`join_async`](QueueOf::join_async) and
//! [`Select::wait_async`] wait as a task, on any runtime, in the same lines as the threads. They are no interruption points: a
//! task is not a thread. A task is cancelled by dropping its future, which then has done nothing, or all it had to do.
//!
//! # The protocol
//!
//! One lock, held for a few instructions, protects the items and two lines of those who wait: for an item, for room.
//! (The structure of Go's channels, `runtime/chan.go`.) Each operation is one step under it (`state`). An item that is put
//! while somebody waits for one goes straight into that waiter's hands; a getter that makes room lets the first who waits
//! put its item in the same step. So who was served has nothing left to do, and nobody who comes between can be faster.
//!
//! Who waits has one word, for which the server, its deadline and its interrupts compete (`line`): the winner decides
//! what happened, and the item is moved after that. A waiter looks at its word for a while before it goes to sleep, and
//! lets other threads run in between; as long as it looks, nobody needs to wake it. And before it joins a line in which nobody
//! is, at an end that was busy just before, it stays away for a moment: there may be many items by then (`wait`).

mod base;
mod chunks;
mod done;
mod entry;
mod error;
mod held;
mod inner;
mod iter;
mod kind;
mod line;
mod select;
mod state;
mod task;

mod wait;

pub use base::QueueOf;
pub use error::{GetError, PutError, ShutDown, TaskDoneError};
pub use inner::InnerQueue;
pub use iter::{IntoIter, Iter, TryIter};
#[cfg(not(any(quell_loom, quell_shuttle)))]
pub(crate) use kind::Kind;
pub use kind::{Fifo, Lifo, Priority};
pub use select::Select;

/// A queue of items, first in, first out, for any number of threads at both ends.
///
/// ```
/// let queue = quell::Queue::unbounded();
/// (1..=3).for_each(|number| queue.put(number).unwrap());
/// assert_eq!(queue.get().unwrap(), 1);
/// ```
#[doc(alias = "channel")]
#[doc(alias = "mpmc")]
pub type Queue<T> = QueueOf<T, Fifo>;

/// A queue of items, last in, first out, for any number of threads at both ends.
///
/// ```
/// let queue = quell::LifoQueue::unbounded();
/// (1..=3).for_each(|number| queue.put(number).unwrap());
/// assert_eq!(queue.get().unwrap(), 3);
/// ```
#[doc(alias = "stack")]
pub type LifoQueue<T> = QueueOf<T, Lifo>;

/// A queue of items, the smallest first, for any number of threads at both ends. Of equal items, the one that was put
/// first comes first. (A binary heap, and a number for each item.)
///
/// ```
/// let queue = quell::PriorityQueue::unbounded();
/// [(2, "later"), (1, "now"), (2, "last")].map(|job| queue.put(job).unwrap());
/// assert_eq!(queue.get().unwrap(), (1, "now"));
/// ```
///
/// Items that wait for room are not yet in the queue, however small they are.
#[doc(alias = "heap")]
pub type PriorityQueue<T> = QueueOf<T, Priority>;
