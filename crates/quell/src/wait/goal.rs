//! What a waiter waits for, as its queue has to know it: one description for threads, tasks and selections.

use super::node::{Node, Note, Waiter};
use super::queue::{InList, Place, WaitQueue, Waited};
use super::{Wait, WaitError, block, look};
use crate::deadlock::{Asleep, Kind};
use crate::thread::current;

/// What a waiter waits for. A primitive implements it once for each reason to wait.
pub(crate) trait Goal {
    /// The queue to wait in.
    fn queue(&self) -> &WaitQueue;

    /// What it is, for who shows waits.
    fn kind(&self) -> Kind {
        Kind::Other
    }

    /// Whether it is worth waiting. Runs under the list's lock, and if true, the waiter joins the list before the lock
    /// is free. It only looks at and changes the primitive's own state: typically it marks there that somebody waits.
    fn must_wait(&self) -> bool;

    /// A waiter has left without a grant. Runs under the list's lock, and is told whether the list is empty now. (It may
    /// hear that it is not, though nobody waits any more: never the other way round.)
    fn left(&self, empty: bool);

    /// What is to be done when a waiter has left without a grant and the list's lock is free again: grant to those behind
    /// it what it stood in the way of. Nothing, mostly.
    fn gone(&self) {}

    /// A task was granted `token`, and was dropped before it knew. Passes on what the grant was worth, so that it is
    /// not lost: frees what was handed over, wakes the next in place of who was woken to look. Runs outside the list's
    /// lock.
    fn pass_on(&self, token: u32);
}

/// Waits as the current thread, in the goal's queue. Blocks; an interruption point, as `wait` says.
#[cold]
pub(crate) fn wait_for<G: Goal + ?Sized>(
    goal: &G,
    wait: &Wait,
    place: Place,
    note: Note,
) -> Result<Waited, WaitError> {
    wait_for_and(goal, wait, place, note, || {}, None)
}

/// The same; `joined` runs when the thread is in the list and the lock is free again. If it panics, the process ends.
/// `leave`, if there is one, decides alone whether the thread may leave: false means that it was granted, or soon
/// will be. It is a compare-exchange on the primitive's own state, so that leaving is one step with a change there.
pub(crate) fn wait_for_and<G: Goal + ?Sized>(
    goal: &G,
    wait: &Wait,
    place: Place,
    note: Note,
    joined: impl FnOnce(),
    leave: Option<&dyn Fn() -> bool>,
) -> Result<Waited, WaitError> {
    let me = current();
    let node = Node::new(note);
    // SAFETY: ours, and in no list.
    unsafe { node.links() }.waiter = Some(Waiter::Thread(me.clone()));
    {
        let list = goal.queue().lock();
        if !goal.must_wait() {
            return Ok(Waited::Refused);
        }
        // SAFETY: we hold the lock. The node stays in place until it is unlinked: below if the thread leaves, by the
        // granter otherwise; `InList` sees to it that nothing unwinds past it before.
        unsafe { list.link(&node, place) };
    }
    let in_list = InList;
    joined();
    let done = || node.granted().is_some();
    look::before_sleep(wait, done);
    let asleep = Asleep::enter(&me, goal.kind(), goal.queue());
    let ended = match leave {
        None => block(&me, wait, done, || node.leave()),
        Some(leave) => block(&me, wait, done, leave),
    };
    drop(asleep);
    if ended.is_err() {
        // SAFETY: the node is in this list, or in none: where `leave` decided, it may have been granted since.
        unsafe { unlink(goal, &node) };
    }
    std::mem::forget(in_list);
    if ended.is_err() {
        goal.gone();
    }
    ended.map(|()| Waited::Granted(node.granted().expect("it ended well")))
}

/// Takes the node of a waiter that leaves out of the goal's list. False: a granter has taken it out before.
///
/// # Safety
/// The node is in this list or in none.
pub(super) unsafe fn unlink<G: Goal + ?Sized>(goal: &G, node: &Node) -> bool {
    let list = goal.queue().lock();
    // SAFETY: as the caller promises.
    if !unsafe { list.has(node) } {
        return false;
    }
    // SAFETY: it is in this list.
    unsafe { list.unlink(node) };
    goal.left(list.is_empty());
    true
}
