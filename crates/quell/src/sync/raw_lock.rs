//! The lock without data.
//!
//! # States of the word
//!
//! | word | meaning |
//! | --- | --- |
//! | 0 | free, nobody waits |
//! | `LOCKED` | held, nobody waits |
//! | `PARKED` | free, somebody is in the queue; a woken waiter is on its way |
//! | `LOCKED + PARKED` | held, somebody is in the queue |
//!
//! | transition | who | how |
//! | --- | --- | --- |
//! | sets `LOCKED` | anybody | compare-exchange from a word without it |
//! | clears `LOCKED`, no `PARKED` | the holder | compare-exchange from `LOCKED` to 0 |
//! | sets `PARKED` | who wants to wait | compare-exchange from `LOCKED`, under the queue's lock, as it joins the queue |
//! | clears `LOCKED`, with `PARKED` | the holder | store under the queue's lock, after it claimed a waiter |
//! | clears `PARKED` | the holder, or the last waiter that leaves | under the queue's lock, when the queue is empty |
//!
//! With `LOCKED + PARKED` the word changes only under the queue's lock; a waiter that finds or makes it so, under that
//! lock, may sleep: the holder's `unlock` must come through the queue. So no wake-up is lost.
//!
//! **Barging and fairness.** `unlock` frees the lock and wakes the first waiter to *look*; a thread that is running
//! may take the lock before it, which keeps throughput high. The waiter then goes back to the front. One that has
//! waited for longer than [`FAIR`] is not woken to look: the lock passes to it, held. (parking_lot's eventual
//! fairness, with the waiter's own age for a clock.) A waiter that was woken to look always tries before it can
//! leave, and whoever was faster has `PARKED` to answer for; so a wake-up that meets an interrupt or a deadline is
//! not lost either. A task that was woken and then dropped cannot try; for it, the drop takes the lock if it is free,
//! and frees it, which wakes the next.

use crate::interrupt::Interrupted;
use crate::sys::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::wait::{Goal, Note, Place, Wait, WaitError, WaitQueue, Waited, wait_async, wait_for};
use std::fmt;
use std::time::{Duration, Instant};

const LOCKED: u32 = 1;
const PARKED: u32 = 2;

/// The token of a grant: look again, or it is yours.
const LOOK: u32 = 0;
const YOURS: u32 = 1;

/// Who has waited this long gets the lock handed over.
#[cfg_attr(any(quell_loom, quell_shuttle), expect(dead_code, reason = "a model has no clock"))]
const FAIR: Duration = Duration::from_micros(500);

/// How often to look before sleeping, while nobody else waits.
const SPINS: u32 = if cfg!(any(quell_loom, quell_shuttle)) { 0 } else { 100 };

/// A lock without data and without an owner: any thread may unlock it.
///
/// For embedders. In Rust use [`Lock`](crate::Lock), which protects what it locks.
///
/// ```
/// use quell::{RawLock, Wait, WaitError};
/// use std::time::Duration;
///
/// let lock = RawLock::new();
/// assert!(lock.try_lock());
/// let again = lock.lock_with(&Wait::new().timeout(Duration::from_millis(1)));
/// assert!(matches!(again, Err(WaitError::TimedOut)));
/// lock.unlock();
/// ```
pub struct RawLock {
    queue: WaitQueue,
}

impl RawLock {
    const_fn! {
        /// A free lock.
        pub fn new() -> RawLock {
            RawLock { queue: WaitQueue::new(0) }
        }
    }

    /// Takes the lock if it is free. Does not block, and is no interruption point.
    #[inline]
    pub fn try_lock(&self) -> bool {
        let word = &self.queue.word;
        // Acquire: what was done under the lock before is visible.
        match word.compare_exchange(0, LOCKED, Acquire, Relaxed) {
            Ok(_) => true,
            Err(PARKED) => word.compare_exchange(PARKED, PARKED | LOCKED, Acquire, Relaxed).is_ok(),
            Err(_) => false,
        }
    }

    /// Takes the lock; waits for it if it must. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// If the thread is interrupted; it then does not have the lock.
    #[inline]
    pub fn lock(&self) -> Result<(), Interrupted> {
        if self.lock_fast() {
            return Ok(());
        }
        self.lock_slow(&Wait::new()).map_err(WaitError::only_interrupt)
    }

    /// Takes the lock; waits for it as `wait` says.
    ///
    /// # Errors
    /// As the options allow; the thread then does not have the lock.
    #[inline]
    pub fn lock_with(&self, wait: &Wait) -> Result<(), WaitError> {
        if self.lock_fast() { Ok(()) } else { self.lock_slow(wait) }
    }

    /// Takes the lock; waits for it as long as it takes. No interruption point: interrupts stay pending.
    #[inline]
    pub fn lock_uninterruptible(&self) {
        if !self.lock_fast() {
            let waited = self.lock_slow(&Wait::new().shielded());
            debug_assert!(waited.is_ok(), "nothing else ends this wait");
        }
    }

    /// Takes the lock as a task; waits for it if it must. No interruption point. See
    /// [`Lock::lock_async`](crate::Lock::lock_async).
    ///
    /// Dropped before it is ready, the future has taken nothing. Dropping what it answered frees nothing: pair it with
    /// [`unlock`](RawLock::unlock).
    pub async fn lock_async(&self) {
        if !self.lock_fast() {
            self.lock_async_slow().await;
        }
    }

    #[inline]
    fn lock_fast(&self) -> bool {
        self.queue.word.compare_exchange_weak(0, LOCKED, Acquire, Relaxed).is_ok()
    }

    /// Frees the lock. Does not block, and is no interruption point. Any thread may do it.
    ///
    /// # Panics
    /// If the lock is free.
    #[inline]
    pub fn unlock(&self) {
        // Release: pairs with the next holder's Acquire.
        if self.queue.word.compare_exchange(LOCKED, 0, Release, Relaxed).is_err() {
            self.unlock_slow();
        }
    }

    /// Whether somebody holds it. Out of date as soon as it is known.
    #[inline]
    pub fn is_locked(&self) -> bool {
        self.queue.word.load(Relaxed) & LOCKED != 0
    }

    /// Free, whoever held it or waited. Only for the child of a fork, where no other thread is.
    pub fn reset_after_fork(&self) {
        self.queue.reset(0);
    }

    /// In the child of a fork: forgets who waited, since those threads do not exist here. Held or free, it stays as
    /// it is.
    ///
    /// Needed in a child that goes on to use a lock for which another thread waited at the time of the fork.
    pub fn forget_waiters_after_fork(&self) {
        self.queue.reset(self.queue.word.load(Relaxed) & LOCKED);
    }

    #[cold]
    fn lock_slow(&self, wait: &Wait) -> Result<(), WaitError> {
        let mut place = Place::Back;
        let mut since = None;
        while !self.soon() {
            let note = Note::since(*since.get_or_insert_with(Instant::now));
            match wait_for(self, wait, place, note)? {
                // The holder's writes came with the grant: `publish` releases, the waiter acquires.
                Waited::Granted(YOURS) => break,
                Waited::Granted(_) => place = Place::Front,
                Waited::Refused => {}
            }
        }
        Ok(())
    }

    #[cold]
    async fn lock_async_slow(&self) {
        let mut place = Place::Back;
        let mut since = None;
        while !self.soon() {
            let note = Note::since(*since.get_or_insert_with(Instant::now));
            match wait_async(self, place, note).await {
                Waited::Granted(YOURS) => break,
                Waited::Granted(_) => place = Place::Front,
                Waited::Refused => {}
            }
        }
    }

    /// Takes the lock if it is free, or is freed in the next moment while nobody waits.
    fn soon(&self) -> bool {
        let word = &self.queue.word;
        let mut spins = 0;
        loop {
            let now = word.load(Relaxed);
            if now & LOCKED == 0 {
                if word.compare_exchange_weak(now, now | LOCKED, Acquire, Relaxed).is_ok() {
                    return true;
                }
            } else if now & PARKED == 0 && spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                return false;
            }
        }
    }

    #[cold]
    fn unlock_slow(&self) {
        let word = &self.queue.word;
        assert!(self.is_locked(), "unlock() of a lock that nobody holds");
        self.queue.grant_one(|grant| {
            let parked = if grant.more { PARKED } else { 0 };
            if grant.waiter.and_then(|note| note.since).is_some_and(is_due) {
                // Relaxed: the lock stays held, and its new holder learns of it through the grant.
                word.store(LOCKED | parked, Relaxed);
                YOURS
            } else {
                word.store(parked, Release);
                LOOK
            }
        });
    }
}

impl Goal for RawLock {
    fn queue(&self) -> &WaitQueue {
        &self.queue
    }

    fn must_wait(&self) -> bool {
        let word = &self.queue.word;
        let mut now = word.load(Relaxed);
        while now == LOCKED {
            // Relaxed: says only that the queue must be looked at; the queue has its own lock.
            match word.compare_exchange_weak(LOCKED, LOCKED | PARKED, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        now == LOCKED | PARKED
    }

    fn left(&self, empty: bool) {
        if empty {
            self.queue.word.fetch_and(!PARKED, Relaxed);
        }
    }

    fn pass_on(&self, token: u32) {
        // Handed over, or free for the next. If it is neither, its holder's `unlock` will see to the next.
        if token == YOURS || self.try_lock() {
            self.unlock();
        }
    }
}

/// Whether who waits since then gets the lock handed over.
#[cfg(not(any(quell_loom, quell_shuttle)))]
pub(super) fn is_due(since: Instant) -> bool {
    since.elapsed() >= FAIR
}

/// A model has no clock: the test says.
#[cfg(any(quell_loom, quell_shuttle))]
pub(super) fn is_due(_since: Instant) -> bool {
    crate::model::fair()
}

impl Default for RawLock {
    fn default() -> RawLock {
        RawLock::new()
    }
}

impl fmt::Debug for RawLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawLock").field("locked", &self.is_locked()).finish_non_exhaustive()
    }
}
