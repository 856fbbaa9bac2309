//! The handle to a task.

use super::crew::{Alone, Away, Stuck};
use super::error::{Failure, TaskError, Why};
use super::job::{Cancel, Job, Outcome, TaskState, cancel};
use crate::interrupt::Interrupted;
use crate::wait::{Wait, WaitError};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// The right to the result of a task. Dropping it lets the task run on without anybody to take it.
///
/// Wait for it with [`get`](Task::get), or `await` it in any runtime. Waiting is an interruption point of the waiting thread
/// and says nothing to the task; [`cancel`](Task::cancel) is for that.
///
/// ```
/// use quell::pool::Pool;
///
/// let pool = Pool::new(2);
/// let (left, right) = (pool.submit(|| 6).unwrap(), pool.submit(|| 7).unwrap());
/// assert_eq!(left.get().unwrap() * right.get().unwrap(), 42);
/// ```
#[doc(alias = "Future")]
pub struct Task<T> {
    job: Arc<dyn Outcome<T>>,
}

impl<T> Task<T> {
    pub(super) fn new(job: Arc<dyn Outcome<T>>) -> Task<T> {
        Task { job }
    }

    /// Where it is. Out of date as soon as it is known, unless it is [finished](TaskState::Finished).
    pub fn state(&self) -> TaskState {
        self.job.control().state()
    }

    /// Whether it has ended: a [`get`](Task::get) would not block.
    pub fn is_finished(&self) -> bool {
        self.job.control().done().is_set()
    }

    /// Cancels: a queued task never runs; one that is running is interrupted, with [`TaskInterrupted`] as the reason.
    /// Does not wait for it.
    ///
    /// The interrupt is delivered in this task or not at all, never in what its worker does next. A task that handles it
    /// and goes on can be cancelled again. Whatever the function returns after it was interrupted is its result, as if nobody
    /// had: completion beats cancellation, and nothing it has made is lost.
    ///
    /// [`TaskInterrupted`]: super::TaskInterrupted
    pub fn cancel(&self) -> Cancel {
        cancel(&*self.job, Why::Cancelled)
    }

    /// Something to cancel the task with, for others than who waits for it.
    pub fn canceller(&self) -> Canceller
    where
        T: 'static,
    {
        Canceller { job: Arc::clone(&self.job) as Arc<dyn Job> }
    }

    /// Waits for the end of the task, and leaves the result where it is. An interruption point, if it has to wait.
    ///
    /// A worker that waits gives its place up meanwhile: see [`get`](Task::get).
    ///
    /// # Errors
    /// If the waiting thread is interrupted.
    ///
    /// # Panics
    /// Where `get` would be [`Stuck`](TaskError::Stuck).
    pub fn wait(&self) -> Result<(), Interrupted> {
        self.wait_with(&Wait::new()).map_err(WaitError::only_interrupt)
    }

    /// [`wait`](Task::wait) with every option.
    ///
    /// # Errors
    /// As the options allow.
    ///
    /// # Panics
    /// As `wait`.
    pub fn wait_with(&self, wait: &Wait) -> Result<(), WaitError> {
        match self.wait_away(wait) {
            Ok(waited) => waited,
            Err(stuck) => panic!("{stuck}"),
        }
    }

    /// Waits; a worker gives its place up meanwhile.
    fn wait_away(&self, wait: &Wait) -> Result<Result<(), WaitError>, Stuck> {
        if self.is_finished() {
            return Ok(Ok(()));
        }
        // A wait with a deadline comes to an end, whoever is left.
        let alone = if wait.deadline.is_some() { Alone::Allowed } else { Alone::Refused };
        let _away = Away::begin(alone)?;
        Ok(self.job.control().done().wait_with(wait))
    }

    /// Waits for the end of the task, and takes its result. An interruption point, if it has to wait.
    ///
    /// A worker of any pool that waits here gives its place up meanwhile, and a spare thread runs what is queued in its pool: so
    /// tasks may wait for tasks, even where there is one worker. Not while it is awaited by `.await`: who runs an executor
    /// in a task, and awaits tasks of the same pool there, needs [`blocking`](super::blocking) around it.
    ///
    /// ```
    /// use quell::pool::Pool;
    /// use std::sync::Arc;
    ///
    /// let pool = Arc::new(Pool::new(1));
    /// let inner = Arc::clone(&pool);
    /// let outer = pool.submit(move || inner.submit(|| 20).unwrap().get().unwrap() + 1).unwrap();
    /// assert_eq!(outer.get().unwrap(), 21);
    /// ```
    ///
    /// # Errors
    /// [`TaskError::Failed`] if it panicked or never ran. [`TaskError::Interrupted`] if the waiting thread was interrupted;
    /// the task is not touched, and its handle comes back in the error. [`TaskError::Stuck`] if the thread is the last of
    /// its pool that does not wait, and no spare could be started.
    pub fn get(self) -> Result<T, TaskError<T>> {
        self.get_with(&Wait::new())
    }

    /// [`get`](Task::get), for `time` at most. The task goes on: see [`cancel`](Task::cancel).
    ///
    /// # Errors
    /// As `get`, and [`TaskError::TimedOut`].
    pub fn get_timeout(self, time: Duration) -> Result<T, TaskError<T>> {
        self.get_with(&Wait::new().timeout(time))
    }

    /// [`get`](Task::get), until `deadline` at most.
    ///
    /// # Errors
    /// As `get`, and [`TaskError::TimedOut`].
    pub fn get_until(self, deadline: Instant) -> Result<T, TaskError<T>> {
        self.get_with(&Wait::new().until(deadline))
    }

    /// [`get`](Task::get) with every option.
    ///
    /// # Errors
    /// As the options allow. The handle comes back in the error, unless the task has ended.
    pub fn get_with(self, wait: &Wait) -> Result<T, TaskError<T>> {
        match self.wait_away(wait) {
            Ok(Ok(())) => self.taken().map_err(TaskError::Failed),
            Ok(Err(WaitError::TimedOut)) => Err(TaskError::TimedOut(self)),
            Ok(Err(WaitError::Signalled)) => Err(TaskError::Signalled(self)),
            Ok(Err(other)) => Err(TaskError::Interrupted(self, other.only_interrupt())),
            Err(Stuck) => Err(TaskError::Stuck(self)),
        }
    }

    /// The result, if it is there. Does not block, and is no interruption point.
    ///
    /// # Errors
    /// The handle, if it is not.
    pub fn try_get(self) -> Result<Result<T, Failure>, Task<T>> {
        if self.is_finished() { Ok(self.taken()) } else { Err(self) }
    }

    fn taken(&self) -> Result<T, Failure> {
        self.job.take().expect("a task that was awaited to its end is not asked again")
    }
}

/// Waiting as a task of an async runtime, any. Not an interruption point: a task is no thread. Dropping it lets the pool's task
/// run on.
impl<T> Future for Task<T> {
    type Output = Result<T, Failure>;

    /// # Panics
    /// If it is asked again after it was ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let waits = !self.is_finished() && self.job.control().register(context.waker());
        if waits { Poll::Pending } else { Poll::Ready(self.taken()) }
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("state", &self.state()).finish_non_exhaustive()
    }
}

/// Cancels one task. Cheap to clone; any thread may have one.
#[derive(Clone)]
pub struct Canceller {
    job: Arc<dyn Job>,
}

impl Canceller {
    /// As [`Task::cancel`].
    pub fn cancel(&self) -> Cancel {
        cancel(&*self.job, Why::Cancelled)
    }

    /// Where the task is.
    pub fn state(&self) -> TaskState {
        self.job.control().state()
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller").field("state", &self.state()).finish_non_exhaustive()
    }
}
