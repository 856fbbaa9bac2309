//! Putting and getting as a task.
//!
//! A task waits in the same lines as the threads. Its node and its item live in its future, pinned; what happens when the
//! future is dropped is said at [`get_async`](QueueOf::get_async) and [`put_async`](QueueOf::put_async).

use super::base::{QueueOf, there};
use super::entry::Entry;
use super::error::{GetError, PutError};
use super::kind::Kind;
use super::line::Turn;
use super::state::{End, Step};
use super::wait::answer;
use crate::deadlock;
use crate::fork::generation;
use crate::wait::{Goal, Note, Place, WaitQueue, Waiter, wait_async};
use std::cell::Cell;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::task::{Context, Poll};

impl<T, K: Kind<T>> QueueOf<T, K> {
    /// Puts an item, as a task; waits for room if it must. No interruption point.
    ///
    /// Dropped before it was ready, the future has put the item or drops it. To keep an item that was not put, put it
    /// with a [`Select`](super::Select).
    ///
    /// ```
    /// # smol::block_on(async {
    /// let queue = quell::Queue::bounded(1);
    /// queue.put_async(1).await.unwrap();
    /// assert_eq!(queue.get_async().await.unwrap(), 1);
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`PutError::ShutDown`]. The item comes back in the error.
    pub async fn put_async(&self, item: T) -> Result<(), PutError<T>> {
        match Operation::new(self, End::Put, Some(item)).await {
            (Step::ShutDown, slot) => Err(PutError::ShutDown(there(slot))),
            _ => Ok(()),
        }
    }

    /// Takes the next item, as a task; waits for one if it must. No interruption point.
    ///
    /// Dropped before it was ready, the future has taken nothing: an item that was handed to it, and that it did not
    /// see, goes to the next who waits for one, or back into the queue, where it is the next to come out, whatever the
    /// capacity. (So after a rendezvous whose getter was dropped, one item is in the queue.)
    ///
    /// # Errors
    /// [`GetError::ShutDown`] if the queue is shut down and empty.
    pub async fn get_async(&self) -> Result<T, GetError> {
        match Operation::new(self, End::Get, None).await {
            (Step::ShutDown, _) => Err(GetError::ShutDown),
            (_, slot) => Ok(there(slot)),
        }
    }

    /// Waits until every item that was put was reported done, as a task. No interruption point.
    pub async fn join_async(&self) {
        let goal = AllDone(self);
        if goal.must_wait() {
            wait_async(&goal, Place::Back, Note::NONE).await;
        }
    }
}

/// That every task is done.
pub(super) struct AllDone<'a, T, K: Kind<T>>(pub(super) &'a QueueOf<T, K>);

impl<T, K: Kind<T>> Goal for AllDone<'_, T, K> {
    fn queue(&self) -> &WaitQueue {
        &self.0.joiners
    }

    fn kind(&self) -> deadlock::Kind {
        deadlock::Kind::Queue
    }

    fn must_wait(&self) -> bool {
        self.0.unfinished() > 0
    }

    fn left(&self, _empty: bool) {}

    /// It is news for all.
    fn pass_on(&self, _token: u32) {}
}

/// A put or a get as a future: what it came to, and what is in its slot then.
struct Operation<'a, T, K: Kind<T>> {
    entry: Entry<'a, T, K>,
    turn: Turn,
    /// It has joined the line, in this generation of processes. In a later one, the line has forgotten it.
    joined: Cell<Option<u32>>,
    _pinned: PhantomPinned,
}

impl<'a, T, K: Kind<T>> Operation<'a, T, K> {
    fn new(queue: &'a QueueOf<T, K>, end: End, item: Option<T>) -> Operation<'a, T, K> {
        let (entry, turn) = (Entry::new(queue, end, item), Turn::asleep());
        Operation { entry, turn, joined: Cell::new(None), _pinned: PhantomPinned }
    }

    fn has_joined(&self) -> bool {
        self.joined.get().is_some_and(|generation| generation == generation::current())
    }

    /// Tries, and joins the line if it must wait.
    fn enter(&self, cx: &Context<'_>) -> Option<Step> {
        loop {
            // SAFETY: it is in no line.
            let step = unsafe { self.entry.attempt() };
            if step != Step::Wait {
                return Some(step);
            }
            self.turn.state.renew();
            let waiter = Waiter::Task(cx.waker().clone());
            // SAFETY: in no line; pinned, and out of the line before it is gone.
            if unsafe { self.entry.join(&self.turn, 0, waiter) } {
                self.joined.set(Some(generation::current()));
                return None;
            }
        }
    }
}

impl<T, K: Kind<T>> Future for Operation<'_, T, K> {
    type Output = (Step, Option<T>);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(Step, Option<T>)> {
        // Shared from here on: granters reach it at the same time.
        let this = self.into_ref().get_ref();
        let step = if !this.has_joined() {
            this.enter(cx)
        // SAFETY: it has joined.
        } else if !this.turn.is_granted() && unsafe { this.entry.replace_waker(cx.waker()) } {
            None
        } else {
            this.joined.set(None);
            this.turn.use_slots();
            Some(answer(&this.turn))
        };
        match step {
            // SAFETY: it is in no line.
            Some(step) => Poll::Ready((step, unsafe { this.entry.take() })),
            None => Poll::Pending,
        }
    }
}

impl<T, K: Kind<T>> Drop for Operation<'_, T, K> {
    fn drop(&mut self) {
        if !self.has_joined() {
            return;
        }
        // In the line, so not claimed; or not in the line, so granted: see `quit`.
        self.entry.quit();
        self.turn.use_slots();
        if let Some((_, token)) = self.turn.state.granted() {
            // SAFETY: it is in no line.
            unsafe { self.entry.give_back(token) };
        }
    }
}
