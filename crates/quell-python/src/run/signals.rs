//! Ctrl-C in three steps: the first belongs to the script, the second insists, the third ends the process.
//!
//! Python has a C-level handler for SIGINT that marks the signal; its table of Python functions stays the
//! script's business. quell's handler stands before that one: it counts, and passes on. If the script installs
//! a Python function of its own, CPython puts its C-level handler back in the first place; so quell's stands in for the
//! native function behind `signal.signal` too ([`natives`](super::natives)), and puts the handler before CPython's
//! again, with the GIL held all the time. If the signal is ignored or has its default action, as in a job that a shell started in the background, that is left alone.
//!
//! A press more than [`MEMORY`] after the one before counts as the first again, so that a program that lives with
//! Ctrl-C, such as a prompt, is not ended by the third one of a day.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use pyo3::ffi;
use pyo3::prelude::*;

use super::natives::{Native, Object, Ours, integer};
use super::session::Session;

/// How long a press is remembered.
pub(super) const MEMORY: Duration = Duration::from_secs(5);

/// How often SIGINT came.
#[derive(Debug, Default)]
pub(super) struct Presses {
    /// In a row.
    count: AtomicU32,
    /// The time of the last one on the monotonic clock, in milliseconds.
    last: AtomicI64,
}

impl Presses {
    /// Notes one, and says the how manyth in a row it is. Called in the signal handler, which does not interrupt itself.
    fn note(&self, now: i64) -> u32 {
        let before = self.last.swap(now, SeqCst);
        if now - before > MEMORY.as_millis() as i64 {
            self.count.store(0, SeqCst);
        }
        self.count.fetch_add(1, SeqCst) + 1
    }

    pub(super) fn count(&self) -> u32 {
        self.count.load(SeqCst)
    }
}

/// CPython's C-level handler, once quell's stands before it.
static PYTHONS: AtomicUsize = AtomicUsize::new(0);

fn disposition() -> Option<libc::sigaction> {
    // SAFETY: asks only; fills a structure on this stack.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        (libc::sigaction(libc::SIGINT, std::ptr::null(), &raw mut now) == 0).then_some(now)
    }
}

fn address() -> usize {
    on_sigint as extern "C" fn(libc::c_int) as usize
}

/// Puts quell's handler before CPython's, now and whenever the script changes the handler. GIL held, before the script
/// starts.
///
/// # Errors
/// When the module `_signal` is not there.
pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    let module = py.import("_signal")?;
    let default = module.getattr("default_int_handler")?;
    let now = module.getattr("getsignal")?.call1((libc::SIGINT,))?;
    OWN_FUNCTION.store(!now.is(&default), SeqCst);
    // Kept for ever, so that the address stays its own.
    DEFAULT_FUNCTION.store(default.into_ptr() as usize, SeqCst);
    SIGNAL.replace(&module, "signal", Ours::Fast(signal_signal))?;
    stand_before();
    Ok(())
}

/// Puts quell's handler before CPython's, if that stands first.
pub(super) fn stand_before() {
    let Some(now) = disposition() else { return };
    let handler = now.sa_sigaction;
    let is_python = handler != libc::SIG_IGN
        && handler != libc::SIG_DFL
        && handler != address()
        && now.sa_flags & libc::SA_SIGINFO == 0
        && (PYTHONS.load(SeqCst) == 0 || PYTHONS.load(SeqCst) == handler);
    if is_python {
        PYTHONS.store(handler, SeqCst);
        put(now);
    }
}

/// `signal.signal`.
static SIGNAL: Native = Native::new();

/// Python's own function for SIGINT, which raises KeyboardInterrupt.
static DEFAULT_FUNCTION: AtomicUsize = AtomicUsize::new(0);
/// Whether the script has another one.
static OWN_FUNCTION: AtomicBool = AtomicBool::new(false);

/// Whether the script has a function of its own for SIGINT.
pub(super) fn has_own_function() -> bool {
    OWN_FUNCTION.load(SeqCst)
}

/// `signal.signal`, and then quell's handler in its place again.
unsafe extern "C" fn signal_signal(
    module: Object,
    arguments: *mut Object,
    count: ffi::Py_ssize_t,
) -> Object {
    // SAFETY: called by the interpreter, GIL held, with arguments that live as long as the call.
    unsafe {
        let result = SIGNAL.fast(module, arguments, count);
        if !result.is_null()
            && count == 2
            && integer(arguments, count, 0) == Some(i64::from(libc::SIGINT))
        {
            let function = *arguments.add(1) as usize;
            OWN_FUNCTION.store(function != DEFAULT_FUNCTION.load(SeqCst), SeqCst);
        }
        stand_before();
        result
    }
}

/// Installs quell's handler with the flags and the mask of the one it stands before.
fn put(mut action: libc::sigaction) {
    action.sa_sigaction = address();
    // SAFETY: the handler is async-signal-safe: atomics, a clock, a futex wake, and CPython's own handler.
    unsafe {
        libc::sigaction(libc::SIGINT, &raw const action, std::ptr::null_mut());
    }
}

extern "C" fn on_sigint(signal: libc::c_int) {
    let mut pass = true;
    // SAFETY: getpid and clock_gettime are async-signal-safe.
    let (pid, now) = unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time);
        (libc::getpid(), time.tv_sec * 1_000 + time.tv_nsec / 1_000_000)
    };
    if let Some(session) = Session::current()
        && session.pid == pid
    {
        let count = session.presses.note(now);
        // From the second on it is quell's to act, unless it cannot ask the interpreter. A script's own function is called
        // each time: it may have its own way to end.
        pass = count == 1 || has_own_function() || !session.is_ready();
        session.bell.ring();
        session.summons.ring();
    }
    let pythons = PYTHONS.load(SeqCst);
    if pass && pythons != 0 {
        // SAFETY: the address was CPython's handler for this signal, of this type (no SA_SIGINFO).
        let pythons: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(pythons) };
        pythons(signal);
    }
}

/// Ends the process the way an unhandled SIGINT does, so that a shell sees it.
pub(super) fn die_of_sigint() -> ! {
    // SAFETY: restores the default action and takes the signal in this thread.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_DFL);
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut set, libc::SIGINT);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
        libc::kill(libc::getpid(), libc::SIGINT);
        libc::_exit(128 + libc::SIGINT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presses_count_in_a_row_only() {
        let presses = Presses::default();
        let memory = MEMORY.as_millis() as i64;
        assert_eq!(presses.note(1_000_000), 1);
        assert_eq!(presses.note(1_000_000 + memory), 2);
        assert_eq!(presses.note(1_000_001 + memory), 3);
        assert_eq!(presses.note(1_000_002 + 2 * memory), 1);
        assert_eq!(presses.count(), 1);
    }
}
