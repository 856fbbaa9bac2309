//! The C library's semaphores, waited for so that an interrupt ends it.
//!
//! `sem_wait` cannot be told to give up, so its part is taken here, by the rules of glibc (2.21 and later, 64 bits), which
//! programs of different ages that share a semaphore have to keep:
//!
//! - one word of 64 bits: the lower half is the value, the upper the number of those who wait;
//! - who waits counts itself, and sleeps on the lower half while it is 0;
//! - who takes lowers the value by one, and takes itself out of the count in the same step;
//! - who posts raises the value, and then wakes one sleeper if anybody was counted.
//!
//! | word (value, waiters) | step | by |
//! | --- | --- | --- |
//! | (v, n) → (v, n + 1) | counts itself | who is about to wait |
//! | (v, n) → (v - 1, n - 1), v > 0 | takes | who waits |
//! | (v, n) → (v - 1, n), v > 0 | takes | who does not wait |
//! | (v, n) → (v, n - 1) | gives up | who waits |
//! | (v, n) → (v + 1, n) | posts, and wakes one if n > 0 | anybody |
//!
//! **No wake-up is lost.** All of it is one word, so its changes have one order. Who posts after a waiter has counted itself sees
//! the count and wakes; who posted before has left a value, which the waiter sees when it looks, or the system when it compares,
//! which it does with the thread already in line. Who is woken finds a value and takes it, or finds that somebody was faster, who
//! used it. One who gives up, by time or by interrupt, has not been woken, for then the system says so, and it looks again
//! before anything else can end its wait.

use crate::sys::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

#[cfg(quell_calls)]
pub use shared::CSemaphore;

const WAITER: u64 = 1 << 32;

/// Takes one if there is one, and with it whatever else `amount` says off the word.
fn take(word: &AtomicU64, amount: u64) -> bool {
    let step = |seen: u64| (seen as u32 != 0).then(|| seen.wrapping_sub(amount));
    // Acquire: what the one who posted did before is seen. Relaxed for a failure: nothing was taken.
    word.fetch_update(Acquire, Relaxed, step).is_ok()
}

/// Takes one if there is one.
pub(crate) fn try_take(word: &AtomicU64) -> bool {
    take(word, 1)
}

/// Takes one, and until there is one, sleeps: while the lower half of the word is 0, and until somebody wakes.
pub(crate) fn wait<E>(word: &AtomicU64, mut sleep: impl FnMut() -> Result<(), E>) -> Result<(), E> {
    // Relaxed: see the module; nothing but the word itself is told by it.
    word.fetch_add(WAITER, Relaxed);
    loop {
        if take(word, WAITER + 1) {
            return Ok(());
        }
        if let Err(error) = sleep() {
            word.fetch_sub(WAITER, Relaxed);
            return Err(error);
        }
    }
}

#[cfg(quell_calls)]
mod shared {
    use super::super::{CallError, futex_wait};
    use crate::wait::Wait;
    use std::sync::atomic::Ordering::Relaxed;
    use std::sync::atomic::{AtomicU32, AtomicU64};

    /// A semaphore of the C library, `sem_t`, that somebody else has made: CPython's locks are such, those of
    /// `multiprocessing`, and what C programs share. Waited for here it can be interrupted; others may wait for it and post it
    /// by the C library's own functions at the same time, in this process or, if it is shared, in another.
    ///
    /// ```
    /// use quell::syscall::CSemaphore;
    /// use quell::{CallError, Interrupt, Wait, thread};
    ///
    /// # if !CSemaphore::is_known() { return; }
    /// // SAFETY: memory for one, which stays, and is made a semaphore with nothing in it.
    /// let semaphore = unsafe {
    ///     let place: *mut libc::sem_t = Box::leak(Box::new(std::mem::zeroed()));
    ///     libc::sem_init(place, 0, 0);
    ///     CSemaphore::at(place)
    /// };
    /// let waits = thread::spawn(move || semaphore.wait(&Wait::new()));
    /// waits.thread().interrupt(Interrupt::new("enough"));
    /// assert!(matches!(waits.join().unwrap(), Err(CallError::Interrupted(_))));
    /// ```
    #[derive(Clone, Copy, Debug)]
    pub struct CSemaphore(*const Raw);

    #[repr(C)]
    struct Raw {
        word: AtomicU64,
        /// 0: of this process; else, shared with others.
        shared: i32,
    }

    // SAFETY: what is behind it is made to be used by several threads.
    unsafe impl Send for CSemaphore {}
    // SAFETY: as above.
    unsafe impl Sync for CSemaphore {}

    impl CSemaphore {
        /// The semaphore at a place.
        ///
        /// # Safety
        /// A `sem_t` that was initialised, and is not destroyed as long as this is used; and [`is_known`](Self::is_known).
        #[must_use]
        pub unsafe fn at(place: *const libc::sem_t) -> CSemaphore {
            CSemaphore(place.cast())
        }

        /// Whether the semaphores of this C library are what is assumed of them: those of glibc on 64 bits. Tried out on one made
        /// for it, as far as one thread can see.
        #[must_use]
        pub fn is_known() -> bool {
            const KNOWN: bool = cfg!(all(
                target_env = "gnu",
                target_pointer_width = "64",
                target_endian = "little"
            ));
            if !KNOWN {
                return false;
            }
            // SAFETY: a semaphore of our own, in memory of our own, that is used by this thread alone.
            unsafe {
                let mut place: libc::sem_t = std::mem::zeroed();
                let at = &raw mut place;
                if libc::sem_init(at, 0, 0) != 0 {
                    return false;
                }
                let semaphore = CSemaphore::at(at);
                let empty = semaphore.word().load(Relaxed) == 0 && !semaphore.try_take();
                libc::sem_post(at);
                libc::sem_post(at);
                let two = semaphore.word().load(Relaxed) == 2 && semaphore.try_take();
                let one = libc::sem_trywait(at) == 0 && libc::sem_trywait(at) != 0;
                libc::sem_destroy(at);
                empty && two && one
            }
        }

        fn raw(&self) -> &Raw {
            // SAFETY: the promise of `at`. Aligned as a sem_t.
            unsafe { &*self.0 }
        }

        pub(super) fn word(&self) -> &AtomicU64 {
            &self.raw().word
        }

        /// Takes one if there is one, as `sem_trywait(3)`.
        #[must_use = "whether it has taken one"]
        pub fn try_take(&self) -> bool {
            super::try_take(self.word())
        }

        /// Waits for one and takes it, as `sem_wait(3)`. An interruption point. Interrupted or timed out it has taken nothing.
        ///
        /// # Errors
        /// As [`call`](super::super::call()).
        pub fn wait(&self, wait: &Wait) -> Result<(), CallError> {
            let raw = self.raw();
            // SAFETY: the lower half of the word, which comes first.
            let value = unsafe { AtomicU32::from_ptr(raw.word.as_ptr().cast()) };
            super::wait(&raw.word, || futex_wait(value, 0, raw.shared != 0, wait).map(drop))
        }
    }
}

#[cfg(all(test, quell_calls))]
mod tests {
    use super::*;
    use crate::{CallError, Interrupt, Wait};
    use std::time::Duration;

    /// A semaphore that lives for ever, and the same by the C library.
    fn semaphore(value: u32) -> (CSemaphore, *mut libc::sem_t) {
        // SAFETY: memory of the right size, initialised by the library; leaked.
        unsafe {
            let place = Box::into_raw(Box::new(std::mem::zeroed::<libc::sem_t>()));
            assert_eq!(libc::sem_init(place, 0, value), 0);
            (CSemaphore::at(place), place)
        }
    }

    #[test]
    fn it_is_what_the_c_library_makes() {
        assert!(CSemaphore::is_known());
    }

    #[test]
    fn a_wait_that_gives_up_leaves_the_semaphore_as_it_was() {
        let (semaphore, place) = semaphore(0);
        let late = semaphore.wait(&Wait::new().timeout(Duration::from_millis(1)));
        assert!(matches!(late, Err(CallError::TimedOut)));
        assert_eq!(semaphore.word().load(Relaxed), 0);
        // SAFETY: a live semaphore.
        assert_eq!(unsafe { libc::sem_post(place) }, 0);
        assert!(semaphore.wait(&Wait::new()).is_ok());
        assert_eq!(semaphore.word().load(Relaxed), 0);
    }

    /// Threads that wait through here and threads that wait through the library, interrupted at random: the permits that were
    /// posted are all found again, and nobody sleeps while there is one.
    #[test]
    fn permits_are_neither_lost_nor_made_among_waiters_of_both_kinds() {
        use std::sync::atomic::{AtomicBool, AtomicUsize};
        static STOP: AtomicBool = AtomicBool::new(false);
        static OURS: AtomicUsize = AtomicUsize::new(0);
        static THEIRS: AtomicUsize = AtomicUsize::new(0);
        const ROUNDS: usize = 20_000;
        let (semaphore, place) = semaphore(2);
        let place = place as usize;
        let post = move || {
            // SAFETY: a live semaphore.
            assert_eq!(unsafe { libc::sem_post(place as *mut libc::sem_t) }, 0);
        };
        let ours: Vec<_> = (0..3)
            .map(|_| {
                crate::thread::spawn(move || {
                    while OURS.load(Relaxed) < ROUNDS {
                        match semaphore.wait(&Wait::new()) {
                            Ok(()) => {
                                OURS.fetch_add(1, Relaxed);
                                post();
                            }
                            Err(CallError::Interrupted(_)) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            })
            .collect();
        let theirs: Vec<_> = (0..2)
            .map(|_| {
                std::thread::spawn(move || {
                    // At least once, however late it comes.
                    while OURS.load(Relaxed) < ROUNDS || THEIRS.load(Relaxed) == 0 {
                        // SAFETY: a live semaphore.
                        while unsafe { libc::sem_wait(place as *mut libc::sem_t) } != 0 {}
                        THEIRS.fetch_add(1, Relaxed);
                        post();
                    }
                })
            })
            .collect();
        let targets: Vec<_> = ours.iter().map(|t| t.thread().clone()).collect();
        let sender = std::thread::spawn(move || {
            while !STOP.load(Relaxed) {
                for target in &targets {
                    target.interrupt(Interrupt::new("again"));
                    std::thread::yield_now();
                }
            }
        });
        for thread in ours {
            thread.join().unwrap();
        }
        for thread in theirs {
            thread.join().unwrap();
        }
        STOP.store(true, Relaxed);
        sender.join().unwrap();
        assert!(THEIRS.load(Relaxed) > 0);
        assert_eq!(semaphore.word().load(Relaxed), 2, "two permits, nobody waiting");
    }
}
