//! Builds what Python loads: the extension as a wheel, and the command `quell` linked to an interpreter's library.
//!
//! Each interpreter has a target folder of its own. PyO3's build depends on the interpreter, so two of them in one
//! folder would rebuild PyO3 and all above it in turn; and a maturin build uses the profile `ext`, because an extension
//! that does not link libpython needs another PyO3 than a program that does. The command is built in that profile, too, after the
//! wheel and from the same crates: it names CPython's library itself.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::pythons::Interpreter;
use crate::session::{Kind, Session, Step};
use crate::venv::{self, Environment};
use crate::workspace;

/// The longest that a build from nothing may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(1200);

/// The crates that are compiled for one interpreter.
pub(crate) const LINKED: [&str; 3] = ["quell-python", "quell-host", "quell-cli"];

/// A cargo command.
pub(crate) fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments);
    // Set by `cargo xtask` for xtask itself; a build script that reads them would take them for its own.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// What follows the subcommand in CI, where `Cargo.lock` must not change.
pub(crate) fn locked() -> Option<&'static str> {
    in_ci().then_some("--locked")
}

fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// Makes a cargo command build for one interpreter, in that interpreter's folder.
pub(crate) fn against(command: &mut Command, interpreter: &Interpreter) {
    venv::isolate(command);
    command.env("PYO3_PYTHON", &interpreter.executable);
    command.env("CARGO_TARGET_DIR", workspace::target_of(&interpreter.tag));
}

/// What maturin tells PyO3's build script: told something else it would build again.
fn as_maturin(command: &mut Command, interpreter: &Interpreter) {
    command.env("PYO3_BUILD_EXTENSION_MODULE", "1");
    let bits = usize::BITS;
    command.env("PYO3_ENVIRONMENT_SIGNATURE", format!("cpython-{}-{bits}bit", interpreter.minor()));
}

/// Builds the wheel for an interpreter into `folder`; its path, or `None` and a failed step.
pub(crate) fn wheel(
    session: &mut Session,
    tools: &Environment,
    interpreter: &Interpreter,
    folder: &Path,
) -> Option<PathBuf> {
    let (wheels, steps) = Wheels::into(tools, [(interpreter, folder.to_owned())]);
    let built = session.together(LIMIT, steps);
    wheels.done(session, &built).remove(0)
}

/// Wheels, as they are being built.
pub(crate) struct Wheels<'a> {
    wanted: Vec<Wanted<'a>>,
}

/// A wheel that is wanted.
struct Wanted<'a> {
    interpreter: &'a Interpreter,
    folder: PathBuf,
    /// What was there before.
    before: Vec<(PathBuf, SystemTime)>,
}

impl<'a> Wheels<'a> {
    /// Those that the tests of some interpreters install; and the steps that build them, whose outcome [`done`](Self::done) wants to
    /// know.
    pub(crate) fn new(tools: &Environment, interpreters: &[&'a Interpreter]) -> (Self, Vec<Step>) {
        let wanted = interpreters.iter().map(|interpreter| (*interpreter, wheels_of(interpreter)));
        Self::into(tools, wanted)
    }

    fn into(
        tools: &Environment,
        wanted: impl IntoIterator<Item = (&'a Interpreter, PathBuf)>,
    ) -> (Self, Vec<Step>) {
        let each = wanted.into_iter().map(|(interpreter, folder)| {
            let step = wheel_step(tools, interpreter, &folder);
            let before = wheels(&folder);
            (Wanted { interpreter, folder, before }, step)
        });
        let (wanted, steps) = each.unzip();
        (Self { wanted }, steps)
    }

    /// For each interpreter as [`wheel`] tells.
    pub(crate) fn done(self, session: &mut Session, built: &[bool]) -> Vec<Option<PathBuf>> {
        let each = self.wanted.iter().zip(built);
        each.map(|(wanted, built)| built.then(|| newest(session, wanted)).flatten()).collect()
    }
}

/// Where the wheels are that the tests of an interpreter install.
fn wheels_of(interpreter: &Interpreter) -> PathBuf {
    workspace::target_of(&interpreter.tag).join("wheels")
}

fn wheel_step(tools: &Environment, interpreter: &Interpreter, folder: &Path) -> Step {
    let mut command = tools.command("maturin");
    against(&mut command, interpreter);
    command.current_dir(workspace::python_project());
    command.arg("build").arg("--interpreter").arg(&interpreter.executable);
    command.arg("--out").arg(folder).args(locked());
    Step::new(format!("{}: wheel", interpreter.tag), Kind::Chore, command)
}

/// The wheel that is in the folder since; `None`, and a failed step, if there is none.
fn newest(session: &mut Session, wanted: &Wanted) -> Option<PathBuf> {
    let Wanted { interpreter, folder, before } = wanted;
    match wheels(folder).into_iter().max_by_key(|(_, written)| *written) {
        Some(newest) if !before.contains(&newest) => Some(newest.0),
        _ => {
            session.fail(
                format!("{}: wheel", interpreter.tag),
                format!("maturin wrote no wheel into {}", workspace::shown(folder)),
            );
            None
        }
    }
}

fn wheels(folder: &Path) -> Vec<(PathBuf, SystemTime)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "whl"))
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.modified().ok()?)))
        .collect()
}

/// Builds the extension and installs it into the interpreter's environment; `true` if it can be used.
pub(crate) fn extension(
    session: &mut Session,
    tools: &Environment,
    interpreter: &Interpreter,
    environment: &Environment,
) -> bool {
    let Some(wheel) = wheel(session, tools, interpreter, &wheels_of(interpreter)) else {
        return false;
    };
    session.run(LIMIT, install_step(interpreter, environment, &wheel))
}

/// What installs a wheel into an interpreter's environment.
///
/// An installed wheel, not `maturin develop`: the tests see what a user gets, nothing of the source tree, and two
/// interpreters of one minor version do not overwrite each other's extension in it.
pub(crate) fn install_step(
    interpreter: &Interpreter,
    environment: &Environment,
    wheel: &Path,
) -> Step {
    let mut pip = environment.command("python");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip.args(["--force-reinstall", "--no-deps", "--no-index"]).arg(wheel);
    Step::new(format!("{}: install", interpreter.tag), Kind::Chore, pip)
}

/// Builds the command for an interpreter; `None`, said in a note or a failed step, if that is not possible.
pub(crate) fn command(session: &mut Session, interpreter: &Interpreter) -> Option<PathBuf> {
    let step = command_step(session, interpreter)?;
    session.run(LIMIT, step).then(|| command_path(interpreter))
}

/// What builds the command for an interpreter; `None`, said in a note, if it cannot be linked.
pub(crate) fn command_step(session: &mut Session, interpreter: &Interpreter) -> Option<Step> {
    if !interpreter.embeds() {
        session.note(format!(
            "{interpreter} has no library, so the command `quell` was not built for it (Debian: libpython3-dev)"
        ));
        return None;
    }
    let mut command = cargo(["build", "--profile", "ext", "--package", "quell-cli"]);
    command.args(locked());
    against(&mut command, interpreter);
    as_maturin(&mut command, interpreter);
    Some(Step::new(format!("{}: command", interpreter.tag), Kind::Chore, command))
}

/// Where that is built.
pub(crate) fn command_path(interpreter: &Interpreter) -> PathBuf {
    workspace::target_of(&interpreter.tag).join("ext/quell")
}
