//! The lock for a few instructions: a list is changed, a counter read. Nothing blocks, calls out or drops a user's
//! value under it. It is not interruptible, because nobody holds it long enough to matter.
//!
//! [`RawShort`] is the lock alone, [`Short`] owns what it protects. Three forms:
//!
//! - On futexes: the three-state lock of Ulrich Drepper's *Futexes Are Tricky*. `FREE`, `HELD`, or `CROWDED` (held,
//!   and somebody may sleep). `unlock` calls the kernel only from `CROWDED`; who has slept takes the lock as
//!   `CROWDED`, because others may still sleep. A sleeper compares the word with `CROWDED` in the kernel, so an
//!   `unlock` in between is seen.
//! - Elsewhere: a spin that backs off to a sleep.
//! - In the models: the checker's own mutex, which keeps the protocols above it small enough to check. The futex
//!   form has a model of its own.

#[cfg(any(quell_loom, quell_shuttle))]
pub(crate) use self::modelled::RawShort;
#[cfg(all(not(quell_futex), not(any(quell_loom, quell_shuttle))))]
pub(crate) use self::spin::RawShort;
#[cfg(all(quell_futex, not(any(quell_loom, quell_shuttle))))]
pub(crate) use self::three_state::RawShort;
use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};

#[cfg(quell_futex)]
pub(crate) mod three_state {
    use crate::park::kernel::Futex;
    use crate::sys::atomic::Ordering::{Acquire, Relaxed, Release};

    const FREE: u32 = 0;
    const HELD: u32 = 1;
    const CROWDED: u32 = 2;

    /// How often to look before sleeping: the holder is a few instructions from done.
    const SPINS: u32 = if cfg!(any(quell_loom, quell_shuttle)) { 0 } else { 100 };

    /// The lock alone.
    pub(crate) struct RawShort {
        word: Futex,
    }

    impl RawShort {
        const_fn! {
            pub(crate) fn new() -> RawShort {
                RawShort { word: Futex::new(FREE) }
            }
        }

        #[inline]
        pub(crate) fn lock(&self) {
            // Acquire pairs with the Release of `unlock`: the last holder's writes are visible.
            if self.word.compare_exchange(FREE, HELD, Acquire, Relaxed).is_err() {
                self.lock_crowded();
            }
        }

        /// Takes it if nobody holds it.
        #[cfg(not(any(quell_loom, quell_shuttle)))]
        pub(crate) fn try_lock(&self) -> bool {
            self.word.compare_exchange(FREE, HELD, Acquire, Relaxed).is_ok()
        }

        #[cold]
        fn lock_crowded(&self) {
            for _ in 0..SPINS {
                if self.word.load(Relaxed) == FREE
                    && self.word.compare_exchange(FREE, HELD, Acquire, Relaxed).is_ok()
                {
                    return;
                }
                std::hint::spin_loop();
            }
            while self.word.swap(CROWDED, Acquire) != FREE {
                self.word.wait(CROWDED, None);
            }
        }

        #[inline]
        pub(crate) fn unlock(&self) {
            if self.word.swap(FREE, Release) == CROWDED {
                self.word.wake_one();
            }
        }

        /// Whether somebody holds it. Acquire: if not, the last holder's writes are visible.
        #[cfg(not(any(quell_loom, quell_shuttle)))]
        #[inline]
        pub(crate) fn is_locked(&self) -> bool {
            self.word.load(Acquire) != FREE
        }

        /// Free, whoever held it. After fork: the holder does not exist here, and nobody sleeps.
        #[cfg(not(any(quell_loom, quell_shuttle)))]
        pub(crate) fn reset(&self) {
            self.word.store(FREE, Release);
        }
    }
}

#[cfg(all(not(quell_futex), not(any(quell_loom, quell_shuttle))))]
mod spin {
    use crate::sys::atomic::AtomicBool;
    use crate::sys::atomic::Ordering::{Acquire, Relaxed, Release};

    /// The lock alone.
    pub(crate) struct RawShort {
        held: AtomicBool,
    }

    impl RawShort {
        const_fn! {
            pub(crate) fn new() -> RawShort {
                RawShort { held: AtomicBool::new(false) }
            }
        }

        #[inline]
        pub(crate) fn lock(&self) {
            let mut round = 0;
            // Acquire pairs with the Release of `unlock`: the last holder's writes are visible.
            while self.held.compare_exchange(false, true, Acquire, Relaxed).is_err() {
                back_off(&mut round);
            }
        }

        /// Takes it if nobody holds it.
        pub(crate) fn try_lock(&self) -> bool {
            self.held.compare_exchange(false, true, Acquire, Relaxed).is_ok()
        }

        #[inline]
        pub(crate) fn unlock(&self) {
            self.held.store(false, Release);
        }

        /// Whether somebody holds it. Acquire: if not, the last holder's writes are visible.
        #[inline]
        pub(crate) fn is_locked(&self) -> bool {
            self.held.load(Acquire)
        }

        /// Free, whoever held it.
        pub(crate) fn reset(&self) {
            self.held.store(false, Release);
        }
    }

    /// Looks again soon; after a while, sleeps, so that a holder of lower priority gets to run.
    fn back_off(round: &mut u32) {
        *round += 1;
        match *round {
            0..100 => std::hint::spin_loop(),
            100..200 => std::thread::yield_now(),
            _ => std::thread::sleep(std::time::Duration::from_micros(50)),
        }
    }
}

#[cfg(any(quell_loom, quell_shuttle))]
mod modelled {
    use crate::sys::{Mutex, MutexGuard};
    use std::cell::UnsafeCell;

    /// The lock alone.
    pub(crate) struct RawShort {
        mutex: Mutex<()>,
        guard: UnsafeCell<Option<MutexGuard<'static, ()>>>,
    }

    // SAFETY: `guard` is touched by the holder of `mutex` only.
    unsafe impl Send for RawShort {}
    // SAFETY: as above.
    unsafe impl Sync for RawShort {}

    impl RawShort {
        pub(crate) fn new() -> RawShort {
            RawShort { mutex: Mutex::new(()), guard: UnsafeCell::new(None) }
        }

        pub(crate) fn lock(&self) {
            self.keep(self.mutex.lock().unwrap());
        }

        /// Takes it if nobody holds it.
        pub(crate) fn try_lock(&self) -> bool {
            let taken = self.mutex.try_lock().map(|guard| self.keep(guard));
            taken.is_ok()
        }

        fn keep(&self, guard: MutexGuard<'_, ()>) {
            // SAFETY: `unlock` drops the guard while its caller still borrows `self`. We hold the mutex, so the
            // cell is ours.
            unsafe {
                let guard =
                    std::mem::transmute::<MutexGuard<'_, ()>, MutexGuard<'static, ()>>(guard);
                *self.guard.get() = Some(guard);
            }
        }

        pub(crate) fn unlock(&self) {
            // SAFETY: the caller holds the mutex, so the cell is ours.
            drop(unsafe { (*self.guard.get()).take() });
        }

        pub(crate) fn is_locked(&self) -> bool {
            self.mutex.try_lock().is_err()
        }

        pub(crate) fn reset(&self) {
            unreachable!("no model forks")
        }
    }
}

/// A value under a [`RawShort`].
pub(crate) struct Short<T> {
    raw: RawShort,
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives out the value to one thread at a time.
unsafe impl<T: Send> Send for Short<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Short<T> {}

impl<T> Short<T> {
    const_fn! {
        /// A free lock around `value`.
        pub(crate) fn new(value: T) -> Short<T> {
            Short { raw: RawShort::new(), value: UnsafeCell::new(value) }
        }
    }

    /// Takes the lock.
    #[inline]
    pub(crate) fn lock(&self) -> ShortGuard<'_, T> {
        self.raw.lock();
        ShortGuard { short: self }
    }

    /// Takes the lock if nobody has it.
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(crate) fn try_lock(&self) -> Option<ShortGuard<'_, T>> {
        self.raw.try_lock().then(|| ShortGuard { short: self })
    }

    /// The guard that was forgotten, for fork.
    ///
    /// # Safety
    /// The calling thread, or the one that it is a copy of, has forgotten a guard, and nobody has resumed it.
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(crate) unsafe fn resume(&self) -> ShortGuard<'_, T> {
        ShortGuard { short: self }
    }

    /// The lock itself, for fork.
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(crate) fn raw(&self) -> &RawShort {
        &self.raw
    }

    /// The value, for fork.
    ///
    /// # Safety
    /// The caller holds the raw lock.
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(crate) unsafe fn held(&self) -> &T {
        // SAFETY: as the caller promises.
        unsafe { &*self.value.get() }
    }
}

/// The right to the value.
pub(crate) struct ShortGuard<'a, T> {
    short: &'a Short<T>,
}

impl<T> Deref for ShortGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard exists only while its thread holds the lock.
        unsafe { &*self.short.value.get() }
    }
}

impl<T> DerefMut for ShortGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the guard is borrowed mutably.
        unsafe { &mut *self.short.value.get() }
    }
}

impl<T> Drop for ShortGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.short.raw.unlock();
    }
}
