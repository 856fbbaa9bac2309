//! How a thread waits at an end of a queue. The protocol is that of [`line`](super::line).

use super::base::QueueOf;
use super::kind::Kind;
use super::line::{Node, Turn};
use super::state::{End, SHUT_DOWN, State, Step};
use crate::deadlock::{self, Asleep};
use crate::park::BurstGuard;
use crate::thread::{current, registered};
use crate::wait::{Wait, WaitError, Waiter, block};
use std::time::Instant;

/// How often to look at a turn before sleeping, giving way to others in between. Threads at the ends of a queue that is
/// mostly full or empty would otherwise sleep and wake each other for every item. A thread that gives way lets one run
/// that has something to put or to get, if there are more threads than cores; a thread that spins would keep it from
/// that, and where there are enough cores gains little.
const LOOKS: u32 = if cfg!(any(quell_loom, quell_shuttle)) { 0 } else { 64 };

impl<T, K: Kind<T>> QueueOf<T, K> {
    /// Waits as `wait` says, after a step came to that, for somebody else to make it. If it ends otherwise, nothing was
    /// moved. Under the lock that the step was made under until the thread is in line.
    pub(super) fn wait_at(
        &self,
        end: End,
        mut state: BurstGuard<'_, State<T, K>>,
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

/// Looks for a while whether the turn comes; as long as there is no reason to stop waiting. What that means is decided by the
/// wait proper.
fn comes_soon(turn: &Turn, wait: &Wait) -> bool {
    if wait.at_once {
        return false;
    }
    for _ in 0..LOOKS {
        if turn.is_granted() {
            return true;
        }
        let wanted = registered(|thread| {
            thread.slot().has_pending() || wait.signals && thread.slot().is_nudged()
        });
        if wanted == Some(true) || wait.deadline.is_some_and(|at| at <= Instant::now()) {
            return false;
        }
        std::thread::yield_now();
    }
    false
}

/// While it lives, a node of this stack frame is in a line: unwinding would leave it dangling, so the process ends.
/// Nothing in between panics; this is the promise to the unsafe code.
pub(super) struct InLine;

impl Drop for InLine {
    fn drop(&mut self) {
        std::process::abort();
    }
}
