//! `cargo xtask test`: every suite, in the order in which a mistake is cheapest to see.
//!
//! 0. The C ABI's tests, which need neither an interpreter nor any of the rest.
//! 1. The Rust tests of the whole workspace, linked to the interpreter that a plain `cargo build` would use; then the
//!    documentation's examples.
//! 2. The core again: under loom (every interleaving of small models), under shuttle (large random schedules), and with
//!    the portable parker in place of the futex. And every row of the benchmarks, for a moment each.
//! 3. For each interpreter: the Rust tests of the crates that link Python, the extension's tests, the command's, the
//!    type checkers. For a debug build of one: the extension's tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::args::Options;
use crate::bench;
use crate::builds;
use crate::c;
use crate::pythons::{self, Interpreter};
use crate::session::{Kind, Session};
use crate::tools;
use crate::venv::{self, Environment};
use crate::workspace;

/// Building and running one suite.
pub(crate) const LIMIT: Duration = Duration::from_secs(1800);
/// Seconds that one model, which explores many schedules, may take.
const MODEL_LIMIT: &str = "600";

/// Runs what the options ask for.
///
/// # Errors
/// When there is nothing to run on, or the tools cannot be installed; failed tests are recorded in the session.
pub(crate) fn run(session: &mut Session, options: &Options) -> anyhow::Result<()> {
    if options.c() {
        c::test(session, options)?;
    }
    if !options.rust() && !options.python() {
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
    if options.rust() {
        let runner = Runner::new(session, options);
        runner.workspace(session, &chosen);
        runner.models(session);
        bench::test(session, options.tests(), options.filter.as_ref());
        runner.linked(session, &chosen);
    }
    if options.python() {
        let tools = venv::tools(session, &found)?;
        on_each(session, &tools, &chosen, options);
        for interpreter in &debug {
            package_alone(session, &tools, interpreter, options);
        }
        if let Some(newest) = chosen.last()
            && !options.is_partial()
        {
            from_source(session, &tools, newest);
        }
    }
    Ok(())
}

/// Whether there is a later patch release of the same minor version.
pub(crate) fn is_older(interpreter: &Interpreter, chosen: &[Interpreter]) -> bool {
    let newest = chosen.iter().rev().find(|other| other.minor() == interpreter.minor());
    newest.is_some_and(|newest| newest.tag != interpreter.tag)
}

/// What runs on the portable parker: sleeping and waking, interrupts and deadlines that come meanwhile, forks. What is above it asks
/// no more of one than of the other, and runs there with `--stress`.
const PARKERS: [&str; 10] = [
    "deadlines",
    "exactly_once",
    "fork",
    "fork_keeps",
    "nothing_half_done",
    "reach",
    "right_thread",
    "sync_holds",
    "threads",
    "waits_are_shown",
];

/// Runs Rust tests, with cargo-nextest where it is.
struct Runner<'a> {
    options: &'a Options,
    nextest: bool,
    host: String,
}

impl<'a> Runner<'a> {
    fn new(session: &mut Session, options: &'a Options) -> Self {
        let nextest = tools::NEXTEST.find().is_some();
        if !nextest {
            session.note(
                "cargo-nextest is not installed: the tests of a crate share a process, and a hang ends all of them; \
                 `cargo xtask tools` installs it",
            );
        }
        let mut rustc = Command::new("rustc");
        rustc.arg("-vV");
        let told = crate::process::capture(rustc, Duration::from_secs(60)).unwrap_or_default();
        let host = told.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
        Self { options, nextest, host: host.to_owned() }
    }

    /// A command that runs the tests chosen by `selection`; `shape` sets its environment.
    fn tests(&self, selection: &[&str]) -> Command {
        let mut command = match self.nextest {
            // Whether it may find no test is for the step to judge.
            true => builds::cargo(["nextest", "run", "--no-fail-fast", "--no-tests=pass"]),
            false => builds::cargo(["test", "--no-fail-fast"]),
        };
        if self.nextest {
            // Some wait for a moment.
            command.args(["--test-threads", &(processors() + 1).to_string()]);
        }
        command.args(builds::locked()).args(selection).args(&self.options.filter);
        if !self.nextest && !selection.contains(&"--test") {
            // Without the documentation's examples, which have a step of their own.
            command.args(["--lib", "--bins", "--tests"]);
        }
        self.watch(&mut command);
        if let Some(factor) = self.options.stress {
            command.env("QUELL_STRESS", factor.to_string());
        }
        command
    }

    fn watch(&self, command: &mut Command) {
        watch(command, &self.host);
        if !self.nextest && std::env::var_os("QUELL_TEST_LIMIT").is_none() {
            // Without nextest one process runs all tests of a binary, and the limit is for the process.
            command.env("QUELL_TEST_LIMIT", MODEL_LIMIT);
        }
    }

    fn workspace(&self, session: &mut Session, chosen: &[Interpreter]) {
        let usual = pythons::default_of_cargo();
        let linkable = || chosen.iter().rev().find(|python| python.library.is_some());
        let Some(interpreter) = usual.as_ref().or_else(linkable) else {
            session.note(
                "no interpreter has a shared library: Rust tests that link Python are left out (Debian: \
                 libpython3-dev)",
            );
            let command = self.tests(&["--package", "quell", "--package", "xtask"]);
            session.step("rust tests, without Python", Kind::Tests, LIMIT, command);
            return;
        };
        // The usual one needs no setting; without it cargo finds what the developer's own builds left.
        let set = |command: &mut Command| {
            if usual.is_none() {
                command.env("PYO3_PYTHON", &interpreter.executable);
            }
        };
        let mut tests = self.tests(&["--workspace"]);
        set(&mut tests);
        let kind = self.options.tests();
        session.step(format!("rust tests, CPython {}", interpreter.version), kind, LIMIT, tests);
        let mut examples = builds::cargo(["test", "--workspace", "--doc", "--no-fail-fast"]);
        // Its documentation is Python's, and so are the examples in it; `--doc` overrides `doctest = false`.
        examples.args(["--exclude", "quell-python"]);
        examples.args(builds::locked()).args(&self.options.filter);
        set(&mut examples);
        session.step("rust documentation examples", Kind::PerhapsTests, LIMIT, examples);
    }

    /// The core built in other ways, each in its own target folder.
    fn models(&self, session: &mut Session) {
        for (way, name) in [("loom", "models under loom"), ("shuttle", "models under shuttle")] {
            if !has_models(way) {
                continue;
            }
            let pattern = format!("{way}_*");
            let mut selection =
                vec!["--package", "quell", "--profile", "models", "--test", &pattern];
            if self.nextest {
                // `--profile` is nextest's own there; it has one of the same name.
                selection.extend(["--cargo-profile", "models"]);
            }
            let mut command = self.tests(&selection);
            configure(&mut command, way);
            command.env("QUELL_TEST_LIMIT", MODEL_LIMIT);
            session.step(name, self.options.tests(), LIMIT, command);
        }
        let (mut selection, mut way) = (vec!["--package", "quell"], "portable_park");
        if self.options.stress.is_none() && !self.options.is_partial() {
            selection.push("--lib");
            selection.extend(PARKERS.iter().flat_map(|suite| ["--test", suite]));
            way = "portable_park --cfg quell_no_runtimes";
        }
        let mut command = self.tests(&selection);
        configure(&mut command, way);
        command.env("CARGO_TARGET_DIR", workspace::target_of("portable_park"));
        if self.options.stress.is_none() {
            // Everything above the parker has had its rounds.
            command.env("QUELL_STRESS", "0.1");
        }
        session.step("rust tests, portable parker", Kind::PerhapsTests, LIMIT, command);
    }

    /// The crates that link Python, against each interpreter but the one that [`workspace`](Self::workspace) used, and the
    /// newest patch release of each minor version.
    fn linked(&self, session: &mut Session, chosen: &[Interpreter]) {
        let usual = pythons::default_of_cargo();
        for interpreter in chosen {
            let same = |usual: &Interpreter| usual.executable == interpreter.executable;
            if interpreter.library.is_none()
                || usual.as_ref().is_some_and(same)
                || is_older(interpreter, chosen)
            {
                continue;
            }
            let mut selection = Vec::new();
            for package in builds::LINKED {
                selection.extend(["--package", package]);
            }
            let mut command = self.tests(&selection);
            builds::against(&mut command, interpreter);
            let name = format!("{}: rust tests", interpreter.tag);
            session.step(name, Kind::PerhapsTests, LIMIT, command);
        }
    }
}

/// Lets xtask watch each test binary of a cargo command, so that a hang shows its stacks.
pub(crate) fn watch(command: &mut Command, host: &str) {
    let Ok(xtask) = std::env::current_exe() else { return };
    let host = host.to_uppercase().replace(['-', '.'], "_");
    command.env(format!("CARGO_TARGET_{host}_RUNNER"), format!("{} runner", xtask.display()));
}

/// Sets `--cfg quell_WAY` and a target folder of its own.
fn configure(command: &mut Command, way: &str) {
    let given = std::env::var("RUSTFLAGS").unwrap_or_default();
    command.env("RUSTFLAGS", format!("{given} --cfg quell_{way}").trim());
    command.env("CARGO_TARGET_DIR", workspace::target_of(way));
}

/// Whether `crates/quell/tests` holds models for a checker.
fn has_models(way: &str) -> bool {
    let files = std::fs::read_dir(workspace::root().join("crates/quell/tests"));
    files
        .into_iter()
        .flatten()
        .flatten()
        .any(|file| file.file_name().to_string_lossy().starts_with(&format!("{way}_")))
}

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

/// Everything that runs in Python. What can be built or installed for several interpreters at the same time is.
fn on_each(session: &mut Session, tools: &Environment, chosen: &[Interpreter], options: &Options) {
    let newest: Vec<&Interpreter> =
        chosen.iter().filter(|interpreter| !is_older(interpreter, chosen)).collect();
    let every: Vec<&Interpreter> = chosen.iter().collect();
    let environments = venv::of_each(session, tools, &every);
    let wheels = builds::wheels_together(session, tools, &newest);
    let binaries = builds::commands_together(session, &newest);
    let whole = newest.len() == 1 || options.stress.is_some() || options.is_partial();
    let older = newest.len() - 1;
    for (interpreter, environment) in chosen.iter().zip(environments).rev() {
        let same_minor = |other: &&Interpreter| other.minor() == interpreter.minor();
        let Some(at) = newest.iter().position(same_minor) else { continue };
        let (Some(environment), Some(wheel)) = (environment, &wheels[at]) else { continue };
        if !builds::install(session, interpreter, &environment, wheel) {
            continue;
        }
        let extent = match newest[at] == interpreter {
            true if whole => Extent::Whole,
            true if at == older => Extent::OneWay,
            true => Extent::Turn(at, older),
            false => Extent::Short,
        };
        // A binary is linked to one release's library.
        let binary = binaries[at].as_deref().filter(|_| extent != Extent::Short);
        python(session, interpreter, &environment, binary, extent, options);
    }
}

/// Everything that runs on one interpreter, with the package installed.
fn python(
    session: &mut Session,
    interpreter: &Interpreter,
    environment: &Environment,
    binary: Option<&Path>,
    extent: Extent,
    options: &Options,
) {
    let tag = &interpreter.tag;
    let kind = options.tests();
    let (of_package, of_command) = EACH_RELEASE;
    let chosen = |folder: PathBuf, files: &[&str]| match extent {
        Extent::Short => files.iter().map(|file| folder.join(file)).collect(),
        _ => vec![folder],
    };
    let tests = chosen(workspace::python_project().join("tests"), of_package);
    package(session, interpreter, environment, &tests, extent, options);
    if extent != Extent::Short {
        let command = pytest(environment, options, &[workspace::document_tests()]);
        session.step(format!("{tag}: documents"), kind, LIMIT, command);
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
    session.step(format!("{tag}: command on real input"), kind, LIMIT, command);
    if !options.is_partial() && extent != Extent::Short {
        types(session, environment, tag);
    }
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
    session: &mut Session,
    interpreter: &Interpreter,
    environment: &Environment,
    tests: &[PathBuf],
    extent: Extent,
    options: &Options,
) {
    let mut command = pytest(environment, options, tests);
    in_turn(&mut command, extent, EACH_RELEASE.0);
    // Many of the tests wait for a moment: one more than there are processors keeps them all busy.
    spread(&mut command, processors() + 1);
    session.step(format!("{}: package", interpreter.tag), options.tests(), LIMIT, command);
}

/// The package's tests and nothing else, on a debug build.
fn package_alone(
    session: &mut Session,
    tools: &Environment,
    interpreter: &Interpreter,
    options: &Options,
) {
    let Some(environment) = venv::of(session, tools, interpreter) else { return };
    if builds::extension(session, tools, interpreter, &environment) {
        let tests = workspace::python_project().join("tests");
        package(session, interpreter, &environment, &[tests], Extent::Whole, options);
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

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Makes pytest run its tests in so many processes, each test in the main thread of one.
fn spread(command: &mut Command, processes: usize) {
    command.args(["--numprocesses", &processes.to_string(), "--dist", "worksteal"]);
}

/// The package's own types, and its stubs against what the extension really exports.
fn types(session: &mut Session, environment: &Environment, tag: &str) {
    let cache = workspace::target().join("mypy").join(tag);
    let mut strict = environment.command("python");
    strict.env("MYPY_CACHE_DIR", &cache).args(["-m", "mypy", "--strict"]);
    strict.arg(workspace::python_project().join("python/quell"));
    session.step(format!("{tag}: mypy"), Kind::Check, LIMIT, strict);
    let mut stubs = environment.command("python");
    stubs.env("MYPY_CACHE_DIR", &cache).args(["-m", "mypy.stubtest", "quell"]);
    let exceptions = workspace::python_project().join("tests/stubtest-allowlist.txt");
    if exceptions.is_file() {
        // Which of them applies depends on the version.
        stubs.arg("--ignore-unused-allowlist").arg("--allowlist").arg(exceptions);
    }
    session.step(format!("{tag}: stubtest"), Kind::Check, LIMIT, stubs);
}

/// What a user does who has the sources: `pip install ./crates/quell-python`, into an environment with nothing in it.
fn from_source(session: &mut Session, tools: &Environment, interpreter: &Interpreter) {
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
