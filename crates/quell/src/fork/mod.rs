//! Fork. The child has one thread, the one that called `fork`, and a copy of memory as it was at that moment.
//!
//! quell's own state is held by handlers of `pthread_atfork` while the copy is made (the registry, every slot, the
//! monitor's heap, the graph of waits), so the child finds it whole. What of it survives:
//!
//! | | in the child |
//! | --- | --- |
//! | the thread that forked | keeps its handle, its id, masks and shields, and is the main thread |
//! | every other thread | has ended: not alive, not enumerated; who joins it gets [`Gone`](crate::thread::JoinError::Gone) |
//! | what is pending for the thread that forked | stays pending, in order, and is delivered |
//! | what was pending for others | *target exited*, as its receipt says; the reasons are not dropped |
//! | what was sent to others later than that | *target exited* at once |
//! | deadlines | stay armed; the monitor is started again by the next one that is armed, or by [`after_fork_child`] |
//! | detection of deadlocks, its policy, names | stay; locks that the thread holds are still known to be its own |
//! | waits of other threads, in [`waits`](crate::deadlock::waits) | are gone; a lock that another holds is shown as held by a thread that has ended |
//! | a [pool](crate::pool) or pipeline | has no workers: nothing is run; what it is given is there, and ends when it is shut down |
//! | starting threads | works, whatever others were in the middle of starting or ending; if those were quell's |
//! | a [scope](crate::thread::scope) that others were started in | waits for them for ever: leave the child by `exec` or `_exit` instead |
//!
//! The line on starting threads is for programs whose `main` is Rust's: std has a lock there that each thread takes as it begins and as it ends, and
//! a fork waits for quell's to be done with it. For those that [`std::thread`] starts it cannot: a child that is made in such a
//! moment, about once in ten thousand forks beside a thread that does nothing but start threads, starts none any more.
//!
//! What quell cannot see are the primitives of the program.
//!
//! - A lock that another thread **held** stays locked for ever, as in POSIX, until its `reset_after_fork`; permits that another
//!   had taken stay taken.
//! - A primitive that another thread **waited for** still lists that waiter, whose stack the child may use for something
//!   else: it must not be used before its `forget_waiters_after_fork`, or `reset_after_fork`.
//! - A queue that another thread was **in the middle of changing**, for a few instructions, stays as it is: half
//!   changed, and locked by nobody. No later call can mend that.
//!
//! [`keep()`] answers the last two: what is kept is held while the copy is made, so that no other thread is in the middle
//! of anything, and forgets who waited in the child before `fork` returns there. It takes an [`Arc`](std::sync::Arc) or
//! something that lives for ever, because a value that may be moved or freed cannot be found at the time of the fork. What
//! another thread *held* it does not free: that another was not done with what it protects.
//!
//! A future of the thread that forked is in the child as if it had never been polled.

#[cfg(not(any(quell_loom, quell_shuttle)))]
mod keep;
pub(crate) mod passage;

#[cfg(not(any(quell_loom, quell_shuttle)))]
pub use keep::{Keep, Kept, keep};

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

/// The parkers that the child's thread goes on to use, its own and the monitor's, held while the copy is made. Those of the
/// futex form have nothing to hold.
#[cfg(quell_parker_locks)]
mod parkers {
    use crate::park::Held;
    use std::cell::Cell;

    thread_local! {
        static HELD: Cell<Vec<Held<'static>>> = const { Cell::new(Vec::new()) };
    }

    pub(super) fn hold() {
        let mut held = vec![crate::monitor::hold_parker()];
        held.extend(crate::thread::hold_parker());
        // A thread that is ending has no place to keep them, and lets go of them at once.
        let _ = HELD.try_with(|place| place.set(held));
    }

    pub(super) fn release() {
        let _ = HELD.try_with(Cell::take);
    }
}

/// The handlers.
///
/// They are installed as the library is loaded, where the system lets that be said: who installs them at its first
/// use of quell may do that while another thread is already in the middle of a fork, which then copies what nobody holds.
///
/// `Once` is not for this: a child that is made while another thread is inside waits for that one for ever. Installed
/// twice they do no harm, so whoever does not find them installed installs them, and the outermost of one fork
/// does the work.
#[cfg(all(unix, not(any(quell_loom, quell_shuttle))))]
mod handlers {
    use super::{generation, keep, passage};
    use std::cell::Cell;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::{Acquire, Release};

    static INSTALLED: AtomicBool = AtomicBool::new(false);

    thread_local! {
        /// How many of the handlers this fork is in.
        static DEPTH: Cell<u32> = const { Cell::new(0) };
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    #[used]
    // SAFETY: the section is a list of such functions, which are called before `main`, or by `dlopen`; this one needs
    // nothing of Rust's that is not there yet.
    #[unsafe(link_section = ".init_array")]
    static AS_IT_IS_LOADED: extern "C" fn() = {
        extern "C" fn load() {
            install();
        }
        load
    };

    /// Installs them, if that has not been done.
    #[inline]
    pub(crate) fn install() {
        // Acquire pairs with the Release of who did it: a fork that begins after this finds them.
        if !INSTALLED.load(Acquire) {
            register();
        }
    }

    #[cold]
    fn register() {
        // SAFETY: the handlers are functions of this library, which is never unloaded while threads use it. The
        // call can fail for want of memory only; then a child must call `after_fork_child`.
        unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
        INSTALLED.store(true, Release);
    }

    extern "C" fn prepare() {
        if DEPTH.replace(DEPTH.get() + 1) > 0 {
            return;
        }
        // First: under a kept queue's lock items are compared, which may be code that uses the rest.
        keep::hold();
        // Before what threads use as they begin and end.
        passage::hold();
        crate::thread::hold_all();
        crate::monitor::hold();
        crate::deadlock::hold();
        #[cfg(quell_calls)]
        crate::syscall::hold();
        // Last: under a parker's lock nothing else is locked.
        #[cfg(quell_parker_locks)]
        super::parkers::hold();
    }

    extern "C" fn parent() {
        if is_over() {
            release();
            keep::release();
        }
    }

    extern "C" fn child() {
        if is_over() {
            release();
            keep::release_in_child();
            generation::renew();
            #[cfg(quell_calls)]
            crate::syscall::after_fork();
            crate::thread::after_fork();
            crate::deadlock::after_fork();
            crate::monitor::forget_thread();
        }
    }

    fn release() {
        #[cfg(quell_parker_locks)]
        super::parkers::release();
        #[cfg(quell_calls)]
        crate::syscall::release();
        crate::deadlock::release();
        crate::monitor::release();
        crate::thread::release_all();
        passage::release();
    }

    /// This is the last handler of the fork. Not so if it was begun before there were any.
    fn is_over() -> bool {
        let depth = DEPTH.get();
        DEPTH.set(depth.saturating_sub(1));
        depth == 1
    }
}

#[cfg(all(unix, not(any(quell_loom, quell_shuttle))))]
pub(crate) use handlers::install;

#[cfg(all(not(unix), not(any(quell_loom, quell_shuttle))))]
pub(crate) fn install() {}
