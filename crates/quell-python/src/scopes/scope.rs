//! A timeout's scope: from the entry of its block to its end, and everything that may happen in between.
//!
//! # States
//!
//! ```text
//! NEW ── __enter__ ──► ENTERED ── __exit__ ──► LEFT
//! ```
//!
//! A scope goes through them once, in one thread. While it is ENTERED a timer of the core's monitor leads, at the deadline, to
//! [`Scope::go_off`] on the [`firing`] thread. That sends the owner an interrupt whose exception is private to
//! the scope: a `BaseException`, so that no `except Exception` on the way eats it, marked with the scope's number. At
//! `__exit__` it turns into `quell.Timeout`. The exception of another scope passes through unchanged, so nested scopes
//! keep apart whatever order they end in.
//!
//! # Leaving
//!
//! All of a scope's state is guarded by the GIL. `__exit__` makes the scope LEFT, which stops a `go_off` that has not sent
//! yet; waits, without the GIL, for one that is just sending (`sending`); and takes the interrupt back. The receipt decides: it
//! was withdrawn and will never be raised, or it has been raised inside the block. So nothing is raised after
//! `__exit__` has returned.
//!
//! # Swallowed
//!
//! A bare `except` in the block may swallow the exception and carry on. The scope keeps a weak reference to the
//! exception it sent. When it was delivered and is gone, while the scope is still ENTERED, it was swallowed, and the scope
//! sends another. As long as the exception lives, some handler or `finally` is at work on it, and is left alone.
//!
//! A loop around such an `except` would catch the next one in the same place. So the scope then sends several at once: the second
//! one is raised in the handler of the first, outside of its `try`. From the third volley on it insists, for handlers in which
//! there is no polite place. A volley is as large as it must be to get out of one more handler, and no larger: what is left of it
//! would be raised in the cleanup outside.
//!
//! # Generators
//!
//! A scope that a generator or coroutine entered must not end the code that runs while it is suspended (PEP 789). A scope
//! remembers the frame of the generator in which it was entered, and its interrupt may be raised only while that frame is on its
//! thread's stack. One that falls due in the meantime is sent when the generator runs again. A generator that only serves a
//! `@contextmanager` is not meant by this: there the `with` block is what the scope is for, and its frame counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyBaseException, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;
use quell::monitor::{self, Timer};
use quell::{Outcome, Receipt};

use super::firing;
use super::home::home_frame;
use super::in_flight;
use crate::cpython::thread::ThreadState;
use crate::delivery::gil_cell::GilCell;
use crate::delivery::{self, Admit, Options};
use crate::exceptions::{scope_timeout_type, task_cancelled_type};
use crate::primitives::wait::{after, insist};

/// How long after a time-out went off it is first looked at again; doubled each time, up to [`SLOWEST`].
const FIRST_LOOK: Duration = Duration::from_millis(2);
const SLOWEST: Duration = Duration::from_millis(100);

/// So many volleys are sent before one insists.
const POLITE_VOLLEYS: usize = 2;
/// As many handlers around each other can be got out of.
const LARGEST_VOLLEY: usize = 64;

/// How many are sent after so many volleys were swallowed: no more than are needed to get out of one handler more than last
/// time, because the next one would be raised in the cleanup outside of it.
fn volley_size(swallowed: usize) -> usize {
    match swallowed {
        0 => 1,
        n => n.clamp(2, LARGEST_VOLLEY),
    }
}

/// What a scope and its timer share.
pub(crate) struct Scope {
    /// Tells this scope's exceptions from those of others.
    number: u64,
    /// Whether the main thread is inside. Read without the GIL; set once, before the first timer is armed.
    mains: AtomicBool,
    /// Set while no interrupt is just being sent.
    sent: quell::Event,
    state: GilCell<State>,
}

struct State {
    phase: Phase,
    limit: Limit,
    /// When it ends; set on entry. None: never.
    deadline: Option<Instant>,
    timer: Option<Timer>,
    /// `PyThreadState.id` of the thread inside.
    thread: u64,
    /// The frame that must be on its stack; 0 for none.
    home: usize,
    sending: bool,
    /// What was sent last, in order.
    volley: Vec<Shot>,
    /// Volleys that were swallowed.
    swallowed: usize,
    /// One of them was delivered.
    hit: bool,
    /// It is to end, whatever its limit.
    cancelled: bool,
    look_again: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    New,
    Entered,
    Left,
}

/// When a scope is to end, as asked for.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    Never,
    /// So many seconds after the entry.
    After(f64),
    /// At this reading of `time.monotonic()`.
    At(f64),
}

/// An interrupt that was sent.
struct Shot {
    receipt: Receipt,
    exception: Py<PyWeakrefReference>,
}

impl Shot {
    fn is_delivered(&self) -> bool {
        self.receipt.state() == Outcome::Delivered
    }
}

/// Reading of the clock behind `time.monotonic()`, which is also the one behind [`Instant`].
pub(crate) fn monotonic() -> f64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a clock that exists, and room for its reading.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

impl Limit {
    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Never => None,
            Self::After(seconds) => after(seconds),
            Self::At(when) => after((when - monotonic()).max(0.0)),
        }
    }
}

impl State {
    /// Has the timer of `scope`, whose state this is, go off at its deadline.
    #[inline]
    fn arm(&mut self, scope: &Arc<Scope>) {
        if let Some(deadline) = self.deadline {
            self.arm_at(scope, deadline);
        }
    }

    #[inline]
    fn arm_at(&mut self, scope: &Arc<Scope>, moment: Instant) {
        let scope = Arc::clone(scope);
        self.timer = Some(monitor::at(moment, move || firing::submit(scope)));
    }

    #[inline]
    fn disarm(&mut self) {
        if let Some(timer) = self.timer.take() {
            timer.cancel();
        }
    }
}

impl Scope {
    pub(crate) fn new(limit: Limit) -> Arc<Self> {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let sent = quell::Event::new();
        sent.set();
        Arc::new(Self {
            // Relaxed: only uniqueness matters.
            number: NUMBERS.fetch_add(1, Relaxed),
            mains: AtomicBool::new(false),
            sent,
            state: GilCell::new(State {
                phase: Phase::New,
                limit,
                deadline: None,
                timer: None,
                thread: 0,
                home: 0,
                sending: false,
                volley: Vec::new(),
                swallowed: 0,
                hit: false,
                cancelled: false,
                look_again: FIRST_LOOK,
            }),
        })
    }

    #[inline]
    pub(crate) fn enter(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        self.enter_at(py, home_frame)
    }

    /// Enters it where no generator is on the thread's stack.
    #[inline]
    pub(crate) fn enter_here(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        self.enter_at(py, |_| 0)
    }

    #[inline(always)]
    fn enter_at(
        self: &Arc<Self>,
        py: Python<'_>,
        home: impl FnOnce(ThreadState) -> usize,
    ) -> PyResult<()> {
        let due = self.state.with(py, |s| {
            if s.phase != Phase::New {
                return None;
            }
            s.phase = Phase::Entered;
            let me = ThreadState::current();
            s.thread = me.id();
            s.home = home(me);
            // Relaxed: who reads it was handed the scope by the monitor, after the timer was armed.
            self.mains.store(delivery::is_reached_by_signals(), Relaxed);
            s.deadline = s.limit.deadline();
            let due = match s.limit {
                Limit::After(seconds) => seconds == 0.0,
                Limit::At(_) => s.deadline.is_some_and(|d| d <= Instant::now()),
                Limit::Never => false,
            };
            if !due {
                s.arm(self);
            }
            Some(due)
        });
        match due {
            Some(false) => Ok(()),
            // Pending before the body begins.
            Some(true) => {
                self.go_off(py);
                Ok(())
            }
            None => Err(self.entered_before(py)),
        }
    }

    #[cold]
    fn entered_before(&self, py: Python<'_>) -> PyErr {
        PyRuntimeError::new_err(if self.state.with(py, |s| s.phase == Phase::Entered) {
            "this timeout is already entered: every block needs a timeout of its own"
        } else {
            "this timeout was used before: every block needs a timeout of its own"
        })
    }

    /// Whether it is the main thread that is to be interrupted.
    pub(crate) fn is_mains(&self) -> bool {
        self.mains.load(Relaxed)
    }

    /// The scope's time is up, or it is time to look again at what became of that. On the firing thread, or in the owner's
    /// `__enter__`.
    pub(crate) fn go_off(self: &Arc<Self>, py: Python<'_>) {
        match self.send(py) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => error.write_unraisable(py, None),
        }
        self.state.with(py, |s| {
            if s.phase == Phase::Entered {
                s.disarm();
                s.arm_at(self, Instant::now() + s.look_again);
                s.look_again = (s.look_again * 2).min(SLOWEST);
            }
        });
    }

    /// Whether it is this scope's turn to send: it is entered, due, and nothing of it is on the way.
    fn is_due(&self, py: Python<'_>) -> Due {
        let delivered: Vec<_> = self.state.with(py, |s| {
            s.volley
                .iter()
                .filter(|x| x.is_delivered())
                .map(|x| x.exception.clone_ref(py))
                .collect()
        });
        // Looked at outside: dropping what may be the last reference runs code.
        let flying = delivered.iter().any(|weak| weak.bind(py).upgrade().is_some());
        self.state.with(py, |s| {
            let reached = s.deadline.is_some_and(|deadline| deadline <= Instant::now());
            if s.phase != Phase::Entered || s.sending || !reached {
                return Due::No;
            }
            let pending = s.volley.iter().any(|x| x.receipt.state() == Outcome::Pending);
            if flying || pending || !is_on_stack(s.thread, s.home) {
                return Due::Later;
            }
            Due::Now
        })
    }

    /// Sends what is due. False: the scope is over, or was put off, and needs no further look.
    fn send(self: &Arc<Self>, py: Python<'_>) -> PyResult<bool> {
        match self.is_due(py) {
            Due::No => return Ok(false),
            Due::Later => return Ok(true),
            Due::Now => {}
        }
        let swallowed = self.state.with(py, |s| s.swallowed + usize::from(!s.volley.is_empty()));
        let options = Options { insist: swallowed >= POLITE_VOLLEYS, ..Options::default() };
        // What runs Python code comes first; then it is looked at again, and nothing comes between that and the mark.
        let mut exceptions = Vec::new();
        for _ in 0..volley_size(swallowed) {
            let exception = self.exception(py)?;
            let reference = PyWeakrefReference::new(&exception)?.unbind();
            exceptions.push((exception, reference));
        }
        match self.is_due(py) {
            Due::No => return Ok(false),
            Due::Later => return Ok(true),
            Due::Now => {}
        }
        let (thread, home, last) = self.state.with(py, |s| {
            s.sending = true;
            s.swallowed = swallowed;
            s.hit |= s.volley.iter().any(Shot::is_delivered);
            (s.thread, s.home, std::mem::take(&mut s.volley))
        });
        drop(last);
        self.sent.clear();
        let target = delivery::targets(py).into_iter().find(|target| target.tstate_id() == thread);
        let mut result = Ok(target.is_some());
        for (exception, reference) in exceptions {
            let Some(target) = &target else { break };
            let exception = exception.as_any();
            let receipt = if home == 0 {
                delivery::interrupt(py, target, exception, options)
            } else {
                delivery::interrupt_admitted(py, target, exception, options, Arc::clone(self) as _)
            };
            match receipt {
                Ok(receipt) => {
                    let shot = Shot { receipt, exception: reference };
                    self.state.with(py, |s| s.volley.push(shot));
                }
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        self.state.with(py, |s| s.sending = false);
        self.sent.set();
        result
    }

    /// The exception that travels.
    fn exception<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBaseException>> {
        if self.state.with(py, |s| s.cancelled) {
            let class = task_cancelled_type(py);
            return in_flight::make(class, self.number, "the task was cancelled".into());
        }
        in_flight::make(scope_timeout_type(py), self.number, self.message(py))
    }

    fn message(&self, py: Python<'_>) -> String {
        match self.state.with(py, |s| s.limit) {
            Limit::Never => "timed out".into(),
            Limit::After(seconds) => format!("timed out after {seconds} s"),
            Limit::At(when) => format!("timed out at {when} s of time.monotonic()"),
        }
    }

    /// Ends the scope. True: it was delivered at least once, or may have been.
    #[inline]
    pub(crate) fn leave(&self, py: Python<'_>) -> PyResult<bool> {
        let fired = self.state.with(py, |s| {
            if s.phase != Phase::Entered || s.thread != ThreadState::current().id() {
                return None;
            }
            s.phase = Phase::Left;
            s.disarm();
            Some(s.sending || s.hit || !s.volley.is_empty())
        });
        match fired {
            Some(fired) => Ok(fired),
            None => Err(self.left_before(py)),
        }
    }

    #[cold]
    fn left_before(&self, py: Python<'_>) -> PyErr {
        PyRuntimeError::new_err(if self.state.with(py, |s| s.phase == Phase::Entered) {
            "this timeout was entered in another thread, and must be left there"
        } else {
            "this timeout is not entered"
        })
    }

    /// Waits until nothing is being sent, and takes back what was sent and not delivered. Afterwards nothing of this scope
    /// is pending.
    #[cold]
    pub(crate) fn take_back(&self, py: Python<'_>) {
        while self.state.with(py, |s| s.sending) {
            insist(py, &self.sent, |wait| self.sent.wait_with(wait));
        }
        let withdrawn = self.state.with(py, |s| {
            // The last one first: none is to become the first in line meanwhile.
            for shot in s.volley.iter().rev() {
                shot.receipt.withdraw();
            }
            let (delivered, withdrawn) = s.volley.drain(..).partition(Shot::is_delivered);
            s.volley = delivered;
            withdrawn as Vec<_>
        });
        drop(withdrawn);
    }

    /// Ends the block at another time.
    pub(crate) fn reschedule(self: &Arc<Self>, py: Python<'_>, limit: Limit) -> PyResult<()> {
        if self.phase(py) == Phase::Left {
            return Err(PyRuntimeError::new_err("this timeout is over: its block has been left"));
        }
        // From here on it does not go off any more; what has gone off already is taken back.
        self.state.with(py, |s| {
            s.disarm();
            s.deadline = None;
        });
        self.take_back(py);
        if self.expired(py) {
            self.state.with(py, |s| s.deadline = Some(Instant::now()));
            self.go_off(py);
            return Err(PyRuntimeError::new_err(
                "this timeout has expired: its block is being interrupted",
            ));
        }
        let due = self.state.with(py, |s| {
            s.limit = limit;
            s.look_again = FIRST_LOOK;
            if s.phase != Phase::Entered {
                return false;
            }
            s.deadline = limit.deadline();
            if matches!(limit, Limit::After(0.0)) {
                return true;
            }
            s.arm(self);
            false
        });
        if due {
            self.go_off(py);
        }
        Ok(())
    }

    /// Ends the block, or has it end as it begins, as one that is cancelled; again and again, as at its limit. False: it has
    /// been left.
    pub(crate) fn cancel(self: &Arc<Self>, py: Python<'_>) -> bool {
        let before = self.state.with(py, |s| {
            let before = (s.phase == Phase::Left, s.cancelled);
            s.cancelled = true;
            before
        });
        match before {
            (true, _) => false,
            (_, true) => true,
            // An error says that it has been left, or is being ended already.
            _ => self.reschedule(py, Limit::After(0.0)).is_ok() || self.phase(py) != Phase::Left,
        }
    }

    /// Entered by hand and forgotten: nobody can leave it any more, so it must not go off.
    pub(crate) fn abandon(&self, py: Python<'_>) {
        let volley = self.state.with(py, |s| {
            s.disarm();
            s.phase = Phase::Left;
            std::mem::take(&mut s.volley)
        });
        for shot in volley {
            shot.receipt.withdraw();
        }
    }

    pub(crate) fn phase(&self, py: Python<'_>) -> Phase {
        self.state.with(py, |s| s.phase)
    }

    pub(crate) fn limit(&self, py: Python<'_>) -> Limit {
        self.state.with(py, |s| s.limit)
    }

    /// When it ends, once entered; None: never.
    pub(crate) fn deadline(&self, py: Python<'_>) -> Option<Instant> {
        self.state.with(py, |s| s.deadline)
    }

    /// What is done with the exceptions that leave its block.
    pub(crate) fn exit(&self, py: Python<'_>) -> in_flight::Exit {
        in_flight::Exit { scope: self.number, message: self.message(py) }
    }

    /// Whether its exception was raised in the block.
    pub(crate) fn expired(&self, py: Python<'_>) -> bool {
        self.state.with(py, |s| s.hit || s.volley.iter().any(Shot::is_delivered))
    }
}

/// Asked by the target, right before it raises.
impl Admit for Scope {
    fn admit(&self, py: Python<'_>) -> bool {
        let (thread, home) = self.state.with(py, |s| (s.thread, s.home));
        if is_on_stack(thread, home) {
            return true;
        }
        // Dropped by the target. The next look finds nothing on the way, and sends again when the generator runs.
        self.state.with(py, |s| {
            for shot in &s.volley {
                shot.receipt.withdraw();
            }
            std::mem::take(&mut s.volley)
        });
        false
    }
}

enum Due {
    Now,
    Later,
    No,
}

/// Whether the frame is on the thread's stack. Any thread may ask, with the GIL.
fn is_on_stack(thread: u64, home: usize) -> bool {
    if home == 0 {
        return true;
    }
    ThreadState::find(thread)
        .and_then(ThreadState::top)
        .is_some_and(|top| top.stack().any(|frame| frame.address() == home))
}
