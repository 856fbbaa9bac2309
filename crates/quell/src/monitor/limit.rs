//! What the limits have in common: a scope, what is sent into it when it is exceeded, and the error it ends with.
//!
//! A limit is a [scope](crate::interrupt::Scope) of the thread it holds for, and something armed with the monitor that
//! aims an interrupt at it. So it ends with the scope's handshake: once it is left, its interrupt was delivered
//! inside, or taken back and will never be. Limits nest in any order, and each knows its own.

use super::deadline::Timer;
use crate::interrupt::{Aim, Interrupt, Interrupted, Left, Scope};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

/// What was limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// The time from entry to exit. `None`: up to a moment that was given.
    Time(Option<Duration>),
    /// The time between two signs of life.
    Silence(Duration),
    /// The processor time of the thread.
    CpuTime(Duration),
}

/// A limit that was reached: the reason of the interrupt, and in the error that its scope ends with.
#[derive(Clone, Debug)]
pub struct Reached {
    bound: Arc<Bound>,
    words: Arc<str>,
}

/// One limited scope, as the monitor knows it.
#[derive(Debug)]
pub(super) struct Bound {
    aim: Aim,
    number: u64,
    name: Option<Cow<'static, str>>,
    limit: Limit,
    fired: AtomicBool,
}

impl Bound {
    /// Aims an interrupt at the scope.
    pub(super) fn fire(self: &Arc<Bound>) {
        // Release: who takes a timer for one that has not run looks at this after it has cancelled it.
        self.fired.store(true, Release);
        self.aim.interrupt(Interrupt::worded(self.reached()));
    }

    fn reached(self: &Arc<Bound>) -> Reached {
        let mut words = match self.limit {
            Limit::Time(Some(time)) => format!("the time limit of {time:?}"),
            Limit::Time(None) => "the time limit".to_owned(),
            Limit::Silence(time) => format!("the limit of {time:?} without a sign of life"),
            Limit::CpuTime(time) => format!("the limit of {time:?} of processor time"),
        };
        if let Some(name) = &self.name {
            words += &format!(" of {name:?}");
        }
        words += " was reached";
        Reached { bound: Arc::clone(self), words: words.into() }
    }

    /// Whether the limit was reached.
    pub(super) fn has_fired(&self) -> bool {
        self.fired.load(Acquire)
    }

    pub(super) fn is_over(&self) -> bool {
        self.aim.is_closed()
    }
}

impl Reached {
    /// What was limited, and to how much.
    pub fn limit(&self) -> Limit {
        self.bound.limit
    }

    /// The name of the limited scope, if it was given one.
    pub fn name(&self) -> Option<&str> {
        self.bound.name.as_deref()
    }
}

/// Two are equal if they speak of the same scope.
impl PartialEq for Reached {
    fn eq(&self, other: &Reached) -> bool {
        self.bound.number == other.bound.number
    }
}

impl Eq for Reached {}

impl AsRef<str> for Reached {
    fn as_ref(&self) -> &str {
        &self.words
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for Reached {}

/// How something failed under a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitError<E> {
    /// The limit was reached, its interrupt was delivered inside, and this is the error that came of it: often the
    /// [`Interrupted`] itself, and always what came out of the scope.
    Reached(Reached, E),
    /// It failed for another reason: the limit has delivered nothing. An outer limit's interrupt too is in here.
    Failed(E),
}

impl<E> LimitError<E> {
    /// The limit, if it was that.
    pub fn reached(&self) -> Option<&Reached> {
        match self {
            LimitError::Reached(reached, _) => Some(reached),
            LimitError::Failed(_) => None,
        }
    }

    /// The error that came out of the scope.
    pub fn into_inner(self) -> E {
        match self {
            LimitError::Reached(_, error) | LimitError::Failed(error) => error,
        }
    }
}

impl<E: fmt::Display> fmt::Display for LimitError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LimitError::Reached(reached, _) => reached.fmt(f),
            LimitError::Failed(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for LimitError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LimitError::Reached(_, error) => Some(error),
            LimitError::Failed(error) => error.source(),
        }
    }
}

/// The owner's side: the scope and what is armed for it.
#[derive(Debug)]
pub(super) struct Limited {
    /// Before the scope, so that it is cancelled first: then mostly nothing has been sent.
    pub(super) armed: Armed,
    scope: Scope,
    pub(super) bound: Arc<Bound>,
}

/// A timer that is cancelled when it is dropped.
#[derive(Debug)]
pub(super) struct Armed(pub(super) Option<Timer>);

impl Armed {
    /// False: there is one, and it has run or runs.
    pub(super) fn cancel(&mut self) -> bool {
        self.0.take().is_none_or(|timer| timer.cancel())
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl Limited {
    pub(super) fn enter(limit: Limit, name: Option<Cow<'static, str>>) -> Limited {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let scope = Scope::enter();
        // Relaxed: only uniqueness counts.
        let number = NUMBERS.fetch_add(1, Relaxed);
        let (aim, fired) = (scope.aim().clone(), AtomicBool::new(false));
        let bound = Arc::new(Bound { aim, number, name, limit, fired });
        Limited { armed: Armed(None), scope, bound }
    }

    pub(super) fn sent(&self, interrupted: &Interrupted) -> bool {
        self.scope.aim().sent(interrupted)
    }

    pub(super) fn was_delivered(&self) -> bool {
        self.scope.delivered() > 0
    }

    pub(super) fn leave(mut self) -> Left {
        self.armed.cancel();
        self.scope.leave()
    }

    pub(super) fn finish<T, E>(self, result: Result<T, E>) -> Result<T, LimitError<E>> {
        let bound = Arc::clone(&self.bound);
        match (self.leave(), result) {
            (_, Ok(value)) => Ok(value),
            (Left::Delivered, Err(error)) => Err(LimitError::Reached(bound.reached(), error)),
            (_, Err(error)) => Err(LimitError::Failed(error)),
        }
    }
}

/// The methods every limited scope has.
macro_rules! limited_scope {
    ($scope:ident) => {
        impl $scope {
            /// Whether this interrupt came from this limit.
            pub fn sent(&self, interrupted: &Interrupted) -> bool {
                self.limited.sent(interrupted)
            }

            /// Whether the limit was reached, and its interrupt delivered inside.
            pub fn was_delivered(&self) -> bool {
                self.limited.was_delivered()
            }

            /// Leaves the scope, as dropping it does, and says what it had been sent. Does not block, and is no
            /// interruption point. After it, nothing that the limit has sent or will send is delivered.
            pub fn leave(self) -> Left {
                self.limited.leave()
            }

            /// Leaves the scope with what came out of it. An error after the limit's interrupt was delivered inside counts
            /// as that limit's.
            ///
            /// # Errors
            /// The error of `result`, in [`LimitError::Reached`] or [`LimitError::Failed`].
            pub fn finish<T, E>(self, result: Result<T, E>) -> Result<T, LimitError<E>> {
                self.limited.finish(result)
            }
        }
    };
}
pub(super) use limited_scope;
