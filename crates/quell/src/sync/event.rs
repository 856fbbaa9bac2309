//! The event: a flag that threads wait for.
//!
//! # States of the word
//!
//! | word | meaning | who makes it |
//! | --- | --- | --- |
//! | 0 | clear, nobody waits | `clear`; the last waiter that leaves |
//! | `WAITERS` | clear, somebody waits | a waiter, from 0, under the queue's lock, as it joins the queue |
//! | `SET` | set; nobody is in the queue but those who leave | `set` |
//!
//! `set` goes from 0 to `SET` by compare-exchange. From `WAITERS` it goes there under the queue's lock, and claims
//! everybody who waits in the same step. So each waiter is woken by the first `set` after it joined, however soon a
//! `clear` follows, and one that joins after the `clear` is not.

use crate::deadlock::Kind;
use crate::interrupt::Interrupted;
use crate::sys::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use crate::wait::{Goal, Note, Place, Wait, WaitError, WaitQueue, wait_async, wait_for};
use std::fmt;
use std::time::Instant;

const SET: u32 = 1;
const WAITERS: u32 = 2;

/// A flag that threads wait for. Clear at first; once [`set`](Event::set), it stays so until [`clear`](Event::clear).
///
/// ```
/// use quell::{Event, thread};
/// use std::sync::Arc;
///
/// let ready = Arc::new(Event::new());
/// let waiter = {
///     let ready = Arc::clone(&ready);
///     thread::spawn(move || ready.wait().is_ok())
/// };
/// ready.set();
/// assert!(waiter.join().unwrap());
/// ```
pub struct Event {
    queue: WaitQueue,
}

impl Event {
    const_fn! {
        /// A clear event.
        pub fn new() -> Event {
            Event { queue: WaitQueue::new(0) }
        }
    }

    /// Whether it is set. Does not block.
    #[inline]
    pub fn is_set(&self) -> bool {
        // Acquire: who sees it set also sees what was done before `set`.
        self.queue.word.load(Acquire) & SET != 0
    }

    /// Sets it, and wakes everybody who waits. Does not block. No effect if it is set.
    #[inline]
    pub fn set(&self) {
        let mut word = self.queue.word.load(Relaxed);
        while word & WAITERS == 0 {
            // From SET to SET too: a read-modify-write keeps this thread's writes visible to who sees the event set.
            match self.queue.word.compare_exchange_weak(word, SET, AcqRel, Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
        // WAITERS is left under the queue's lock only; if it was left in between, this sets an event nobody waits for.
        self.queue.grant_all(0, || {
            self.queue.word.swap(SET, AcqRel);
        });
    }

    /// Clears it. Does not block. No effect if it is clear.
    #[inline]
    pub fn clear(&self) {
        // SET and WAITERS are never together, so this only ever takes away SET. AcqRel: orders this thread's reads
        // of what the event told of before the next `set`.
        self.queue.word.fetch_and(!SET, AcqRel);
    }

    /// Waits until it is set. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// If the thread is interrupted.
    #[inline]
    pub fn wait(&self) -> Result<(), Interrupted> {
        self.wait_with(&Wait::new()).map_err(WaitError::only_interrupt)
    }

    /// Waits until it is set, until `deadline` at most. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`], [`WaitError::Interrupted`].
    pub fn wait_until(&self, deadline: Instant) -> Result<(), WaitError> {
        self.wait_with(&Wait::new().until(deadline))
    }

    /// Waits until it is set, with every option.
    ///
    /// # Errors
    /// As the options allow.
    #[inline]
    pub fn wait_with(&self, wait: &Wait) -> Result<(), WaitError> {
        if self.is_set() { Ok(()) } else { self.wait_slow(wait) }
    }

    #[cold]
    fn wait_slow(&self, wait: &Wait) -> Result<(), WaitError> {
        // Refused: it was set in between.
        wait_for(self, wait, Place::Back, Note::NONE).map(drop)
    }

    /// Waits until it is set, as a task. No interruption point.
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    /// # runtime.block_on(async {
    /// static READY: quell::Event = quell::Event::new();
    ///
    /// std::thread::spawn(|| READY.set());
    /// READY.wait_async().await;
    /// # });
    /// ```
    pub async fn wait_async(&self) {
        if !self.is_set() {
            wait_async(self, Place::Back, Note::NONE).await;
        }
    }

    /// As new, whoever waited. Only for the child of a fork, where no other thread is.
    pub fn reset_after_fork(&self) {
        self.reset_to(false);
    }

    /// In the child of a fork: forgets who waited, since those threads do not exist here. Set or not, it stays as
    /// it is.
    pub fn forget_waiters_after_fork(&self) {
        self.queue.reset(self.queue.word.load(Relaxed) & SET);
    }

    pub(crate) fn reset_to(&self, set: bool) {
        self.queue.reset(if set { SET } else { 0 });
    }
}

impl Goal for Event {
    fn queue(&self) -> &WaitQueue {
        &self.queue
    }

    fn kind(&self) -> Kind {
        Kind::Event
    }

    fn must_wait(&self) -> bool {
        // Under the queue's lock WAITERS cannot be left, so who joins while it is there is found by `set`.
        // Acquire: who sees it set also sees what was done before `set`.
        match self.queue.word.compare_exchange(0, WAITERS, Relaxed, Acquire) {
            Ok(_) => true,
            Err(now) => now & SET == 0,
        }
    }

    fn left(&self, empty: bool) {
        if empty {
            // Not from SET.
            let _ = self.queue.word.compare_exchange(WAITERS, 0, Relaxed, Relaxed);
        }
    }

    /// A `set` is news for all, and is no less when one of them does not hear it.
    fn pass_on(&self, _token: u32) {}
}

impl Default for Event {
    fn default() -> Event {
        Event::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("set", &self.is_set()).finish_non_exhaustive()
    }
}
