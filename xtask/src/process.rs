//! Runs child processes so that none can hang a chore, and none outlives its step.
//!
//! The idea: xtask makes itself the *subreaper* of everything it starts (`prctl(2)`), so a process whose parent has
//! gone becomes xtask's own child instead of vanishing under init. Whatever is still alive when a step's child has
//! ended was left behind by it: it is reported, and ended. A step that exceeds its time limit has its threads' stacks
//! printed first, then its whole tree is killed.
//!
//! One child at a time: while [`run`] waits, it alone reaps, with `waitpid(-1)`, so that an orphan is reaped as soon
//! as it ends, as init would do, and a test that waits for a process to vanish is not held up by a zombie.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::stacks;

/// How long processes that a step left behind may take to end by themselves.
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 3000 });

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It exceeded the limit and was killed.
    TimeLimit(Duration),
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ending::Code(code) => write!(f, "exit code {code}"),
            Ending::Signal(signal) => write!(f, "ended by signal {signal}"),
            Ending::TimeLimit(limit) => write!(f, "still running after {limit:?}; killed"),
        }
    }
}

/// What became of a child and of what it started.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) ending: Ending,
    /// Processes it left behind, as `pid command line`. They have been ended.
    pub(crate) leftovers: Vec<String>,
}

impl Finished {
    /// It came to its own end, whatever its exit code.
    pub(crate) fn exited(&self) -> bool {
        matches!(self.ending, Ending::Code(_))
    }
}

/// Makes orphans of whatever this process starts its own children. Call once, before the first child.
pub(crate) fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    // SAFETY: PR_SET_CHILD_SUBREAPER takes one integer and changes only who adopts this process's descendants.
    unsafe {
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
    }
}

/// The processor time of all descendants that have ended and were reaped.
pub(crate) fn time_of_children() -> Duration {
    // SAFETY: `rusage` is plain data, for which zeroes are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: getrusage writes to the structure, which is ours.
    if unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) } != 0 {
        return Duration::ZERO;
    }
    let of = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    of(usage.ru_utime) + of(usage.ru_stime)
}

/// Runs `command` to its end, its output passed on and each line of it shown to `on_line`. Blocks at most for `limit`
/// and a few seconds more.
///
/// # Errors
/// When the command cannot be started.
pub(crate) fn run(
    mut command: Command,
    limit: Duration,
    mut on_line: impl FnMut(&str) + Send,
) -> io::Result<Finished> {
    let (reader, writer) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let child = command.spawn()?;
    // The command owns the pipe's writing ends: without this the reader would wait for ourselves.
    drop(command);
    let pid = child.id().cast_signed();
    thread::scope(|scope| {
        let output = scope.spawn(move || {
            let mut reader = BufReader::new(reader);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
                on_line(&String::from_utf8_lossy(&line));
                let mut stdout = io::stdout().lock();
                let _ = stdout.write_all(&line).and_then(|()| stdout.flush());
                line.clear();
            }
        });
        let (ended, end) = mpsc::channel();
        scope.spawn(move || ended.send(reap_until(pid)));
        let (ending, leftovers) = match end.recv_timeout(limit) {
            Ok(ending) => (ending, end_leftovers()),
            Err(_) => {
                end_tree(limit);
                // The tree is dead, so the reaper has, or will have, its answer; it cannot stay blocked.
                let _ = end.recv();
                end_leftovers();
                (Ending::TimeLimit(limit), Vec::new())
            }
        };
        // Every process that could hold the writing end has gone, so this ends.
        let _ = output.join();
        Ok(Finished { ending, leftovers })
    })
}

/// Runs a short command quietly and returns what it printed on standard output; `None` if it failed, could not be
/// started, or took longer than `limit`.
pub(crate) fn capture(mut command: Command, limit: Duration) -> Option<String> {
    let (mut reader, writer) = io::pipe().ok()?;
    command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::null());
    let child = command.spawn().ok()?;
    drop(command);
    let pid = child.id().cast_signed();
    thread::scope(|scope| {
        let output = scope.spawn(move || {
            let mut text = String::new();
            io::Read::read_to_string(&mut reader, &mut text).map(|_| text)
        });
        let (ended, end) = mpsc::channel();
        scope.spawn(move || ended.send(reap_until(pid)));
        let ending = end.recv_timeout(limit).unwrap_or_else(|_| {
            kill_all(libc::SIGKILL);
            let _ = end.recv();
            Ending::TimeLimit(limit)
        });
        end_leftovers();
        let text = output.join().ok()?.ok()?;
        (ending == Ending::Code(0)).then_some(text)
    })
}

/// Reaps every child that ends, until `pid` is among them.
fn reap_until(pid: i32) -> Ending {
    loop {
        let mut status = 0;
        // SAFETY: `status` is a live integer that waitpid may write to.
        let reaped = unsafe { libc::waitpid(-1, &raw mut status, 0) };
        if reaped == pid {
            return match libc::WIFSIGNALED(status) {
                true => Ending::Signal(libc::WTERMSIG(status)),
                false => Ending::Code(libc::WEXITSTATUS(status)),
            };
        }
        if reaped == -1 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            // No child at all: somebody else reaped it. Nothing here does, so say it loudly.
            return Ending::Code(-1);
        }
    }
}

/// Shows what each process of the tree is doing, then kills them all.
fn end_tree(limit: Duration) {
    println!("xtask: still running after {limit:?}; what its processes are doing:");
    for process in descendants() {
        println!("{}", stacks::describe(process.pid));
    }
    // pytest has faulthandler on: SIGABRT makes it print every Python thread's stack before it dies.
    kill_all(libc::SIGABRT);
    wait_until_gone(Instant::now() + PATIENCE);
    kill_all(libc::SIGKILL);
}

/// Waits a moment for processes that outlived the step's own child, names those that stay, and kills them.
fn end_leftovers() -> Vec<String> {
    wait_until_gone(Instant::now() + PATIENCE);
    let named = descendants()
        .iter()
        .map(|process| format!("{} {}", process.pid, stacks::command_line(process.pid)))
        .collect();
    while !descendants().is_empty() {
        kill_all(libc::SIGKILL);
        wait_until_gone(Instant::now() + Duration::from_secs(1));
    }
    named
}

/// Reaps what ends until nothing is left or the deadline has passed.
fn wait_until_gone(deadline: Instant) {
    while !descendants().is_empty() && Instant::now() < deadline {
        reap_ended();
        thread::sleep(Duration::from_millis(20));
    }
    reap_ended();
}

/// Reaps children that have ended, without blocking.
fn reap_ended() {
    // SAFETY: a null status pointer is allowed; WNOHANG makes the call return at once.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
}

/// Sends a signal to every living descendant.
fn kill_all(signal: i32) {
    for process in descendants() {
        // SAFETY: kill takes two integers; the process is a living descendant of ours, or was a moment ago, and its
        // id cannot have gone to a stranger before somebody reaped it.
        unsafe { libc::kill(process.pid, signal) };
    }
}

/// A process below this one.
struct Process {
    pid: i32,
    parent: i32,
}

/// Every living process that descends from this one, as far as `/proc` tells: none where there is no `/proc`.
fn descendants() -> Vec<Process> {
    let mut unknown: Vec<Process> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let (parent, state) = parent_and_state(&stat)?;
            // A zombie has ended; that it was not reaped yet is its parent's affair.
            (state != 'Z').then_some(Process { pid, parent })
        })
        .collect();
    let mut known = Vec::new();
    let mut parents = vec![std::process::id().cast_signed()];
    while let Some(parent) = parents.pop() {
        for child in unknown.extract_if(.., |process| process.parent == parent) {
            parents.push(child.pid);
            known.push(child);
        }
    }
    known
}

/// Parent and state out of a line of `/proc/PID/stat`. The command's name stands in parentheses and may hold anything.
fn parent_and_state(stat: &str) -> Option<(i32, char)> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((fields.next()?.parse().ok()?, state))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::{Ending, adopt_orphans, capture, descendants, parent_and_state, run};

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    // One test, because each part reaps every child of the process.
    #[test]
    fn no_child_outlives_its_step() {
        adopt_orphans();
        let minute = Duration::from_secs(60);

        let mut lines = Vec::new();
        let finished = run(shell("echo one; echo two >&2; exit 3"), minute, |line| {
            lines.push(line.to_owned())
        })
        .unwrap();
        assert_eq!((finished.ending, finished.leftovers.len()), (Ending::Code(3), 0));
        assert_eq!(lines, ["one\n", "two\n"]);

        let finished = run(shell("kill -9 $$"), minute, |_| {}).unwrap();
        assert_eq!(finished.ending, Ending::Signal(9));

        // The shell ends at once and leaves a process in another session, holding the output's pipe.
        let finished = run(shell("setsid sleep 1000 & exit 0"), minute, |_| {}).unwrap();
        assert_eq!(finished.ending, Ending::Code(0));
        assert_eq!(finished.leftovers.len(), 1, "{:?}", finished.leftovers);
        assert!(finished.leftovers[0].contains("sleep 1000"), "{:?}", finished.leftovers);
        assert!(descendants().is_empty());

        let limit = Duration::from_millis(300);
        let finished = run(shell("trap '' ABRT; sleep 1000 & wait"), limit, |_| {}).unwrap();
        assert_eq!(finished.ending, Ending::TimeLimit(limit));
        assert!(descendants().is_empty());

        assert_eq!(capture(shell("echo out; echo err >&2"), minute).as_deref(), Some("out\n"));
        assert_eq!(capture(shell("echo out; exit 1"), minute), None);
        assert_eq!(capture(shell("sleep 1000"), limit), None);
        assert!(descendants().is_empty());
    }

    #[test]
    fn a_command_name_may_hold_parentheses_and_spaces() {
        assert_eq!(parent_and_state("12 (a) b (c) S 7 12 12 0"), Some((7, 'S')));
        assert_eq!(parent_and_state("12"), None);
    }
}
