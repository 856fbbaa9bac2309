//! What may be typed after `cargo xtask`.

use std::path::PathBuf;

use crate::sanitize::Sanitizer;
use crate::session::Kind;

/// Printed by `cargo xtask help` and after a mistake.
pub(crate) const USAGE: &str = "\
usage: cargo xtask CHORE [OPTIONS]

  test      build and test everything, on every CPython 3.11 or later of this machine
  lint      formatting, clippy, ruff, documentation, links, licences and sources of dependencies
  ci        lint, then test
  bench     measure: `bench core` sets the core beside other crates, `bench python` the package beside the standard
            library on each interpreter, `bench run` the command beside `python`, `bench peers` time limits beside those of
            other packages on the newest interpreter; writes bench/results and the book's chapter
  header    write the C header, crates/quell-capi/include/quell.h
  install-c PREFIX
            build libquell and install it, its header and its pkg-config file into PREFIX/lib and PREFIX/include
  sanitize  run the core's tests under sanitizers, where the toolchain has them: `sanitize [thread|address|miri]…`
  wheel     build a wheel for each interpreter into dist/
  pythons   list the interpreters that were found, and what is missing to use each
  tools     install cargo-nextest and cargo-deny into target/tools

options of test, ci and wheel
  --rust            only the Rust tests and the models
  --python          only the tests that run Python
  --c               only the C tests
  --only VERSION    only interpreters of this version: 3.12 or 3.12.1; may be given again
  --filter TEXT     only tests whose name contains TEXT
  --stress N        multiply the stress tests' counts by N (sets QUELL_STRESS)

options of sanitize: --filter and --stress as above, without which the counts are a fiftieth

options of bench
  --rows TEXT       only rows with TEXT in their name; given again: with all of them
  --quick           a first impression in seconds; writes nothing
  --only VERSION    python, run, peers: as above

environment
  QUELL_PYTHONS     the interpreters to use instead of all that are found: paths or names, separated by ':'
  QUELL_TEST_LIMIT  seconds after which a Rust test that hangs is ended, its threads shown (120)";

/// One chore with its options.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Chore {
    Help,
    Pythons,
    Tools,
    Lint,
    Header,
    InstallC(PathBuf),
    Test(Options),
    Ci(Options),
    Wheel(Options),
    Bench(BenchOptions),
    Sanitize(SanitizeOptions),
}

/// Under which sanitizers, and which tests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SanitizeOptions {
    /// None: all that are there.
    pub(crate) which: Vec<Sanitizer>,
    pub(crate) filter: Option<String>,
    pub(crate) stress: Option<u32>,
}

impl SanitizeOptions {
    /// The kind of a step that runs a suite.
    pub(crate) fn kind(&self) -> Kind {
        if self.filter.is_some() { Kind::PerhapsTests } else { Kind::Tests }
    }
}

/// What to measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Side {
    #[default]
    Core,
    Python,
    Run,
    Peers,
}

/// What to measure, and how long.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct BenchOptions {
    pub(crate) side: Side,
    only: Vec<String>,
    /// Only rows whose name contains all of these.
    pub(crate) rows: Vec<String>,
    pub(crate) quick: bool,
}

impl BenchOptions {
    /// Whether `--only` lets an interpreter of this version through.
    pub(crate) fn admits(&self, version: &str) -> bool {
        admits(&self.only, version)
    }
}

/// Whether one of these, `3.12` or `3.12.1`, is the version; if there are any.
fn admits(only: &[String], version: &str) -> bool {
    let is = |wanted: &String| {
        let rest = version.strip_prefix(wanted.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    only.is_empty() || only.iter().any(is)
}

/// Which tests, on which interpreters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    rust: bool,
    python: bool,
    c: bool,
    only: Vec<String>,
    /// Only tests whose name contains this.
    pub(crate) filter: Option<String>,
    /// Factor for the stress tests' counts.
    pub(crate) stress: Option<u32>,
}

impl Options {
    /// Rust tests are wanted: `--rust` was given, or no other of its kind.
    pub(crate) fn rust(&self) -> bool {
        self.rust || self.all()
    }

    /// Python tests are wanted: `--python` was given, or no other of its kind.
    pub(crate) fn python(&self) -> bool {
        self.python || self.all()
    }

    /// C tests are wanted: `--c` was given, or no other of its kind.
    pub(crate) fn c(&self) -> bool {
        self.c || self.all()
    }

    fn all(&self) -> bool {
        !(self.rust || self.python || self.c)
    }

    /// Whether `--only` lets an interpreter of this version (`3.12.1`) through.
    pub(crate) fn admits(&self, version: &str) -> bool {
        admits(&self.only, version)
    }

    /// Whether only a part of the suites was asked for.
    pub(crate) fn is_partial(&self) -> bool {
        self.filter.is_some()
    }

    /// The kind of a step that runs a suite: with a filter, it may well select nothing.
    pub(crate) fn tests(&self) -> Kind {
        if self.is_partial() { Kind::PerhapsTests } else { Kind::Tests }
    }
}

/// Reads the command line; the error is one sentence.
pub(crate) fn parse(arguments: &[String]) -> Result<Chore, String> {
    let Some((chore, rest)) = arguments.split_first() else {
        return Err("name a chore".into());
    };
    if chore == "bench" {
        return bench(rest);
    }
    if chore == "install-c" {
        return match rest {
            // As the caller's shell would have it: the chores run at the top of the tree.
            [prefix] if !prefix.starts_with('-') => std::path::absolute(prefix)
                .map(Chore::InstallC)
                .map_err(|error| format!("install-c {prefix}: {error}")),
            _ => Err("install-c needs a folder to install into".into()),
        };
    }
    if chore == "sanitize" {
        return sanitize(rest);
    }
    let mut options = Options::default();
    let mut rest = rest.iter();
    while let Some(argument) = rest.next() {
        let (flag, mut inline) = match argument.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        let mut value = || {
            inline.take().or_else(|| rest.next().cloned()).ok_or(format!("{flag} needs a value"))
        };
        match flag {
            "--rust" => options.rust = true,
            "--python" => options.python = true,
            "--c" => options.c = true,
            "--only" => options.only.push(value()?),
            "--filter" => options.filter = Some(value()?),
            "--stress" => {
                options.stress = Some(factor(&value()?)?);
            }
            _ => return Err(format!("unknown option {argument}")),
        }
        if let Some(extra) = inline {
            return Err(format!("{flag} takes no value, but {extra:?} was given"));
        }
    }
    let plain = |chore: Chore| match options == Options::default() {
        true => Ok(chore),
        false => Err("this chore takes no options".into()),
    };
    match chore.as_str() {
        "help" | "--help" | "-h" => plain(Chore::Help),
        "pythons" => plain(Chore::Pythons),
        "tools" => plain(Chore::Tools),
        "lint" => plain(Chore::Lint),
        "header" => plain(Chore::Header),
        "test" => Ok(Chore::Test(options)),
        "ci" => Ok(Chore::Ci(options)),
        "wheel" => Ok(Chore::Wheel(options)),
        other => Err(format!("there is no chore named {other:?}")),
    }
}

/// The value of `--stress`.
fn factor(text: &str) -> Result<u32, String> {
    let factor = text.parse().ok().filter(|&factor| factor > 0);
    factor.ok_or(format!("--stress {text}: a whole number from 1 up"))
}

/// What follows `sanitize`: names, and the options that `test` has too.
fn sanitize(words: &[String]) -> Result<Chore, String> {
    let is_option = |word: &&String| word.starts_with("--");
    let first = words.iter().position(|word| is_option(&word)).unwrap_or(words.len());
    let (names, rest) = words.split_at(first);
    let mut options = SanitizeOptions::default();
    for name in names {
        let known = Sanitizer::ALL.into_iter().find(|sanitizer| sanitizer.name() == *name);
        options.which.push(known.ok_or(format!("there is no sanitizer named {name:?}"))?);
    }
    let mut as_test = vec!["test".to_owned()];
    as_test.extend_from_slice(rest);
    let Chore::Test(given) = parse(&as_test)? else { unreachable!("it said so") };
    options.filter = given.filter.clone();
    options.stress = given.stress;
    let same = Options { filter: given.filter.clone(), stress: given.stress, ..Options::default() };
    if given == same {
        Ok(Chore::Sanitize(options))
    } else {
        Err("sanitize takes --filter and --stress only".into())
    }
}

/// What follows `bench`.
fn bench(words: &[String]) -> Result<Chore, String> {
    let Some((suite, rest)) = words.split_first() else {
        return Err("bench needs to know what: core, python, run or peers".into());
    };
    let side = match suite.as_str() {
        "core" => Side::Core,
        "python" => Side::Python,
        "run" => Side::Run,
        "peers" => Side::Peers,
        other => return Err(format!("bench knows core, python, run and peers, not {other:?}")),
    };
    let mut options = BenchOptions { side, ..BenchOptions::default() };
    let mut rest = rest.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--quick" => options.quick = true,
            "--rows" => options.rows.push(rest.next().ok_or("--rows needs a value")?.clone()),
            "--only" if side != Side::Core => {
                options.only.push(rest.next().ok_or("--only needs a value")?.clone());
            }
            other => match other.strip_prefix("--rows=") {
                Some(text) => options.rows.push(text.to_owned()),
                None => return Err(format!("unknown option {other}")),
            },
        }
    }
    Ok(Chore::Bench(options))
}

#[cfg(test)]
mod tests {
    use super::{BenchOptions, Chore, Options, SanitizeOptions, Sanitizer, Side, parse};

    fn words(line: &str) -> Result<Chore, String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    fn options(line: &str) -> Options {
        match words(line) {
            Ok(Chore::Test(options)) => options,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn without_a_choice_all_run() {
        let both = options("test");
        assert!(both.rust() && both.python());
        let rust = options("test --rust");
        assert!(rust.rust() && !rust.python());
        let python = options("test --python");
        assert!(!python.rust() && python.python());
        let c = options("test --c");
        assert!(c.c() && !c.rust() && !c.python());
        assert!(both.c() && !rust.c() && !python.c());
        let asked_for_both = options("test --rust --python");
        assert!(asked_for_both.rust() && asked_for_both.python());
    }

    #[test]
    fn only_compares_whole_components() {
        let one = options("test --only 3.1 --only 3.12");
        assert!(one.admits("3.12") && one.admits("3.12.1"));
        assert!(!one.admits("3.13.0") && !one.admits("3.11.7"));
        assert!(options("test").admits("3.14.2"));
    }

    #[test]
    fn values_may_follow_an_equals_sign() {
        assert_eq!(options("test --stress=20").stress, Some(20));
        assert_eq!(options("test --filter lock").filter.as_deref(), Some("lock"));
    }

    #[test]
    fn bench_has_options_of_its_own() {
        let rows = vec!["lock".to_owned(), "long".to_owned()];
        let wanted = Chore::Bench(BenchOptions { rows, quick: true, ..BenchOptions::default() });
        assert_eq!(words("bench core --rows lock --quick --rows=long").unwrap(), wanted);
        let Ok(Chore::Bench(python)) = words("bench python --only 3.12") else { panic!() };
        assert!(python.side == Side::Python && python.admits("3.12.1") && !python.admits("3.13.0"));
        let Ok(Chore::Bench(run)) = words("bench run --only 3.12 --quick") else { panic!() };
        assert!(run.side == Side::Run && run.quick && !run.admits("3.13.0"));
        let Ok(Chore::Bench(peers)) = words("bench peers --rows stopit") else { panic!() };
        assert!(peers.side == Side::Peers && peers.rows == ["stopit"]);
        assert!(words("bench").unwrap_err().contains("core"));
        assert!(words("bench ruby").unwrap_err().contains("ruby"));
        assert!(words("bench core --only 3.12").unwrap_err().contains("--only"));
        assert!(words("bench core --rust").unwrap_err().contains("--rust"));
        assert!(words("bench core --rows").unwrap_err().contains("needs a value"));
    }

    #[test]
    fn sanitizers_are_named_before_the_options() {
        let which = vec![Sanitizer::Address, Sanitizer::Thread];
        let filter = Some("lock".to_owned());
        let wanted = Chore::Sanitize(SanitizeOptions { which, filter, stress: Some(2) });
        assert_eq!(words("sanitize address thread --filter lock --stress 2").unwrap(), wanted);
        assert_eq!(words("sanitize").unwrap(), Chore::Sanitize(SanitizeOptions::default()));
        assert!(words("sanitize memory").unwrap_err().contains("memory"));
        assert!(words("sanitize --rust").unwrap_err().contains("--filter and --stress only"));
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(words("test --only").unwrap_err(), "--only needs a value");
        assert_eq!(words("test --loud").unwrap_err(), "unknown option --loud");
        assert!(words("test --stress 0").unwrap_err().starts_with("--stress 0"));
        assert!(words("test --rust=yes").unwrap_err().contains("takes no value"));
        assert!(words("lint --rust").unwrap_err().contains("no options"));
        assert!(words("tset").unwrap_err().contains("tset"));
        assert!(words("install-c").unwrap_err().contains("needs a folder"));
        assert!(words("install-c --release").unwrap_err().contains("needs a folder"));
        assert!(words("").is_err());
    }
}
