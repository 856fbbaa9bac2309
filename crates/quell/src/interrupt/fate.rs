//! What became of an interrupt, and the receipt that asks. The states are in the module's documentation.

use super::slot::Slot;
use crate::sync::Event;
use crate::sys::atomic::AtomicU8;
use crate::sys::atomic::Ordering::{AcqRel, Acquire, Release};
use crate::thread::Thread;
use crate::wait::{Wait, WaitError};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

const UNSENT: u8 = 0;
const PENDING: u8 = 1;
const DELIVERED: u8 = 2;
const WITHDRAWN: u8 = 3;
const TARGET_EXITED: u8 = 4;

/// What became of an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Nothing yet: it waits to be sent, or to be delivered.
    Pending,
    /// The target received it.
    Delivered,
    /// It was taken back, or dropped without being sent. It will never be delivered.
    Withdrawn,
    /// The target ended first, or had ended before it was sent.
    TargetExited,
}

/// Shared by an interrupt and its receipts.
pub(super) struct Fate {
    state: AtomicU8,
    /// Set once `state` is final.
    settled: Event,
    /// Whose slot the interrupt went to. Written once, before `state` becomes PENDING.
    target: OnceLock<Thread>,
}

impl Fate {
    pub(super) fn new() -> Fate {
        Fate { state: AtomicU8::new(UNSENT), settled: Event::new(), target: OnceLock::new() }
    }

    pub(super) fn outcome(&self) -> Outcome {
        // Acquire: who sees an outcome also sees what the one who made it had done before.
        match self.state.load(Acquire) {
            UNSENT | PENDING => Outcome::Pending,
            DELIVERED => Outcome::Delivered,
            WITHDRAWN => Outcome::Withdrawn,
            _ => Outcome::TargetExited,
        }
    }

    /// Whether this fate was used up by an earlier sending.
    pub(super) fn is_spent(&self) -> bool {
        matches!(self.outcome(), Outcome::Delivered | Outcome::TargetExited)
    }

    /// Whether it was this thread's slot that the interrupt was taken from.
    pub(super) fn went_to(&self, thread: &Thread) -> bool {
        self.outcome() == Outcome::Delivered && self.target.get() == Some(thread)
    }

    /// UNSENT to PENDING. False: a receipt withdrew it before it was sent. The caller holds the slot's lock.
    pub(super) fn send(&self, target: &Thread) -> bool {
        // Cannot fail: a fate is sent once. The exchange publishes it (Release).
        let _ = self.target.set(target.clone());
        self.state.compare_exchange(UNSENT, PENDING, AcqRel, Acquire).is_ok()
    }

    /// PENDING to an end. The caller holds the slot's lock, took the interrupt out of the FIFO, and calls `announce`
    /// when it has released the lock.
    pub(super) fn settle(&self, outcome: Outcome) {
        let end = match outcome {
            Outcome::Pending => unreachable!("pending is not an end"),
            Outcome::Delivered => DELIVERED,
            Outcome::Withdrawn => WITHDRAWN,
            Outcome::TargetExited => TARGET_EXITED,
        };
        self.state.store(end, Release);
    }

    /// Wakes who waits for the end.
    pub(super) fn announce(&self) {
        self.settled.set();
    }

    /// The same in the child of a fork: its waiters are not here.
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(super) fn announce_after_fork(&self) {
        self.settled.reset_to(true);
    }

    /// In the child of a fork: whoever waits for the end is not here, nor is the stack it waited on.
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(super) fn forget_waiters(&self) {
        self.settled.reset_to(false);
    }

    /// DELIVERED back to PENDING, by the target itself, under its slot's lock.
    pub(super) fn unsettle(&self) {
        self.settled.clear();
        self.state.store(PENDING, Release);
    }

    /// The interrupt is dropped: whatever has not ended, ends.
    pub(super) fn dropped(&self) {
        let ended = match self.state.load(Acquire) {
            // Against a withdrawal by a receipt, which then has announced it.
            UNSENT => self.state.compare_exchange(UNSENT, WITHDRAWN, AcqRel, Acquire).is_ok(),
            // Only with the FIFO it was in, that is, with the target's last handle.
            PENDING => {
                self.state.store(TARGET_EXITED, Release);
                true
            }
            _ => false,
        };
        if ended {
            self.announce();
        }
    }

    fn withdraw(self: &Arc<Self>) -> bool {
        loop {
            match self.state.load(Acquire) {
                UNSENT => {
                    if self.state.compare_exchange(UNSENT, WITHDRAWN, AcqRel, Acquire).is_ok() {
                        self.announce();
                        return true;
                    }
                }
                PENDING => {
                    let target = self.target.get().expect("set before PENDING");
                    if target.slot().withdraw(self) {
                        return true;
                    }
                    // Somebody else took it out just now: the state says who, or it is pending again.
                }
                _ => return false,
            }
        }
    }
}

/// Asks what became of an interrupt, waits for it, or takes the interrupt back.
///
/// ```
/// use quell::{Interrupt, Outcome};
///
/// let receipt = quell::current().interrupt(Interrupt::new("never mind"));
/// assert!(receipt.withdraw());
/// assert!(!receipt.withdraw()); // once
/// assert_eq!(receipt.state(), Outcome::Withdrawn);
/// assert!(quell::checkpoint().is_ok());
/// ```
#[derive(Clone)]
pub struct Receipt {
    fate: Arc<Fate>,
}

impl Receipt {
    pub(super) fn new(fate: Arc<Fate>) -> Receipt {
        Receipt { fate }
    }

    /// What became of it so far. Does not block.
    pub fn state(&self) -> Outcome {
        self.fate.outcome()
    }

    /// Waits until it was delivered or withdrawn, or the target ended, and says which; or until the deadline.
    /// An interruption point of the waiting thread.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`] at the deadline; [`WaitError::Interrupted`] if the waiting thread is itself interrupted.
    /// Neither changes anything about the interrupt that was asked after.
    pub fn wait(&self, deadline: Option<Instant>) -> Result<Outcome, WaitError> {
        self.wait_with(&Wait { deadline, ..Wait::new() })
    }

    /// [`wait`](Receipt::wait) with every option.
    ///
    /// # Errors
    /// As the options allow.
    pub fn wait_with(&self, wait: &Wait) -> Result<Outcome, WaitError> {
        loop {
            // First, because who was about to announce it may have been left behind by a fork. And again after the wait: the
            // target may have put it back in between.
            match self.state() {
                Outcome::Pending => self.fate.settled.wait_with(wait)?,
                outcome => return Ok(outcome),
            }
        }
    }

    /// Takes the interrupt back. True: it was still pending, and now never will be delivered. False: it had already
    /// ended, as [`state`](Receipt::state) tells. Does not block.
    pub fn withdraw(&self) -> bool {
        self.fate.withdraw()
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt").field("state", &self.state()).finish()
    }
}

/// Tells the slot's file that a fate belongs to an interrupt.
pub(super) fn same(a: &Arc<Fate>, b: &Arc<Fate>) -> bool {
    Arc::ptr_eq(a, b)
}

const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Receipt>();
    shared::<Slot>();
};
