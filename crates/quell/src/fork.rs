//! Fork. The child has one thread, the one that called `fork`, and a copy of memory as it was at that moment.
//!
//! quell's own state is held by handlers of `pthread_atfork` while the copy is made (the registry, every slot, the
//! monitor's heap), so the child finds it whole. There, every other thread counts as ended, and what was pending
//! for it as *target exited*. The forking thread keeps its handle, id, masks and pending interrupts, and becomes
//! the main thread.
//!
//! What quell cannot see are the primitives of the program. One that another thread held stays locked in the child
//! for ever, as in POSIX; and one that another thread waited for still lists that waiter, whose stack the child may
//! use for something else. A child that goes on (instead of calling `exec`) must not use such a primitive before
//! its `reset_after_fork`, or, to keep it as it is, its `forget_waiters_after_fork`. A future of the thread that forked
//! is then as if it had never been polled.

/// What fork requires in the child's only thread.
///
/// Where the system has `pthread_atfork`, the handlers have done it already when `fork` returns, and calling this
/// again does no harm. Call it after a fork that goes around libc. It also starts the monitor again if deadlines
/// are armed; a child that does not call it has that done by the next [`monitor::at`](crate::monitor::at).
pub fn after_fork_child() {
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    {
        generation::renew();
        crate::thread::after_fork();
        crate::deadlock::after_fork();
        crate::monitor::after_fork();
    }
}

/// Which process this is, counted along its ancestors: what was put somewhere in an earlier generation was left behind
/// in the parent.
#[cfg(not(any(quell_loom, quell_shuttle)))]
pub(crate) mod generation {
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering::Relaxed;

    static GENERATION: AtomicU32 = AtomicU32::new(0);
    /// The process the generation was counted in; 0 before anybody asked.
    static PROCESS: AtomicU32 = AtomicU32::new(0);

    /// The current one. Relaxed, here and below: it changes only while there is one thread.
    pub(crate) fn current() -> u32 {
        if PROCESS.load(Relaxed) == 0 {
            PROCESS.store(std::process::id(), Relaxed);
            super::install();
        }
        GENERATION.load(Relaxed)
    }

    /// In a child that may be new.
    pub(super) fn renew() {
        let process = std::process::id();
        if PROCESS.load(Relaxed) != process {
            PROCESS.store(process, Relaxed);
            GENERATION.fetch_add(1, Relaxed);
        }
    }
}

/// No model forks.
#[cfg(any(quell_loom, quell_shuttle))]
pub(crate) mod generation {
    pub(crate) fn current() -> u32 {
        0
    }
}

/// Installs the handlers, once.
#[cfg(all(unix, not(any(quell_loom, quell_shuttle))))]
pub(crate) fn install() {
    use std::sync::Once;
    static ONCE: Once = Once::new();

    extern "C" fn prepare() {
        crate::thread::hold_all();
        crate::monitor::hold();
        crate::deadlock::hold();
    }
    extern "C" fn parent() {
        crate::deadlock::release();
        crate::monitor::release();
        crate::thread::release_all();
    }
    extern "C" fn child() {
        parent();
        generation::renew();
        crate::thread::after_fork();
        crate::deadlock::after_fork();
        crate::monitor::forget_thread();
    }

    ONCE.call_once(|| {
        // SAFETY: the handlers are functions of this library, which is never unloaded while threads use it. The
        // call can fail for want of memory only; then a child must call `after_fork_child`.
        unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
    });
}

#[cfg(all(not(unix), not(any(quell_loom, quell_shuttle))))]
pub(crate) fn install() {}
