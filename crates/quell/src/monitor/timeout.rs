//! Time limits of scopes.

use super::deadline::{self, instant_after};
use super::limit::{Armed, Limit, LimitError, Limited, limited_scope};
use crate::interrupt::{Interrupted, Left};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs `f`, for `time` at most: when that is over, the thread is interrupted where it is in `f`.
///
/// The interrupt is delivered inside `f` or never; when this returns, it has been, or was taken back. So a `timeout`
/// never ends anything but its own `f`, however late or contended it is. It is an interrupt like others: it needs an
/// interruption point to be delivered at, and waits for masks and shields to let it.
///
/// If `f` returns `Ok`, that is the result, whatever the time. If it fails after the interrupt was delivered inside, the
/// error is [`LimitError::Reached`], with `f`'s own error beside it; if it fails otherwise, it is
/// [`LimitError::Failed`]. So timeouts nest, and an inner one does not take an outer one's interrupt for its own:
///
/// ```
/// use quell::{Interrupted, LimitError, sleep, timeout};
/// use std::time::Duration;
///
/// let long = Duration::from_secs(3600);
/// let result = timeout(Duration::from_millis(5), || {
///     match timeout(long, || sleep(long)) {
///         Err(LimitError::Reached(..)) => panic!("not the inner one"),
///         // The outer one's: on with it.
///         other => other.map_err(LimitError::into_inner),
///     }
/// });
/// let error = result.unwrap_err();
/// assert!(matches!(error, LimitError::Reached(..)));
/// assert_eq!(error.to_string(), "the time limit of 5ms was reached");
/// ```
///
/// A time of zero interrupts at the first interruption point. Entering and leaving are no interruption points.
/// [`Timeout`] has names, deadlines, and a guard for code that is not in a closure.
///
/// # Errors
/// As described.
pub fn timeout<T, E>(time: Duration, f: impl FnOnce() -> Result<T, E>) -> Result<T, LimitError<E>> {
    Timeout::after(time).run(|_| f())
}

/// A time limit that is yet to be entered.
///
/// ```
/// use quell::Timeout;
/// use std::time::Duration;
///
/// let scope = Timeout::after(Duration::from_millis(5)).named("request").enter();
/// let result = quell::sleep(Duration::from_secs(3600));
/// let error = scope.finish(result).unwrap_err();
/// assert_eq!(error.to_string(), "the time limit of 5ms of \"request\" was reached");
/// ```
#[derive(Clone, Debug)]
pub struct Timeout {
    limit: Option<Duration>,
    deadline: Option<Instant>,
    name: Option<Cow<'static, str>>,
    again: Option<Duration>,
}

impl Timeout {
    /// So long after it is entered.
    pub fn after(time: Duration) -> Timeout {
        Timeout { limit: Some(time), deadline: None, name: None, again: None }
    }

    /// At this moment.
    pub fn at(deadline: Instant) -> Timeout {
        Timeout { limit: None, deadline: Some(deadline), name: None, again: None }
    }

    /// Never, until it is [rescheduled](TimeoutScope::reschedule).
    pub fn never() -> Timeout {
        Timeout { limit: None, deadline: None, name: None, again: None }
    }

    /// Names the scope. Errors show it.
    #[must_use]
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Timeout {
        Timeout { name: Some(name.into()), ..self }
    }

    /// Once the time is over, interrupts again after each `interval` until the scope is left: for code that may catch
    /// the first and go on.
    #[must_use]
    pub fn insisting(self, interval: Duration) -> Timeout {
        Timeout { again: Some(interval), ..self }
    }

    /// Enters the scope in the current thread.
    pub fn enter(self) -> TimeoutScope {
        let deadline = self.limit.map(instant_after).or(self.deadline);
        let limited = Limited::enter(Limit::Time(self.limit), self.name);
        let mut scope = TimeoutScope { limited, deadline, again: self.again };
        let zero = self.limit.is_some_and(|limit| limit.is_zero());
        scope.arm(zero || self.deadline.is_some_and(|deadline| deadline <= Instant::now()));
        scope
    }

    /// Runs `f` in the scope, as [`timeout`] does; `f` is given the scope's guard, to reschedule it.
    ///
    /// # Errors
    /// As [`timeout`].
    pub fn run<T, E>(
        self,
        f: impl FnOnce(&mut TimeoutScope) -> Result<T, E>,
    ) -> Result<T, LimitError<E>> {
        let mut scope = self.enter();
        let result = f(&mut scope);
        scope.finish(result)
    }
}

/// A stretch of the current thread's run with a time limit. Ends when it is dropped.
#[derive(Debug)]
#[must_use = "the time limit ends when its scope is dropped"]
pub struct TimeoutScope {
    limited: Limited,
    deadline: Option<Instant>,
    again: Option<Duration>,
}

impl TimeoutScope {
    /// When the time is over. `None`: never.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Gives it another deadline; `None`: none. False: too late, the time was over and an interrupt was sent; nothing is
    /// changed.
    pub fn reschedule(&mut self, deadline: Option<Instant>) -> bool {
        if self.limited.bound.has_fired() {
            return false;
        }
        // Looked at again afterwards, because one that insists is armed again after it has run.
        if !self.limited.armed.cancel() || self.limited.bound.has_fired() {
            if let Some(interval) = self.again {
                self.insist(instant_after(interval), interval);
            }
            return false;
        }
        self.deadline = deadline;
        self.arm(deadline.is_some_and(|deadline| deadline <= Instant::now()));
        true
    }

    /// Arms it; if the time is over already, the first interruption point is to see it.
    fn arm(&mut self, over: bool) {
        let Some(deadline) = self.deadline else { return };
        if over {
            self.limited.bound.fire();
        }
        match self.again {
            Some(interval) => {
                self.insist(if over { instant_after(interval) } else { deadline }, interval);
            }
            None if over => {}
            None => {
                let bound = Arc::clone(&self.limited.bound);
                self.limited.armed = Armed(Some(deadline::at(deadline, move || bound.fire())));
            }
        }
    }

    fn insist(&mut self, first: Instant, interval: Duration) {
        let bound = Arc::clone(&self.limited.bound);
        let timer = deadline::repeat(first, move || {
            bound.fire();
            (!bound.is_over()).then(|| instant_after(interval))
        });
        self.limited.armed = Armed(Some(timer));
    }
}

limited_scope!(TimeoutScope);
