//! Who comes to a barrier: what it waits for, how it is marked, and what becomes of the others if it gives up. The protocol is in
//! the module's documentation.

use super::{
    ABORTED, ACTING, BROKEN, Barrier, BrokenBarrier, FILLING, PHASE, STOPPED, THROUGH, UNDECIDED,
};
use crate::deadlock::Kind;
use crate::sys::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use crate::wait::{Goal, Note, WaitQueue, Waited};
use std::sync::atomic::AtomicU32;

/// Where a waiter is marked.
pub(super) fn mark_of(note: &Note) -> &AtomicU32 {
    // SAFETY: every note in a barrier's queue is made by `Note::at` of the mark of a `Party`. That lives until its waiter
    // returns: after it was granted, or has left the list; so as long as who reads the note may reach the node.
    unsafe { &*note.slot.cast() }
}

/// One who arrives and waits. Its fields are written under the queue's lock, so they are Relaxed, and std's in models.
pub(super) struct Party<'a, A> {
    barrier: &'a Barrier<A>,
    /// The word of the generation that it joined.
    pub(super) generation: AtomicU32,
    pub(super) index: AtomicU32,
    pub(super) mark: AtomicU32,
}

impl<'a, A: Fn()> Party<'a, A> {
    pub(super) fn new(barrier: &'a Barrier<A>) -> Party<'a, A> {
        let (generation, index) = (AtomicU32::new(0), AtomicU32::new(0));
        Party { barrier, generation, index, mark: AtomicU32::new(UNDECIDED) }
    }

    /// Breaks its generation. False: that was decided before.
    pub(super) fn give_up(&self) -> bool {
        let now = self.generation.load(Relaxed);
        self.barrier.queue.word.compare_exchange(now, now | BROKEN, AcqRel, Relaxed).is_ok()
    }

    /// How its wait ended; `None`: it did not wait.
    pub(super) fn ended(&self, waited: Waited) -> Option<Result<usize, BrokenBarrier>> {
        match waited {
            Waited::Refused => None,
            Waited::Granted(THROUGH) => Some(Ok(self.index.load(Relaxed) as usize)),
            Waited::Granted(_) => Some(Err(BrokenBarrier(()))),
        }
    }
}

impl<A: Fn()> Goal for Party<'_, A> {
    fn queue(&self) -> &WaitQueue {
        &self.barrier.queue
    }

    fn kind(&self) -> Kind {
        Kind::Barrier
    }

    fn must_wait(&self) -> bool {
        let Barrier { queue, arrived, parties, .. } = self.barrier;
        let (now, index) = (queue.word.load(Acquire), arrived.load(Relaxed));
        if now & PHASE != FILLING || index + 1 == *parties {
            return false;
        }
        self.generation.store(now, Relaxed);
        self.index.store(index, Relaxed);
        arrived.store(index + 1, Relaxed);
        true
    }

    fn left(&self, _empty: bool) {
        // A thread did that to leave. A task does it here: unless it was decided, it is broken now.
        self.give_up();
    }

    fn gone(&self) {
        let granting = self.barrier.queue.granting();
        if self.barrier.queue.word.load(Acquire) & PHASE == BROKEN {
            self.barrier.decide(granting, STOPPED);
        }
    }

    /// It had arrived, and with the others it would have got through.
    fn pass_on(&self, _token: u32) {}
}

/// Waiting for an action to end, before arriving.
pub(super) struct Gate<'a, A>(pub(super) &'a Barrier<A>);

#[expect(clippy::misnamed_getters, reason = "the queue that one waits in here is the gate")]
impl<A: Fn()> Goal for Gate<'_, A> {
    fn queue(&self) -> &WaitQueue {
        &self.0.gate
    }

    fn kind(&self) -> Kind {
        Kind::Barrier
    }

    fn must_wait(&self) -> bool {
        matches!(self.0.queue.word.load(Acquire) & PHASE, ACTING | ABORTED)
    }

    fn left(&self, _empty: bool) {}

    fn gone(&self) {
        // The others would wait for it.
        self.0.abort();
    }

    fn pass_on(&self, _token: u32) {
        self.0.abort();
    }
}
