//! Reaching the main thread inside somebody else's blocking call.
//!
//! A real-time signal makes the call return EINTR; CPython's wrappers of blocking calls then run Python-level signal
//! handlers, and ours raises what is pending: from inside the call, which has had no effect. The same handler is also
//! run by the evaluation loop, between two instructions, when the signal finds the thread elsewhere. Raising there
//! would lose what a call has just returned, or skip a `try` (see the [gate](super::gate)), so there it declines.
//!
//! *How it tells.* The evaluation loop calls its handlers at one depth of the C stack below its own frame, whatever
//! it was doing; a blocking call adds frames of its own. The depth is measured once, by a signal that the main thread
//! sends to itself at a known place, and a handler that finds itself at exactly that depth was called by the loop. A
//! call whose frames add up to the same depth by chance would be declined for ever; so after [`PATIENCE`] signals
//! in a row during which the thread executed no instruction, the handler takes the call's word for it. It does so much
//! sooner where there is no gate that would see the instructions.

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use pyo3::prelude::*;
use pyo3::{ffi, wrap_pyfunction};

use super::record::Record;
use super::{gate, holds, impersonate, knock, swallow};
use crate::cpython::layout;
use crate::cpython::thread::ThreadState;

/// Signals at the evaluation loop's depth, with no instruction between them, before the handler gives in.
const PATIENCE: u32 = 50;
/// The same where there is no gate, because others hold all that it could use: then this is the only way.
const PATIENCE_WITHOUT_GATE: u32 = 3;

static HOOK: OnceLock<fn(Python<'_>)> = OnceLock::new();

static SIGNAL: AtomicI32 = AtomicI32::new(0);
static MAIN: AtomicU64 = AtomicU64::new(0);
static ANSWERED: AtomicU64 = AtomicU64::new(0);
static LOOP_DEPTH: AtomicUsize = AtomicUsize::new(0);
static CALIBRATING: AtomicBool = AtomicBool::new(false);

// All of these are written and read with the GIL held, which orders them; Relaxed is enough.
const GIL: Ordering = Ordering::Relaxed;

/// Installs the handler, in the main thread: now if this is it, else as soon as it runs Python code.
pub(super) fn prepare(py: Python<'_>) {
    static ASKED: AtomicBool = AtomicBool::new(false);
    if SIGNAL.load(GIL) != 0 {
        return;
    }
    if main_ident() == ThreadState::current().ident() {
        // A program that leaves no signal free, or an embedding without signals: the other routes remain.
        if install(py).is_err() {
            SIGNAL.store(-1, GIL);
        }
    } else if !ASKED.swap(true, GIL) {
        // SAFETY: runs `install_later` in the main thread with the GIL held.
        unsafe { ffi::Py_AddPendingCall(Some(install_later), std::ptr::null_mut()) };
    }
}

extern "C" fn install_later(_: *mut c_void) -> c_int {
    Python::attach(prepare);
    0
}

fn install(py: Python<'_>) -> PyResult<()> {
    let Some(number) = free_signal() else {
        return Err(pyo3::exceptions::PyRuntimeError::new_err("no free real-time signal"));
    };
    let function = wrap_pyfunction!(handler, py)?;
    py.import("_signal")?.getattr("signal")?.call1((number, function))?;
    SIGNAL.store(number, GIL);
    calibrate(py)
}

/// The highest real-time signal that nobody handles.
fn free_signal() -> Option<c_int> {
    (libc::SIGRTMIN() + 1..libc::SIGRTMAX()).rev().find(|&number| {
        // SAFETY: asks for the present disposition without changing it.
        unsafe {
            let mut old: libc::sigaction = std::mem::zeroed();
            libc::sigaction(number, std::ptr::null(), &raw mut old) == 0
                && old.sa_sigaction == libc::SIG_DFL
        }
    })
}

/// Measures the depth of a handler that the evaluation loop runs.
fn calibrate(py: Python<'_>) -> PyResult<()> {
    // A function written in Python that calls another one: importing code would cost more than all the rest, and so would compiling
    // some.
    let call = py.import("_frozen_importlib")?.getattr("_call_with_frames_removed")?;
    let trip = wrap_pyfunction!(trip, py)?;
    CALIBRATING.store(true, GIL);
    // The loop looks for signals when the call has returned, that is, outside any call.
    let outcome = call.call1((trip,)).map(drop);
    CALIBRATING.store(false, GIL);
    outcome
}

#[pyfunction]
fn trip() {
    // SAFETY: the handler for this signal is installed; the calling thread is the main one.
    unsafe { libc::pthread_kill(libc::pthread_self(), SIGNAL.load(GIL)) };
}

/// Bytes of C stack between the innermost evaluation loop and the caller of this.
#[inline(never)]
fn depth() -> Option<usize> {
    let here = 0u8;
    let address = std::hint::black_box(&raw const here) as usize;
    ThreadState::current().eval_loop_address().map(|l| l.wrapping_sub(address))
}

/// The Python-level handler of the signal.
#[pyfunction]
#[pyo3(name = "quell_signal_handler")]
fn handler(py: Python<'_>, signum: &Bound<'_, PyAny>, frame: &Bound<'_, PyAny>) -> PyResult<()> {
    let _ = (signum, frame);
    let depth = depth();
    if CALIBRATING.load(GIL) {
        LOOP_DEPTH.store(depth.unwrap_or(0), GIL);
        return Ok(());
    }
    ANSWERED.store(answered() + 1, GIL);
    impersonate::end(py);
    if runs_handlers() {
        if let Some(hook) = HOOK.get() {
            hook(py);
        }
        knock::let_in(py);
    }
    let Some(record) = Record::existing(py) else { return Ok(()) };
    if !record.thread().has_pending() {
        return Ok(());
    }
    if depth == Some(LOOP_DEPTH.load(GIL)) {
        let declined = record.state(py, |s| {
            s.declined += 1;
            s.declined
        });
        let patience = if gate::is_available(py) { PATIENCE } else { PATIENCE_WITHOUT_GATE };
        if declined < patience {
            return Ok(());
        }
    }
    if swallow::would_swallow_blocked(py, record) || !holds::covered(py, record)? {
        return Ok(());
    }
    if quell::shield_depth() > 0 {
        record.state(py, |s| s.shielded = true);
        return Ok(());
    }
    match record.take(py, true) {
        Some(interrupt) => Err(record.delivered(py, interrupt)),
        None => Ok(()),
    }
}

/// Sends the signal to a thread of this interpreter, whose state was found with the GIL held since.
pub(super) fn kick(ts: ThreadState) -> bool {
    send(ts.ident())
}

/// How often the handler has run.
pub(super) fn answered() -> u64 {
    ANSWERED.load(GIL)
}

fn send(ident: u64) -> bool {
    let number = SIGNAL.load(GIL);
    // SAFETY: the callers name threads that have not ended; an ident is a pthread_t.
    number > 0 && ident != 0 && unsafe { libc::pthread_kill(ident as libc::pthread_t, number) == 0 }
}

/// See [`on_main_signal`](super::on_main_signal).
pub(super) fn set_hook(hook: fn(Python<'_>)) {
    let _ = HOOK.set(hook);
}

// Whether a thread without the GIL may signal the main thread. The interpreter gives its handlers up when it ends, and
// then the signal would end the process: so the last of Python's exit functions goes from OPEN to CLOSED, for good, and waits
// while somebody is between OPEN and KICKING and back. An exec gives them up as well, but may fail: for its length the
// window is SHUT.
const OPEN: u8 = 0;
const KICKING: u8 = 1;
const CLOSED: u8 = 2;
const SHUT: u8 = 3;
static WINDOW: AtomicU8 = AtomicU8::new(OPEN);

/// See [`kick_main`](super::kick_main).
pub(super) fn kick_main() -> bool {
    // The main thread does not end before the process.
    kick_main_by(|_| send(MAIN.load(GIL)))
}

/// See [`kick_main_by`](super::kick_main_by).
pub(super) fn kick_main_by(send: impl FnOnce(c_int) -> bool) -> bool {
    if WINDOW.compare_exchange(OPEN, KICKING, SeqCst, SeqCst).is_err() {
        return false;
    }
    let number = SIGNAL.load(GIL);
    let sent = number > 0 && send(number);
    WINDOW.store(OPEN, SeqCst);
    sent
}

/// From now on nobody without the GIL signals the main thread.
pub(super) fn close() {
    leave_open_for(CLOSED);
}

/// Whether the window was open, and now is what it was to be.
fn leave_open_for(state: u8) -> bool {
    loop {
        match WINDOW.compare_exchange(OPEN, state, SeqCst, SeqCst) {
            Err(KICKING) => std::thread::yield_now(),
            result => return result.is_ok(),
        }
    }
}

/// See [`NoKicks`](super::NoKicks).
pub(super) struct Shut(bool);

impl Shut {
    pub(super) fn new() -> Self {
        let shut = Self(leave_open_for(SHUT));
        let number = SIGNAL.load(GIL);
        if number > 0 {
            // What was sent to this thread before is handled on the way out of the first of these calls, and if it is blocked,
            // taken by the second.
            // SAFETY: two sets, on this stack; does not wait.
            unsafe {
                let mut set: libc::sigset_t = std::mem::zeroed();
                libc::sigpending(&raw mut set);
                libc::sigemptyset(&raw mut set);
                libc::sigaddset(&raw mut set, number);
                let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
                while libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const none) > 0
                {
                }
            }
        }
        shut
    }
}

impl Drop for Shut {
    fn drop(&mut self) {
        if self.0 {
            WINDOW.store(OPEN, SeqCst);
        }
    }
}

/// `threading.get_ident()` of the main thread.
pub(crate) fn main_ident() -> u64 {
    let known = MAIN.load(GIL);
    if known != 0 {
        return known;
    }
    // SAFETY: a word of the runtime record at a verified offset.
    let ident = unsafe { *main_thread_field() };
    MAIN.store(ident, GIL);
    ident
}

/// Where the interpreter keeps the main thread's ident.
pub(super) fn main_thread_field() -> *mut u64 {
    (layout::runtime() + layout::RT_MAIN_THREAD) as *mut u64
}

/// Whether Python-level signal handlers run in the calling thread.
pub(super) fn runs_handlers() -> bool {
    ThreadState::current().ident() == main_ident()
}

/// In the child of a fork the calling thread has become the main one.
pub(super) fn after_fork() {
    MAIN.store(0, GIL);
    // A thread that was kicking is not here.
    WINDOW.store(OPEN, SeqCst);
}
