//! Runs child processes so that none can hang a chore, and none outlives its step.
//!
//! The idea: xtask makes itself the *subreaper* of everything it starts (`prctl(2)`), so a process whose parent has
//! gone becomes xtask's own child instead of vanishing under init. Whatever is still alive when a step's child has
//! ended was left behind by it: it is reported, and ended. A step that exceeds its time limit has its threads' stacks
//! printed first, then its whole tree is killed.
//!
//! Children run one at a time, or in [lanes](run_lanes), never two calls at once: while one waits, it alone
//! reaps, with `waitpid(-1)`, so that an orphan is reaped as soon as it ends, as init would do, and a test that waits for a
//! process to vanish is not held up by a zombie.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
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
    let job = Job { command, on_line: show, patient: false };
    run_lanes(vec![vec![job]], limit, |_, _| {}).remove(0).remove(0)
}

/// Writes a line of a child's output, as it is.
pub(crate) fn print(line: &[u8]) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(line).and_then(|()| stdout.flush());
}

/// One command of a lane.
pub(crate) struct Job<F> {
    pub(crate) command: Command,
    /// Shown each line of its output.
    pub(crate) on_line: F,
    /// It gets what the others leave of the processors.
    pub(crate) patient: bool,
}

/// Runs lanes of commands at the same time, those of a lane one after the other, however they end; `begins` is told of each one's
/// lane and place there. Blocks at most for `limit` for each command, and a few seconds more: a command that exceeds it ends
/// all. The error of one that cannot be started stands in its place.
///
/// The thread that reaps stands still from the end of a command until those that follow have been started. So no process ends
/// unseen between its start and being waited for.
pub(crate) fn run_lanes<F: FnMut(&[u8]) + Send>(
    lanes: Vec<Vec<Job<F>>>,
    limit: Duration,
    mut begins: impl FnMut(usize, usize),
) -> Vec<Vec<io::Result<Finished>>> {
    let mut ended: Vec<Vec<io::Result<Finished>>> = lanes.iter().map(|_| Vec::new()).collect();
    let mut lanes: Vec<_> = lanes.into_iter().map(Vec::into_iter).collect();
    thread::scope(|scope| {
        let mut readers = Vec::new();
        // By its id, the lane that each belongs to, and its start.
        let mut running: HashMap<i32, (usize, Instant)> = HashMap::new();
        let (tell, told) = mpsc::channel();
        let (resume, resumed) = mpsc::channel::<Vec<i32>>();
        scope.spawn(move || {
            for pids in resumed {
                let _ = tell.send(reap_one_of(&pids));
            }
        });
        let mut idle: Vec<usize> = (0..lanes.len()).collect();
        let mut over = false;
        loop {
            for lane in idle.drain(..) {
                for Job { command, on_line, patient } in lanes[lane].by_ref() {
                    begins(lane, ended[lane].len());
                    match start(command, patient) {
                        Ok((pid, reader)) => {
                            readers.push(scope.spawn(|| pass_on(reader, on_line)));
                            running.insert(pid, (lane, Instant::now()));
                            break;
                        }
                        Err(error) => ended[lane].push(Err(error)),
                    }
                }
            }
            let Some(oldest) = running.values().map(|(_, begun)| *begun).min() else { break };
            let _ = resume.send(running.keys().copied().collect());
            let reaped = told.recv_timeout(limit.saturating_sub(oldest.elapsed()));
            let Reaped { pid, mut ending, processor } = reaped.unwrap_or_else(|_| {
                end_tree(limit);
                over = true;
                lanes.iter_mut().for_each(|lane| drop(lane.by_ref().last()));
                // The tree is dead, so the reaper has its answer; it cannot stay blocked.
                told.recv().expect("the reaper runs")
            });
            if over {
                ending = Ending::TimeLimit(limit);
            }
            let (lane, begun) = running.remove(&pid).expect("only these are told of");
            let (leftovers, elapsed) = (Vec::new(), begun.elapsed());
            ended[lane].push(Ok(Finished { ending, leftovers, elapsed, processor }));
            idle.push(lane);
        }
        drop(resume);
        let leftovers = end_leftovers();
        for finished in ended.iter_mut().flatten().flatten() {
            finished.leftovers.clone_from(&leftovers);
        }
        // Every process that could hold a writing end has gone, so these end.
        readers.into_iter().for_each(|reader| drop(reader.join()));
    });
    ended
}

/// Starts a command; its id, and the end of the pipe that its output comes through.
fn start(mut command: Command, patient: bool) -> io::Result<(i32, io::PipeReader)> {
    let (reader, writer) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    if patient {
        let yielding = || {
            // SAFETY: it takes integers, changes the calling process only, and is one system call.
            unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
            Ok(())
        };
        // SAFETY: between fork and exec it makes one system call, and allocates nothing.
        unsafe { command.pre_exec(yielding) };
    }
    // With the command go the pipe's writing ends: otherwise the reader would wait for ourselves.
    Ok((command.spawn()?.id().cast_signed(), reader))
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
            let _ = ended.send(reap_one_of(&[pid]).ending);
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

/// Reaps every child that ends, until one of `pids` has, of which it tells.
fn reap_one_of(pids: &[i32]) -> Reaped {
    loop {
        let mut status = 0;
        // SAFETY: `rusage` is plain data, for which zeroes are a value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both are live, of the types that wait4 writes.
        let pid = unsafe { libc::wait4(-1, &raw mut status, 0, &raw mut usage) };
        if pids.contains(&pid) {
            let ending = match libc::WIFSIGNALED(status) {
                true => Ending::Signal(libc::WTERMSIG(status)),
                false => Ending::Code(libc::WEXITSTATUS(status)),
            };
            let of =
                |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
            let processor = of(usage.ru_utime) + of(usage.ru_stime);
            return Reaped { pid, ending, processor };
        }
        if pid == -1 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            // No child at all: somebody else reaped it, as `end_tree` may. Otherwise nothing here does, so it is said loudly.
            return Reaped { pid: pids[0], ending: Ending::Code(-1), processor: Duration::ZERO };
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

    use super::{
        Ending, Finished, Job, adopt_orphans, capture, descendants, parent_and_state, run,
        run_lanes,
    };

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
        fn job<'a>(command: Command, on_line: impl FnMut(&[u8]) + Send + 'a) -> Job<Show<'a>> {
            Job { command, on_line: Box::new(on_line), patient: false }
        }
        let lanes = vec![
            vec![job(meets("a", "b", 0), |line| one.extend_from_slice(line))],
            vec![job(Command::new("/no/such/program"), |_| {})],
            vec![job(meets("b", "a", 5), |line| two.extend_from_slice(line))],
        ];
        let finished = run_lanes(lanes, minute, |_, _| {});
        let endings = |finished: Vec<Vec<std::io::Result<Finished>>>| -> Vec<Vec<_>> {
            let ending = |it: std::io::Result<Finished>| it.ok().map(|it| it.ending);
            finished.into_iter().map(|lane| lane.into_iter().map(ending).collect()).collect()
        };
        let codes = [vec![Some(Ending::Code(0))], vec![None], vec![Some(Ending::Code(5))]];
        assert_eq!(endings(finished), codes);
        assert_eq!((one.as_slice(), two.as_slice()), (&b"a\n"[..], &b"b\n"[..]));
        std::fs::remove_dir_all(&folder).unwrap();

        // In a lane, one after the other, whatever became of it.
        let patient = |mut job: Job<Show<'static>>| {
            job.patient = true;
            job
        };
        let lane = vec![
            job(shell("exit 3"), |_| {}),
            job(Command::new("/no/such/program"), |_| {}),
            patient(job(shell("exit $(($(nice) == 10))"), |_| {})),
        ];
        let mut begun = Vec::new();
        let finished = run_lanes(vec![lane], minute, |lane, at| begun.push((lane, at)));
        assert_eq!(endings(finished), [[Some(Ending::Code(3)), None, Some(Ending::Code(1))]]);
        assert_eq!(begun, [(0, 0), (0, 1), (0, 2)]);

        // At the limit the one that has ended keeps its ending, and nothing else begins.
        let lanes = vec![
            vec![job(shell("exit 4"), |_| {})],
            vec![job(shell("sleep 1000"), |_| {}), job(shell("exit 5"), |_| {})],
            vec![job(shell("sleep 1000"), |_| {})],
        ];
        let finished = run_lanes(lanes, limit, |_, _| {});
        let killed = vec![Some(Ending::TimeLimit(limit))];
        assert_eq!(endings(finished), [vec![Some(Ending::Code(4))], killed.clone(), killed]);
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
