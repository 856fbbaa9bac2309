//! The wait queue: an intrusive list of nodes. The protocol is in the module's documentation.

use super::grant::Granting;
use super::node::Node;
use crate::park::RawShort;
use crate::sys::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed};
use std::ptr;

/// Where a waiter joins the list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Behind the others.
    Back,
    /// Before the others: it had been woken to look, and somebody was faster.
    Front,
}

/// How a wait ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// There was nothing to wait for; the waiter is in no list.
    Refused,
    /// Granted, with the granter's token.
    Granted(u32),
}

/// The waiters of one primitive.
///
/// Sixteen bytes, of which four are the primitive's own word: so a lock is a wait queue and nothing else.
pub(crate) struct WaitQueue {
    /// Belongs to the primitive. The queue does not look at it.
    pub(crate) word: AtomicU32,
    lock: RawShort,
    /// The first node; its `prev` is the last one, which makes a ring backwards. Written under the lock only; atomic so
    /// that `is_quiet` may look.
    head: AtomicPtr<Node>,
}

impl WaitQueue {
    const_fn! {
        /// Nobody waits; the primitive's word is `word`.
        pub(crate) fn new(word: u32) -> WaitQueue {
            WaitQueue {
                word: AtomicU32::new(word),
                lock: RawShort::new(),
                head: AtomicPtr::new(ptr::null_mut()),
            }
        }
    }

    /// Takes the list's lock to grant to several waiters, up to `N`, each on terms of its own.
    pub(crate) fn granting<const N: usize>(&self) -> Granting<'_, N> {
        Granting::new(self.lock())
    }

    /// Runs `f` under the list's lock, for a look at what changes under it.
    pub(crate) fn locked<R>(&self, f: impl FnOnce() -> R) -> R {
        let _list = self.lock();
        f()
    }

    /// Whether nobody waits, without taking the lock.
    ///
    /// For a primitive whose state has a lock of its own, which waiters take in `validate`: who changed the state
    /// under that lock and then finds the queue quiet has missed nobody. A waiter that saw the state before the
    /// change held this lock at that time; so `is_locked` (after it, in happens-before) sees it held, or, if
    /// released, the head it left.
    pub(crate) fn is_quiet(&self) -> bool {
        // Relaxed for the head: `is_locked` is an Acquire of the last release.
        !self.lock.is_locked() && self.head.load(Relaxed).is_null()
    }

    /// Nobody waits, whoever did; the primitive's word is `word`. For the child of a fork, where no other thread is.
    pub(crate) fn reset(&self, word: u32) {
        // Relaxed: there is one thread.
        self.head.store(ptr::null_mut(), Relaxed);
        self.word.store(word, Relaxed);
        self.lock.reset();
    }

    /// Before fork: nobody is in the middle of a change to the list, or to what changes under its lock.
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(crate) fn hold(&self) {
        self.lock.lock();
    }

    /// After fork: undoes [`hold`](WaitQueue::hold).
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(crate) fn release(&self) {
        self.lock.unlock();
    }

    pub(super) fn lock(&self) -> List<'_> {
        self.lock.lock();
        List { queue: self }
    }

    /// The same, if nobody has it locked. For who has another list locked, and so must not wait.
    pub(super) fn try_lock(&self) -> Option<List<'_>> {
        self.lock.try_lock().then(|| List { queue: self })
    }
}

/// The list, locked.
pub(super) struct List<'a> {
    queue: &'a WaitQueue,
}

impl List<'_> {
    pub(super) fn first(&self) -> *const Node {
        // Relaxed: ordered by the lock.
        self.queue.head.load(Relaxed)
    }

    fn set_first(&self, node: *const Node) {
        self.queue.head.store(node.cast_mut(), Relaxed);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first().is_null()
    }

    /// Whether the node is in the list.
    ///
    /// # Safety
    /// The node is in this list or in none.
    pub(super) unsafe fn has(&self, node: &Node) -> bool {
        // SAFETY: as the caller promises, the links belong to the lock that we hold.
        !unsafe { node.links() }.prev.is_null()
    }

    /// Puts a node into the list.
    ///
    /// # Safety
    /// The node is in no list, and stays alive and in place until it is unlinked.
    pub(super) unsafe fn link(&self, node: &Node, place: Place) {
        let first = self.first();
        if first.is_null() {
            // SAFETY: ours, and we hold the lock.
            let links = unsafe { node.links() };
            links.prev = node;
            links.next = ptr::null();
            self.set_first(node);
            return;
        }
        // SAFETY: every node of the list is alive, and its links belong to the lock. No two references to the same
        // links are kept at once.
        unsafe {
            let last = (*first).links().prev;
            // Either way it comes before the first: in front of it, or around the ring as the last.
            (*first).links().prev = node;
            match place {
                Place::Back => {
                    (*last).links().next = node;
                    node.links().prev = last;
                    node.links().next = ptr::null();
                }
                Place::Front => {
                    node.links().prev = last;
                    node.links().next = first;
                    self.set_first(node);
                }
            }
        }
    }

    /// Takes a node out of the list.
    ///
    /// # Safety
    /// The node is in this list.
    pub(super) unsafe fn unlink(&self, node: &Node) {
        // SAFETY: the node and its neighbours are in the list, hence alive, and their links belong to the lock.
        unsafe {
            let (prev, next) = {
                let links = node.links();
                let ends = (links.prev, links.next);
                links.prev = ptr::null();
                ends
            };
            let first = self.first();
            if ptr::eq(first, node) {
                self.set_first(next);
            } else {
                (*prev).links().next = next;
            }
            if !next.is_null() {
                (*next).links().prev = prev;
            } else if !ptr::eq(first, node) {
                // It was the last; the first points back to the new last.
                (*first).links().prev = prev;
            }
        }
    }
}

impl Drop for List<'_> {
    fn drop(&mut self) {
        self.queue.lock.unlock();
    }
}

// SAFETY: the nodes are reached under the lock, as the protocol says; their waiters' handles are Send.
unsafe impl Send for WaitQueue {}
// SAFETY: as above.
unsafe impl Sync for WaitQueue {}

/// While it lives, a node of this stack frame is in a list: unwinding would leave it dangling, so the process ends.
/// Nothing in between panics; this is the promise to the unsafe code.
pub(super) struct InList;

impl Drop for InList {
    fn drop(&mut self) {
        std::process::abort();
    }
}
