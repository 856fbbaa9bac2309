//! Deadlines: one thread, one heap. The thread is started on first use, and sleeps until the earliest deadline.
//!
//! An armed deadline is an entry in the heap and its function, shared with its [`Timer`]. Who claims the function
//! decides: the monitor runs it, or a cancellation drops it. A cancelled entry stays in the heap without its
//! function; when more than half of the heap is such, they are swept out, so that arming and cancelling cost a
//! logarithm of what is armed.
//!
//! No deadline is missed: an entry is pushed under the heap's lock; if it is the earliest now, the monitor is
//! unparked after that, and looks at the heap again before every sleep.

use crate::park::{Parker, Short};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

mod armed;

use armed::Armed;

/// Runs `f` on the monitor's thread at `deadline`, or as soon after as it gets to run; at once if that has passed.
///
/// `f` must be short and must not block: every other deadline waits for it. Typically it sends an interrupt. A panic in
/// it is reported as any panic is, and does not stop the monitor.
///
/// ```
/// use quell::{Interrupt, monitor};
/// use std::time::{Duration, Instant};
///
/// let me = quell::current();
/// let timer = monitor::at(Instant::now() + Duration::from_millis(5), move || {
///     me.interrupt(Interrupt::new("time is up"));
/// });
/// assert!(quell::sleep(Duration::from_secs(3600)).is_err());
/// assert!(!timer.cancel()); // it has run
/// ```
///
/// # Panics
/// If the monitor's thread is needed and the system cannot start it.
pub fn at(deadline: Instant, f: impl FnOnce() + Send + 'static) -> Timer {
    let armed = Arc::new(Armed::new(Box::new(f)));
    let mut heap = MONITOR.heap.lock();
    heap.count += 1;
    let entry = Entry { deadline, number: heap.count, armed: Arc::clone(&armed) };
    let earliest = heap.entries.peek().is_none_or(|first| entry < first.0);
    heap.entries.push(Reverse(entry));
    let start = !std::mem::replace(&mut heap.running, true);
    drop(heap);
    if start {
        MONITOR.start();
    } else if earliest {
        MONITOR.parker.unpark();
    }
    Timer { armed }
}

/// An armed deadline. Dropping it does **not** cancel: the function runs as it would have. Keep it to be able to
/// [`cancel`](Timer::cancel).
pub struct Timer {
    armed: Arc<Armed>,
}

impl Timer {
    /// Cancels. True: the function has not run and never will; it was dropped. False: it has run, runs now, or was
    /// cancelled before.
    pub fn cancel(&self) -> bool {
        let Some(function) = self.armed.claim() else { return false };
        let swept = MONITOR.cancelled();
        // Users' drop handlers, outside the lock.
        drop((function, swept));
        true
    }

    /// Whether the function has neither begun to run nor been cancelled.
    pub fn is_armed(&self) -> bool {
        self.armed.is_armed()
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("armed", &self.is_armed()).finish()
    }
}

/// The monitor.
struct Monitor {
    heap: Short<Heap>,
    parker: Parker,
}

struct Heap {
    entries: BinaryHeap<Reverse<Entry>>,
    /// How many were ever armed: numbers the entries, so that equal deadlines keep their order.
    count: u64,
    /// How many of the entries are known to be cancelled.
    cancelled: usize,
    /// The thread has been started.
    running: bool,
}

struct Entry {
    deadline: Instant,
    number: u64,
    armed: Arc<Armed>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.number == other.number
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> std::cmp::Ordering {
        (self.deadline, self.number).cmp(&(other.deadline, other.number))
    }
}

static MONITOR: Monitor = Monitor {
    heap: Short::new(Heap { entries: BinaryHeap::new(), count: 0, cancelled: 0, running: false }),
    parker: Parker::new(),
};

/// Not worth sweeping below this.
const SWEEP_FROM: usize = 64;

impl Monitor {
    fn start(&'static self) {
        std::thread::Builder::new()
            .name("quell-monitor".to_owned())
            .spawn(|| self.run())
            .expect("the system could not start the monitor's thread");
    }

    /// The monitor's thread: for ever.
    fn run(&self) {
        loop {
            let mut heap = self.heap.lock();
            let next = heap.entries.peek().map(|first| first.0.deadline);
            let due = next.is_some_and(|deadline| deadline <= Instant::now());
            let entry = if due { heap.entries.pop() } else { None };
            // Only an entry that was cancelled has been claimed; its cancellation is or will be counted.
            let function = entry.as_ref().and_then(|entry| entry.0.armed.claim());
            if due && function.is_none() {
                heap.cancelled = heap.cancelled.saturating_sub(1);
            }
            drop(heap);
            match function {
                Some(function) => {
                    // The panic hook has reported it.
                    let _ = catch_unwind(AssertUnwindSafe(function));
                }
                None if due => {}
                None => {
                    self.parker.park(next);
                }
            }
        }
    }

    /// Counts a cancelled entry; sweeps if they are the most. What was swept is given back, to be dropped outside
    /// the lock.
    fn cancelled(&self) -> Vec<Reverse<Entry>> {
        let mut heap = self.heap.lock();
        heap.cancelled += 1;
        if heap.cancelled < SWEEP_FROM || heap.cancelled * 2 < heap.entries.len() {
            return Vec::new();
        }
        heap.cancelled = 0;
        let (keep, swept) = std::mem::take(&mut heap.entries)
            .into_vec()
            .into_iter()
            .partition(|entry| entry.0.armed.is_armed());
        heap.entries = BinaryHeap::from(keep);
        swept
    }
}

/// Before fork.
pub(crate) fn hold() {
    MONITOR.heap.raw().lock();
}

/// After fork, in both processes.
pub(crate) fn release() {
    MONITOR.heap.raw().unlock();
}

/// In the child: the thread is gone; the next [`at`] starts another.
pub(crate) fn forget_thread() {
    MONITOR.heap.lock().running = false;
}

/// In the child, when it is safe to start threads: starts it again if something is armed.
pub(crate) fn after_fork() {
    let mut heap = MONITOR.heap.lock();
    let start = !heap.entries.is_empty() && !std::mem::replace(&mut heap.running, true);
    drop(heap);
    if start {
        MONITOR.start();
    }
}
