//! `quell.timeout`: a block of code that is ended when its time is up.
//!
//! # States
//!
//! ```text
//! NEW ── __enter__ ──► ENTERED ── __exit__ ──► LEFT
//! ```
//!
//! A scope goes through them once, in one thread. While it is ENTERED a timer of the core's monitor leads, at the deadline, to
//! [`Scope::go_off`] on the [`firing`](super::firing) thread. That sends the owner an interrupt whose exception is private to
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
//! A loop around such an `except` would catch the next one in the same place. So each time the scope sends more at once: the
//! second one is raised in the handler of the first, outside of its `try`. From the third volley on they are sent with
//! `force`, for handlers in which there is no polite place.
//!
//! # Generators
//!
//! A scope that a generator or coroutine entered must not end the code that runs while it is suspended (PEP 789). A scope
//! remembers the frame of the generator in which it was entered, and its interrupt may be raised only while that frame is on its
//! thread's stack. One that falls due in the meantime is sent when the generator runs again. A generator that only serves a
//! `@contextmanager` is not meant by this: there the `with` block is what the scope is for, and its frame counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyBaseException, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyType, PyWeakrefReference};
use quell::monitor::{self, Timer};
use quell::{Outcome, Receipt};

use super::firing;
use super::home::home_frame;
use crate::cpython::thread::ThreadState;
use crate::delivery::gil_cell::GilCell;
use crate::delivery::{self, Admit, Options};
use crate::primitives::bound::install_with;
use crate::primitives::call::{self, Method, Obj, Parameters, none, this, throw};
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
pub(super) struct Scope {
    /// Tells this scope's exceptions from those of others.
    number: u64,
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
    look_again: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Entered,
    Left,
}

/// When a scope is to end, as asked for.
#[derive(Clone, Copy)]
enum Limit {
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
fn monotonic() -> f64 {
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
    fn new(limit: Limit) -> Arc<Self> {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let sent = quell::Event::new();
        sent.set();
        Arc::new(Self {
            // Relaxed: only uniqueness matters.
            number: NUMBERS.fetch_add(1, Relaxed),
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
                look_again: FIRST_LOOK,
            }),
        })
    }

    #[inline]
    fn enter(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        let due = self.state.with(py, |s| {
            if s.phase != Phase::New {
                return None;
            }
            s.phase = Phase::Entered;
            let me = ThreadState::current();
            s.thread = me.id();
            s.home = home_frame(me);
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

    /// The scope's time is up, or it is time to look again at what became of that. On the firing thread, or in the owner's
    /// `__enter__`.
    pub(super) fn go_off(self: &Arc<Self>, py: Python<'_>) {
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
        let exception = in_flight_type(py)?.call1((self.message(py),))?;
        exception.setattr(SCOPE, self.number)?;
        Ok(exception.cast_into::<PyBaseException>()?)
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
    fn leave(&self, py: Python<'_>) -> PyResult<bool> {
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
    fn take_back(&self, py: Python<'_>) {
        while self.state.with(py, |s| s.sending) {
            insist(py, &self.sent, |wait| self.sent.wait_with(wait));
        }
        let volley = self.state.with(py, |s| {
            // The last one first: none is to become the first in line meanwhile.
            for shot in s.volley.iter().rev() {
                s.hit |= !shot.receipt.withdraw() && shot.is_delivered();
            }
            std::mem::take(&mut s.volley)
        });
        drop(volley);
    }

    /// Whether its exception was raised in the block.
    fn expired(&self, py: Python<'_>) -> bool {
        self.state.with(py, |s| s.hit || s.volley.iter().any(Shot::is_delivered))
    }

    /// Whether `exception` is one of this scope's.
    fn is_mine(&self, exception: &Bound<'_, PyAny>) -> bool {
        let py = exception.py();
        in_flight_type(py).is_ok_and(|class| exception.get_type().is(class))
            && exception
                .getattr(SCOPE)
                .and_then(|number| number.extract::<u64>())
                .is_ok_and(|number| number == self.number)
    }

    /// The public exception that stands for one in flight: with its traceback, and in its place in the chain of contexts.
    fn stand_in<'py>(&self, exception: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = exception.py();
        let timeout = crate::exceptions::timeout_type(py).call1((self.message(py),))?;
        for attribute in ["__traceback__", "__context__", "__cause__", "__suppress_context__"] {
            timeout.setattr(attribute, exception.getattr(attribute)?)?;
        }
        Ok(timeout)
    }

    /// After the block, with the exception that ended it, if one did: what is to be raised in its stead.
    #[cold]
    fn translate<'py>(&self, exception: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = exception.py();
        if self.is_mine(exception) {
            return self.stand_in(exception).map(Some);
        }
        // An exception raised by a handler of ours on the way carries it as its context: people print that.
        let mut at = exception.clone();
        for _ in 0..LONGEST_CHAIN {
            let mut next = None;
            for link in ["__cause__", "__context__"] {
                let linked = at.getattr(link)?;
                if linked.is_none() {
                    continue;
                }
                if self.is_mine(&linked) {
                    let suppressed = at.getattr("__suppress_context__")?;
                    at.setattr(link, self.stand_in(&linked)?)?;
                    at.setattr("__suppress_context__", suppressed)?;
                }
                next = Some(at.getattr(link)?);
            }
            match next {
                Some(next) if !next.is(exception) => at = next,
                _ => break,
            }
        }
        let _ = py;
        Ok(None)
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

/// How far a chain of contexts is followed.
const LONGEST_CHAIN: usize = 64;

/// The attribute with the scope's number.
const SCOPE: &str = "__quell_scope__";

/// Whether the frame is on the thread's stack. Any thread may ask, with the GIL.
fn is_on_stack(thread: u64, home: usize) -> bool {
    if home == 0 {
        return true;
    }
    ThreadState::find(thread)
        .and_then(ThreadState::top)
        .is_some_and(|top| top.stack().any(|frame| frame.address() == home))
}

/// `quell.ScopeTimeout`, what a timeout raises inside its own block.
fn in_flight_type(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = TYPE.get_or_try_init(py, || {
        PyErr::new_type(
            py,
            c"quell.ScopeTimeout",
            Some(
                c"A timeout on its way out of its block, where it becomes quell.Timeout.\n\n\
                  It is private to its scope: do not catch it. Like every interrupt it is a BaseException, so that\n\
                  except Exception lets it pass.",
            ),
            Some(&py.get_type::<PyBaseException>()),
            None,
        )
    })?;
    Ok(class.bind(py))
}

/// timeout(seconds)
/// --
///
/// A block of code, or a function, that is interrupted when its time is up.
///
///     with quell.timeout(5):
///         answer = compute()
///
///     @quell.timeout(5)
///     def compute(): ...
///
/// If the block has not ended after so many seconds it is interrupted wherever it is: in a loop, in a wait of quell, in
/// the main thread in any blocking call. Its handlers and finally clauses run, and at its end quell.Timeout (a TimeoutError) is
/// raised. Inside the block the exception is a BaseException that belongs to this timeout: except Exception lets it pass,
/// and an enclosing timeout's passes through an inner one.
///
/// Nothing is raised after the block has been left. timeout(None) never ends; timeout(0) ends at the first place inside
/// where an interrupt can be raised. Every block needs a timeout of its own; a decorated function gets a new one for each
/// call. Only functions can be decorated, not generator functions and coroutine functions, whose calls return at once.
///
/// While the thread holds a quell lock that it acquired outside of a try or with statement, or is in a shield, the timeout
/// waits for the end of that.
#[pyclass(frozen, weakref, module = "quell", name = "timeout")]
pub struct Timeout {
    scope: Arc<Scope>,
}

impl Drop for Timeout {
    fn drop(&mut self) {
        // Entered by hand and forgotten: nobody can leave it any more, so it must not go off.
        // SAFETY: the value of a Python object is dropped by its deallocator, attached.
        let py = unsafe { Python::assume_attached() };
        let volley = self.scope.state.with(py, |s| {
            s.disarm();
            s.phase = Phase::Left;
            std::mem::take(&mut s.volley)
        });
        for shot in volley {
            shot.receipt.withdraw();
        }
    }
}

/// The argument `seconds`.
fn limit(seconds: Option<&Bound<'_, PyAny>>) -> PyResult<Limit> {
    let Some(given) = seconds else { return Ok(Limit::Never) };
    match number(given, "seconds")? {
        s if s < 0.0 => Err(PyValueError::new_err(format!(
            "the seconds of a timeout must not be negative: {}; use 0 for a timeout that is over at once",
            given.repr()?
        ))),
        s => Ok(Limit::After(s)),
    }
}

fn number(given: &Bound<'_, PyAny>, what: &str) -> PyResult<f64> {
    let value: f64 = given.extract().map_err(|_| {
        PyTypeError::new_err(format!(
            "the {what} of a timeout must be a number or None, not {}",
            given.get_type().name().map_or_else(|_| "this".into(), |n| n.to_string())
        ))
    })?;
    if value.is_nan() {
        return Err(PyValueError::new_err(format!("the {what} of a timeout must not be NaN")));
    }
    Ok(value)
}

#[pymethods]
impl Timeout {
    #[new]
    #[pyo3(signature = (seconds))]
    fn new(seconds: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        Ok(Self { scope: Scope::new(limit(seconds)?) })
    }

    /// Whether the time was up and the block was interrupted.
    #[getter]
    fn expired(&self, py: Python<'_>) -> bool {
        self.scope.expired(py)
    }

    /// When the block is to end, as a reading of time.monotonic(); None if never, or not entered yet.
    fn when(&self, py: Python<'_>) -> Option<f64> {
        let (limit, deadline) = self.scope.state.with(py, |s| (s.limit, s.deadline));
        match limit {
            Limit::At(when) => Some(when),
            _ => deadline.map(|d| {
                let now = Instant::now();
                let left = d.saturating_duration_since(now).as_secs_f64();
                monotonic() + left - now.saturating_duration_since(d).as_secs_f64()
            }),
        }
    }

    /// End the block so many seconds from now instead; None means never.
    ///
    /// RuntimeError if the block has been left, or has already been interrupted.
    #[pyo3(signature = (seconds))]
    fn reschedule(&self, py: Python<'_>, seconds: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let limit = limit(seconds)?;
        let scope = &self.scope;
        if scope.state.with(py, |s| s.phase == Phase::Left) {
            return Err(PyRuntimeError::new_err("this timeout is over: its block has been left"));
        }
        // From here on it does not go off any more; one that has gone off already is taken back.
        scope.state.with(py, |s| {
            s.disarm();
            s.deadline = None;
        });
        scope.take_back(py);
        if scope.expired(py) {
            scope.state.with(py, |s| s.deadline = Some(Instant::now()));
            scope.go_off(py);
            return Err(PyRuntimeError::new_err(
                "this timeout has expired: its block is being interrupted",
            ));
        }
        let due = scope.state.with(py, |s| {
            s.limit = limit;
            s.look_again = FIRST_LOOK;
            if s.phase != Phase::Entered {
                return false;
            }
            s.deadline = limit.deadline();
            if matches!(limit, Limit::After(0.0)) {
                return true;
            }
            s.arm(scope);
            false
        });
        if due {
            scope.go_off(py);
        }
        Ok(())
    }

    /// A new timeout with the same limit.
    fn _copy(&self, py: Python<'_>) -> Self {
        Self { scope: Scope::new(self.scope.state.with(py, |s| s.limit)) }
    }

    fn __call__(slf: &Bound<'_, Self>, function: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        refuse_suspendable(function)?;
        static DECORATE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let decorate = DECORATE.get_or_try_init(py, || {
            let code = pyo3::ffi::c_str!(include_str!("decorate.py"));
            let module = PyModule::from_code(py, code, c"quell/timeout.py", c"quell._decorate")?;
            Ok::<_, PyErr>(module.getattr("decorate")?.unbind())
        })?;
        decorate.call1(py, (function, slf))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let (phase, limit) = self.scope.state.with(py, |s| (s.phase, s.limit));
        let limit = match limit {
            Limit::Never => "None".into(),
            Limit::After(seconds) => format!("{seconds}"),
            Limit::At(when) => format!("at {when}"),
        };
        let phase = match phase {
            Phase::New => "not entered",
            Phase::Entered if self.scope.expired(py) => "expired",
            Phase::Entered => "entered",
            Phase::Left if self.scope.expired(py) => "expired, left",
            Phase::Left => "left",
        };
        format!("<quell.timeout({limit}): {phase}>")
    }
}

/// A decorated generator or coroutine function would leave its scope before its body has begun.
fn refuse_suspendable(function: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = function.py();
    if !function.is_callable() {
        return Err(PyTypeError::new_err(format!(
            "a timeout decorates a function, not {}; to limit a block, use it in a with statement",
            function.repr()?
        )));
    }
    let mut inner = function.clone();
    for _ in 0..LONGEST_CHAIN {
        let Some(next) = ["__func__", "func"].iter().find_map(|name| inner.getattr(*name).ok())
        else {
            break;
        };
        inner = next;
    }
    let flags = inner.getattr("__code__").and_then(|code| code.getattr("co_flags"));
    let Ok(flags) = flags.and_then(|flags| flags.extract::<i32>()) else { return Ok(()) };
    let what = if flags & (ffi::CO_COROUTINE | ffi::CO_ITERABLE_COROUTINE) != 0 {
        "a coroutine function; use asyncio.timeout"
    } else if flags & (ffi::CO_GENERATOR | ffi::CO_ASYNC_GENERATOR) != 0 {
        "a generator function"
    } else {
        return Ok(());
    };
    let _ = py;
    Err(PyTypeError::new_err(format!(
        "quell.timeout cannot decorate {}: calling it only makes an object whose body runs later. It is {what}, or a \
         with statement inside it",
        function.repr()?
    )))
}

/// `timeout.__enter__()`.
unsafe extern "C" fn enter(slf: Obj, _: *mut Obj, count: isize) -> Obj {
    // SAFETY: called by the method descriptor, attached, with an instance of timeout.
    unsafe {
        if count != 0 {
            return throw(PyTypeError::new_err("__enter__() takes no arguments"));
        }
        match this::<Timeout>(slf).scope.enter(Python::assume_attached()) {
            Ok(()) => {
                ffi::Py_INCREF(slf);
                slf
            }
            Err(error) => throw(error),
        }
    }
}

/// `timeout.__exit__(exc_type, exc_value, traceback)`.
unsafe extern "C" fn exit(slf: Obj, args: *mut Obj, count: isize) -> Obj {
    // SAFETY: called by the method descriptor, attached, with an instance of timeout and a call's arguments.
    unsafe {
        let py = Python::assume_attached();
        let scope = &this::<Timeout>(slf).scope;
        match scope.leave(py) {
            Ok(false) => none(),
            Ok(true) => {
                let value = if count > 1 { *args.add(1) } else { ffi::Py_None() };
                leave_fired(py, scope, &Bound::from_borrowed_ptr(py, value))
            }
            Err(error) => throw(error),
        }
    }
}

#[cold]
fn leave_fired(py: Python<'_>, scope: &Scope, value: &Bound<'_, PyAny>) -> Obj {
    scope.take_back(py);
    // SAFETY: attached.
    unsafe {
        if value.is_none() {
            return none();
        }
        match scope.translate(value) {
            Ok(None) => none(),
            Ok(Some(timeout)) => {
                // Restored as it is: raising it anew would make the private exception its context.
                PyErr::from_value(timeout).restore(py);
                std::ptr::null_mut()
            }
            Err(error) => throw(error),
        }
    }
}

const ENTER: Method =
    call::positional(c"__enter__", enter, c"__enter__($self, /)\n--\n\nStart the clock.");
const EXIT: Method = call::positional(
    c"__exit__",
    exit,
    c"__exit__($self, /, *exc_info)\n--\n\n\
      Stop the clock; raise quell.Timeout if the block was ended by it.",
);

/// `timeout(seconds)`, called with one positional number: what is written most.
unsafe extern "C" fn make(class: Obj, args: *const Obj, count: usize, names: Obj) -> Obj {
    // SAFETY: called by the interpreter, attached, as a class is called.
    unsafe {
        let py = Python::assume_attached();
        let positional = count & !ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
        let result = parameters(py).bind(args, positional as isize, names).and_then(|[seconds]| {
            if seconds.is_null() {
                return Err(parameters(py).missing(0));
            }
            let seconds = Bound::from_borrowed_ptr(py, seconds);
            let scope = Scope::new(limit((!seconds.is_none()).then_some(&seconds))?);
            Bound::new(py, Timeout { scope })
        });
        let _ = class;
        match result {
            Ok(timeout) => timeout.into_ptr(),
            Err(error) => throw(error),
        }
    }
}

fn parameters(py: Python<'_>) -> &'static Parameters<1> {
    static PARAMETERS: std::sync::OnceLock<Parameters<1>> = std::sync::OnceLock::new();
    PARAMETERS.get_or_init(|| Parameters::new(py, "timeout", ["seconds"]))
}

/// timeout_at(when)
/// --
///
/// As timeout(), with the moment at which it ends, a reading of time.monotonic(); None means never.
#[pyfunction]
#[pyo3(signature = (when))]
fn timeout_at(when: Option<&Bound<'_, PyAny>>) -> PyResult<Timeout> {
    let limit = match when {
        None => Limit::Never,
        Some(given) => Limit::At(number(given, "moment")?),
    };
    Ok(Timeout { scope: Scope::new(limit) })
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add_class::<Timeout>()?;
    call::install_constructor::<Timeout>(py, make);
    install_with::<Timeout>(py, [(&ENTER, enter), (&EXIT, exit)])?;
    module.add_function(wrap_pyfunction!(timeout_at, module)?)?;
    module.add("ScopeTimeout", in_flight_type(py)?)
}
