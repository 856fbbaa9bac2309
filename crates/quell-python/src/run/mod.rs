//! `quell run`: runs a script as `python` would, and ends it at its limit, whatever it does.
//!
//! The same engine serves the command, which embeds the interpreter, and `python -m quell run`, inside the
//! user's own. In this order:
//!
//! 1. [`args`] reads the command line into a [`Plan`], with [`units`] for durations and sizes.
//! 2. [`begin`] makes the [`session`] and starts quell's own threads ([`crew`]), before the interpreter where that is
//!    possible: the [`monitor`] keeps the time and never asks the interpreter anything; the [`meter`] measures.
//! 3. [`ready`] hooks the session into the running interpreter: [`fork`], [`signals`], [`finish`].
//! 4. The interpreter's own main program runs the script (`Py_RunMain`).
//! 5. The monitor starts the [`deliverer`], which asks the interpreter and so may wait for it, once the script has run for a
//!    moment. At a limit it notes where everything is ([`place`], [`facts`]) and wakes the deliverer, which
//!    climbs the [`ladder`]: it interrupts the main thread, then the others, again and again.
//! 6. The run ends in one of two ways: the script ends, and [`finish`] is called at the end of the interpreter's
//!    finalization; or the grace is over, and the monitor ends the process ([`end`]). Either way the [`children`] are
//!    ended and the [`report`] is written. `os._exit` is led to the first way ([`leave`]).
//!
//! A script that replaces or stops itself takes quell's threads with it: a process beside it takes over ([`watchdog`]).
//!
//! [`begin`] and [`ready`] are for whoever embeds; [`inside`] is step 2 to 4 for `python -m quell`.

#![allow(unsafe_code)]

pub mod args;
mod bell;
mod children;
mod crew;
mod deliverer;
mod end;
mod exception;
mod facts;
mod finish;
mod fork;
pub mod inside;
mod json;
mod ladder;
mod leave;
mod limits;
mod meter;
mod monitor;
mod natives;
mod output;
mod place;
mod process;
mod progress;
mod report;
mod session;
mod signals;
mod unblockable;
pub mod units;
mod usage;
pub mod watchdog;

use std::time::Instant;

use pyo3::prelude::*;

pub use args::{Command, Plan, Target};
pub use limits::{Kind, Limits, Reached};

use session::Session;

/// The exit status for quell's own failures, bad arguments included.
pub const FAILURE_STATUS: i32 = 125;

/// What `quell --version` prints. The interpreter need not run.
#[must_use]
pub fn version() -> String {
    // SAFETY: returns a static string at any time.
    let python = unsafe { std::ffi::CStr::from_ptr(pyo3::ffi::Py_GetVersion()) }.to_string_lossy();
    let python = python.split_whitespace().next().unwrap_or_default();
    format!("quell {} (CPython {python})\n", env!("CARGO_PKG_VERSION"))
}

/// Starts to watch this process. `started` is the moment from which time counts.
///
/// # Errors
/// When the report's file cannot be written, or the system gives no thread.
pub fn begin(mut plan: Plan, started: Instant) -> std::io::Result<()> {
    if let Some(path) = &plan.report_file {
        // The script may change the directory, and a report that cannot be written is better known now.
        let path = std::path::absolute(path)?;
        std::fs::File::create(&path).map_err(|error| {
            std::io::Error::new(error.kind(), format!("--report-file {}: {error}", path.display()))
        })?;
        plan.report_file = Some(path);
    }
    start_threads(Session::begin(plan, started))
}

/// Hooks the watch into the interpreter, which has started and has not run the script yet. Main thread only.
///
/// # Errors
/// When there is no built-in exception of the name that the user gave.
pub fn ready(py: Python<'_>) -> PyResult<()> {
    let Some(session) = Session::current() else { return Ok(()) };
    crate::install(py)?;
    exception::check(py, session.plan.exception.as_ref())?;
    fork::install(py)?;
    finish::install(py)?;
    crate::delivery::on_main_signal(deliverer::on_main_signal);
    signals::install(py)?;
    leave::install(py)?;
    watchdog::hooks::install(py)?;
    if session.plan.patch {
        crate::patch::with_the_first_thread(py, deliverer::on_raise_in_call)?;
    }
    session.set_ready();
    Ok(())
}

/// To be called when the interpreter has been finalized: ends the process if a limit was reached.
pub fn finished() {
    finish::after_finalization();
}

/// The monitor, and the meter where there is something to measure. The monitor starts the deliverer when it is needed.
fn start_threads(session: &'static Session) -> std::io::Result<()> {
    session.crew.start("quell-monitor", move || monitor::body(session))?;
    if meter::is_needed(session) {
        session.crew.start("quell-meter", move || meter::body(session))?;
    }
    Ok(())
}

/// The same around a fork, where nobody can be told: without threads the script runs unwatched, as it would if the
/// system had refused them to the script itself.
fn start_threads_again(session: &'static Session) {
    if start_threads(session).is_err() {
        let text = b"quell: no thread for the monitor: the limits do not hold in this process\n";
        output::to_stderr(text, std::time::Duration::from_millis(10));
    }
}
