//! The command line of `quell`, as far as the script's own arguments begin.
//!
//! Whatever follows SCRIPT, `-m MODULE`, `-c CODE` or `-` belongs to the script and is not looked at.
//! Used by the command `quell` and by `python -m quell`, with the arguments after the program's name.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::{Arg, ValueExt};

use super::limits::Limits;
use super::units::{parse_duration, parse_size};
use super::watchdog::Orders;

/// What the user wants of the command.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// `quell --help`, `quell run --help`: print this and end.
    Help(&'static str),
    /// `quell --version`.
    Version,
    /// `quell run …`.
    Run(Box<Plan>),
    /// `quell watchdog …`, which quell itself starts.
    Watch(Box<Orders>),
}

/// Everything that `quell run` was told.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The limits; any of them may be absent.
    pub limits: Limits,
    /// How long a script that reached a limit has to unwind.
    pub grace: Duration,
    /// What to raise in place of quell's own exceptions.
    pub exception: Option<ExceptionName>,
    /// The form of the report.
    pub report: ReportForm,
    /// Where the report goes; standard error when absent.
    pub report_file: Option<PathBuf>,
    /// No report.
    pub quiet: bool,
    /// A line of progress while the script runs.
    pub progress: bool,
    /// Make the standard library's blocking calls interruptible in all of the script's threads.
    pub patch: bool,
    /// What to run.
    pub target: Target,
    /// The script's own arguments.
    pub args: Vec<OsString>,
}

/// How the report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportForm {
    /// Lines for people.
    Human,
    /// One JSON object.
    Json,
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A file, directory or archive.
    Script(OsString),
    /// `-m MODULE`.
    Module(OsString),
    /// `-c CODE`.
    Code(OsString),
    /// `-`.
    Stdin,
}

/// An exception that the user named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExceptionName {
    /// The module; `builtins` for a bare name.
    pub module: String,
    /// The class, dotted when it stands inside another.
    pub class: String,
}

impl fmt::Display for ExceptionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.module == "builtins" {
            f.write_str(&self.class)
        } else {
            write!(f, "{}.{}", self.module, self.class)
        }
    }
}

/// What was wrong with the command line, and what would have been right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgsError(String);

impl ArgsError {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for ArgsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ArgsError {}

impl From<lexopt::Error> for ArgsError {
    fn from(error: lexopt::Error) -> Self {
        Self(error.to_string())
    }
}

fn fail<T>(text: impl Into<String>) -> Result<T, ArgsError> {
    Err(ArgsError(text.into()))
}

/// Reads the arguments that follow the program's name.
///
/// # Errors
/// The first argument that is not understood, with what is accepted in its place.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, ArgsError> {
    let mut parser = lexopt::Parser::from_args(args);
    match parser.next()? {
        Some(Arg::Value(word)) if word == "run" => run(parser),
        Some(Arg::Value(word)) if word == "watchdog" => {
            Ok(Command::Watch(Box::new(Orders::from_words(parser.raw_args()?)?)))
        }
        Some(Arg::Value(word)) if word == "help" => Ok(Command::Help(super::usage::QUELL)),
        Some(Arg::Long("help") | Arg::Short('h')) => Ok(Command::Help(super::usage::QUELL)),
        Some(Arg::Long("version") | Arg::Short('V')) => Ok(Command::Version),
        Some(Arg::Value(word)) => fail(format!(
            "there is no command {:?}; try: quell run {}",
            word.to_string_lossy(),
            word.to_string_lossy()
        )),
        Some(other) => fail(format!(
            "{}; accepted are run, --help and --version",
            ArgsError::from(other.unexpected())
        )),
        None => fail("nothing to do; try: quell run SCRIPT, or quell --help"),
    }
}

fn run(mut parser: lexopt::Parser) -> Result<Command, ArgsError> {
    let mut limits = Limits::default();
    let mut grace = Duration::from_secs(1);
    let (mut exception, mut report, mut report_file) = (None, ReportForm::Human, None);
    let (mut quiet, mut progress, mut patch) = (false, false, true);
    let target = loop {
        match parser.next()? {
            Some(Arg::Long("help") | Arg::Short('h')) => {
                return Ok(Command::Help(super::usage::RUN));
            }
            Some(Arg::Long("timeout")) => {
                limits.time = Some(limit_duration("--timeout", &parser.value()?)?);
            }
            Some(Arg::Long("cpu")) => limits.cpu = Some(limit_duration("--cpu", &parser.value()?)?),
            Some(Arg::Long("memory")) => {
                limits.memory = Some(limit_size("--memory", &parser.value()?)?);
            }
            Some(Arg::Long("grace")) => grace = duration("--grace", &parser.value()?)?,
            Some(Arg::Long("exception")) => exception = Some(exception_name(&parser.value()?)?),
            Some(Arg::Long("report")) => {
                let value = parser.value()?;
                report = match value.to_str() {
                    Some("human") => ReportForm::Human,
                    Some("json") => ReportForm::Json,
                    _ => return fail(format!("--report {value:?}: accepted are human and json")),
                };
            }
            Some(Arg::Long("report-file")) => report_file = Some(parser.value()?.into()),
            Some(Arg::Long("quiet") | Arg::Short('q')) => quiet = true,
            Some(Arg::Long("progress")) => progress = true,
            Some(Arg::Long("no-patch")) => patch = false,
            Some(Arg::Short('m')) => break Target::Module(parser.value()?),
            Some(Arg::Short('c')) => break Target::Code(parser.value()?),
            Some(Arg::Value(value)) if value == "-" => break Target::Stdin,
            Some(Arg::Value(value)) => break Target::Script(value),
            Some(Arg::Short(letter)) => {
                return fail(format!(
                    "unknown option -{letter} (options of the interpreter are set by its environment \
                     variables, such as PYTHONUNBUFFERED=1); see: quell run --help"
                ));
            }
            Some(Arg::Long(word)) => {
                return fail(format!("unknown option --{word}; see: quell run --help"));
            }
            None => {
                return fail("nothing to run; wanted is SCRIPT, -m MODULE, -c CODE or -");
            }
        }
    };
    let args = parser.raw_args()?.collect();
    Ok(Command::Run(Box::new(Plan {
        limits,
        grace,
        exception,
        report,
        report_file,
        quiet,
        progress,
        patch,
        target,
        args,
    })))
}

fn text(option: &str, value: &OsStr) -> Result<String, ArgsError> {
    value.to_owned().string().map_err(|_| ArgsError(format!("{option} {value:?}: not text")))
}

fn duration(option: &str, value: &OsStr) -> Result<Duration, ArgsError> {
    parse_duration(&text(option, value)?).map_err(|e| ArgsError(format!("{option}: {e}")))
}

fn limit_duration(option: &str, value: &OsStr) -> Result<Duration, ArgsError> {
    let duration = duration(option, value)?;
    if duration.is_zero() {
        return fail(format!("{option}: a limit must be greater than zero"));
    }
    Ok(duration)
}

fn limit_size(option: &str, value: &OsStr) -> Result<u64, ArgsError> {
    match parse_size(&text(option, value)?) {
        Ok(0) => fail(format!("{option}: a limit must be greater than zero")),
        Ok(bytes) => Ok(bytes),
        Err(error) => fail(format!("{option}: {error}")),
    }
}

fn exception_name(value: &OsStr) -> Result<ExceptionName, ArgsError> {
    let text = text("--exception", value)?;
    let (module, class) = text.split_once(':').unwrap_or(("builtins", &text));
    let dotted = |name: &str| {
        name.split('.').all(|part| {
            !part.is_empty()
                && !part.starts_with(|c: char| c.is_ascii_digit())
                && part.chars().all(|c| c.is_alphanumeric() || c == '_')
        })
    };
    if text.contains(':') && dotted(module) && dotted(class) {
        return Ok(ExceptionName { module: module.to_owned(), class: class.to_owned() });
    }
    // quell's own exceptions by the name that tracebacks show.
    if let Some(class) = text.strip_prefix("quell.")
        && dotted(class)
        && !class.contains('.')
    {
        return Ok(ExceptionName { module: "quell".to_owned(), class: class.to_owned() });
    }
    if !dotted(&text) || text.contains('.') {
        return fail(format!(
            "--exception {text:?}: wanted is a built-in exception such as KeyboardInterrupt, or \
             package.module:Class"
        ));
    }
    Ok(ExceptionName { module: "builtins".to_owned(), class: text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[&str]) -> Result<Command, ArgsError> {
        parse(line.iter().map(OsString::from))
    }

    fn plan(line: &[&str]) -> Plan {
        match words(line) {
            Ok(Command::Run(plan)) => *plan,
            other => panic!("{line:?}: {other:?}"),
        }
    }

    #[test]
    fn everything_after_the_script_is_the_scripts() {
        let plan = plan(&["run", "--timeout", "2s", "a.py", "--timeout", "5", "-m", "--", "-"]);
        assert_eq!(plan.limits.time, Some(Duration::from_secs(2)));
        assert_eq!(plan.target, Target::Script("a.py".into()));
        assert_eq!(plan.args, ["--timeout", "5", "-m", "--", "-"]);
        assert!(plan.patch);
    }

    #[test]
    fn the_four_things_that_can_be_run() {
        assert_eq!(
            plan(&["run", "-m", "json.tool", "-h"]).target,
            Target::Module("json.tool".into())
        );
        assert_eq!(plan(&["run", "-mjson.tool", "-h"]).args, ["-h"]);
        assert_eq!(plan(&["run", "-c", "print(1)", "-c"]).target, Target::Code("print(1)".into()));
        assert_eq!(plan(&["run", "-", "x"]).target, Target::Stdin);
        assert_eq!(plan(&["run", "--", "-odd.py", "x"]).target, Target::Script("-odd.py".into()));
    }

    #[test]
    fn options_in_both_spellings() {
        let plan = plan(&[
            "run",
            "--timeout=1m30s",
            "--cpu",
            "2",
            "--memory=1.5GiB",
            "--grace",
            "0",
            "--report=json",
            "--report-file",
            "r.json",
            "-q",
            "--progress",
            "--no-patch",
            "--exception",
            "app.errors:Stop",
            "x.py",
        ]);
        assert_eq!(plan.limits.time, Some(Duration::from_secs(90)));
        assert_eq!(plan.limits.cpu, Some(Duration::from_secs(2)));
        assert_eq!(plan.limits.memory, Some(3 << 29));
        assert_eq!(plan.grace, Duration::ZERO);
        assert_eq!(plan.report, ReportForm::Json);
        assert_eq!(plan.report_file, Some(PathBuf::from("r.json")));
        assert!(plan.quiet && plan.progress && !plan.patch);
        let name = plan.exception.expect("was given");
        assert_eq!((name.module.as_str(), name.class.as_str()), ("app.errors", "Stop"));
    }

    #[test]
    fn names_of_exceptions() {
        let name = |text: &str| exception_name(OsStr::new(text)).map(|n| n.to_string());
        assert_eq!(name("KeyboardInterrupt").as_deref(), Ok("KeyboardInterrupt"));
        assert_eq!(name("quell.Timeout").as_deref(), Ok("quell.Timeout"));
        assert_eq!(name("a.b:C.D").as_deref(), Ok("a.b.C.D"));
        for bad in ["", "a.b", "a b", ":", "a:", ":B", "1a", "a:b:c"] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn errors_say_what_is_accepted() {
        for (line, part) in [
            (&["run"] as &[&str], "SCRIPT, -m MODULE"),
            (&[], "quell run SCRIPT"),
            (&["x.py"], "quell run x.py"),
            (&["run", "--timeout"], "missing argument"),
            (&["run", "--timeout", "soon", "x.py"], "1m30s"),
            (&["run", "--timeout", "0", "x.py"], "greater than zero"),
            (&["run", "--memory", "much", "x.py"], "1.5GiB"),
            (&["run", "--memory", "0", "x.py"], "greater than zero"),
            (&["run", "--report", "xml", "x.py"], "human and json"),
            (&["run", "--frobnicate", "x.py"], "--frobnicate"),
            (&["run", "-u", "x.py"], "PYTHONUNBUFFERED"),
            (&["run", "-m"], "missing argument"),
            (&["--frobnicate"], "--version"),
        ] {
            let error = words(line).expect_err("is not accepted").to_string();
            assert!(error.contains(part), "{line:?}: {error}");
        }
    }

    #[test]
    fn help_and_version() {
        assert_eq!(words(&["--version"]), Ok(Command::Version));
        assert!(matches!(words(&["--help"]), Ok(Command::Help(_))));
        assert!(matches!(words(&["run", "--timeout", "1", "--help"]), Ok(Command::Help(_))));
    }
}
