//! Runs child processes so that none can hang a chore, and none outlives its step.
//!
//! The idea: xtask makes itself the *subreaper* of everything it starts (`prctl(2)`), so a process whose parent has
//! gone becomes xtask's own child instead of vanishing under init. Whatever is still alive when a step's child has
//! ended was left behind by it: it is reported, and ended. A step that exceeds its time limit has its threads' stacks
//! printed first, then its whole tree is killed.
//!
//! Children run one at a time, or some of them [together](run_together), never two calls at once: while one waits, it alone
//! reaps, with `waitpid(-1)`, so that an orphan is reaped as soon as it ends, as init would do, and a test that waits for a
//! process to vanish is not held up by a zombie.

use std::collections::HashMap;
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
    /// Processes that it, or another that ran at the same time, left behind, as `pid command line`. They have been ended.
    pub(crate) leftovers: Vec<String>,
    /// From the start of all of them to its end.
    pub(crate) elapsed: Duration,
    /// What it took of the processors, and those of its descendants that their parents waited for.
    pub(crate) processor: Duration,
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

/// Runs `command` to its end, its output passed on and each line of it shown to `on_line`. Blocks at most for `limit`
/// and a few seconds more.
///
/// # Errors
/// When the command cannot be started.
pub(crate) fn run(
    command: Command,
    limit: Duration,
    mut on_line: impl FnMut(&str) + Send,
) -> io::Result<Finished> {
    let show = |line: &[u8]| {
        on_line(&String::from_utf8_lossy(line));
        print(line);
    };
    run_together(vec![(command, show)], limit).remove(0)
}

/// Writes a line of a child's output, as it is.
pub(crate) fn print(line: &[u8]) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(line).and_then(|()| stdout.flush());
}

/// Runs commands at the same time, each to its end, each line of its output shown to the function beside it. Blocks at most for
/// `limit` and a few seconds more. The error of one that cannot be started stands in its place.
pub(crate) fn run_together<F: FnMut(&[u8]) + Send>(
    commands: Vec<(Command, F)>,
    limit: Duration,
) -> Vec<io::Result<Finished>> {
    let begun = Instant::now();
    thread::scope(|scope| {
        let mut readers = Vec::new();
        let started: Vec<io::Result<i32>> = commands
            .into_iter()
            .map(|(mut command, on_line)| {
                let (reader, writer) = io::pipe()?;
                command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
                let child = command.spawn()?;
                // With the command go the pipe's writing ends: otherwise the reader would wait for ourselves.
                drop(command);
                readers.push(scope.spawn(|| pass_on(reader, on_line)));
                Ok(child.id().cast_signed())
            })
            .collect();
        let pids: Vec<i32> = started.iter().flatten().copied().collect();
        let (ended, end) = mpsc::channel();
        scope.spawn({
            let pids = pids.clone();
            move || {
                reap_until(&pids, |reaped| {
                    let _ = ended.send(reaped);
                })
            }
        });
        let mut endings = HashMap::new();
        while endings.len() < pids.len() {
            match end.recv_timeout(limit.saturating_sub(begun.elapsed())) {
                Ok(reaped) => endings.insert(reaped.pid, (reaped, begun.elapsed())),
                Err(_) => break,
            };
        }
        let leftovers = if endings.len() == pids.len() {
            end_leftovers()
        } else {
            end_tree(limit);
            // The tree is dead, so the reaper has, or will have, its answers; it cannot stay blocked.
            for reaped in end {
                let killed = Reaped { ending: Ending::TimeLimit(limit), ..reaped };
                endings.insert(reaped.pid, (killed, begun.elapsed()));
            }
            end_leftovers();
            Vec::new()
        };
        // Every process that could hold a writing end has gone, so these end.
        readers.into_iter().for_each(|reader| drop(reader.join()));
        let finish = |pid: i32| {
            let (reaped, elapsed) = &endings[&pid];
            let &Reaped { ending, processor, .. } = reaped;
            Finished { ending, leftovers: leftovers.clone(), elapsed: *elapsed, processor }
        };
        started.into_iter().map(|child| child.map(finish)).collect()
    })
}

/// Shows what comes through a pipe to `on_line`, line by line.
fn pass_on(reader: io::PipeReader, mut on_line: impl FnMut(&[u8])) {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
        on_line(&line);
        line.clear();
    }
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
        scope.spawn(move || {
            reap_until(&[pid], |reaped| {
                let _ = ended.send(reaped.ending);
            })
        });
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

/// A child that has ended.
struct Reaped {
    pid: i32,
    ending: Ending,
    /// As in [`Finished`].
    processor: Duration,
}

/// Reaps every child that ends, until all of `pids` were among them; tells of each of these.
fn reap_until(pids: &[i32], tell: impl Fn(Reaped)) {
    let mut left = pids.to_vec();
    while !left.is_empty() {
        let mut status = 0;
        // SAFETY: `rusage` is plain data, for which zeroes are a value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both are live, of the types that wait4 writes.
        let pid = unsafe { libc::wait4(-1, &raw mut status, 0, &raw mut usage) };
        if let Some(at) = left.iter().position(|&waited| waited == pid) {
            left.swap_remove(at);
            let ending = match libc::WIFSIGNALED(status) {
                true => Ending::Signal(libc::WTERMSIG(status)),
                false => Ending::Code(libc::WEXITSTATUS(status)),
            };
            let of =
                |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
            let processor = of(usage.ru_utime) + of(usage.ru_stime);
            tell(Reaped { pid, ending, processor });
        } else if pid == -1 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            // No child at all: somebody else reaped it. Nothing here does, so say it loudly.
            let lost = |pid| Reaped { pid, ending: Ending::Code(-1), processor: Duration::ZERO };
            left.drain(..).map(lost).for_each(&tell);
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

    use super::{Ending, adopt_orphans, capture, descendants, parent_and_state, run, run_together};

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

        // Each waits for the other.
        let folder = std::env::temp_dir().join(format!("xtask-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let meets = |mine: &str, other: &str, code: i32| {
            let mut both = shell(&format!(
                "touch {mine}; until [ -e {other} ]; do :; done; echo {mine}; exit {code}"
            ));
            both.current_dir(&folder);
            both
        };
        let (mut one, mut two) = (Vec::new(), Vec::new());
        type Show<'a> = Box<dyn FnMut(&[u8]) + Send + 'a>;
        let commands: Vec<(Command, Show)> = vec![
            (meets("a", "b", 0), Box::new(|line| one.extend_from_slice(line))),
            (Command::new("/no/such/program"), Box::new(|_| {})),
            (meets("b", "a", 5), Box::new(|line| two.extend_from_slice(line))),
        ];
        let finished = run_together(commands, minute);
        std::fs::remove_dir_all(&folder).unwrap();
        let endings: Vec<_> =
            finished.iter().map(|it| it.as_ref().ok().map(|it| it.ending)).collect();
        assert_eq!(endings, [Some(Ending::Code(0)), None, Some(Ending::Code(5))]);
        assert_eq!((one.as_slice(), two.as_slice()), (&b"a\n"[..], &b"b\n"[..]));

        // At the limit the one that has ended keeps its ending.
        let commands = ["exit 4", "sleep 1000"].map(|script| (shell(script), |_: &[u8]| {})).into();
        let finished = run_together(commands, limit);
        let endings: Vec<_> = finished.into_iter().map(|it| it.unwrap().ending).collect();
        assert_eq!(endings, [Ending::Code(4), Ending::TimeLimit(limit)]);
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
