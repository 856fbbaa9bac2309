//! Ends the processes below this one.
//!
//! From the moment a limit is reached this process adopts the orphans among its descendants (`PR_SET_CHILD_SUBREAPER`),
//! so that none is lost when its parent is ended first. Not before: a script would see children that it never
//! made. A process that had left for init by then, as a daemon does, is no longer the script's.

use std::collections::HashSet;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::facts::ChildFacts;
use super::meter::has_children;
use super::process::Handle;
use crate::procfs;

/// The process one of whose threads changes who adopts orphans, or waits for one that is not to be adopted; 0: none does.
/// A fork of it does not have that thread.
static CHANGING: AtomicI32 = AtomicI32::new(0);

/// One thread at a time.
struct Turn;

impl Turn {
    fn take() -> Self {
        let own = std::process::id() as i32;
        loop {
            let now = CHANGING.load(SeqCst);
            if now == own {
                std::thread::sleep(Duration::from_micros(200));
            } else if CHANGING.compare_exchange(now, own, SeqCst, SeqCst).is_ok() {
                return Self;
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        CHANGING.store(0, SeqCst);
    }
}

/// From now on orphaned descendants become children of this process.
pub(super) fn adopt_orphans() {
    let _turn = Turn::take();
    set_adopts(true);
}

fn set_adopts(adopts: bool) {
    // SAFETY: sets an attribute of this process.
    unsafe {
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, libc::c_ulong::from(adopts), 0, 0, 0);
    }
}

/// Until dropped this process adopts nobody, and whoever wants it to waits.
pub(super) struct NoOrphans {
    adopts: bool,
    _turn: Turn,
}

impl NoOrphans {
    pub(super) fn begin() -> Self {
        let turn = Turn::take();
        let mut adopts: libc::c_int = 0;
        // SAFETY: asks for an attribute of this process.
        unsafe { libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut adopts) };
        if adopts != 0 {
            set_adopts(false);
        }
        Self { adopts: adopts != 0, _turn: turn }
    }
}

impl Drop for NoOrphans {
    fn drop(&mut self) {
        if self.adopts {
            set_adopts(true);
        }
    }
}

/// How long killed processes may take to be gone. The kernel ends them without their help.
const GONE: Duration = Duration::from_millis(200);

/// Ends all descendants: asks first (SIGTERM), the others at once and those that run the same program, and so may be
/// unwinding as this one does, at `half`; kills what is left at `end`. Returns what it found.
pub(super) fn end_all(pid: i32, half: Instant, end: Instant) -> Vec<ChildFacts> {
    let mut found: Vec<ChildFacts> = Vec::new();
    let mut asked = HashSet::new();
    let own_program = procfs::program(pid);
    let is_own = pid == std::process::id() as i32;
    while !is_own || has_children() {
        let mut below = procfs::descendants(pid, false);
        below.retain(|stat| !is_resource_tracker(stat.pid));
        if below.is_empty() {
            break;
        }
        let now = Instant::now();
        if now >= end + GONE {
            break;
        }
        let mut handles = Vec::new();
        for stat in &below {
            let Some(handle) = Handle::open(stat) else { continue };
            let at = found.iter().position(|c| c.pid == stat.pid).unwrap_or_else(|| {
                found.push(ChildFacts {
                    pid: stat.pid,
                    name: stat.name.clone(),
                    ..ChildFacts::default()
                });
                found.len() - 1
            });
            if now >= end {
                found[at].killed = true;
                let _ = handle.signal(libc::SIGKILL);
            } else if (now >= half || procfs::program(stat.pid) != own_program)
                && asked.insert(stat.pid)
            {
                found[at].asked = true;
                let _ = handle.signal(libc::SIGTERM);
            }
            handles.push(handle);
        }
        let next = if now < half { half } else { end };
        let pause = next.saturating_duration_since(now).clamp(Duration::from_millis(2), GONE);
        let fds = handles.iter().map(AsRawFd::as_raw_fd);
        Handle::wait_for_any(fds, pause.min(Duration::from_millis(20)));
    }
    if is_own {
        reap();
    }
    found
}

/// Takes leave of the children that have ended: where the first process of a container does not, they would stay as
/// zombies for ever. The script has ended and waits for none of them any more.
fn reap() {
    // SAFETY: asks for no status; stops when there is none that has ended.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG | libc::__WALL) } > 0 {}
}

/// The process that `multiprocessing` keeps for cleaning up behind a process that was killed. It ignores polite signals, and ends
/// when this process has ended, after it has done its work.
pub(super) fn is_resource_tracker(pid: i32) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|b| *b == 0)
        .any(|word| word.starts_with(b"from multiprocessing.resource_tracker import main"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufRead;
    use std::process::{Command, Stdio};

    #[test]
    fn asked_first_then_killed_grandchildren_too() {
        // A shell with three below it: one that ends when asked to, one that does not, and that one's child.
        let mut root = Command::new("sh")
            .args([
                "-c",
                "sleep 1000 & (trap '' TERM; sleep 1001 & echo ready; while :; do wait; done) & wait",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let mut line = String::new();
        std::io::BufReader::new(root.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("reads");
        let pid = root.id() as i32;
        // Each is a copy of the shell until it has become what it is to run.
        let sleeps =
            || procfs::descendants(pid, false).iter().filter(|s| s.name == "sleep").count();
        while sleeps() < 2 {
            std::thread::yield_now();
        }
        let now = Instant::now();
        let found = end_all(pid, now, now + Duration::from_millis(100));
        assert!(found.iter().any(|c| c.name == "sleep" && c.asked && !c.killed), "{found:?}");
        assert!(found.iter().any(|c| c.name == "sh" && c.killed), "{found:?}");
        assert!(procfs::descendants(pid, false).is_empty());
        root.kill().expect("is ours");
        root.wait().expect("is ours");
    }
}
