//! How an interrupt reaches a Python thread.
//!
//! An interrupt is recorded in the target's slot of the core (FIFO, receipts, masks), with the exception instance
//! as its reason. **Only the target takes it out again**, with the GIL held, at a place where it can raise it at
//! once. So there is no state "posted to the interpreter, not yet raised": a receipt that is withdrawn will never be
//! raised, one that is delivered has been, and leaving a timeout scope needs no handshake with anybody.
//!
//! What remains is to bring the target to such a place:
//!
//! | the target is | what brings it there |
//! | --- | --- |
//! | blocked in a quell operation | the core's kick; the operation raises ([`raise`]) |
//! | about to acquire a quell lock | the acquire looks first ([`deliver_before_acquire`]) |
//! | running Python code | the [gate](gate): the interpreter shows the target its own instructions |
//! | holding quell locks | the same, where an exception would release [each of them](holds); elsewhere all of these wait, and the release of the last one looks ([`Me::deliver_after_release`]) |
//! | the main thread, blocked in somebody else's call | a [signal] whose Python-level handler raises or declines |
//! | another thread, blocked in somebody else's call | the same signal, with [impersonation](impersonate), if the caller allows it |
//!
//! A timeout of the main thread that falls due while that thread keeps the GIL in native code [knocks](knock).
//!
//! The sender arms the gate itself, holding the GIL anyway; a native thread, the [driver], repeats and escalates until
//! the interrupt has ended one way or another. Everything here runs with the GIL held unless it says otherwise, and
//! nothing between a check and the act it allows runs Python code or releases the GIL.
//!
//! A thread that nobody has interrupted and that has used no quell primitive costs nothing and knows nothing of this.

mod callbacks;
mod driver;
mod gate;
pub(crate) mod gil_cell;
mod holds;
mod impersonate;
mod knock;
pub(crate) mod reason;
pub(crate) mod record;
mod signal;
mod swallow;
mod target;
mod unraisable;
pub(crate) mod want;

use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use quell::wait::{Look, Wait};
use quell::{Interrupted, Receipt};

use swallow::Swallowed;

pub(crate) use holds::is_guarded;
pub use holds::{Hold, Unheld};
pub use knock::Knock;
pub use reason::Admit;
pub use record::current_thread;
pub(crate) use signal::main_ident;
pub use target::{Target, main_target, target_by_ident, targets};

use crate::cpython::thread::ThreadState;
use reason::Reason;
use record::Record;

/// How far a sender lets an interrupt go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Raise also where the next statement opens a `try` or a `with`: for code that swallows what it is sent, whose only
    /// way out of its handlers leads past such a place.
    pub insist: bool,
    /// Raise also inside `finally` bodies and context managers' enter and exit. Implies `insist`.
    pub force: bool,
    /// The process lends its main thread's identity to a thread that is blocked in the standard library.
    pub impersonate: bool,
}

/// Sends `exc`, an exception class or instance, to `target`.
///
/// Not an interruption point. The interrupt waits its turn behind earlier ones of the same target.
pub fn interrupt(
    py: Python<'_>,
    target: &Target,
    exc: &Bound<'_, PyAny>,
    options: Options,
) -> PyResult<Receipt> {
    send(py, target, exc, options, None)
}

/// As [`interrupt`], with a last look by the target.
pub fn interrupt_admitted(
    py: Python<'_>,
    target: &Target,
    exc: &Bound<'_, PyAny>,
    options: Options,
    admit: Arc<dyn Admit>,
) -> PyResult<Receipt> {
    send(py, target, exc, options, Some(admit))
}

fn send(
    py: Python<'_>,
    target: &Target,
    exc: &Bound<'_, PyAny>,
    options: Options,
    admit: Option<Arc<dyn Admit>>,
) -> PyResult<Receipt> {
    if !crate::cpython::layout::verify() {
        return Err(PyRuntimeError::new_err(
            "quell cannot interrupt on this interpreter: its internal layout is not the one that CPython \
             of this version has; rebuild quell for it",
        ));
    }
    let instance = instantiate(exc)?;
    // Everything that can run Python code or release the GIL comes first.
    signal::prepare(py);
    if let Err(error) = gate::prepare(py) {
        // The signal can do without the gate, if less well; see `signal`.
        if !target.is_main() && !options.impersonate {
            return Err(error);
        }
    }
    unraisable::install(py)?;
    let record = target.record();
    let receipt = record.thread().interrupt(quell::Interrupt::new(Reason::new(instance, admit)));
    start(py, record, options)?;
    Ok(receipt)
}

/// Repeats the effort for what is pending in `target`, now with these options added to the earlier ones.
pub fn poke(py: Python<'_>, target: &Target, options: Options) -> PyResult<()> {
    if target.record().thread().has_pending() {
        start(py, target.record(), options)?;
    }
    Ok(())
}

/// Has `hook` called in the main thread, with the GIL held, when it answers a signal of [`kick_main`], before it looks at
/// what is pending. The hook may send interrupts. At most one hook; later ones are ignored.
pub fn on_main_signal(hook: fn(Python<'_>)) {
    signal::set_hook(hook);
}

/// Signals the main thread, so that it looks at what is pending as soon as it runs signal handlers: also out of native code
/// that holds the GIL and looks for signals now and then. Does not take the GIL; callable from any thread. False if
/// the handler is not installed.
pub fn kick_main() -> bool {
    signal::kick_main()
}

/// The same, for a caller that has its own way to make the main thread handle the signal: it is given the number, while it is
/// certain that the handler stays installed.
pub fn kick_main_by(send: impl FnOnce(std::ffi::c_int) -> bool) -> bool {
    signal::kick_main_by(send)
}

/// While it lives, no signal of ours is on its way to the calling thread, nor to the main thread from anybody who does not
/// hold the GIL. For an exec, which takes the handler away but keeps signals that are pending: one of them would end the new
/// program. Made, kept and dropped with the GIL held.
pub struct NoKicks(#[allow(dead_code, reason = "kept for its drop")] signal::Shut);

impl NoKicks {
    /// Begins it.
    pub fn begin(_py: Python<'_>) -> Self {
        Self(signal::Shut::new())
    }
}

/// Takes back everything that is pending in `target`; returns how many interrupts that were.
pub fn withdraw_all(_py: Python<'_>, target: &Target) -> usize {
    target.record().thread().withdraw_all()
}

fn start(py: Python<'_>, record: &Arc<Record>, options: Options) -> PyResult<()> {
    record.allow(py, options);
    driver::add(py, record);
    if gate::is_available(py) { gate::arm(py, record) } else { Ok(()) }
}

fn instantiate<'py>(exc: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = exc.py();
    let base = py.get_type::<pyo3::exceptions::PyBaseException>();
    let instance = match exc.cast::<pyo3::types::PyType>() {
        Ok(class) if class.is_subclass(&base)? => class.call0()?,
        _ => exc.clone(),
    };
    if instance.is_instance(&base)? {
        return Ok(instance);
    }
    Err(PyTypeError::new_err(format!(
        "an interrupt must be an exception class or instance, not {}",
        exc.repr().map_or_else(|_| exc.get_type().to_string(), |r| r.to_string())
    )))
}

// ---- called by the target itself

/// The error that raises `interrupted`, which a wait of the calling thread returned. None if its sender does not want it
/// raised here: then the wait goes on.
pub fn raise(py: Python<'_>, interrupted: Interrupted) -> Option<PyErr> {
    let interrupt = interrupted.into_interrupt();
    let admitted = record::is_admitted(py, &interrupt);
    admitted.then(|| Record::current(py).delivered(py, interrupt))
}

/// Takes the interrupt that may be raised where the calling thread blocks, after a wait that [`wait_options`] let be
/// interrupted and that left it pending. It is to be raised next: see [`delivered`]. `listens` becomes false if none may be raised here
/// after all, and the wait is to go on without.
pub fn take_where_blocked(py: Python<'_>, listens: &mut bool) -> Option<quell::Interrupt> {
    let record = Record::current(py);
    if record.thread().has_pending() && swallow::would_swallow(py, record) {
        *listens = false;
        return None;
    }
    record.take(py, true)
}

/// The error that raises an interrupt that was taken.
pub fn delivered(py: Python<'_>, interrupt: quell::Interrupt) -> PyErr {
    Record::current(py).delivered(py, interrupt)
}

/// Raises what is pending in the calling thread if every hold is covered and it is not masked. For an operation that is about
/// to acquire. One load when nothing is pending.
#[inline]
pub fn deliver_before_acquire(py: Python<'_>) -> PyResult<()> {
    let record = Record::current(py);
    if !record.thread().has_pending() {
        return Ok(());
    }
    deliver_now(py, record)
}

/// An interruption point: raises what is pending if masks allow it and every hold is covered by a handler.
pub fn checkpoint(py: Python<'_>) -> PyResult<()> {
    let record = Record::current(py);
    if !record.thread().has_pending() {
        return Ok(());
    }
    record.state(py, |s| s.shielded = false);
    deliver_now(py, record)
}

#[cold]
fn deliver_now(py: Python<'_>, record: &Record) -> PyResult<()> {
    if !holds::covered(py, record)? || swallow::would_swallow(py, record) {
        return Ok(());
    }
    match record.take(py, false) {
        Some(interrupt) => Err(record.delivered(py, interrupt)),
        None => Ok(()),
    }
}

/// The calling thread, found once for an operation that asks several things of it.
#[derive(Clone, Copy)]
pub struct Me<'py> {
    py: Python<'py>,
    thread: ThreadState,
    record: &'py Record,
}

/// The calling thread.
#[inline(always)]
pub fn me(py: Python<'_>) -> Me<'_> {
    let thread = ThreadState::current();
    Me { py, thread, record: Record::of_current(py, thread) }
}

/// The calling thread, if it is the one that was asked for last and nothing is pending in it: mostly so, and quickly found.
/// Makes nothing, and fails in no way.
#[inline(always)]
pub fn me_undisturbed(py: Python<'_>) -> Option<Me<'_>> {
    let thread = ThreadState::current_or_nobody();
    let record = Record::of_latest(py, thread)?;
    (!record.thread().has_pending()).then_some(Me { py, thread, record })
}

/// The number of the calling thread's state, which is never reused, nor zero.
#[inline(always)]
pub fn my_number() -> u64 {
    ThreadState::current().id()
}

/// The same where it is found without a call; where it is not, the number of no thread.
#[inline(always)]
pub fn my_number_at_once() -> u64 {
    ThreadState::current_or_nobody().id()
}

impl<'py> Me<'py> {
    /// That the thread is attached.
    #[inline(always)]
    pub fn py(self) -> Python<'py> {
        self.py
    }

    /// See [`my_number`].
    #[inline(always)]
    pub fn number(self) -> u64 {
        self.record.tstate_id()
    }

    /// What `threading.get_ident()` returns in the thread.
    #[inline(always)]
    pub fn ident(self) -> u64 {
        self.record.ident()
    }

    /// See [`deliver_before_acquire`].
    #[inline(always)]
    pub fn deliver_before_acquire(self) -> PyResult<()> {
        if self.record.thread().has_pending() { deliver_now(self.py, self.record) } else { Ok(()) }
    }

    /// Raises what is pending once the last hold is gone; but not where the release cleans up after an interrupt that has just
    /// been raised: that one goes on its way first.
    #[inline(always)]
    pub fn deliver_after_release(self) -> PyResult<()> {
        if self.record.thread().has_pending() { self.deliver_unless_on_the_way() } else { Ok(()) }
    }

    #[cold]
    fn deliver_unless_on_the_way(self) -> PyResult<()> {
        if self.record.is_handling_last(self.py) {
            return Ok(());
        }
        deliver_now(self.py, self.record)
    }

    /// See [`hold`].
    #[inline(always)]
    pub fn hold(self, key: *const ()) {
        self.record.held().begin(self.py, key, self.thread);
    }

    /// The same where it takes no memory. False: nothing was done.
    #[inline(always)]
    pub fn hold_at_once(self, key: *const ()) -> bool {
        self.record.held().begin_at_once(self.py, key, self.thread)
    }

    /// Ends the holds of the lock `key`, for [`restore`](Self::restore) to bring back: the same ones, in whose `with`
    /// statements a condition waits.
    pub fn lift(self, key: *const ()) -> Vec<Hold> {
        self.record.held().lift(self.py, key)
    }

    /// Brings back what was lifted, or holds the lock `key`, which was acquired `count` times, anew if the thread did not.
    pub fn restore(self, key: *const (), count: u32, holds: Vec<Hold>) {
        if holds.is_empty() {
            for _ in 0..count {
                self.hold(key);
            }
        }
        self.record.held().put_down(self.py, holds);
    }

    /// Ends the hold of the lock `key` if the calling thread has acquired nothing since. False: it has, or has no such hold.
    #[inline(always)]
    pub fn unhold_newest(self, key: *const ()) -> bool {
        self.record.held().end_newest(self.py, key)
    }

    /// See [`unhold`].
    #[inline(always)]
    pub fn unhold(self, key: *const ()) -> Unheld {
        self.record.held().end(self.py, key)
    }
}

/// How the calling thread may wait: not for interrupts while a hold is not covered, and with an eye on signals in the
/// main thread. (With an eye on nudges everywhere while deadlocks are looked for.)
pub fn wait_options(
    py: Python<'_>,
    deadline: Option<Instant>,
    looks: &mut Looks,
) -> PyResult<Wait> {
    let record = Record::current(py);
    // Whether a C library would swallow it is looked at when an interrupt has come; but who looks for deadlocks needs to know
    // whether this wait may fail.
    let swallowed = match want::is_detecting() {
        true => swallow::would_swallow(py, record),
        false => swallow::by_frames(py, record) == Swallowed::Yes,
    };
    let interruptible = holds::covered(py, record)? && !swallowed;
    let handles = signal::runs_handlers();
    let signals = handles || want::is_detecting();
    let look_again = if handles { looks.next() } else { None };
    // It may be that the thread that would end the wait needs this processor.
    let look = Look::Not;
    Ok(Wait { deadline, interruptible, signals, look_again, look, ..Wait::new() })
}

/// When a wait of the main thread looks whether there is a signal to be handled. A handler of CPython's wakes nobody: it ends a
/// sleep with EINTR, and if it runs in the moment before the sleep, between the GIL's release and the system call, that is not
/// seen. So the thread looks again after [`FIRST`](Self::FIRST), and then each time when as long again has passed: a signal in that
/// moment is handled by then, and a wait of any length is disturbed a few times only.
#[derive(Default)]
pub struct Looks(u32);

impl Looks {
    /// Before it a wait is not disturbed at all.
    const FIRST: Duration = Duration::from_millis(50);

    fn next(&mut self) -> Option<Instant> {
        let pause = Self::FIRST.checked_mul(1 << self.0)?;
        self.0 = (self.0 + 1).min(31);
        Instant::now().checked_add(pause)
    }
}

/// What a call of the standard library is to do about an interrupt that has ended it.
pub enum Hit {
    /// Raise this: the interrupt has been taken.
    Raise(PyErr),
    /// Go on, and listen to interrupts no more: where the thread is, none may be raised.
    Later,
    /// Go on: it has been withdrawn, or is not for this place.
    Nothing,
}

/// While it lives the calling thread is in a call that quell makes for somebody else's code: interrupts end it, or may not, and
/// nobody needs to bring the thread out of it by other means.
pub struct OwnCall<'py>(Me<'py>);

impl<'py> OwnCall<'py> {
    /// Begins it. From here on senders find the thread by its record.
    pub fn begin(py: Python<'py>) -> Self {
        let me = me(py);
        me.record.state(py, |s| s.own_calls += 1);
        Self(me)
    }
}

impl Drop for OwnCall<'_> {
    fn drop(&mut self) {
        self.0.record.state(self.0.py, |s| s.own_calls -= 1);
    }
}

/// The interrupt that is pending in the calling thread, for a system call that was made for somebody else's code with
/// [`leave_pending`](Wait::leave_pending) and has come back without effect.
pub fn hit(py: Python<'_>) -> PyResult<Hit> {
    if !may_raise_where_blocked(py)? {
        return Ok(Hit::Later);
    }
    let record = Record::current(py);
    Ok(match record.take(py, true) {
        Some(interrupt) => Hit::Raise(record.delivered(py, interrupt)),
        None => Hit::Nothing,
    })
}

/// Whether an exception in a call that the calling thread is blocked in leaves no lock held, and is not swallowed.
pub fn may_raise_where_blocked(py: Python<'_>) -> PyResult<bool> {
    let record = Record::current(py);
    Ok(!swallow::would_swallow_blocked(py, record) && holds::covered(py, record)?)
}

/// Whether the calling thread is the one whose blocking calls end when a signal comes.
#[inline]
pub fn is_reached_by_signals() -> bool {
    signal::runs_handlers()
}

/// Runs `f`, which may run Python code, with interrupts of the calling thread kept out. They are not raised at its end: it is
/// no interruption point.
pub fn shielded<R>(py: Python<'_>, f: impl FnOnce() -> R) -> R {
    let shield = quell::shield();
    let result = f();
    drop(shield);
    Record::current(py).state(py, |s| s.shielded = false);
    result
}

/// Notes that the calling thread has acquired the lock, or the permit of a `with` statement, `key`.
#[inline]
pub fn hold(py: Python<'_>, key: *const ()) {
    me(py).hold(key);
}

/// Notes that the calling thread has released the lock `key`.
#[inline]
pub fn unhold(py: Python<'_>, key: *const ()) -> Unheld {
    Record::current(py).held().end(py, key)
}

/// Notes that a lock was released, or has ceased to exist, that another thread than the calling one holds. False if none does.
#[cold]
pub fn unhold_foreign(py: Python<'_>, key: *const ()) -> bool {
    let Some(record) = record::holder(py, key) else { return false };
    if record.held().end(py, key) == Unheld::Last && record.thread().has_pending() {
        // A failure to arm is made good by the driver.
        let _ = gate::arm(py, &record);
        driver::add(py, &record);
    }
    true
}

/// In the child of a fork: only the calling thread is left.
pub(crate) fn after_fork(py: Python<'_>) {
    driver::after_fork();
    impersonate::forget(py);
    signal::after_fork();
    knock::after_fork();
    record::after_fork(py);
}

/// What has to be there before anything can be delivered.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    // PyO3 makes its own exception when it first looks at an error. That must not be in a target at its recursion limit,
    // where nothing can be called.
    let _ = py.get_type::<pyo3::panic::PanicException>();
    signal::prepare(py);
    driver::install(py)
}
