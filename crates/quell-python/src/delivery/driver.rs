//! The native thread that keeps at it: re-arms the gate, sends signals, notices threads that have ended.
//!
//! A target may return from the frames that were armed, enter new ones, or block in a call right after the sender
//! looked. So as long as an interrupt is pending the driver looks again: each millisecond at first, then less and less
//! often. It takes the GIL for each look and nothing else; all decisions are made with the GIL held.
//!
//! *Signals are sent more and more rarely* to a thread that neither runs Python code nor answers them ([`Kicks`]). A library
//! that restarts its wait after a signal, with its whole timeout, and looks for signals when that is over (psycopg's and many an event
//! loop's) would never come to the end of it if it was signalled again and again; and one signal is enough, because
//! CPython remembers it. It is repeated at all because the last one may have come right before the thread began to wait.
//!
//! *Shutdown.* An `atexit` function, registered when the package is [installed](crate::install), closes the driver's [`Door`]. After that nothing
//! is delivered any more.

use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::wrap_pyfunction;

use super::record::Record;
use super::{gate, impersonate, signal};
use crate::cpython::thread::ThreadState;
use crate::native::Door;

/// Between two looks at a fresh interrupt, and at one that has been pending for long.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(20);
/// A thread that has not come by after this long gets events for everything that it starts.
const ESCALATE: Duration = Duration::from_millis(20);
/// The longest time between two signals that are not answered.
const RARELY: Duration = Duration::from_millis(500);

struct Driver {
    shared: Mutex<Shared>,
    changed: Condvar,
    door: Door,
}

#[derive(Default)]
struct Shared {
    work: Vec<Work>,
    running: bool,
}

struct Work {
    record: Arc<Record>,
    since: Instant,
    next: Instant,
    pause: Duration,
    /// `State::events` at the last look.
    events: u64,
    /// Processor time the thread had used at the last look that found no events.
    used: Option<Duration>,
    kicks: Kicks,
}

/// When the thread is signalled next.
struct Kicks {
    next: Instant,
    pause: Duration,
    /// [`signal::answered`] at the last one.
    answered: u64,
}

impl Kicks {
    fn new(now: Instant) -> Self {
        Self { next: now, pause: SHORTEST, answered: 0 }
    }

    /// Whether it is time for a signal: at once if the last one was answered, otherwise after twice the time of the last pause.
    fn is_due(&mut self, now: Instant, answered: u64) -> bool {
        if answered != self.answered {
            *self = Self { answered, ..Self::new(now) };
        }
        let due = now >= self.next;
        if due {
            self.next = now + self.pause;
            self.pause = (self.pause * 2).min(RARELY);
        }
        due
    }
}

/// Replaced in the child of a fork, where the old one's lock may be held by a thread that is gone.
static DRIVER: AtomicPtr<Driver> = AtomicPtr::new(std::ptr::null_mut());

fn driver() -> &'static Driver {
    let known = DRIVER.load(Ordering::Acquire);
    // SAFETY: a leaked box, or null.
    if let Some(driver) = unsafe { known.as_ref() } {
        return driver;
    }
    let fresh = Box::into_raw(Box::new(Driver {
        shared: Mutex::default(),
        changed: Condvar::new(),
        door: Door::default(),
    }));
    match DRIVER.compare_exchange(known, fresh, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: leaked above, never freed.
        Ok(_) => unsafe { &*fresh },
        Err(other) => {
            // SAFETY: nobody else has seen it.
            drop(unsafe { Box::from_raw(fresh) });
            // SAFETY: a leaked box of another thread.
            unsafe { &*other }
        }
    }
}

impl Driver {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks after `record` until nothing is pending in it.
pub(super) fn add(py: Python<'_>, record: &Arc<Record>) {
    let driver = driver();
    // The driver never waits for the GIL while it holds this lock.
    let mut shared = driver.lock();
    if driver.door.is_closed() {
        return;
    }
    let now = Instant::now();
    let events = record.state(py, |s| s.events);
    let work = Work {
        record: record.clone(),
        since: now,
        next: now + SHORTEST,
        pause: SHORTEST,
        events,
        used: None,
        kicks: Kicks::new(now),
    };
    match shared.work.iter_mut().find(|w| Arc::ptr_eq(&w.record, record)) {
        Some(known) => known.next = known.next.min(work.next),
        None => shared.work.push(work),
    }
    if !shared.running {
        shared.running = spawn().is_ok();
    }
    drop(shared);
    driver.changed.notify_all();
}

/// Starts the thread with every signal blocked, so that none meant for the program is spent on it.
fn spawn() -> std::io::Result<()> {
    crate::native::spawn("quell-driver", run)
}

fn run() {
    let driver = driver();
    let mut shared = driver.lock();
    while !driver.door.is_closed() {
        let now = Instant::now();
        match shared.work.iter().map(|w| w.next).min() {
            None => shared = driver.changed.wait(shared).unwrap_or_else(PoisonError::into_inner),
            Some(next) if next > now => {
                let wait = driver.changed.wait_timeout(shared, next - now);
                shared = wait.unwrap_or_else(PoisonError::into_inner).0;
            }
            Some(_) => {
                let mut work = std::mem::take(&mut shared.work);
                drop(shared);
                driver.door.visit(|py| work.retain_mut(|w| look(py, w)));
                shared = driver.lock();
                // What was added meanwhile stays; what is looked after already is not doubled.
                work.retain(|w| !shared.work.iter().any(|new| Arc::ptr_eq(&new.record, &w.record)));
                shared.work.append(&mut work);
                driver.changed.notify_all();
            }
        }
    }
}

/// One look; false when there is nothing left to do for the record.
fn look(py: Python<'_>, work: &mut Work) -> bool {
    let now = Instant::now();
    if work.next > now {
        return true;
    }
    let record = &work.record;
    let lent = impersonate::expire(py);
    let pending = record.thread().has_pending();
    let ended = record.thread_state().is_none();
    if pending && ended {
        record.thread().mark_exited();
    }
    if !pending || ended {
        gate::disarm(py, record);
        // Nobody may look again for long. If it is lent to another thread, that one gets it again.
        impersonate::end(py);
        return false;
    }
    let (idle, shielded) = record.state(py, |s| {
        let idle = s.events == work.events;
        if !idle {
            s.declined = 0;
        }
        work.events = s.events;
        (idle, s.shielded)
    });
    // A failure (no memory, no tool id) is tried again at the next look.
    let armed = gate::arm(py, record);
    // It may have run audit hooks. That the thread has ended meanwhile is for the next look.
    let Some(ts) = record.thread_state() else { return true };
    if runs_unseen(work, idle, ts) {
        let _ = gate::refresh(py, &work.record);
    }
    let record = &work.record;
    if now.duration_since(work.since) > ESCALATE && armed.is_ok() {
        let _ = gate::escalate(py, record);
    }
    if !idle || shielded {
        // It runs Python code, which the gate sees, or wants to be left alone.
        work.kicks = Kicks::new(now);
    } else if ts.ident() == signal::main_ident() {
        if work.kicks.is_due(now, signal::answered()) {
            signal::kick(ts);
        }
    } else if !lent
        && record.state(py, |s| s.options.impersonate && s.own_calls == 0)
        && work.kicks.is_due(now, signal::answered())
    {
        impersonate::strike(py, ts);
    }
    if now.duration_since(work.since) > ESCALATE * 10 {
        work.pause = (work.pause * 5 / 4).min(LONGEST);
    }
    work.next = now + work.pause;
    true
}

/// Whether the armed thread has used the processor for a while and the gate has seen nothing of it.
fn runs_unseen(work: &mut Work, idle: bool, ts: ThreadState) -> bool {
    const A_WHILE: Duration = Duration::from_millis(1);
    let now = if idle { ts.processor_time() } else { None };
    match (work.used, now) {
        (Some(before), Some(now)) if now < before + A_WHILE => false,
        (before, now) => {
            work.used = now;
            before.is_some() && now.is_some()
        }
    }
}

/// Ends all delivery: called by `atexit`.
#[pyfunction]
fn shutdown(py: Python<'_>) {
    let driver = driver();
    driver.door.close(py);
    // For the thread, which looks at the door before each wait.
    drop(driver.lock());
    driver.changed.notify_all();
    let work = std::mem::take(&mut driver.lock().work);
    for work in work {
        gate::disarm(py, &work.record);
    }
    impersonate::end(py);
    signal::close();
}

/// In the child of a fork: there is no driver.
pub(super) fn after_fork() {
    DRIVER.store(std::ptr::null_mut(), Ordering::Release);
}

pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    crate::at_exit::register(wrap_pyfunction!(shutdown, py)?.as_any())
}
