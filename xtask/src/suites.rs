//! `cargo xtask test`: every suite, in two rounds of lanes. What looks at the clock has a lane of its own, in which one suite runs after
//! the other; beside it is built and run what can wait, on what is left of the processors.
//!
//! 1. The C ABI's tests; the Rust tests of the whole workspace, linked to the interpreter that a plain `cargo build` would use; the
//!    documentation's examples; the core with the portable parker in place of the futex; the Rust tests of the crates that link
//!    Python, on the other interpreters. Beside them what Python needs is built and installed.
//! 2. For each interpreter the extension's tests, the command's, the type checkers. Beside them the core under loom (every
//!    interleaving of small models) and under shuttle (large random schedules), and every row of the benchmarks, for a moment
//!    each.
//! 3. For a debug build of an interpreter the extension's tests; and an installation from the sources.

mod python;
mod rust;

use std::time::Duration;

use crate::args::Options;
use crate::c;
use crate::pythons::{self, Interpreter};
use crate::session::Session;
use crate::venv;

use python::Preparation;
use rust::Runner;
pub(crate) use rust::watch;

/// Building and running one suite.
pub(crate) const LIMIT: Duration = Duration::from_secs(3600);

/// Runs what the options ask for.
///
/// # Errors
/// When there is nothing to run on, or the tools cannot be installed; failed tests are recorded in the session.
pub(crate) fn run(session: &mut Session, options: &Options) -> anyhow::Result<()> {
    let (shared, valgrind) =
        if options.c() { c::steps(session, options)? } else { Default::default() };
    if !options.rust() && !options.python() {
        session.lanes(LIMIT, vec![shared, valgrind]);
        return Ok(());
    }
    let found = pythons::find()?;
    let chosen: Vec<_> =
        found.iter().filter(|python| options.admits(&python.version)).cloned().collect();
    if chosen.is_empty() {
        anyhow::bail!(
            "--only leaves none of the interpreters found: {}",
            found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        );
    }
    let mut debug = pythons::debug_builds()?;
    debug.retain(|python| options.admits(&python.version));
    if !debug.is_empty() && options.stress.is_none() && std::env::var_os("QUELL_PYTHONS").is_none()
    {
        session.note(
            "the tests on debug builds were left out; `--stress N` or QUELL_PYTHONS has them",
        );
        debug.clear();
    }
    println!("interpreters:");
    chosen.iter().chain(&debug).for_each(|interpreter| println!("   {interpreter}"));
    let mut clocked = shared;
    let mut beside = Vec::new();
    if options.rust() {
        let runner = Runner::new(session, options);
        clocked.extend(runner.workspace(session, &chosen));
        clocked.push(runner.portable());
        clocked.extend(runner.linked(&chosen));
        beside.extend(runner.models());
        beside.push(runner.bench());
    }
    let mut lanes = vec![clocked, valgrind];
    if !options.python() {
        lanes.push(beside);
        session.lanes(LIMIT, lanes);
        return Ok(());
    }
    let tools = venv::tools(session, &found)?;
    let (preparation, builds) = Preparation::new(session, &tools, &chosen);
    let others = lanes.len();
    lanes.extend(builds);
    let ended = session.lanes(LIMIT, lanes);
    let prepared = preparation.done(session, &ended[others..]);
    session.lanes(LIMIT, vec![prepared.suites(options), beside]);
    for interpreter in &debug {
        python::package_alone(session, &tools, interpreter, options);
    }
    if let Some(newest) = chosen.last()
        && !options.is_partial()
    {
        python::from_source(session, &tools, newest);
    }
    Ok(())
}

/// Whether there is a later patch release of the same minor version.
pub(crate) fn is_older(interpreter: &Interpreter, chosen: &[Interpreter]) -> bool {
    let newest = chosen.iter().rev().find(|other| other.minor() == interpreter.minor());
    newest.is_some_and(|newest| newest.tag != interpreter.tag)
}

/// How many there are.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
