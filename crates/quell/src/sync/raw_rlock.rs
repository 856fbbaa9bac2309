//! The lock that its owner may take again, without data.
//!
//! A [`RawLock`], the owner's id, and a depth. `owner` is written by the holder only: its own id after it took the
//! lock, 0 before it frees it. A thread that reads its own id there wrote it itself; any other value means only
//! "not me". So Relaxed is enough for it, and the depth belongs to the owner.

use super::RawLock;
use crate::interrupt::Interrupted;
use crate::sys::atomic::Ordering::Relaxed;
use crate::sys::atomic::{AtomicU32, AtomicU64};
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
    depth: AtomicU32,
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
            RawRLock { raw: RawLock::new(), depth: AtomicU32::new(0), owner: AtomicU64::new(0) }
        }
    }

    /// Takes the lock if it is free or already the current thread's. Does not block, and is no interruption point.
    ///
    /// # Panics
    /// If it was taken 2³² times.
    #[inline]
    pub fn try_lock(&self) -> bool {
        let me = current_id();
        if self.again(me) {
            return true;
        }
        let taken = self.raw.try_lock();
        if taken {
            self.own(me, 1);
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
    pub fn lock(&self) -> Result<(), Interrupted> {
        let me = current_id();
        if !self.again(me) {
            self.raw.lock()?;
            self.own(me, 1);
        }
        Ok(())
    }

    /// Takes the lock; waits for it as `wait` says.
    ///
    /// # Errors
    /// As the options allow; nothing has changed then.
    ///
    /// # Panics
    /// If it was taken 2³² times.
    #[inline]
    pub fn lock_with(&self, wait: &Wait) -> Result<(), WaitError> {
        let me = current_id();
        if !self.again(me) {
            self.raw.lock_with(wait)?;
            self.own(me, 1);
        }
        Ok(())
    }

    /// Takes the lock; waits for it as long as it takes. No interruption point: interrupts stay pending.
    ///
    /// # Panics
    /// If it was taken 2³² times.
    #[inline]
    pub fn lock_uninterruptible(&self) {
        let me = current_id();
        if !self.again(me) {
            self.raw.lock_uninterruptible();
            self.own(me, 1);
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
        let depth = self.depth.load(Relaxed) - 1;
        self.depth.store(depth, Relaxed);
        if depth == 0 {
            self.owner.store(0, Relaxed);
            self.raw.unlock();
        }
        Ok(depth == 0)
    }

    /// Who owns it. Out of date as soon as it is known, unless it is the current thread.
    pub fn owner(&self) -> Option<ThreadId> {
        NonZeroU64::new(self.owner.load(Relaxed)).map(ThreadId::from_number)
    }

    /// How often its owner has taken it. Out of date as soon as it is known, unless the owner asks.
    pub fn depth(&self) -> u32 {
        self.depth.load(Relaxed)
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
        let depth = self.depth.load(Relaxed);
        self.depth.store(0, Relaxed);
        self.owner.store(0, Relaxed);
        self.raw.unlock();
        Ok(depth)
    }

    /// Takes the lock, which the current thread does not own, as often as `depth` says. Waits for it as `wait` says.
    ///
    /// # Errors
    /// As the options allow; nothing has changed then.
    pub fn acquire_restore(&self, depth: u32, wait: &Wait) -> Result<(), WaitError> {
        debug_assert!(depth > 0 && !self.is_owned());
        self.raw.lock_with(wait)?;
        self.own(current_id(), depth);
        Ok(())
    }

    /// Free, whoever held it or waited. Only for the child of a fork, where no other thread is.
    pub fn reset_after_fork(&self) {
        self.depth.store(0, Relaxed);
        self.owner.store(0, Relaxed);
        self.raw.reset_after_fork();
    }

    /// In the child of a fork: forgets who waited; see [`RawLock::forget_waiters_after_fork`].
    pub fn forget_waiters_after_fork(&self) {
        self.raw.forget_waiters_after_fork();
    }

    #[inline]
    fn again(&self, me: u64) -> bool {
        if self.owner.load(Relaxed) != me {
            return false;
        }
        let depth = self.depth.load(Relaxed).checked_add(1).expect("the lock was taken 2^32 times");
        self.depth.store(depth, Relaxed);
        true
    }

    #[inline]
    fn own(&self, me: u64, depth: u32) {
        self.owner.store(me, Relaxed);
        self.depth.store(depth, Relaxed);
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
