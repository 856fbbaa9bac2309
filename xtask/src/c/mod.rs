//! The C ABI's chores: the header, an installation of libquell as C programs expect it, and its tests.

pub(crate) mod header;
mod install;
mod programs;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use crate::args::Options;
use crate::builds;
use crate::process;
use crate::session::{Kind, Session, Step};
use crate::workspace;

use programs::Way;

/// `cargo xtask install-c PREFIX`: libquell as it is released.
///
/// # Errors
/// When the files cannot be written; a failed build is recorded in the session.
pub(crate) fn install(session: &mut Session, prefix: &Path) -> anyhow::Result<()> {
    if build(session, &["--release"]) {
        install::install(&workspace::target().join("release"), prefix)?;
        println!("installed libquell into {}", prefix.display());
    }
    Ok(())
}

fn build(session: &mut Session, profile: &[&str]) -> bool {
    let mut command = builds::cargo(["build", "--package", "quell-capi"]);
    command.args(profile).args(builds::locked());
    session.step("C: libquell", Kind::Chore, builds::LIMIT, command)
}

/// The C tests and examples, as steps: with the shared library, then with the static one under the compiler's sanitizers; and under
/// valgrind. Each runs one program at a time. The library is built first.
///
/// # Errors
/// When the library cannot be installed into the target folder.
pub(crate) fn steps(
    session: &mut Session,
    options: &Options,
) -> anyhow::Result<(Vec<Step>, Vec<Step>)> {
    for (variable, usual, package) in [("CC", "cc", "gcc"), ("CXX", "c++", "g++")] {
        let compiler = programs::compiler(variable, usual);
        if !answers(&compiler) {
            session.fail(
                "C: tests",
                format!(
                    "there is no {compiler}: install one (Debian: {package}), or set {variable}"
                ),
            );
            return Ok(Default::default());
        }
    }
    if !build(session, &[]) {
        return Ok(Default::default());
    }
    let prefix = workspace::c_stage();
    install::install(&workspace::target().join("debug"), &prefix)?;
    session.check("C: pkg-config", || install::check(&prefix));
    let program = std::env::current_exe()?;
    let step = |name: &str, way: Way| {
        let mut command = Command::new(&program);
        command.args(["c-tests", way.word()]).args(&options.filter);
        if let Some(factor) = options.stress {
            command.env("QUELL_STRESS", factor.to_string());
        }
        Step::new(name, options.tests(), command)
    };
    let mut natively = vec![step("C: shared library", Way::Shared)];
    if programs::sanitizers_work() {
        natively.push(step("C: static library, sanitizers", Way::Sanitized));
    } else {
        session.note("the C compiler has no sanitizers: the static library was tested without");
        natively.push(step("C: static library", Way::Static));
    }
    let mut valgrind = Vec::new();
    if answers("valgrind") {
        valgrind.push(step("C: valgrind", Way::Valgrind));
    } else {
        session
            .note("valgrind is not installed: the C tests did not run under it (Debian: valgrind)");
    }
    Ok((natively, valgrind))
}

/// Whether a program is there.
fn answers(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version");
    process::capture(command, Duration::from_secs(60)).is_some()
}

/// The hidden half of the tests, a process of its own so that its output is read: `xtask c-tests WAY [FILTER]`.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let Some(way) = arguments.first().and_then(|word| Way::named(word)) else {
        eprintln!("xtask c-tests: no way of running them was named");
        return ExitCode::from(2);
    };
    match programs::run_all(way, arguments.get(1)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask c-tests: {error:#}");
            ExitCode::FAILURE
        }
    }
}
