//! The way by which a signal reaches a thread, and what its handler needs to find there.

#[cfg(quell_calls)]
mod imp {
    use crate::syscall::Calls;
    use crate::syscall::signal;
    use std::ptr;
    use std::sync::atomic::Ordering::Relaxed;
    use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32};

    thread_local! {
        /// The current thread's calls, while it is in one that is registered. For the handler; a constant without a
        /// destructor, so that reading it is a load.
        static CURRENT: AtomicPtr<Calls> = const { AtomicPtr::new(ptr::null_mut()) };
    }

    /// One thread's line. Its handler runs on the thread itself, so Relaxed is enough wherever only the two meet.
    pub(in crate::syscall) struct Line {
        process: AtomicI32,
        /// The system's number of the thread; 0: it has made no call that can be ended.
        thread: AtomicI32,
        /// How many of the signals into this call the handler has seen.
        handled: AtomicU32,
        /// The stub's: the thread is in it, or in a handler on top of it.
        inside: AtomicU32,
    }

    impl Line {
        pub(in crate::syscall) const fn new() -> Line {
            Line {
                process: AtomicI32::new(0),
                thread: AtomicI32::new(0),
                handled: AtomicU32::new(0),
                inside: AtomicU32::new(0),
            }
        }

        /// Whether the owner can be signalled.
        #[inline]
        pub(in crate::syscall) fn is_open(&self) -> bool {
            self.thread.load(Relaxed) != 0
        }

        /// Owner: from now on it can be signalled.
        pub(in crate::syscall) fn open(&self) {
            // SAFETY: neither call can fail.
            let (process, thread) = unsafe { (libc::getpid(), libc::syscall(libc::SYS_gettid)) };
            // Relaxed: published by the owner's registration of a call.
            self.process.store(process, Relaxed);
            self.thread.store(thread as i32, Relaxed);
            signal::unblock();
        }

        #[inline]
        pub(in crate::syscall) fn enter(&self, calls: &Calls) {
            CURRENT.with(|c| c.store(ptr::from_ref(calls).cast_mut(), Relaxed));
        }

        #[inline]
        pub(in crate::syscall) fn leave(&self) {
            CURRENT.with(|c| c.store(ptr::null_mut(), Relaxed));
        }

        /// Any thread: sends the signal. The owner is in a registered call, and is not let out. False: the system had no
        /// room for it.
        pub(in crate::syscall) fn signal(&self) -> bool {
            signal::send(self.process.load(Relaxed), self.thread.load(Relaxed))
        }

        /// Owner: sees to it that none of the `sent` signals is still on its way. They are with the kernel, which runs
        /// the handler before it returns from any system call.
        pub(in crate::syscall) fn flush(&self, sent: u32) {
            if self.handled.load(Relaxed) < sent {
                // A call, and against a signal that was blocked from underneath.
                signal::unblock();
            }
            signal::landed(sent);
            self.handled.store(0, Relaxed);
        }

        pub(in crate::syscall) fn inside(&self) -> &AtomicU32 {
            &self.inside
        }

        /// Handler: one signal has arrived.
        pub(in crate::syscall) fn count_handled(&self) {
            self.handled.fetch_add(1, Relaxed);
        }

        /// In the child of a fork, for the thread that is there, which has a new number.
        pub(in crate::syscall) fn keep_after_fork(&self) {
            if self.is_open() {
                self.handled.store(0, Relaxed);
                self.open();
            }
        }
    }

    /// Handler: the calls of the thread it runs on, if it is in a registered one.
    pub(in crate::syscall) fn current<'a>() -> Option<&'a Calls> {
        // A thread that is past its thread-locals is in no call.
        let calls = CURRENT.try_with(|c| c.load(Relaxed)).unwrap_or(ptr::null_mut());
        // SAFETY: null, or the calls of a thread that is between `enter` and `leave`, which keeps its own handle.
        unsafe { calls.as_ref() }
    }
}

#[cfg(any(quell_loom, quell_shuttle))]
#[path = "line_model.rs"]
mod imp;

/// Systems without calls that can be ended.
#[cfg(not(any(quell_calls, quell_loom, quell_shuttle)))]
mod imp {
    use crate::syscall::Calls;

    pub(in crate::syscall) struct Line;

    impl Line {
        pub(in crate::syscall) const fn new() -> Line {
            Line
        }

        pub(in crate::syscall) fn enter(&self, _calls: &Calls) {}

        pub(in crate::syscall) fn leave(&self) {}

        pub(in crate::syscall) fn signal(&self) -> bool {
            false
        }

        pub(in crate::syscall) fn flush(&self, _sent: u32) {}

        pub(in crate::syscall) fn keep_after_fork(&self) {}
    }
}

pub(super) use imp::*;
