//! A lock whose users hold another one, the *outer* lock, whenever they do not wait.
//!
//! So the objects of an interpreter are used: each operation has the interpreter's lock, which is given up only to wait. An atomic
//! operation takes as long there as everything else that a lock does.
//!
//! # The protocol
//!
//! `outside` counts the threads that wait without the outer lock, or are on their way. Each counts itself before it gives the outer
//! lock up, and off again after it has taken it back; so `outside` is read and written under the outer lock only.
//!
//! - **Nobody outside**: whoever has the outer lock is the only one to touch the word, which it reads and writes plainly. What came
//!   before and what comes after is ordered by the outer lock, the count included: a thread that goes outside later has
//!   taken the outer lock after the plain store, and finds it done.
//! - **Somebody outside**, who may change the word at any moment: every operation is the [`RawLock`]'s own.
//!
//! A task is polled and dropped under the outer lock, and counts for nothing: what it leaves in the word is `PARKED`, which is no
//! word for a plain store.
//!
//! The child of a fork keeps the count of threads that do not exist there, and so does whoever never comes back. Such a lock works
//! as a [`RawLock`] from then on.

use super::RawLock;
use crate::sys::atomic::AtomicU32;
use crate::sys::atomic::Ordering::Relaxed;
use crate::wait::{Wait, WaitError};
use std::fmt;

/// A [`RawLock`] for those who hold another lock, the *outer* one, whenever they take it without waiting, or free it: then
/// that costs no atomic operation, as long as nobody waits.
///
/// For embedders: the outer lock is the interpreter's. Which lock it is, is the users' affair; it must be the same for all.
///
/// ```
/// use quell::{InnerLock, Wait};
/// use std::sync::Mutex;
///
/// static INTERPRETER: Mutex<()> = Mutex::new(());
/// static LOCK: InnerLock = InnerLock::new();
///
/// let held = INTERPRETER.lock().unwrap();
/// // SAFETY: under INTERPRETER, as everything below but the wait.
/// if !unsafe { LOCK.try_lock() } {
///     let outside = unsafe { LOCK.go_outside() };
///     drop(held);
///     outside.lock_with(&Wait::new()).unwrap();
///     let held = INTERPRETER.lock().unwrap();
///     unsafe { outside.come_back() };
/// #   drop(held);
/// }
/// assert!(LOCK.is_locked());
/// ```
pub struct InnerLock {
    raw: RawLock,
    outside: AtomicU32,
}

impl InnerLock {
    const_fn! {
        /// A free lock.
        pub fn new() -> InnerLock {
            InnerLock { raw: RawLock::new(), outside: AtomicU32::new(0) }
        }
    }

    /// Relaxed, here and where it is written: under the outer lock.
    #[inline(always)]
    fn is_alone(&self) -> bool {
        self.outside.load(Relaxed) == 0
    }

    /// Takes the lock if it is free. Does not block, and is no interruption point.
    ///
    /// # Safety
    /// The calling thread has the outer lock.
    #[inline(always)]
    #[track_caller]
    pub unsafe fn try_lock(&self) -> bool {
        // SAFETY: the caller's promise.
        unsafe { self.try_lock_at_once() || self.try_lock_slow() }
    }

    /// Takes the lock if it is free and nobody waits for it, by a few instructions. False also where it would have to look at more
    /// than that: [`try_lock`](Self::try_lock) does. Does not block, and is no interruption point.
    ///
    /// # Safety
    /// The calling thread has the outer lock.
    #[inline(always)]
    pub unsafe fn try_lock_at_once(&self) -> bool {
        self.is_alone() && self.raw.try_lock_alone()
    }

    /// Frees the lock. Does not block, and is no interruption point.
    ///
    /// # Panics
    /// If the lock is free.
    ///
    /// # Safety
    /// The calling thread has the outer lock.
    #[inline(always)]
    pub unsafe fn unlock(&self) {
        if !(self.is_alone() && self.raw.unlock_alone()) {
            self.unlock_slow();
        }
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    fn try_lock_slow(&self) -> bool {
        self.raw.try_lock()
    }

    #[cold]
    #[inline(never)]
    fn unlock_slow(&self) {
        self.raw.unlock();
    }

    /// Says that the calling thread is about to give the outer lock up, to wait for this one.
    ///
    /// # Safety
    /// The calling thread has the outer lock.
    #[inline]
    pub unsafe fn go_outside(&self) -> Outside<'_> {
        self.outside.store(self.outside.load(Relaxed) + 1, Relaxed);
        Outside(self)
    }

    /// Takes the lock as a task; see [`RawLock::lock_async`].
    ///
    /// # Safety
    /// The future is polled and dropped by threads that have the outer lock.
    pub async unsafe fn lock_async(&self) {
        self.raw.lock_async().await;
    }

    /// Whether somebody holds it. Out of date as soon as it is known, unless the calling thread has the outer lock and nobody waits.
    #[inline(always)]
    pub fn is_locked(&self) -> bool {
        self.raw.is_locked()
    }

    /// Free, whoever held it or waited. Only for the child of a fork, where no other thread is.
    pub fn reset_after_fork(&self) {
        self.raw.reset_after_fork();
    }

    /// In the child of a fork: see [`RawLock::forget_waiters_after_fork`].
    pub fn forget_waiters_after_fork(&self) {
        self.raw.forget_waiters_after_fork();
    }
}

impl Default for InnerLock {
    fn default() -> InnerLock {
        InnerLock::new()
    }
}

impl fmt::Debug for InnerLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InnerLock").field("locked", &self.is_locked()).finish()
    }
}

/// The right to wait for an [`InnerLock`] without the outer lock. If it is dropped, and has not [come back](Self::come_back), the lock
/// works as a [`RawLock`] from then on.
#[must_use = "without it the thread is not counted off again"]
#[derive(Debug)]
pub struct Outside<'a>(&'a InnerLock);

impl Outside<'_> {
    /// Takes the lock; waits for it as `wait` says.
    ///
    /// # Errors
    /// As the options allow; the thread then does not have the lock.
    #[inline]
    #[track_caller]
    pub fn lock_with(&self, wait: &Wait) -> Result<(), WaitError> {
        self.0.raw.lock_with(wait)
    }

    /// The thread has the outer lock again, with this lock or without it.
    ///
    /// # Safety
    /// It has, and does not wait any more.
    #[inline]
    pub unsafe fn come_back(self) {
        let outside = &self.0.outside;
        outside.store(outside.load(Relaxed) - 1, Relaxed);
    }
}
