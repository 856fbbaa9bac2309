//! A task that waits: a node that lives in a future.

use super::goal::{Goal, unlink};
use super::node::{Node, Note, Waiter};
use super::queue::{Place, Waited};
use crate::fork::generation;
use std::cell::Cell;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Waits as the current task, in the goal's queue. The future is ready as [`wait_for`](super::wait_for) returns, but is
/// no interruption point: a task is not a thread. What gives it up is dropping it.
///
/// It joins the queue when it is first polled. Dropped before it was ready, it leaves the queue; if it had been
/// granted by then, the grant goes to [`Goal::pass_on`].
pub(crate) fn wait_async<G: Goal + ?Sized>(
    goal: &G,
    place: Place,
    note: Note,
) -> WaitFuture<'_, G> {
    let (node, stage) = (Node::new(note), Cell::new(Stage::New));
    WaitFuture { goal, place, stage, node, _pinned: PhantomPinned }
}

/// See [`wait_async`].
#[must_use = "a future does nothing unless it is awaited"]
pub(crate) struct WaitFuture<'a, G: Goal + ?Sized> {
    goal: &'a G,
    place: Place,
    stage: Cell<Stage>,
    node: Node,
    _pinned: PhantomPinned,
}

/// How far a future is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    New,
    /// In the list, or granted; joined in this generation of processes.
    Joined(u32),
    Ready,
}

impl Stage {
    pub(super) fn joined() -> Stage {
        Stage::Joined(generation::current())
    }

    /// Whether the nodes are the queue's. If not, they never joined, or a fork came between: then the queue they were
    /// in was the parent's, and has been reset since.
    pub(super) fn is_joined(self) -> bool {
        matches!(self, Stage::Joined(generation) if generation == generation::current())
    }
}

// SAFETY: what is in the list is reached under the list's lock, by whatever thread polls or drops the future; the
// rest is plain data. The goal is shared.
unsafe impl<G: Goal + Sync + ?Sized> Send for WaitFuture<'_, G> {}

impl<G: Goal + ?Sized> Future for WaitFuture<'_, G> {
    type Output = Waited;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Waited> {
        // Shared from here on: granters reach the node at the same time.
        let this = self.into_ref().get_ref();
        assert!(this.stage.get() != Stage::Ready, "polled again after it was ready");
        let waited = if this.stage.get().is_joined() { this.look(cx) } else { this.join(cx) };
        if waited.is_ready() {
            this.stage.set(Stage::Ready);
        }
        waited
    }
}

impl<G: Goal + ?Sized> WaitFuture<'_, G> {
    /// Joins the list, if it must wait.
    fn join(&self, cx: &Context<'_>) -> Poll<Waited> {
        // Cloned, and if need be dropped, outside the lock.
        let mut waker = Some(Waiter::Task(cx.waker().clone()));
        let list = self.goal.queue().lock();
        if !self.goal.must_wait() {
            drop(list);
            return Poll::Ready(Waited::Refused);
        }
        self.stage.set(Stage::joined());
        self.node.state().renew();
        // SAFETY: the node is in no list, or in one that a fork has left behind. It is pinned, and `drop` unlinks it.
        unsafe {
            std::mem::swap(&mut self.node.links().waiter, &mut waker);
            list.link(&self.node, self.place);
        }
        drop(list);
        Poll::Pending
    }

    /// Looks whether it was granted; if not, the latest waker is the one that will be called.
    fn look(&self, cx: &Context<'_>) -> Poll<Waited> {
        // Granted for sure if it is no longer in the list: a grant is published under the lock that unlinks.
        match self.node.granted() {
            None if replace_waker(self.goal, &self.node, cx.waker()) => Poll::Pending,
            None => Poll::Ready(Waited::Granted(self.node.granted().expect("it was unlinked"))),
            Some(token) => Poll::Ready(Waited::Granted(token)),
        }
    }
}

/// Sees to it that the next grant wakes through `waker`. False: the node is no longer in the list.
pub(super) fn replace_waker<G: Goal + ?Sized>(goal: &G, node: &Node, waker: &Waker) -> bool {
    let mut new = None;
    loop {
        let list = goal.queue().lock();
        // SAFETY: the node is in this list or in none.
        if !unsafe { list.has(node) } {
            // Before `new` is dropped, which runs code of the executor.
            drop(list);
            return false;
        }
        // SAFETY: we hold the lock.
        let links = unsafe { node.links() };
        if matches!(&links.waiter, Some(Waiter::Task(old)) if old.will_wake(waker)) {
            drop(list);
            return true;
        }
        if new.is_some() {
            std::mem::swap(&mut links.waiter, &mut new);
            drop(list);
            return true;
        }
        drop(list);
        new = Some(Waiter::Task(waker.clone()));
    }
}

impl<G: Goal + ?Sized> Drop for WaitFuture<'_, G> {
    fn drop(&mut self) {
        if !self.stage.get().is_joined() {
            return;
        }
        // Under the lock, so either no granter has claimed it, or it is granted.
        // SAFETY: the node is in this list or in none.
        if unsafe { unlink(self.goal, &self.node) } {
            self.goal.gone();
        } else {
            self.goal.pass_on(self.node.granted().expect("it was unlinked"));
        }
    }
}
