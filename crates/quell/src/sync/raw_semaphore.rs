//! The semaphore's protocol: a number of permits, and who waits for some of them.
//!
//! # States of the word
//!
//! The permits that nobody holds, and two bits.
//!
//! | bit | meaning | who changes it |
//! | --- | --- | --- |
//! | `WAITERS` | somebody is in the queue | under the queue's lock: who joins it, who grants, the last that leaves |
//! | `RESERVED` | the permits are not for who comes along | who holds the queue's lock, with `WAITERS` |
//!
//! - **Taking** permits is a compare-exchange on a word with enough of them and without `RESERVED`.
//! - **Giving** permits back is a compare-exchange on a word without `WAITERS`. With `WAITERS` it goes through the queue:
//!   the giver takes the queue's lock and sets `RESERVED`. Now nobody takes, because of that bit, and nobody else
//!   gives, because of `WAITERS` and the lock: the word is the giver's. It adds the permits, grants, and stores what is left.
//!
//! No wake-up is lost: a waiter sees, under the queue's lock, that there are too few permits (or that they are reserved),
//! and in the same step sets `WAITERS`; who gives permits after that comes through the queue.
//!
//! **Barging and fairness.** As with a [`RawLock`](crate::RawLock): a giver wakes the first waiters to *look*, as many as
//! its permits would do for, and somebody who is running may be faster. One that has waited for longer than half a millisecond is
//! not woken to look, but given its permits. If there are not enough for it yet, `RESERVED` stays, so that they add up:
//! a waiter for many permits is not passed over for ever by those who want one.
//!
//! Waiters are served in the order they came; one that wants many keeps those behind it waiting. So when it leaves, for
//! whatever reason, the queue is gone through again ([`Goal::gone`]): those behind it may have what it left.

use super::raw_lock::{is_due, since};
use crate::deadlock::Kind;
use crate::sys::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::wait::{Goal, Note, Place, Wait, WaitError, WaitQueue, Waited, wait_async, wait_for};

const WAITERS: u32 = 1;
const RESERVED: u32 = 2;
const ONE: u32 = 4;

/// The most permits that there can be.
pub(super) const MOST: u32 = u32::MAX / ONE;

/// The token of a grant: look again, or they are yours.
const LOOK: u32 = 0;
const YOURS: u32 = 1;

/// How many are granted under one hold of the queue's lock.
const BATCH: usize = if cfg!(any(quell_loom, quell_shuttle)) { 2 } else { 32 };

/// How often to look before sleeping, while nobody else waits.
const SPINS: u32 = if cfg!(any(quell_loom, quell_shuttle)) { 0 } else { 100 };

/// The permits.
pub(super) struct RawSemaphore {
    queue: WaitQueue,
}

impl RawSemaphore {
    const_fn! {
        /// With `permits` permits, [`MOST`] at most.
        pub(super) fn new(permits: u32) -> RawSemaphore {
            assert!(permits <= MOST, "a semaphore has 2^30 - 1 permits at most");
            RawSemaphore { queue: WaitQueue::new(permits * ONE) }
        }
    }

    /// How many permits nobody holds.
    #[inline]
    pub(super) fn value(&self) -> u32 {
        self.queue.word.load(Relaxed) / ONE
    }

    pub(super) fn has_waiters(&self) -> bool {
        self.queue.word.load(Relaxed) & WAITERS != 0
    }

    /// Takes `count` permits, if they are there and not reserved. If not, the word that says so.
    #[inline]
    fn take(&self, count: u32) -> Result<(), u32> {
        let word = &self.queue.word;
        let mut now = word.load(Relaxed);
        while (now & RESERVED == 0 && now / ONE >= count) || count == 0 {
            // Acquire: what was done before the permits were given back is visible.
            match word.compare_exchange_weak(now, now - count * ONE, Acquire, Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => now = other,
            }
        }
        Err(now)
    }

    /// Takes `count` permits if they are there. Does not block.
    #[inline]
    pub(super) fn try_acquire(&self, count: u32) -> bool {
        match self.take(count) {
            Ok(()) => true,
            // Only while somebody gives permits back, perhaps: that ends with the queue's lock.
            Err(now) => now & RESERVED != 0 && self.queue.locked(|| self.take(count).is_ok()),
        }
    }

    /// Takes `count` permits; waits for them as `wait` says.
    #[inline]
    pub(super) fn acquire(&self, count: u32, wait: &Wait) -> Result<(), WaitError> {
        if self.take(count).is_ok() { Ok(()) } else { self.acquire_slow(count, wait) }
    }

    #[cold]
    fn acquire_slow(&self, count: u32, wait: &Wait) -> Result<(), WaitError> {
        let goal = Permits { semaphore: self, count };
        let mut note = None;
        let mut place = Place::Back;
        while !self.soon(count) {
            let note = *note.get_or_insert_with(|| goal.note());
            match wait_for(&goal, wait, place, note)? {
                // What was done before they were given back came with the grant.
                Waited::Granted(YOURS) => break,
                Waited::Granted(_) => place = Place::Front,
                Waited::Refused => {}
            }
        }
        Ok(())
    }

    /// The same as a task.
    pub(super) async fn acquire_async(&self, count: u32) {
        if self.take(count).is_ok() {
            return;
        }
        let goal = Permits { semaphore: self, count };
        let mut note = None;
        let mut place = Place::Back;
        while !self.soon(count) {
            let note = *note.get_or_insert_with(|| goal.note());
            match wait_async(&goal, place, note).await {
                Waited::Granted(YOURS) => break,
                Waited::Granted(_) => place = Place::Front,
                Waited::Refused => {}
            }
        }
    }

    /// Takes the permits if they are there, or come in the next moment while nobody waits.
    fn soon(&self, count: u32) -> bool {
        let mut spins = 0;
        loop {
            match self.take(count) {
                Ok(()) => return true,
                Err(now) if spins == SPINS || now & (WAITERS | RESERVED) != 0 => return false,
                Err(_) => spins += 1,
            }
            std::hint::spin_loop();
        }
    }

    /// Gives `count` permits back, unless there would then be more than `most`: how many there are, in that case.
    #[inline]
    pub(super) fn release(&self, count: u32, most: u32) -> Result<(), u32> {
        let word = &self.queue.word;
        let mut now = word.load(Relaxed);
        while now & WAITERS == 0 {
            let sum = sum(now, count, most)?;
            // Release: pairs with the Acquire of who takes them. Without WAITERS nobody reserves.
            match word.compare_exchange_weak(now, sum * ONE, Release, Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => now = other,
            }
        }
        self.release_slow(count, most)
    }

    #[cold]
    fn release_slow(&self, count: u32, most: u32) -> Result<(), u32> {
        let mut count = count;
        // Until one round has come to its end: its batch is not the bound.
        while self.give(count, most)? {
            count = 0;
        }
        Ok(())
    }

    /// Gives `count` permits back, and grants. True: it has woken as many as it can in one go.
    fn give(&self, count: u32, most: u32) -> Result<bool, u32> {
        let word = &self.queue.word;
        let mut granting = self.queue.granting::<BATCH>();
        // AcqRel: takes over what others did before they gave back what is handed on here.
        let mut now = word.load(Relaxed);
        while now & WAITERS == 0 {
            // Nobody waits any more, nor can begin to while we have the lock.
            let sum = sum(now, count, most)?;
            match word.compare_exchange_weak(now, sum * ONE, AcqRel, Relaxed) {
                Ok(_) => return Ok(false),
                Err(other) => now = other,
            }
        }
        let now = word.fetch_or(RESERVED, AcqRel);
        // From here to the store at the end the word is ours.
        let mut free = match sum(now, count, most) {
            Ok(sum) => sum,
            Err(value) => {
                word.store(now, Release);
                return Err(value);
            }
        };
        // What those woken to look may take.
        let mut promised = 0;
        let mut reserved = 0;
        while !granting.is_full() {
            let suits = |note: &Note| {
                let enough = wanted(note) <= free - promised;
                if !enough && note.since.is_some_and(is_due) {
                    reserved = RESERVED;
                }
                enough
            };
            let Some(note) = granting.claim_if(suits) else { break };
            if note.since.is_some_and(is_due) {
                free -= wanted(&note);
                granting.publish(YOURS);
            } else {
                promised += wanted(&note);
                granting.publish(LOOK);
            }
        }
        let waiters = if granting.is_empty() { 0 } else { WAITERS };
        // Not against those who were woken to look: they would find nothing. The next giver may reserve.
        let reserved = if promised == 0 && waiters != 0 { reserved } else { 0 };
        // Release: the permits' next holders see what was done before.
        word.store((free * ONE) | waiters | reserved, Release);
        Ok(granting.is_full() && waiters != 0)
    }

    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(super) fn queue(&self) -> &WaitQueue {
        &self.queue
    }

    /// As new, with `permits` permits. For the child of a fork, where no other thread is.
    pub(super) fn reset(&self, permits: u32) {
        self.queue.reset(permits * ONE);
    }
}

/// The permits of a word, and `count` more; an error if that is more than `most`.
fn sum(word: u32, count: u32, most: u32) -> Result<u32, u32> {
    let value = word / ONE;
    value.checked_add(count).filter(|sum| *sum <= most.min(MOST)).ok_or(value)
}

/// How many permits a waiter wants.
fn wanted(note: &Note) -> u32 {
    note.to_number() as u32
}

/// Waiting for permits.
struct Permits<'a> {
    semaphore: &'a RawSemaphore,
    count: u32,
}

impl Permits<'_> {
    fn note(&self) -> Note {
        Note::since(since()).number(self.count as usize)
    }
}

impl Goal for Permits<'_> {
    fn queue(&self) -> &WaitQueue {
        &self.semaphore.queue
    }

    fn kind(&self) -> Kind {
        Kind::Semaphore
    }

    fn must_wait(&self) -> bool {
        let word = &self.semaphore.queue.word;
        let mut now = word.load(Relaxed);
        while now & RESERVED != 0 || now / ONE < self.count {
            // Relaxed: says only that the queue must be looked at.
            match word.compare_exchange_weak(now, now | WAITERS, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        false
    }

    fn left(&self, empty: bool) {
        if empty {
            // Nobody is left that they could be reserved for.
            self.semaphore.queue.word.fetch_and(!(WAITERS | RESERVED), Relaxed);
        }
    }

    fn gone(&self) {
        if self.semaphore.has_waiters() {
            let given = self.semaphore.release_slow(0, MOST);
            debug_assert!(given.is_ok(), "nothing was added");
        }
    }

    fn pass_on(&self, token: u32) {
        let count = if token == YOURS { self.count } else { 0 };
        let given = self.semaphore.release(count, MOST);
        debug_assert!(given.is_ok(), "they were there before");
    }
}
