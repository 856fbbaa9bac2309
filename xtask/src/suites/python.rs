//! What runs in Python, as steps: first what is built and installed, for all interpreters at the same time; then the suites, on one
//! interpreter after the other.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::args::Options;
use crate::builds;
use crate::pythons::Interpreter;
use crate::session::{Kind, Session, Step};
use crate::venv::{self, Environment};
use crate::workspace;

use super::{LIMIT, is_older, processors};

/// How much of the suites an interpreter runs, and how those of the command start it. `tests/in_turn.py` carries it out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// All, and the command both as the binary and as `python -m quell`.
    Whole,
    /// All, but each test of the command in one of the two ways.
    OneWay,
    /// On an older minor version, one of so many: what goes by the version ([`EACH_RELEASE`]), and a part of the rest in turn, the
    /// command in the other way.
    Turn(usize, usize),
    /// What may differ between patch releases of one minor version ([`EACH_RELEASE`]), with the newest one's wheel.
    Short,
}

/// What runs on an older patch release too: what goes by the layout of the interpreter's structures, its code objects and its
/// frames, and what touches every part of the package once. Below the package's tests, and below the command's suites.
const EACH_RELEASE: (&[&str], &[&str]) = (
    &[
        "test_context.py",
        "test_delivery.py",
        "test_dump.py",
        "test_executor.py",
        "test_interrupt.py",
        "test_interrupt_holding.py",
        "test_interrupt_threads.py",
        "test_look.py",
        "test_mask.py",
        "test_package.py",
        "test_patch.py",
        "test_patch_calls.py",
        "test_polite.py",
        "test_shim_frames.py",
        "test_strict.py",
        "test_timeout.py",
        "test_watched.py",
    ],
    &["test_blocking_calls.py", "test_limits.py", "test_workloads.py"],
);

/// What the suites need of each interpreter, as it is being made.
pub(super) struct Preparation<'a> {
    chosen: &'a [Interpreter],
    /// The newest release of each minor version: one wheel and one binary for all of them.
    newest: Vec<&'a Interpreter>,
    filling: venv::Filling,
    wheels: builds::Wheels<'a>,
    /// Whether each of the newest has a library that the command can be linked to.
    linkable: Vec<bool>,
}

impl<'a> Preparation<'a> {
    /// And the lanes of steps that make it, whose outcome [`done`](Self::done) wants to know.
    pub(super) fn new(
        session: &mut Session,
        tools: &Environment,
        chosen: &'a [Interpreter],
    ) -> (Self, Vec<Vec<Step>>) {
        let newest: Vec<&Interpreter> =
            chosen.iter().filter(|interpreter| !is_older(interpreter, chosen)).collect();
        let (filling, environments) = venv::Filling::new(session, tools, chosen);
        let (wheels, steps) = builds::Wheels::new(tools, &newest);
        let commands: Vec<_> =
            newest.iter().map(|interpreter| builds::command_step(session, interpreter)).collect();
        let linkable = commands.iter().map(Option::is_some).collect();
        // Each in the target folder of its interpreter; the command after the wheel, from whose crates it is linked.
        let builds = steps.into_iter().zip(commands).map(|(wheel, command)| {
            std::iter::once(wheel).chain(command).map(Step::patient).collect()
        });
        let environments = environments.into_iter().map(Step::patient).collect();
        let lanes = std::iter::once(environments).chain(builds).collect();
        (Self { chosen, newest, filling, wheels, linkable }, lanes)
    }

    /// What there is, now that the lanes have ended.
    pub(super) fn done(self, session: &mut Session, lanes: &[Vec<bool>]) -> Prepared<'a> {
        let Self { chosen, newest, filling, wheels, linkable } = self;
        let Some((environments, builds)) = lanes.split_first() else {
            unreachable!("one is there")
        };
        let environments = filling.done(session, environments);
        let built: Vec<bool> = builds.iter().map(|lane| lane[0]).collect();
        let wheels = wheels.done(session, &built);
        let binary = |((interpreter, linkable), lane): ((&&Interpreter, bool), &Vec<bool>)| {
            (linkable && lane[1]).then(|| builds::command_path(interpreter))
        };
        let binaries = newest.iter().zip(linkable).zip(builds).map(binary).collect();
        Prepared { chosen, newest, environments, wheels, binaries }
    }
}

/// What the suites need of each interpreter.
pub(super) struct Prepared<'a> {
    chosen: &'a [Interpreter],
    newest: Vec<&'a Interpreter>,
    /// For each that was chosen; what could not be made is missing.
    environments: Vec<Option<Environment>>,
    /// For each of the newest.
    wheels: Vec<Option<PathBuf>>,
    binaries: Vec<Option<PathBuf>>,
}

impl Prepared<'_> {
    /// Everything that runs on the interpreters, newest first.
    pub(super) fn suites(&self, options: &Options) -> Vec<Step> {
        let older = self.newest.len() - 1;
        let whole = older == 0 || options.stress.is_some() || options.is_partial();
        let mut steps = Vec::new();
        for (interpreter, environment) in self.chosen.iter().zip(&self.environments).rev() {
            let same_minor = |other: &&Interpreter| other.minor() == interpreter.minor();
            let Some(at) = self.newest.iter().position(same_minor) else { continue };
            let (Some(environment), Some(wheel)) = (environment, &self.wheels[at]) else {
                continue;
            };
            let extent = match self.newest[at] == interpreter {
                true if whole => Extent::Whole,
                true if at == older => Extent::OneWay,
                true => Extent::Turn(at, older),
                false => Extent::Short,
            };
            // A binary is linked to one release's library.
            let binary = self.binaries[at].as_deref().filter(|_| extent != Extent::Short);
            steps.push(builds::install_step(interpreter, environment, wheel));
            steps.extend(on_one(interpreter, environment, binary, extent, options));
        }
        steps
    }
}

/// Everything that runs on one interpreter, with the package installed.
fn on_one(
    interpreter: &Interpreter,
    environment: &Environment,
    binary: Option<&Path>,
    extent: Extent,
    options: &Options,
) -> Vec<Step> {
    let tag = &interpreter.tag;
    let kind = options.tests();
    let (of_package, of_command) = EACH_RELEASE;
    let chosen = |folder: PathBuf, files: &[&str]| match extent {
        Extent::Short => files.iter().map(|file| folder.join(file)).collect(),
        _ => vec![folder],
    };
    let tests = chosen(workspace::python_project().join("tests"), of_package);
    let mut steps = vec![package(interpreter, environment, &tests, extent, options)];
    if extent != Extent::Short {
        let command = pytest(environment, options, &[workspace::document_tests()]);
        steps.push(Step::new(format!("{tag}: documents"), kind, command));
    }
    let suites = chosen(workspace::command_suites(), of_command);
    let mut command = pytest(environment, options, &suites);
    // Mostly these wait for processes that wait.
    spread(&mut command, processors() * 2);
    // Limits of a quarter of a second, on a machine that has other things to do: what fails gets a second try, and the
    // summary names it.
    command.args(["--reruns", "1", "-rR"]);
    command.env("QUELL_VENV_PYTHON", environment.program("python"));
    // Without the binary the suites still drive `python -m quell run`.
    match binary {
        Some(binary) => command.env("QUELL_BIN", binary),
        None => command.env_remove("QUELL_BIN"),
    };
    in_turn(&mut command, extent, of_command);
    match (extent, binary) {
        (Extent::OneWay | Extent::Turn(..), Some(_)) => command.env("QUELL_WAYS", "in-turn"),
        (_, Some(_)) => command.env_remove("QUELL_WAYS"),
        (_, None) => command.env("QUELL_WAYS", "module"),
    };
    steps.push(Step::new(format!("{tag}: command on real input"), kind, command));
    if !options.is_partial() && extent != Extent::Short {
        steps.extend(types(environment, tag));
    }
    steps
}

/// Tells pytest which turn it is, and what has no turns.
fn in_turn(command: &mut Command, extent: Extent, every: &[&str]) {
    match extent {
        Extent::Turn(turn, turns) => {
            command.env("QUELL_TURN", format!("{turn}/{turns}"));
            command.env("QUELL_EVERY_TURN", every.join(","));
        }
        _ => {
            command.env_remove("QUELL_TURN");
        }
    }
}

/// The package's tests, or some of them.
fn package(
    interpreter: &Interpreter,
    environment: &Environment,
    tests: &[PathBuf],
    extent: Extent,
    options: &Options,
) -> Step {
    let mut command = pytest(environment, options, tests);
    in_turn(&mut command, extent, EACH_RELEASE.0);
    // Many of the tests wait for a moment: one more than there are processors keeps them all busy.
    spread(&mut command, processors() + 1);
    Step::new(format!("{}: package", interpreter.tag), options.tests(), command)
}

/// The package's tests and nothing else, on a debug build.
pub(super) fn package_alone(
    session: &mut Session,
    tools: &Environment,
    interpreter: &Interpreter,
    options: &Options,
) {
    let Some(environment) = venv::of(session, tools, interpreter) else { return };
    if builds::extension(session, tools, interpreter, &environment) {
        let tests = workspace::python_project().join("tests");
        let step = package(interpreter, &environment, &[tests], Extent::Whole, options);
        session.run(LIMIT, step);
    }
}

/// pytest on folders or files; its settings stand in `pytest.ini`.
fn pytest(environment: &Environment, options: &Options, tests: &[PathBuf]) -> Command {
    let mut command = environment.command("python");
    command.args(["-m", "pytest", "-q", "-rfE"]).args(tests);
    if let Some(text) = &options.filter {
        command.args(["-k", text]);
    }
    if let Some(factor) = options.stress {
        command.env("QUELL_STRESS", factor.to_string());
    }
    command
}

/// Makes pytest run its tests in so many processes, each test in the main thread of one.
fn spread(command: &mut Command, processes: usize) {
    command.args(["--numprocesses", &processes.to_string(), "--dist", "worksteal"]);
}

/// The package's own types, and its stubs against what the extension really exports.
fn types(environment: &Environment, tag: &str) -> [Step; 2] {
    let cache = workspace::target().join("mypy").join(tag);
    let mut strict = environment.command("python");
    strict.env("MYPY_CACHE_DIR", &cache).args(["-m", "mypy", "--strict"]);
    strict.arg(workspace::python_project().join("python/quell"));
    let mut stubs = environment.command("python");
    stubs.env("MYPY_CACHE_DIR", &cache).args(["-m", "mypy.stubtest", "quell"]);
    let exceptions = workspace::python_project().join("tests/stubtest-allowlist.txt");
    if exceptions.is_file() {
        // Which of them applies depends on the version.
        stubs.arg("--ignore-unused-allowlist").arg("--allowlist").arg(exceptions);
    }
    [("mypy", strict), ("stubtest", stubs)]
        .map(|(name, command)| Step::new(format!("{tag}: {name}"), Kind::Check, command))
}

/// What a user does who has the sources: `pip install ./crates/quell-python`, into an environment with nothing in it.
pub(super) fn from_source(session: &mut Session, tools: &Environment, interpreter: &Interpreter) {
    let folder = workspace::target_of(&interpreter.tag).join("from-source");
    let name = format!("{}: pip install from source", interpreter.tag);
    let mut pip = tools.command("python");
    builds::against(&mut pip, interpreter);
    pip.args(["-m", "pip", "--python"]).arg(&interpreter.executable);
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--upgrade"]);
    pip.args(["--root-user-action", "ignore"])
        .arg("--target")
        .arg(&folder)
        .arg(workspace::python_project());
    if !session.step(name, Kind::Check, builds::LIMIT, pip) {
        return;
    }
    let mut import = Command::new(&interpreter.executable);
    venv::isolate(&mut import);
    import.env("PYTHONPATH", &folder).args(["-c", "import quell, quell._quell"]);
    session.step(
        format!("{}: import what was installed", interpreter.tag),
        Kind::Check,
        Duration::from_secs(60),
        import,
    );
}
