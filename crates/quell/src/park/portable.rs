//! The parker on a mutex and a condition variable: for systems without futexes, and for tests on all.
//!
//! The token is a flag under the mutex; the condition variable gives up the mutex and sleeps in one step, so a token
//! that comes after the owner has looked finds it asleep. Signals cannot be told from other wake-ups here.

use super::Parked;
use crate::sys::{Condvar, Mutex};
use std::sync::PoisonError;
use std::time::Instant;

/// A thread's place to sleep.
pub(crate) struct Parker {
    state: Mutex<State>,
    wake: Condvar,
}

/// A parker that stands still.
#[cfg(quell_parker_locks)]
pub(crate) struct Held<'a> {
    _state: std::sync::MutexGuard<'a, State>,
}

struct State {
    token: bool,
    #[cfg(any(quell_loom, quell_shuttle))]
    expired: bool,
}

impl Parker {
    const_fn! {
        /// A parker without a token.
        pub(crate) fn new() -> Parker {
            let state = State {
                token: false,
                #[cfg(any(quell_loom, quell_shuttle))]
                expired: false,
            };
            Parker { state: Mutex::new(state), wake: Condvar::new() }
        }
    }

    /// Sleeps until there is a token (and takes it) or the deadline has passed. Only the owner may call this.
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(crate) fn park(&self, deadline: Option<Instant>) -> Parked {
        // Nothing panics under this mutex, so poison means nothing.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.token {
            state = match deadline {
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Parked::TimedOut;
                    }
                    self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        state.token = false;
        Parked::Woken
    }

    /// The same in a model, where a deadline passes when [`Parker::expire`] says so.
    #[cfg(any(quell_loom, quell_shuttle))]
    pub(crate) fn park(&self, deadline: Option<Instant>) -> Parked {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.token {
            if deadline.is_some() && state.expired {
                return Parked::TimedOut;
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.token = false;
        Parked::Woken
    }

    /// Leaves a token and wakes the owner. Not async-signal-safe.
    pub(crate) fn unpark(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).token = true;
        self.wake.notify_one();
    }

    /// For a fork: while what this returns lives, nobody is in the middle of anything here.
    #[cfg(quell_parker_locks)]
    pub(crate) fn hold(&self) -> Held<'_> {
        Held { _state: self.state.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Models only: the owner's deadline passes now.
    #[cfg(any(quell_loom, quell_shuttle))]
    pub(crate) fn expire(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).expired = true;
        self.wake.notify_all();
    }

    /// Models only: this parker cannot tell signals.
    #[cfg(any(quell_loom, quell_shuttle))]
    pub(crate) fn signal(&self) {}
}
