//! What the threads of a process are doing, as far as can be told from outside: for a message about a hang.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long the debugger may take.
const DEBUGGER_LIMIT: Duration = Duration::from_secs(30);

/// The command line of a process, shortened.
pub(crate) fn command_line(pid: i32) -> String {
    let raw = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&raw).replace('\0', " ");
    let short: String = text.trim().chars().take(160).collect();
    if short.is_empty() { "(no command line)".into() } else { short }
}

/// One line for each thread: its name, its state, where in the kernel it waits.
pub(crate) fn describe(pid: i32) -> String {
    let mut text = format!("  process {pid}: {}\n", command_line(pid));
    let folder = format!("/proc/{pid}/task");
    for thread in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = thread.path();
        text.push_str(&format!(
            "    thread {} {:<16} {} in {}\n",
            thread.file_name().display(),
            read(&path, "comm"),
            state(&path),
            read(&path, "wchan"),
        ));
    }
    text
}

/// Every thread's native stack by way of gdb; empty when there is no gdb or it may not attach.
pub(crate) fn native_stacks(pid: i32) -> String {
    let mut command = Command::new("gdb");
    command.args(["-nx", "-batch", "-p", &pid.to_string()]);
    command.args(["-ex", "set pagination off", "-ex", "thread apply all backtrace"]);
    command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::piped());
    let Ok(mut child) = command.spawn() else { return String::new() };
    let Some(mut output) = child.stdout.take() else { return String::new() };
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = std::io::Read::read_to_end(&mut output, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let deadline = Instant::now() + DEBUGGER_LIMIT;
    while !reader.is_finished() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
    let text = reader.join().unwrap_or_default();
    // Before the first "Thread" stand gdb's own remarks.
    text.find("\nThread ").map_or(String::new(), |start| text[start..].to_owned())
}

fn read(folder: &Path, file: &str) -> String {
    let text = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
    match text.trim() {
        "" | "0" => "-".into(),
        text => text.into(),
    }
}

/// The one word of `/proc/…/status` that says whether a thread runs, sleeps or is stopped.
fn state(folder: &Path) -> String {
    let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("State:"));
    line.map_or_else(|| "-".into(), |state| state.trim().to_owned())
}
