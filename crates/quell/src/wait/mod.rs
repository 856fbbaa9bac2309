//! Waiting: the options every wait takes, the errors it can end with, and the one wait queue under all primitives.
//!
//! # The wait queue
//!
//! A waiter is a thread or a task. It is a node in an intrusive list under a short lock: on the waiting thread's stack, or
//! in the task's future. No wait allocates. The node has one state word:
//!
//! ```text
//!             ┌──── CLAIMED ──── GRANTED      a granter: both under the list's lock
//!   WAITING ──┤
//!             └──── LEFT                      the waiter: at its deadline, for an interrupt, for a signal
//! ```
//!
//! | transition | who | how |
//! | --- | --- | --- |
//! | `WAITING` to `CLAIMED` | a granter | compare-exchange, under the list's lock; it unlinks the node and takes the waiter's handle out of it |
//! | `CLAIMED` to `GRANTED` | the same granter | store, before it releases that lock |
//! | `WAITING` to `LEFT` | the waiter itself | compare-exchange; for an interrupt, under its slot's lock |
//!
//! Grant, time-out and interrupt compete with one compare-exchange each, and the winner decides what happened. A grant
//! that won is kept; the interrupt, which moves out of its slot only if its exchange wins, stays pending.
//!
//! **Lifetime.** The node is gone when the waiter returns. It returns after `LEFT`, having unlinked the node under
//! the list's lock, so a granter that sees the node in the list may touch it; or after `GRANTED`, which is the
//! granter's last access: it has moved the waiter's handle out before, and wakes through that when the lock is free.
//!
//! **No wake-up is lost.** The waiter looks at the primitive's own state under the list's lock, after which it is in
//! the list; who changes that state in a way that matters takes the lock afterwards, and finds it. The granter stores
//! `GRANTED` before it leaves the token in the waiter's parker; the waiter looks at the word before every sleep.
//!
//! **No grant is lost.** `LEFT` and `CLAIMED` exclude each other, so a waiter that leaves was granted nothing, and
//! the granter goes on to the next. A waiter that was granted while an interrupt arrived returns what it was
//! granted.
//!
//! What a grant means is the primitive's business: it travels as a small number, the *token*. What one waits for, in which
//! queue, and when it is worth waiting, a primitive describes once, as a `Goal`, for threads, tasks and selections.
//!
//! # Tasks
//!
//! A task waits in the same queue as the threads, and has its turn among them. Its node lives in its future, pinned, and
//! holds its `Waker` where a thread's holds the thread's handle.
//!
//! - **Polled again** with another waker, the future replaces the one in the node, under the list's lock, if the node is
//!   still in the list. If it is not, it was granted: claim, unlinking and publishing are one step for who takes the
//!   lock. So the waker that a granter takes out is always that of the last poll.
//! - **Dropped**, it takes the lock, and either finds the node in the list and unlinks it, or finds the grant. A
//!   grant that nobody saw is handed on (`Goal::pass_on`): the lock that was handed over is freed, who was woken to
//!   look is replaced by the next. No executor is blocked for longer than the short lock is held.
//! - Wakers are cloned, called and dropped outside the list's lock: they run code of the executor, which may poll another
//!   future of the same queue.
//!
//! A task is not a thread: an interrupt of the thread that happens to poll it does not end its wait, and stays pending. A
//! task is cancelled by dropping its future; deadlines are its runtime's timers.
//!
//! # Selections
//!
//! A selection waits for several things at once: a node in each of several lists, and one state word for all of them. A
//! granter claims that word, under the lock of its own list, and writes into it which of the nodes it was. So one granter
//! wins, at most. The other nodes stay in their lists until the waiter, thread or task, unlinks each under its list's
//! lock; until then granters pass them over, as they do a node that has `LEFT`.
//!
//! The lists are joined one after the other. If one of the things need not be waited for any more, the waiter leaves the
//! lists it has joined, by the same compare-exchange; if that fails, one of them was granted in the meantime, and that
//! is the result. Its word is final when all locks were taken once for unlinking: the granter had claimed and published
//! under one of them. No selection holds two lists' locks at once.
//!
//! # Moves
//!
//! A granter can put a waiter into another queue instead of waking it: see `transfer`.
//!
//! # Fork
//!
//! In the child of a fork, the queues are reset by their primitives' `…_after_fork`. Nodes on stacks went with their threads.
//! A future of the thread that forked is in no list any more, and knows it by the generation of processes it joined
//! in: polled, it joins anew; dropped, it does nothing. What it had been granted before the fork, and had not seen, is
//! void.

mod block;
mod goal;
mod grant;
mod look;
mod node;
mod queue;
mod select;
mod task;
mod transfer;

pub(crate) use block::block;
pub(crate) use goal::{Goal, wait_for, wait_for_and};
pub(crate) use grant::Granting;
pub(crate) use node::{CASES, Note, State, Waiter};
pub(crate) use queue::{Place, WaitQueue, Waited};
pub(crate) use select::Case;
pub(crate) use task::wait_async;
pub(crate) use transfer::Transfer;

use crate::deadlock::Deadlock;
use crate::interrupt::Interrupted;
use std::fmt;
use std::time::{Duration, Instant};

/// How to wait. Every wait of this crate has a form that takes one, named `…_with`.
///
/// ```
/// use quell::{Event, Wait, WaitError};
/// use std::time::Duration;
///
/// let event = Event::new();
/// let waited = event.wait_with(&Wait::new().timeout(Duration::from_millis(1)));
/// assert!(matches!(waited, Err(WaitError::TimedOut)));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    /// Give up at this moment. `None`: never.
    pub deadline: Option<Instant>,
    /// Whether an interrupt may end the wait. If not, it is as under a [`shield`](crate::shield): the interrupt stays
    /// pending.
    pub interruptible: bool,
    /// Whether a signal handler that ran in this thread, or a [`nudge`](crate::Thread::nudge), ends the wait with
    /// [`WaitError::Signalled`]. For embedders that have signal handlers of their own to run.
    pub signals: bool,
    /// When a wait with `signals` ends with [`WaitError::Signalled`] though none was seen. A signal handler may have run in the
    /// last moment before the sleep, where nobody sees it: an embedder that looks again after a while misses none for longer.
    /// System calls do not look again.
    pub look_again: Option<Instant>,
    /// What the thread does before it sleeps, in case the wait is over before it has begun.
    pub look: Look,
    /// Whether an interrupt that may end the wait is left pending when it does, with [`WaitError::Signalled`]. For embedders
    /// that decide under a lock of their own what came first, and then take it by
    /// [`take_pending`](crate::interrupt::take_pending).
    pub leave_pending: bool,
}

impl Wait {
    /// For ever, interruptible, whatever signals come.
    pub const fn new() -> Wait {
        Wait {
            deadline: None,
            interruptible: true,
            signals: false,
            look_again: None,
            look: Look::GivingWay,
            leave_pending: false,
        }
    }

    /// Until `deadline` at most.
    #[must_use]
    pub const fn until(self, deadline: Instant) -> Wait {
        Wait { deadline: Some(deadline), ..self }
    }

    /// For `time` at most, from now. A time beyond what the clock can represent is for ever.
    #[must_use]
    pub fn timeout(self, time: Duration) -> Wait {
        Wait { deadline: Instant::now().checked_add(time), ..self }
    }

    /// Not interruptible.
    #[must_use]
    pub const fn shielded(self) -> Wait {
        Wait { interruptible: false, ..self }
    }

    /// Ended by signal handlers and nudges.
    #[must_use]
    pub const fn signals(self) -> Wait {
        Wait { signals: true, ..self }
    }
}

/// What a thread does before it sleeps in a wait. To put a thread to sleep and wake it costs 5 to 50 µs, most of it in the kernel
/// and on the other processor.
#[derive(Clone, Copy, Debug, Default)]
pub enum Look {
    /// It looks a few times whether the wait is over, and gives way to other threads in between.
    #[default]
    GivingWay,
    /// It sleeps at once. For embedders whose threads take turns: while this one looks, the one that would end the wait may
    /// not get its turn.
    Not,
    /// It runs this, which is told by what it is given whether there is something to be done, and comes back then, or
    /// earlier. For embedders that know better how long a thread should look. The thread is in line meanwhile: this must neither block
    /// nor unwind, or the process ends.
    With(fn(&dyn Fn() -> bool)),
}

impl Look {
    /// Whether the thread gives way to others.
    pub(crate) const fn gives_way(self) -> bool {
        matches!(self, Look::GivingWay)
    }
}

impl Default for Wait {
    fn default() -> Wait {
        Wait::new()
    }
}

/// Why a wait ended without what it waited for. In every case the operation had no effect.
#[derive(Debug)]
pub enum WaitError {
    /// The deadline has passed.
    TimedOut,
    /// The thread was interrupted.
    Interrupted(Interrupted),
    /// A signal handler ran in the thread, or it was nudged, or it is time to [look again](Wait::look_again), and the wait had
    /// asked to know. Or an interrupt is pending, and the wait leaves it so.
    Signalled,
    /// It could never have ended: who holds what it waits for waits for this thread. Only with
    /// [detection](crate::deadlock) on.
    Deadlock(Deadlock),
}

impl WaitError {
    /// The interrupt, if it was one.
    ///
    /// # Errors
    /// The error itself, if it was something else.
    pub fn into_interrupted(self) -> Result<Interrupted, WaitError> {
        match self {
            WaitError::Interrupted(interrupted) => Ok(interrupted),
            other => Err(other),
        }
    }

    /// The deadlock, if it was one: also as the reason of an interrupt, which is what it is in operations that have no
    /// other error. See [`Interrupted::deadlock`].
    pub fn deadlock(&self) -> Option<&Deadlock> {
        match self {
            WaitError::Deadlock(deadlock) => Some(deadlock),
            WaitError::Interrupted(interrupted) => interrupted.deadlock(),
            WaitError::TimedOut | WaitError::Signalled => None,
        }
    }

    /// For waits that have neither deadline nor signals. A deadlock becomes the reason of an interrupt, as if who found
    /// it had interrupted the thread.
    pub(crate) fn only_interrupt(self) -> Interrupted {
        match self {
            WaitError::Interrupted(interrupted) => interrupted,
            WaitError::Deadlock(deadlock) => Interrupted::by(deadlock),
            WaitError::TimedOut | WaitError::Signalled => unreachable!("the wait had neither"),
        }
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitError::TimedOut => f.write_str("the wait timed out"),
            WaitError::Interrupted(interrupted) => interrupted.fmt(f),
            WaitError::Signalled => f.write_str("the wait was ended by a signal"),
            WaitError::Deadlock(deadlock) => deadlock.fmt(f),
        }
    }
}

impl std::error::Error for WaitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            WaitError::Interrupted(interrupted) => Some(interrupted),
            WaitError::Deadlock(deadlock) => Some(deadlock),
            WaitError::TimedOut | WaitError::Signalled => None,
        }
    }
}

impl From<Interrupted> for WaitError {
    fn from(interrupted: Interrupted) -> WaitError {
        WaitError::Interrupted(interrupted)
    }
}
