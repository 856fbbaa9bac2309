//! A waiter that is granted by being put into another queue: what it waits for next is known, and whoever it has to wait
//! for is still busy, so to wake it now would only have it sleep again. (The wait morphing of LinuxThreads, requeueing
//! in futexes and parking_lot.)
//!
//! # The protocol
//!
//! The waiter has a second node beside its first, in no list at first; the first one's note says where it is. The granter
//! of the first queue, after its claim, takes the second queue's lock too, asks the second primitive whether there is
//! something to wait for, and if so
//!
//! 1. takes the waiter's handle, which the claim gave it, out of those to be woken,
//! 2. publishes the first grant, with a token that says "moved",
//! 3. puts handle and second node into the second list, and frees its lock.
//!
//! **Lifetime.** A waiter that was moved returns when its second node was granted, not before; so the granter may touch that one
//! after the first grant, until it frees the second list's lock.
//!
//! **No wake-up is lost.** A waiter that is awake by chance, or comes from its bed for an interrupt or a deadline, sees the first
//! grant, and from then on looks at the second node before every sleep. One that sleeps needs to know no sooner than it is
//! granted the second. That grant wakes it: the handle is in the second list before anybody else can look there.
//!
//! **No circle of locks.** A granter that holds one list's lock does not wait for the other: if somebody is busy there, the
//! waiter is woken as if there were no second queue. So two queues never wait for each other, nor for a fork that holds both.
//!
//! The second wait is ended by its grant alone: the waiter was notified, so interrupts stay pending.

use super::node::{Node, Note, Waiter};
use super::queue::{InList, List, Place};
use super::{Goal, Wait, block, look};
use crate::deadlock::Asleep;
use crate::thread::Thread;
use std::time::Instant;

/// The second node of a waiter, on its stack, and what it waits for with that.
pub(crate) struct Transfer<'a, G> {
    goal: &'a G,
    node: Node,
}

impl<'a, G: Goal> Transfer<'a, G> {
    pub(crate) fn new(goal: &'a G) -> Transfer<'a, G> {
        Transfer { goal, node: Node::new(Note::NONE) }
    }

    /// For the first node: where this is.
    pub(crate) fn note(&self) -> Note {
        Note::at(self)
    }

    /// Waiter, after the first grant said that it was moved: waits for the second, and tells its token. No interruption
    /// point.
    pub(crate) fn wait(&self, me: &Thread) -> u32 {
        let in_list = InList;
        let wait = Wait::new().shielded();
        let done = || self.node.granted().is_some();
        look::before_sleep(&wait, done);
        let asleep = Asleep::enter(me, self.goal.kind(), self.goal.queue());
        let ended = block(me, &wait, done, || false);
        debug_assert!(ended.is_ok(), "nothing else ends this wait");
        drop(asleep);
        std::mem::forget(in_list);
        self.node.granted().expect("it ended well")
    }

    /// Granter: the second list, locked, if there is something to wait for and nobody is busy with it. The node is to be
    /// linked then.
    pub(super) fn list(&self) -> Option<List<'a>> {
        let list = self.goal.queue().try_lock()?;
        self.goal.must_wait().then_some(list)
    }

    /// Granter, before the first grant: from now on the waiter is shown where it will be.
    pub(super) fn show(&self, waiter: Option<&Waiter>) {
        if let Some(Waiter::Thread(thread)) = waiter {
            Asleep::moved(thread, self.goal.kind(), self.goal.queue());
        }
    }

    /// Granter, after the first grant: joins the second list.
    ///
    /// # Safety
    /// `list` is from [`list`](Transfer::list), and the node is in none.
    pub(super) unsafe fn link(&self, list: &List<'_>, waiter: Option<Waiter>, since: Instant) {
        {
            // SAFETY: in no list; its waiter does not touch the links.
            let links = unsafe { self.node.links() };
            links.waiter = waiter;
            links.note.since = Some(since);
        }
        // SAFETY: as the caller promises; and the waiter does not return before it is granted through this list.
        unsafe { list.link(&self.node, Place::Back) };
    }
}
