//! How much processor time a thread has used: the clock of any thread, read by any thread.
//!
//! The system names a thread's clock by a number that it makes of the thread's own, which it uses again once the thread
//! is gone. So a handle takes the number from the thread as it attaches, and a reading counts only if the thread had
//! not ended after it: then the clock was its own all the time.

#[cfg(all(target_os = "linux", not(any(quell_loom, quell_shuttle))))]
mod imp {
    use std::sync::atomic::AtomicI32;
    use std::sync::atomic::Ordering::Relaxed;
    use std::time::Duration;

    /// A thread's clock; 0 until the thread has attached. Of a thread, not a process, it is never 0.
    pub(in crate::thread) struct CpuClock(AtomicI32);

    impl CpuClock {
        pub(in crate::thread) const fn new() -> CpuClock {
            CpuClock(AtomicI32::new(0))
        }

        /// From now on, the current thread's.
        pub(in crate::thread) fn attach(&self) {
            let mut clock = 0;
            // SAFETY: the current thread exists, and the answer goes to a local.
            let failed =
                unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut clock) };
            if failed == 0 {
                // Relaxed: the number says all there is to know.
                self.0.store(clock, Relaxed);
            }
        }

        /// What the clock shows. The caller looks afterwards whether the thread has ended.
        pub(in crate::thread) fn read(&self) -> Option<Duration> {
            let clock = self.0.load(Relaxed);
            if clock == 0 {
                return None;
            }
            let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: a number that is no clock any more is an error; the answer goes to a local.
            let failed = unsafe { libc::clock_gettime(clock, &raw mut time) } != 0;
            let seconds = u64::try_from(time.tv_sec).ok()?;
            let nanos = u32::try_from(time.tv_nsec).ok()?;
            (!failed).then(|| Duration::new(seconds, nanos))
        }
    }
}

#[cfg(not(all(target_os = "linux", not(any(quell_loom, quell_shuttle)))))]
mod imp {
    use std::time::Duration;

    /// Systems that do not tell.
    pub(in crate::thread) struct CpuClock;

    impl CpuClock {
        pub(in crate::thread) const fn new() -> CpuClock {
            CpuClock
        }

        pub(in crate::thread) fn attach(&self) {}

        pub(in crate::thread) fn read(&self) -> Option<Duration> {
            None
        }
    }
}

pub(super) use imp::CpuClock;
