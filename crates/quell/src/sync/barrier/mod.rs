//! The barrier: so many wait for each other.
//!
//! # The protocol
//!
//! The word holds the generation and its phase; beside it, how many have arrived.
//!
//! | phase | meaning |
//! | --- | --- |
//! | `FILLING` | some have not arrived yet |
//! | `ACTING` | all have arrived, and the last one runs the action |
//! | `ABORTED` | the same, and the barrier will be broken when it has |
//! | `BROKEN` | nobody gets through until a reset |
//!
//! | transition | who | how |
//! | --- | --- | --- |
//! | `FILLING` to the next generation, or to `ACTING` | the last to arrive | compare-exchange, under the queue's lock |
//! | `ACTING` to the next generation, or to `BROKEN` | the same, after the action | under the queue's lock |
//! | `FILLING` to `BROKEN` | a waiter that gives up | compare-exchange: that is how it leaves |
//! | `FILLING` to `BROKEN`; to the next generation | who aborts; who resets | compare-exchange, under the queue's lock |
//! | `FILLING` to the next generation, of a barrier for one without an action | who arrives | compare-exchange, no lock |
//!
//! At a barrier for one nobody ever waits, so there is nobody to be marked and granted, and the word is all there is to
//! change. Whoever else changes it under the lock does so by a compare-exchange, and tries again if a round came between.
//!
//! So whether a generation got through or was broken is decided once, for all of its waiters together: by one
//! compare-exchange on the word. An interrupt or time-out that loses it has come too late, and stays pending.
//!
//! Arriving, the count and joining the queue are one step under the queue's lock. Who decides a generation marks each of
//! its waiters, in the place that the waiter's note tells of, in the step that lets the next generation begin; and then
//! grants to those that are marked, in batches. They stand first in the queue, since the next generation joins behind
//! them. (For the one that gives up, the decision comes first, and the marks when it gets the lock. Until a reset nobody
//! joins, and a reset marks whom it finds.)

mod error;
mod party;

pub use error::{BarrierError, BrokenBarrier};

use crate::sys::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use crate::wait::{Granting, Note, Place, Wait, WaitQueue, wait_async, wait_for, wait_for_and};
use party::{Gate, Party, mark_of};
use std::fmt;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

const FILLING: u32 = 0;
const ACTING: u32 = 1;
const ABORTED: u32 = 2;
const BROKEN: u32 = 3;
const PHASE: u32 = 3;
const GENERATION: u32 = 4;

/// A waiter's mark, and the token of its grant.
const UNDECIDED: u32 = 0;
const THROUGH: u32 = 1;
const STOPPED: u32 = 2;

/// How many are granted under one hold of the queue's lock.
const BATCH: usize = if cfg!(any(quell_loom, quell_shuttle)) { 2 } else { 32 };

/// A place where a number of threads or tasks wait for each other: none gets through before all have arrived. Then it is
/// ready for the next round.
///
/// If one of them gives up (it is interrupted, its time is over, its future is dropped, the action panics), the others
/// would wait for ever. So that breaks the barrier: all who wait, and all who come, are told so, until somebody
/// [resets](Barrier::reset) it. These are the rules of Java's `CyclicBarrier`, and of Python's `threading.Barrier`.
///
/// ```
/// use quell::{Barrier, thread};
///
/// static ALL_HERE: Barrier = Barrier::new(3);
///
/// let threads: Vec<_> = (0..3).map(|_| thread::spawn(|| ALL_HERE.wait().unwrap())).collect();
/// let mut places: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
/// places.sort();
/// assert_eq!(places, [0, 1, 2]);
/// ```
#[doc(alias = "CyclicBarrier")]
pub struct Barrier<A = fn()> {
    queue: WaitQueue,
    /// Where one waits while the action runs.
    gate: WaitQueue,
    /// How many of the current generation have arrived. Under the queue's lock; so it is Relaxed, and std's in models.
    arrived: AtomicU32,
    parties: u32,
    action: Option<A>,
}

impl Barrier {
    const_fn! {
        /// A barrier for `parties`.
        ///
        /// # Panics
        /// If `parties` is 0.
        pub fn new(parties: u32) -> Barrier {
            Barrier::build(parties, None)
        }
    }
}

impl<A> Barrier<A> {
    const_fn! {
        fn build(parties: u32, action: Option<A>) -> Barrier<A> {
            assert!(parties > 0, "a barrier is for one at least");
            Barrier {
                queue: WaitQueue::new(FILLING),
                gate: WaitQueue::new(0),
                arrived: AtomicU32::new(0),
                parties,
                action,
            }
        }
    }
}

impl<A: Fn()> Barrier<A> {
    const_fn! {
        /// A barrier for `parties`. The last to arrive runs `action`, before anybody gets through. If it panics, the
        /// barrier is broken, and the panic goes on.
        ///
        /// # Panics
        /// If `parties` is 0.
        pub fn with_action(parties: u32, action: A) -> Barrier<A> {
            Barrier::build(parties, Some(action))
        }
    }

    /// Waits until all have arrived. Says which one this was: 0 for the first, the number of parties less one for the last,
    /// which ran the action. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// [`BarrierError::Broken`]; [`BarrierError::Interrupted`], which has broken the barrier for the others. If all had
    /// arrived when the interrupt came, it stays pending.
    pub fn wait(&self) -> Result<usize, BarrierError> {
        self.wait_with(&Wait::new())
    }

    /// Waits until all have arrived, for `time` at most. An interruption point, if it has to wait.
    ///
    /// ```
    /// use quell::{Barrier, sync::BarrierError};
    /// use std::time::Duration;
    ///
    /// let barrier = Barrier::new(2);
    /// let waited = barrier.wait_timeout(Duration::from_millis(1));
    /// assert!(matches!(waited, Err(BarrierError::TimedOut)));
    /// assert!(matches!(barrier.wait(), Err(BarrierError::Broken(_))));
    /// ```
    ///
    /// # Errors
    /// [`BarrierError::Broken`]; [`BarrierError::TimedOut`] and [`BarrierError::Interrupted`], which have broken the
    /// barrier for the others.
    pub fn wait_timeout(&self, time: Duration) -> Result<usize, BarrierError> {
        self.wait_with(&Wait::new().timeout(time))
    }

    /// Waits until all have arrived, until `deadline` at most. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// As [`wait_timeout`](Barrier::wait_timeout).
    pub fn wait_until(&self, deadline: Instant) -> Result<usize, BarrierError> {
        self.wait_with(&Wait::new().until(deadline))
    }

    /// Waits until all have arrived, as long as it takes. No interruption point: interrupts stay pending.
    ///
    /// # Errors
    /// If the barrier is broken.
    pub fn wait_uninterruptible(&self) -> Result<usize, BrokenBarrier> {
        self.wait_with(&Wait::new().shielded()).map_err(|error| match error {
            BarrierError::Broken(broken) => broken,
            other => unreachable!("nothing else ends this wait: {other}"),
        })
    }

    /// Waits until all have arrived, with every option.
    ///
    /// # Errors
    /// [`BarrierError::Broken`]; the others as the options allow: they have broken the barrier for the others.
    #[inline]
    pub fn wait_with(&self, wait: &Wait) -> Result<usize, BarrierError> {
        match self.arrive_alone() {
            Some(arrived) => Ok(arrived?),
            None => self.wait_slow(wait),
        }
    }

    fn wait_slow(&self, wait: &Wait) -> Result<usize, BarrierError> {
        loop {
            match self.arrive_last()? {
                Arrival::Through(index) => return Ok(index),
                Arrival::Gate => {
                    wait_for(&Gate(self), wait, Place::Back, Note::NONE)?;
                }
                Arrival::Early => {
                    let party = Party::new(self);
                    let leave = || party.give_up();
                    let note = Note::at(&party.mark);
                    let waited =
                        wait_for_and(&party, wait, Place::Back, note, || {}, Some(&leave))?;
                    if let Some(ended) = party.ended(waited) {
                        return Ok(ended?);
                    }
                }
            }
        }
    }

    /// Waits until all have arrived, as a task. No interruption point.
    ///
    /// Dropping the future after it was polled, and before all have arrived, breaks the barrier for the others.
    ///
    /// # Errors
    /// If the barrier is broken.
    pub async fn wait_async(&self) -> Result<usize, BrokenBarrier> {
        loop {
            match self.arrive_last()? {
                Arrival::Through(index) => return Ok(index),
                Arrival::Gate => {
                    wait_async(&Gate(self), Place::Back, Note::NONE).await;
                }
                Arrival::Early => {
                    let party = Party::new(self);
                    let waited = wait_async(&party, Place::Back, Note::at(&party.mark)).await;
                    if let Some(ended) = party.ended(waited) {
                        return ended;
                    }
                }
            }
        }
    }

    /// Gets through if this is the last to arrive. `None`: it is not, and has not arrived. Does not block, apart from the
    /// action, and is no interruption point.
    ///
    /// # Errors
    /// If the barrier is broken.
    pub fn try_wait(&self) -> Result<Option<usize>, BrokenBarrier> {
        match self.arrive_last()? {
            Arrival::Through(index) => Ok(Some(index)),
            Arrival::Gate | Arrival::Early => Ok(None),
        }
    }

    /// How many it is for.
    pub fn parties(&self) -> u32 {
        self.parties
    }

    /// How many have arrived and wait. Out of date as soon as it is known.
    pub fn waiting(&self) -> u32 {
        self.arrived.load(Relaxed)
    }

    /// Whether it is broken. Out of date as soon as it is known.
    pub fn is_broken(&self) -> bool {
        self.queue.word.load(Acquire) & PHASE == BROKEN
    }

    /// Breaks it: all who wait, and all who come, are told so. Does not block. While the action runs, those who have
    /// arrived still get through.
    pub fn abort(&self) {
        let word = &self.queue.word;
        let granting = self.queue.granting();
        let mut now = word.load(Relaxed);
        // If that fails, somebody has just broken it, or has passed a barrier for one.
        while now & PHASE == FILLING
            && let Err(other) = word.compare_exchange(now, now | BROKEN, AcqRel, Relaxed)
        {
            now = other;
        }
        if now & PHASE == ACTING {
            return word.store(now ^ ACTING ^ ABORTED, Relaxed);
        }
        if now & PHASE != ABORTED {
            self.decide(granting, STOPPED);
        }
    }

    /// As new: who waits is told that it was broken, who comes begins a new round. Does not block. While the action runs,
    /// there is nothing to reset.
    pub fn reset(&self) {
        let word = &self.queue.word;
        let granting = self.queue.granting();
        let mut now = word.load(Relaxed);
        loop {
            let next = match now & PHASE {
                ACTING | ABORTED => now & !PHASE | ACTING,
                _ => next_generation(now),
            };
            // Somebody may break it in this moment; then it was broken, and is reset.
            match word.compare_exchange_weak(now, next, AcqRel, Relaxed) {
                Ok(_) => break,
                Err(other) => now = other,
            }
        }
        if matches!(now & PHASE, FILLING | BROKEN) {
            self.decide(granting, STOPPED);
        }
    }

    /// Arrives, where one is enough and has nothing else to do: nobody ever waits. `None`: it is not such a barrier.
    #[inline]
    fn arrive_alone(&self) -> Option<Result<usize, BrokenBarrier>> {
        if self.parties > 1 || self.action.is_some() {
            return None;
        }
        let word = &self.queue.word;
        let mut now = word.load(Relaxed);
        Some(loop {
            if now & PHASE == BROKEN {
                break Err(BrokenBarrier(()));
            }
            // AcqRel: one round comes after the other, whichever threads they are of.
            match word.compare_exchange_weak(now, next_generation(now), AcqRel, Relaxed) {
                Ok(_) => break Ok(0),
                Err(other) => now = other,
            }
        })
    }

    /// Arrives if this is the last, and lets all through.
    fn arrive_last(&self) -> Result<Arrival, BrokenBarrier> {
        if let Some(arrived) = self.arrive_alone() {
            return arrived.map(Arrival::Through);
        }
        let word = &self.queue.word;
        let granting = self.queue.granting();
        let now = word.load(Acquire);
        match now & PHASE {
            BROKEN => return Err(BrokenBarrier(())),
            ACTING | ABORTED => return Ok(Arrival::Gate),
            _ => {}
        }
        let index = self.arrived.load(Relaxed);
        if index + 1 < self.parties {
            return Ok(Arrival::Early);
        }
        let next = if self.action.is_some() { now | ACTING } else { next_generation(now) };
        if word.compare_exchange(now, next, AcqRel, Acquire).is_err() {
            // Somebody has given up in this moment.
            return Err(BrokenBarrier(()));
        }
        if let Some(action) = &self.action {
            drop(granting);
            let mut acting = Acting { barrier: self, mark: STOPPED };
            action();
            acting.mark = THROUGH;
        } else {
            self.decide(granting, THROUGH);
        }
        Ok(Arrival::Through(index as usize))
    }

    /// After the action: the generation is `mark`.
    fn acted(&self, mark: u32) {
        let granting = self.queue.granting();
        // Relaxed: in these phases it changes under the lock only.
        let now = self.queue.word.load(Relaxed);
        let phase = if mark == STOPPED || now & PHASE == ABORTED { BROKEN } else { FILLING };
        self.queue.word.store(next_generation(now) | phase, Relaxed);
        self.decide(granting, mark);
        self.gate.grant_all(0, || {});
    }

    /// Marks all who wait and are not marked, and grants to all who are. The caller has changed the word under this lock.
    fn decide(&self, granting: Granting<'_, BATCH>, mark: u32) {
        self.arrived.store(0, Relaxed);
        granting.each(|note| {
            let marked = mark_of(note);
            if marked.load(Relaxed) == UNDECIDED {
                marked.store(mark, Relaxed);
            }
        });
        let mut granting = Some(granting);
        while let Some(mut batch) = granting {
            while !batch.is_full()
                && let Some(note) = batch.claim_if(|note| mark_of(note).load(Relaxed) != UNDECIDED)
            {
                batch.publish(mark_of(&note).load(Relaxed));
            }
            let full = batch.is_full();
            drop(batch);
            granting = full.then(|| self.queue.granting());
        }
    }

    /// Under whose lock parties arrive.
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(crate) fn queue(&self) -> &WaitQueue {
        &self.queue
    }

    /// As new. Only for the child of a fork, where no other thread is.
    pub fn reset_after_fork(&self) {
        self.queue.reset(FILLING);
        self.gate.reset(0);
        self.arrived.store(0, Relaxed);
    }

    /// In the child of a fork: forgets who had arrived, since those threads do not exist here. If it was broken, it stays
    /// so.
    pub fn forget_waiters_after_fork(&self) {
        let broken = self.is_broken();
        self.reset_after_fork();
        if broken {
            self.queue.reset(BROKEN);
        }
    }
}

/// The word for the generation after this one, while it fills.
fn next_generation(word: u32) -> u32 {
    (word & !PHASE).wrapping_add(GENERATION)
}

/// What one finds who arrives.
enum Arrival {
    /// It was the last, and all are through.
    Through(usize),
    /// Others are missing; it has not arrived.
    Early,
    /// The action of the round before still runs.
    Gate,
}

/// The action runs; if it panics, the barrier is broken.
struct Acting<'a, A: Fn()> {
    barrier: &'a Barrier<A>,
    mark: u32,
}

impl<A: Fn()> Drop for Acting<'_, A> {
    fn drop(&mut self) {
        self.barrier.acted(self.mark);
    }
}

impl<A: Fn()> fmt::Debug for Barrier<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("parties", &self.parties)
            .field("waiting", &self.waiting())
            .field("broken", &self.is_broken())
            .finish_non_exhaustive()
    }
}
