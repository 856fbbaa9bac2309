//! The queue: items go from thread to thread, first in, first out.
//!
//! # The protocol
//!
//! The items, the count of unfinished tasks and the shut-down flag are under one short lock. Three wait queues hold
//! who waits for an item, for room, and for the last task.
//!
//! A `get` takes an item under the short lock, or joins the queue of getters; it looks once more under both locks
//! before it sleeps. A `put` appends under the short lock, releases it, and, unless the getters' queue is quiet,
//! wakes the first getter to *look*. No wake-up is lost: a getter that saw no item before the `put` held the
//! getters' lock at that time, so the `put` finds that queue not quiet. Puts that wait for room are woken by gets
//! in the same way.
//!
//! A woken thread always looks before it can leave, so a wake-up that meets an interrupt is never lost: either the
//! thread takes an item, or somebody else took it. An interrupted, timed-out or signalled operation has moved
//! nothing: an item is in the queue, in the hands of who took it, or in the error that gives it back to who wanted
//! to put it.
//!
//! One item wakes one getter. A getter that takes an item and sees more does not wake others: each of those items
//! came with a wake-up of its own.

mod error;

pub use error::{GetError, PutError, TaskDoneError};

use crate::interrupt::Interrupted;
use crate::park::Short;
use crate::thread::registered;
use crate::wait::{Place, Wait, WaitError, WaitQueue, Waited};
use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// A queue of items, first in, first out, for any number of threads at both ends.
///
/// ```
/// use quell::{Queue, thread};
/// use std::sync::Arc;
///
/// let queue = Arc::new(Queue::bounded(2));
/// let worker = {
///     let queue = Arc::clone(&queue);
///     thread::spawn(move || {
///         let mut sum = 0;
///         while let Ok(number) = queue.get() {
///             sum += number;
///             queue.task_done().unwrap();
///         }
///         sum
///     })
/// };
/// for number in 1..=10 {
///     queue.put(number).unwrap();
/// }
/// queue.join().unwrap(); // every number was worked on
/// queue.shutdown(false);
/// assert_eq!(worker.join().unwrap(), 55);
/// ```
#[doc(alias = "channel")]
pub struct Queue<T> {
    state: Short<State<T>>,
    getters: WaitQueue,
    putters: WaitQueue,
    joiners: WaitQueue,
    /// What a look at the state would show, to be looked at without the lock while it is worth waiting awake.
    /// Written under the lock. Nothing is decided by it, so it is Relaxed, and std's in models too.
    hint: AtomicU8,
}

/// In the hint: a `get` would not wait.
const TO_GET: u8 = 1;
/// In the hint: a `put` would not wait.
const TO_PUT: u8 = 2;

/// How often to look again before sleeping: spinning first, then giving way to others. Two threads at the ends of a
/// queue that is mostly full or empty would otherwise sleep and wake each other for every item.
const LOOKS: u32 = if cfg!(any(quell_loom, quell_shuttle)) { 0 } else { 10 };
const SPINNING_LOOKS: u32 = 6;

struct State<T> {
    items: VecDeque<T>,
    capacity: Option<NonZeroUsize>,
    unfinished: usize,
    shut_down: bool,
}

impl<T> Queue<T> {
    /// A queue that takes any number of items.
    pub fn unbounded() -> Queue<T> {
        Queue::with_capacity(None)
    }

    /// A queue that takes `capacity` items at most.
    ///
    /// # Panics
    /// If `capacity` is 0.
    pub fn bounded(capacity: usize) -> Queue<T> {
        Queue::with_capacity(Some(NonZeroUsize::new(capacity).expect("a capacity of at least 1")))
    }

    /// A queue that takes `capacity` items at most; `None`: any number.
    pub fn with_capacity(capacity: Option<NonZeroUsize>) -> Queue<T> {
        let state = State { items: VecDeque::new(), capacity, unfinished: 0, shut_down: false };
        Queue {
            state: Short::new(state),
            getters: WaitQueue::new(0),
            putters: WaitQueue::new(0),
            joiners: WaitQueue::new(0),
            hint: AtomicU8::new(TO_PUT),
        }
    }

    /// Puts an item; waits for room if it must. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// [`PutError::Interrupted`], [`PutError::ShutDown`]. The item comes back in the error.
    pub fn put(&self, item: T) -> Result<(), PutError<T>> {
        self.put_with(item, &Wait::new())
    }

    /// Puts an item; waits for room as `wait` says.
    ///
    /// # Errors
    /// [`PutError::ShutDown`], and as the options allow. The item comes back in the error.
    pub fn put_with(&self, item: T, wait: &Wait) -> Result<(), PutError<T>> {
        let mut item = match self.try_put(item) {
            Err(PutError::Full(item)) => item,
            done => return done,
        };
        let mut place = Place::Back;
        // Once only: the wait proper is what answers to interrupts and deadlines.
        let mut looked = false;
        loop {
            let full = || self.state.lock().is_full();
            let waited = if !looked && self.soon(TO_PUT, wait) {
                Ok(Waited::Refused)
            } else {
                self.putters.wait(wait, place, None, full, |_| {})
            };
            looked = true;
            match waited {
                Ok(Waited::Granted(_)) => place = Place::Front,
                Ok(Waited::Refused) => {}
                Err(WaitError::TimedOut) => return Err(PutError::TimedOut(item)),
                Err(WaitError::Signalled) => return Err(PutError::Signalled(item)),
                Err(WaitError::Interrupted(interrupted)) => {
                    return Err(PutError::Interrupted(item, interrupted));
                }
            }
            item = match self.try_put(item) {
                Err(PutError::Full(item)) => item,
                done => return done,
            };
        }
    }

    /// Puts an item if there is room. Does not block, and is no interruption point.
    ///
    /// # Errors
    /// [`PutError::Full`], [`PutError::ShutDown`]. The item comes back in the error.
    pub fn try_put(&self, item: T) -> Result<(), PutError<T>> {
        let mut state = self.state.lock();
        if state.shut_down {
            drop(state);
            return Err(PutError::ShutDown(item));
        }
        if state.is_full() {
            drop(state);
            return Err(PutError::Full(item));
        }
        state.items.push_back(item);
        state.unfinished += 1;
        self.tell(&state);
        drop(state);
        wake_one(&self.getters);
        Ok(())
    }

    /// Takes the first item; waits for one if it must. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// [`GetError::Interrupted`]; [`GetError::ShutDown`] if the queue is shut down and empty.
    pub fn get(&self) -> Result<T, GetError> {
        self.get_with(&Wait::new())
    }

    /// Takes the first item; waits for one as `wait` says.
    ///
    /// # Errors
    /// [`GetError::ShutDown`] if the queue is shut down and empty, and as the options allow. No item was taken.
    pub fn get_with(&self, wait: &Wait) -> Result<T, GetError> {
        let mut place = Place::Back;
        // Once only: the wait proper is what answers to interrupts and deadlines.
        let mut looked = false;
        loop {
            match self.try_get() {
                Err(GetError::Empty) => {}
                done => return done,
            }
            let empty = || {
                let state = self.state.lock();
                state.items.is_empty() && !state.shut_down
            };
            let waited = if !looked && self.soon(TO_GET, wait) {
                Ok(Waited::Refused)
            } else {
                self.getters.wait(wait, place, None, empty, |_| {})
            };
            looked = true;
            match waited {
                Ok(Waited::Granted(_)) => place = Place::Front,
                Ok(Waited::Refused) => {}
                Err(WaitError::TimedOut) => return Err(GetError::TimedOut),
                Err(WaitError::Signalled) => return Err(GetError::Signalled),
                Err(WaitError::Interrupted(interrupted)) => {
                    return Err(GetError::Interrupted(interrupted));
                }
            }
        }
    }

    /// Takes the first item if there is one. Does not block, and is no interruption point.
    ///
    /// # Errors
    /// [`GetError::Empty`]; [`GetError::ShutDown`] if the queue is shut down and empty.
    pub fn try_get(&self) -> Result<T, GetError> {
        let mut state = self.state.lock();
        let Some(item) = state.items.pop_front() else {
            return Err(if state.shut_down { GetError::ShutDown } else { GetError::Empty });
        };
        self.tell(&state);
        drop(state);
        wake_one(&self.putters);
        Ok(item)
    }

    /// How many items are in it. Out of date as soon as it is known.
    pub fn len(&self) -> usize {
        self.state.lock().items.len()
    }

    /// Whether it has no items. Out of date as soon as it is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it has no room. Out of date as soon as it is known.
    pub fn is_full(&self) -> bool {
        let state = self.state.lock();
        state.capacity.is_some_and(|capacity| state.items.len() >= capacity.get())
    }

    /// How many items it takes. `None`: any number.
    pub fn capacity(&self) -> Option<usize> {
        self.state.lock().capacity.map(NonZeroUsize::get)
    }

    /// Changes how many items it takes; `None`: any number. Items beyond the new capacity stay; who waits for room
    /// that there is now is woken.
    ///
    /// ```
    /// use quell::Queue;
    /// use std::num::NonZeroUsize;
    ///
    /// let queue = Queue::bounded(1);
    /// queue.put(1).unwrap();
    /// assert!(queue.try_put(2).is_err());
    /// queue.set_capacity(NonZeroUsize::new(2));
    /// queue.try_put(2).unwrap();
    /// ```
    pub fn set_capacity(&self, capacity: Option<NonZeroUsize>) {
        let mut state = self.state.lock();
        state.capacity = capacity;
        self.tell(&state);
        drop(state);
        wake_all(&self.putters);
    }

    /// Shows every item in the queue, first to last, under the queue's lock: `f` must be short, and must not use
    /// the queue. For a garbage collector that has to know what the queue refers to.
    pub fn visit(&self, f: impl FnMut(&T)) {
        self.state.lock().items.iter().for_each(f);
    }

    /// How many items were put and not yet reported [done](Queue::task_done).
    pub fn unfinished(&self) -> usize {
        self.state.lock().unfinished
    }

    /// Reports that the work on an item that was got is done. When all are, [`join`](Queue::join) returns.
    ///
    /// # Errors
    /// If it was called more often than items were put.
    pub fn task_done(&self) -> Result<(), TaskDoneError> {
        let mut state = self.state.lock();
        state.unfinished = state.unfinished.checked_sub(1).ok_or(TaskDoneError)?;
        let all = state.unfinished == 0;
        drop(state);
        if all {
            wake_all(&self.joiners);
        }
        Ok(())
    }

    /// Waits until every item that was put was reported done. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// If the thread is interrupted.
    pub fn join(&self) -> Result<(), Interrupted> {
        self.join_with(&Wait::new()).map_err(WaitError::only_interrupt)
    }

    /// [`join`](Queue::join) with every option.
    ///
    /// # Errors
    /// As the options allow.
    pub fn join_with(&self, wait: &Wait) -> Result<(), WaitError> {
        let unfinished = || self.state.lock().unfinished > 0;
        if !unfinished() {
            return Ok(());
        }
        // A grant is the news that all was done at some moment; more may have been put since, which is no matter.
        self.joiners.wait(wait, Place::Back, None, unfinished, |_| {}).map(drop)
    }

    /// Shuts the queue down: every `put` fails from now on, and every `get` as soon as the queue is empty. Who
    /// waits is woken.
    ///
    /// With `immediate`, the items that are left are taken out and dropped, and count as done.
    pub fn shutdown(&self, immediate: bool) {
        let mut state = self.state.lock();
        state.shut_down = true;
        let dropped = if immediate { std::mem::take(&mut state.items) } else { VecDeque::new() };
        state.unfinished = state.unfinished.saturating_sub(dropped.len());
        self.tell(&state);
        let all = state.unfinished == 0;
        drop(state);
        wake_all(&self.getters);
        wake_all(&self.putters);
        if all {
            wake_all(&self.joiners);
        }
        // The items' own drop handlers run here, with nothing locked and everybody awake.
        drop(dropped);
    }

    /// Brings the hint up to date.
    #[inline]
    fn tell(&self, state: &State<T>) {
        let get = if !state.items.is_empty() || state.shut_down { TO_GET } else { 0 };
        let put = if state.is_full() { 0 } else { TO_PUT };
        self.hint.store(get | put, Relaxed);
    }

    /// Looks for a moment whether an operation need not wait any more; not if there is a reason not to wait at all.
    fn soon(&self, what: u8, wait: &Wait) -> bool {
        if wait.at_once || wait.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return false;
        }
        for look in 0..LOOKS {
            if registered(|thread| thread.slot().has_pending()).unwrap_or(false) {
                return false;
            }
            if self.hint.load(Relaxed) & what != 0 {
                return true;
            }
            if look < SPINNING_LOOKS {
                (0..1 << look).for_each(|_| std::hint::spin_loop());
            } else {
                std::thread::yield_now();
            }
        }
        false
    }

    /// In the child of a fork: forgets who waited at either end or for the last task, since those threads do not
    /// exist here. The items stay.
    pub fn forget_waiters_after_fork(&self) {
        self.getters.reset(0);
        self.putters.reset(0);
        self.joiners.reset(0);
    }

    /// Whether it was shut down.
    pub fn is_shut_down(&self) -> bool {
        self.state.lock().shut_down
    }
}

impl<T> State<T> {
    fn is_full(&self) -> bool {
        !self.shut_down && self.capacity.is_some_and(|c| self.items.len() >= c.get())
    }
}

/// Wakes the first to look.
#[inline]
fn wake_one(queue: &WaitQueue) {
    if !queue.is_quiet() {
        queue.grant_one(|_| 0);
    }
}

/// Wakes all to look.
fn wake_all(queue: &WaitQueue) {
    if !queue.is_quiet() {
        queue.grant_all(0, || {});
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue::unbounded()
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}
