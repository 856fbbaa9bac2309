//! Pipelines: items pass through stages, each with its own threads and its own queue before it.
//!
//! # How it ends
//!
//! Each stage takes from the queue before it and puts into the one behind. When the first queue is shut down and empty, the
//! stage's workers end, and the last of them shuts the next queue down; so the end runs through the stages behind the last
//! item, and nothing is lost.
//!
//! If a stage fails (its function returns an error or panics) or the pipeline is stopped, all queues are shut down at once
//! and every worker is interrupted: those that wait for items or room are told by their queue, those inside a function by
//! the interrupt. The workers belong to the pipeline alone and run nothing else afterwards, so an interrupt that comes late hits
//! nobody. Who puts or gets is told that the queue is shut down, and [`Pipeline::join`] says why.

#[cfg(not(any(quell_loom, quell_shuttle)))]
use crate::fork::{self, Keep};
use crate::interrupt::Interrupt;
use crate::park::Short;
use crate::queue::{GetError, PutError, Queue};
use crate::sync::Event;
use crate::sys::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use crate::sys::atomic::{AtomicBool, AtomicUsize};
use crate::thread::{self, Thread, panic_words};
use crate::wait::{Wait, WaitError};
use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The error of a stage's function: of any kind.
type AnyError = Box<dyn Error + Send + Sync>;

/// How a stage is to be run: its name, its threads, the queue before it.
#[derive(Clone, Debug)]
#[must_use]
pub struct Stage {
    name: String,
    workers: usize,
    backlog: usize,
}

impl Stage {
    /// One thread, and room for 16 items before it.
    pub fn named(name: impl Into<String>) -> Stage {
        Stage { name: name.into(), workers: 1, backlog: 16 }
    }

    /// How many threads. With more than one, items may overtake each other.
    ///
    /// # Panics
    /// If it is 0.
    pub fn workers(self, workers: usize) -> Stage {
        assert!(workers > 0, "a stage needs a worker");
        Stage { workers, ..self }
    }

    /// How many items may wait before it; who puts more waits for room.
    ///
    /// # Panics
    /// If it is 0.
    pub fn backlog(self, items: usize) -> Stage {
        assert!(items > 0, "a backlog of at least 1");
        Stage { backlog: items, ..self }
    }
}

/// The reason of the interrupt with which a pipeline ends its workers.
#[derive(Clone, Copy, Debug)]
pub struct PipelineStopped;

impl AsRef<str> for PipelineStopped {
    fn as_ref(&self) -> &str {
        "the pipeline was stopped"
    }
}

/// Why a pipeline ended before its time.
#[derive(Debug)]
pub enum PipelineError {
    /// A stage's function returned an error.
    Failed {
        /// The stage's name.
        stage: String,
        /// What it returned.
        error: AnyError,
    },
    /// A stage's function panicked.
    Panicked {
        /// The stage's name.
        stage: String,
        /// The panic's payload.
        payload: Box<dyn Any + Send>,
    },
    /// It was [stopped](Pipeline::stop), or dropped.
    Stopped,
    /// The wait ended; the pipeline goes on.
    Wait(WaitError),
}

impl fmt::Display for PipelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PipelineError::Failed { stage, error } => write!(f, "stage {stage:?} failed: {error}"),
            PipelineError::Panicked { stage, payload } => {
                write!(f, "stage {stage:?} panicked: {}", panic_words(&**payload))
            }
            PipelineError::Stopped => f.write_str("the pipeline was stopped"),
            PipelineError::Wait(error) => error.fmt(f),
        }
    }
}

impl Error for PipelineError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            PipelineError::Failed { error, .. } => Some(&**error),
            PipelineError::Wait(error) => Some(error),
            PipelineError::Panicked { .. } | PipelineError::Stopped => None,
        }
    }
}

/// One stage's counters, to read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StageStats {
    /// Its name.
    pub name: String,
    /// Its threads.
    pub workers: usize,
    /// Items that wait before it now.
    pub queued: usize,
    /// Items in its functions now.
    pub running: usize,
    /// Items it has passed on.
    pub passed: u64,
    /// Items that were in its functions, or on their way out of them, when the pipeline was stopped or failed.
    pub lost: u64,
}

/// What a pipeline and its workers share.
struct Shared {
    stages: Vec<Counted>,
    /// The first reason to end early.
    error: Short<Option<PipelineError>>,
    /// It is stopped, or somebody has failed first.
    ending: AtomicBool,
    /// All that must be ended, and how: queues of several types.
    queues: Vec<Box<dyn Fn() + Send + Sync>>,
    threads: Short<Vec<Thread>>,
    /// Workers that have not ended.
    left: AtomicUsize,
    done: Event,
}

/// The queues are kept for themselves.
#[cfg(not(any(quell_loom, quell_shuttle)))]
impl Keep for Shared {
    fn hold(&self) {
        self.error.raw().lock();
        self.threads.raw().lock();
    }

    unsafe fn release(&self) {
        self.threads.raw().unlock();
        self.error.raw().unlock();
    }

    fn forget_waiters(&self) {
        self.done.forget_waiters_after_fork();
    }
}

/// One stage, as the counters see it.
struct Counted {
    name: String,
    workers: usize,
    queued: Box<dyn Fn() -> usize + Send + Sync>,
    /// Workers that have not ended.
    left: AtomicUsize,
    running: AtomicUsize,
    passed: AtomicU64,
    lost: AtomicU64,
}

impl Shared {
    /// Ends everything, for a reason; the first counts.
    ///
    /// The threads are all of them: before the last is started, nobody can stop the pipeline, and a worker cannot fail but by
    /// an interrupt of somebody else's. Who is added after that finds its queue shut down, and runs no function.
    fn end(&self, error: PipelineError) {
        let mut first = self.error.lock();
        if first.is_none() && self.left.load(Acquire) > 0 {
            *first = Some(error);
        }
        drop(first);
        // Relaxed: who fails because of an interrupt from here has it from the thread's slot, which orders the two.
        self.ending.store(true, Relaxed);
        self.queues.iter().for_each(|shut_down| shut_down());
        let threads = self.threads.lock().clone();
        for thread in threads {
            thread.interrupt(Interrupt::worded(PipelineStopped));
        }
    }

    /// Ends everything, unless it is ending already: an error then comes of that, and a function that runs, and winds up,
    /// was told once.
    fn fail(&self, error: PipelineError) {
        if !self.ending.swap(true, Relaxed) {
            self.end(error);
        }
    }
}

/// Starts a worker of a stage.
type Start = Box<dyn FnOnce(&Arc<Shared>) -> io::Result<()> + Send>;

/// A pipeline that is being put together. Nothing runs until [`start`](Stages::start).
#[must_use = "nothing runs until it is started"]
pub struct Stages<In, Out> {
    input: Arc<Queue<In>>,
    output: Arc<Queue<Out>>,
    stages: Vec<Counted>,
    queues: Vec<Box<dyn Fn() + Send + Sync>>,
    starts: Vec<Start>,
}

/// Items that pass through stages.
///
/// ```
/// use quell::pool::{Pipeline, Stage};
///
/// let pipeline = Pipeline::stage(Stage::named("parse").workers(2), |text: &str| text.parse::<u32>())
///     .then(Stage::named("square"), |n| Ok::<_, std::io::Error>(n * n))
///     .start()
///     .unwrap();
/// for text in ["1", "2", "3"] {
///     pipeline.put(text).unwrap();
/// }
/// pipeline.close();
/// let mut squares: Vec<u32> = pipeline.iter().collect();
/// squares.sort(); // two parsers: one may overtake the other
/// assert_eq!(squares, [1, 4, 9]);
/// pipeline.join().unwrap();
/// ```
///
/// An error ends all of it, and says where it was:
///
/// ```
/// # use quell::pool::{Pipeline, Stage};
/// let pipeline = Pipeline::stage(Stage::named("parse"), |text: &str| text.parse::<u32>())
///     .start()
///     .unwrap();
/// pipeline.put("x").unwrap();
/// let error = pipeline.join().unwrap_err();
/// assert_eq!(error.to_string(), "stage \"parse\" failed: invalid digit found in string");
/// ```
///
/// Dropping a pipeline [stops](Pipeline::stop) it, and waits for nobody.
pub struct Pipeline<In, Out> {
    input: Arc<Queue<In>>,
    output: Arc<Queue<Out>>,
    shared: Arc<Shared>,
}

impl<In: Send + 'static> Pipeline<In, In> {
    /// The first stage of a pipeline.
    ///
    /// `f` is called for each item, by any of the stage's threads. If it fails or panics, the whole pipeline ends. It is
    /// interrupted when the pipeline is stopped.
    pub fn stage<Out, E>(
        stage: Stage,
        f: impl Fn(In) -> Result<Out, E> + Send + Sync + 'static,
    ) -> Stages<In, Out>
    where
        Out: Send + 'static,
        E: Into<AnyError>,
    {
        let input: Arc<Queue<In>> = Arc::new(Queue::bounded(stage.backlog));
        #[cfg(not(any(quell_loom, quell_shuttle)))]
        fork::keep(&input);
        let output = Arc::clone(&input);
        let (stages, queues, starts) = (Vec::new(), Vec::new(), Vec::new());
        Stages { input, output, stages, queues, starts }.then(stage, f)
    }
}

impl<In: Send + 'static, Mid: Send + 'static> Stages<In, Mid> {
    /// One more stage, behind the others. As [`Pipeline::stage`].
    pub fn then<Out, E>(
        self,
        stage: Stage,
        f: impl Fn(Mid) -> Result<Out, E> + Send + Sync + 'static,
    ) -> Stages<In, Out>
    where
        Out: Send + 'static,
        E: Into<AnyError>,
    {
        let Stages { input: first, output: input, mut stages, mut queues, mut starts } = self;
        input.set_capacity(NonZeroUsize::new(stage.backlog));
        // As much room behind the last stage as before it, unless another one follows.
        let output: Arc<Queue<Out>> = Arc::new(Queue::bounded(stage.backlog));
        #[cfg(not(any(quell_loom, quell_shuttle)))]
        fork::keep(&output);
        let index = stages.len();
        let queued = {
            let input = Arc::clone(&input);
            Box::new(move || input.len())
        };
        stages.push(Counted {
            name: stage.name.clone(),
            workers: stage.workers,
            queued,
            left: AtomicUsize::new(stage.workers),
            running: AtomicUsize::new(0),
            passed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        queues.push({
            let input = Arc::clone(&input);
            Box::new(move || input.shutdown(true))
        });
        let f = Arc::new(f);
        for worker in 1..=stage.workers {
            let (f, input, output) = (Arc::clone(&f), Arc::clone(&input), Arc::clone(&output));
            let name = format!("{}-{worker}", stage.name);
            starts.push(Box::new(move |shared: &Arc<Shared>| {
                let worker = Worker {
                    shared: Arc::clone(shared),
                    index,
                    input,
                    output,
                    f: move |item| f(item).map_err(E::into),
                };
                let started = thread::Builder::new().name(name).spawn(move || worker.work())?;
                let thread = started.thread().clone();
                shared.threads.lock().push(thread);
                Ok(())
            }));
        }
        Stages { input: first, output, stages, queues, starts }
    }

    /// Starts the threads of all stages.
    ///
    /// # Errors
    /// If the system cannot start one; those that were started end.
    pub fn start(self) -> io::Result<Pipeline<In, Mid>> {
        let Stages { input, output, stages, mut queues, starts } = self;
        queues.push({
            let output = Arc::clone(&output);
            Box::new(move || output.shutdown(true))
        });
        let shared = Arc::new(Shared {
            stages,
            error: Short::new(None),
            ending: AtomicBool::new(false),
            queues,
            threads: Short::new(Vec::new()),
            left: AtomicUsize::new(starts.len()),
            done: Event::new(),
        });
        #[cfg(not(any(quell_loom, quell_shuttle)))]
        fork::keep(&shared);
        // From here on, dropping it ends the workers it has.
        let pipeline = Pipeline { input, output, shared };
        for start in starts {
            start(&pipeline.shared)?;
        }
        Ok(pipeline)
    }
}

/// One thread of a stage.
struct Worker<In, Out, F> {
    shared: Arc<Shared>,
    index: usize,
    input: Arc<Queue<In>>,
    output: Arc<Queue<Out>>,
    f: F,
}

impl<In, Out, F: Fn(In) -> Result<Out, AnyError>> Worker<In, Out, F> {
    fn work(self) {
        let stage = &self.shared.stages[self.index];
        while let Some(item) = self.next() {
            stage.running.fetch_add(1, Relaxed);
            let passed = self.pass(item);
            stage.running.fetch_sub(1, Relaxed);
            let counter = if passed { &stage.passed } else { &stage.lost };
            counter.fetch_add(1, Relaxed);
            if !passed {
                break;
            }
        }
        // AcqRel, here and below: what the others put comes before the queue is shut down.
        if stage.left.fetch_sub(1, AcqRel) == 1 {
            self.output.shutdown(false);
        }
        if self.shared.left.fetch_sub(1, AcqRel) == 1 {
            self.shared.done.set();
        }
    }

    fn next(&self) -> Option<In> {
        match self.input.get() {
            Ok(item) => Some(item),
            Err(GetError::Interrupted(interrupted)) => {
                self.fail(interrupted.into());
                None
            }
            Err(_) => None,
        }
    }

    /// Passes an item on. False: it is lost, and so is the pipeline.
    fn pass(&self, item: In) -> bool {
        match catch_unwind(AssertUnwindSafe(|| (self.f)(item))) {
            Ok(Ok(item)) => match self.output.put(item) {
                Ok(()) => return true,
                Err(PutError::Interrupted(_, interrupted)) => self.fail(interrupted.into()),
                // The pipeline ends.
                Err(_) => {}
            },
            Ok(Err(error)) => self.fail(error),
            Err(payload) => {
                let stage = self.shared.stages[self.index].name.clone();
                self.shared.fail(PipelineError::Panicked { stage, payload });
            }
        }
        false
    }

    fn fail(&self, error: AnyError) {
        let stage = self.shared.stages[self.index].name.clone();
        self.shared.fail(PipelineError::Failed { stage, error });
    }
}

impl<In, Out> Pipeline<In, Out> {
    /// Puts an item in at the front; waits for room if it must. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// [`PutError::ShutDown`] if it was closed or has ended: [`join`](Pipeline::join) says why. [`PutError::Interrupted`]. The
    /// item comes back in the error.
    pub fn put(&self, item: In) -> Result<(), PutError<In>> {
        self.input.put(item)
    }

    /// [`put`](Pipeline::put) with every option.
    ///
    /// # Errors
    /// As `put`, and as the options allow.
    pub fn put_with(&self, item: In, wait: &Wait) -> Result<(), PutError<In>> {
        self.input.put_with(item, wait)
    }

    /// [`put`](Pipeline::put) as a task of an async runtime. Not an interruption point. Dropping the future drops the item.
    ///
    /// # Errors
    /// [`PutError::ShutDown`].
    pub async fn put_async(&self, item: In) -> Result<(), PutError<In>> {
        self.input.put_async(item).await
    }

    /// Takes an item out at the end; waits for one if it must. An interruption point, if it has to wait.
    ///
    /// Somebody must: when nobody takes items and all queues are full, nothing moves any more.
    ///
    /// # Errors
    /// [`GetError::ShutDown`] if there will be no more: [`join`](Pipeline::join) says why. [`GetError::Interrupted`].
    pub fn get(&self) -> Result<Out, GetError> {
        self.output.get()
    }

    /// [`get`](Pipeline::get) with every option.
    ///
    /// # Errors
    /// As `get`, and as the options allow.
    pub fn get_with(&self, wait: &Wait) -> Result<Out, GetError> {
        self.output.get_with(wait)
    }

    /// [`get`](Pipeline::get) as a task of an async runtime. Not an interruption point.
    ///
    /// # Errors
    /// [`GetError::ShutDown`].
    pub async fn get_async(&self) -> Result<Out, GetError> {
        self.output.get_async().await
    }

    /// The items as they come out, until there are no more or this thread is interrupted.
    pub fn iter(&self) -> impl Iterator<Item = Out> {
        std::iter::from_fn(|| self.get().ok())
    }

    /// No more items go in; those that are in it pass through to the end. Does not wait.
    pub fn close(&self) {
        self.input.shutdown(false);
    }

    /// Ends it at once: items in it are dropped, functions that run are interrupted. Does not wait. Again: interrupts once more
    /// what still runs.
    pub fn stop(&self) {
        self.shared.end(PipelineError::Stopped);
    }

    /// Waits until all stages have ended: after [`close`](Pipeline::close) and when all items were taken out, or after a failure.
    /// Says what went wrong, to the first who asks; the others are told that it was stopped. An interruption point.
    ///
    /// # Errors
    /// What ended the pipeline before its time; [`PipelineError::Wait`] if the waiting thread was interrupted.
    pub fn join(&self) -> Result<(), PipelineError> {
        self.join_with(&Wait::new())
    }

    /// [`join`](Pipeline::join) with every option.
    ///
    /// # Errors
    /// As `join`.
    pub fn join_with(&self, wait: &Wait) -> Result<(), PipelineError> {
        self.shared.done.wait_with(wait).map_err(PipelineError::Wait)?;
        self.ended()
    }

    /// [`join`](Pipeline::join) as a task of an async runtime. Not an interruption point.
    ///
    /// # Errors
    /// As `join`.
    pub async fn join_async(&self) -> Result<(), PipelineError> {
        self.shared.done.wait_async().await;
        self.ended()
    }

    fn ended(&self) -> Result<(), PipelineError> {
        let mut error = self.shared.error.lock();
        match error.replace(PipelineError::Stopped) {
            Some(error) => Err(error),
            None => {
                // It has ended well.
                *error = None;
                Ok(())
            }
        }
    }

    /// What each stage does and has done, first to last.
    pub fn stats(&self) -> Vec<StageStats> {
        let stage = |stage: &Counted| StageStats {
            name: stage.name.clone(),
            workers: stage.workers,
            queued: (stage.queued)(),
            running: stage.running.load(Relaxed),
            passed: stage.passed.load(Relaxed),
            lost: stage.lost.load(Relaxed),
        };
        self.shared.stages.iter().map(stage).collect()
    }
}

impl<In, Out> Drop for Pipeline<In, Out> {
    fn drop(&mut self) {
        // Relaxed would do: one that has ended needs no more.
        if self.shared.left.load(Acquire) > 0 {
            self.stop();
        }
    }
}

impl<In, Out> fmt::Debug for Pipeline<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("stages", &self.stats()).finish_non_exhaustive()
    }
}

impl<In, Out> fmt::Debug for Stages<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.stages.iter().map(|stage| &*stage.name).collect();
        f.debug_struct("Stages").field("stages", &names).finish_non_exhaustive()
    }
}
