//! In which order a queue gives its items back. The rest of a queue knows nothing of it.

use super::chunks::Chunks;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// How a kind of queue keeps its items. Used under the queue's lock: nothing here blocks. Private to the crate: the
/// kinds are [`Fifo`], [`Lifo`] and [`Priority`].
pub trait Kind<T> {
    /// The items.
    type Items;

    /// No items.
    const EMPTY: Self::Items;

    /// One more.
    fn push(items: &mut Self::Items, item: T);
    /// The next one out.
    fn pop(items: &mut Self::Items) -> Option<T>;
    /// Puts back what was popped last, to be popped next.
    fn put_back(items: &mut Self::Items, item: T);
    /// How many there are.
    fn len(items: &Self::Items) -> usize;
    /// Shows each.
    fn visit(items: &Self::Items, f: impl FnMut(&T));
}

/// First in, first out.
#[derive(Debug)]
pub struct Fifo;

/// Last in, first out.
#[derive(Debug)]
pub struct Lifo;

/// The smallest first, and of equal ones the one that was put first.
#[derive(Debug)]
pub struct Priority;

impl<T> Kind<T> for Fifo {
    type Items = Chunks<T>;

    const EMPTY: Chunks<T> = Chunks::EMPTY;

    #[inline(always)]
    fn push(items: &mut Chunks<T>, item: T) {
        items.push(item);
    }

    #[inline(always)]
    fn pop(items: &mut Chunks<T>) -> Option<T> {
        items.pop()
    }

    fn put_back(items: &mut Chunks<T>, item: T) {
        items.put_back(item);
    }

    #[inline(always)]
    fn len(items: &Chunks<T>) -> usize {
        items.len()
    }

    fn visit(items: &Chunks<T>, f: impl FnMut(&T)) {
        items.visit(f);
    }
}

/// Whether a collection with so much room is to give back half of it: it is large, and mostly empty. With three quarters
/// empty, so that it is not given back and taken again by turns.
#[inline(always)]
pub(super) fn is_wide(len: usize, capacity: usize) -> bool {
    capacity > 1024 && len < capacity / 4
}

impl<T> Kind<T> for Lifo {
    type Items = Vec<T>;

    const EMPTY: Vec<T> = Vec::new();

    #[inline(always)]
    fn push(items: &mut Vec<T>, item: T) {
        items.push(item);
    }

    #[inline(always)]
    fn pop(items: &mut Vec<T>) -> Option<T> {
        if is_wide(items.len(), items.capacity()) {
            items.shrink_to(items.capacity() / 2);
        }
        items.pop()
    }

    fn put_back(items: &mut Vec<T>, item: T) {
        items.push(item);
    }

    #[inline(always)]
    fn len(items: &Vec<T>) -> usize {
        items.len()
    }

    fn visit(items: &Vec<T>, f: impl FnMut(&T)) {
        items.iter().rev().for_each(f);
    }
}

/// A heap, and the numbers that items get.
#[derive(Debug)]
pub struct Heap<T> {
    heap: BinaryHeap<Reverse<Ranked<T>>>,
    /// Of the next that is put: counts up from 0.
    next: i64,
    /// Of the last that was put back: counts down from 0, so that it comes before all its equals.
    back: i64,
}

/// An item with the number that tells it from its equals.
#[derive(Debug)]
struct Ranked<T> {
    item: T,
    number: i64,
}

impl<T: Ord> Ord for Ranked<T> {
    fn cmp(&self, other: &Ranked<T>) -> Ordering {
        self.item.cmp(&other.item).then(self.number.cmp(&other.number))
    }
}

impl<T: Ord> PartialOrd for Ranked<T> {
    fn partial_cmp(&self, other: &Ranked<T>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> PartialEq for Ranked<T> {
    fn eq(&self, other: &Ranked<T>) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T: Ord> Eq for Ranked<T> {}

impl<T: Ord> Kind<T> for Priority {
    type Items = Heap<T>;

    const EMPTY: Heap<T> = Heap { heap: BinaryHeap::new(), next: 0, back: 0 };

    fn push(items: &mut Heap<T>, item: T) {
        let number = items.next;
        items.next += 1;
        items.heap.push(Reverse(Ranked { item, number }));
    }

    fn pop(items: &mut Heap<T>) -> Option<T> {
        if is_wide(items.heap.len(), items.heap.capacity()) {
            items.heap.shrink_to(items.heap.capacity() / 2);
        }
        items.heap.pop().map(|Reverse(ranked)| ranked.item)
    }

    fn put_back(items: &mut Heap<T>, item: T) {
        items.back -= 1;
        items.heap.push(Reverse(Ranked { item, number: items.back }));
    }

    fn len(items: &Heap<T>) -> usize {
        items.heap.len()
    }

    fn visit(items: &Heap<T>, mut f: impl FnMut(&T)) {
        items.heap.iter().for_each(|Reverse(ranked)| f(&ranked.item));
    }
}

#[cfg(all(test, not(any(quell_loom, quell_shuttle))))]
mod tests {
    use super::*;

    /// What is kept of many items is what few need, and what is there is all there.
    #[test]
    fn memory_is_given_back() {
        let (mut lifo, mut heap) = (<Lifo as Kind<u64>>::EMPTY, <Priority as Kind<u64>>::EMPTY);
        for number in 0..100_000 {
            Lifo::push(&mut lifo, number);
            Priority::push(&mut heap, number);
        }
        for number in 0..100_000 {
            assert_eq!(Lifo::pop(&mut lifo), Some(99_999 - number));
            assert_eq!(Priority::pop(&mut heap), Some(number));
        }
        assert!(lifo.capacity() <= 2048 && heap.heap.capacity() <= 2048);
    }
}
