//! A fence in two halves: next to nothing for who makes a system call, dear for who ends one.
//!
//! Two threads that each write one word and then read the other's need a full fence between the two, or both may read
//! what was there before. Where the kernel offers `membarrier(2)`, the rare side has it run that fence on every processor
//! that runs a thread of this process, and the frequent side need only keep the compiler from moving its accesses: its
//! fence comes from outside, somewhere in its program order, which is as good (Dice, Huang and Yang, *Asymmetric Dekker
//! Synchronization*, 2001; folly's `AsymmetricThreadFence`). Elsewhere, and in the models, both sides fence for
//! themselves.

use crate::sys::atomic::Ordering::SeqCst;
use crate::sys::atomic::fence;

#[cfg(not(quell_calls))]
mod imp {
    use super::{SeqCst, fence};

    pub(in crate::syscall) fn light() {
        fence(SeqCst);
    }

    pub(in crate::syscall) fn heavy() {
        fence(SeqCst);
    }
}

#[cfg(quell_calls)]
mod imp {
    use super::{SeqCst, fence};
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;

    const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;
    const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;

    /// The kernel does the frequent side's part. Set before the first call that could be kicked, so whoever makes or
    /// kicks one sees it; it never changes afterwards.
    static ASYMMETRIC: AtomicBool = AtomicBool::new(false);

    /// Asks the kernel, once, before any thread registers a call.
    pub(in crate::syscall) fn prepare() {
        ASYMMETRIC.store(membarrier(REGISTER_PRIVATE_EXPEDITED), SeqCst);
    }

    /// The frequent side's half.
    #[inline(always)]
    pub(in crate::syscall) fn light() {
        // Relaxed: see above.
        if ASYMMETRIC.load(Relaxed) {
            std::sync::atomic::compiler_fence(SeqCst);
        } else {
            fence(SeqCst);
        }
    }

    /// The rare side's half: as if every thread that is running, or will run, fenced now.
    pub(in crate::syscall) fn heavy() {
        fence(SeqCst);
        if ASYMMETRIC.load(Relaxed) && !membarrier(PRIVATE_EXPEDITED) {
            // A child that was made without the memory's registration: once more.
            let fenced = membarrier(REGISTER_PRIVATE_EXPEDITED) && membarrier(PRIVATE_EXPEDITED);
            assert!(fenced, "the kernel offered membarrier, and refuses it now");
        }
    }

    fn membarrier(command: libc::c_int) -> bool {
        // SAFETY: takes numbers only, and touches no memory.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
    }
}

pub(super) use imp::*;
