//! The script sees what `python` would show it: byte for byte on both streams, and the same end.
//!
//! Every script in `tests/fidelity` is run by the interpreter that the command embeds and by the command, which has
//! a generous limit and so all its machinery running.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fidelity")
}

fn quell() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quell"));
    command.args(["run", "--timeout", "5m", "--memory", "64GiB"]);
    command
}

fn python() -> Command {
    let asked = quell().args(["-c", "import sys; print(sys.executable)"]).output().expect("starts");
    Command::new(String::from_utf8(asked.stdout).expect("a path").trim())
}

fn run(mut command: Command, arguments: &[&str], input: &str) -> Output {
    let mut child = command
        .args(arguments)
        .current_dir(cases())
        // The shell's, which a process started by another one does not have.
        .env_remove("_")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    // A script that does not read its input closes it.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("is ours")
}

/// Addresses, process ids and times differ from one run of `python` to the next.
fn comparable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut kept = String::new();
    let mut rest = &*text;
    while let Some(at) = rest.find("0x").into_iter().chain(rest.find("pid=")).min() {
        let word = if rest[at..].starts_with("0x") { 2 } else { 4 };
        kept.push_str(&rest[..at + word]);
        rest = rest[at + word..].trim_start_matches(|c: char| c.is_ascii_hexdigit());
    }
    kept + rest
}

#[track_caller]
fn same(arguments: &[&str], input: &str) {
    let wanted = run(python(), arguments, input);
    let got = run(quell(), arguments, input);
    let show = |o: &Output| {
        format!(
            "{}\n--- stdout\n{}--- stderr\n{}",
            o.status,
            comparable(&o.stdout),
            comparable(&o.stderr)
        )
    };
    assert_eq!(show(&got), show(&wanted), "{arguments:?}");
    assert_eq!(got.status, wanted.status, "{arguments:?}");
}

/// The scripts that take an argument which says what to do, and those that belong to another one.
const SPECIAL: [&str; 2] = ["exit_code.py", "killed.py"];

/// Every `PARTS`th script, so that the parts run at the same time.
const PARTS: usize = 4;

#[track_caller]
fn scripts(part: usize) {
    let mut names: Vec<_> = std::fs::read_dir(cases())
        .expect("is there")
        .map(|entry| entry.expect("is there").file_name().into_string().expect("a name"))
        .filter(|name| name.ends_with(".py") && !SPECIAL.contains(&name.as_str()))
        .collect();
    names.sort();
    assert!(names.len() > 30, "{names:?}");
    for name in names.iter().skip(part).step_by(PARTS) {
        same(&[name, "a", "-b", "--timeout", "--"], "World\nrest\nmore\n");
    }
}

#[test]
fn scripts_first_part() {
    scripts(0);
}

#[test]
fn scripts_second_part() {
    scripts(1);
}

#[test]
fn scripts_third_part() {
    scripts(2);
}

#[test]
fn scripts_fourth_part() {
    scripts(3);
}

#[test]
fn system_exit() {
    for form in [
        "bare",
        "none",
        "three",
        "negative",
        "large",
        "huge",
        "text",
        "object",
        "true",
        "quit",
        "finally",
        "interrupt",
        "generator",
    ] {
        same(&["exit_code.py", form], "");
    }
}

#[test]
fn ended_by_a_signal() {
    for signal in ["SIGTERM", "SIGKILL", "SIGABRT", "SIGSEGV", "SIGHUP"] {
        same(&["killed.py", signal], "");
    }
}

#[test]
fn modules_and_packages() {
    same(&["-m", "package", "x", "-m"], "");
    same(&["-m", "package.part", "x"], "");
    same(&["-m", "beside"], "");
    same(&["-m", "nowhere"], "");
    same(&["-m", "json"], "");
    same(&["-m", "json.tool"], "{\"a\": [1]}");
    same(&["package", "x"], "");
}

#[test]
fn code_and_standard_input() {
    let code = "import sys; print(sys.argv, sys.path[0], sorted(vars())); f = lambda: 1 / 0; f()";
    same(&["-c", code, "x", "-c"], "");
    same(&["-c", "x ="], "");
    same(&["-c", "def f():\n  raise SystemExit(3)\nf()"], "");
    same(&["-", "x"], "import sys\nprint(sys.argv, sys.path[0])\ndef f():\n  1/0\nf()\n");
    same(&["-"], "x =");
}

#[test]
fn what_cannot_be_run() {
    same(&["nowhere.py"], "");
    same(&["."], "");
    same(&["./package/../unhandled.py"], "");
}
