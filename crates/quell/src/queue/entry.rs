//! An operation that can wait beside others: of a task, or of a selection.

use super::base::QueueOf;
use super::kind::Kind;
use super::line::{Node, Turn};
use super::state::{End, MOVED, Step, Wake};
use crate::wait::Waiter;
use std::cell::UnsafeCell;
use std::task::Waker;

/// One operation at one end of a queue, with its item.
///
/// Shared from [`join`](Entry::join) to [`quit`](Entry::quit): in between, granters reach its node and its slot.
pub(super) struct Entry<'a, T, K: Kind<T>> {
    queue: &'a QueueOf<T, K>,
    end: End,
    node: Node<T>,
    /// What is put, or what was got.
    slot: UnsafeCell<Option<T>>,
}

// SAFETY: what others reach is reached under the queue's lock, or after a claim; the rest moves with its owner.
unsafe impl<T: Send, K: Kind<T>> Send for Entry<'_, T, K> {}

impl<'a, T, K: Kind<T>> Entry<'a, T, K> {
    pub(super) fn new(queue: &'a QueueOf<T, K>, end: End, item: Option<T>) -> Entry<'a, T, K> {
        Entry { queue, end, node: Node::new(), slot: UnsafeCell::new(item) }
    }

    /// Where its queue is.
    pub(super) fn address(&self) -> usize {
        std::ptr::from_ref(self.queue).addr()
    }

    /// Takes the item out of the slot, if there is one.
    ///
    /// # Safety
    /// The node is in no line, and not claimed.
    pub(super) unsafe fn take(&self) -> Option<T> {
        // SAFETY: then the slot is ours.
        unsafe { (*self.slot.get()).take() }
    }

    /// Whether there is no item in the slot.
    ///
    /// # Safety
    /// As [`take`](Entry::take).
    pub(super) unsafe fn is_empty(&self) -> bool {
        // SAFETY: then the slot is ours.
        unsafe { (*self.slot.get()).is_none() }
    }

    /// One step, without waiting.
    ///
    /// # Safety
    /// As [`take`](Entry::take).
    pub(super) unsafe fn attempt(&self) -> Step {
        if self.end == End::Get {
            // What was handed over before a fork, and not seen, is void; it is not to be dropped under the lock.
            // SAFETY: as the caller promises.
            drop(unsafe { self.take() });
        }
        // SAFETY: then the slot is ours.
        self.queue.step(self.end, unsafe { &mut *self.slot.get() })
    }

    /// Joins the line at its end. False: a step need not wait.
    ///
    /// # Safety
    /// The node is in no line, or in one that a fork has left behind. Entry and turn stay in place until
    /// [`quit`](Entry::quit), and the turn is that of a waiter that is not awake.
    pub(super) unsafe fn join(&self, turn: *const Turn, case: usize, waiter: Waiter) -> bool {
        // SAFETY: in no line.
        unsafe {
            self.node.bind(turn, case, self.slot.get());
            self.node.set_waiter(waiter);
        }
        let mut state = self.queue.state.lock();
        if !state.must_wait(self.end, turn) {
            return false;
        }
        // SAFETY: as the caller promises.
        unsafe { state.line(self.end).join(&self.node) };
        true
    }

    /// Out of the line, if a granter has not taken it out. After this, who had claimed it has granted: both are done under
    /// the lock that is taken here.
    pub(super) fn quit(&self) {
        // SAFETY: it is in this line or in none.
        unsafe { self.queue.state.lock().line(self.end).quit(&self.node) };
    }

    /// Sees to it that a grant wakes through `waker`. False: it is in line no more, and was granted.
    ///
    /// # Safety
    /// It has joined.
    pub(super) unsafe fn replace_waker(&self, waker: &Waker) -> bool {
        let mut new = None;
        loop {
            let state = self.queue.state.lock();
            // SAFETY: we hold the lock.
            if !unsafe { self.node.is_linked() } {
                // Before `new` is dropped, which runs code of the executor.
                drop(state);
                return false;
            }
            // SAFETY: as above, and not awake.
            let waiter = unsafe { self.node.waiter() };
            if matches!(waiter, Some(Waiter::Task(old)) if old.will_wake(waker)) {
                drop(state);
                return true;
            }
            if new.is_some() {
                std::mem::swap(waiter, &mut new);
                drop(state);
                return true;
            }
            drop(state);
            new = Some(Waiter::Task(waker.clone()));
        }
    }

    /// It was granted, and nobody will learn of it: an item that it got goes to the next who waits for one, or back into
    /// the queue, to come out next. (One that it put is put.)
    ///
    /// # Safety
    /// As [`take`](Entry::take).
    pub(super) unsafe fn give_back(&self, token: u32) {
        if self.end == End::Put || token != MOVED {
            return;
        }
        // SAFETY: then the slot is ours.
        let Some(item) = (unsafe { self.take() }) else { return };
        let mut wake = Wake::default();
        let mut state = self.queue.state.lock();
        let discarded = state.take_back(item, &mut wake);
        if discarded.is_some() {
            // Frees the lock, under which nothing is dropped.
            self.queue.tell_joiners(state);
        }
    }
}
