//! One run of a script in this process: what was asked for, what has happened, and who may end it.
//!
//! There is one session per process. A fork has its own, made in the child from the parent's ([`Session::forked`]):
//! the same limits, counted from the same start. Sessions are never freed, so that quell's threads may
//! use theirs to the last instruction of the process.
//!
//! **States.** A session is *running* until a limit is reached; the monitor alone makes that step, once, by
//! filling `fired`. Then the ending is claimed, once, by a compare-exchange: by the script's own end
//! ([`Ending::Unwound`], at the very end of the interpreter's finalization) or by the monitor at the end of the grace
//! ([`Ending::Killed`]). Who has claimed it writes the report and ends the process; the other one does nothing more.

use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use super::args::Plan;
use super::bell::Bell;
use super::crew::Crew;
use super::facts::Facts;
use super::limits::Reached;
use super::meter::Readings;
use super::progress::Progress;
use super::signals::Presses;
use super::watchdog::leash::Leash;
use crate::native::Door;

static CURRENT: AtomicPtr<Session> = AtomicPtr::new(std::ptr::null_mut());

/// See the module.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) plan: Plan,
    pub(super) started: Instant,
    /// The process this is the session of.
    pub(super) pid: i32,
    /// Whether the process is a fork that the script made.
    pub(super) is_fork: bool,
    /// For the monitor and the meter.
    pub(super) bell: Bell,
    /// For the deliverer.
    pub(super) summons: Bell,
    pub(super) crew: Crew,
    pub(super) door: Door,
    pub(super) readings: Readings,
    pub(super) presses: Presses,
    pub(super) leash: Leash,
    pub(super) progress: Progress,
    /// Whether the main thread has been interrupted for the limit, by whomever.
    pub(super) asked_main: AtomicBool,
    stopping: AtomicBool,
    readiness: AtomicU8,
    fired: OnceLock<Fired>,
    ending: AtomicU8,
    facts: Mutex<Facts>,
}

/// The moment a limit was reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fired {
    pub(super) reached: Reached,
    pub(super) at: Instant,
    /// When the process ends at the latest.
    pub(super) end: Instant,
}

/// What can be asked of the interpreter.
#[derive(Debug, Clone, Copy)]
enum Readiness {
    Starting,
    Ready,
    Finalized,
}

/// Who ends the process after a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Unwound = 1,
    Killed = 2,
}

impl Session {
    fn new(plan: Plan, started: Instant, is_fork: bool) -> &'static Self {
        let session = Box::leak(Box::new(Self {
            plan,
            started,
            pid: std::process::id() as i32,
            is_fork,
            bell: Bell::default(),
            summons: Bell::default(),
            crew: Crew::default(),
            door: Door::default(),
            readings: Readings::default(),
            presses: Presses::default(),
            leash: Leash::default(),
            progress: Progress::default(),
            asked_main: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            readiness: AtomicU8::new(Readiness::Starting as u8),
            fired: OnceLock::new(),
            ending: AtomicU8::new(0),
            facts: Mutex::default(),
        }));
        CURRENT.store(session, SeqCst);
        session
    }

    /// The session of a process that is about to run a script.
    pub(super) fn begin(plan: Plan, started: Instant) -> &'static Self {
        Self::new(plan, started, false)
    }

    /// The session of a fork of the process of `self`, called there. Locks of the parent are not touched: one of its
    /// threads may have held them at the fork.
    pub(super) fn forked(&self) -> &'static Self {
        let session = Self::new(self.plan.clone(), self.started, true);
        session.set_ready();
        if let Some(fired) = self.fired.get() {
            let _ = session.fired.set(*fired);
            session.facts().reached = Some(fired.reached);
        }
        session
    }

    /// The session of this process, if it has one.
    pub(super) fn current() -> Option<&'static Self> {
        // SAFETY: null, or a leaked box.
        unsafe { CURRENT.load(SeqCst).as_ref() }
    }

    /// Whether the interpreter runs and can be asked to deliver.
    pub(super) fn is_ready(&self) -> bool {
        self.readiness.load(SeqCst) == Readiness::Ready as u8
    }

    /// Wakes nobody: who has something to do that needs this looks again by itself.
    pub(super) fn set_ready(&self) {
        self.readiness.store(Readiness::Ready as u8, SeqCst);
    }

    fn ring_all(&self) {
        self.bell.ring();
        self.summons.ring();
        self.leash.bell.ring();
    }

    /// Whether the interpreter has been finalized.
    pub(super) fn is_finalized(&self) -> bool {
        self.readiness.load(SeqCst) == Readiness::Finalized as u8
    }

    /// Wakes nobody: who works on a limit sleeps for moments only, and who does not need not know.
    pub(super) fn set_finalized(&self) {
        self.readiness.store(Readiness::Finalized as u8, SeqCst);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(SeqCst)
    }

    /// Tells quell's threads to end, or that they may run again.
    pub(super) fn set_stopping(&self, stopping: bool) {
        self.stopping.store(stopping, SeqCst);
        self.ring_all();
    }

    pub(super) fn fired(&self) -> Option<&Fired> {
        self.fired.get()
    }

    /// A limit was reached. Called by the monitor only.
    pub(super) fn fire(&self, fired: Fired) {
        let _ = self.fired.set(fired);
        self.ring_all();
    }

    /// Claims the right to end the process; true for one caller.
    pub(super) fn claim(&self, ending: Ending) -> bool {
        self.ending.compare_exchange(0, ending as u8, SeqCst, SeqCst).is_ok()
    }

    pub(super) fn is_claimed(&self) -> bool {
        self.ending.load(SeqCst) != 0
    }

    /// What is known so far. Held for moments only, never while waiting for the interpreter.
    pub(super) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
