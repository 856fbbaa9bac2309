//! How a thread waits at an end of a queue. The protocol is that of [`line`](super::line).
//!
//! Putting a thread to sleep and waking it takes a hundred times as long as moving an item, and so does changing places with
//! another thread on the same processor. Two habits keep a busy queue from doing that for every item:
//!
//! - **In line, a thread looks before it sleeps**: at first every few nanoseconds, because the other end may be running on
//!   another processor, and has something in a tenth of a microsecond; then giving way to others in between, because the
//!   other end may need this processor.
//! - **Before it joins a line, at an end where many items have passed without a wait, it stays away for a moment.** Whoever
//!   has filled a queue and joins the line has its next item put as soon as one comes out, is there at once with another, and finds
//!   it full again: every item costs a wait. Away for as long as some dozens of items take, it finds room for all of them.
//!   Nobody is overtaken, because it does so only while nobody is in line; and who waits for a single answer, on a queue that is
//!   empty between two, joins at once.

use super::base::QueueOf;
use super::held::Held;
use super::kind::Kind;
use super::line::{Node, Turn};
use super::state::{End, SHUT_DOWN, Step, Wake};
use crate::deadlock::{self, Asleep};
use crate::thread::{current, registered};
use crate::wait::{Wait, WaitError, Waiter, block};
use std::time::Instant;

const IN_MODEL: bool = cfg!(any(quell_loom, quell_shuttle));

/// How often to look at a turn before sleeping.
const LOOKS: u32 = if IN_MODEL { 0 } else { 64 };
/// How many of these are made spinning, each time for twice as long. Longer than this, a thread keeps who could serve it
/// from its processor: with four putters, one getter and room for one item on two processors, an item took 0.5 µs with
/// four, 0.9 µs with five and 1.8 µs with seven.
const SPINNING_LOOKS: u32 = 4;
/// How often to look before joining a line: once after [`AWAY`] pauses, then giving way to others.
const FIRST_LOOKS: u32 = if IN_MODEL { 0 } else { 3 };
const AWAY: u32 = 32;

impl<T, K: Kind<T>> QueueOf<T, K> {
    /// Waits as `wait` says, after a step came to that, until the step can be made, or for somebody else to make it. If it ends
    /// otherwise, nothing was moved. Gives up the lock that the step was made under.
    pub(super) fn wait_for_turn<'a>(
        &'a self,
        end: End,
        mut state: Held<'a, T, K>,
        slot: &mut Option<T>,
        wait: &Wait,
    ) -> Result<Step, WaitError> {
        if state.is_stream(end) && wait.look.gives_way() {
            drop(state);
            match self.look_first(end, slot, wait) {
                Ok(step) => return Ok(step),
                Err(held) => state = held,
            }
        }
        self.wait_in_line(end, state, slot, wait)
    }

    /// Looks for a moment whether the step can be made, and makes it then. If not, it was tried last under the lock that
    /// comes back.
    fn look_first(
        &self,
        end: End,
        slot: &mut Option<T>,
        wait: &Wait,
    ) -> Result<Step, Held<'_, T, K>> {
        for look in 0..FIRST_LOOKS {
            if has_reason_to_stop(wait) {
                break;
            }
            match look {
                0 => (0..AWAY).for_each(|_| std::hint::spin_loop()),
                _ => std::thread::yield_now(),
            }
            if self.state.looks_open(end)
                && let Ok(step) = self.retry(end, slot)
            {
                return Ok(step);
            }
        }
        self.retry(end, slot)
    }

    /// One step. If it must wait, the lock that it was made under.
    fn retry(&self, end: End, slot: &mut Option<T>) -> Result<Step, Held<'_, T, K>> {
        let mut wake = Wake::default();
        let mut state = self.state.lock();
        match state.step(end, slot, &mut wake) {
            Step::Wait => Err(state),
            step => {
                // Before `wake`.
                drop(state);
                Ok(step)
            }
        }
    }

    /// Joins the line, under the lock that a step came to waiting under, and waits for somebody else to make it.
    fn wait_in_line(
        &self,
        end: End,
        mut state: Held<'_, T, K>,
        slot: &mut Option<T>,
        wait: &Wait,
    ) -> Result<Step, WaitError> {
        let turn = Turn::awake();
        let node = Node::new();
        // SAFETY: in no line. Then: node, turn and slot stay where they are, and are not touched, until the node was
        // granted or has quit, below; `InLine` sees to it that nothing unwinds past it before.
        unsafe {
            node.bind(&turn, 0, slot);
            state.line(end).join(&node);
        }
        drop(state);
        let in_line = InLine;
        let ended = self.sleep(&turn, &node, wait);
        if ended.is_err() {
            // SAFETY: the node is in this line: the turn was left, so nobody has claimed it.
            unsafe { self.state.lock().line(end).quit(&node) };
        }
        std::mem::forget(in_line);
        turn.use_slots();
        ended.map(|()| answer(&turn))
    }

    /// Until the turn is granted; or until the options let the thread go, and it has left the turn.
    fn sleep(&self, turn: &Turn, node: &Node<T>, wait: &Wait) -> Result<(), WaitError> {
        if comes_soon(turn, wait) {
            return Ok(());
        }
        let me = current();
        // SAFETY: we are the waiter, and awake.
        unsafe { node.set_waiter(Waiter::Thread(me.clone())) };
        if turn.state.doze() {
            let _asleep = Asleep::enter(&me, deadlock::Kind::Queue, self);
            return block(&me, wait, || turn.is_granted(), || turn.state.leave());
        }
        // It was claimed; who did that publishes the grant before the lock is free.
        drop(self.state.lock());
        Ok(())
    }
}

/// What a turn that was granted says.
pub(super) fn answer(turn: &Turn) -> Step {
    let (_, token) = turn.state.granted().expect("it was granted");
    if token == SHUT_DOWN { Step::ShutDown } else { Step::Moved }
}

/// Looks for a while whether the turn comes; as long as there is no reason to stop waiting.
fn comes_soon(turn: &Turn, wait: &Wait) -> bool {
    if !wait.look.gives_way() {
        return false;
    }
    for look in 0..LOOKS {
        if turn.is_granted() {
            return true;
        }
        if has_reason_to_stop(wait) {
            return false;
        }
        match look {
            0..SPINNING_LOOKS => (0..1 << look).for_each(|_| std::hint::spin_loop()),
            _ => std::thread::yield_now(),
        }
    }
    false
}

/// Whether it looks as if the wait is to end. What that means is decided by the wait proper.
fn has_reason_to_stop(wait: &Wait) -> bool {
    let wanted = registered(|thread| {
        thread.slot().has_pending() || wait.signals && thread.slot().is_nudged()
    });
    wanted == Some(true) || wait.deadline.is_some_and(|at| at <= Instant::now())
}

/// While it lives, a node of this stack frame is in a line: unwinding would leave it dangling, so the process ends.
/// Nothing in between panics; this is the promise to the unsafe code.
pub(super) struct InLine;

impl Drop for InLine {
    fn drop(&mut self) {
        std::process::abort();
    }
}
