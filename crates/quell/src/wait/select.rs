//! A case of a selection: one of the nodes that share one waiter's state. The protocol is in the module's documentation;
//! who selects joins its cases, sleeps, and has each of them leave.

use super::goal::{Goal, unlink};
use super::node::{Node, Note, State, Waiter};
use super::queue::Place;
use super::task::replace_waker;
use std::task::Waker;

/// One of the things that a selection waits for.
pub(crate) struct Case<'a, G: Goal + ?Sized> {
    goal: &'a G,
    node: Node,
}

impl<'a, G: Goal + ?Sized> Case<'a, G> {
    /// Waits for `goal`, with a note for who grants it.
    pub(crate) fn new(goal: &'a G, note: Note) -> Case<'a, G> {
        Case { goal, node: Node::new(note) }
    }

    /// Joins its list as case `at` of a selection that has `state`, and cases of other kinds too. False: it need not wait.
    ///
    /// # Safety
    /// The node is in no list, or in one that a fork has left behind. It and the state stay in place until
    /// [`unlink`](Case::unlink).
    pub(crate) unsafe fn join(&mut self, state: *const State, at: usize, waiter: Waiter) -> bool {
        self.node.share(state, at);
        // What is left in it is dropped outside the lock.
        let mut waiter = Some(waiter);
        let list = self.goal.queue().lock();
        if !self.goal.must_wait() {
            drop(list);
            return false;
        }
        // SAFETY: as the caller promises; and we hold the lock.
        unsafe {
            std::mem::swap(&mut self.node.links().waiter, &mut waiter);
            list.link(&self.node, Place::Back);
        }
        drop(list);
        true
    }

    /// Sees to it that the next grant wakes through `waker`. False: the node is no longer in the list.
    pub(crate) fn replace_waker(&self, waker: &Waker) -> bool {
        replace_waker(self.goal, &self.node, waker)
    }

    /// Out of the list, if a granter has not taken it out.
    pub(crate) fn unlink(&self) {
        // SAFETY: the node is in this list or in none.
        if unsafe { unlink(self.goal, &self.node) } {
            self.goal.gone();
        }
    }
}

// SAFETY: a case in no list is plain data; in a list, it belongs to a future that answers for it.
unsafe impl<G: Goal + Sync + ?Sized> Send for Case<'_, G> {}
// SAFETY: as above.
unsafe impl<G: Goal + Sync + ?Sized> Sync for Case<'_, G> {}
