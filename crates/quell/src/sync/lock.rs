//! The lock that owns what it protects.

use super::RawLock;
use super::holder::{ByTask, ByThread};
use crate::interrupt::Interrupted;
use crate::wait::{Wait, WaitError};
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::time::{Duration, Instant};

/// A lock around a value: one thread or task at a time reaches it, through the guard.
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
///
/// # From tasks
///
/// [`lock_async`](Lock::lock_async) waits without blocking the thread, in the same queue. Its guard is [`Send`] and may be
/// held across an `await`; but then the lock is held while the task is suspended, for as long as its executor likes.
/// A thread that runs tasks should not call [`lock`](Lock::lock) on a lock that a task of that thread may hold or be
/// next for: that task could not run to free it.
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
    /// If the thread is interrupted, or because of a [deadlock](crate::deadlock); it then does not have the lock.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> Result<LockGuard<'_, T>, Interrupted> {
        self.raw.lock().map(|()| self.guard())
    }

    /// Takes the lock; waits for it for `time` at most. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`], [`WaitError::Interrupted`], [`WaitError::Deadlock`]; the thread then does not have the lock.
    #[track_caller]
    pub fn lock_timeout(&self, time: Duration) -> Result<LockGuard<'_, T>, WaitError> {
        // The clock is not read unless there is a wait.
        match self.try_lock() {
            Some(guard) => Ok(guard),
            None => self.lock_with(&Wait::new().timeout(time)),
        }
    }

    /// Takes the lock; waits for it until `deadline` at most. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`], [`WaitError::Interrupted`], [`WaitError::Deadlock`]; the thread then does not have the lock.
    #[track_caller]
    pub fn lock_until(&self, deadline: Instant) -> Result<LockGuard<'_, T>, WaitError> {
        self.lock_with(&Wait::new().until(deadline))
    }

    /// Takes the lock; waits for it as long as it takes. No interruption point: interrupts stay pending. For cleanup that
    /// must have the lock.
    ///
    /// ```
    /// let lock = quell::Lock::new(1);
    /// quell::current().interrupt(quell::Interrupt::new("later"));
    /// *lock.lock_uninterruptible() += 1;
    /// assert!(quell::checkpoint().is_err());
    /// ```
    #[inline]
    #[track_caller]
    pub fn lock_uninterruptible(&self) -> LockGuard<'_, T> {
        self.raw.lock_uninterruptible();
        self.guard()
    }

    /// Takes the lock; waits for it as `wait` says.
    ///
    /// # Errors
    /// As the options allow; the thread then does not have the lock.
    #[inline]
    #[track_caller]
    pub fn lock_with(&self, wait: &Wait) -> Result<LockGuard<'_, T>, WaitError> {
        self.raw.lock_with(wait).map(|()| self.guard())
    }

    /// Takes the lock as a task; waits for it if it must. No interruption point.
    ///
    /// Dropped before it is ready, the future has taken nothing, and if the lock was just handed to it, the next gets it.
    ///
    /// ```
    /// # smol::block_on(async {
    /// let lock = quell::Lock::new(1);
    /// *lock.lock_async().await += 1;
    /// assert_eq!(lock.into_inner(), 2);
    /// # });
    /// ```
    pub async fn lock_async(&self) -> LockGuard<'_, T, ByTask> {
        self.raw.lock_async().await;
        LockGuard { lock: self, holder: PhantomData }
    }

    /// Takes the lock if it is free. Does not block, and is no interruption point.
    #[inline]
    #[track_caller]
    pub fn try_lock(&self) -> Option<LockGuard<'_, T>> {
        self.raw.try_lock().then(|| self.guard())
    }

    /// [`try_lock`](Lock::try_lock) as a task.
    #[inline]
    pub fn try_lock_async(&self) -> Option<LockGuard<'_, T, ByTask>> {
        self.raw.try_lock_as_task().then(|| LockGuard { lock: self, holder: PhantomData })
    }

    /// Whether somebody holds it. Out of date as soon as it is known.
    pub fn is_locked(&self) -> bool {
        self.raw.is_locked()
    }

    /// The value, without locking: the borrow shows that nobody else can have it.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
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
    pub(crate) fn raw(&self) -> &RawLock {
        &self.raw
    }

    fn guard(&self) -> LockGuard<'_, T> {
        LockGuard { lock: self, holder: PhantomData }
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
///
/// A thread's guard is not [`Send`]; a task's (`LockGuard<T, ByTask>`) is.
#[doc(alias = "MutexGuard")]
#[must_use = "the lock is freed when its guard is dropped"]
pub struct LockGuard<'a, T: ?Sized, H = ByThread> {
    lock: &'a Lock<T>,
    holder: PhantomData<H>,
}

// SAFETY: a shared guard gives out `&T` only.
unsafe impl<T: ?Sized + Sync, H> Sync for LockGuard<'_, T, H> {}

impl<'a, T: ?Sized, H> LockGuard<'a, T, H> {
    /// A guard of a part of the value. The lock is freed when that one is dropped.
    ///
    /// An associated function, because the value may have a `map` of its own.
    ///
    /// ```
    /// use quell::{Lock, LockGuard};
    ///
    /// let pair = Lock::new((1, "one"));
    /// let mut number = LockGuard::map(pair.lock().unwrap(), |pair| &mut pair.0);
    /// *number = 2;
    /// drop(number);
    /// assert_eq!(pair.into_inner().0, 2);
    /// ```
    pub fn map<U: ?Sized>(
        guard: LockGuard<'a, T, H>,
        part: impl FnOnce(&mut T) -> &mut U,
    ) -> MappedLockGuard<'a, U, H> {
        // The guard frees the lock if `part` panics.
        // SAFETY: the guard's holder has the value to itself, and keeps it as long as the lock is held.
        let value = NonNull::from(part(unsafe { &mut *guard.lock.value.get() }));
        MappedLockGuard::new(&ManuallyDrop::new(guard).lock.raw, value)
    }

    /// The same for a part that may not be there.
    ///
    /// # Errors
    /// The guard itself, if there is no such part.
    pub fn try_map<U: ?Sized>(
        guard: LockGuard<'a, T, H>,
        part: impl FnOnce(&mut T) -> Option<&mut U>,
    ) -> Result<MappedLockGuard<'a, U, H>, LockGuard<'a, T, H>> {
        // SAFETY: as in `map`.
        match part(unsafe { &mut *guard.lock.value.get() }).map(NonNull::from) {
            Some(value) => Ok(MappedLockGuard::new(&ManuallyDrop::new(guard).lock.raw, value)),
            None => Err(guard),
        }
    }

    /// The lock, for conditions.
    pub(super) fn lock(&self) -> &'a Lock<T> {
        self.lock
    }
}

impl<T: ?Sized, H> Deref for LockGuard<'_, T, H> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard exists only while its thread or task holds the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized, H> DerefMut for LockGuard<'_, T, H> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the guard is borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized, H> Drop for LockGuard<'_, T, H> {
    #[inline]
    fn drop(&mut self) {
        self.lock.raw.unlock();
    }
}

impl<T: ?Sized + fmt::Debug, H> fmt::Debug for LockGuard<'_, T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The right to a part of a [`Lock`]'s value: see [`LockGuard::map`]. Dropping it frees the lock.
#[doc(alias = "MappedMutexGuard")]
#[must_use = "the lock is freed when its guard is dropped"]
pub struct MappedLockGuard<'a, T: ?Sized, H = ByThread> {
    raw: &'a RawLock,
    value: NonNull<T>,
    // As `LockGuard`: invariant in T.
    part: PhantomData<&'a mut T>,
    holder: PhantomData<H>,
}

// SAFETY: it stands for a `&mut T` and a lock that any thread may free.
unsafe impl<T: ?Sized + Send> Send for MappedLockGuard<'_, T, ByTask> {}
// SAFETY: a shared guard gives out `&T` only.
unsafe impl<T: ?Sized + Sync, H> Sync for MappedLockGuard<'_, T, H> {}

impl<'a, T: ?Sized, H> MappedLockGuard<'a, T, H> {
    fn new(raw: &'a RawLock, value: NonNull<T>) -> MappedLockGuard<'a, T, H> {
        MappedLockGuard { raw, value, part: PhantomData, holder: PhantomData }
    }

    /// A guard of a part of the part.
    pub fn map<U: ?Sized>(
        mut guard: MappedLockGuard<'a, T, H>,
        part: impl FnOnce(&mut T) -> &mut U,
    ) -> MappedLockGuard<'a, U, H> {
        let value = NonNull::from(part(&mut *guard));
        MappedLockGuard::new(ManuallyDrop::new(guard).raw, value)
    }

    /// The same for a part that may not be there.
    ///
    /// # Errors
    /// The guard itself, if there is no such part.
    pub fn try_map<U: ?Sized>(
        mut guard: MappedLockGuard<'a, T, H>,
        part: impl FnOnce(&mut T) -> Option<&mut U>,
    ) -> Result<MappedLockGuard<'a, U, H>, MappedLockGuard<'a, T, H>> {
        match part(&mut *guard).map(NonNull::from) {
            Some(value) => Ok(MappedLockGuard::new(ManuallyDrop::new(guard).raw, value)),
            None => Err(guard),
        }
    }
}

impl<T: ?Sized, H> Deref for MappedLockGuard<'_, T, H> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: a part of the value, which the guard's holder has to itself.
        unsafe { self.value.as_ref() }
    }
}

impl<T: ?Sized, H> DerefMut for MappedLockGuard<'_, T, H> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the guard is borrowed mutably.
        unsafe { self.value.as_mut() }
    }
}

impl<T: ?Sized, H> Drop for MappedLockGuard<'_, T, H> {
    #[inline]
    fn drop(&mut self) {
        self.raw.unlock();
    }
}

impl<T: ?Sized + fmt::Debug, H> fmt::Debug for MappedLockGuard<'_, T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// What may go from thread to thread.
const _: fn(&Lock<std::cell::Cell<u8>>) = |lock| {
    fn send<T: Send>(_: T) {}
    send(lock.lock_async());
    send(lock.try_lock_async());
};
