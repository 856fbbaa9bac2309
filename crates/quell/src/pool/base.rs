//! The pool: how it is built, fed, looked at and shut down.

use super::crew::{Crew, SPARES, is_member};
use super::error::{SubmitError, Why};
use super::job::{Control, Inner, Job, Queued, arm, cancel};
use super::stats::{Counters, Stats};
use super::task::Task;
use super::worker::{Seat, work};
#[cfg(not(any(quell_loom, quell_shuttle)))]
use crate::fork::Keep;
use crate::interrupt::Interrupted;
use crate::queue::{PutError, Queue};
use crate::sys::atomic::AtomicBool;
use crate::sys::atomic::Ordering::{Acquire, Release};
use crate::thread::Thread;
use crate::wait::{Wait, WaitError};
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a pool and its workers share.
pub(super) struct Shared {
    pub(super) queue: Queue<Queued>,
    /// The workers'.
    seats: Box<[Seat]>,
    crew: Crew,
    stopping: AtomicBool,
    counters: Arc<Counters>,
}

impl Shared {
    pub(super) fn crew(&self) -> &Crew {
        &self.crew
    }

    pub(super) fn is_stopping(&self) -> bool {
        // Acquire: ordered by the seats' locks anyway.
        self.stopping.load(Acquire)
    }
}

/// A worker that waits for a task, or is in the middle of taking one, is not in the child of a fork.
#[cfg(not(any(quell_loom, quell_shuttle)))]
impl Keep for Shared {
    fn hold(&self) {
        self.queue.hold();
        self.crew.hold();
        self.seats.iter().for_each(Seat::hold);
    }

    unsafe fn release(&self) {
        self.seats.iter().for_each(Seat::release);
        self.crew.release();
        // SAFETY: it is held, as this is.
        unsafe { self.queue.release() };
    }

    fn forget_waiters(&self) {
        self.queue.forget_waiters();
        // These can still come to something: their end, without having run.
        self.queue.visit(|queued| queued.0.control().done().forget_waiters_after_fork());
    }
}

impl Shared {
    /// The handle of a task that was put into the queue; its function, if it was not.
    fn submitted<F, T>(
        &self,
        inner: Arc<Inner<F, T>>,
        put: Result<(), PutError<Queued>>,
    ) -> Result<Task<T>, SubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let Err(error) = put else { return Ok(Task::new(inner)) };
        match inner.take_back() {
            Some(f) => {
                self.counters.taken_back();
                Err(SubmitError::from_put(error, f))
            }
            // Its deadline passed while it waited for room: it was accepted as far as that.
            None => Ok(Task::new(inner)),
        }
    }
}

/// Workers on a queue: hand it functions, and take what they return.
///
/// The chapter above, [`pool`](super), is the guide.
///
/// ```
/// use quell::pool::Pool;
///
/// let pool = Pool::builder().workers(4).name("square").backlog(100).build().unwrap();
/// let tasks: Vec<_> = (0..10).map(|n| pool.submit(move || n * n).unwrap()).collect();
/// let squares: Vec<i32> = tasks.into_iter().map(|task| task.get().unwrap()).collect();
/// assert_eq!(squares[9], 81);
/// pool.shutdown();
/// pool.join().unwrap();
/// ```
///
/// Dropping a pool shuts it down as [`shutdown`](Pool::shutdown) does: nothing more is accepted, what was accepted runs to its
/// end, and nobody waits for that. So the last handle may be dropped anywhere, also in one of its own tasks.
#[doc(alias = "ThreadPool")]
#[doc(alias = "Executor")]
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<Thread>,
    limit: Option<Duration>,
    /// Who submits may have to wait.
    bounded: bool,
}

/// How to make a [`Pool`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    workers: Option<usize>,
    name: String,
    backlog: Option<NonZeroUsize>,
    limit: Option<Duration>,
    stack_size: Option<usize>,
    spares: usize,
}

impl Builder {
    /// How many threads. Otherwise as many as the machine runs at once.
    ///
    /// # Panics
    /// If it is 0.
    pub fn workers(self, workers: usize) -> Builder {
        assert!(workers > 0, "a pool needs a worker");
        Builder { workers: Some(workers), ..self }
    }

    /// Names the workers: `name-1`, `name-2` and so on. Otherwise `pool`.
    pub fn name(self, name: impl Into<String>) -> Builder {
        Builder { name: name.into(), ..self }
    }

    /// How many tasks may wait for a worker; who submits more waits for room. Otherwise any number.
    ///
    /// # Panics
    /// If it is 0.
    pub fn backlog(self, tasks: usize) -> Builder {
        let backlog = NonZeroUsize::new(tasks).expect("a backlog of at least 1");
        Builder { backlog: Some(backlog), ..self }
    }

    /// How long each task may run before it is interrupted, unless its submission says otherwise.
    pub fn task_timeout(self, limit: Duration) -> Builder {
        Builder { limit: Some(limit), ..self }
    }

    /// How many spare threads there may be at once, each in the place of a worker that waits for a task of the pool. Otherwise
    /// 256. With 0, a task that waits for another one when nobody else is left to run that one gets an error
    /// ([`TaskError::Stuck`](super::TaskError::Stuck)).
    pub fn spares(self, spares: usize) -> Builder {
        Builder { spares, ..self }
    }

    /// The size of the workers' stacks, in bytes.
    pub fn stack_size(self, bytes: usize) -> Builder {
        Builder { stack_size: Some(bytes), ..self }
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// If the system cannot start one; those that were started end.
    pub fn build(self) -> io::Result<Pool> {
        let machine = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let count = self.workers.unwrap_or_else(machine);
        let shared = Arc::new(Shared {
            queue: Queue::with_capacity(self.backlog),
            seats: (0..count).map(|_| Seat::new()).collect(),
            crew: Crew::new(count, self.spares, self.name, self.stack_size),
            stopping: AtomicBool::new(false),
            counters: Arc::new(Counters::default()),
        });
        #[cfg(not(any(quell_loom, quell_shuttle)))]
        crate::fork::keep(&shared);
        // From here on, dropping the pool ends the workers it has.
        let mut pool = Pool {
            shared,
            workers: Vec::with_capacity(count),
            limit: self.limit,
            bounded: self.backlog.is_some(),
        };
        for index in 0..count {
            let shared = Arc::clone(&pool.shared);
            let crew = &pool.shared.crew;
            let builder = crew.builder(format!("{}-{}", crew.name(), index + 1));
            let worker = builder.spawn(move || work(&shared, &shared.seats[index]))?;
            pool.workers.push(worker.thread().clone());
        }
        Ok(pool)
    }
}

impl Pool {
    /// A pool of `workers` threads with a backlog of any length.
    ///
    /// # Panics
    /// If `workers` is 0, or the system cannot start a thread.
    pub fn new(workers: usize) -> Pool {
        let built = Pool::builder().workers(workers).build();
        built.expect("the system could not start a thread")
    }

    /// A pool with every option.
    pub fn builder() -> Builder {
        let name = "pool".to_owned();
        let (workers, backlog, limit, stack_size) = (None, None, None, None);
        Builder { workers, name, backlog, limit, stack_size, spares: SPARES }
    }

    /// Submits a task. If the backlog is full, waits for room; that is an interruption point.
    ///
    /// A worker of this very pool does not wait for room, since all of them could do so and none would make any: it is told
    /// that the backlog is [full](SubmitError::Full), and has the function back, to call it itself for instance.
    ///
    /// # Errors
    /// [`SubmitError::ShutDown`], [`SubmitError::Interrupted`], and for a worker [`SubmitError::Full`]. The function comes back
    /// in the error.
    pub fn submit<F, T>(&self, f: F) -> Result<Task<T>, SubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.task().submit(f)
    }

    /// Submits a task if there is room in the backlog. Does not block, and is no interruption point.
    ///
    /// # Errors
    /// [`SubmitError::Full`], [`SubmitError::ShutDown`]. The function comes back in the error.
    pub fn try_submit<F, T>(&self, f: F) -> Result<Task<T>, SubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.task().try_submit(f)
    }

    /// Submits a task with limits of its own.
    ///
    /// ```
    /// use quell::pool::{Failure, Pool, TaskError, Why};
    /// use std::time::{Duration, Instant};
    ///
    /// let pool = Pool::new(1);
    /// let task = pool.task().deadline(Instant::now()).submit(|| "too late").unwrap();
    /// match task.get() {
    ///     Err(TaskError::Failed(Failure::NeverRan(Why::Deadline))) => {}
    ///     ran => assert_eq!(ran.unwrap(), "too late"), // it had begun by then
    /// }
    /// ```
    pub fn task(&self) -> Submission<'_> {
        Submission { pool: self, limit: self.limit, deadline: None, wait: Wait::new() }
    }

    /// Waits until no task is queued or running. More may have been submitted by the time this returns. An interruption
    /// point, if it has to wait.
    ///
    /// # Errors
    /// If the waiting thread is interrupted.
    ///
    /// # Panics
    /// In a task of this pool, which would wait for its own end.
    pub fn wait_idle(&self) -> Result<(), Interrupted> {
        self.wait_idle_with(&Wait::new()).map_err(WaitError::only_interrupt)
    }

    /// [`wait_idle`](Pool::wait_idle) with every option.
    ///
    /// # Errors
    /// As the options allow.
    ///
    /// # Panics
    /// As `wait_idle`.
    pub fn wait_idle_with(&self, wait: &Wait) -> Result<(), WaitError> {
        self.refuse_mine("that its own pool is idle");
        self.shared.queue.join_with(wait)
    }

    /// Accepts no more tasks; those that were accepted run to their end, and then the workers end. Who waits for room is told
    /// that the pool is shut down. Does not wait: see [`join`](Pool::join). Again: nothing more happens.
    pub fn shutdown(&self) {
        self.shared.queue.shutdown(false);
    }

    /// Ends everything: accepts no more tasks, drops those that are queued, which then
    /// [never run](super::Failure::NeverRan), and interrupts those that are running. Says how many were running. Does not
    /// wait: see [`join`](Pool::join). Again: interrupts once more what still runs.
    pub fn shutdown_now(&self) -> usize {
        // Release: with the seats' locks, as the worker says.
        self.shared.stopping.store(true, Release);
        // The tasks' own drop says what they are.
        self.shared.queue.shutdown(true);
        let stop = |seat: &Seat| {
            seat.running().is_some_and(|job| cancel(&*job, Why::ShutDown).was_in_time())
        };
        let spares = self.shared.crew.spare_seats();
        let seats = self.shared.seats.iter().chain(spares.iter().map(|seat| &**seat));
        seats.filter(|seat| stop(seat)).count()
    }

    /// Whether it was shut down.
    pub fn is_shut_down(&self) -> bool {
        self.shared.queue.is_shut_down()
    }

    /// Waits until every worker has ended; shut the pool down first. An interruption point.
    ///
    /// # Errors
    /// If the waiting thread is interrupted.
    ///
    /// # Panics
    /// In a worker of this pool, which would wait for itself.
    pub fn join(&self) -> Result<(), Interrupted> {
        self.join_with(&Wait::new()).map_err(WaitError::only_interrupt)
    }

    /// [`join`](Pool::join) with every option.
    ///
    /// ```
    /// use quell::pool::Pool;
    /// use quell::Wait;
    /// use std::time::Duration;
    ///
    /// let pool = Pool::new(1);
    /// pool.submit(|| quell::sleep(Duration::from_secs(3600))).unwrap();
    /// pool.shutdown();
    /// // It would take too long: end it at once.
    /// if pool.join_with(&Wait::new().timeout(Duration::from_millis(1))).is_err() {
    ///     pool.shutdown_now();
    ///     pool.join().unwrap();
    /// }
    /// ```
    ///
    /// # Errors
    /// As the options allow.
    ///
    /// # Panics
    /// As `join`.
    pub fn join_with(&self, wait: &Wait) -> Result<(), WaitError> {
        self.refuse_mine("for the end of its own pool");
        self.workers.iter().try_for_each(|worker| worker.ended().wait_with(wait))?;
        // A worker that has ended starts no more spares; a spare that starts another is found here first.
        while let Some(spare) = self.shared.crew.living_spare() {
            spare.ended().wait_with(wait)?;
        }
        Ok(())
    }

    /// [`wait_idle`](Pool::wait_idle) as a task of an async runtime. Not an interruption point.
    ///
    /// # Panics
    /// As `wait_idle`.
    pub async fn wait_idle_async(&self) {
        self.refuse_mine("that its own pool is idle");
        self.shared.queue.join_async().await;
    }

    /// [`join`](Pool::join) as a task of an async runtime. Not an interruption point.
    ///
    /// # Panics
    /// As `join`.
    pub async fn join_async(&self) {
        self.refuse_mine("for the end of its own pool");
        for worker in &self.workers {
            worker.ended().wait_async().await;
        }
        while let Some(spare) = self.shared.crew.living_spare() {
            spare.ended().wait_async().await;
        }
    }

    /// The workers' threads, without spares. An interrupt sent to one by its handle goes to whatever task it runs then, and is withdrawn if it
    /// runs none; [`Task::cancel`] goes to one task for certain.
    pub fn workers(&self) -> &[Thread] {
        &self.workers
    }

    /// What the pool does and has done.
    pub fn stats(&self) -> Stats {
        let shared = &*self.shared;
        let spares = shared.crew.spare_seats();
        let seats = shared.seats.iter().chain(spares.iter().map(|seat| &**seat));
        let running = seats.filter(|seat| seat.is_busy()).count();
        let threads = (self.workers.len(), shared.crew.spares());
        shared.counters.read(threads, running, shared.queue.len())
    }

    /// # Panics
    /// In a task of this pool.
    fn refuse_mine(&self, what: &str) {
        assert!(!is_member(&self.shared), "a worker cannot wait {what}");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.shared.crew.name())
            .field("stats", &format_args!("{}", self.stats()))
            .finish_non_exhaustive()
    }
}

/// A task that is about to be submitted, with limits of its own. Made by [`Pool::task`].
#[derive(Clone, Debug)]
#[must_use = "nothing runs until it is submitted"]
pub struct Submission<'a> {
    pool: &'a Pool,
    limit: Option<Duration>,
    deadline: Option<Instant>,
    wait: Wait,
}

impl Submission<'_> {
    /// How long it may run before it is interrupted; `None`: for ever, whatever the pool says.
    pub fn timeout(self, limit: impl Into<Option<Duration>>) -> Self {
        Submission { limit: limit.into(), ..self }
    }

    /// When it must be done. If it is still queued then, it never runs; if it runs, it is interrupted.
    pub fn deadline(self, deadline: Instant) -> Self {
        Submission { deadline: Some(deadline), ..self }
    }

    /// How to wait for room in the backlog.
    pub fn wait(self, wait: Wait) -> Self {
        Submission { wait, ..self }
    }

    /// Submits it. As [`Pool::submit`].
    ///
    /// # Errors
    /// As [`Pool::submit`], and as the options of the wait allow.
    pub fn submit<F, T>(self, f: F) -> Result<Task<T>, SubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let wait = self.wait;
        let worker = self.pool.bounded && is_member(&self.pool.shared);
        self.put(f, |queue, item| match worker {
            true => queue.try_put(item),
            false => queue.put_with(item, &wait),
        })
    }

    /// Submits it if there is room. As [`Pool::try_submit`].
    ///
    /// # Errors
    /// As [`Pool::try_submit`].
    pub fn try_submit<F, T>(self, f: F) -> Result<Task<T>, SubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.put(f, Queue::try_put)
    }

    /// Submits it, and waits for room as a task of an async runtime. Not an interruption point, and the wait that was asked
    /// for does not count: whoever has had enough drops the future, and with it the function.
    ///
    /// ```
    /// use quell::pool::Pool;
    ///
    /// let pool = Pool::builder().workers(1).backlog(1).build().unwrap();
    /// let sum = async {
    ///     let mut sum = 0;
    ///     for n in 0..10 {
    ///         sum += pool.task().submit_async(move || n * n).await.unwrap().await.unwrap();
    ///     }
    ///     sum
    /// };
    /// assert_eq!(smol::block_on(sum), 285);
    /// ```
    ///
    /// # Errors
    /// [`SubmitError::ShutDown`].
    pub async fn submit_async<F, T>(self, f: F) -> Result<Task<T>, SubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let shared = &self.pool.shared;
        let (inner, queued) = self.prepare(f);
        let put = shared.queue.put_async(queued).await;
        shared.submitted(inner, put)
    }

    fn put<F, T>(
        self,
        f: F,
        put: impl FnOnce(&Queue<Queued>, Queued) -> Result<(), PutError<Queued>>,
    ) -> Result<Task<T>, SubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let shared = &self.pool.shared;
        let (inner, queued) = self.prepare(f);
        let put = put(&shared.queue, queued);
        shared.submitted(inner, put)
    }

    /// The task, and its place in the queue.
    fn prepare<F, T>(&self, f: F) -> (Arc<Inner<F, T>>, Queued)
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let counters = &self.pool.shared.counters;
        counters.submitted();
        let inner = Arc::new(Inner::new(f, Control::new(Arc::clone(counters), self.limit)));
        let job: Arc<dyn Job> = Arc::clone(&inner) as Arc<dyn Job>;
        if let Some(deadline) = self.deadline {
            arm(&job, deadline);
        }
        (inner, Queued(job))
    }
}
