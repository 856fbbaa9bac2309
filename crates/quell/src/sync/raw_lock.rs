//! The lock without data.
//!
//! # States of the word
//!
//! | word | meaning |
//! | --- | --- |
//! | 0 | free, nobody waits |
//! | `LOCKED` | held, nobody waits |
//! | `PARKED` | free, somebody is in the queue; who freed the lock, or a woken waiter, is on its way |
//! | `LOCKED + PARKED` | held, somebody is in the queue |
//! | each of them `+ HOLDER` | held, by the thread with this number; of a free lock, the number means nothing any more |
//!
//! | transition | who | how |
//! | --- | --- | --- |
//! | sets `LOCKED` | anybody | compare-exchange from a word without it, which writes or clears `HOLDER` too |
//! | clears `LOCKED` | the holder | subtraction, which tells it whether there is more to the word |
//! | sets `PARKED` | who wants to wait, or puts a condition's waiter into the queue | compare-exchange from a word with `LOCKED`, under the queue's lock, as the waiter joins the queue |
//! | clears `PARKED` | who freed the lock, or the last waiter that leaves | under the queue's lock, when the queue is empty |
//! | `PARKED` to `LOCKED` for another | who freed the lock | compare-exchange under the queue's lock |
//!
//! **No wake-up is lost.** While somebody is in the queue, `PARKED` is set: a waiter joins only if it finds or makes the word
//! `LOCKED + PARKED` under the queue's lock, and `PARKED` is cleared under that lock only, when the queue is empty. So
//! the holder that the waiter saw finds `PARKED` when it frees the lock, and comes to the queue. There it wakes the
//! first waiter, unless the lock is held again: then that holder finds `PARKED` in its turn.
//!
//! **Barging and fairness.** `unlock` frees the lock and wakes the first waiter to *look*; a thread that is running
//! may take the lock before it, which keeps throughput high. The waiter then goes back to the front. One that has
//! waited for longer than [`FAIR`] is not woken to look: the lock passes to it, held, unless it was taken in the same
//! moment. That starts the clock of the next one anew, because of many that wait, all have waited for long, and a lock
//! that only ever passes from sleeper to sleeper stands still most of the time. (parking_lot's eventual fairness,
//! with the first waiter's age for a clock.) A waiter that was woken to look always tries before it can leave, and
//! whoever was faster has `PARKED` to answer for; so a wake-up that meets an interrupt or a deadline is not lost
//! either. A task that was woken and then dropped cannot try; for it, the drop takes the lock if it is free, and frees
//! it, which wakes the next.
//!
//! **Why a subtraction.** It is the cheapest way on x86 to clear a bit and learn whether there are others, if nothing but
//! whether is asked: an exchange or a compare-exchange takes longer. Of a lock that is free it makes a word that no table
//! above has, with the highest bit set; whoever sees that adds `LOCKED` again and panics. Until then such a word takes nobody in: it looks held, and
//! `must_wait` does not take it for a word to wait under. (If a thread that held the lock frees it in the same
//! moment, it may be that one which panics; the word is right afterwards.)
//!
//! **Holders.** While [detection of deadlocks](crate::deadlock) is on, who takes the lock writes its number into the word.
//! The fast path then expects a word that there never is, and so goes the slow way; the release finds more to the word
//! than `LOCKED`, and goes the slow way too. With detection off, nobody writes a number, and who takes the lock clears
//! one that was left over. A task has no number, and neither have locks that were taken while detection was off.
//!
//! **Alone.** Where something else keeps every other thread from the word, a plain store does for the first two transitions: that is
//! [`InnerLock`](super::InnerLock), which says when.

use super::{RawRLock, turn};
use crate::deadlock::{HOLDER_BITS, Kind, What, free_word, number, released, took, want};
use crate::interrupt::Interrupted;
use crate::sys::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::thread::{current, registered};
use crate::wait::{
    Goal, Note, Place, Transfer, Wait, WaitError, WaitQueue, Waited, wait_async, wait_for,
};
use std::fmt;
use std::panic::Location;
use std::time::{Duration, Instant};

const PARKED: u32 = 1;
const HOLDER_SHIFT: u32 = 1;
const HOLDER: u32 = ((1 << HOLDER_BITS) - 1) << HOLDER_SHIFT;
/// Above the others, so that subtracting it where it is not changes none of them, but sets the one above.
const LOCKED: u32 = 1 << 30;
/// Unlocked once too often.
const WRONG: u32 = 1 << 31;

const _: () = assert!(PARKED & HOLDER == 0 && HOLDER < LOCKED);

/// The token of a grant: look again, or it is yours.
const LOOK: u32 = 0;
const YOURS: u32 = 1;

/// Who has waited this long gets the lock handed over.
#[cfg_attr(any(quell_loom, quell_shuttle), expect(dead_code, reason = "a model has no clock"))]
const FAIR: Duration = Duration::from_micros(500);

/// How often to look before sleeping, while nobody else waits: spinning first, each time for twice as long, then giving
/// way to others. With more threads than processors the holder may need the very processor that a spin would keep
/// from it, and a thread that gives way costs less than one that is put to sleep and woken. (parking_lot's numbers; a
/// hundred pauses before each look, as in std, were half as fast with four threads on two processors.) Who has not given
/// way for long does so at once; see `turn`.
const LOOKS: u32 = if cfg!(any(quell_loom, quell_shuttle)) { 0 } else { 10 };
const SPINNING_LOOKS: u32 = if cfg!(any(quell_loom, quell_shuttle)) { 0 } else { 3 };

/// How many pauses of the processor there are before the first look. A fifth of a microsecond: until then whoever has a short
/// section may make several, with the lock and what it protects in its own cache. From 8 on instead of 2, as in parking_lot,
/// a section of one of two threads takes .94 instead of 1.11 times as long as with parking_lot's lock.
const FIRST_SPIN: u32 = 8;

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
    #[track_caller]
    pub fn try_lock(&self) -> bool {
        self.try_lock_by(|| By::Thread(Location::caller()))
    }

    /// The same as a task.
    #[inline]
    pub(super) fn try_lock_as_task(&self) -> bool {
        self.try_lock_by(|| By::Task)
    }

    #[inline(always)]
    fn try_lock_by(&self, by: impl FnOnce() -> By) -> bool {
        // Acquire: what was done under the lock before is visible.
        match self.queue.word.compare_exchange(free_word(), LOCKED, Acquire, Relaxed) {
            Ok(_) => true,
            Err(now) if now & LOCKED != 0 => false,
            Err(_) => self.try_lock_slow(by()),
        }
    }

    /// Takes the lock; waits for it if it must. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// If the thread is interrupted, or because of a [deadlock](crate::deadlock); it then does not have the lock.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> Result<(), Interrupted> {
        if self.lock_fast() {
            return Ok(());
        }
        self.lock_slow(&Wait::new(), Site::here()).map_err(WaitError::only_interrupt)
    }

    /// Takes the lock; waits for it as `wait` says.
    ///
    /// # Errors
    /// As the options allow; the thread then does not have the lock.
    #[inline]
    #[track_caller]
    pub fn lock_with(&self, wait: &Wait) -> Result<(), WaitError> {
        if self.lock_fast() { Ok(()) } else { self.lock_slow(wait, Site::here()) }
    }

    /// Takes the lock; waits for it as long as it takes. No interruption point: interrupts stay pending.
    #[inline]
    #[track_caller]
    pub fn lock_uninterruptible(&self) {
        if !self.lock_fast() {
            let waited = self.lock_slow(&Wait::new().shielded(), Site::here());
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
    pub(super) fn lock_fast(&self) -> bool {
        self.queue.word.compare_exchange_weak(free_word(), LOCKED, Acquire, Relaxed).is_ok()
    }

    /// Frees the lock. Does not block, and is no interruption point. Any thread may do it.
    ///
    /// # Panics
    /// If the lock is free.
    #[inline]
    pub fn unlock(&self) {
        // Release: pairs with the next holder's Acquire. Whatever changes the word in between is a read-modify-write,
        // which keeps the pair together.
        if self.queue.word.fetch_sub(LOCKED, Release) != LOCKED {
            self.unlock_slow();
        }
    }

    /// [`try_lock`](Self::try_lock) while no other thread can change the word: see [`InnerLock`](super::InnerLock). False: it is not
    /// simply free.
    #[inline(always)]
    pub(super) fn try_lock_alone(&self) -> bool {
        let word = &self.queue.word;
        // Relaxed, as the store: whoever was here before is ordered by what keeps the others away.
        let free = word.load(Relaxed) == free_word();
        if free {
            word.store(LOCKED, Relaxed);
        }
        free
    }

    /// [`unlock`](Self::unlock) while no other thread can change the word. False: it is not simply locked, and nothing was done.
    #[inline(always)]
    pub(super) fn unlock_alone(&self) -> bool {
        let word = &self.queue.word;
        // Relaxed: as above.
        let locked = word.load(Relaxed) == LOCKED;
        if locked {
            word.store(0, Relaxed);
        }
        locked
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
        self.queue.reset(self.queue.word.load(Relaxed) & !PARKED);
    }

    /// The number of the thread that holds it, if it holds it and has one. Out of date as soon as it is known, unless
    /// that thread cannot free it meanwhile.
    pub(crate) fn holder(&self) -> Option<u32> {
        // Relaxed: see `deadlock`.
        let now = self.queue.word.load(Relaxed);
        let number = (now & HOLDER) >> HOLDER_SHIFT;
        (now & LOCKED != 0 && number != 0).then_some(number)
    }

    #[cold]
    fn try_lock_slow(&self, by: By) -> bool {
        let mine = by.number();
        let taken = self.take(self.queue.word.load(Relaxed), mine);
        if let (true, true, By::Thread(place)) = (taken, mine != 0, by) {
            took(self, place);
        }
        taken
    }

    #[cold]
    pub(super) fn lock_slow(&self, wait: &Wait, site: Site) -> Result<(), WaitError> {
        let mine = number();
        let looks = if may_look(wait) { LOOKS } else { 0 };
        if !self.soon(looks, mine) {
            self.lock_wait(wait, looks, mine, site, Place::Back)?;
        }
        if mine != 0 {
            took(self, site.place);
        }
        Ok(())
    }

    /// Takes it as the current thread, which somebody has put into the queue while it waited for something else. No interruption
    /// point.
    pub(super) fn lock_moved(&self, moved: &Transfer<'_, RawLock>, site: Site) {
        if moved.wait(&current()) == YOURS {
            // Nobody is moved while detection is on: there is nothing to write down.
            return;
        }
        let mine = number();
        if !self.soon(LOOKS, mine) {
            let wait = Wait::new().shielded();
            let waited = self.lock_wait(&wait, LOOKS, mine, site, Place::Front);
            debug_assert!(waited.is_ok(), "nothing else ends this wait");
        }
        if mine != 0 {
            took(self, site.place);
        }
    }

    fn lock_wait(
        &self,
        wait: &Wait,
        looks: u32,
        mine: u32,
        site: Site,
        mut place: Place,
    ) -> Result<(), WaitError> {
        let me = current();
        let wanting = want(&me, site.what(self), site.place, wait);
        let _wanting = wanting.map_err(WaitError::Deadlock)?;
        let mut since = None;
        loop {
            let note = Note::since(*since.get_or_insert_with(Instant::now)).number(mine as usize);
            match wait_for(self, wait, place, note)? {
                // The holder's writes came with the grant: `publish` releases, the waiter acquires.
                Waited::Granted(YOURS) => return Ok(()),
                Waited::Granted(_) => place = Place::Front,
                Waited::Refused => {}
            }
            if self.soon(looks, mine) {
                return Ok(());
            }
        }
    }

    #[cold]
    async fn lock_async_slow(&self) {
        let mut place = Place::Back;
        let mut since = None;
        // A task's thread has other things to do than to give way.
        while !self.soon(SPINNING_LOOKS, 0) {
            let note = Note::since(*since.get_or_insert_with(Instant::now));
            match wait_async(self, place, note).await {
                Waited::Granted(YOURS) => break,
                Waited::Granted(_) => place = Place::Front,
                Waited::Refused => {}
            }
        }
    }

    /// Takes the lock for the holder with the number `mine`, if it is free. `now` is what the word was seen to be.
    fn take(&self, mut now: u32, mine: u32) -> bool {
        while now & LOCKED == 0 {
            let held = now & PARKED | LOCKED | mine << HOLDER_SHIFT;
            match self.queue.word.compare_exchange_weak(now, held, Acquire, Relaxed) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        false
    }

    /// Takes the lock if it is free, or is freed while this looks so often and nobody waits.
    fn soon(&self, looks: u32, mine: u32) -> bool {
        let word = &self.queue.word;
        let mut looked = 0;
        loop {
            let now = word.load(Relaxed);
            if now & LOCKED == 0 {
                if self.take(now, mine) {
                    return true;
                }
                continue;
            }
            if now & PARKED != 0 || looked == looks {
                return false;
            }
            if looked == 0 && looks > SPINNING_LOOKS && turn::is_over() {
                looked = SPINNING_LOOKS;
            }
            if looked < SPINNING_LOOKS {
                (0..FIRST_SPIN << looked).for_each(|_| std::hint::spin_loop());
            } else {
                turn::give_way();
            }
            looked += 1;
        }
    }

    /// The lock was freed, and there was more to the word.
    #[cold]
    fn unlock_slow(&self) {
        let word = &self.queue.word;
        // Relaxed: this thread's own subtraction is seen at least.
        let mut now = word.load(Relaxed);
        if now & WRONG != 0 {
            word.fetch_add(LOCKED, Relaxed);
            panic!("unlock() of a lock that nobody holds");
        }
        let number = (now & HOLDER) >> HOLDER_SHIFT;
        // If it is held again, the number is another's.
        released(self, (now & LOCKED == 0 && number != 0).then_some(number));
        // If somebody was in the queue and is no more, the bit was cleared by who saw to that.
        if now & PARKED == 0 {
            return;
        }
        let mut granting = self.queue.granting::<1>();
        now = word.load(Relaxed);
        // If it is held again, its holder comes here after us.
        if now & LOCKED != 0 {
            return;
        }
        // If all are about to leave, or have been granted, the last that leaves has cleared PARKED or will.
        let Some(note) = granting.claim() else { return };
        let parked = if granting.is_empty() { 0 } else { PARKED };
        if let Some(time) = note.since.and_then(due) {
            let held = LOCKED | parked | (note.to_number() as u32) << HOLDER_SHIFT;
            while now & LOCKED == 0 {
                // Acquire: between our unlock and this, others may have had the lock; what they did reaches the new
                // holder through the grant.
                match word.compare_exchange_weak(now, held, Acquire, Relaxed) {
                    Ok(_) => {
                        granting.restart(time);
                        granting.publish(YOURS);
                        return;
                    }
                    Err(other) => now = other,
                }
            }
        }
        if parked == 0 {
            // Relaxed: a read-modify-write does not come between an unlock and the lock after it.
            word.fetch_and(!PARKED, Relaxed);
        }
        granting.publish(LOOK);
    }
}

impl Goal for RawLock {
    fn queue(&self) -> &WaitQueue {
        &self.queue
    }

    fn kind(&self) -> Kind {
        Kind::Lock
    }

    fn must_wait(&self) -> bool {
        let word = &self.queue.word;
        let mut now = word.load(Relaxed);
        while now & (LOCKED | WRONG) == LOCKED {
            if now & PARKED != 0 {
                return true;
            }
            // Relaxed: says only that the queue must be looked at; the queue has its own lock.
            match word.compare_exchange_weak(now, now | PARKED, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        false
    }

    fn left(&self, empty: bool) {
        if empty {
            self.queue.word.fetch_and(!PARKED, Relaxed);
        }
    }

    fn pass_on(&self, token: u32) {
        // Handed over, or free for the next. If it is neither, its holder's `unlock` will see to the next.
        if token == YOURS || self.try_lock_as_task() {
            self.unlock();
        }
    }
}

/// Who takes a lock without waiting.
enum By {
    /// The current thread, here.
    Thread(&'static Location<'static>),
    Task,
}

impl By {
    fn number(&self) -> u32 {
        match self {
            By::Thread(_) => number(),
            By::Task => 0,
        }
    }
}

/// Where a thread takes a lock, and as part of what: for who shows waits.
#[derive(Clone, Copy)]
pub(super) struct Site {
    place: &'static Location<'static>,
    /// Null: the lock is all there is.
    part_of: *const RawRLock,
}

impl Site {
    #[track_caller]
    pub(super) fn here() -> Site {
        Site { place: Location::caller(), part_of: std::ptr::null() }
    }

    /// The same as part of this lock.
    pub(super) fn part_of(self, lock: &RawRLock) -> Site {
        Site { part_of: lock, ..self }
    }

    fn what(self, lock: &RawLock) -> What {
        if self.part_of.is_null() { What::Lock(lock) } else { What::RLock(self.part_of) }
    }
}

/// Whether there is no reason to sleep, or to leave, at once.
fn may_look(wait: &Wait) -> bool {
    wait.look.gives_way()
        && wait.deadline.is_none_or(|deadline| deadline > Instant::now())
        && !registered(|thread| thread.slot().has_pending()).unwrap_or(false)
}

/// The time, if who waits since then gets the lock handed over.
#[cfg(not(any(quell_loom, quell_shuttle)))]
fn due(since: Instant) -> Option<Instant> {
    let now = Instant::now();
    (now.saturating_duration_since(since) >= FAIR).then_some(now)
}

/// A model has no clock: the test says.
#[cfg(any(quell_loom, quell_shuttle))]
fn due(since: Instant) -> Option<Instant> {
    crate::model::is_long_ago(since).then_some(since)
}

/// Since when a wait that begins now counts.
pub(super) fn since() -> Instant {
    #[cfg(any(quell_loom, quell_shuttle))]
    return crate::model::since();
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    Instant::now()
}

/// Whether who waits since then gets what it waits for handed over.
pub(super) fn is_due(since: Instant) -> bool {
    due(since).is_some()
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
