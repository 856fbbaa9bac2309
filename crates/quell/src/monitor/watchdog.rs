//! Watchdogs: a thread that gives no sign of life for too long is interrupted, or somebody is told.

use super::deadline::{self, Timer, instant_after};
use super::limit::{Armed, Limit, LimitError, Limited, limited_scope};
use crate::interrupt::{Interrupted, Left};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A sign of life is expected at least every so often. Yet to be started: [`enter`](Watchdog::enter) watches the current
/// thread and interrupts it, [`watch`](Watchdog::watch) tells a function.
///
/// ```
/// use quell::{Watchdog, sleep};
/// use std::time::Duration;
///
/// let watched = Watchdog::every(Duration::from_millis(20)).named("importer").enter();
/// let result = (|| {
///     for _ in 0..3 {
///         watched.beat();
///         quell::checkpoint()?;
///     }
///     sleep(Duration::from_secs(3600)) // and now it hangs
/// })();
/// let error = watched.finish(result).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "the limit of 20ms without a sign of life of \"importer\" was reached"
/// );
/// ```
#[derive(Clone, Debug)]
pub struct Watchdog {
    period: Duration,
    name: Option<Cow<'static, str>>,
}

impl Watchdog {
    /// Expects a sign of life at least once in each `period`.
    pub fn every(period: Duration) -> Watchdog {
        Watchdog { period, name: None }
    }

    /// Names what is watched. Errors show it.
    #[must_use]
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Watchdog {
        Watchdog { name: Some(name.into()), ..self }
    }

    /// Watches the current thread: each time it was silent for a whole period, it is interrupted, until it beats again or
    /// leaves the scope. Starting counts as a sign of life.
    pub fn enter(self) -> WatchedScope {
        let mut limited = Limited::enter(Limit::Silence(self.period), self.name);
        let bound = Arc::clone(&limited.bound);
        let heart = Heart::new();
        let timer = heart.clone().listen(self.period, move |_| {
            bound.fire();
            !bound.is_over()
        });
        limited.armed = Armed(Some(timer));
        WatchedScope { limited, heart }
    }

    /// Tells `on_silence` each time nobody has beaten for a whole period; the watch ends when that answers false, or is
    /// dropped. `on_silence` runs on the monitor's thread, and must be short and not block.
    ///
    /// Nothing is interrupted unless `on_silence` does it. Any thread may beat, through [`Watch::heart`].
    ///
    /// ```
    /// use quell::{Watchdog, thread};
    /// use std::time::Duration;
    ///
    /// let me = quell::current();
    /// let watch = Watchdog::every(Duration::from_millis(5)).watch(move |silence| {
    ///     assert!(silence.lasted() >= Duration::from_millis(5));
    ///     me.unpark();
    ///     false
    /// });
    /// thread::park().unwrap();
    /// ```
    pub fn watch(self, mut on_silence: impl FnMut(&Silence) -> bool + Send + 'static) -> Watch {
        let heart = Heart::new();
        let name = self.name;
        let timer = heart.clone().listen(self.period, move |mut silence| {
            silence.name.clone_from(&name);
            on_silence(&silence)
        });
        Watch { _armed: Armed(Some(timer)), heart }
    }
}

/// What a [`Watch`]'s function is told.
#[derive(Clone, Debug)]
pub struct Silence {
    lasted: Duration,
    times: u32,
    name: Option<Cow<'static, str>>,
}

impl Silence {
    /// How long ago the last sign of life was.
    pub fn lasted(&self) -> Duration {
        self.lasted
    }

    /// How many times it was told of this silence, this one included.
    pub fn times(&self) -> u32 {
        self.times
    }

    /// The name that was given to the watchdog.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

/// Gives signs of life. Any thread may.
#[derive(Clone)]
pub struct Heart {
    /// When the last was, in nanoseconds since `born`. Nothing else is handed over by it, so it is Relaxed.
    last: Arc<AtomicU64>,
    born: Instant,
}

impl Heart {
    fn new() -> Heart {
        Heart { last: Arc::new(AtomicU64::new(0)), born: Instant::now() }
    }

    /// A sign of life. Costs a look at the clock and a store.
    #[inline]
    pub fn beat(&self) {
        self.last.store(self.born.elapsed().as_nanos() as u64, Relaxed);
    }

    /// When the last sign of life was given.
    pub fn last(&self) -> Instant {
        self.born + Duration::from_nanos(self.last.load(Relaxed))
    }

    /// Calls `on_silence` after each whole period without a beat, until it answers false.
    fn listen(
        self,
        period: Duration,
        mut on_silence: impl FnMut(Silence) -> bool + Send + 'static,
    ) -> Timer {
        // A period of nothing would keep the monitor from everything else.
        let period = period.max(SHORTEST);
        let (mut last, mut times) = (self.last(), 0);
        deadline::repeat(instant_after(period), move || {
            let now = self.last();
            if now != last {
                (last, times) = (now, 0);
            }
            // The next whole period after the last beat that has not been told of.
            let due = last.checked_add(period.saturating_mul(times + 1))?;
            if Instant::now() < due {
                return Some(due);
            }
            times += 1;
            let silence = Silence { lasted: last.elapsed(), times, name: None };
            on_silence(silence).then(|| instant_after(period))
        })
    }
}

/// No period is shorter than this.
const SHORTEST: Duration = Duration::from_micros(100);

impl fmt::Debug for Heart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heart").field("silent_for", &self.last().elapsed()).finish()
    }
}

/// A stretch of the current thread's run that is watched. Ends when it is dropped.
#[derive(Debug)]
#[must_use = "the watch ends when its scope is dropped"]
pub struct WatchedScope {
    limited: Limited,
    heart: Heart,
}

impl WatchedScope {
    /// A sign of life.
    #[inline]
    pub fn beat(&self) {
        self.heart.beat();
    }

    /// For signs of life from elsewhere: other threads that do the work, code that is not given the scope.
    pub fn heart(&self) -> &Heart {
        &self.heart
    }
}

limited_scope!(WatchedScope);

/// A watch that tells a function. Ends when it is dropped.
#[derive(Debug)]
#[must_use = "the watch ends when it is dropped"]
pub struct Watch {
    _armed: Armed,
    heart: Heart,
}

impl Watch {
    /// A sign of life.
    #[inline]
    pub fn beat(&self) {
        self.heart.beat();
    }

    /// For signs of life from elsewhere.
    pub fn heart(&self) -> &Heart {
        &self.heart
    }
}
