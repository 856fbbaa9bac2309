//! Virtual environments that the chores make for themselves under `target/venv`.
//!
//! One holds the tools (maturin, ruff, and the pip that fills the others); each interpreter has one with what its tests
//! need. Versions are pinned in the two requirements files of this crate. A stamp in each environment holds what it was
//! made from; as long as that is unchanged nothing is installed again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::pythons::Interpreter;
use crate::session::{Kind, Session, Step};
use crate::workspace;

/// What is installed for the tools.
const TOOLS: &str = include_str!("../requirements-tools.txt");
/// What is installed for the tests.
const TESTS: &str = include_str!("../requirements-tests.txt");
/// Making an environment and filling it over a slow network.
const LIMIT: Duration = Duration::from_secs(600);

/// A virtual environment that is ready to use.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    folder: PathBuf,
}

impl Environment {
    /// A program of the environment: `python`, `maturin`.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }

    /// A command that runs one of the environment's programs as if the environment were active.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.program(name));
        activate(&mut command, &self.folder);
        command
    }
}

/// Takes out of a command's environment what would make Python look elsewhere.
pub(crate) fn isolate(command: &mut Command) {
    for name in ["PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "VIRTUAL_ENV", "CONDA_PREFIX"] {
        command.env_remove(name);
    }
}

fn activate(command: &mut Command, folder: &Path) {
    isolate(command);
    command.env("VIRTUAL_ENV", folder);
}

/// The environment of the tools, made on first use with the first interpreter that can.
///
/// # Errors
/// When no interpreter can make an environment with pip in it, or installing failed.
pub(crate) fn tools(
    session: &mut Session,
    interpreters: &[Interpreter],
) -> anyhow::Result<Environment> {
    let folder = workspace::venv("tools");
    let Some(maker) = interpreters
        .iter()
        .find(|python| python.ensurepip)
        .or_else(|| interpreters.iter().find(|python| python.pip))
    else {
        bail!(
            "none of the interpreters found has ensurepip or pip, so no environment can be made: {}. On Debian, \
             install python3-venv",
            interpreters.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        );
    };
    let environment = Environment { folder };
    let stamp = Stamp::new(&environment, maker, TOOLS);
    if stamp.is_current() {
        return Ok(environment);
    }
    make(&environment.folder, maker)?;
    let installed = if maker.ensurepip {
        let mut pip = environment.command("python");
        pip.args(["-m", "ensurepip", "--default-pip"]);
        session.step("tools: pip", Kind::Chore, LIMIT, pip) && {
            let mut pip = environment.command("python");
            pip.args(["-m", "pip"]);
            install(session, pip)
        }
    } else {
        let mut pip = Command::new(&maker.executable);
        isolate(&mut pip);
        pip.args(["-m", "pip", "--python"]).arg(environment.program("python"));
        install(session, pip)
    };
    if !installed {
        bail!("the tools could not be installed into {}", workspace::shown(&environment.folder));
    }
    stamp.write()?;
    Ok(environment)
}

/// The environment of an interpreter, with what its tests need but without quell; `None`, and a failed step, if it
/// could not be made.
pub(crate) fn of(
    session: &mut Session,
    tools: &Environment,
    interpreter: &Interpreter,
) -> Option<Environment> {
    let (filling, steps) = Filling::new(session, tools, [interpreter]);
    let filled = session.together(LIMIT, steps);
    filling.done(session, &filled).remove(0)
}

/// Environments of interpreters, as they are being filled.
pub(crate) struct Filling {
    ready: Vec<Option<Environment>>,
    /// Its place in the list, its name, and what is written when it is full.
    to_fill: Vec<(usize, String, Stamp)>,
}

impl Filling {
    /// And the steps that fill them, whose outcome [`done`](Self::done) wants to know.
    pub(crate) fn new<'a>(
        session: &mut Session,
        tools: &Environment,
        interpreters: impl IntoIterator<Item = &'a Interpreter>,
    ) -> (Filling, Vec<Step>) {
        let mut ready: Vec<Option<Environment>> = Vec::new();
        let (mut to_fill, mut steps) = (Vec::new(), Vec::new());
        for (at, interpreter) in interpreters.into_iter().enumerate() {
            let environment = Environment { folder: workspace::venv(&interpreter.tag) };
            let stamp = Stamp::new(&environment, interpreter, TESTS);
            let name = format!("{}: environment", interpreter.tag);
            if stamp.is_current() {
                ready.push(Some(environment));
            } else if let Err(error) = make(&environment.folder, interpreter) {
                session.fail(name, format!("{error:#}"));
                ready.push(None);
            } else {
                // The tools' pip fills it: an interpreter may have none, as Debian's.
                let mut pip = tools.command("python");
                pip.args(["-m", "pip", "--python"]).arg(environment.program("python"));
                let command = installing(pip, "requirements-tests.txt");
                steps.push(Step::new(name.clone(), Kind::Chore, command));
                to_fill.push((at, name, stamp));
                ready.push(Some(environment));
            }
        }
        (Filling { ready, to_fill }, steps)
    }

    /// For each interpreter as [`of`] tells.
    pub(crate) fn done(self, session: &mut Session, filled: &[bool]) -> Vec<Option<Environment>> {
        let Filling { mut ready, to_fill } = self;
        for ((at, name, stamp), &filled) in to_fill.into_iter().zip(filled) {
            let written = if filled { stamp.write() } else { Ok(()) };
            if let Err(error) = &written {
                session.fail(name, format!("{error:#}"));
            }
            if !filled || written.is_err() {
                ready[at] = None;
            }
        }
        ready
    }
}

/// An environment with nothing in it, made anew.
///
/// # Errors
/// When the interpreter cannot make one.
pub(crate) fn empty(interpreter: &Interpreter, name: &str) -> anyhow::Result<Environment> {
    let environment = Environment { folder: workspace::venv(name) };
    make(&environment.folder, interpreter)?;
    Ok(environment)
}

/// Makes an empty environment, without pip, anew.
fn make(folder: &Path, interpreter: &Interpreter) -> anyhow::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    let mut command = Command::new(&interpreter.executable);
    isolate(&mut command);
    command.args(["-I", "-m", "venv", "--without-pip"]).arg(folder);
    crate::process::capture(command, LIMIT).map(drop).with_context(|| {
        format!(
            "{interpreter} cannot make a virtual environment (python -m venv --without-pip); on Debian, install \
             python3-venv"
        )
    })
}

/// Installs the tools with a pip.
fn install(session: &mut Session, pip: Command) -> bool {
    let command = installing(pip, "requirements-tools.txt");
    session.step("tools: install", Kind::Chore, LIMIT, command)
}

/// What installs a requirements file with a pip.
fn installing(mut pip: Command, file: &str) -> Command {
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    pip.arg(workspace::root().join("xtask").join(file));
    pip
}

/// Remembers in an environment what it was made from.
struct Stamp {
    file: PathBuf,
    text: String,
}

impl Stamp {
    fn new(environment: &Environment, interpreter: &Interpreter, requirements: &str) -> Self {
        Self {
            file: environment.folder.join("made-from.txt"),
            text: format!("{interpreter}\n{requirements}"),
        }
    }

    fn is_current(&self) -> bool {
        std::fs::read_to_string(&self.file).is_ok_and(|text| text == self.text)
    }

    fn write(&self) -> anyhow::Result<()> {
        std::fs::write(&self.file, &self.text)
            .with_context(|| format!("writing {}", self.file.display()))
    }
}
