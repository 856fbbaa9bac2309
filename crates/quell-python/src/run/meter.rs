//! Measures what the script uses: processor time and memory, its own and its descendants'.
//!
//! The work is done by a thread of its own, because `/proc` must be opened and read for it: the thread has its own
//! table of file descriptors ([`libc::unshare`]), so that a number it uses for a moment is never missing from
//! the script's, which may rely on getting the lowest free one. It runs only when something is to be measured.
//!
//! Between two looks it sleeps as long as the limit cannot possibly be passed at full speed, within bounds.

use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::{Duration, Instant};

use super::limits::{Limits, Reached};
use super::session::Session;
use crate::procfs;

/// The latest figures; written by the meter, read by the monitor.
///
/// The figures are relaxed: each is taken for itself, and the bell that follows one beyond a limit
/// orders it before the monitor's look.
#[derive(Debug, Default)]
pub(super) struct Readings {
    cpu_nanos: AtomicU64,
    memory: AtomicU64,
    threads: AtomicU64,
    processes: AtomicU64,
    /// Whether there is one of each.
    complete: AtomicBool,
}

impl Readings {
    /// Whether everything has been measured once.
    pub(super) fn are_complete(&self) -> bool {
        self.complete.load(Acquire)
    }

    pub(super) fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu_nanos.load(Relaxed))
    }

    pub(super) fn memory(&self) -> u64 {
        self.memory.load(Relaxed)
    }

    /// Python's and native ones, without quell's own.
    pub(super) fn threads(&self) -> u64 {
        self.threads.load(Relaxed)
    }

    /// Descendants.
    pub(super) fn processes(&self) -> u64 {
        self.processes.load(Relaxed)
    }

    /// The limit that the figures are beyond.
    pub(super) fn reached(&self, limits: &Limits) -> Option<Reached> {
        let (cpu, memory) = (self.cpu(), self.memory());
        if let Some(limit) = limits.cpu.filter(|limit| cpu >= *limit) {
            return Some(Reached::Cpu { limit, used: cpu });
        }
        if let Some(limit) = limits.memory.filter(|limit| memory > *limit) {
            return Some(Reached::Memory { limit, used: memory });
        }
        None
    }
}

/// Whether a session needs the thread at all.
pub(super) fn is_needed(session: &Session) -> bool {
    let limits = &session.plan.limits;
    limits.cpu.is_some() || limits.memory.is_some() || session.plan.progress
}

const SHORTEST: Duration = Duration::from_millis(4);
const LONGEST: Duration = Duration::from_millis(200);
/// Faster than memory can be written page by page.
const BYTES_PER_SECOND: f64 = 8e9;

/// The body of the thread.
pub(super) fn body(session: &'static Session) {
    have_own_descriptors(false);
    let limits = &session.plan.limits;
    loop {
        let ticket = session.bell.ticket();
        if session.is_stopping() || session.is_claimed() {
            return;
        }
        measure(session);
        let readings = &session.readings;
        if session.fired().is_none() && readings.reached(limits).is_some() {
            session.bell.ring();
        }
        let pause = if session.fired().is_some() { LONGEST } else { pause(readings, limits) };
        let until = Instant::now() + pause;
        session.bell.wait(ticket, Some(until));
    }
}

/// What a process and its descendants use, seen from outside.
pub(super) fn of_tree(pid: i32, limits: &Limits) -> Readings {
    let below = procfs::descendants(pid, true);
    let root = procfs::stat(pid);
    let cpu: Duration = root.iter().chain(&below).map(procfs::Stat::cpu).sum();
    let readings = Readings::default();
    readings.cpu_nanos.store(cpu.as_nanos() as u64, Relaxed);
    readings.memory.store(memory(pid, &below, limits), Relaxed);
    readings
}

/// How long a limit can certainly not be passed, at full speed.
pub(super) fn pause(readings: &Readings, limits: &Limits) -> Duration {
    // SAFETY: asks for a constant.
    let processors = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }.max(1) as u32;
    let mut pause = LONGEST;
    if let Some(limit) = limits.cpu {
        pause = pause.min(limit.saturating_sub(readings.cpu()) / processors);
    }
    if let Some(limit) = limits.memory {
        let left = limit.saturating_sub(readings.memory()) as f64;
        pause = pause.min(Duration::from_secs_f64(left / BYTES_PER_SECOND));
    }
    pause.max(SHORTEST)
}

fn memory(pid: i32, below: &[procfs::Stat], limits: &Limits) -> u64 {
    let each = |of: fn(i32) -> Option<u64>| {
        let pids = std::iter::once(pid).chain(below.iter().map(|stat| stat.pid));
        pids.filter_map(of).sum::<u64>()
    };
    let memory = each(procfs::resident);
    if !below.is_empty() && limits.memory.is_some_and(|limit| memory > limit) {
        // Forks share pages, which the plain sum counts once for each: look closer before saying so.
        return match each(procfs::proportional) {
            0 => memory,
            shared_once => shared_once.min(memory),
        };
    }
    memory
}

fn measure(session: &Session) {
    let readings = &session.readings;
    let limits = &session.plan.limits;
    let below = if has_children() { procfs::descendants(session.pid, true) } else { Vec::new() };
    let cpu = own_cpu() + children_cpu() + below.iter().map(procfs::Stat::cpu).sum::<Duration>();
    let memory = memory(session.pid, &below, limits);
    // A Duration of processor time fits 584 years into the figure.
    readings.cpu_nanos.store(cpu.as_nanos() as u64, Relaxed);
    readings.memory.store(memory, Relaxed);
    if session.plan.progress {
        let all = || procfs::stat(session.pid).map_or(0, |stat| stat.threads);
        readings.threads.store(u64::from(session.crew.others(all)), Relaxed);
        let live = below.iter().filter(|stat| !stat.is_zombie()).count();
        readings.processes.store(live as u64, Relaxed);
    }
    // The others come before it.
    readings.complete.store(true, Release);
}

/// Gives the calling thread a table of file descriptors of its own, and empties it but for standard error, if
/// that is to be kept.
pub(super) fn have_own_descriptors(keep_stderr: bool) {
    // SAFETY: changes only which table the calling thread uses; it holds no descriptor. When the
    // system refuses, the table stays shared and must not be emptied.
    unsafe {
        if libc::unshare(libc::CLONE_FILES) != 0 {
            return;
        }
        if keep_stderr {
            libc::syscall(libc::SYS_close_range, 0, libc::STDERR_FILENO - 1, 0);
            libc::syscall(libc::SYS_close_range, libc::STDERR_FILENO + 1, u32::MAX, 0);
        } else {
            libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0);
        }
    }
}

/// Processor time of this process, all threads.
fn own_cpu() -> Duration {
    // SAFETY: fills a structure on this stack.
    unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}

/// Processor time of the children that were waited for.
fn children_cpu() -> Duration {
    // SAFETY: fills a structure on this stack.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    [usage.ru_utime, usage.ru_stime]
        .iter()
        .map(|time| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1_000))
        .sum()
}

/// Whether the process has any child, without looking through `/proc` and without waiting for it.
pub(super) fn has_children() -> bool {
    // SAFETY: fills a structure on this stack; WNOWAIT leaves every child as it is.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
        libc::waitid(libc::P_ALL, 0, &raw mut info, options) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(cpu: Duration, memory: u64) -> Readings {
        let readings = Readings::default();
        readings.cpu_nanos.store(cpu.as_nanos() as u64, Relaxed);
        readings.memory.store(memory, Relaxed);
        readings
    }

    #[test]
    fn a_limit_is_reached_when_the_figure_is_there() {
        let second = Duration::from_secs(1);
        let none = Limits::default();
        let cpu = Limits { cpu: Some(second), ..none };
        let memory = Limits { memory: Some(1_000), ..none };
        let busy = readings(second * 2, 2_000);
        assert_eq!(busy.reached(&none), None);
        assert_eq!(busy.reached(&cpu), Some(Reached::Cpu { limit: second, used: second * 2 }));
        assert_eq!(busy.reached(&memory), Some(Reached::Memory { limit: 1_000, used: 2_000 }));
        let idle = readings(second / 2, 1_000);
        assert_eq!(idle.reached(&cpu), None);
        assert_eq!(idle.reached(&memory), None);
    }

    #[test]
    fn own_time_passes_only_when_used() {
        let before = own_cpu();
        let mut n = 0_u64;
        while own_cpu() - before < Duration::from_millis(2) {
            n = std::hint::black_box(n.wrapping_mul(3) + 1);
        }
        assert!(own_cpu() > before, "{n}");
    }
}
