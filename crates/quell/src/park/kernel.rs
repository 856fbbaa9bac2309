//! The futex system calls, and what stands for them in the models. Only `park` may use this.

use crate::sys::atomic::AtomicU32;
use std::ops::Deref;

/// A word that threads can sleep on.
pub(super) struct Futex {
    word: AtomicU32,
    #[cfg(any(quell_loom, quell_shuttle))]
    kernel: model::Kernel,
}

impl Deref for Futex {
    type Target = AtomicU32;

    fn deref(&self) -> &AtomicU32 {
        &self.word
    }
}

#[cfg(not(any(quell_loom, quell_shuttle)))]
mod linux {
    use super::Futex;
    use crate::park::Parked;
    use std::sync::atomic::AtomicU32;
    use std::time::{Duration, Instant};

    impl Futex {
        pub(in crate::park) const fn new(value: u32) -> Futex {
            Futex { word: AtomicU32::new(value) }
        }

        /// Sleeps while the word is `expected`. Comes back at any time.
        pub(in crate::park) fn wait(&self, expected: u32, deadline: Option<Instant>) -> Parked {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                // The kernel would say the same, and take longer.
                return Parked::TimedOut;
            }
            let until = timespec(left);
            // SAFETY: the word is a live, aligned u32 and `until` a valid timespec; the kernel only reads both. The
            // fifth argument is unused by this operation.
            let answer = unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    self.word.as_ptr(),
                    libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG,
                    expected,
                    &raw const until,
                    std::ptr::null::<u32>(),
                    libc::FUTEX_BITSET_MATCH_ANY,
                )
            };
            if answer == 0 {
                return Parked::Woken;
            }
            match std::io::Error::last_os_error().raw_os_error() {
                // The kernel's clock can be a tick ahead of the one `deadline` was read from.
                Some(libc::ETIMEDOUT) if deadline.is_some_and(|at| Instant::now() >= at) => {
                    Parked::TimedOut
                }
                Some(libc::EINTR) => Parked::Signalled,
                // EAGAIN: the word was not `expected`.
                _ => Parked::Woken,
            }
        }

        /// Wakes one sleeper, if there is one. The word itself is not touched: it may be gone already.
        pub(in crate::park) fn wake_one(&self) {
            // SAFETY: FUTEX_WAKE uses the address as a key only.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    self.word.as_ptr(),
                    libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                    1,
                );
            }
        }
    }

    /// The deadline, so far from now, on the monotonic clock. There always is one, far in the future if need be: a
    /// wait without one is silently restarted by the kernel after a signal handler that was installed with
    /// SA_RESTART; a wait with one reports EINTR.
    fn timespec(left: Option<Duration>) -> libc::timespec {
        const NEVER: libc::timespec = libc::timespec { tv_sec: 1 << 40, tv_nsec: 0 };
        // Read after what is left was computed: time that passed in between makes the answer late, never early.
        let Some(left) = left else { return NEVER };
        let mut at = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `at` is a valid place for a timespec. CLOCK_MONOTONIC always exists.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut at) };
        let nanos = at.tv_nsec + libc::c_long::from(left.subsec_nanos());
        at.tv_nsec = nanos % 1_000_000_000;
        match i64::try_from(left.as_secs()) {
            Ok(seconds) if seconds < NEVER.tv_sec => {
                at.tv_sec += seconds + nanos / 1_000_000_000;
                at
            }
            _ => NEVER,
        }
    }
}

/// The kernel's part, for loom and shuttle: the comparison and the sleep are one step under a lock, as in the kernel.
/// A model has no clock and no signals; `expire` and `signal` are their stand-ins, called by a thread that competes.
#[cfg(any(quell_loom, quell_shuttle))]
mod model {
    use super::Futex;
    use crate::park::Parked;
    use crate::sys::atomic::{AtomicU32, Ordering::Relaxed};
    use crate::sys::{Condvar, Mutex};
    use std::time::Instant;

    pub(super) struct Kernel {
        state: Mutex<State>,
        sleepers: Condvar,
    }

    #[derive(Default)]
    struct State {
        expired: bool,
        signalled: bool,
        asleep: bool,
    }

    impl Futex {
        pub(in crate::park) fn new(value: u32) -> Futex {
            let kernel = Kernel { state: Mutex::default(), sleepers: Condvar::new() };
            Futex { word: AtomicU32::new(value), kernel }
        }

        pub(in crate::park) fn wait(&self, expected: u32, deadline: Option<Instant>) -> Parked {
            let mut state = self.kernel.state.lock().unwrap();
            // Relaxed: the kernel's own lock orders this, as it does in Linux.
            if self.word.load(Relaxed) != expected {
                return Parked::Woken;
            }
            if deadline.is_none() || !state.expired {
                state.asleep = true;
                state = self.kernel.sleepers.wait(state).unwrap();
                state.asleep = false;
            }
            if std::mem::take(&mut state.signalled) {
                Parked::Signalled
            } else if deadline.is_some() && state.expired {
                Parked::TimedOut
            } else {
                Parked::Woken
            }
        }

        pub(in crate::park) fn wake_one(&self) {
            let _state = self.kernel.state.lock().unwrap();
            self.kernel.sleepers.notify_one();
        }

        pub(in crate::park) fn expire(&self) {
            self.kernel.state.lock().unwrap().expired = true;
            self.kernel.sleepers.notify_all();
        }

        pub(in crate::park) fn signal(&self) {
            let mut state = self.kernel.state.lock().unwrap();
            // As in Linux: a handler that runs while the thread is awake ends no sleep.
            state.signalled = state.asleep;
            self.kernel.sleepers.notify_all();
        }
    }
}
