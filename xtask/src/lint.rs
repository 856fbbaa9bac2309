//! `cargo xtask lint`: the checks that run no test.

use std::process::Command;
use std::time::Duration;

use crate::bench;
use crate::builds::{self, LIMIT};
use crate::c;
use crate::dependencies;
use crate::links;
use crate::pythons::{self, Interpreter};
use crate::session::{Kind, Session, Step};
use crate::venv;
use crate::workspace;

/// Runs every check. Those that take their time run at the same time: the compiler checks a crate on one processor.
///
/// # Errors
/// When the tools cannot be installed; what the checks find is recorded in the session.
pub(crate) fn run(session: &mut Session) -> anyhow::Result<()> {
    let found = pythons::find()?;
    let cargo = |arguments: &[&str]| {
        let mut command = builds::cargo(arguments);
        // As in the tests: the interpreter that cargo finds by itself, or else one that can be linked.
        if pythons::default_of_cargo().is_none()
            && let Some(python) = found.iter().rev().find(|python| python.library.is_some())
        {
            command.env("PYO3_PYTHON", &python.executable);
        }
        command
    };
    session.step("rustfmt", Kind::Check, LIMIT, cargo(&["fmt", "--all", "--check"]));
    session.step("bench: rustfmt", Kind::Check, LIMIT, bench::format());
    let environment = venv::tools(session, &found)?;
    let tool = |name: &str, arguments: &[&str]| {
        let mut command = environment.command(name);
        command.args(arguments);
        command
    };
    session.step("ruff check", Kind::Check, LIMIT, tool("ruff", &["check"]));
    let format = tool("ruff", &["format", "--check", "--diff"]);
    session.step("ruff format", Kind::Check, LIMIT, format);
    session.check("C header", c::header::check);
    session.check("links in documents", links::check);

    let clippy = cargo(&["clippy", "--workspace", "--all-targets"]);
    // Private items too: the protocols between threads are written down there.
    let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
    // So a link to a private item leads somewhere, and some need not have been explicit.
    let flags = "--deny warnings --allow rustdoc::private_intra_doc_links \
                 --allow rustdoc::redundant_explicit_links";
    doc.args(builds::locked()).env("RUSTDOCFLAGS", flags);
    // These share a target folder, and take longest; the others come behind.
    let mut lanes = vec![vec![check("clippy", denied(clippy)), check("rustdoc", doc)]];
    let mut others = vec![check("bench: clippy", bench::clippy())];
    others.extend(other_versions(&found));
    others.extend(other_systems(session));
    others.extend(dependencies::installation());
    // mypy and stubtest need the extension built: they run with the tests.
    for version in ["3.11", "3.14"] {
        let mut pyright = tool("basedpyright", &["--pythonversion", version, "--warnings"]);
        pyright.arg("--project").arg(workspace::python_project());
        others.push(check(format!("pyright, as on {version}"), pyright));
    }
    lanes.extend(others.into_iter().map(|step| vec![step.patient()]));
    session.lanes(LIMIT, lanes);
    dependencies::check(session);
    Ok(())
}

fn check(name: impl Into<String>, command: Command) -> Step {
    Step::new(name, Kind::Check, command)
}

/// clippy, whose warnings are errors.
fn denied(mut clippy: Command) -> Command {
    clippy.args(builds::locked()).args(["--", "--deny", "warnings"]);
    clippy
}

/// clippy again on what is compiled for other minor versions of CPython: some of it is there only. Not on its tests, which differ
/// hardly, and are compiled for each version where they run.
fn other_versions(found: &[Interpreter]) -> Vec<Step> {
    let mut seen: Vec<&str> = Vec::new();
    let usual = pythons::default_of_cargo();
    seen.extend(usual.iter().map(Interpreter::minor));
    let mut checks = Vec::new();
    for interpreter in found.iter().rev().filter(|python| python.library.is_some()) {
        if seen.contains(&interpreter.minor()) {
            continue;
        }
        seen.push(interpreter.minor());
        let mut clippy = builds::cargo(["clippy"]);
        for package in builds::LINKED {
            clippy.args(["--package", package]);
        }
        builds::against(&mut clippy, interpreter);
        checks.push(check(format!("clippy, CPython {}", interpreter.minor()), denied(clippy)));
    }
    checks
}

/// clippy on what the core compiles for other systems: without the futex and without system calls that can be ended, as where
/// there is no Linux; and for the other processor that has a stub, where its standard library is installed.
fn other_systems(session: &mut Session) -> Vec<Step> {
    let core = |target: &[&str], folder: &str| {
        let mut clippy = builds::cargo(["clippy", "--package", "quell", "--lib"]);
        clippy.args(target).env("CARGO_TARGET_DIR", workspace::target_of(folder));
        denied(clippy)
    };
    let mut portable = core(&[], "portable");
    portable.env("RUSTFLAGS", "--cfg quell_portable_park --cfg quell_no_calls");
    let mut checks = vec![check("clippy, core without Linux", portable)];
    const OTHER: &str = "aarch64-unknown-linux-gnu";
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", OTHER]);
    let there = crate::process::capture(rustc, Duration::from_secs(60))
        .is_some_and(|folder| std::path::Path::new(folder.trim()).is_dir());
    if there {
        let other = core(&["--target", OTHER], "portable");
        checks.push(check(format!("clippy, core for {OTHER}"), other));
    } else {
        session.note(format!("the core was not checked for {OTHER}: `rustup target add {OTHER}`"));
    }
    checks
}
