//! The end of the work: tasks that are done, waiting for the last, shutting down.

use super::base::QueueOf;
use super::error::TaskDoneError;
use super::held::Held;
use super::kind::Kind;
use super::state::Wake;
use super::task::AllDone;
use crate::interrupt::Interrupted;
use crate::wait::{Goal, Note, Place, Wait, WaitError, wait_for};
use std::time::{Duration, Instant};

impl<T, K: Kind<T>> QueueOf<T, K> {
    /// How many items were put and not yet reported [done](Self::task_done).
    pub fn unfinished(&self) -> usize {
        self.state.lock().unfinished
    }

    /// Reports that the work on an item that was got is done. When all are, [`join`](Self::join) returns.
    ///
    /// # Errors
    /// If it was called more often than items were put.
    pub fn task_done(&self) -> Result<(), TaskDoneError> {
        let mut state = self.state.lock();
        state.unfinished = state.unfinished.checked_sub(1).ok_or(TaskDoneError)?;
        self.tell_joiners(state);
        Ok(())
    }

    /// Frees the lock; then, if everything is done, wakes who waits for that.
    pub(super) fn tell_joiners(&self, state: Held<'_, T, K>) {
        let all = state.unfinished == 0;
        drop(state);
        if all && !self.joiners.is_quiet() {
            self.joiners.grant_all(0, || {});
        }
    }

    /// Waits until every item that was put was reported done. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// If the thread is interrupted.
    pub fn join(&self) -> Result<(), Interrupted> {
        self.join_with(&Wait::new()).map_err(WaitError::only_interrupt)
    }

    /// [`join`](Self::join) for `time` at most.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`], [`WaitError::Interrupted`].
    pub fn join_timeout(&self, time: Duration) -> Result<(), WaitError> {
        self.join_with(&Wait::new().timeout(time))
    }

    /// [`join`](Self::join) until `deadline` at most.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`], [`WaitError::Interrupted`].
    pub fn join_until(&self, deadline: Instant) -> Result<(), WaitError> {
        self.join_with(&Wait::new().until(deadline))
    }

    /// [`join`](Self::join) for as long as it takes. No interruption point.
    pub fn join_uninterruptible(&self) {
        let joined = self.join_with(&Wait::new().shielded());
        debug_assert!(joined.is_ok(), "nothing else ends it");
    }

    /// [`join`](Self::join) with every option.
    ///
    /// # Errors
    /// As the options allow.
    pub fn join_with(&self, wait: &Wait) -> Result<(), WaitError> {
        let goal = AllDone(self);
        if !goal.must_wait() {
            return Ok(());
        }
        // A grant is the news that all was done at some moment; more may have been put since, which is no matter.
        wait_for(&goal, wait, Place::Back, Note::NONE).map(drop)
    }

    /// Shuts the queue down: every `put` fails from now on, and every `get` as soon as the queue is empty. Who
    /// waits is woken; who waits to put has its item back.
    ///
    /// With `immediate`, the items that are left are taken out and dropped, and count as done.
    pub fn shutdown(&self, immediate: bool) {
        let mut state = self.state.lock();
        state.shut_down = true;
        let mut dropped = K::EMPTY;
        if immediate {
            state.discards = true;
            std::mem::swap(&mut dropped, &mut state.items);
            state.unfinished = state.unfinished.saturating_sub(K::len(&dropped));
        }
        self.tell_joiners(state);
        // Nobody joins any more. One at a time: they are woken outside the lock.
        loop {
            let mut wake = Wake::default();
            if !self.state.lock().dismiss(&mut wake) {
                break;
            }
        }
        // The items' own drop handlers run here, with nothing locked and everybody awake.
        drop(dropped);
    }

    /// Whether it was shut down.
    pub fn is_shut_down(&self) -> bool {
        self.state.lock().shut_down
    }
}
