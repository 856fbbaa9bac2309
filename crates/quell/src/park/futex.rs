//! The parker on a Linux futex: one word per thread. The protocol is in the module's documentation.

use super::Parked;
use super::kernel::Futex;
use crate::sys::atomic::Ordering::{Acquire, Release};
use std::time::Instant;

const EMPTY: u32 = 0;
const NOTIFIED: u32 = 1;
const PARKED: u32 = 2;

/// A thread's place to sleep.
pub(crate) struct Parker {
    word: Futex,
}

impl Parker {
    const_fn! {
        /// A parker without a token.
        pub(crate) fn new() -> Parker {
            Parker { word: Futex::new(EMPTY) }
        }
    }

    /// Sleeps until there is a token (and takes it), the deadline has passed, or a signal handler has run. Only the
    /// owner may call this.
    pub(crate) fn park(&self, deadline: Option<Instant>) -> Parked {
        // Acquire, here and below: what the waker wrote before `unpark` is visible after `park`.
        if self.word.compare_exchange(EMPTY, PARKED, Acquire, Acquire).is_err() {
            // Only the owner leaves NOTIFIED, so the token is still there. A swap, not a store: it reads the latest
            // `unpark`, and so synchronises with that one too.
            self.word.swap(EMPTY, Acquire);
            return Parked::Woken;
        }
        let why = self.word.wait(PARKED, deadline);
        if self.word.swap(EMPTY, Acquire) == NOTIFIED { Parked::Woken } else { why }
    }

    /// Leaves a token and wakes the owner. Async-signal-safe.
    pub(crate) fn unpark(&self) {
        // Release: pairs with the owner's Acquire.
        if self.word.swap(NOTIFIED, Release) == PARKED {
            self.word.wake_one();
        }
    }

    /// Models only: the owner's deadline passes now.
    #[cfg(any(quell_loom, quell_shuttle))]
    pub(crate) fn expire(&self) {
        self.word.expire();
    }

    /// Models only: a signal handler runs in the owner now, if it sleeps.
    #[cfg(any(quell_loom, quell_shuttle))]
    pub(crate) fn signal(&self) {
        self.word.signal();
    }
}
