//! `cargo xtask bench core`: measures the core beside other crates, and brings the book's chapter up to date.
//!
//! The measuring is done by the package in `bench/`, which is a workspace of its own so that the crates it measures
//! against stay out of `Cargo.lock`. It is built for the processors of a release, in a target folder of its own.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::args::BenchOptions;
use crate::builds;
use crate::session::{Kind, Session};
use crate::suites;
use crate::workspace;

/// The longest that measuring may take.
const LIMIT: Duration = Duration::from_secs(3600);

/// Builds and runs what measures.
pub(crate) fn run(session: &mut Session, options: &BenchOptions) {
    if !session.step("bench: build", Kind::Chore, builds::LIMIT, cargo("build")) {
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

/// That every row still runs, for a moment each: part of the tests.
pub(crate) fn test(session: &mut Session, kind: Kind, filter: Option<&String>) {
    let mut command = cargo("test");
    command.args(filter);
    session.step("bench: every row, for a moment", kind, suites::LIMIT, command);
}

/// Formatting and clippy; part of the lints.
pub(crate) fn lint(session: &mut Session) {
    let mut format = builds::cargo(["fmt", "--check", "--manifest-path"]);
    format.arg(manifest());
    session.step("bench: rustfmt", Kind::Check, builds::LIMIT, format);
    let mut clippy = cargo("clippy");
    clippy.args(["--all-targets", "--", "--deny", "warnings"]);
    session.step("bench: clippy", Kind::Check, builds::LIMIT, clippy);
}

fn cargo(what: &str) -> Command {
    let mut command = builds::cargo([what, "--release", "--manifest-path"]);
    command.arg(manifest()).args(builds::locked());
    command.env("CARGO_TARGET_DIR", workspace::target_of("bench"));
    command
}

fn manifest() -> PathBuf {
    workspace::bench().join("Cargo.toml")
}
