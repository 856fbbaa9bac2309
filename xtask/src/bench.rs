//! `cargo xtask bench core` measures the core beside other crates, `cargo xtask bench python` the package beside the standard
//! library on each interpreter, `cargo xtask bench run` the command beside `python`, `cargo xtask bench peers` time limits beside
//! those of other packages; each brings the book's chapter up to date.
//!
//! The core's measuring is done by the package in `bench/`, which is a workspace of its own so that the crates it measures
//! against stay out of `Cargo.lock`. It is built for the processors of a release, in a target folder of its own; optimised where it
//! measures.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::args::{BenchOptions, Side};
use crate::builds;
use crate::pythons::{self, Interpreter};
use crate::session::{Kind, Session};
use crate::suites;
use crate::venv::{self, Environment};
use crate::workspace;

/// The longest that measuring may take.
const LIMIT: Duration = Duration::from_secs(3600);

/// Builds and runs what measures.
///
/// # Errors
/// When no interpreter is found, or maturin cannot be installed.
pub(crate) fn run(session: &mut Session, options: &BenchOptions) -> anyhow::Result<()> {
    match options.side {
        Side::Core => core(session, options),
        Side::Python => python(session, options)?,
        Side::Run => command(session, options)?,
        Side::Peers => peers(session, options)?,
    }
    Ok(())
}

/// The interpreters to measure on, the newest of each minor version, with the package installed. Everything is built first: a
/// build that runs while something is measured would be measured too.
fn ready(
    session: &mut Session,
    options: &BenchOptions,
) -> anyhow::Result<Vec<(Interpreter, Environment)>> {
    let found = pythons::find()?;
    let tools = venv::tools(session, &found)?;
    let admitted: Vec<_> =
        found.into_iter().filter(|python| options.admits(&python.version)).collect();
    let mut ready = Vec::new();
    for interpreter in admitted.iter().filter(|python| !suites::is_older(python, &admitted)) {
        if let Some(environment) = with_package(session, &tools, interpreter) {
            ready.push((interpreter.clone(), environment));
        }
    }
    Ok(ready)
}

/// The interpreter's environment, with the package in it.
fn with_package(
    session: &mut Session,
    tools: &Environment,
    interpreter: &Interpreter,
) -> Option<Environment> {
    let environment = venv::of(session, tools, interpreter)?;
    builds::extension(session, tools, interpreter, &environment).then_some(environment)
}

fn python(session: &mut Session, options: &BenchOptions) -> anyhow::Result<()> {
    let ready = ready(session, options)?;
    let mut results = Vec::new();
    for (interpreter, environment) in &ready {
        let mut command = environment.command("python");
        command.arg(script("python_primitives.py"));
        command.args(["--filter", &pattern(options)]);
        let result = workspace::bench_results_of("python", &interpreter.tag);
        if options.quick {
            command.args(["--reps", "5", "--milliseconds", "0.5"]);
        } else if options.rows.is_empty() {
            command.arg("--json").arg(&result);
        }
        if session.step(format!("{}: bench", interpreter.tag), Kind::Chore, LIMIT, command) {
            results.push(result);
        }
    }
    let book = workspace::book().join("performance-python.md");
    let environment = ready.first().map(|(_, environment)| environment);
    table(session, options, environment, "python_primitives.py", book, results);
    Ok(())
}

fn command(session: &mut Session, options: &BenchOptions) -> anyhow::Result<()> {
    let ready = ready(session, options)?;
    let binaries: Vec<_> =
        ready.iter().map(|(interpreter, _)| builds::command(session, interpreter)).collect();
    let mut results = Vec::new();
    for ((interpreter, environment), binary) in ready.iter().zip(&binaries) {
        let mut command = environment.command("python");
        command.arg(script("run_command.py")).args(["--filter", &pattern(options)]);
        if let Some(binary) = binary {
            command.arg("--binary").arg(binary);
        }
        let result = workspace::bench_results_of("run", &interpreter.tag);
        if options.quick {
            command.args(["--reps", "6"]);
        } else if options.rows.is_empty() {
            command.arg("--json").arg(&result);
        }
        if session.step(format!("{}: bench", interpreter.tag), Kind::Chore, LIMIT, command) {
            results.push(result);
        }
    }
    let book = workspace::book().join("run.md");
    let environment = ready.first().map(|(_, environment)| environment);
    table(session, options, environment, "run_command.py", book, results);
    Ok(())
}

/// On one interpreter, the newest that is admitted: it is the ways to stop a function that are compared.
fn peers(session: &mut Session, options: &BenchOptions) -> anyhow::Result<()> {
    let found = pythons::find()?;
    let tools = venv::tools(session, &found)?;
    let newest = found.iter().rev().find(|python| options.admits(&python.version));
    let Some(interpreter) = newest else {
        anyhow::bail!("--only leaves none of the interpreters found");
    };
    let Some(environment) = with_package(session, &tools, interpreter) else { return Ok(()) };
    let result = workspace::bench_results_of("peers", &interpreter.tag);
    let mut command = environment.command("python");
    command.arg(script("peers/measure.py")).args(["--ways", &pattern(options)]);
    command.arg("--environment").arg(workspace::venv("peers"));
    if options.quick {
        command.arg("--quick");
    } else if options.rows.is_empty() {
        command.arg("--json").arg(&result);
    }
    if session.step(format!("{}: bench", interpreter.tag), Kind::Chore, LIMIT, command) {
        let book = workspace::book().join("comparison.md");
        table(session, options, Some(&environment), "peers/measure.py", book, vec![result]);
    }
    Ok(())
}

/// Names that contain all of what the options name.
fn pattern(options: &BenchOptions) -> String {
    options.rows.iter().map(|text| format!("(?=.*{text})")).collect()
}

/// Writes what a script has measured into the book, unless it is a part of the rows, which does not make a table.
fn table(
    session: &mut Session,
    options: &BenchOptions,
    environment: Option<&Environment>,
    name: &str,
    book: PathBuf,
    results: Vec<PathBuf>,
) {
    if options.quick || !options.rows.is_empty() {
        return;
    }
    let Some(environment) = environment else { return };
    let mut command = environment.command("python");
    command.arg(script(name)).arg("--book").arg(book).args(results);
    session.step("bench: table", Kind::Chore, LIMIT, command);
}

fn script(name: &str) -> PathBuf {
    workspace::bench().join(name)
}

fn core(session: &mut Session, options: &BenchOptions) {
    let mut build = cargo("build");
    build.arg("--release");
    if !session.step("bench: build", Kind::Chore, builds::LIMIT, build) {
        return;
    }
    let mut command = Command::new(workspace::target_of("bench").join("release/quell-bench"));
    for text in &options.rows {
        command.args(["--rows", text]);
    }
    if options.quick {
        command.arg("--quick");
    } else {
        command.arg("--results").arg(workspace::bench_results());
        command.arg("--book").arg(workspace::book());
    }
    session.step("bench: core", Kind::Chore, LIMIT, command);
}

/// That every row still runs, for a moment each: part of the tests. Nothing is measured, so nothing is optimised.
pub(crate) fn test(filter: Option<&String>) -> Command {
    let mut command = cargo("test");
    command.args(filter);
    command
}

/// What checks its formatting.
pub(crate) fn format() -> Command {
    let mut format = builds::cargo(["fmt", "--check", "--manifest-path"]);
    format.arg(manifest());
    format
}

/// clippy on it.
pub(crate) fn clippy() -> Command {
    let mut clippy = cargo("clippy");
    clippy.args(["--all-targets", "--", "--deny", "warnings"]);
    clippy
}

fn cargo(what: &str) -> Command {
    let mut command = builds::cargo([what, "--manifest-path"]);
    command.arg(manifest()).args(builds::locked());
    command.env("CARGO_TARGET_DIR", workspace::target_of("bench"));
    command
}

fn manifest() -> PathBuf {
    workspace::bench().join("Cargo.toml")
}
