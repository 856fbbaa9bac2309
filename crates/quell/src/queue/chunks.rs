//! Items first in, first out, in pieces: however many there are, one more takes no longer, and the memory of many is
//! given back when they are gone.
//!
//! While there are few, they are in one ring, which grows as they do. From [`CHUNK`](Chunks::CHUNK) on, new items go
//! into a second ring, and when that is full, it is put aside behind those that were full before. Who takes from
//! the first ring and finds it empty goes on to the next. So nothing is ever moved because there is more of it, and the
//! rings that are in use are few, and warm. Of those that are empty, as many are kept for the next time as are full, so that
//! a queue that grows and shrinks does not ask for memory and give it back by turns.

use super::kind::is_wide;
use std::collections::VecDeque;

/// The items of a queue, first in, first out.
#[derive(Debug)]
pub struct Chunks<T> {
    /// Where items come out; all of them, unless there is a second ring.
    first: VecDeque<T>,
    /// Rings of exactly `CHUNK` items, in order.
    full: VecDeque<VecDeque<T>>,
    /// Where items are put while `split`. Not empty then.
    last: VecDeque<T>,
    /// Whether there is more than the first ring.
    split: bool,
    /// How many items there are in all.
    len: usize,
    /// Empty rings for the next time: no more than there are full ones, or than a few.
    spare: Vec<VecDeque<T>>,
}

impl<T> Chunks<T> {
    /// How many items a ring holds: two pages, but not too few.
    const CHUNK: usize = {
        let size = if size_of::<T>() == 0 { 1 } else { size_of::<T>() };
        if size > 8192 / 16 { 16 } else { 8192 / size }
    };

    /// How many empty rings are kept in any case.
    const SPARE: usize = 1;

    pub(super) const EMPTY: Chunks<T> = Chunks {
        first: VecDeque::new(),
        full: VecDeque::new(),
        last: VecDeque::new(),
        split: false,
        len: 0,
        spare: Vec::new(),
    };

    #[inline(always)]
    pub(super) fn push(&mut self, item: T) {
        self.len += 1;
        let ring = if self.split { &mut self.last } else { &mut self.first };
        if ring.len() < Self::CHUNK {
            ring.push_back(item);
        } else {
            self.extend(item);
        }
    }

    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<T> {
        let item = match self.first.pop_front() {
            None if self.split => self.next_ring(),
            item => item,
        };
        self.len -= usize::from(item.is_some());
        item
    }

    /// To come out next.
    pub(super) fn put_back(&mut self, item: T) {
        self.len += 1;
        self.first.push_front(item);
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Shows each, in the order in which they will come out.
    pub(super) fn visit(&self, f: impl FnMut(&T)) {
        self.first.iter().chain(self.full.iter().flatten()).chain(&self.last).for_each(f);
    }

    /// The ring that takes new items is full.
    #[cold]
    fn extend(&mut self, item: T) {
        let spare = self.spare.pop();
        // At once, because it will be filled, at most.
        let mut ring = spare.unwrap_or_else(|| VecDeque::with_capacity(Self::CHUNK));
        ring.push_back(item);
        let before = std::mem::replace(&mut self.last, ring);
        if std::mem::replace(&mut self.split, true) {
            self.full.push_back(before);
        }
    }

    /// The first ring is empty, and there are more.
    #[cold]
    fn next_ring(&mut self) -> Option<T> {
        let next = self.full.pop_front();
        if is_wide(self.full.len(), self.full.capacity()) {
            self.full.shrink_to(self.full.capacity() / 2);
        }
        let next = next.unwrap_or_else(|| {
            self.split = false;
            std::mem::take(&mut self.last)
        });
        let empty = std::mem::replace(&mut self.first, next);
        // One of another size would be too small for the next time, or has grown by chance.
        if empty.capacity() == Self::CHUNK {
            self.spare.push(empty);
        }
        // There is one full ring less, and one empty ring more.
        let keep = self.full.len().max(Self::SPARE);
        self.spare.truncate(keep.max(self.spare.len().saturating_sub(2)));
        if is_wide(self.spare.len(), self.spare.capacity()) {
            self.spare.shrink_to(self.spare.capacity() / 2);
        }
        self.first.pop_front()
    }
}

#[cfg(all(test, not(any(quell_loom, quell_shuttle))))]
mod tests {
    use super::*;

    /// So large that a ring holds few.
    struct Large(u64, [u64; 100]);

    fn large(number: u64) -> Large {
        Large(number, [0; 100])
    }

    /// Against a plain ring, around every number of chunks up to six, with items that come back.
    #[test]
    fn as_one_ring() {
        assert_eq!(Chunks::<Large>::CHUNK, 16);
        let mut seed = 0x2545_F491_4F6C_DD1D_u64;
        let mut random = move |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 20) % below
        };
        let (mut chunks, mut ring, mut count) = (Chunks::EMPTY, VecDeque::new(), 0);
        for _ in 0..3000 {
            // Towards a number of items, and on to the next.
            let towards = random(100) as usize;
            while ring.len() != towards {
                if (ring.len() < towards) != (random(4) == 0) {
                    count += 1;
                    chunks.push(large(count));
                    ring.push_back(count);
                } else {
                    let item = chunks.pop();
                    assert_eq!(item.as_ref().map(|large| large.0), ring.pop_front());
                    if let Some(item) = item
                        && random(8) == 0
                    {
                        ring.push_front(item.0);
                        chunks.put_back(item);
                    }
                }
                assert_eq!(chunks.len(), ring.len());
            }
            let mut seen = Vec::new();
            chunks.visit(|large| seen.push(large.0 + large.1[99]));
            assert!(seen.iter().eq(&ring));
        }
    }

    /// What is kept of many is what few need.
    #[test]
    fn memory_is_given_back() {
        let mut chunks = Chunks::EMPTY;
        for number in 0..100_000 {
            chunks.push(large(number));
        }
        while chunks.pop().is_some() {}
        let rings = [&chunks.first, &chunks.last].into_iter().chain(&chunks.spare);
        let kept: Vec<_> = rings.map(VecDeque::capacity).collect();
        assert!(kept.iter().sum::<usize>() <= 4 * Chunks::<Large>::CHUNK, "{kept:?}");
        assert!(chunks.full.capacity() <= 2048);
        assert!(chunks.spare.capacity() <= 2048);
    }

    #[test]
    fn of_items_without_size() {
        let mut chunks = Chunks::EMPTY;
        (0..20_000).for_each(|_| chunks.push(()));
        assert_eq!(chunks.len(), 20_000);
        assert_eq!(std::iter::from_fn(|| chunks.pop()).count(), 20_000);
    }
}
