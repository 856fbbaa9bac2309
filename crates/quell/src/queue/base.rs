//! The queue of any kind: putting and getting. What an operation does to the queue is a step of [`state`](super::state);
//! how it waits is in [`wait`](super::wait).

use super::error::{GetError, PutError};
use super::held::{Guarded, Held};
use super::kind::Kind;
use super::state::{End, Step, Wake};
use crate::wait::{Wait, WaitError, WaitQueue};
use std::fmt;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

/// A queue of items for any number of threads at both ends. Its kind says in which order the items come out; the kinds
/// are [`Queue`](super::Queue), [`LifoQueue`](super::LifoQueue) and [`PriorityQueue`](super::PriorityQueue), and share
/// every method.
///
/// Each blocking method comes in several forms: plain, `…_timeout`, `…_until` a deadline, `…_uninterruptible`, `…_with`
/// every option of a [`Wait`], and `…_async` for a task; `try_…` does not wait.
// A queue that shared its cache lines (and those that are fetched along with them) with something else would be slowed
// down by it.
#[cfg_attr(not(feature = "unaligned"), repr(align(128)))]
pub struct QueueOf<T, K: Kind<T>> {
    pub(super) state: Guarded<T, K>,
    /// Who waits for the last task.
    pub(super) joiners: WaitQueue,
}

// SAFETY: what it owns are items, which one thread at a time reaches, under the lock. (`Kind` is private, and its `Items`
// are collections that can be sent if what they collect can.)
unsafe impl<T: Send, K: Kind<T>> Send for QueueOf<T, K> {}
// SAFETY: as above.
unsafe impl<T: Send, K: Kind<T>> Sync for QueueOf<T, K> {}

impl<T, K: Kind<T>> QueueOf<T, K> {
    const_fn! {
        /// A queue that takes any number of items.
        pub fn unbounded() -> Self {
            Self::with_limit(usize::MAX)
        }
    }

    const_fn! {
        /// A queue that takes `capacity` items at most. With 0, a [`rendezvous`](Self::rendezvous).
        pub fn bounded(capacity: usize) -> Self {
            Self::with_limit(capacity)
        }
    }

    const_fn! {
        /// A queue that keeps no items: each goes from the hands of a putter into those of a getter, and whoever
        /// comes first waits for the other. A put that is interrupted before that has its item back.
        ///
        /// ```
        /// use quell::{Queue, PutError, thread};
        /// use std::sync::Arc;
        ///
        /// let queue = Arc::new(Queue::rendezvous());
        /// assert!(matches!(queue.try_put(1), Err(PutError::Full(1)))); // nobody is there to take it
        /// let getter = {
        ///     let queue = Arc::clone(&queue);
        ///     thread::spawn(move || queue.get().unwrap())
        /// };
        /// queue.put(2).unwrap(); // the getter has it
        /// assert_eq!(getter.join().unwrap(), 2);
        /// ```
        pub fn rendezvous() -> Self {
            Self::with_limit(0)
        }
    }

    /// A queue that takes `capacity` items at most; `None`: any number.
    pub fn with_capacity(capacity: Option<NonZeroUsize>) -> Self {
        Self::with_limit(limit(capacity))
    }

    const_fn! {
        fn with_limit(limit: usize) -> Self {
            QueueOf { state: Guarded::new(limit), joiners: WaitQueue::new(0) }
        }
    }

    /// Puts an item; waits for room if it must. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// [`PutError::Interrupted`], [`PutError::ShutDown`]. The item comes back in the error.
    #[inline]
    pub fn put(&self, item: T) -> Result<(), PutError<T>> {
        match self.put_fast(item) {
            Ok(()) => Ok(()),
            Err((item, state)) => self.put_slow(item, state, &Wait::new()),
        }
    }

    /// Puts an item; waits for room for `time` at most. An interruption point, if it has to wait.
    ///
    /// ```
    /// use quell::{PutError, Queue};
    /// use std::time::Duration;
    ///
    /// let queue = Queue::bounded(1);
    /// queue.put("first").unwrap();
    /// let error = queue.put_timeout("second", Duration::from_millis(1)).unwrap_err();
    /// assert!(matches!(error, PutError::TimedOut(_)));
    /// assert_eq!(error.into_item(), "second");
    /// ```
    ///
    /// # Errors
    /// [`PutError::TimedOut`], [`PutError::Interrupted`], [`PutError::ShutDown`]. The item comes back in the error.
    pub fn put_timeout(&self, item: T, time: Duration) -> Result<(), PutError<T>> {
        self.put_with(item, &Wait::new().timeout(time))
    }

    /// Puts an item; waits for room until `deadline` at most. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// As [`put_timeout`](Self::put_timeout).
    pub fn put_until(&self, item: T, deadline: Instant) -> Result<(), PutError<T>> {
        self.put_with(item, &Wait::new().until(deadline))
    }

    /// Puts an item; waits for room for as long as it takes. No interruption point: as under a
    /// [`shield`](crate::shield), an interrupt stays pending.
    ///
    /// # Errors
    /// [`PutError::ShutDown`]. The item comes back in the error.
    pub fn put_uninterruptible(&self, item: T) -> Result<(), PutError<T>> {
        self.put_with(item, &Wait::new().shielded())
    }

    /// Puts an item; waits for room as `wait` says.
    ///
    /// # Errors
    /// [`PutError::ShutDown`], and as the options allow. The item comes back in the error.
    #[inline]
    pub fn put_with(&self, item: T, wait: &Wait) -> Result<(), PutError<T>> {
        match self.put_fast(item) {
            Ok(()) => Ok(()),
            Err((item, state)) => self.put_slow(item, state, wait),
        }
    }

    /// What most puts are: there is room, and nobody waits. If it is not so, nothing was done, and the lock is held.
    #[inline(always)]
    fn put_fast(&self, item: T) -> Result<(), (T, Held<'_, T, K>)> {
        let mut state = self.state.lock();
        state.push(item).map_err(|item| (item, state))
    }

    /// What [`put_fast`](Self::put_fast) does, without the lock. The item, if it is not so.
    ///
    /// # Safety
    /// No other thread uses the queue meanwhile.
    #[inline(always)]
    pub(super) unsafe fn put_alone(&self, item: T) -> Result<(), T> {
        // SAFETY: as the caller promises; used up here.
        unsafe { self.state.alone() }.push(item)
    }

    /// What [`get_fast`](Self::get_fast) does, without the lock. None, if it is not so.
    ///
    /// # Safety
    /// No other thread uses the queue meanwhile.
    #[inline(always)]
    pub(super) unsafe fn get_alone(&self) -> Option<T> {
        // SAFETY: as the caller promises; used up here.
        unsafe { self.state.alone() }.pop()
    }

    #[cold]
    #[inline(never)]
    fn put_slow(&self, item: T, state: Held<'_, T, K>, wait: &Wait) -> Result<(), PutError<T>> {
        let mut slot = Some(item);
        let mut wake = Wake::default();
        let mut state = state; // dropped before `wake`
        let ended = match state.put(&mut slot, &mut wake) {
            Step::Wait => self.wait_for_turn(End::Put, state, &mut slot, wait),
            step => {
                drop(state);
                Ok(step)
            }
        };
        Err(match ended {
            Ok(Step::ShutDown) => PutError::ShutDown(there(slot)),
            Ok(_) => return Ok(()),
            Err(WaitError::TimedOut) => PutError::TimedOut(there(slot)),
            Err(WaitError::Signalled) => PutError::Signalled(there(slot)),
            Err(other) => PutError::Interrupted(there(slot), other.only_interrupt()),
        })
    }

    /// Puts an item if there is room, or if somebody waits for one. Does not block, and is no interruption point.
    ///
    /// # Errors
    /// [`PutError::Full`], [`PutError::ShutDown`]. The item comes back in the error.
    #[inline]
    pub fn try_put(&self, item: T) -> Result<(), PutError<T>> {
        match self.put_fast(item) {
            Ok(()) => Ok(()),
            Err((item, state)) => self.try_put_slow(item, state),
        }
    }

    #[cold]
    #[inline(never)]
    fn try_put_slow(&self, item: T, state: Held<'_, T, K>) -> Result<(), PutError<T>> {
        let mut slot = Some(item);
        let mut wake = Wake::default();
        let mut state = state; // dropped before `wake`
        let step = state.put(&mut slot, &mut wake);
        drop(state);
        match step {
            Step::Moved => Ok(()),
            Step::Wait => Err(PutError::Full(there(slot))),
            Step::ShutDown => Err(PutError::ShutDown(there(slot))),
        }
    }

    /// Takes the next item; waits for one if it must. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// [`GetError::Interrupted`]; [`GetError::ShutDown`] if the queue is shut down and empty.
    #[inline]
    pub fn get(&self) -> Result<T, GetError> {
        match self.get_fast() {
            Ok(item) => Ok(item),
            Err(state) => self.get_slow(state, &Wait::new()),
        }
    }

    /// Takes the next item; waits for one for `time` at most. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// [`GetError::TimedOut`], [`GetError::Interrupted`]; [`GetError::ShutDown`] if the queue is shut down and empty.
    /// No item was taken.
    pub fn get_timeout(&self, time: Duration) -> Result<T, GetError> {
        self.get_with(&Wait::new().timeout(time))
    }

    /// Takes the next item; waits for one until `deadline` at most. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// As [`get_timeout`](Self::get_timeout).
    pub fn get_until(&self, deadline: Instant) -> Result<T, GetError> {
        self.get_with(&Wait::new().until(deadline))
    }

    /// Takes the next item; waits for one for as long as it takes. No interruption point: as under a
    /// [`shield`](crate::shield), an interrupt stays pending.
    ///
    /// # Errors
    /// [`GetError::ShutDown`] if the queue is shut down and empty.
    pub fn get_uninterruptible(&self) -> Result<T, GetError> {
        self.get_with(&Wait::new().shielded())
    }

    /// Takes the next item; waits for one as `wait` says.
    ///
    /// ```
    /// use quell::{Interrupt, Queue, Wait};
    ///
    /// let queue = Queue::unbounded();
    /// queue.put(1).unwrap();
    /// quell::current().interrupt(Interrupt::new("later"));
    /// // A shielded wait is not interrupted; and one that need not wait is not, whatever its options.
    /// assert_eq!(queue.get_with(&Wait::new().shielded()).unwrap(), 1);
    /// assert!(quell::checkpoint().is_err());
    /// ```
    ///
    /// # Errors
    /// [`GetError::ShutDown`] if the queue is shut down and empty, and as the options allow. No item was taken.
    #[inline]
    pub fn get_with(&self, wait: &Wait) -> Result<T, GetError> {
        match self.get_fast() {
            Ok(item) => Ok(item),
            Err(state) => self.get_slow(state, wait),
        }
    }

    /// What most gets are: there is an item, and nobody waits. If it is not so, nothing was done, and the lock is held.
    #[inline(always)]
    fn get_fast(&self) -> Result<T, Held<'_, T, K>> {
        let mut state = self.state.lock();
        state.pop().ok_or(state)
    }

    #[cold]
    #[inline(never)]
    fn get_slow(&self, mut state: Held<'_, T, K>, wait: &Wait) -> Result<T, GetError> {
        let mut slot = None;
        let mut wake = Wake::default();
        let ended = match state.get(&mut slot, &mut wake) {
            Step::Wait => self.wait_for_turn(End::Get, state, &mut slot, wait),
            step => {
                drop(state);
                Ok(step)
            }
        };
        Err(match ended {
            Ok(Step::ShutDown) => GetError::ShutDown,
            Ok(_) => return Ok(there(slot)),
            Err(WaitError::TimedOut) => GetError::TimedOut,
            Err(WaitError::Signalled) => GetError::Signalled,
            Err(other) => GetError::Interrupted(other.only_interrupt()),
        })
    }

    /// Takes the next item if there is one, or if somebody waits to put one. Does not block, and is no interruption
    /// point.
    ///
    /// # Errors
    /// [`GetError::Empty`]; [`GetError::ShutDown`] if the queue is shut down and empty.
    #[inline]
    pub fn try_get(&self) -> Result<T, GetError> {
        match self.get_fast() {
            Ok(item) => Ok(item),
            Err(state) => self.try_get_slow(state),
        }
    }

    #[cold]
    #[inline(never)]
    fn try_get_slow(&self, state: Held<'_, T, K>) -> Result<T, GetError> {
        let mut slot = None;
        let mut wake = Wake::default();
        let mut state = state; // dropped before `wake`
        let step = state.get(&mut slot, &mut wake);
        drop(state);
        match step {
            Step::Moved => Ok(there(slot)),
            Step::Wait => Err(GetError::Empty),
            Step::ShutDown => Err(GetError::ShutDown),
        }
    }

    /// One step, without waiting.
    pub(super) fn step(&self, end: End, slot: &mut Option<T>) -> Step {
        let mut wake = Wake::default();
        self.state.lock().step(end, slot, &mut wake)
    }

    /// How many items are in it; those that somebody waits to put do not count. Out of date as soon as it is known.
    pub fn len(&self) -> usize {
        self.state.lock().len()
    }

    /// Whether it has no items. Out of date as soon as it is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it has no room. Out of date as soon as it is known. A rendezvous never has.
    pub fn is_full(&self) -> bool {
        !self.state.lock().has_room()
    }

    /// How many items it takes. `None`: any number.
    pub fn capacity(&self) -> Option<usize> {
        Some(self.state.lock().limit).filter(|&limit| limit != usize::MAX)
    }

    /// Changes how many items it takes; `None`: any number. Items beyond the new capacity stay; who waits for room
    /// that there is now puts its item.
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
        self.state.set_limit(limit(capacity));
        // One at a time: who puts is woken outside the lock.
        loop {
            let mut wake = Wake::default();
            if !self.state.lock().admit(&mut wake) {
                return;
            }
        }
    }

    /// Shows every item in the queue, under the queue's lock: `f` must be short, and must not use the queue. For a
    /// garbage collector that has to know what the queue refers to. In the order in which the items will come out, but
    /// for a [`PriorityQueue`](super::PriorityQueue), which shows them in no order.
    pub fn visit(&self, f: impl FnMut(&T)) {
        K::visit(&self.state.lock().items, f);
    }

    /// Before a fork: waits until no other thread is in the middle of a step, and keeps the queue so, until
    /// [`release_after_fork`](Self::release_after_fork). A step is a few instructions; this is no interruption point. The calling
    /// thread must not use the queue meanwhile.
    pub fn hold_for_fork(&self) {
        std::mem::forget(self.state.lock());
    }

    /// After a fork, in the parent and in the child: the end of [`hold_for_fork`](Self::hold_for_fork).
    ///
    /// # Safety
    /// The calling thread holds the queue so; in the child, the thread that it is a copy of did.
    pub unsafe fn release_after_fork(&self) {
        // SAFETY: the caller's promise; `hold_for_fork` has forgotten the guard.
        unsafe { self.state.release() };
    }

    /// In the child of a fork: forgets who waited at either end or for the last task, since those threads do not
    /// exist here. The items stay; those that somebody waited to put stay with who waited. A queue that another thread
    /// was in the middle of changing at the very moment of the fork stays locked, as in POSIX, unless it was
    /// [held](Self::hold_for_fork).
    pub fn forget_waiters_after_fork(&self) {
        #[cfg(not(any(quell_loom, quell_shuttle)))]
        if let Some(mut state) = self.state.try_lock() {
            state.getters.forget();
            state.putters.forget();
        }
        self.joiners.reset(0);
    }
}

/// The item, from where a step says that it is.
#[inline(always)]
pub(super) fn there<T>(slot: Option<T>) -> T {
    slot.expect("a step says where the item is")
}

fn limit(capacity: Option<NonZeroUsize>) -> usize {
    capacity.map_or(usize::MAX, NonZeroUsize::get)
}

impl<T, K: Kind<T>> Default for QueueOf<T, K> {
    fn default() -> Self {
        Self::unbounded()
    }
}

impl<T, K: Kind<T>> fmt::Debug for QueueOf<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        let (len, limit, shut_down) = (state.len(), state.limit, state.shut_down);
        drop(state);
        f.debug_struct("Queue")
            .field("len", &len)
            .field("capacity", &Some(limit).filter(|&limit| limit != usize::MAX))
            .field("shut_down", &shut_down)
            .finish_non_exhaustive()
    }
}
