//! The limits of a run, and the moment one of them is reached.

use std::fmt;
use std::time::Duration;

use super::units::{show_duration, show_size};

/// What the user allowed; nothing set means no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits {
    /// Time on the clock since the command started.
    pub time: Option<Duration>,
    /// Processor time of the process and of its children.
    pub cpu: Option<Duration>,
    /// Resident memory of the process and of its children, in bytes.
    pub memory: Option<u64>,
}

/// Which of the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Time on the clock.
    Time,
    /// Processor time.
    Cpu,
    /// Resident memory.
    Memory,
}

impl Kind {
    /// The word in messages and in the JSON report.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::Time => "time",
            Kind::Cpu => "cpu",
            Kind::Memory => "memory",
        }
    }

    /// The name of the exception of `quell` that says it.
    #[must_use]
    pub fn exception(self) -> &'static str {
        match self {
            Kind::Time => "TimeLimit",
            Kind::Cpu => "CpuLimit",
            Kind::Memory => "MemoryLimit",
        }
    }
}

/// A limit that was reached, with what had been used when that was seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reached {
    /// The clock.
    Time {
        /// What was allowed.
        limit: Duration,
        /// What had passed.
        used: Duration,
    },
    /// The processor.
    Cpu {
        /// What was allowed.
        limit: Duration,
        /// What had been used.
        used: Duration,
    },
    /// Memory, in bytes.
    Memory {
        /// What was allowed.
        limit: u64,
        /// What was resident.
        used: u64,
    },
}

impl Reached {
    /// Which limit it was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Reached::Time { .. } => Kind::Time,
            Reached::Cpu { .. } => Kind::Cpu,
            Reached::Memory { .. } => Kind::Memory,
        }
    }
}

/// `time limit of 2s reached after 2.000s`: the message of the exception and the first line of the report.
impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Reached::Time { limit, used } => write!(
                f,
                "time limit of {} reached after {:.3}s",
                show_duration(limit),
                used.as_secs_f64()
            ),
            Reached::Cpu { limit, used } => write!(
                f,
                "cpu limit of {} reached: {:.3}s used",
                show_duration(limit),
                used.as_secs_f64()
            ),
            Reached::Memory { limit, used } => write!(
                f,
                "memory limit of {} reached: {} in use",
                show_size(limit),
                show_size(used)
            ),
        }
    }
}
