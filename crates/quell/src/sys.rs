//! Which atomics, locks and threads the crate is built on: std's, or those of a model checker.
//!
//! Everything that takes part in a protocol between threads comes through here, so that `--cfg quell_loom` and
//! `--cfg quell_shuttle` check the very code that ships. What only keeps memory alive (`Arc`) or is never contended
//! in a model stays std's.

#[cfg(not(any(quell_loom, quell_shuttle)))]
mod imp {
    pub(crate) use std::sync::atomic;
    #[cfg(not(quell_futex))]
    pub(crate) use std::sync::{Condvar, Mutex};
    pub(crate) use std::{thread, thread_local};
}

#[cfg(quell_loom)]
mod imp {
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard, atomic};
    pub(crate) use loom::{thread, thread_local};
}

#[cfg(quell_shuttle)]
mod imp {
    pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard, atomic};
    pub(crate) use shuttle::{thread, thread_local};
}

pub(crate) use imp::*;

/// A `const fn`, except under a model, whose atomics cannot be made in a constant.
macro_rules! const_fn {
    ($(#[$meta:meta])* $vis:vis fn $name:ident $(<$generic:ident>)? ($($args:tt)*) -> $ret:ty $body:block) => {
        #[cfg(not(any(quell_loom, quell_shuttle)))]
        $(#[$meta])* $vis const fn $name $(<$generic>)? ($($args)*) -> $ret $body
        #[cfg(any(quell_loom, quell_shuttle))]
        $(#[$meta])* $vis fn $name $(<$generic>)? ($($args)*) -> $ret $body
    };
}

/// What an atomic holds, read as if it were none, so that the compiler may keep in a register what the thread has stored there
/// itself: it does not do that with atomic loads, however relaxed.
///
/// # Safety
/// No other thread stores to it at the same time. (Other threads may load.)
#[inline(always)]
pub(crate) unsafe fn load_own(atomic: &atomic::AtomicU32) -> u32 {
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    // SAFETY: valid, and as the caller promises there is no race; two reads at a time are none.
    return unsafe { atomic.as_ptr().read() };
    #[cfg(quell_loom)]
    // SAFETY: as the caller promises; this is what loom checks.
    return unsafe { atomic.unsync_load() };
    #[cfg(quell_shuttle)]
    atomic.load(atomic::Ordering::Relaxed)
}
