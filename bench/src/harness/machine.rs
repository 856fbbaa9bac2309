//! The machine: what it is, which processor a thread runs on, how a thread's time is read, whether it sleeps.

use serde::{Deserialize, Serialize};
use std::fs;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

/// Where something was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) virtual_machine: bool,
    pub(crate) kernel: String,
    /// The niceness it was measured with.
    pub(crate) niceness: i32,
    pub(crate) compiler: String,
}

/// This machine.
pub(crate) fn describe() -> Machine {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        info.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.trim() == name)
            .map(|(_, value)| value.trim().to_owned())
    };
    let told = Command::new("rustc").arg("-V").output().map(|output| output.stdout);
    Machine {
        processor: field("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        processors: processors().len(),
        virtual_machine: field("flags").is_some_and(|flags| flags.contains(" hypervisor")),
        kernel: read_line("/proc/sys/kernel/osrelease"),
        niceness: niceness(),
        compiler: told.map_or_else(
            |_| "unknown".to_owned(),
            |told| String::from_utf8_lossy(&told).trim().to_owned(),
        ),
    }
}

/// Has the system prefer this process to all others, as far as it lets us.
pub(crate) fn prefer() {
    for nice in [-20, -10, -5] {
        // SAFETY: takes numbers only.
        if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) } == 0 {
            return;
        }
    }
}

fn niceness() -> i32 {
    // SAFETY: takes numbers only.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// The load of the last minute.
pub(crate) fn load() -> f64 {
    let text = read_line("/proc/loadavg");
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(f64::NAN)
}

fn read_line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// Today, in UTC, as `2026-01-31`.
pub(crate) fn today() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    date((since.as_secs() / 86_400).cast_signed())
}

/// The date so many days after 1970-01-01. (Howard Hinnant's `civil_from_days`.)
fn date(days: i64) -> String {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The processors that this process may run on, as it was started.
fn processors() -> &'static [usize] {
    static ALL: OnceLock<Vec<usize>> = OnceLock::new();
    ALL.get_or_init(|| {
        // SAFETY: an empty set is all zeros, and the kernel fills in as much as we say there is.
        let set = unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set);
            set
        };
        let most = 8 * size_of::<libc::cpu_set_t>();
        // SAFETY: the index is within the set.
        let found: Vec<usize> =
            (0..most).filter(|&i| unsafe { libc::CPU_ISSET(i, &set) }).collect();
        if found.is_empty() { vec![0] } else { found }
    })
}

/// Keeps the current thread on one of the processors, counted from 0, around the end.
pub(crate) fn pin(at: usize) {
    let all = processors();
    run_on(&[all[at % all.len()]]);
}

/// Lets the current thread run anywhere.
pub(crate) fn unpin() {
    run_on(processors());
}

fn run_on(wanted: &[usize]) {
    // SAFETY: an empty set is all zeros, the indices come from the kernel, and the kernel only reads the set.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        wanted.iter().for_each(|&i| libc::CPU_SET(i, &mut set));
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

/// The processor time of the current thread.
pub(crate) fn thread_time() -> Duration {
    let mut at = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `at` is a valid place for a timespec. The clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut at) };
    Duration::new(at.tv_sec.cast_unsigned(), u32::try_from(at.tv_nsec).unwrap_or(0))
}

/// The system's number of the current thread.
pub(crate) fn thread_number() -> i32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::gettid() }
}

/// Waits until that thread sleeps in the kernel.
pub(crate) fn until_asleep(thread: i32) {
    let path = format!("/proc/self/task/{thread}/stat");
    loop {
        let stat = fs::read_to_string(&path).unwrap_or_default();
        if stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('S')) {
            return;
        }
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn days_become_dates() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(11_016), "2000-02-29");
        assert_eq!(date(20_454), "2026-01-01");
    }
}
