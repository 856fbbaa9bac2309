//! Circles that somebody was told of and that are left as they are.

use std::collections::VecDeque;

/// By what a circle is told from others: its threads and their wants, by number, in no matter which order. A want has a number
/// of its own, so the same threads and locks make another circle the next time.
pub(super) type Key = Vec<(u64, u64)>;

/// The last ones. Nobody says when one of them has ended, so the eldest is forgotten for a new one; should it still stand,
/// it may be told of once more.
pub(super) struct Left(VecDeque<Key>);

impl Left {
    const FEW: usize = 64;

    pub(super) const fn new() -> Left {
        Left(VecDeque::new())
    }

    pub(super) fn add(&mut self, key: Key) {
        if self.0.len() == Self::FEW {
            self.0.pop_front();
        }
        self.0.push_back(key);
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        self.0.contains(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_known_and_no_more_are_kept() {
        let mut left = Left::new();
        for want in 0..1000 {
            let key = |want| vec![(1, want), (2, want)];
            assert!(!left.has(&key(want)), "the same threads in another circle");
            left.add(key(want));
            let known = (0..=want).filter(|want| left.has(&key(*want)));
            let few = Left::FEW as u64;
            assert!(known.eq((want + 1).saturating_sub(few)..=want));
            assert!(left.0.capacity() <= 2 * Left::FEW);
        }
    }
}
