//! The monitor's thread, and what is armed for it.

use super::function::Function;
use super::timers::{Job, NEVER, Ticket, Timers};
use crate::fork::passage::Begins;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::AcqRel, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Runs `f` on the monitor's thread at `deadline`, or as soon after as it gets to run; at once if that has passed.
/// Deadlines run in their order, equal ones of one thread in that of arming.
///
/// `f` must be short and must not block: every other deadline waits for it. Typically it sends an interrupt. A panic in
/// it is reported as any panic is, and does not stop the monitor.
///
/// ```
/// use quell::{Interrupt, monitor};
/// use std::time::{Duration, Instant};
///
/// let me = quell::current();
/// let timer = monitor::at(Instant::now() + Duration::from_millis(5), move || {
///     me.interrupt(Interrupt::new("time is up"));
/// });
/// assert!(quell::sleep(Duration::from_secs(3600)).is_err());
/// assert!(!timer.cancel()); // it has run
/// ```
///
/// # Panics
/// If the monitor's thread is needed and the system cannot start it; or if 2³² deadlines are armed.
#[inline]
pub fn at(deadline: Instant, f: impl FnOnce() + Send + 'static) -> Timer {
    arm(deadline, Job::Once(Function::new(f)))
}

#[inline]
fn arm(deadline: Instant, job: Job) -> Timer {
    let ticket = MONITOR.timers.arm(shard(), time(deadline), job);
    // Relaxed: the thread was started, or this one does so now, or another one is about to.
    if !MONITOR.running.load(Relaxed) {
        MONITOR.start();
    }
    Timer { ticket }
}

/// Runs `f` on the monitor's thread after `time`. As [`at`]; a time beyond what the clock can represent never comes.
///
/// # Panics
/// As [`at`].
pub fn after(time: Duration, f: impl FnOnce() + Send + 'static) -> Timer {
    at(instant_after(time), f)
}

/// Runs `f` on the monitor's thread at `first`, and again at the moment it answers with, until it answers `None` or the
/// timer is cancelled. It must be as short as [`at`]'s.
///
/// ```
/// use quell::{monitor, thread};
/// use std::time::{Duration, Instant};
///
/// let (me, mut times) = (quell::current(), 0);
/// let timer = monitor::repeat(Instant::now(), move || {
///     times += 1;
///     if times == 3 {
///         me.unpark();
///         return None;
///     }
///     Some(Instant::now() + Duration::from_micros(100))
/// });
/// thread::park().unwrap();
/// ```
///
/// # Panics
/// As [`at`]. A panic in `f` ends the repetition.
pub fn repeat(first: Instant, mut f: impl FnMut() -> Option<Instant> + Send + 'static) -> Timer {
    arm(first, Job::Again(Box::new(move || f().map(time))))
}

/// How many deadlines are armed, in the whole process. Out of date as soon as it is known.
pub fn armed() -> usize {
    MONITOR.timers.len()
}

/// An armed deadline. Dropping it does **not** cancel: the function runs as it would have. Keep it to be able to
/// [`cancel`](Timer::cancel).
pub struct Timer {
    ticket: Ticket,
}

impl Timer {
    /// Cancels. True: the function has not run and never will; it was dropped. False: it has run, runs now, or was
    /// cancelled before. One that [repeats](repeat) does not run again after this, true or false.
    #[inline]
    pub fn cancel(&self) -> bool {
        // Dropped here, outside the lock.
        MONITOR.timers.cancel(self.ticket).is_some()
    }

    /// Whether the function has neither begun to run nor been cancelled; or is one that may run again.
    pub fn is_armed(&self) -> bool {
        MONITOR.timers.is_armed(self.ticket)
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("armed", &self.is_armed()).finish()
    }
}

struct Monitor {
    timers: Timers,
    /// The thread has been started.
    running: AtomicBool,
}

static MONITOR: Monitor = Monitor { timers: Timers::new(), running: AtomicBool::new(false) };

/// The timers' times count from here.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A moment as a time of the timers: nanoseconds, for 584 years. What is later counts as that, and is never reached.
#[inline]
fn time(moment: Instant) -> u64 {
    let since = moment.saturating_duration_since(*START);
    let nanos = since.as_secs().checked_mul(1_000_000_000);
    nanos
        .and_then(|n| n.checked_add(since.subsec_nanos().into()))
        .unwrap_or(NEVER - 1)
        .min(NEVER - 1)
}

/// The moment after `time`, or the last one that the clock can represent, nearly.
pub(super) fn instant_after(time: Duration) -> Instant {
    let now = Instant::now();
    let centuries = Duration::from_secs(1 << 33);
    now.checked_add(time).or_else(|| now.checked_add(centuries)).unwrap_or(now)
}

/// Which heap the current thread arms in.
#[inline]
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: std::cell::Cell<usize> = const { std::cell::Cell::new(usize::MAX) };
    }
    SHARD.with(|shard| {
        if shard.get() == usize::MAX {
            // Relaxed: any will do.
            shard.set(NEXT.fetch_add(1, Relaxed) % 64);
        }
        shard.get()
    })
}

impl Monitor {
    #[cold]
    fn start(&'static self) {
        // AcqRel: whoever comes first starts it.
        if self.running.swap(true, AcqRel) {
            return;
        }
        let builder = std::thread::Builder::new().name("quell-monitor".to_owned());
        let begins = Begins::new();
        let body = move || {
            drop(begins);
            self.run();
        };
        if let Err(error) = builder.spawn(body) {
            self.running.store(false, Relaxed);
            panic!("the system could not start the monitor's thread: {error}");
        }
    }

    /// The monitor's thread: for ever.
    fn run(&self) {
        loop {
            while let Some(due) = self.timers.due(time(Instant::now())) {
                // The panic hook has reported it.
                let _ = catch_unwind(AssertUnwindSafe(|| self.timers.run(due)));
            }
            let next = self.timers.promise();
            let until = (next < NEVER - 1).then(|| *START + Duration::from_nanos(next));
            if until.is_none_or(|until| until > Instant::now()) {
                self.timers.sleep(until);
            }
        }
    }
}

/// Before fork.
pub(crate) fn hold() {
    // Nobody is in the middle of that when the copy is made.
    LazyLock::force(&START);
    MONITOR.timers.hold();
}

/// After fork, in both processes.
pub(crate) fn release() {
    MONITOR.timers.release();
}

/// Before fork, where a parker can be in the middle of something.
#[cfg(quell_parker_locks)]
pub(crate) fn hold_parker() -> crate::park::Held<'static> {
    MONITOR.timers.hold_parker()
}

/// In the child: the thread is gone; the next [`at`] starts another.
pub(crate) fn forget_thread() {
    MONITOR.running.store(false, Relaxed);
}

/// In the child, when it is safe to start threads: starts it again if something is armed.
pub(crate) fn after_fork() {
    if armed() > 0 && !MONITOR.running.load(Relaxed) {
        MONITOR.start();
    }
}
