//! The lock that its owner may take again, around a value.

use super::RawRLock;
use crate::interrupt::Interrupted;
use crate::thread::ThreadId;
use crate::wait::{Wait, WaitError};
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::time::{Duration, Instant};

/// A lock that its owner may take again, around a value. Because several guards may exist at once, they give out shared
/// references; put a `Cell` or `RefCell` inside to change the value.
///
/// ```
/// use quell::RLock;
/// use std::cell::Cell;
///
/// let count = RLock::new(Cell::new(0));
/// let outer = count.lock().unwrap();
/// let inner = count.lock().unwrap(); // the same thread: no deadlock
/// inner.set(inner.get() + 1);
/// drop(inner);
/// assert_eq!(outer.get(), 1);
/// ```
///
/// There is no asynchronous form. "Already mine" is a question about threads: tasks that take turns on one thread would
/// each find the lock already theirs, and be inside together. A task that needs a lock again passes the guard on, or uses
/// a [`Lock`](crate::Lock).
#[doc(alias = "ReentrantMutex")]
#[doc(alias = "ReentrantLock")]
#[derive(Default)]
pub struct RLock<T: ?Sized> {
    raw: RawRLock,
    value: T,
}

// SAFETY: the lock gives out `&T` to one thread at a time, so T needs to be Send only.
unsafe impl<T: ?Sized + Send> Sync for RLock<T> {}

impl<T> RLock<T> {
    const_fn! {
        /// A free lock around `value`.
        pub fn new(value: T) -> RLock<T> {
            RLock { raw: RawRLock::new(), value }
        }
    }

    /// The value; nobody else can have the lock.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T: ?Sized> RLock<T> {
    /// Takes the lock; waits for it if it must. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// If the thread is interrupted, or because of a [deadlock](crate::deadlock); nothing has changed then.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> Result<RLockGuard<'_, T>, Interrupted> {
        self.raw.lock().map(|()| self.guard())
    }

    /// Takes the lock; waits for it for `time` at most. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`], [`WaitError::Interrupted`], [`WaitError::Deadlock`]; nothing has changed then.
    #[track_caller]
    pub fn lock_timeout(&self, time: Duration) -> Result<RLockGuard<'_, T>, WaitError> {
        // The clock is not read unless there is a wait.
        match self.try_lock() {
            Some(guard) => Ok(guard),
            None => self.lock_with(&Wait::new().timeout(time)),
        }
    }

    /// Takes the lock; waits for it as long as it takes. No interruption point: interrupts stay pending. For cleanup that
    /// must have the lock.
    #[inline]
    #[track_caller]
    pub fn lock_uninterruptible(&self) -> RLockGuard<'_, T> {
        self.raw.lock_uninterruptible();
        self.guard()
    }

    /// Takes the lock; waits for it until `deadline` at most. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`], [`WaitError::Interrupted`], [`WaitError::Deadlock`]; nothing has changed then.
    #[track_caller]
    pub fn lock_until(&self, deadline: Instant) -> Result<RLockGuard<'_, T>, WaitError> {
        self.lock_with(&Wait::new().until(deadline))
    }

    /// Takes the lock; waits for it as `wait` says.
    ///
    /// # Errors
    /// As the options allow; nothing has changed then.
    #[inline]
    #[track_caller]
    pub fn lock_with(&self, wait: &Wait) -> Result<RLockGuard<'_, T>, WaitError> {
        self.raw.lock_with(wait).map(|()| self.guard())
    }

    /// Takes the lock if it is free or already the current thread's. Does not block, and is no interruption point.
    #[inline]
    #[track_caller]
    pub fn try_lock(&self) -> Option<RLockGuard<'_, T>> {
        self.raw.try_lock().then(|| self.guard())
    }

    /// Who owns it. Out of date as soon as it is known, unless it is the current thread.
    pub fn owner(&self) -> Option<ThreadId> {
        self.raw.owner()
    }

    /// Whether the current thread owns it.
    pub fn is_owned(&self) -> bool {
        self.raw.is_owned()
    }

    /// The value, without locking: the borrow shows that nobody else can have it.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.value
    }

    /// Free, whoever held it or waited. Only for the child of a fork, where no other thread is.
    ///
    /// # Safety
    /// Nobody in this process has a guard of it; and the value is fit for use, though another thread may have been in
    /// the middle of changing it when the process forked.
    pub unsafe fn reset_after_fork(&self) {
        self.raw.reset_after_fork();
    }

    /// In the child of a fork: forgets who waited, since those threads do not exist here. Held or free, it stays as
    /// it is.
    pub fn forget_waiters_after_fork(&self) {
        self.raw.forget_waiters_after_fork();
    }

    /// The lock without the value.
    pub(crate) fn raw(&self) -> &RawRLock {
        &self.raw
    }

    fn guard(&self) -> RLockGuard<'_, T> {
        RLockGuard { lock: self, here: PhantomData }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("RLock");
        out.field("owner", &self.owner());
        match self.try_lock() {
            Some(guard) => out.field("value", &&*guard),
            None => out.field("value", &format_args!("<locked>")),
        };
        out.finish()
    }
}

/// The right to an [`RLock`]'s value. Dropping the last one frees the lock.
#[must_use = "the lock is freed when its guard is dropped"]
pub struct RLockGuard<'a, T: ?Sized> {
    lock: &'a RLock<T>,
    // Not Send: the owner frees it.
    here: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives out `&T` only.
unsafe impl<T: ?Sized + Sync> Sync for RLockGuard<'_, T> {}

impl<'a, T: ?Sized> RLockGuard<'a, T> {
    /// A guard of a part of the value. The lock is released when that one is dropped.
    ///
    /// An associated function, because the value may have a `map` of its own.
    pub fn map<U: ?Sized>(
        guard: RLockGuard<'a, T>,
        part: impl FnOnce(&T) -> &U,
    ) -> MappedRLockGuard<'a, U> {
        // The guard releases the lock if `part` panics.
        let value = part(&guard.lock.value);
        MappedRLockGuard { raw: &ManuallyDrop::new(guard).lock.raw, value, here: PhantomData }
    }

    /// The same for a part that may not be there.
    ///
    /// # Errors
    /// The guard itself, if there is no such part.
    pub fn try_map<U: ?Sized>(
        guard: RLockGuard<'a, T>,
        part: impl FnOnce(&T) -> Option<&U>,
    ) -> Result<MappedRLockGuard<'a, U>, RLockGuard<'a, T>> {
        let Some(value) = part(&guard.lock.value) else { return Err(guard) };
        let raw = &ManuallyDrop::new(guard).lock.raw;
        Ok(MappedRLockGuard { raw, value, here: PhantomData })
    }

    /// The guard for a [`Condition`](crate::Condition) to release wholly, however often this thread has taken the lock.
    ///
    /// Given the guard itself, a condition refuses to wait while this thread has another guard of the lock, because what
    /// was borrowed through that one would be shared with other threads. Where the value is [`Sync`], that is allowed,
    /// and this says so.
    pub fn whole(&mut self) -> WholeRLock<'_, T>
    where
        T: Sync,
    {
        WholeRLock { lock: self.lock, here: PhantomData }
    }

    /// The lock, for conditions.
    pub(super) fn raw(&self) -> &'a RawRLock {
        &self.lock.raw
    }
}

/// Stands for all guards that its thread has of an [`RLock`]: see [`RLockGuard::whole`].
pub struct WholeRLock<'g, T: ?Sized> {
    lock: &'g RLock<T>,
    here: PhantomData<*const ()>,
}

impl<'g, T: ?Sized> WholeRLock<'g, T> {
    /// The lock, for conditions.
    pub(super) fn raw(&self) -> &'g RawRLock {
        &self.lock.raw
    }
}

impl<T: ?Sized> Deref for WholeRLock<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.lock.value
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for WholeRLock<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The right to a part of an [`RLock`]'s value: see [`RLockGuard::map`].
#[must_use = "the lock is freed when its guard is dropped"]
pub struct MappedRLockGuard<'a, T: ?Sized> {
    raw: &'a RawRLock,
    value: &'a T,
    // Not Send: the owner frees it.
    here: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives out `&T` only.
unsafe impl<T: ?Sized + Sync> Sync for MappedRLockGuard<'_, T> {}

impl<'a, T: ?Sized> MappedRLockGuard<'a, T> {
    /// A guard of a part of the part.
    pub fn map<U: ?Sized>(
        guard: MappedRLockGuard<'a, T>,
        part: impl FnOnce(&T) -> &U,
    ) -> MappedRLockGuard<'a, U> {
        let value = part(guard.value);
        MappedRLockGuard { raw: ManuallyDrop::new(guard).raw, value, here: PhantomData }
    }
}

impl<T: ?Sized> Deref for MappedRLockGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.value
    }
}

impl<T: ?Sized> Drop for MappedRLockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.raw.unlock_owned();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MappedRLockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized> Deref for RLockGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.lock.value
    }
}

impl<T: ?Sized> Drop for RLockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.raw.unlock_owned();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RLockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
