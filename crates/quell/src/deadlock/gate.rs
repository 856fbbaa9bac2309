//! The switch, and the number by which a lock's word names who holds it.
//!
//! The fast path of a lock expects the word of a free lock, and goes the slow way if it finds another. What it expects
//! is [`free_word`]: zero, and with detection on, a word that no lock ever has. So the switch costs the fast path no branch,
//! only a load; unlocking finds the holder's number beside the bit, and goes the slow way too.
//!
//! Relaxed throughout: a lock that is taken while somebody switches is taken the one way or the other, and each leaves
//! a word that the other understands.

use crate::thread::current_id;

/// How many bits a holder's number has.
pub(crate) const HOLDER_BITS: u32 = 29;

/// A word that no lock has: free, and said to be unlocked once too often.
const NEVER: u32 = 1 << 31;

#[cfg(not(any(quell_loom, quell_shuttle)))]
mod switch {
    use std::sync::atomic::Ordering::Relaxed;
    use std::sync::atomic::{AtomicBool, AtomicU32};

    static FREE: AtomicU32 = AtomicU32::new(0);
    static EVER: AtomicBool = AtomicBool::new(false);

    /// What the fast path of a lock expects.
    #[inline(always)]
    pub(crate) fn free_word() -> u32 {
        FREE.load(Relaxed)
    }

    pub(in crate::deadlock) fn set_free_word(word: u32) {
        if word != 0 {
            EVER.store(true, Relaxed);
        }
        FREE.store(word, Relaxed);
    }

    /// Whether it was ever on. If not, no lock was taken in a way that must be undone.
    #[inline]
    pub(in crate::deadlock) fn was_ever_on() -> bool {
        EVER.load(Relaxed)
    }
}

/// In the models, of the current system thread, which runs one execution after the other.
#[cfg(any(quell_loom, quell_shuttle))]
mod switch {
    use std::cell::Cell;

    thread_local! {
        static FREE: Cell<u32> = const { Cell::new(0) };
    }

    pub(crate) fn free_word() -> u32 {
        FREE.get()
    }

    pub(in crate::deadlock) fn set_free_word(word: u32) {
        FREE.set(word);
    }

    pub(in crate::deadlock) fn was_ever_on() -> bool {
        FREE.get() != 0
    }
}

pub(crate) use switch::free_word;
pub(super) use switch::was_ever_on;

/// Switches it.
pub(crate) fn switch(on: bool) {
    switch::set_free_word(if on { NEVER } else { 0 });
}

/// Whether it is on.
pub(crate) fn is_on() -> bool {
    free_word() != 0
}

/// The current thread's number as a holder; 0, which is nobody's, while detection is off. Registers the thread.
pub(crate) fn number() -> u32 {
    if is_on() { number_of(current_id()) } else { 0 }
}

/// How many numbers there are.
const NUMBERS: u64 = (1 << HOLDER_BITS) - 1;

/// The number of the thread with this id. It is the id itself for the first half billion threads of a process; after
/// those, two threads can share one, and [`with_number`] tells both.
pub(super) fn number_of(id: u64) -> u32 {
    // Less than 2^29.
    ((id - 1) % NUMBERS + 1) as u32
}

/// The ids with this number, up to `last`.
pub(crate) fn with_number(number: u32, last: u64) -> impl Iterator<Item = u64> {
    (u64::from(number)..=last).step_by(NUMBERS as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_tells_its_ids() {
        for id in [1, 2, NUMBERS - 1, NUMBERS, NUMBERS + 1, 2 * NUMBERS, 2 * NUMBERS + 1] {
            let number = number_of(id);
            assert!(number > 0 && number < 1 << HOLDER_BITS);
            assert!(with_number(number, id).any(|other| other == id));
            assert!(with_number(number, id).count() as u64 == id.div_ceil(NUMBERS));
        }
        assert_eq!(number_of(1), number_of(NUMBERS + 1));
    }
}
