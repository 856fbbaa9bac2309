//! What a condition needs of a guard: to release its lock, and to take it again.

use super::lock::LockGuard;
use super::rlock::{RLockGuard, WholeRLock};
use super::{RawLock, RawRLock};
use crate::wait::Wait;

/// A guard that a [`Condition`](crate::Condition) can wait with: [`LockGuard`], [`RLockGuard`], [`WholeRLock`].
pub trait Guard: Sealed {}

impl<G: Sealed> Guard for G {}

/// Implemented here only.
pub trait Sealed {
    /// Before anything is done.
    #[doc(hidden)]
    fn check(&self) {}

    /// Releases the lock, and says how often it had been taken.
    #[doc(hidden)]
    fn release(&mut self) -> u32;

    /// Takes it as often again. Waits as long as it takes; no interruption point.
    #[doc(hidden)]
    #[track_caller]
    fn reacquire(&mut self, depth: u32);

    /// The lock in whose queue a thread waits to take it again, and what it is part of.
    #[doc(hidden)]
    fn parts<'l>(&self) -> (&'l RawLock, Option<&'l RawRLock>)
    where
        Self: 'l;
}

impl<T: ?Sized> Sealed for LockGuard<'_, T> {
    fn release(&mut self) -> u32 {
        self.lock().raw().unlock();
        1
    }

    #[track_caller]
    fn reacquire(&mut self, _depth: u32) {
        let raw: &RawLock = self.lock().raw();
        raw.lock_uninterruptible();
    }

    fn parts<'l>(&self) -> (&'l RawLock, Option<&'l RawRLock>)
    where
        Self: 'l,
    {
        (self.lock().raw(), None)
    }
}

impl<T: ?Sized> Sealed for RLockGuard<'_, T> {
    fn check(&self) {
        assert!(
            self.raw().depth() == 1,
            "thread {} has other guards of the lock it would release: see RLockGuard::whole",
            crate::current()
        );
    }

    fn release(&mut self) -> u32 {
        release(self.raw())
    }

    #[track_caller]
    fn reacquire(&mut self, depth: u32) {
        reacquire(self.raw(), depth);
    }

    fn parts<'l>(&self) -> (&'l RawLock, Option<&'l RawRLock>)
    where
        Self: 'l,
    {
        (self.raw().raw(), Some(self.raw()))
    }
}

impl<T: ?Sized + Sync> Sealed for WholeRLock<'_, T> {
    fn release(&mut self) -> u32 {
        release(self.raw())
    }

    #[track_caller]
    fn reacquire(&mut self, depth: u32) {
        reacquire(self.raw(), depth);
    }

    fn parts<'l>(&self) -> (&'l RawLock, Option<&'l RawRLock>)
    where
        Self: 'l,
    {
        (self.raw().raw(), Some(self.raw()))
    }
}

fn release(raw: &RawRLock) -> u32 {
    raw.release_save().expect("who has a guard owns the lock")
}

#[track_caller]
fn reacquire(raw: &RawRLock, depth: u32) {
    let waited = raw.acquire_restore(depth, &Wait::new().shielded());
    debug_assert!(waited.is_ok(), "nothing else ends this wait");
}
