//! What a pool has done so far: counters to read, of no part in any protocol.

use super::error::Why;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The counters. Relaxed throughout: each is true by itself.
#[derive(Default)]
pub(super) struct Counters {
    submitted: AtomicU64,
    returned: AtomicU64,
    panicked: AtomicU64,
    interrupted: AtomicU64,
    cancelled: AtomicU64,
    expired: AtomicU64,
    dropped: AtomicU64,
}

impl Counters {
    pub(super) fn submitted(&self) {
        self.submitted.fetch_add(1, Relaxed);
    }

    /// It was not, after all.
    pub(super) fn taken_back(&self) {
        self.submitted.fetch_sub(1, Relaxed);
    }

    pub(super) fn ran(&self, panicked: bool, interrupted: bool) {
        let ended = if panicked { &self.panicked } else { &self.returned };
        ended.fetch_add(1, Relaxed);
        if interrupted {
            self.interrupted.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn abandoned(&self, why: Why) {
        let counter = match why {
            Why::Cancelled => &self.cancelled,
            Why::Limit(_) | Why::Deadline => &self.expired,
            Why::ShutDown => &self.dropped,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn read(
        &self,
        (workers, spares): (usize, usize),
        running: usize,
        queued: usize,
    ) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        Stats {
            workers,
            spares,
            running,
            queued,
            submitted: read(&self.submitted),
            returned: read(&self.returned),
            panicked: read(&self.panicked),
            interrupted: read(&self.interrupted),
            cancelled: read(&self.cancelled),
            expired: read(&self.expired),
            dropped: read(&self.dropped),
        }
    }
}

/// What a pool does and has done. Each number is true, but they are not of one moment while the pool is at work. Once it is
/// idle, `submitted` is the sum of `returned`, `panicked`, `cancelled`, `expired` and `dropped`.
///
/// ```
/// use quell::pool::Pool;
///
/// let pool = Pool::new(2);
/// for i in 0..10 {
///     pool.submit(move || i * i).unwrap();
/// }
/// pool.wait_idle().unwrap();
/// let stats = pool.stats();
/// assert_eq!((stats.submitted, stats.returned, stats.queued), (10, 10, 0));
/// println!("{stats}");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Threads.
    pub workers: usize,
    /// More threads, in the place of workers that wait for tasks.
    pub spares: usize,
    /// Threads that run a task now, or wait in one.
    pub running: usize,
    /// Entries in the backlog now; cancelled ones stay there until a worker comes to them.
    pub queued: usize,
    /// Tasks that were accepted.
    pub submitted: u64,
    /// Tasks that returned.
    pub returned: u64,
    /// Tasks that panicked.
    pub panicked: u64,
    /// Tasks that returned or panicked after an interrupt meant for them was delivered.
    pub interrupted: u64,
    /// Tasks that were cancelled before they ran.
    pub cancelled: u64,
    /// Tasks whose deadline passed before they ran.
    pub expired: u64,
    /// Tasks that were in the backlog when the pool was shut down at once.
    pub dropped: u64,
}

impl Stats {
    /// How many tasks have ended, in whatever way.
    pub fn finished(&self) -> u64 {
        self.returned + self.panicked + self.cancelled + self.expired + self.dropped
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} tasks done, {} running on {} workers, {} queued; {} panicked, {} interrupted, {} cancelled, \
             {} expired, {} dropped",
            self.finished(),
            self.submitted,
            self.running,
            self.workers,
            self.queued,
            self.panicked,
            self.interrupted,
            self.cancelled,
            self.expired,
            self.dropped,
        )
    }
}
