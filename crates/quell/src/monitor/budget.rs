//! Budgets of processor time, per thread.
//!
//! No clock tells the monitor when a thread has used up its budget, but a thread cannot use more processor time than time
//! passes. So the monitor looks at the thread's own clock when the budget can be used up at the earliest, and if there
//! is some left, again when that can be. A thread that does nothing but compute is looked at once or twice; one that
//! mostly waits, a few times, each time for what is left; and never more often than each [`CLOSEST`].

use super::deadline::{self, instant_after};
use super::limit::{Armed, Limit, LimitError, Limited, limited_scope};
use crate::interrupt::{Interrupted, Left};
use crate::thread::{Thread, current};
use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The monitor looks at a thread no more often than this, and so may be late by as much.
const CLOSEST: Duration = Duration::from_micros(500);

/// A limit on the processor time that a thread uses in a scope, or from now on. Waiting costs nothing of it.
///
/// ```
/// use quell::CpuBudget;
/// use std::time::Duration;
///
/// let budget = CpuBudget::of(Duration::from_millis(5)).named("parser");
/// # #[cfg(not(target_os = "linux"))]
/// # return;
/// let scope = budget.enter().unwrap();
/// let mut n = 0_u64;
/// let result = loop {
///     n = n.wrapping_add(1);
///     if let Err(interrupted) = quell::checkpoint() {
///         break Err::<(), _>(interrupted);
///     }
/// };
/// let error = scope.finish(result).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "the limit of 5ms of processor time of \"parser\" was reached"
/// );
/// ```
#[derive(Clone, Debug)]
pub struct CpuBudget {
    limit: Duration,
    name: Option<Cow<'static, str>>,
}

impl CpuBudget {
    /// So much processor time.
    pub fn of(limit: Duration) -> CpuBudget {
        CpuBudget { limit, name: None }
    }

    /// Names the scope. Errors show it.
    #[must_use]
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> CpuBudget {
        CpuBudget { name: Some(name.into()), ..self }
    }

    /// Limits the current thread until the scope is left: when it has used up the budget, it is interrupted. It is
    /// late by a millisecond at most, as far as the monitor gets to run.
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported) where the system does not tell a thread's processor time (Linux
    /// does).
    pub fn enter(self) -> io::Result<BudgetScope> {
        let thread = current();
        let start = clock(&thread)?;
        let mut limited = Limited::enter(Limit::CpuTime(self.limit), self.name);
        let bound = Arc::clone(&limited.bound);
        limited.armed = Armed(Some(look(thread, start, self.limit, move |_| bound.fire())));
        Ok(BudgetScope { limited, start, limit: self.limit })
    }

    /// Limits any thread, from now on: when it has used up the budget, `spent` runs on the monitor's thread, once. It must
    /// be short and not block; typically it interrupts the thread. The watch ends when it is dropped, or with the thread.
    ///
    /// ```
    /// use quell::{CpuBudget, Interrupt, spawn};
    /// use std::time::Duration;
    ///
    /// # #[cfg(not(target_os = "linux"))]
    /// # return;
    /// let (ready, wait) = std::sync::mpsc::channel();
    /// let busy = spawn(move || {
    ///     ready.send(()).unwrap();
    ///     loop {
    ///         if let Err(interrupted) = quell::checkpoint() {
    ///             break interrupted.to_string();
    ///         }
    ///     }
    /// });
    /// wait.recv().unwrap();
    /// let watch = CpuBudget::of(Duration::from_millis(2)).watch(busy.thread(), |thread| {
    ///     thread.interrupt(Interrupt::new("you have had enough"));
    /// });
    /// let words = busy.join().unwrap();
    /// assert!(words.ends_with("you have had enough"));
    /// # drop(watch);
    /// ```
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported), as with [`enter`](CpuBudget::enter);
    /// [`NotFound`](io::ErrorKind::NotFound) if the thread has ended, or has not run yet.
    pub fn watch(
        self,
        thread: &Thread,
        spent: impl FnOnce(&Thread) + Send + 'static,
    ) -> io::Result<BudgetWatch> {
        let start = clock(thread)?;
        let mut spent = Some(spent);
        let timer = look(thread.clone(), start, self.limit, move |thread| {
            if let Some(spent) = spent.take() {
                spent(thread);
            }
        });
        Ok(BudgetWatch { _armed: Armed(Some(timer)) })
    }
}

/// Looks until the thread has used `limit` since its clock showed `start`, and then says so; or until it has ended.
fn look(
    thread: Thread,
    start: Duration,
    limit: Duration,
    mut spent: impl FnMut(&Thread) + Send + 'static,
) -> deadline::Timer {
    deadline::repeat(instant_after(limit), move || {
        let used = thread.cpu_time()?.saturating_sub(start);
        let left = limit.saturating_sub(used);
        if left.is_zero() {
            spent(&thread);
            return None;
        }
        Some(instant_after(left.max(CLOSEST)))
    })
}

fn clock(thread: &Thread) -> io::Result<Duration> {
    if let Some(time) = thread.cpu_time() {
        return Ok(time);
    }
    if cfg!(target_os = "linux") {
        let words = format!("{thread} has ended or has not run yet, so it uses no processor time");
        return Err(io::Error::new(io::ErrorKind::NotFound, words));
    }
    let words = "this system does not tell how much processor time a thread has used";
    Err(io::Error::new(io::ErrorKind::Unsupported, words))
}

/// A stretch of the current thread's run with a budget of processor time. Ends when it is dropped.
#[derive(Debug)]
#[must_use = "the budget ends when its scope is dropped"]
pub struct BudgetScope {
    limited: Limited,
    start: Duration,
    limit: Duration,
}

impl BudgetScope {
    /// How much processor time the scope has used so far.
    pub fn used(&self) -> Duration {
        current().cpu_time().unwrap_or(self.start).saturating_sub(self.start)
    }

    /// How much it may still use.
    pub fn left(&self) -> Duration {
        self.limit.saturating_sub(self.used())
    }
}

limited_scope!(BudgetScope);

/// A budget of another thread. Ends when it is dropped.
#[derive(Debug)]
#[must_use = "the budget ends when it is dropped"]
pub struct BudgetWatch {
    _armed: Armed,
}
