//! `cargo xtask sanitize`: the core's tests under ThreadSanitizer, AddressSanitizer and Miri, where the toolchain has them.
//!
//! The models explore every interleaving of small programs on a checker's atomics; the sanitizers watch the shipped code
//! while the whole suite runs it. They need compiler flags that are not stable: a nightly toolchain is used where there is
//! one, and otherwise the usual compiler is told to accept them. The standard library is the one that rustup installs,
//! without instrumentation. What they report that is no mistake stands in `xtask/sanitizers`, each with its reason.
//! What the toolchain lacks is said, and no failure.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::args::SanitizeOptions;
use crate::builds;
use crate::process;
use crate::session::Session;
use crate::suites;
use crate::tools;
use crate::workspace;

/// The stress tests' factor: everything is 5 to 50 times slower.
const STRESS: &str = "0.02";

/// One of the tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sanitizer {
    /// Data races.
    Thread,
    /// Use after free, out of bounds, leaks.
    Address,
    /// Undefined behaviour, in an interpreter.
    Miri,
}

impl Sanitizer {
    pub(crate) const ALL: [Sanitizer; 3] = [Sanitizer::Thread, Sanitizer::Address, Sanitizer::Miri];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Sanitizer::Thread => "thread",
            Sanitizer::Address => "address",
            Sanitizer::Miri => "miri",
        }
    }

    /// What its runtime library's name ends with.
    fn runtime(self) -> &'static str {
        match self {
            Sanitizer::Thread => "_rt.tsan.a",
            Sanitizer::Address => "_rt.asan.a",
            Sanitizer::Miri => unreachable!("it is a program"),
        }
    }

    /// Which tests are left out, in nextest's language; and why.
    fn left_out(self) -> &'static str {
        match self {
            // A child of a fork that starts threads is not supported; and of the runtimes of asynchronous tests,
            // the locks are the standard library's, which it cannot see.
            Sanitizer::Thread => {
                "not (binary(fork) + binary(tasks) + binary(queue_tasks) + test(tokio))"
            }
            // The allocator that counts is the test's own.
            Sanitizer::Address => "not binary(no_allocation)",
            // What runs in seconds under an interpreter.
            Sanitizer::Miri => {
                "binary(ported_java) + binary(ported_ruby_ghc) + binary(queue_ported)"
            }
        }
    }
}

/// A toolchain that takes unstable flags.
struct Toolchain {
    nightly: bool,
    libraries: PathBuf,
    host: String,
}

impl Toolchain {
    /// The nightly one, or the usual one.
    fn all() -> Vec<Toolchain> {
        let find = |nightly| {
            let mut version = Command::new("rustc");
            choose(&mut version, nightly).arg("-vV");
            let mut sysroot = Command::new("rustc");
            choose(&mut sysroot, nightly).args(["--print", "sysroot"]);
            let told = |command| process::capture(command, Duration::from_secs(60));
            let version = told(version)?;
            let host = version.lines().find_map(|line| line.strip_prefix("host: "))?.to_owned();
            let sysroot = told(sysroot)?;
            let libraries = PathBuf::from(sysroot.trim()).join("lib/rustlib").join(&host);
            Some(Toolchain { nightly, libraries: libraries.join("lib"), host })
        };
        [true, false].into_iter().filter_map(find).collect()
    }

    fn cargo(&self) -> Command {
        let mut command = builds::cargo::<&str>([]);
        choose(&mut command, self.nightly);
        command
    }

    fn has(&self, sanitizer: Sanitizer) -> bool {
        let files = std::fs::read_dir(&self.libraries).into_iter().flatten().flatten();
        let runtime = sanitizer.runtime();
        files.into_iter().any(|file| file.file_name().to_string_lossy().ends_with(runtime))
    }
}

/// Has rustc or cargo take unstable flags.
fn choose(command: &mut Command, nightly: bool) -> &mut Command {
    match nightly {
        true => command.arg("+nightly"),
        false => command.env("RUSTC_BOOTSTRAP", "1"),
    }
}

/// Runs those that were asked for, or all.
pub(crate) fn run(session: &mut Session, options: &SanitizeOptions) {
    let toolchains = Toolchain::all();
    let chosen: &[_] = if options.which.is_empty() { &Sanitizer::ALL } else { &options.which };
    for &sanitizer in chosen {
        match sanitizer {
            Sanitizer::Miri => miri(session, options),
            _ => match toolchains.iter().find(|toolchain| toolchain.has(sanitizer)) {
                Some(toolchain) => sanitized(session, toolchain, sanitizer, options),
                None => session.note(format!(
                    "no toolchain has the runtime of the {} sanitizer (a file named *{} beside the standard library): \
                     it was left out. `rustup toolchain install nightly` brings one for x86-64 and aarch64 Linux",
                    sanitizer.name(),
                    sanitizer.runtime()
                )),
            },
        }
    }
}

fn sanitized(
    session: &mut Session,
    toolchain: &Toolchain,
    sanitizer: Sanitizer,
    options: &SanitizeOptions,
) {
    if tools::NEXTEST.find().is_none() {
        session.note(
            "cargo-nextest is not installed, without which no tests can be left out: nothing was run under a \
             sanitizer; `cargo xtask tools` installs it",
        );
        return;
    }
    let name = sanitizer.name();
    let mut command = toolchain.cargo();
    command.args(["nextest", "run", "--no-fail-fast", "--no-tests=pass"]).args(builds::locked());
    // With a target of its own, build scripts and macros are not sanitized.
    command.args(["--package", "quell", "--tests", "--target", &toolchain.host]);
    command.args(["--filterset", &filterset(sanitizer, options)]);
    suites::watch(&mut command, &toolchain.host);
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    let flags = format!("{flags} -Zsanitizer={name} -Cunsafe-allow-abi-mismatch=sanitizer");
    command.env("RUSTFLAGS", flags.trim());
    command.env("CARGO_TARGET_DIR", workspace::target_of(name));
    command.env("QUELL_STRESS", stress(options));
    command.env("QUELL_TEST_LIMIT", "600");
    let known = |file: &str| workspace::root().join("xtask/sanitizers").join(file);
    let races = known("thread.txt");
    command.env("TSAN_OPTIONS", format!("suppressions={} history_size=4", races.display()));
    let leaks = known("leaks.txt");
    command.env("LSAN_OPTIONS", format!("suppressions={} print_suppressions=0", leaks.display()));
    session.step(format!("{name} sanitizer"), options.kind(), suites::LIMIT, command);
}

fn miri(session: &mut Session, options: &SanitizeOptions) {
    let mut look = Command::new("cargo");
    look.args(["+nightly", "miri", "--version"]);
    if process::capture(look, Duration::from_secs(60)).is_none() {
        session.note(
            "Miri is not installed: it was left out. `rustup +nightly component add miri rust-src` installs it",
        );
        return;
    }
    let mut command = Command::new("cargo");
    command.args(["+nightly", "miri", "nextest", "run", "--no-fail-fast", "--no-tests=pass"]);
    command.args(builds::locked()).args(["--package", "quell", "--tests"]);
    command.args(["--filterset", &filterset(Sanitizer::Miri, options)]);
    // The clock is the machine's. The monitor's thread runs on at the end.
    command.env("MIRIFLAGS", "-Zmiri-disable-isolation -Zmiri-ignore-leaks");
    command.env("CARGO_TARGET_DIR", workspace::target_of("miri"));
    command.env("QUELL_STRESS", "0");
    session.step("miri", options.kind(), suites::LIMIT, command);
}

fn filterset(sanitizer: Sanitizer, options: &SanitizeOptions) -> String {
    match &options.filter {
        Some(text) => format!("({}) & test({text})", sanitizer.left_out()),
        None => sanitizer.left_out().to_owned(),
    }
}

fn stress(options: &SanitizeOptions) -> String {
    options.stress.map_or_else(|| STRESS.to_owned(), |factor| factor.to_string())
}
