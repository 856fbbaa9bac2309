//! The lock that owns what it protects.

use super::RawLock;
use crate::interrupt::Interrupted;
use crate::wait::{Wait, WaitError};
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::time::Instant;

/// A lock around a value: one thread at a time reaches it, through the guard.
///
/// No poisoning: a panic under the lock frees it, like any other way out. Not fair from moment to moment, but nobody is
/// passed over for long. Sixteen bytes beside the value on Linux.
///
/// ```
/// use quell::{Lock, thread};
/// use std::sync::Arc;
///
/// let count = Arc::new(Lock::new(0));
/// let threads: Vec<_> = (0..4)
///     .map(|_| {
///         let count = Arc::clone(&count);
///         thread::spawn(move || *count.lock().unwrap() += 1)
///     })
///     .collect();
/// for thread in threads {
///     thread.join().unwrap();
/// }
/// assert_eq!(*count.lock().unwrap(), 4);
/// ```
#[doc(alias = "Mutex")]
#[derive(Default)]
pub struct Lock<T: ?Sized> {
    raw: RawLock,
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives the value to one thread at a time, so it needs to be Send only.
unsafe impl<T: ?Sized + Send> Send for Lock<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    const_fn! {
        /// A free lock around `value`.
        pub fn new(value: T) -> Lock<T> {
            Lock { raw: RawLock::new(), value: UnsafeCell::new(value) }
        }
    }

    /// The value; nobody else can have the lock.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Lock<T> {
    /// Takes the lock; waits for it if it must. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// If the thread is interrupted; it then does not have the lock.
    #[inline]
    pub fn lock(&self) -> Result<LockGuard<'_, T>, Interrupted> {
        self.raw.lock().map(|()| self.guard())
    }

    /// Takes the lock; waits for it until `deadline` at most.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`], [`WaitError::Interrupted`]; the thread then does not have the lock.
    pub fn lock_until(&self, deadline: Instant) -> Result<LockGuard<'_, T>, WaitError> {
        self.lock_with(&Wait::new().until(deadline))
    }

    /// Takes the lock; waits for it as `wait` says.
    ///
    /// # Errors
    /// As the options allow; the thread then does not have the lock.
    #[inline]
    pub fn lock_with(&self, wait: &Wait) -> Result<LockGuard<'_, T>, WaitError> {
        self.raw.lock_with(wait).map(|()| self.guard())
    }

    /// Takes the lock if it is free. Does not block, and is no interruption point.
    #[inline]
    pub fn try_lock(&self) -> Option<LockGuard<'_, T>> {
        self.raw.try_lock().then(|| self.guard())
    }

    /// Whether somebody holds it. Out of date as soon as it is known.
    pub fn is_locked(&self) -> bool {
        self.raw.is_locked()
    }

    /// The value, without locking: the borrow shows that nobody else can have it.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    fn guard(&self) -> LockGuard<'_, T> {
        LockGuard { lock: self, here: PhantomData }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Lock");
        match self.try_lock() {
            Some(guard) => out.field("value", &&*guard),
            None => out.field("value", &format_args!("<locked>")),
        };
        out.finish()
    }
}

impl<T> From<T> for Lock<T> {
    fn from(value: T) -> Lock<T> {
        Lock::new(value)
    }
}

/// The right to a [`Lock`]'s value. Dropping it frees the lock.
#[must_use = "the lock is freed when its guard is dropped"]
pub struct LockGuard<'a, T: ?Sized> {
    lock: &'a Lock<T>,
    // Not Send: who took the lock frees it.
    here: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives out `&T` only.
unsafe impl<T: ?Sized + Sync> Sync for LockGuard<'_, T> {}

impl<T: ?Sized> Deref for LockGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard exists only while its thread holds the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for LockGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the guard is borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for LockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.raw.unlock();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for LockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
