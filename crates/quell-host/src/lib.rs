//! Runs Python scripts in an embedded interpreter, under limits.
//!
//! [`run`] is all of it: it finds the [`interpreter`] to be, makes the [`package`] `quell` importable without any
//! installation, and lets CPython's own main program run the script, as `python` does. The limits and what happens
//! at them are [`_quell::run`]'s.

mod embed;
mod interpreter;
mod package;

use std::fmt;
use std::time::Instant;

pub use _quell::run::version;
use _quell::run::{Plan, watchdog};

/// Why a script could not be run.
#[derive(Debug)]
pub struct HostError(String);

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for HostError {}

/// Runs what the plan says and returns the script's exit status. `started` is the moment from which time counts.
///
/// The process is the script's from then on: its signal handlers, its threads, its standard streams. At a limit the
/// process ends here and the function does not return. It can be called once, before any other use of Python. The program
/// that calls it is started again, with `watchdog` as its first argument, when the script replaces or stops itself; it
/// must pass what [`_quell::run::args::parse`] makes of that to [`watchdog::watch`].
///
/// # Errors
/// When there is no interpreter that fits, the system gives no thread for the watch, or the interpreter does not start.
pub fn run(plan: Plan, started: Instant) -> Result<i32, HostError> {
    let python = interpreter::find()?;
    let words = interpreter::command_line(&python, &plan);
    watchdog::set_relaunch(watchdog::Relaunch::binary());
    _quell::run::begin(plan, started).map_err(|error| HostError(error.to_string()))?;
    embed::run(&python, &words)
}
