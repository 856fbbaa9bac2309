//! The Rust tests as steps: of the workspace, of the core built in other ways, of what links other interpreters.

use std::process::Command;
use std::time::Duration;

use crate::args::Options;
use crate::bench;
use crate::builds;
use crate::pythons::{self, Interpreter};
use crate::session::{Kind, Session, Step};
use crate::tools;
use crate::workspace;

use super::{is_older, processors};

/// Seconds that one model, which explores many schedules and comes behind what looks at the clock, may take.
const MODEL_LIMIT: &str = "1500";

/// The same for all rows of the benchmark, which take ten on an idle machine.
const BENCH_LIMIT: &str = "300";

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
pub(super) struct Runner<'a> {
    options: &'a Options,
    nextest: bool,
    host: String,
}

impl<'a> Runner<'a> {
    pub(super) fn new(session: &mut Session, options: &'a Options) -> Self {
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
        if !self.nextest {
            // Without nextest one process runs all tests of a binary, and the limit is for the process.
            limit(command, MODEL_LIMIT);
        }
    }

    /// The tests of the whole workspace, and the documentation's examples.
    pub(super) fn workspace(&self, session: &mut Session, chosen: &[Interpreter]) -> Vec<Step> {
        let usual = pythons::default_of_cargo();
        let linkable = || chosen.iter().rev().find(|python| python.library.is_some());
        let Some(interpreter) = usual.as_ref().or_else(linkable) else {
            session.note(
                "no interpreter has a shared library: Rust tests that link Python are left out (Debian: \
                 libpython3-dev)",
            );
            let command = self.tests(&["--package", "quell", "--package", "xtask"]);
            return vec![Step::new("rust tests, without Python", Kind::Tests, command)];
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
        let name = format!("rust tests, CPython {}", interpreter.version);
        let mut examples = builds::cargo(["test", "--workspace", "--doc", "--no-fail-fast"]);
        // Its documentation is Python's, and so are the examples in it; `--doc` overrides `doctest = false`.
        examples.args(["--exclude", "quell-python"]);
        examples.args(builds::locked()).args(&self.options.filter);
        set(&mut examples);
        let documentation = Step::new("rust documentation examples", Kind::PerhapsTests, examples);
        vec![Step::new(name, kind, tests), documentation]
    }

    /// The core under loom and under shuttle, each in its own target folder. Nothing in them looks at the clock.
    pub(super) fn models(&self) -> Vec<Step> {
        let ways = [("loom", "models under loom"), ("shuttle", "models under shuttle")];
        let step = |(way, name)| {
            let mut selection = vec!["--package", "quell", "--profile", "models", "--test", way];
            if self.nextest {
                // `--profile` is nextest's own there; it has one of the same name.
                selection.extend(["--cargo-profile", "models"]);
            }
            let mut command = self.tests(&selection);
            configure(&mut command, way, &[]);
            command.env("QUELL_TEST_LIMIT", MODEL_LIMIT);
            Step::new(name, self.options.tests(), command).patient()
        };
        ways.into_iter().map(step).collect()
    }

    /// The core on its portable parker.
    pub(super) fn portable(&self) -> Step {
        let (mut selection, mut flags) = (vec!["--package", "quell"], vec![]);
        if self.options.stress.is_none() && !self.options.is_partial() {
            selection.push("--lib");
            selection.extend(PARKERS.iter().flat_map(|suite| ["--test", suite]));
            flags.push("quell_no_runtimes");
        }
        let mut command = self.tests(&selection);
        configure(&mut command, "portable_park", &flags);
        if self.options.stress.is_none() {
            // Everything above the parker has had its rounds.
            command.env("QUELL_STRESS", "0.1");
        }
        Step::new("rust tests, portable parker", Kind::PerhapsTests, command)
    }

    /// The crates that link Python, against each interpreter but the one that [`workspace`](Self::workspace) used, and the
    /// newest patch release of each minor version. The command, which is linked with CPython's static library where there is one,
    /// is linked with the shared one for the first of them.
    pub(super) fn linked(&self, chosen: &[Interpreter]) -> Vec<Step> {
        let usual = pythons::default_of_cargo();
        let mut steps = Vec::new();
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
            if steps.is_empty() {
                command.env("QUELL_LINK", "shared");
            }
            let name = format!("{}: rust tests", interpreter.tag);
            steps.push(Step::new(name, Kind::PerhapsTests, command));
        }
        steps
    }

    /// Every row of the benchmark of the core, for a moment.
    pub(super) fn bench(&self) -> Step {
        let mut command = bench::test(self.options.filter.as_ref());
        self.watch(&mut command);
        limit(&mut command, BENCH_LIMIT);
        Step::new("bench: every row, for a moment", self.options.tests(), command).patient()
    }
}

/// The runner's limit, in seconds, where the user has set none.
fn limit(command: &mut Command, seconds: &str) {
    if std::env::var_os("QUELL_TEST_LIMIT").is_none() {
        command.env("QUELL_TEST_LIMIT", seconds);
    }
}

/// Lets xtask watch each test binary of a cargo command, so that a hang shows its stacks.
pub(crate) fn watch(command: &mut Command, host: &str) {
    let Ok(xtask) = std::env::current_exe() else { return };
    let host = host.to_uppercase().replace(['-', '.'], "_");
    command.env(format!("CARGO_TARGET_{host}_RUNNER"), format!("{} runner", xtask.display()));
}

/// Sets `--cfg quell_WAY`, and others, and a target folder of its own.
fn configure(command: &mut Command, way: &str, more: &[&str]) {
    let mut flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    flags.push_str(&format!(" --cfg quell_{way}"));
    more.iter().for_each(|name| flags.push_str(&format!(" --cfg {name}")));
    command.env("RUSTFLAGS", flags.trim());
    command.env("CARGO_TARGET_DIR", workspace::target_of(way));
}
