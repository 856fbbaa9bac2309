//! The lock of the queues: a few instructions are done under it, very often, by several threads.
//!
//! Under contention a lock that passes from core to core with each operation spends its time on moving cache lines.
//! This one lets its holder come back: freeing it is a plain store that tells nobody, and who finds it held stays away
//! for a while, so that one thread does a burst of operations before the next. How long that is, the owner says: longer than
//! such a burst can be, staying away is time lost. Who stayed away for long naps, so that a holder of lower priority, or one
//! that the scheduler has stopped, gets to run. It is not interruptible, because nobody holds it long enough to matter.
//!
//! In the models it is the checker's own mutex, as [`Short`](super::Short) is.

use std::ops::{Deref, DerefMut};

#[cfg(any(quell_loom, quell_shuttle))]
use modelled::RawBurst;
#[cfg(not(any(quell_loom, quell_shuttle)))]
use real::RawBurst;
use std::cell::UnsafeCell;

#[cfg(not(any(quell_loom, quell_shuttle)))]
mod real {
    use crate::sys::atomic::Ordering::{Acquire, Relaxed, Release};
    use crate::sys::atomic::{AtomicBool, AtomicU32};
    use std::time::Duration;

    /// The lock alone.
    pub(super) struct RawBurst {
        held: AtomicBool,
        /// How long to stay away, in pauses of the processor. Relaxed: a hint.
        burst: AtomicU32,
    }

    impl RawBurst {
        pub(super) const fn new(burst: u32) -> RawBurst {
            RawBurst { held: AtomicBool::new(false), burst: AtomicU32::new(burst) }
        }

        pub(super) fn set_burst(&self, burst: u32) {
            self.burst.store(burst, Relaxed);
        }

        #[inline(always)]
        pub(super) fn lock(&self) {
            // Acquire pairs with the Release of `unlock`: the last holder's writes are visible.
            if self.held.compare_exchange(false, true, Acquire, Relaxed).is_err() {
                self.lock_crowded();
            }
        }

        pub(super) fn try_lock(&self) -> bool {
            self.held.compare_exchange(false, true, Acquire, Relaxed).is_ok()
        }

        #[cold]
        #[inline(never)]
        fn lock_crowded(&self) {
            let (mut round, burst) = (0, self.burst.load(Relaxed));
            loop {
                back_off(round, burst);
                round += 1;
                // Looked at first: a load leaves the cache line with the holder.
                if !self.held.load(Relaxed)
                    && self.held.compare_exchange(false, true, Acquire, Relaxed).is_ok()
                {
                    return;
                }
            }
        }

        #[inline(always)]
        pub(super) fn unlock(&self) {
            self.held.store(false, Release);
        }
    }

    /// Stays away: for a moment, then for as long as a burst of operations takes, and again, then longer.
    fn back_off(round: u32, burst: u32) {
        // A short burst is looked at more often; together, it is as long.
        let rounds = (256 / burst.max(1)).clamp(4, 12);
        match round {
            0 => (0..4).for_each(|_| std::hint::spin_loop()),
            _ if round < rounds => (0..burst).for_each(|_| std::hint::spin_loop()),
            _ if round < rounds + 4 => std::thread::yield_now(),
            _ => std::thread::sleep(Duration::from_micros(50)),
        }
    }
}

#[cfg(any(quell_loom, quell_shuttle))]
mod modelled {
    use crate::park::RawShort;

    /// The lock alone. Nobody stays away.
    pub(super) struct RawBurst {
        raw: RawShort,
        /// Stands for the value: loom checks that its uses, with the lock and without, come one after the other.
        #[cfg(quell_loom)]
        value: loom::cell::UnsafeCell<()>,
    }

    impl RawBurst {
        pub(super) fn new(_burst: u32) -> RawBurst {
            RawBurst {
                raw: RawShort::new(),
                #[cfg(quell_loom)]
                value: loom::cell::UnsafeCell::new(()),
            }
        }

        pub(super) fn set_burst(&self, _burst: u32) {}

        pub(super) fn lock(&self) {
            self.raw.lock();
            self.use_value();
        }

        pub(super) fn unlock(&self) {
            self.use_value();
            self.raw.unlock();
        }

        /// The value is used now.
        pub(super) fn use_value(&self) {
            #[cfg(quell_loom)]
            self.value.with_mut(|_| ());
        }
    }
}

/// A value under this lock.
pub(crate) struct Burst<T> {
    raw: RawBurst,
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives out the value to one thread at a time.
unsafe impl<T: Send> Send for Burst<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Burst<T> {}

impl<T> Burst<T> {
    const_fn! {
        /// A free lock around `value`. Who finds it held stays away for `burst` pauses of the processor at a time.
        pub(crate) fn new(value: T, burst: u32) -> Burst<T> {
            Burst { raw: RawBurst::new(burst), value: UnsafeCell::new(value) }
        }
    }

    /// Changes how long to stay away.
    pub(crate) fn set_burst(&self, burst: u32) {
        self.raw.set_burst(burst);
    }

    /// Takes the lock.
    #[inline(always)]
    pub(crate) fn lock(&self) -> BurstGuard<'_, T> {
        self.raw.lock();
        BurstGuard { burst: self }
    }

    /// The value, without the lock.
    ///
    /// # Safety
    /// No other thread takes the lock, or has it, as long as the value is used; and this thread has no guard.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "as a guard would be, for whoever is alone")]
    pub(crate) unsafe fn alone(&self) -> &mut T {
        #[cfg(any(quell_loom, quell_shuttle))]
        self.raw.use_value();
        // SAFETY: as the caller promises.
        unsafe { &mut *self.value.get() }
    }

    /// Takes the lock if it is free. For fork, after which it may be held by nobody.
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(crate) fn try_lock(&self) -> Option<BurstGuard<'_, T>> {
        self.raw.try_lock().then(|| BurstGuard { burst: self })
    }

    /// Frees the lock, for fork.
    ///
    /// # Safety
    /// The calling thread holds it, by a guard that was forgotten.
    pub(crate) unsafe fn release(&self) {
        self.raw.unlock();
    }
}

/// The right to the value.
pub(crate) struct BurstGuard<'a, T> {
    burst: &'a Burst<T>,
}

impl<T> Deref for BurstGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the guard exists only while its thread holds the lock.
        unsafe { &*self.burst.value.get() }
    }
}

impl<T> DerefMut for BurstGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the guard is borrowed mutably.
        unsafe { &mut *self.burst.value.get() }
    }
}

impl<T> Drop for BurstGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.burst.raw.unlock();
    }
}
