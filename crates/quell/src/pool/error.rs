//! How tasks end other than well, and how submitting and waiting fail.

use super::Task;
use super::crew::Stuck;
use crate::interrupt::Interrupted;
use crate::queue::PutError;
use crate::thread::panic_words;
use std::any::Any;
use std::fmt;
use std::time::Duration;

/// Why a task was ended, or kept from running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// Somebody [cancelled](Task::cancel) it.
    Cancelled,
    /// It ran for longer than its pool, or its submission, allows.
    Limit(Duration),
    /// Its deadline has passed.
    Deadline,
    /// Its pool was shut down at once.
    ShutDown,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Cancelled => f.write_str("the task was cancelled"),
            Why::Limit(limit) => write!(f, "the task has run for longer than {limit:?}"),
            Why::Deadline => f.write_str("the task's deadline has passed"),
            Why::ShutDown => f.write_str("the pool was shut down"),
        }
    }
}

/// The reason of the interrupt that a running task receives.
///
/// ```
/// use quell::pool::{Pool, TaskInterrupted, Why};
/// use std::time::Duration;
///
/// let pool = Pool::new(1);
/// let task = pool.submit(|| quell::sleep(Duration::from_secs(3600))).unwrap();
/// while task.state() != quell::pool::TaskState::Running {
///     std::thread::yield_now();
/// }
/// task.cancel();
/// let interrupted = task.get().unwrap().unwrap_err();
/// let reason = interrupted.downcast_ref::<TaskInterrupted>().unwrap();
/// assert_eq!(reason.why(), Why::Cancelled);
/// ```
#[derive(Clone, Debug)]
pub struct TaskInterrupted {
    why: Why,
    words: String,
}

impl TaskInterrupted {
    pub(super) fn new(why: Why) -> TaskInterrupted {
        TaskInterrupted { why, words: why.to_string() }
    }

    /// Why it was interrupted.
    pub fn why(&self) -> Why {
        self.why
    }
}

impl AsRef<str> for TaskInterrupted {
    fn as_ref(&self) -> &str {
        &self.words
    }
}

/// A task ended without a result.
#[derive(Debug)]
pub enum Failure {
    /// Its function panicked; this is the panic's payload.
    Panicked(Box<dyn Any + Send>),
    /// Its function was never called. It was dropped.
    NeverRan(Why),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Panicked(payload) => {
                write!(f, "the task panicked: {}", panic_words(&**payload))
            }
            Failure::NeverRan(why) => write!(f, "{why} before it ran"),
        }
    }
}

impl std::error::Error for Failure {}

/// Why [`Task::get`] has no result. Where the task may still run, its handle is in here.
pub enum TaskError<T> {
    /// The task ended without one.
    Failed(Failure),
    /// The wait's deadline has passed. The task goes on.
    TimedOut(Task<T>),
    /// The waiting thread was interrupted. The task goes on.
    Interrupted(Task<T>, Interrupted),
    /// A signal handler ran in the waiting thread, or it was nudged, and the wait had asked to know.
    Signalled(Task<T>),
    /// The waiting thread is the last of its pool that does not wait, and no [spare](super::Builder::spares) thread could be
    /// started: nobody would be left to run tasks. The task is not touched.
    Stuck(Task<T>),
}

impl<T> TaskError<T> {
    /// The handle, to try again. `None` if the task has ended.
    pub fn into_task(self) -> Option<Task<T>> {
        match self {
            TaskError::Failed(_) => None,
            TaskError::TimedOut(task)
            | TaskError::Interrupted(task, _)
            | TaskError::Signalled(task)
            | TaskError::Stuck(task) => Some(task),
        }
    }
}

impl<T> fmt::Debug for TaskError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskError({self})")
    }
}

impl<T> fmt::Display for TaskError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskError::Failed(failure) => failure.fmt(f),
            TaskError::TimedOut(_) => f.write_str("the task was not done by the deadline"),
            TaskError::Interrupted(_, interrupted) => {
                write!(f, "{interrupted}, while waiting for a task")
            }
            TaskError::Signalled(_) => f.write_str("waiting for a task was ended by a signal"),
            TaskError::Stuck(_) => stuck(f),
        }
    }
}

impl<T> std::error::Error for TaskError<T> {}

/// What is said of a thread that must not wait.
fn stuck(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "thread {} cannot wait for a task: all others of its pool wait, and no spare thread could be started. Give \
         the pool more workers or spares, or have tasks not wait for tasks",
        crate::current()
    )
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        stuck(f)
    }
}

/// A task was not submitted. Its function is in here, untouched.
pub enum SubmitError<F> {
    /// The backlog is full, and the operation does not wait: because it was asked not to, or because a worker of the pool
    /// itself submits, which would wait for itself.
    Full(F),
    /// The pool is shut down.
    ShutDown(F),
    /// The backlog stayed full until the deadline.
    TimedOut(F),
    /// A signal handler ran in the thread, or it was nudged, and the wait had asked to know.
    Signalled(F),
    /// The thread was interrupted while it waited for room.
    Interrupted(F, Interrupted),
}

impl<F> SubmitError<F> {
    /// The function.
    pub fn into_function(self) -> F {
        match self {
            SubmitError::Full(f)
            | SubmitError::ShutDown(f)
            | SubmitError::TimedOut(f)
            | SubmitError::Signalled(f)
            | SubmitError::Interrupted(f, _) => f,
        }
    }

    pub(super) fn from_put<T>(error: PutError<T>, function: F) -> SubmitError<F> {
        match error {
            PutError::Full(_) => SubmitError::Full(function),
            PutError::ShutDown(_) => SubmitError::ShutDown(function),
            PutError::TimedOut(_) => SubmitError::TimedOut(function),
            PutError::Signalled(_) => SubmitError::Signalled(function),
            PutError::Interrupted(_, interrupted) => {
                SubmitError::Interrupted(function, interrupted)
            }
        }
    }
}

impl<F> fmt::Debug for SubmitError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubmitError({self})")
    }
}

impl<F> fmt::Display for SubmitError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubmitError::Full(_) => f.write_str("the pool's backlog is full"),
            SubmitError::ShutDown(_) => f.write_str("the pool is shut down"),
            SubmitError::TimedOut(_) => {
                f.write_str("the pool's backlog stayed full until the deadline")
            }
            SubmitError::Signalled(_) => f.write_str("the submission was ended by a signal"),
            SubmitError::Interrupted(_, interrupted) => {
                write!(f, "{interrupted}, while waiting for room in a pool's backlog")
            }
        }
    }
}

impl<F> std::error::Error for SubmitError<F> {}
