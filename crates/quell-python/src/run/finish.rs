//! The script's own end: the last step of the interpreter's finalization, in the main thread.
//!
//! It is a C-level exit function (`Py_AtExit`), which CPython calls after everything of Python's has ended, for the
//! embedded interpreter and for `python -m quell` alike. If no limit was reached it does nothing and the process ends with
//! the script's status. Otherwise it ends the children, writes the report and sets the status.

use std::time::{Duration, Instant};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyCFunction;

use super::end::LIMIT_STATUS;
use super::facts::Ended;
use super::session::{Ending, Fired, Session};
use super::{children, crew, deliverer, meter, report};

/// Has the interpreter call it, and, before the interpreter can no longer be asked, close the deliverer's door. Without a
/// free slot for exit functions (there are 32) it is not called, and the embedding command calls
/// [`after_finalization`] itself.
pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    let close = PyCFunction::new_closure(py, None, None, |args, _| before_finalization(args.py()))?;
    // Registered before the script's own exit functions, so it runs after them: they can still be interrupted.
    crate::at_exit::register(close.as_any())?;
    // SAFETY: GIL held; the function lives as long as the process.
    unsafe {
        ffi::Py_AtExit(Some(at_exit));
    }
    Ok(())
}

/// The last exit function of Python's.
///
/// After a limit it first waits for the threads that are being interrupted, to three quarters of the grace. CPython does
/// that itself before the exit functions, but 3.11 and 3.12 forget a thread whose `join` was interrupted,
/// and would cut its cleanup.
fn before_finalization(py: Python<'_>) {
    let Some(session) = Session::current() else { return };
    if let Some(fired) = session.fired() {
        let until = fired.at + session.plan.grace * 3 / 4;
        while Instant::now() < until && deliverer::others_remain(py) {
            py.detach(|| std::thread::sleep(Duration::from_millis(1)));
        }
    }
    session.door.close(py);
}

extern "C" fn at_exit() {
    after_finalization();
}

/// Ends the process if a limit was reached; otherwise returns.
pub(super) fn after_finalization() {
    let Some(session) = Session::current() else { return };
    if session.pid != std::process::id() as i32 {
        return;
    }
    session.set_finalized();
    session.progress.hide();
    if let Some(fired) = session.fired() {
        end(session, fired);
    }
}

fn end(session: &Session, fired: &Fired) -> ! {
    conclude(session, fired);
    // The exit functions of C libraries run as they would; the monitor watches until they have.
    // SAFETY: CPython's finalization has ended and the caller would exit next.
    unsafe { libc::exit(LIMIT_STATUS) }
}

/// Ends the children and writes the report, after the script's own end. Returns if it was in time; otherwise the monitor
/// is doing it, and ends the process.
///
/// In a thread of its own, because that can have its own table of descriptors: a script that has used up all there are
/// gets its report too. What runs in the calling thread afterwards may still need the script's.
pub(super) fn conclude(session: &Session, fired: &Fired) {
    let unwinding = fired.at.elapsed();
    if !session.claim(Ending::Unwound) {
        loop {
            // SAFETY: waits for signals, for ever.
            unsafe { libc::pause() };
        }
    }
    let work = || {
        let half = fired.end - session.plan.grace / 2;
        let ended = match session.is_fork {
            true => Vec::new(),
            false => children::end_all(session.pid, half, fired.end),
        };
        let facts = {
            let mut facts = session.facts();
            facts.everything_ended(unwinding);
            facts.children.extend(ended);
            facts.ended = Ended::Unwound;
            facts.unwinding = Some(unwinding);
            facts.elapsed = session.started.elapsed();
            facts.clone()
        };
        report::write(session, &facts);
    };
    let alone = || {
        meter::have_own_descriptors(true);
        work();
    };
    let done = crew::in_a_thread("quell-end", alone);
    if done.is_err() {
        work();
    }
}
