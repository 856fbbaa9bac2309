//! The granter's side: claim under the list's lock, publish under it, wake after it.

use super::node::{Node, Note, Waiter};
use super::queue::{List, Place, WaitQueue};
use super::{Goal, Transfer};
use std::time::Instant;

/// How many are granted to in one go. Those beyond wait until the list's lock has been free for a moment.
const BATCH: usize = if cfg!(any(quell_loom, quell_shuttle)) { 2 } else { 32 };

impl WaitQueue {
    /// Grants to every waiter that is in the list now, and has not left when its turn comes. `decide` runs under the
    /// list's lock, once, before them. Says how many there were.
    #[cold]
    pub(crate) fn grant_all(&self, token: u32, decide: impl FnOnce()) -> usize {
        self.grant_all_by(|granting, _| granting.publish(token), decide)
    }

    /// The same; `grant` publishes each claim.
    pub(crate) fn grant_all_by(
        &self,
        mut grant: impl FnMut(&mut Granting<'_, BATCH>, Note),
        decide: impl FnOnce(),
    ) -> usize {
        let mut granting = self.granting::<BATCH>();
        decide();
        let mut count = granting.grant_all(&mut grant);
        if granting.is_exhausted() {
            return count;
        }
        // More than one batch: who joins from here on does so behind the marker.
        let marker = Node::marker();
        let mut sweep = Sweep { queue: self, marker: &marker, grant };
        // SAFETY: we hold the lock. The marker stays in place until `Sweep` has unlinked it, also if a waker panics.
        unsafe { granting.list().link(&marker, Place::Back) };
        drop(granting);
        while let Some(granted) = sweep.once() {
            count += granted;
        }
        count
    }
}

/// Grants to all up to a marker in the list, a batch at a time.
struct Sweep<'a, F: FnMut(&mut Granting<'_, BATCH>, Note)> {
    queue: &'a WaitQueue,
    marker: &'a Node,
    grant: F,
}

impl<F: FnMut(&mut Granting<'_, BATCH>, Note)> Sweep<'_, F> {
    /// The next batch. `None`: the marker was reached, and is unlinked.
    fn once(&mut self) -> Option<usize> {
        let mut granting = self.queue.granting::<BATCH>();
        // SAFETY: the marker is in this list or in none.
        if !unsafe { granting.list().has(self.marker) } {
            return None;
        }
        granting.stop = self.marker;
        let granted = granting.grant_all(&mut self.grant);
        if granting.is_exhausted() {
            // SAFETY: it is in this list, as seen above.
            unsafe { granting.list().unlink(self.marker) };
        }
        Some(granted)
    }
}

impl<F: FnMut(&mut Granting<'_, BATCH>, Note)> Drop for Sweep<'_, F> {
    fn drop(&mut self) {
        // Something is left only if a waker panicked.
        while self.once().is_some() {}
    }
}

/// The list's lock, held to grant to its waiters in order. Dropping it frees the lock, then wakes them.
///
/// Each grant is a [`claim`](Granting::claim), and after it [`publish`](Granting::publish); in between, the waiter
/// cannot leave, and the primitive's state is changed.
pub(crate) struct Granting<'a, const N: usize> {
    // Before `wakes`: dropped first.
    list: List<'a>,
    wakes: Wakes<N>,
    /// The next node to look at.
    at: *const Node,
    /// The node that is not to be looked at; null: none.
    stop: *const Node,
    /// Claimed, and not yet published.
    claimed: *const Node,
    /// How many were granted by being put into another queue.
    moved: usize,
}

impl<'a, const N: usize> Granting<'a, N> {
    pub(super) fn new(list: List<'a>) -> Granting<'a, N> {
        let at = list.first();
        let (stop, claimed) = (std::ptr::null(), std::ptr::null());
        Granting { list, wakes: Wakes::new(), at, stop, claimed, moved: 0 }
    }

    /// Claims the first waiter, from where the last claim was, and tells its note. `None`: there is none left.
    pub(crate) fn claim(&mut self) -> Option<Note> {
        self.claim_if(|_| true)
    }

    /// The same, if the waiter suits: `None` also if `suits` refuses one, who then stays the first.
    ///
    /// # Panics
    /// If [`is_full`](Granting::is_full).
    pub(crate) fn claim_if(&mut self, mut suits: impl FnMut(&Note) -> bool) -> Option<Note> {
        assert!(!self.is_full() && self.claimed.is_null(), "publish each claim, up to {N}");
        while !self.is_exhausted() {
            // SAFETY: nodes in the list are alive while we hold its lock.
            let node = unsafe { &*self.at };
            // Who has left unlinks itself as soon as it gets the lock.
            if node.is_waiting() {
                // SAFETY: we hold the list's lock, and keep no reference to its links.
                let note = unsafe { node.links() }.note;
                if !suits(&note) {
                    return None;
                }
                if node.claim() {
                    // SAFETY: it is in the list, and we hold the lock; no other reference to its links is kept.
                    unsafe {
                        self.at = node.links().next;
                        self.list.unlink(node);
                        self.wakes.push(node.links().waiter.take());
                    }
                    self.claimed = node;
                    return Some(note);
                }
            }
            // SAFETY: as above.
            self.at = unsafe { node.links() }.next;
        }
        None
    }

    /// The grant: the waiter of the last claim has it, and is woken when this is dropped.
    ///
    /// # Panics
    /// If there was no claim, or it was published.
    pub(crate) fn publish(&mut self, token: u32) {
        let node = std::mem::replace(&mut self.claimed, std::ptr::null());
        assert!(!node.is_null(), "publish() without claim()");
        // SAFETY: claimed by us and unlinked; not touched after.
        unsafe { Node::publish(node, token) };
    }

    /// The grant to a waiter that waits for something else next: it is put into that one's queue, and not woken; see
    /// [`transfer`](super::transfer). It counts as waiting there since `since`. False: nothing was done, and the claim
    /// is still to be published.
    ///
    /// # Safety
    /// `to` is where the note of the last claim says, and its waiter's.
    pub(crate) unsafe fn transfer<G: Goal>(
        &mut self,
        token: u32,
        to: *const Transfer<'_, G>,
        since: Instant,
    ) -> bool {
        // SAFETY: it is there until the first grant; and after that one until its node was granted, which needs the lock
        // of `list`.
        let to = unsafe { &*to };
        let Some(list) = to.list() else { return false };
        let waiter = self.wakes.pop();
        to.show(waiter.as_ref());
        self.publish(token);
        // SAFETY: that list, and the node has not been in any.
        unsafe { to.link(&list, waiter, since) };
        self.moved += 1;
        true
    }

    /// Whoever is the first now counts as waiting since `now`, if it waits for longer. For a primitive that does a thing
    /// for who has waited for long, but not for one after the other.
    pub(crate) fn restart(&mut self, now: Instant) {
        let first = self.list.first();
        if !first.is_null() {
            // SAFETY: nodes in the list are alive while we hold its lock, which their links belong to.
            let note = unsafe { &mut (*first).links().note };
            note.since = note.since.map(|since| since.max(now));
        }
    }

    /// Grants to all that are left, or as many as can be woken in one go. Says to how many.
    fn grant_all(&mut self, grant: &mut impl FnMut(&mut Self, Note)) -> usize {
        let mut count = 0;
        while !self.is_full()
            && let Some(note) = self.claim()
        {
            grant(self, note);
            count += 1;
        }
        count
    }

    /// Tells the notes of all that are waiting, first to last.
    pub(crate) fn each(&self, mut tell: impl FnMut(&Note)) {
        let mut at = self.at;
        while !at.is_null() {
            // SAFETY: nodes in the list are alive while we hold its lock.
            let node = unsafe { &*at };
            if node.is_waiting() {
                // SAFETY: we hold the list's lock, and keep no reference to its links.
                let note = unsafe { node.links() }.note;
                tell(&note);
            }
            // SAFETY: as above.
            at = unsafe { node.links() }.next;
        }
    }

    /// Whether no node is left to look at.
    fn is_exhausted(&self) -> bool {
        std::ptr::eq(self.at, self.stop)
    }

    /// Whether as many were granted as may be in one go.
    pub(crate) fn is_full(&self) -> bool {
        self.wakes.count + self.moved == N
    }

    /// Whether no node is left in the list.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn list(&self) -> &List<'a> {
        &self.list
    }
}

impl<const N: usize> Drop for Granting<'_, N> {
    fn drop(&mut self) {
        // A claim without a grant would keep its waiter for ever.
        debug_assert!(self.claimed.is_null() || std::thread::panicking());
    }
}

/// Those who were granted, to be woken when the lock is free.
struct Wakes<const N: usize> {
    waiters: [Option<Waiter>; N],
    count: usize,
}

impl<const N: usize> Wakes<N> {
    fn new() -> Wakes<N> {
        Wakes { waiters: [const { None }; N], count: 0 }
    }

    fn push(&mut self, waiter: Option<Waiter>) {
        debug_assert!(waiter.is_some(), "a node is granted once");
        self.waiters[self.count] = waiter;
        self.count += 1;
    }

    fn pop(&mut self) -> Option<Waiter> {
        self.count -= 1;
        self.waiters[self.count].take()
    }
}

impl<const N: usize> Drop for Wakes<N> {
    fn drop(&mut self) {
        /// Wakes the rest, also if a waker panics.
        struct Rest<'a>(&'a mut dyn Iterator<Item = Waiter>);
        impl Drop for Rest<'_> {
            fn drop(&mut self) {
                self.0.for_each(Waiter::wake);
            }
        }
        let mut waiters = self.waiters[..self.count].iter_mut().filter_map(Option::take);
        let rest = Rest(&mut waiters);
        for waiter in &mut *rest.0 {
            waiter.wake();
        }
    }
}
