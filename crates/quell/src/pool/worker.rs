//! A worker: takes tasks from the backlog and runs them, until the pool is shut down.
//!
//! The thread is shielded but for the tasks themselves, so that an interrupt never takes it out of its loop. One that
//! somebody sends to the thread itself, by its handle, belongs to the task that runs then; what is left of it when the
//! task ends, and what comes while the worker is idle, is withdrawn, so that it does not hit the next one.

use super::base::Shared;
use super::crew::Membership;
use super::error::Why;
use super::job::{Job, Queued, cancel};
use crate::park::Short;
use crate::thread::current;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Where a worker shows what it runs.
pub(super) struct Seat {
    running: Short<Option<Arc<dyn Job>>>,
}

impl Seat {
    pub(super) fn new() -> Seat {
        Seat { running: Short::new(None) }
    }

    /// What the worker runs, or is about to.
    pub(super) fn running(&self) -> Option<Arc<dyn Job>> {
        self.running.lock().clone()
    }

    /// Before a fork: nobody is in the middle of changing it.
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(super) fn hold(&self) {
        self.running.raw().lock();
    }

    /// After a fork, in both processes.
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(super) fn release(&self) {
        self.running.raw().unlock();
    }

    pub(super) fn is_busy(&self) -> bool {
        self.running.lock().is_some()
    }

    fn show(&self, job: Option<Arc<dyn Job>>) {
        let before = std::mem::replace(&mut *self.running.lock(), job);
        drop(before);
    }
}

/// The worker's thread, shielded.
pub(super) fn work(shared: &Arc<Shared>, seat: &Seat) {
    let _member = Membership::begin(shared);
    while next(shared, seat) {}
}

/// A spare's thread, shielded: works until it is one too many.
pub(super) fn work_as_spare(shared: &Arc<Shared>, seat: &Seat) {
    let _member = Membership::begin(shared);
    while !shared.crew().is_surplus() {
        if !next(shared, seat) {
            return shared.crew().spare_ends();
        }
    }
}

/// Waits for the next task and runs it. False: there will be no more.
fn next(shared: &Shared, seat: &Seat) -> bool {
    // Only a shut-down ends this wait otherwise: there is no deadline, and the shield is up.
    let Ok(queued) = shared.queue.get() else { return false };
    one(shared, seat, queued);
    // A worker reports each item once.
    let _ = shared.queue.task_done();
    true
}

/// Runs one task.
fn one(shared: &Shared, seat: &Seat, queued: Queued) {
    let me = current();
    seat.show(Some(Arc::clone(&queued.0)));
    // The seat's lock stands between these: either who stops the pool finds the task there, or this sees that it stops.
    if shared.is_stopping() {
        cancel(&*queued.0, Why::ShutDown);
    }
    if me.has_pending() {
        me.withdraw_all();
    }
    queued.0.run();
    seat.show(None);
    // The task's result, if nobody else has a handle. It was started or had ended, so this does nothing more with it.
    // The function's own panic is in the result; one of a drop handler ends here.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(queued)));
    if me.has_pending() {
        me.withdraw_all();
    }
}
