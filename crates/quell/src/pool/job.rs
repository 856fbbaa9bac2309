//! One task: its function, its state, what came of it. The protocol is in the module's documentation.

use super::error::{Failure, TaskInterrupted, Why};
use super::stats::Counters;
use crate::interrupt::{Aim, Interrupt, Left, Receipt, Scope, unmask};
#[cfg(not(any(quell_loom, quell_shuttle)))]
use crate::monitor::{self, Timer};
use crate::park::Short;
use crate::sync::Event;
use crate::sys::atomic::AtomicU8;
use crate::sys::atomic::Ordering::{AcqRel, Acquire, Release};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

const QUEUED: u8 = 0;
const RUNNING: u8 = 1;
/// The function has returned, or will never be called. What came of it is there when `done` is set.
const SETTLED: u8 = 2;

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskState {
    /// It waits for a worker.
    Queued,
    /// A worker runs it.
    Running,
    /// It has ended: it returned or panicked, or never ran and never will.
    Finished,
}

/// What [`Task::cancel`](super::Task::cancel) did.
#[derive(Clone, Debug)]
pub enum Cancel {
    /// The task was queued. It never runs; its function was dropped.
    NeverRuns,
    /// The task was running, and was sent an interrupt. The receipt tells whether it was delivered, or taken back
    /// because the task was done before.
    Interrupted(Receipt),
    /// The task had ended.
    Finished,
}

impl Cancel {
    /// Whether the task had not ended yet.
    pub fn was_in_time(&self) -> bool {
        !matches!(self, Cancel::Finished)
    }
}

/// What every task has, whatever it returns.
pub(super) struct Control {
    state: AtomicU8,
    /// Where interrupts for this task go. Its scope is entered by the worker before `RUNNING`, and left after the function
    /// has returned.
    aim: Aim,
    done: Event,
    /// Who awaits it.
    waker: Short<Option<Waker>>,
    counters: Arc<Counters>,
    /// How long it may run.
    limit: Option<Duration>,
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    deadline: Short<Option<Timer>>,
}

impl Control {
    pub(super) fn new(counters: Arc<Counters>, limit: Option<Duration>) -> Control {
        Control {
            state: AtomicU8::new(QUEUED),
            aim: Aim::new(),
            done: Event::new(),
            waker: Short::new(None),
            counters,
            limit,
            #[cfg(not(any(quell_loom, quell_shuttle)))]
            deadline: Short::new(None),
        }
    }

    pub(super) fn state(&self) -> TaskState {
        // Acquire: who sees it finished also sees what the task has done.
        match self.state.load(Acquire) {
            QUEUED => TaskState::Queued,
            RUNNING => TaskState::Running,
            _ => TaskState::Finished,
        }
    }

    /// Set when what came of it can be taken.
    pub(super) fn done(&self) -> &Event {
        &self.done
    }

    /// Registers who is to be woken; false: it is done.
    pub(super) fn register(&self, waker: &Waker) -> bool {
        let mut slot = self.waker.lock();
        let old = match &*slot {
            Some(old) if old.will_wake(waker) => None,
            _ => slot.replace(waker.clone()),
        };
        drop(slot);
        drop(old);
        // `publish` sets `done` before it looks here: either it finds the waker, or this finds it set.
        !self.done.is_set()
    }

    /// QUEUED to RUNNING or SETTLED. One of those who try.
    fn leave_queue(&self, to: u8) -> bool {
        // AcqRel: the worker hands over that it has entered the scope.
        self.state.compare_exchange(QUEUED, to, AcqRel, Acquire).is_ok()
    }

    /// What came of it is there.
    fn publish(&self) {
        #[cfg(not(any(quell_loom, quell_shuttle)))]
        {
            let timer = self.deadline.lock().take();
            if let Some(timer) = timer {
                timer.cancel();
            }
        }
        self.done.set();
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn interrupt(&self, why: Why) -> Receipt {
        self.aim.interrupt(Interrupt::worded(TaskInterrupted::new(why)))
    }
}

/// A task as the queue and the workers see it.
pub(super) trait Job: Send + Sync {
    fn control(&self) -> &Control;
    /// The worker: calls the function, unless somebody else was faster.
    fn run(&self);
    /// If it is still queued: it never runs. False: it is not.
    fn abandon(&self, why: Why) -> bool;
}

/// A task as its handle sees it.
pub(super) trait Outcome<T>: Job {
    /// What came of it, once; when `done` is set.
    fn take(&self) -> Option<Result<T, Failure>>;
}

/// Ends a task, wherever it is. Any thread.
pub(super) fn cancel<J: Job + ?Sized>(job: &J, why: Why) -> Cancel {
    loop {
        match job.control().state() {
            TaskState::Queued => {
                if job.abandon(why) {
                    return Cancel::NeverRuns;
                }
            }
            TaskState::Running => return Cancel::Interrupted(job.control().interrupt(why)),
            TaskState::Finished => return Cancel::Finished,
        }
    }
}

/// Has a task end at `deadline`. Before it is queued.
#[cfg(not(any(quell_loom, quell_shuttle)))]
pub(super) fn arm(job: &Arc<dyn Job>, deadline: Instant) {
    let due = Arc::clone(job);
    let timer = monitor::at(deadline, move || {
        cancel(&*due, Why::Deadline);
    });
    // If it has gone off by now, this is a ticket to nothing.
    *job.control().deadline.lock() = Some(timer);
}

#[cfg(any(quell_loom, quell_shuttle))]
pub(super) fn arm(_: &Arc<dyn Job>, _: Instant) {}

/// The whole task.
pub(super) struct Inner<F, T> {
    control: Control,
    function: Short<Option<F>>,
    result: Short<Option<Result<T, Failure>>>,
}

impl<F, T> Inner<F, T> {
    pub(super) fn new(function: F, control: Control) -> Inner<F, T> {
        Inner { control, function: Short::new(Some(function)), result: Short::new(None) }
    }

    /// The function back, of a task that was never queued and has no handle. `None`: its deadline was faster.
    pub(super) fn take_back(&self) -> Option<F> {
        if !self.control.leave_queue(SETTLED) {
            return None;
        }
        let function = self.function.lock().take();
        self.control.publish();
        function
    }

    fn settle(&self, result: Result<T, Failure>) {
        *self.result.lock() = Some(result);
        self.control.publish();
    }
}

impl<F, T> Job for Inner<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    fn control(&self) -> &Control {
        &self.control
    }

    fn run(&self) {
        let control = &self.control;
        // Before RUNNING: who sees that must find the thread.
        let scope = Scope::enter_for(control.aim.clone());
        if !control.leave_queue(RUNNING) {
            return;
        }
        let function = self.function.lock().take().expect("who leaves the queue takes it");
        #[cfg(not(any(quell_loom, quell_shuttle)))]
        let limit = control.limit.map(|limit| {
            let aim = control.aim.clone();
            monitor::after(limit, move || {
                aim.interrupt(Interrupt::worded(TaskInterrupted::new(Why::Limit(limit))));
            })
        });
        #[cfg(any(quell_loom, quell_shuttle))]
        let _ = control.limit;
        // The worker is shielded; the task is not, and whatever masks it leaves behind end here.
        let unmasked = unmask();
        let result = catch_unwind(AssertUnwindSafe(function));
        drop(unmasked);
        #[cfg(not(any(quell_loom, quell_shuttle)))]
        if let Some(limit) = limit {
            limit.cancel();
        }
        // From here on nothing that was meant for this task is delivered, or will be.
        let left = scope.leave();
        control.counters.ran(result.is_err(), left == Left::Delivered);
        // Release: as `state` says.
        control.state.store(SETTLED, Release);
        self.settle(result.map_err(Failure::Panicked));
    }

    fn abandon(&self, why: Why) -> bool {
        if !self.control.leave_queue(SETTLED) {
            return false;
        }
        self.control.counters.abandoned(why);
        let function = self.function.lock().take();
        self.settle(Err(Failure::NeverRan(why)));
        // A user's drop handlers: with nothing locked, and everybody told.
        drop(function);
        true
    }
}

impl<F, T> Outcome<T> for Inner<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    fn take(&self) -> Option<Result<T, Failure>> {
        self.result.lock().take()
    }
}

/// A task in the queue. Dropped there, because the queue was emptied, it never runs.
pub(super) struct Queued(pub(super) Arc<dyn Job>);

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.abandon(Why::ShutDown);
    }
}
