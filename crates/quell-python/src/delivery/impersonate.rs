//! Reaching any thread inside a blocking call of the standard library, by lending it the main thread's identity.
//!
//! CPython runs Python-level signal handlers only in the thread whose ident stands in `_PyRuntime.main_thread`. For
//! the moment between a [signal](super::signal) to another thread and the handler's run there, this writes that
//! thread's ident into the field. It needs the sender's consent ([`Options::impersonate`](super::Options)), because
//! a signal of the program's own that arrives in that moment has its handler run in the wrong thread. `quell run`,
//! which owns the process, gives it.
//!
//! Only on versions where it has been measured to work: CPython 3.11 to 3.14.

use std::time::{Duration, Instant};

use pyo3::Python;

use super::gil_cell::GilCell;
use super::signal;
use crate::cpython::thread::ThreadState;

/// The identity is taken back after this long if the handler has not run.
const LOAN: Duration = Duration::from_millis(20);

static SINCE: GilCell<Option<Instant>> = GilCell::new(None);

/// Lends the identity to `ts` and signals it.
pub(super) fn strike(py: Python<'_>, ts: ThreadState) {
    let main = signal::main_ident();
    if SINCE.with(py, |since| since.is_some()) || !ThreadState::all().any(|t| t.ident() == main) {
        return;
    }
    set(ts.ident());
    SINCE.with(py, |since| *since = Some(Instant::now()));
    if !signal::kick(ts) {
        end(py);
    }
}

/// Takes the identity back, if it is lent.
pub(super) fn end(py: Python<'_>) {
    if SINCE.with(py, Option::take).is_some() {
        set(signal::main_ident());
    }
}

/// Takes the identity back from the calling thread, which has been reached, if it is the one that has it.
pub(super) fn give_back(py: Python<'_>) {
    if SINCE.with(py, |since| since.is_some()) && holder() == ThreadState::current().ident() {
        end(py);
    }
}

/// Takes the identity back if it was lent too long ago. True while it is lent.
pub(super) fn expire(py: Python<'_>) -> bool {
    match SINCE.with(py, |since| *since) {
        Some(since) if since.elapsed() > LOAN => {
            end(py);
            false
        }
        lent => lent.is_some(),
    }
}

fn holder() -> u64 {
    // SAFETY: as in `set`.
    unsafe { signal::main_thread_field().read_volatile() }
}

fn set(ident: u64) {
    // SAFETY: an aligned word that the interpreter writes at start-up and after a fork only, and reads with the GIL
    // held or from its C signal handler, which only compares it.
    unsafe { signal::main_thread_field().write_volatile(ident) };
}

/// In the child of a fork: the interpreter has set the field anew.
pub(super) fn forget(py: Python<'_>) {
    SINCE.with(py, |since| *since = None);
}
