//! What `/proc` tells about this process, its threads and its descendants.
//!
//! Everything returns `None` or an empty list for what has ended in the meantime.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// One process or thread, as its `stat` file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: i32,
    /// The program's name, at most fifteen bytes.
    pub(crate) name: String,
    /// `R`, `S`, `D`, `Z`, …
    pub(crate) state: char,
    pub(crate) parent: i32,
    /// Clock ticks, own.
    own_ticks: u64,
    /// Clock ticks of the children that were waited for.
    child_ticks: u64,
    pub(crate) threads: u32,
    /// When it started; with the id it names a process for good.
    pub(crate) started: u64,
}

impl Stat {
    /// Processor time of the process and of its children that were waited for.
    pub(crate) fn cpu(&self) -> Duration {
        // SAFETY: asks for a constant.
        let hertz = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64;
        let ticks = self.own_ticks + self.child_ticks;
        Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / hertz))
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state == 'T'
    }

    pub(crate) fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// Reads the text of a `stat` file. The name stands in parentheses and may itself contain some.
fn parse_stat(text: &str) -> Option<Stat> {
    let (open, close) = (text.find('(')?, text.rfind(')')?);
    let pid = text[..open].trim().parse().ok()?;
    let name = text.get(open + 1..close)?.to_owned();
    // Field 3 of proc(5) is the first one here.
    let fields: Vec<&str> = text[close + 1..].split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        pid,
        name,
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        own_ticks: number(14)? + number(15)?,
        child_ticks: number(16)? + number(17)?,
        threads: number(20)? as u32,
        started: number(22)?,
    })
}

/// A process.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
}

/// A thread of this process.
pub(crate) fn thread(tid: u64) -> Option<Stat> {
    parse_stat(&String::from_utf8_lossy(&fs::read(format!("/proc/self/task/{tid}/stat")).ok()?))
}

/// The signals that a thread of this process blocks, the first in the lowest bit.
pub(crate) fn blocked_signals(tid: i32) -> Option<u64> {
    sets_of_signals(&format!("/proc/self/task/{tid}/status"), &["SigBlk:"])
}

/// The signals that are in any of these sets of a process, as its `status` file names them.
pub(crate) fn signals(pid: i32, sets: &[&str]) -> Option<u64> {
    sets_of_signals(&format!("/proc/{pid}/status"), sets)
}

fn sets_of_signals(file: &str, sets: &[&str]) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let read = |set: &&str| {
        let line = text.lines().find_map(|line| line.strip_prefix(set))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    sets.iter().map(read).try_fold(0, |all, set| Some(all | set?))
}

/// The threads of a process.
pub(crate) fn threads(pid: i32) -> Vec<i32> {
    numbers(&format!("/proc/{pid}/task")).into_iter().map(|tid| tid as i32).collect()
}

/// The number and the first argument of the system call that a thread of this process sleeps in.
pub(crate) fn system_call(tid: u64) -> Option<(i64, u64)> {
    let text = fs::read_to_string(format!("/proc/self/task/{tid}/syscall")).ok()?;
    let mut words = text.split_ascii_whitespace();
    let number = words.next()?.parse().ok()?;
    let first = u64::from_str_radix(words.next()?.trim_start_matches("0x"), 16).ok()?;
    Some((number, first))
}

/// Resident memory of a process in bytes.
pub(crate) fn resident(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    // SAFETY: asks for a constant.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
    Some(pages * page)
}

/// Resident memory in bytes, with each page divided by the number of processes that share it. Slow: the kernel walks
/// the page tables.
pub(crate) fn proportional(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find(|line| line.starts_with("Pss:"))?;
    let kib: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// All processes below `root`, its children first; with those that ended and were not yet waited for, or without.
pub(crate) fn descendants(root: i32, zombies: bool) -> Vec<Stat> {
    below(&[root], zombies)
}

/// All processes below several, without those themselves unless they are below another one.
pub(crate) fn below(roots: &[i32], zombies: bool) -> Vec<Stat> {
    let mut below: HashMap<i32, Vec<Stat>> = HashMap::new();
    for pid in numbers("/proc") {
        if let Some(stat) = stat(pid as i32) {
            below.entry(stat.parent).or_default().push(stat);
        }
    }
    let mut found: Vec<Stat> =
        roots.iter().filter_map(|root| below.remove(root)).flatten().collect();
    let mut at = 0;
    while at < found.len() {
        if let Some(children) = below.remove(&found[at].pid) {
            found.extend(children);
        }
        at += 1;
    }
    found.retain(|stat| zombies || !stat.is_zombie());
    found
}

/// Whether a process has a thread of this name.
pub(crate) fn has_thread(pid: i32, name: &str) -> bool {
    threads(pid).into_iter().any(|tid| {
        let comm = fs::read_to_string(format!("/proc/{pid}/task/{tid}/comm"));
        comm.is_ok_and(|comm| comm.trim_end() == name)
    })
}

/// The program that a process runs, as a path.
pub(crate) fn program(pid: i32) -> Option<std::path::PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

fn numbers(directory: &str) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_name_with_parentheses_and_blanks() {
        let text = "42 (a) b (c) S 7 42 42 0 -1 4194304 100 0 0 0 5 6 7 8 20 0 3 0 12345 1000 10 0";
        let stat = parse_stat(text).expect("is a stat line");
        assert_eq!(
            (stat.pid, stat.name.as_str(), stat.state, stat.parent),
            (42, "a) b (c", 'S', 7)
        );
        assert_eq!((stat.own_ticks, stat.child_ticks), (11, 15));
        assert_eq!((stat.threads, stat.started), (3, 12_345));
        assert_eq!(parse_stat("42 (cut"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn children_are_found_until_they_end() {
        let own = std::process::id() as i32;
        // A child with a child, whose id it tells.
        let mut child = Command::new("sh")
            .args(["-c", "sleep 1000 & echo $!; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let mut line = String::new();
        let mut output = std::io::BufReader::new(child.stdout.take().expect("piped"));
        std::io::BufRead::read_line(&mut output, &mut line).expect("reads");
        let pid = child.id() as i32;
        let grandchild: i32 = line.trim().parse().expect("a number");
        let found = descendants(own, false);
        assert!(found.iter().any(|s| s.pid == pid && s.name == "sh"), "{found:?}");
        assert!(found.iter().any(|s| s.parent == pid && s.pid == grandchild), "{found:?}");
        assert!(resident(pid).is_some_and(|bytes| bytes > 0));
        // SAFETY: the process is this test's.
        unsafe { libc::kill(grandchild, libc::SIGKILL) };
        child.kill().expect("is ours");
        // Ended but not waited for: no longer counted.
        while stat(pid).is_some_and(|s| !s.is_zombie()) {
            std::thread::yield_now();
        }
        assert!(!descendants(own, false).iter().any(|s| s.pid == pid));
        child.wait().expect("is ours");
    }

    #[test]
    fn this_process() {
        let own = std::process::id() as i32;
        let stat = stat(own).expect("lives");
        assert_eq!(stat.pid, own);
        assert!(threads(own).contains(&own) && !has_thread(own, "of nobody's"));
        assert_eq!(thread(own as u64).map(|t| t.started), Some(stat.started));
        assert!(resident(own).expect("lives") > 100_000);
        if let Some(bytes) = proportional(own) {
            assert!(bytes > 10_000);
        }
    }
}
