//! The error that a delivered interrupt becomes.

use super::Interrupt;
use super::scope::Shared;
use crate::deadlock::Deadlock;
use crate::thread::{Thread, current};
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// The operation was interrupted. It had no effect.
///
/// Carries the [`Interrupt`] with the sender's reason. Pass it up with `?`; what catches it decides whether the thread
/// goes on.
///
/// ```
/// use quell::{Interrupt, Interrupted};
/// use std::time::Duration;
///
/// fn nap() -> Result<(), Interrupted> {
///     quell::sleep(Duration::from_secs(3600))
/// }
///
/// quell::current().interrupt(Interrupt::new(7_u32));
/// let interrupted = nap().unwrap_err();
/// assert_eq!(interrupted.downcast_ref::<u32>(), Some(&7));
/// ```
pub struct Interrupted {
    interrupt: Interrupt,
    thread: Thread,
}

impl Interrupted {
    pub(crate) fn new(interrupt: Interrupt, thread: Thread) -> Interrupted {
        Interrupted { interrupt, thread }
    }

    /// What the sender attached.
    pub fn reason(&self) -> &(dyn Any + Send + Sync) {
        self.interrupt.reason()
    }

    /// What the sender attached, if it is an `R`.
    pub fn downcast_ref<R: Any>(&self) -> Option<&R> {
        self.interrupt.downcast_ref()
    }

    /// The deadlock, if that is the reason: see [`deadlock`](crate::deadlock).
    pub fn deadlock(&self) -> Option<&Deadlock> {
        self.downcast_ref()
    }

    /// As if the current thread had been interrupted with this reason, here and now.
    pub(crate) fn by<R: AsRef<str> + Any + Send + Sync>(reason: R) -> Interrupted {
        Interrupted::new(Interrupt::worded(reason), current())
    }

    /// The thread that was interrupted.
    pub fn thread(&self) -> &Thread {
        &self.thread
    }

    /// The scope it was aimed at.
    pub(super) fn aim(&self) -> Option<&Arc<Shared>> {
        self.interrupt.aim()
    }

    /// The interrupt itself, for instance to send it on to another thread.
    pub fn into_interrupt(self) -> Interrupt {
        self.interrupt
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was interrupted", self.thread)?;
        match self.interrupt.words() {
            Some(words) => write!(f, ": {words}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupted")
            .field("interrupt", &self.interrupt)
            .field("thread", &self.thread)
            .finish()
    }
}

impl std::error::Error for Interrupted {}
