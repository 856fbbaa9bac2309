//! A scope: a stretch of one thread's run that interrupts can be aimed at. Under timeouts, watchdogs, budgets, and
//! the tasks of a pool, where an interrupt that comes too late must not hit what the thread does next.
//!
//! # The exit handshake
//!
//! One word per scope, with three bits and one modification order:
//!
//! | bit | meaning | who sets it, and when |
//! | --- | --- | --- |
//! | `ENTERED` | the thread is known | the owner, as it enters |
//! | `SENT` | something was, or is about to be, put into the thread's slot | a sender, under the slot's lock, just before it puts it there |
//! | `CLOSED` | the scope is over | the owner, as it leaves |
//!
//! Each is a read-modify-write that tells what was there before. If `CLOSED` came first, the sender sees it and puts
//! nothing. If `SENT` came first, the owner sees it and takes back, under the slot's lock, what is aimed at this
//! scope: the sender set the bit under that lock and put the interrupt before it released it, so the interrupt is
//! there, or it was delivered, which the owner alone does. In each case nothing aimed at the scope is pending after
//! [`Scope::leave`] has returned, and nothing will be. It waits for nobody: the sender never leaves the slot's lock
//! with half of it done, and a fork holds that lock.

use super::{Interrupt, Interrupted, Receipt};
use crate::sys::atomic::AtomicU32;
use crate::sys::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::thread::{Thread, current};
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

const ENTERED: u32 = 1;
const SENT: u32 = 2;
const CLOSED: u32 = 4;

/// What a scope and its aims share.
pub(super) struct Shared {
    word: AtomicU32,
    /// The thread inside. Written before `ENTERED` is set.
    owner: OnceLock<Thread>,
    /// How many were delivered inside. The owner's alone, so Relaxed.
    delivered: AtomicU32,
}

impl Shared {
    pub(super) fn is_closed(&self) -> bool {
        self.word.load(Acquire) & CLOSED != 0
    }

    /// The owner has taken one out of its slot.
    pub(super) fn count_delivered(&self) {
        self.delivered.fetch_add(1, Relaxed);
    }

    /// The owner puts one back.
    pub(super) fn uncount_delivered(&self) {
        self.delivered.fetch_sub(1, Relaxed);
    }
}

/// Sends interrupts to a [`Scope`]: delivered within it, or not at all. Cheap to clone; any thread may have one.
#[derive(Clone)]
pub struct Aim {
    shared: Arc<Shared>,
}

impl Aim {
    /// The aim of a scope that some thread will enter with [`Scope::enter_for`], or none ever.
    pub(crate) fn new() -> Aim {
        let (word, delivered) = (AtomicU32::new(0), AtomicU32::new(0));
        Aim { shared: Arc::new(Shared { word, owner: OnceLock::new(), delivered }) }
    }

    /// Interrupts the thread that is in the scope. If the scope is over, nothing is sent, and the receipt says
    /// [`Withdrawn`](crate::Outcome::Withdrawn); so it does for what is still pending when the scope ends. Never
    /// waits for the target.
    ///
    /// ```
    /// use quell::interrupt::Scope;
    /// use quell::{Interrupt, Outcome};
    ///
    /// let scope = Scope::enter();
    /// let aim = scope.aim().clone();
    /// let receipt = aim.interrupt(Interrupt::new("too late for the scope"));
    /// drop(scope);
    /// assert!(quell::checkpoint().is_ok());
    /// assert_eq!(receipt.state(), Outcome::Withdrawn);
    /// assert_eq!(aim.interrupt(Interrupt::new("later still")).state(), Outcome::Withdrawn);
    /// ```
    pub fn interrupt(&self, mut interrupt: Interrupt) -> Receipt {
        let Some(owner) = self.thread() else {
            // Dropped unsent: withdrawn.
            return interrupt.receipt();
        };
        interrupt.set_aim(Some(Arc::clone(&self.shared)));
        // AcqRel: the sender's half of the handshake; `leave` is the other.
        let admit = || self.shared.word.fetch_or(SENT, AcqRel) & CLOSED == 0;
        owner.slot().send_if(owner, interrupt, admit)
    }

    /// The thread in the scope. `None`: it has not been entered, or is over.
    pub fn thread(&self) -> Option<&Thread> {
        // Acquire: the owner was written before ENTERED.
        let word = self.shared.word.load(Acquire);
        if word & ENTERED == 0 || word & CLOSED != 0 {
            return None;
        }
        self.shared.owner.get()
    }

    /// Whether the scope is over.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// Whether this interrupt was aimed at this scope.
    pub fn sent(&self, interrupted: &Interrupted) -> bool {
        interrupted.aim().is_some_and(|aim| Arc::ptr_eq(aim, &self.shared))
    }
}

impl fmt::Debug for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aim").field("thread", &self.thread()).finish_non_exhaustive()
    }
}

/// A stretch of the current thread's run. An interrupt [aimed](Aim) at it is delivered inside, or never: leaving takes
/// back what has not been delivered. Scopes nest, in any order, and keep apart.
///
/// ```
/// use quell::interrupt::{Left, Scope};
/// use quell::{Interrupt, spawn};
/// use std::time::Duration;
///
/// let scope = Scope::enter();
/// let aim = scope.aim().clone();
/// spawn(move || aim.interrupt(Interrupt::new("enough")));
/// let interrupted = quell::sleep(Duration::from_secs(3600)).unwrap_err();
/// assert!(scope.aim().sent(&interrupted));
/// assert_eq!(scope.leave(), Left::Delivered);
/// ```
#[must_use = "the scope is left when it is dropped"]
pub struct Scope {
    aim: Aim,
    // Not Send: it speaks of the thread that entered it.
    here: PhantomData<*const ()>,
}

/// What had been sent to a [`Scope`] that was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing.
    Untouched,
    /// Something, but nothing was delivered: it was taken back.
    TakenBack,
    /// Something, and at least one was delivered inside; the others were taken back.
    Delivered,
}

impl Scope {
    /// Enters a scope. Not an interruption point.
    pub fn enter() -> Scope {
        Scope::enter_for(Aim::new())
    }

    /// Enters the scope whose aim was made before. Once for each aim.
    pub(crate) fn enter_for(aim: Aim) -> Scope {
        let entered = aim.shared.owner.set(current());
        debug_assert!(entered.is_ok(), "a scope is entered once");
        // Release: who sees the bit sees the owner.
        aim.shared.word.fetch_or(ENTERED, Release);
        Scope { aim, here: PhantomData }
    }

    /// What others use to interrupt the scope.
    pub fn aim(&self) -> &Aim {
        &self.aim
    }

    /// How many interrupts were delivered in it so far.
    pub fn delivered(&self) -> u32 {
        self.aim.shared.delivered.load(Relaxed)
    }

    /// Leaves the scope. Does not block, and is no interruption point. What is aimed at it and pending is taken back;
    /// what is aimed at it later is refused. Dropping the scope does the same.
    pub fn leave(self) -> Left {
        let sent = self.close();
        match (sent, self.delivered()) {
            (false, _) => Left::Untouched,
            (true, 0) => Left::TakenBack,
            (true, _) => Left::Delivered,
        }
    }

    /// Says whether anything was sent. Again: nothing more happens.
    fn close(&self) -> bool {
        let shared = &self.aim.shared;
        // AcqRel: the owner's half of the handshake.
        let before = shared.word.fetch_or(CLOSED, AcqRel);
        if before & SENT != 0 && before & CLOSED == 0 {
            shared.owner.get().expect("set on entry").slot().withdraw_aimed(shared);
        }
        before & SENT != 0
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("delivered", &self.delivered()).finish_non_exhaustive()
    }
}
