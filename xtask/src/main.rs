//! The project's own chores, run as `cargo xtask NAME`.
//!
//! `test` is the one command that builds and tests everything on every CPython of the machine; `lint` holds the
//! checks that need no test run; `ci` is both; `wheel` builds what is published; `bench` measures;
//! `sanitize` runs the core's tests under sanitizers. Each chore is a list of *steps*
//! ([`session`]): a step is one child process with a time limit, whose closing line is read for its counts. A failed
//! step does not stop the others, so one run tells everything that is wrong.
//!
//! Nothing here is needed to use quell, and nothing else depends on this crate.

mod args;
mod bench;
mod builds;
mod c;
mod counts;
mod dependencies;
mod links;
mod lint;
mod process;
mod pythons;
mod runner;
mod sanitize;
mod session;
mod stacks;
mod suites;
mod tools;
mod venv;
mod wheel;
mod workspace;

use std::process::ExitCode;

use args::Chore;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // The hidden half of `test`: cargo starts each test binary through it.
    if arguments.first().is_some_and(|first| first == "runner") {
        return runner::run(&arguments[1..]);
    }
    // The same for the C tests.
    if arguments.first().is_some_and(|first| first == "c-tests") {
        return c::run(&arguments[1..]);
    }
    let outcome = match args::parse(&arguments) {
        Ok(chore) => perform(&chore),
        Err(problem) => {
            eprintln!("xtask: {problem}\n\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a chore; `false` when one of its steps failed.
fn perform(chore: &Chore) -> anyhow::Result<bool> {
    let root = workspace::root();
    std::env::set_current_dir(&root)?;
    process::adopt_orphans();
    match chore {
        Chore::Help => {
            println!("{}", args::USAGE);
            Ok(true)
        }
        Chore::Pythons => {
            pythons::list()?;
            Ok(true)
        }
        Chore::Tools => {
            tools::install_all()?;
            Ok(true)
        }
        Chore::Header => {
            c::header::write()?;
            Ok(true)
        }
        Chore::InstallC(prefix) => {
            let mut session = session::Session::new();
            c::install(&mut session, prefix)?;
            Ok(session.close())
        }
        Chore::Test(options) => {
            let mut session = session::Session::new();
            suites::run(&mut session, options)?;
            Ok(session.close_with_counts())
        }
        Chore::Lint => {
            let mut session = session::Session::new();
            lint::run(&mut session)?;
            Ok(session.close())
        }
        Chore::Ci(options) => {
            let mut session = session::Session::new();
            lint::run(&mut session)?;
            suites::run(&mut session, options)?;
            Ok(session.close_with_counts())
        }
        Chore::Bench(options) => {
            let mut session = session::Session::new();
            bench::run(&mut session, options)?;
            Ok(session.close())
        }
        Chore::Sanitize(options) => {
            let mut session = session::Session::new();
            sanitize::run(&mut session, options);
            Ok(session.close_with_counts())
        }
        Chore::Wheel(options) => {
            let mut session = session::Session::new();
            wheel::run(&mut session, options)?;
            Ok(session.close())
        }
    }
}
