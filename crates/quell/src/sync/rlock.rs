//! The lock that its owner may take again, around a value.

use super::RawRLock;
use crate::interrupt::Interrupted;
use crate::thread::ThreadId;
use crate::wait::{Wait, WaitError};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Instant;

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
    /// If the thread is interrupted; nothing has changed then.
    #[inline]
    pub fn lock(&self) -> Result<RLockGuard<'_, T>, Interrupted> {
        self.raw.lock().map(|()| self.guard())
    }

    /// Takes the lock; waits for it until `deadline` at most.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`], [`WaitError::Interrupted`]; nothing has changed then.
    pub fn lock_until(&self, deadline: Instant) -> Result<RLockGuard<'_, T>, WaitError> {
        self.lock_with(&Wait::new().until(deadline))
    }

    /// Takes the lock; waits for it as `wait` says.
    ///
    /// # Errors
    /// As the options allow; nothing has changed then.
    #[inline]
    pub fn lock_with(&self, wait: &Wait) -> Result<RLockGuard<'_, T>, WaitError> {
        self.raw.lock_with(wait).map(|()| self.guard())
    }

    /// Takes the lock if it is free or already the current thread's. Does not block, and is no interruption point.
    #[inline]
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

    fn guard(&self) -> RLockGuard<'_, T> {
        RLockGuard { lock: self, here: PhantomData }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("RLock");
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
        self.lock.raw.unlock().expect("a guard stays in its thread");
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RLockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
