//! The lock that its owner may take again, without data.
//!
//! A [`RawLock`], the owner's id, and how often the owner has taken it again. `owner` is written by the holder only: its
//! own id after it took the lock, 0 before it frees it. A thread that reads its own id there wrote it itself; any
//! other value means only "not me". So Relaxed is enough for it, and the count belongs to the owner. It is 0 whenever
//! the lock is free, so that who takes the lock once neither reads nor writes it before the release. The owner alone
//! writes it, and everything one owner does with it comes before what the next one does, by the lock; so the owner reads it
//! without an atomic's restraints. Others may read it at any time, so it is an atomic, and all writes are such.

use super::RawLock;
use super::raw_lock::Site;
use crate::interrupt::Interrupted;
use crate::sys::atomic::Ordering::Relaxed;
use crate::sys::atomic::{AtomicU32, AtomicU64};
use crate::sys::load_own;
use crate::thread::{ThreadId, current_id};
use crate::wait::{Wait, WaitError};
use std::fmt;
use std::num::NonZeroU64;

/// A lock without data that its owner may take again. It is free when it was released as often.
///
/// For embedders. In Rust use [`RLock`](crate::RLock).
///
/// ```
/// let lock = quell::RawRLock::new();
/// assert!(lock.try_lock() && lock.try_lock());
/// assert_eq!(lock.depth(), 2);
/// assert_eq!(lock.unlock(), Ok(false)); // still held
/// assert_eq!(lock.unlock(), Ok(true));
/// assert!(lock.unlock().is_err());
/// ```
pub struct RawRLock {
    raw: RawLock,
    /// Beyond the first time.
    again: AtomicU32,
    owner: AtomicU64,
}

/// The current thread does not own the lock it wanted to release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOwner {
    owner: Option<ThreadId>,
}

impl NotOwner {
    /// Who owns it.
    pub fn owner(&self) -> Option<ThreadId> {
        self.owner
    }
}

impl fmt::Display for NotOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let me = current_id();
        match self.owner {
            Some(owner) => write!(f, "thread {me} cannot release a lock that thread {owner} owns"),
            None => write!(f, "thread {me} cannot release a lock that nobody owns"),
        }
    }
}

impl std::error::Error for NotOwner {}

impl RawRLock {
    const_fn! {
        /// A free lock.
        pub fn new() -> RawRLock {
            RawRLock { raw: RawLock::new(), again: AtomicU32::new(0), owner: AtomicU64::new(0) }
        }
    }

    /// Takes the lock if it is free or already the current thread's. Does not block, and is no interruption point.
    ///
    /// # Panics
    /// If it was taken 2³² times.
    #[inline]
    #[track_caller]
    pub fn try_lock(&self) -> bool {
        let me = current_id();
        if self.taken_again(me) {
            return true;
        }
        let taken = self.raw.try_lock();
        if taken {
            self.owner.store(me, Relaxed);
        }
        taken
    }

    /// Takes the lock; waits for it if it must. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// If the thread is interrupted; nothing has changed then.
    ///
    /// # Panics
    /// If it was taken 2³² times.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> Result<(), Interrupted> {
        if self.lock_fast() { Ok(()) } else { self.lock_wait(Site::here()) }
    }

    /// Takes the lock; waits for it as `wait` says.
    ///
    /// # Errors
    /// As the options allow; nothing has changed then.
    ///
    /// # Panics
    /// If it was taken 2³² times.
    #[inline]
    #[track_caller]
    pub fn lock_with(&self, wait: &Wait) -> Result<(), WaitError> {
        if self.lock_fast() { Ok(()) } else { self.lock_slow(wait, Site::here()) }
    }

    /// Takes the lock; waits for it as long as it takes. No interruption point: interrupts stay pending.
    ///
    /// # Panics
    /// If it was taken 2³² times.
    #[inline]
    #[track_caller]
    pub fn lock_uninterruptible(&self) {
        if !self.lock_fast() {
            let waited = self.lock_slow(&Wait::new().shielded(), Site::here());
            debug_assert!(waited.is_ok(), "nothing else ends this wait");
        }
    }

    /// Releases it once. True: it is free now. Does not block, and is no interruption point.
    ///
    /// # Errors
    /// If the current thread does not own it; nothing has changed then.
    #[inline]
    pub fn unlock(&self) -> Result<bool, NotOwner> {
        if !self.is_owned() {
            return Err(NotOwner { owner: self.owner() });
        }
        Ok(self.unlock_owned())
    }

    /// [`unlock`](RawRLock::unlock) for who knows that the current thread owns it.
    #[inline]
    pub(super) fn unlock_owned(&self) -> bool {
        debug_assert!(self.is_owned(), "a guard stays in its thread");
        // SAFETY: the current thread is the owner.
        let again = unsafe { load_own(&self.again) };
        if again > 0 {
            self.again.store(again - 1, Relaxed);
            return false;
        }
        self.owner.store(0, Relaxed);
        self.raw.unlock();
        true
    }

    /// Who owns it. Out of date as soon as it is known, unless it is the current thread.
    pub fn owner(&self) -> Option<ThreadId> {
        NonZeroU64::new(self.owner.load(Relaxed)).map(ThreadId::from_number)
    }

    /// How often its owner has taken it. Out of date as soon as it is known, unless the owner asks.
    pub fn depth(&self) -> u32 {
        match self.owner.load(Relaxed) {
            0 => 0,
            _ => self.again.load(Relaxed).saturating_add(1),
        }
    }

    /// Whether the current thread owns it.
    #[inline]
    pub fn is_owned(&self) -> bool {
        self.owner.load(Relaxed) == current_id()
    }

    /// Whether anybody holds it. Out of date as soon as it is known.
    pub fn is_locked(&self) -> bool {
        self.raw.is_locked()
    }

    /// Releases it wholly, and says how often it had been taken, for
    /// [`acquire_restore`](RawRLock::acquire_restore). For condition variables.
    ///
    /// # Errors
    /// If the current thread does not own it; nothing has changed then.
    pub fn release_save(&self) -> Result<u32, NotOwner> {
        if !self.is_owned() {
            return Err(NotOwner { owner: self.owner() });
        }
        let again = self.again.load(Relaxed);
        self.again.store(0, Relaxed);
        self.owner.store(0, Relaxed);
        self.raw.unlock();
        Ok(again + 1)
    }

    /// Takes the lock, which the current thread does not own, as often as `depth` says. Waits for it as `wait` says.
    ///
    /// # Errors
    /// As the options allow; nothing has changed then.
    #[track_caller]
    pub fn acquire_restore(&self, depth: u32, wait: &Wait) -> Result<(), WaitError> {
        debug_assert!(depth > 0 && !self.is_owned());
        self.lock_raw(wait, Site::here())?;
        self.restore(depth);
        Ok(())
    }

    /// The rest of [`acquire_restore`](RawRLock::acquire_restore), for who has taken the lock under it.
    pub(super) fn restore(&self, depth: u32) {
        self.owner.store(current_id(), Relaxed);
        self.again.store(depth - 1, Relaxed);
    }

    /// Free, whoever held it or waited. Only for the child of a fork, where no other thread is.
    pub fn reset_after_fork(&self) {
        self.again.store(0, Relaxed);
        self.owner.store(0, Relaxed);
        self.raw.reset_after_fork();
    }

    /// In the child of a fork: forgets who waited; see [`RawLock::forget_waiters_after_fork`].
    pub fn forget_waiters_after_fork(&self) {
        self.raw.forget_waiters_after_fork();
    }

    fn lock_raw(&self, wait: &Wait, site: Site) -> Result<(), WaitError> {
        if self.raw.lock_fast() { Ok(()) } else { self.raw.lock_slow(wait, site.part_of(self)) }
    }

    /// Takes the lock if it is the current thread's, or free and nobody waits. All of it is small, so that it can be where
    /// the lock is taken: the call alone would cost as much.
    #[inline(always)]
    fn lock_fast(&self) -> bool {
        let me = current_id();
        if self.taken_again(me) {
            return true;
        }
        let taken = self.raw.lock_fast();
        if taken {
            self.owner.store(me, Relaxed);
        }
        taken
    }

    /// [`lock`](RawRLock::lock), if it is another's.
    #[cold]
    #[inline(never)]
    fn lock_wait(&self, site: Site) -> Result<(), Interrupted> {
        self.lock_slow(&Wait::new(), site).map_err(WaitError::only_interrupt)
    }

    /// [`lock_with`](RawRLock::lock_with), if it is another's.
    #[cold]
    fn lock_slow(&self, wait: &Wait, site: Site) -> Result<(), WaitError> {
        self.raw.lock_slow(wait, site.part_of(self))?;
        self.owner.store(current_id(), Relaxed);
        Ok(())
    }

    /// The lock under it, which stands for it in a record of who holds what.
    pub(crate) fn raw(&self) -> &RawLock {
        &self.raw
    }

    #[inline(always)]
    fn taken_again(&self, me: u64) -> bool {
        if self.owner.load(Relaxed) != me {
            return false;
        }
        // SAFETY: the current thread is the owner, as it has just seen.
        let again = unsafe { load_own(&self.again) };
        // The whole depth is still a u32.
        assert!(again < u32::MAX - 1, "the lock was taken 2^32 times");
        self.again.store(again + 1, Relaxed);
        true
    }
}

impl Default for RawRLock {
    fn default() -> RawRLock {
        RawRLock::new()
    }
}

impl fmt::Debug for RawRLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawRLock")
            .field("owner", &self.owner())
            .field("depth", &self.depth())
            .finish_non_exhaustive()
    }
}
