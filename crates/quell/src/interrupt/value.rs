//! The interrupt itself: one request to raise something in a thread.

use super::fate::{Fate, Receipt};
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// One request to raise something in a thread.
///
/// It carries a *reason*, any value the sender likes, and knows what became of it: ask its [`Receipt`]. It is moved to
/// the target by [`Thread::interrupt`](crate::Thread::interrupt) and comes out there inside an
/// [`Interrupted`](crate::Interrupted).
///
/// ```
/// use quell::{Interrupt, Outcome};
///
/// let interrupt = Interrupt::new("shutting down");
/// assert_eq!(interrupt.downcast_ref::<&str>(), Some(&"shutting down"));
///
/// let receipt = quell::current().interrupt(interrupt);
/// assert_eq!(receipt.state(), Outcome::Pending);
/// assert!(quell::checkpoint().is_err());
/// assert_eq!(receipt.state(), Outcome::Delivered);
/// ```
pub struct Interrupt {
    reason: Box<dyn Any + Send + Sync>,
    fate: Arc<Fate>,
}

impl Interrupt {
    /// An interrupt that nobody has sent yet.
    pub fn new<R: Any + Send + Sync>(reason: R) -> Interrupt {
        Interrupt { reason: Box::new(reason), fate: Arc::new(Fate::new()) }
    }

    /// What the sender attached.
    pub fn reason(&self) -> &(dyn Any + Send + Sync) {
        &*self.reason
    }

    /// What the sender attached, if it is an `R`.
    pub fn downcast_ref<R: Any>(&self) -> Option<&R> {
        self.reason.downcast_ref()
    }

    /// Takes the reason out, if it is an `R`.
    ///
    /// # Errors
    /// The interrupt itself, if the reason is something else.
    pub fn downcast<R: Any>(mut self) -> Result<R, Interrupt> {
        if !self.reason.is::<R>() {
            return Err(self);
        }
        let reason = std::mem::replace(&mut self.reason, Box::new(()));
        match (reason as Box<dyn Any>).downcast::<R>() {
            Ok(reason) => Ok(*reason),
            Err(_) => unreachable!("the type was looked at above"),
        }
    }

    /// A receipt: asks what became of this interrupt. Any number can be made, before and after sending.
    ///
    /// If the interrupt is sent a second time (the target passes on what it received), that is a new request with
    /// a receipt of its own; this one keeps speaking of the first.
    pub fn receipt(&self) -> Receipt {
        Receipt::new(Arc::clone(&self.fate))
    }

    pub(super) fn fate(&self) -> &Arc<Fate> {
        &self.fate
    }

    /// A new fate, for an interrupt whose last one was settled.
    pub(super) fn renew(&mut self) {
        self.fate = Arc::new(Fate::new());
    }

    /// The reason in words, if it is some kind of string.
    pub(crate) fn words(&self) -> Option<&str> {
        if let Some(words) = self.downcast_ref::<&'static str>() {
            Some(words)
        } else {
            self.downcast_ref::<String>().map(String::as_str)
        }
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.fate.dropped();
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupt")
            .field("reason", &self.words().unwrap_or("<any>"))
            .field("state", &self.fate.outcome())
            .finish()
    }
}
