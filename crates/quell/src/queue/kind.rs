//! In which order a queue gives its items back. The rest of a queue knows nothing of it.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};

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
    type Items = VecDeque<T>;

    const EMPTY: VecDeque<T> = VecDeque::new();

    #[inline(always)]
    fn push(items: &mut VecDeque<T>, item: T) {
        items.push_back(item);
    }

    #[inline(always)]
    fn pop(items: &mut VecDeque<T>) -> Option<T> {
        items.pop_front()
    }

    fn put_back(items: &mut VecDeque<T>, item: T) {
        items.push_front(item);
    }

    #[inline(always)]
    fn len(items: &VecDeque<T>) -> usize {
        items.len()
    }

    fn visit(items: &VecDeque<T>, f: impl FnMut(&T)) {
        items.iter().for_each(f);
    }
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
