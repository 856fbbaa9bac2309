//! A queue's lock, and what can be seen of the queue without it.
//!
//! Whoever frees the lock leaves a note beside it: whether there is an item, whether there is room. A thread that
//! waits for one of these, and is not in line yet, looks at the note, and leaves the lock alone until it says so. The note is
//! out of date as soon as it is read, and nothing is decided by it: who finds that it says so takes the lock and tries, and
//! who joins a line has looked under the lock.

use super::kind::Kind;
use super::state::{End, State};
use crate::park::{Burst, BurstGuard};
use std::ops::{Deref, DerefMut};
// std's in models too, which do not look at it.
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// In the note: a get, a put need not wait.
const ITEM: u32 = 1;
const ROOM: u32 = 2;

/// What is under a queue's lock, with the lock and the note.
pub(super) struct Guarded<T, K: Kind<T>> {
    state: Burst<State<T, K>>,
    note: AtomicU32,
}

impl<T, K: Kind<T>> Guarded<T, K> {
    const_fn! {
        /// An empty queue that takes so many items.
        pub(super) fn new(limit: usize) -> Self {
            Guarded {
                state: Burst::new(State::new(limit), burst(limit)),
                note: AtomicU32::new(ROOM),
            }
        }
    }

    /// What is under the lock, without it. The note stays as it is: whoever comes to look at it comes with the lock first.
    ///
    /// # Safety
    /// No other thread uses the queue as long as this is used.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "as a lock's guard would be, for whoever is alone")]
    pub(super) unsafe fn alone(&self) -> &mut State<T, K> {
        // SAFETY: as the caller promises.
        unsafe { self.state.alone() }
    }

    #[inline(always)]
    pub(super) fn lock(&self) -> Held<'_, T, K> {
        Held { state: self.state.lock(), note: &self.note }
    }

    /// Takes the lock if it is free. For fork, after which it may be held by nobody.
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(super) fn try_lock(&self) -> Option<Held<'_, T, K>> {
        self.state.try_lock().map(|state| Held { state, note: &self.note })
    }

    /// Frees the lock, for fork.
    ///
    /// # Safety
    /// The calling thread holds it, by a guard that was forgotten.
    pub(super) unsafe fn release(&self) {
        // SAFETY: as the caller promises.
        unsafe { self.state.release() };
    }

    /// Whether it looks as if an operation at that end need not wait. Relaxed: a hint.
    pub(super) fn looks_open(&self, end: End) -> bool {
        let what = match end {
            End::Get => ITEM,
            End::Put => ROOM,
        };
        self.note.load(Relaxed) & what != 0
    }

    /// The queue takes so many items from now on: adapts the lock to it.
    pub(super) fn set_limit(&self, limit: usize) {
        self.lock().limit = limit;
        self.state.set_burst(burst(limit));
    }
}

/// How long the lock is left to who has it, for a burst of operations: a fraction of the time that filling the queue takes,
/// because longer than that nobody has something to do; and no longer than what is a long burst in any case.
const fn burst(limit: usize) -> u32 {
    match limit / 6 {
        0..4 => 4,
        pauses @ 4..64 => pauses as u32,
        _ => 64,
    }
}

/// The right to what is under the lock.
pub(super) struct Held<'a, T, K: Kind<T>> {
    // Freed after the note was left.
    state: BurstGuard<'a, State<T, K>>,
    note: &'a AtomicU32,
}

impl<T, K: Kind<T>> Deref for Held<'_, T, K> {
    type Target = State<T, K>;

    #[inline(always)]
    fn deref(&self) -> &State<T, K> {
        &self.state
    }
}

impl<T, K: Kind<T>> DerefMut for Held<'_, T, K> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut State<T, K> {
        &mut self.state
    }
}

impl<T, K: Kind<T>> Drop for Held<'_, T, K> {
    #[inline(always)]
    fn drop(&mut self) {
        let over = self.state.shut_down;
        let item = if over || self.state.len() > 0 { ITEM } else { 0 };
        let room = if over || self.state.has_room() { ROOM } else { 0 };
        // Relaxed: a hint.
        self.note.store(item | room, Relaxed);
    }
}
