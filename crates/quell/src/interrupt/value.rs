//! The interrupt itself: one request to raise something in a thread.

use super::fate::{Fate, Receipt};
use super::scope::Shared;
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
    /// Says the reason in words.
    words: fn(&(dyn Any + Send + Sync)) -> Option<&str>,
    fate: Arc<Fate>,
    /// The scope it is for; `None`: the thread, whatever it does.
    aim: Option<Arc<Shared>>,
}

impl Interrupt {
    /// An interrupt that nobody has sent yet.
    pub fn new<R: Any + Send + Sync>(reason: R) -> Interrupt {
        Interrupt::made(reason, |reason| {
            let words = reason.downcast_ref::<&'static str>().copied();
            words.or_else(|| reason.downcast_ref::<String>().map(String::as_str))
        })
    }

    /// An interrupt whose reason has words for messages: what [`Interrupted`](crate::Interrupted) shows after the
    /// colon. With [`new`](Interrupt::new) only strings have.
    ///
    /// ```
    /// use quell::Interrupt;
    ///
    /// struct Overrun { order: u32, words: String }
    /// impl AsRef<str> for Overrun {
    ///     fn as_ref(&self) -> &str { &self.words }
    /// }
    ///
    /// let words = "order 7 took too long".to_owned();
    /// quell::current().interrupt(Interrupt::worded(Overrun { order: 7, words }));
    /// let interrupted = quell::checkpoint().unwrap_err();
    /// assert!(interrupted.to_string().ends_with("was interrupted: order 7 took too long"));
    /// assert_eq!(interrupted.downcast_ref::<Overrun>().unwrap().order, 7);
    /// ```
    pub fn worded<R: AsRef<str> + Any + Send + Sync>(reason: R) -> Interrupt {
        Interrupt::made(reason, |reason| reason.downcast_ref::<R>().map(R::as_ref))
    }

    fn made<R: Any + Send + Sync>(
        reason: R,
        words: fn(&(dyn Any + Send + Sync)) -> Option<&str>,
    ) -> Interrupt {
        Interrupt { reason: Box::new(reason), words, fate: Arc::new(Fate::new()), aim: None }
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

    /// The scope it is for.
    pub(super) fn aim(&self) -> Option<&Arc<Shared>> {
        self.aim.as_ref()
    }

    pub(super) fn set_aim(&mut self, aim: Option<Arc<Shared>>) {
        self.aim = aim;
    }

    /// For the thread, whatever it does.
    pub(crate) fn unaimed(mut self) -> Interrupt {
        self.aim = None;
        self
    }

    /// The reason in words, if it has some.
    pub(crate) fn words(&self) -> Option<&str> {
        (self.words)(&*self.reason)
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
