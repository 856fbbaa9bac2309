//! What the watchdog has to know, as words of its command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::super::args::{ArgsError, Plan, ReportForm, Target};
use super::super::limits::{Kind, Limits, Reached};
use super::super::session::Session;

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Orders {
    /// The process to watch.
    pub(super) pid: i32,
    /// Whether it is a fork that the script made: its end is reported by nobody.
    pub(super) is_fork: bool,
    /// From when the time counts, on the monotonic clock.
    pub(super) started: Duration,
    /// The limits, the grace, and how to report; nothing to run.
    pub(super) plan: Plan,
}

/// A limit that the script has reached, and when the process ends at the latest, on the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Passed {
    pub(super) reached: Reached,
    pub(super) end: Duration,
}

/// The monotonic clock, which all processes share.
pub(super) fn monotonic() -> Duration {
    // SAFETY: fills a structure on this stack.
    unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}

/// A moment of this process as a time on the monotonic clock.
pub(super) fn on_the_clock(moment: Instant) -> Duration {
    let now = Instant::now();
    match moment.checked_duration_since(now) {
        Some(ahead) => monotonic() + ahead,
        None => monotonic().saturating_sub(now - moment),
    }
}

impl Orders {
    pub(super) fn of(session: &Session) -> Self {
        Self {
            pid: session.pid,
            is_fork: session.is_fork,
            started: on_the_clock(session.started),
            plan: Plan {
                exception: None,
                progress: false,
                patch: false,
                target: Target::Stdin,
                args: Vec::new(),
                ..session.plan.clone()
            },
        }
    }

    /// The words after `watchdog`.
    pub(super) fn to_words(&self) -> Vec<OsString> {
        let plan = &self.plan;
        let limits = &plan.limits;
        let or_none = |n: Option<u64>| n.map_or_else(|| "none".to_owned(), |n| n.to_string());
        let mut words: Vec<OsString> = [
            self.pid.to_string(),
            u8::from(self.is_fork).to_string(),
            nanos(self.started).to_string(),
            or_none(limits.time.map(nanos)),
            or_none(limits.cpu.map(nanos)),
            or_none(limits.memory),
            nanos(plan.grace).to_string(),
            u8::from(plan.quiet).to_string(),
            match plan.report {
                ReportForm::Human => "human".to_owned(),
                ReportForm::Json => "json".to_owned(),
            },
        ]
        .map(OsString::from)
        .into();
        words.extend(plan.report_file.clone().map(PathBuf::into_os_string));
        words
    }

    /// Reads what [`to_words`](Self::to_words) wrote.
    ///
    /// # Errors
    /// When it did not write that.
    pub(in super::super) fn from_words(
        words: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, ArgsError> {
        Self::read(&mut words.into_iter()).ok_or_else(|| {
            ArgsError::new(
                "watchdog is not for you: quell starts it for a script that replaces itself",
            )
        })
    }

    fn read(words: &mut impl Iterator<Item = OsString>) -> Option<Self> {
        let mut next = || words.next()?.into_string().ok();
        let pid = next()?.parse().ok()?;
        let is_fork = flag(&next()?)?;
        let started = Duration::from_nanos(next()?.parse().ok()?);
        let time = number_or_none(&next()?)?.map(Duration::from_nanos);
        let cpu = number_or_none(&next()?)?.map(Duration::from_nanos);
        let memory = number_or_none(&next()?)?;
        let grace = Duration::from_nanos(next()?.parse().ok()?);
        let quiet = flag(&next()?)?;
        let report = match next()?.as_str() {
            "human" => ReportForm::Human,
            "json" => ReportForm::Json,
            _ => return None,
        };
        let plan = Plan {
            limits: Limits { time, cpu, memory },
            grace,
            exception: None,
            report,
            report_file: words.next().map(PathBuf::from),
            quiet,
            progress: false,
            patch: false,
            target: Target::Stdin,
            args: Vec::new(),
        };
        Some(Self { pid, is_fork, started, plan })
    }
}

impl Passed {
    /// As a part of a message.
    pub(super) fn to_text(self) -> String {
        let (limit, used) = match self.reached {
            Reached::Time { limit, used } | Reached::Cpu { limit, used } => {
                (nanos(limit), nanos(used))
            }
            Reached::Memory { limit, used } => (limit, used),
        };
        format!("{} {limit} {used} {}", self.reached.kind().word(), nanos(self.end))
    }

    pub(super) fn from_text(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let kind = words.next()?;
        let mut number = || words.next()?.parse::<u64>().ok();
        let (limit, used, end) = (number()?, number()?, number()?);
        let time = Duration::from_nanos;
        let reached = match kind {
            _ if kind == Kind::Time.word() => {
                Reached::Time { limit: time(limit), used: time(used) }
            }
            _ if kind == Kind::Cpu.word() => Reached::Cpu { limit: time(limit), used: time(used) },
            _ if kind == Kind::Memory.word() => Reached::Memory { limit, used },
            _ => return None,
        };
        Some(Self { reached, end: time(end) })
    }
}

/// Durations of a command are a hundred years at most, which fits.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn flag(word: &str) -> Option<bool> {
    match word {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

fn number_or_none(word: &str) -> Option<Option<u64>> {
    match word {
        "none" => Some(None),
        number => number.parse().ok().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders() -> Orders {
        Orders {
            pid: 42,
            is_fork: false,
            started: Duration::from_nanos(1_234_567_890_123),
            plan: Plan {
                limits: Limits {
                    time: Some(Duration::from_millis(1500)),
                    cpu: None,
                    memory: Some(512 << 20),
                },
                grace: Duration::from_secs(1),
                exception: None,
                report: ReportForm::Json,
                report_file: Some(PathBuf::from("/a b/r.json")),
                quiet: true,
                progress: false,
                patch: false,
                target: Target::Stdin,
                args: Vec::new(),
            },
        }
    }

    #[test]
    fn orders_arrive_as_they_were_given() {
        let with_file = orders();
        assert_eq!(Orders::from_words(with_file.to_words()).as_ref(), Ok(&with_file));
        let mut without = orders();
        without.plan.report_file = None;
        without.plan.limits.cpu = Some(Duration::from_nanos(1));
        assert_eq!(Orders::from_words(without.to_words()).as_ref(), Ok(&without));
        assert!(Orders::from_words(["1".into()]).is_err());
    }

    #[test]
    fn a_limit_arrives_as_it_was_reached() {
        let end = Duration::from_nanos(77);
        let second = Duration::from_secs(1);
        for reached in [
            Reached::Time { limit: second, used: second * 2 },
            Reached::Cpu { limit: second, used: second * 3 },
            Reached::Memory { limit: 5, used: 6 },
        ] {
            let passed = Passed { reached, end };
            assert_eq!(Passed::from_text(&passed.to_text()), Some(passed));
        }
        assert_eq!(Passed::from_text("time 1"), None);
    }

    #[test]
    fn moments_before_and_after_now() {
        let now = Instant::now();
        // The clock begins when the machine starts, which may be a minute ago.
        let (ago, ahead) = (monotonic() / 2, Duration::from_secs(3600));
        let apart = on_the_clock(now + ahead) - on_the_clock(now - ago);
        assert!(apart >= ahead + ago - Duration::from_secs(60), "{apart:?} {ago:?}");
        assert!(apart <= ahead + ago + Duration::from_secs(60), "{apart:?} {ago:?}");
    }

    #[test]
    fn a_moment_before_the_clock_began_is_its_beginning() {
        let long_ago = monotonic() + Duration::from_secs(3600);
        assert_eq!(on_the_clock(Instant::now() - long_ago), Duration::ZERO);
    }
}
