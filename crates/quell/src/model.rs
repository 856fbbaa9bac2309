//! What the models reach into. Exists only under `--cfg quell_loom` and `--cfg quell_shuttle`, and is no part of the
//! interface.

use crate::fork;
use crate::monitor::function::Function;
use crate::monitor::timers::{Job, Ticket, Timers};
use crate::park;
use crate::sys;
use crate::syscall;
use crate::thread::Thread;
use crate::wait::{Goal, Note, Place, Wait, WaitError, WaitQueue, Waited, wait_async, wait_for};
use std::cell::Cell;
use std::time::Instant;

/// The thread's deadline, if its current or a later wait has one, passes now. A model has no clock: a time-out is
/// another thread that competes.
pub fn expire(thread: &Thread) {
    thread.parker().expire();
}

/// A signal handler runs in the thread now, if it sleeps.
pub fn signal(thread: &Thread) {
    thread.parker().signal();
}

/// The thread ends.
pub fn exit(thread: &Thread) {
    thread.mark_exited();
}

/// Whether the thread's word says that a wait of its is to fail.
pub fn is_condemned(thread: &Thread) -> bool {
    thread.slot().is_condemned()
}

/// Options with a deadline, which passes when [`expire`] says so.
pub fn timed() -> Wait {
    Wait::new().until(Instant::now())
}

/// A system call of the current thread that blocks until [`complete_call`].
///
/// # Errors
/// As the options allow.
pub fn call(wait: &Wait) -> Result<(), WaitError> {
    syscall::model::call(wait)
}

/// One call of the thread completes: the current one, or the next.
pub fn complete_call(thread: &Thread) {
    syscall::model::complete(thread);
}

/// The deadline of the thread's `turn`th call with one passes, counted from 1.
pub fn expire_call(thread: &Thread, turn: u64) {
    syscall::model::expire(thread, turn);
}

thread_local! {
    static FAIR: Cell<bool> = const { Cell::new(false) };
}

/// Whether every waiter of a lock is taken to have waited for long, in the models of the current system thread.
pub fn set_fair(fair: bool) {
    FAIR.set(fair);
}

/// What [`set_fair`] said last.
pub(crate) fn fair() -> bool {
    FAIR.get()
}

/// Ends what [`set_detection`](crate::deadlock::set_detection) began inside a model, outside it: the switch is the system
/// thread's, the rest each execution's own.
pub fn end_detection() {
    crate::deadlock::switch(false);
}

sys::thread_local! {
    static WAITED_FOR_LONG: Cell<bool> = Cell::new(false);
}

thread_local! {
    static LONG_AGO: Instant = Instant::now();
}

/// Whether the waits that the current thread of the model begins from now on are taken to have begun long ago.
pub fn set_waited_for_long(long: bool) {
    WAITED_FOR_LONG.with(|cell| cell.set(long));
}

/// Since when a wait that begins now counts.
pub(crate) fn since() -> Instant {
    let long_ago = LONG_AGO.with(|instant| *instant);
    if WAITED_FOR_LONG.with(Cell::get) { long_ago } else { Instant::now() }
}

/// Whether who waits since then is taken to have waited for long.
pub(crate) fn is_long_ago(since: Instant) -> bool {
    fair() || LONG_AGO.with(|instant| *instant == since)
}

/// A semaphore of the C library, as `syscall` knows it, in the model's own memory.
#[derive(Debug)]
pub struct CSemaphore(sys::atomic::AtomicU64);

#[expect(missing_docs, reason = "as in `syscall`")]
impl CSemaphore {
    pub fn new(value: u32) -> CSemaphore {
        CSemaphore(sys::atomic::AtomicU64::new(value.into()))
    }

    pub fn try_take(&self) -> bool {
        syscall::semaphore::try_take(&self.0)
    }

    /// Waits, asleep as `sleep` says: the model's kernel.
    ///
    /// # Errors
    /// Those of `sleep`.
    pub fn wait<E>(&self, sleep: impl FnMut() -> Result<(), E>) -> Result<(), E> {
        syscall::semaphore::wait(&self.0, sleep)
    }

    /// The word: the value below, the number of those who wait above.
    pub fn word(&self) -> &sys::atomic::AtomicU64 {
        &self.0
    }
}

/// The parker.
pub struct Parker(park::Parker);

/// What its `park` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in `park`")]
pub enum Parked {
    Woken,
    TimedOut,
    Signalled,
}

#[expect(missing_docs, reason = "as in `park`")]
impl Parker {
    #[expect(clippy::new_without_default, reason = "as in `park`")]
    pub fn new() -> Parker {
        Parker(park::Parker::new())
    }

    pub fn park(&self, timed: bool) -> Parked {
        match self.0.park(timed.then(Instant::now)) {
            park::Parked::Woken => Parked::Woken,
            park::Parked::TimedOut => Parked::TimedOut,
            park::Parked::Signalled => Parked::Signalled,
        }
    }

    pub fn unpark(&self) {
        self.0.unpark();
    }

    pub fn expire(&self) {
        self.0.expire();
    }

    pub fn signal(&self) {
        self.0.signal();
    }
}

/// The passage that a fork waits for.
pub struct Passage(fork::passage::Passage);

#[expect(missing_docs, reason = "as in `fork`")]
impl Passage {
    #[expect(clippy::new_without_default, reason = "as in `fork`")]
    pub fn new() -> Passage {
        Passage(fork::passage::Passage::new())
    }

    pub fn enter(&self) {
        self.0.enter();
    }

    pub fn leave(&self) {
        self.0.leave();
    }

    pub fn hold(&self) {
        self.0.hold(|_| {
            sys::thread::yield_now();
            true
        });
    }

    pub fn release(&self) {
        self.0.release();
    }
}

/// The short lock on futexes.
#[cfg(quell_futex)]
pub struct ShortLock(park::three_state::RawShort);

#[cfg(quell_futex)]
#[expect(missing_docs, reason = "as in `park`")]
impl ShortLock {
    #[expect(clippy::new_without_default, reason = "as in `park`")]
    pub fn new() -> ShortLock {
        ShortLock(park::three_state::RawShort::new())
    }

    pub fn lock(&self) {
        self.0.lock();
    }

    pub fn unlock(&self) {
        self.0.unlock();
    }
}

/// The wait queue, bare.
pub struct Waiters(WaitQueue);

#[expect(missing_docs, reason = "as in `wait`")]
impl Waiters {
    #[expect(clippy::new_without_default, reason = "as in `wait`")]
    pub fn new() -> Waiters {
        Waiters(WaitQueue::new(0))
    }

    /// Joins, unless `validate` says no. The answer: a token, or `None` if refused.
    pub fn wait(
        &self,
        wait: &Wait,
        validate: impl Fn() -> bool,
        left: impl Fn(bool),
    ) -> Result<Option<u32>, WaitError> {
        let goal = Closures { waiters: self, validate, left };
        wait_for(&goal, wait, Place::Back, Note::NONE).map(token)
    }

    /// Grants `token` to the first; says whether there was one.
    pub fn grant_one(&self, token: u32) -> bool {
        let mut granting = self.0.granting::<1>();
        let found = granting.claim().is_some();
        if found {
            granting.publish(token);
        }
        found
    }

    /// Grants `token` to all; says to how many.
    pub fn grant_all(&self, token: u32) -> usize {
        self.0.grant_all(token, || {})
    }
}

/// A thread's reason to wait.
struct Closures<'a, V, L> {
    waiters: &'a Waiters,
    validate: V,
    left: L,
}

impl<V: Fn() -> bool, L: Fn(bool)> Gate for Closures<'_, V, L> {
    fn waiters(&self) -> &Waiters {
        self.waiters
    }

    fn must_wait(&self) -> bool {
        (self.validate)()
    }

    fn left(&self, empty: bool) {
        (self.left)(empty);
    }

    fn pass_on(&self, _token: u32) {
        unreachable!("a thread is not dropped while it waits")
    }
}

/// What a model waits for.
#[expect(missing_docs, reason = "as in `wait`")]
pub trait Gate {
    fn waiters(&self) -> &Waiters;
    fn must_wait(&self) -> bool;
    fn left(&self, empty: bool);
    fn pass_on(&self, token: u32);
}

impl<G: Gate> Goal for G {
    fn queue(&self) -> &WaitQueue {
        &self.waiters().0
    }

    fn must_wait(&self) -> bool {
        Gate::must_wait(self)
    }

    fn left(&self, empty: bool) {
        Gate::left(self, empty);
    }

    fn pass_on(&self, token: u32) {
        Gate::pass_on(self, token);
    }
}

fn token(waited: Waited) -> Option<u32> {
    match waited {
        Waited::Granted(token) => Some(token),
        Waited::Refused => None,
    }
}

/// Waits as a task. The answer: a token, or `None` if refused.
pub async fn wait_at<G: Gate>(gate: &G) -> Option<u32> {
    token(wait_async(gate, Place::Back, Note::NONE).await)
}

/// What is armed, without a clock: times are numbers, and a model says what it is.
pub struct Deadlines(Timers);

/// Where something was armed.
#[derive(Clone, Copy)]
pub struct Armed(Ticket);

#[expect(missing_docs, reason = "as in `monitor`")]
impl Deadlines {
    #[expect(clippy::new_without_default, reason = "as in `monitor`")]
    pub fn new() -> Deadlines {
        Deadlines(Timers::new())
    }

    pub fn at(&self, shard: usize, time: u64, f: impl FnOnce() + Send + 'static) -> Armed {
        Armed(self.0.arm(shard, time, Job::Once(Function::new(f))))
    }

    pub fn repeat(
        &self,
        shard: usize,
        time: u64,
        f: impl FnMut() -> Option<u64> + Send + 'static,
    ) -> Armed {
        Armed(self.0.arm(shard, time, Job::Again(Box::new(f))))
    }

    pub fn cancel(&self, armed: Armed) -> bool {
        self.0.cancel(armed.0).is_some()
    }

    /// The monitor's loop, at a time that stands still, until `over`; without a deadline it sleeps until it is unparked.
    pub fn monitor(&self, now: u64, over: impl Fn() -> bool) {
        loop {
            while let Some(due) = self.0.due(now) {
                self.0.run(due);
            }
            if over() {
                return;
            }
            if self.0.promise() > now {
                self.0.sleep(None);
            }
        }
    }
}
