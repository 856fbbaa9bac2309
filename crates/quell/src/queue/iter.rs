//! Queues as iterators.

use super::base::QueueOf;
use super::error::GetError;
use super::kind::Kind;
use crate::interrupt::Interrupted;
use crate::wait::Wait;
use std::iter::FusedIterator;

impl<T, K: Kind<T>> QueueOf<T, K> {
    /// Takes items one after the other, waiting for each, until the queue is shut down and empty. Each `next` is an
    /// interruption point if it has to wait; an interrupt comes as an item, after which one may go on.
    ///
    /// ```
    /// use quell::{Interrupted, Queue};
    ///
    /// fn sum(queue: &Queue<u64>) -> Result<u64, Interrupted> {
    ///     let mut sum = 0;
    ///     for number in queue {
    ///         sum += number?;
    ///     }
    ///     Ok(sum)
    /// }
    /// let queue = Queue::unbounded();
    /// (1..=4).for_each(|number| queue.put(number).unwrap());
    /// queue.shutdown(false);
    /// assert_eq!(sum(&queue).unwrap(), 10);
    /// ```
    pub fn iter(&self) -> Iter<'_, T, K> {
        Iter { queue: self }
    }

    /// Takes the items that are there, without waiting. Does not block, and is no interruption point.
    ///
    /// ```
    /// let queue = quell::LifoQueue::unbounded();
    /// (1..=3).for_each(|number| queue.put(number).unwrap());
    /// assert_eq!(queue.try_iter().collect::<Vec<_>>(), [3, 2, 1]);
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, T, K> {
        TryIter { queue: self }
    }
}

/// Takes items until the queue is shut down: see [`iter`](QueueOf::iter).
pub struct Iter<'a, T, K: Kind<T>> {
    queue: &'a QueueOf<T, K>,
}

impl<T, K: Kind<T>> Iterator for Iter<'_, T, K> {
    type Item = Result<T, Interrupted>;

    fn next(&mut self) -> Option<Result<T, Interrupted>> {
        match self.queue.get_with(&Wait::new()) {
            Ok(item) => Some(Ok(item)),
            Err(GetError::Interrupted(interrupted)) => Some(Err(interrupted)),
            Err(GetError::ShutDown) => None,
            Err(GetError::Empty | GetError::TimedOut | GetError::Signalled) => {
                unreachable!("the wait had none of these")
            }
        }
    }
}

impl<T, K: Kind<T>> FusedIterator for Iter<'_, T, K> {}

/// Takes the items that are there: see [`try_iter`](QueueOf::try_iter).
pub struct TryIter<'a, T, K: Kind<T>> {
    queue: &'a QueueOf<T, K>,
}

impl<T, K: Kind<T>> Iterator for TryIter<'_, T, K> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.queue.try_get().ok()
    }
}

/// The items of a queue that nobody else has any more: see `into_iter` of a queue.
pub struct IntoIter<T, K: Kind<T>> {
    queue: QueueOf<T, K>,
}

impl<T, K: Kind<T>> Iterator for IntoIter<T, K> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.queue.try_get().ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.queue.len();
        (len, Some(len))
    }
}

impl<T, K: Kind<T>> ExactSizeIterator for IntoIter<T, K> {}
impl<T, K: Kind<T>> FusedIterator for IntoIter<T, K> {}

impl<'a, T, K: Kind<T>> IntoIterator for &'a QueueOf<T, K> {
    type Item = Result<T, Interrupted>;
    type IntoIter = Iter<'a, T, K>;

    fn into_iter(self) -> Iter<'a, T, K> {
        self.iter()
    }
}

/// The items that are left, in the queue's order. Does not block: nobody else has the queue.
///
/// ```
/// let queue = quell::PriorityQueue::unbounded();
/// [3, 1, 2].map(|number| queue.put(number).unwrap());
/// assert_eq!(queue.into_iter().collect::<Vec<_>>(), [1, 2, 3]);
/// ```
impl<T, K: Kind<T>> IntoIterator for QueueOf<T, K> {
    type Item = T;
    type IntoIter = IntoIter<T, K>;

    fn into_iter(self) -> IntoIter<T, K> {
        IntoIter { queue: self }
    }
}
