//! The C library's semaphores, waited for so that an interrupt ends it.
//!
//! CPython's locks are semaphores on Linux, those of `multiprocessing` as well. `sem_wait` cannot be told to give up, so its
//! part is taken here, by the rules of glibc (2.21 and later, 64 bits), which programs of different ages in one shared
//! semaphore have to keep:
//!
//! - one word of 64 bits: the lower half is the value, the upper the number of those who wait;
//! - who waits counts itself, and sleeps on the lower half while it is 0;
//! - who takes lowers the value by one, and takes itself out of the count in the same step;
//! - who posts raises the value, and wakes one if anybody is counted.
//!
//! No wake-up is lost: who is woken finds a value and takes it, or finds that somebody was faster, who used it. One who gives up
//! without sleeping, or by time or by interrupt, has not been woken, for then the system says so; the caller still tries once
//! more before it leaves.

use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{AtomicU32, AtomicU64};

use quell::{CallError, Wait, syscall};

const WAITER: u64 = 1 << 32;

/// Whether semaphores are what this says.
pub(super) const KNOWN: bool =
    cfg!(all(target_env = "gnu", target_pointer_width = "64", target_endian = "little"));

/// A semaphore of the C library. It is alive as long as this is used.
#[derive(Clone, Copy)]
pub(super) struct Semaphore(*const Raw);

#[repr(C)]
struct Raw {
    word: AtomicU64,
    /// 0: of this process; else, shared with others.
    shared: i32,
}

// SAFETY: what is behind it is made to be used by several threads.
unsafe impl Send for Semaphore {}
// SAFETY: as above.
unsafe impl Sync for Semaphore {}

impl Semaphore {
    /// # Safety
    /// A `sem_t`, alive as long as this is used.
    pub(super) unsafe fn at(place: *const libc::sem_t) -> Semaphore {
        Semaphore(place.cast())
    }

    fn raw(&self) -> &Raw {
        // SAFETY: the promise of `at`. Aligned as a sem_t.
        unsafe { &*self.0 }
    }

    /// Takes one if there is one.
    pub(super) fn try_take(&self) -> bool {
        self.take(1)
    }

    /// Takes one if there is one, and with it whatever else `amount` says off the word.
    fn take(&self, amount: u64) -> bool {
        let word = &self.raw().word;
        let step = |seen: u64| (seen as u32 != 0).then(|| seen.wrapping_sub(amount));
        // Acquire: what the one who posted did before is seen. Relaxed for a failure: nothing was taken.
        word.fetch_update(Acquire, Relaxed, step).is_ok()
    }

    /// Waits for one and takes it. An interruption point.
    pub(super) fn wait(&self, wait: &Wait) -> Result<(), CallError> {
        let raw = self.raw();
        // SAFETY: the lower half of the word, which comes first.
        let value = unsafe { AtomicU32::from_ptr(raw.word.as_ptr().cast()) };
        // Relaxed: all is one word, and its changes have one order. Who posts after this sees the count; a value that was posted
        // before it is seen below, or by the system, which compares when it has put the thread to sleep.
        raw.word.fetch_add(WAITER, Relaxed);
        loop {
            if self.take(WAITER + 1) {
                return Ok(());
            }
            if let Err(error) = syscall::futex_wait(value, 0, raw.shared != 0, wait) {
                raw.word.fetch_sub(WAITER, Relaxed);
                return Err(error);
            }
        }
    }
}

/// Whether a semaphore of this C library behaves as the module says, as far as one thread can see.
pub(super) fn verify() -> bool {
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
        let semaphore = Semaphore::at(at);
        let empty = semaphore.raw().word.load(Relaxed) == 0 && !semaphore.try_take();
        libc::sem_post(at);
        libc::sem_post(at);
        let two = semaphore.raw().word.load(Relaxed) == 2 && semaphore.try_take();
        let one = libc::sem_trywait(at) == 0 && libc::sem_trywait(at) != 0;
        libc::sem_destroy(at);
        empty && two && one
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A semaphore that lives for ever, and the same by the C library.
    fn semaphore(value: u32) -> (Semaphore, *mut libc::sem_t) {
        // SAFETY: memory of the right size, initialised by the library; leaked.
        unsafe {
            let place = Box::into_raw(Box::new(std::mem::zeroed::<libc::sem_t>()));
            assert_eq!(libc::sem_init(place, 0, value), 0);
            (Semaphore::at(place), place)
        }
    }

    #[test]
    fn it_is_what_the_c_library_makes() {
        assert!(verify());
    }

    #[test]
    fn a_wait_that_gives_up_leaves_the_semaphore_as_it_was() {
        let (semaphore, place) = semaphore(0);
        let late = semaphore.wait(&Wait::new().timeout(Duration::from_millis(1)));
        assert!(matches!(late, Err(CallError::TimedOut)));
        assert_eq!(semaphore.raw().word.load(Relaxed), 0);
        // SAFETY: a live semaphore.
        assert_eq!(unsafe { libc::sem_post(place) }, 0);
        assert!(semaphore.wait(&Wait::new()).is_ok());
        assert_eq!(semaphore.raw().word.load(Relaxed), 0);
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
                quell::thread::spawn(move || {
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
                    target.interrupt(quell::Interrupt::new("again"));
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
        assert_eq!(semaphore.raw().word.load(Relaxed), 2, "two permits, nobody waiting");
    }
}
