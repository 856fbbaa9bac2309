//! Threads that may borrow from the one that starts them, because it waits for them.
//!
//! # The end of a scope
//!
//! A scope counts itself and every thread in it that has not finished. A thread counts down as the very last thing it
//! does, when its function, with all it borrowed, is gone; who brings the count to zero sets the event that the
//! scope waits for. A thread can be added only by one that is counted, so the count does not rise from zero, and
//! the event is set once.
//!
//! The scope cannot be left before: what the threads borrow ends with it. So that wait is not ended by an interrupt.
//! [`scope`] leaves one that comes in the meantime pending; [`scope_linked`] takes it and passes it on to the threads,
//! which is the way to make them end.

use super::handle::ThreadId;
use super::join::{JoinError, Packet, joined};
use super::{Builder, Thread};
use crate::interrupt::{Interrupt, Interrupted};
use crate::park::Short;
use crate::sync::Event;
use crate::sys::atomic::AtomicUsize;
use crate::sys::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use crate::wait::Wait;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs `f` with a scope in which it can start threads that borrow from around it, and waits for all of them, as
/// [`std::thread::scope`] does.
///
/// The wait at the end, for threads that `f` has not joined, cannot be interrupted: an interrupt of the waiting thread
/// stays pending, and is delivered at its next interruption point after the scope. [`scope_linked`] interrupts the threads
/// instead; [`Scope::interrupt_all`] does so at will.
///
/// ```
/// use quell::{Interrupt, thread};
///
/// let numbers = [1, 2, 3, 4];
/// let sum = thread::scope(|s| {
///     let (left, right) = numbers.split_at(2);
///     let left = s.spawn(|| left.iter().sum::<i32>());
///     let right = s.spawn(|| right.iter().sum::<i32>());
///     left.join().unwrap() + right.join().unwrap()
/// });
/// assert_eq!(sum, 10);
/// ```
///
/// # Panics
/// If `f` panics, with its panic, after the threads have ended; or if a thread panicked whose result nobody has taken.
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    run(f, |data| {
        data.wait();
        Ok(())
    })
    .0
}

/// [`scope`], in which an interrupt of the waiting thread is passed on to the threads it waits for.
///
/// When `f` has returned, an interrupt ends the wait no more than in `scope`, but it is taken, and each thread of the scope
/// that still runs is sent one, whose reason is a [`ParentInterrupted`]. So is every further one. Beside what `f`
/// returned comes the first that was taken.
///
/// While `f` itself runs, an interrupt is delivered to it as anywhere. If the threads shall end for that, `f` says
/// [`Scope::interrupt_all`].
///
/// ```
/// use quell::thread::{self, ParentInterrupted};
/// use quell::{Interrupt, sleep};
/// use std::time::Duration;
///
/// let me = quell::current();
/// let (child, waited) = thread::scope_linked(|s| {
///     let child = s.spawn(|| {
///         me.interrupt(Interrupt::new("home")); // somebody wants the parent
///         sleep(Duration::from_secs(3600)).unwrap_err()
///     });
///     child.thread().clone()
/// });
/// assert_eq!(waited.unwrap_err().downcast_ref::<&str>(), Some(&"home"));
/// assert!(!child.is_alive());
/// ```
///
/// # Panics
/// As `scope`. If `f` panics, the wait is that of `scope`.
#[track_caller]
pub fn scope_linked<'env, F, T>(f: F) -> (T, Result<(), Interrupted>)
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    run(f, Data::wait_linked)
}

/// The reason of the interrupt that [`scope_linked`] passes on.
#[derive(Clone, Debug)]
pub struct ParentInterrupted {
    parent: Thread,
    words: String,
}

impl ParentInterrupted {
    /// The thread that was interrupted while it waited.
    pub fn parent(&self) -> &Thread {
        &self.parent
    }
}

impl AsRef<str> for ParentInterrupted {
    fn as_ref(&self) -> &str {
        &self.words
    }
}

#[track_caller]
fn run<'env, F, T>(
    f: F,
    wait: impl FnOnce(&Data) -> Result<(), Interrupted>,
) -> (T, Result<(), Interrupted>)
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope { data: Arc::new(Data::new()), scope: PhantomData, env: PhantomData };
    // Nothing unwinds past the wait.
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    scope.data.count_down();
    match result {
        Ok(value) => {
            let waited = wait(&scope.data);
            assert!(
                scope.data.panics.load(Acquire) == 0,
                "a thread of the scope panicked, and nobody has taken its result"
            );
            (value, waited)
        }
        Err(panic) => {
            scope.data.wait();
            resume_unwind(panic)
        }
    }
}

/// What a scope and its threads share.
struct Data {
    /// The scope itself, and every thread that has not finished.
    count: AtomicUsize,
    done: Event,
    /// Threads that panicked and whose result nobody has taken.
    panics: AtomicUsize,
    running: Short<BTreeMap<ThreadId, Thread>>,
}

impl Data {
    fn new() -> Data {
        Data {
            count: AtomicUsize::new(1),
            done: Event::new(),
            panics: AtomicUsize::new(0),
            running: Short::new(BTreeMap::new()),
        }
    }

    fn count_down(&self) {
        // AcqRel: what each thread has done comes before the wait is over.
        if self.count.fetch_sub(1, AcqRel) == 1 {
            self.done.set();
        }
    }

    fn wait(&self) {
        match self.done.wait_with(&Wait::new().shielded()) {
            Ok(()) => {}
            Err(other) => unreachable!("nothing else ends this wait: {other}"),
        }
    }

    fn wait_linked(&self) -> Result<(), Interrupted> {
        let mut first = Ok(());
        loop {
            let Err(interrupted) = self.done.wait() else { return first };
            let parent = interrupted.thread().clone();
            let words = interrupted.to_string();
            self.interrupt_all(|| {
                Interrupt::worded(ParentInterrupted {
                    parent: parent.clone(),
                    words: words.clone(),
                })
            });
            first = first.and(Err(interrupted));
        }
    }

    fn interrupt_all(&self, mut interrupt: impl FnMut() -> Interrupt) -> usize {
        let running: Vec<Thread> = self.running.lock().values().cloned().collect();
        for thread in &running {
            thread.interrupt(interrupt());
        }
        running.len()
    }
}

/// Starts threads that may borrow what lives for `'env`. Made by [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    data: Arc<Data>,
    // Invariant in both, as in std: a shorter 'scope would let threads borrow what ends before the wait.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

impl<'scope, 'env> Scope<'scope, 'env> {
    /// Starts a thread in this scope.
    ///
    /// # Panics
    /// If the system cannot start one.
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        Builder::new().spawn_scoped(self, f).expect("the system could not start a thread")
    }

    /// Interrupts every thread of the scope that still runs, and says how many that were. For each, `interrupt` makes
    /// one.
    pub fn interrupt_all(&self, interrupt: impl FnMut() -> Interrupt) -> usize {
        self.data.interrupt_all(interrupt)
    }

    /// How many threads of the scope still run. Out of date as soon as it is known.
    pub fn running(&self) -> usize {
        self.data.running.lock().len()
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("running", &self.running()).finish_non_exhaustive()
    }
}

impl Builder {
    /// Starts the thread in a scope: it may borrow what the scope may.
    ///
    /// ```
    /// use quell::thread;
    ///
    /// let mut count = 0;
    /// thread::scope(|s| {
    ///     let named = thread::Builder::new().name("counter".to_owned());
    ///     named.spawn_scoped(s, || count += 1).unwrap();
    /// });
    /// assert_eq!(count, 1);
    /// ```
    ///
    /// # Errors
    /// If the system cannot start one.
    pub fn spawn_scoped<'scope, F, T>(
        self,
        scope: &'scope Scope<'scope, '_>,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let data = Arc::clone(&scope.data);
        // Relaxed: the caller is counted, so the count is not zero and nobody waits for its end with this missing.
        data.count.fetch_add(1, Relaxed);
        let body = {
            let data = Arc::clone(&data);
            move || {
                /// Counts the panic, if `f` ends in one.
                struct Panics<'a>(&'a Data);
                impl Drop for Panics<'_> {
                    fn drop(&mut self) {
                        if std::thread::panicking() {
                            // Relaxed: ordered by the end of the thread, which who reads it has waited for.
                            self.0.panics.fetch_add(1, Relaxed);
                        }
                    }
                }
                let _panics = Panics(&data);
                f()
            }
        };
        let prepare = {
            let data = Arc::clone(&data);
            move |thread: &Thread| drop(data.running.lock().insert(thread.id(), thread.clone()))
        };
        let finished = {
            let data = Arc::clone(&data);
            move |thread: &Thread| {
                let removed = data.running.lock().remove(&thread.id());
                drop(removed);
                data.count_down();
            }
        };
        // SAFETY: the scope is not left, and `'scope` does not end, before the count is zero; `finished` counts this
        // thread down.
        let (thread, packet) = unsafe { self.start(body, prepare, finished) }?;
        Ok(ScopedJoinHandle { thread, packet, data, scope: PhantomData })
    }
}

/// The right to the result of a thread in a [`Scope`]. Dropping it leaves the thread to the scope's end.
pub struct ScopedJoinHandle<'scope, T> {
    thread: Thread,
    packet: Arc<Packet<T>>,
    data: Arc<Data>,
    scope: PhantomData<&'scope ()>,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// The thread's handle.
    pub fn thread(&self) -> &Thread {
        &self.thread
    }

    /// Whether the thread has ended: a [`join`](ScopedJoinHandle::join) would not block.
    pub fn is_finished(&self) -> bool {
        self.thread.ended().is_set()
    }

    /// Waits for the thread's end and takes its result. An interruption point.
    ///
    /// # Errors
    /// As [`JoinHandle::join`](super::JoinHandle::join).
    #[track_caller]
    pub fn join(self) -> Result<T, JoinError<Self>> {
        self.join_with(&Wait::new())
    }

    /// [`join`](ScopedJoinHandle::join), for `time` at most.
    ///
    /// # Errors
    /// As `join`, and [`JoinError::TimedOut`].
    #[track_caller]
    pub fn join_timeout(self, time: Duration) -> Result<T, JoinError<Self>> {
        self.join_with(&Wait::new().timeout(time))
    }

    /// [`join`](ScopedJoinHandle::join), until `deadline` at most.
    ///
    /// # Errors
    /// As `join`, and [`JoinError::TimedOut`].
    #[track_caller]
    pub fn join_until(self, deadline: Instant) -> Result<T, JoinError<Self>> {
        self.join_with(&Wait::new().until(deadline))
    }

    /// [`join`](ScopedJoinHandle::join) with every option.
    ///
    /// # Errors
    /// As the options allow. The handle comes back in the error, unless the thread has ended.
    #[track_caller]
    pub fn join_with(self, wait: &Wait) -> Result<T, JoinError<Self>> {
        let data = Arc::clone(&self.data);
        let joined = joined(self, wait, |handle| (&handle.thread, &handle.packet));
        if let Err(JoinError::Panicked(_)) = joined {
            // Relaxed: as above; the scope reads it after the end of whatever thread this is.
            data.panics.fetch_sub(1, Relaxed);
        }
        joined
    }
}

impl<T> AsRef<Thread> for ScopedJoinHandle<'_, T> {
    fn as_ref(&self) -> &Thread {
        &self.thread
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle").field("thread", &self.thread).finish_non_exhaustive()
    }
}
