//! The wait queue: an intrusive list of nodes, and how a thread waits in it. The protocol is in the module's
//! documentation.

use super::grant::Granting;
use super::node::{Node, Note, Waiter};
use super::{Wait, WaitError, block, look};
use crate::park::RawShort;
use crate::sys::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed};
use crate::thread::current;
use std::ptr;
use std::time::Instant;

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

    /// Waits in this queue as the current thread.
    ///
    /// `validate` runs under the list's lock before the thread joins the list; false: do not wait. `left` runs
    /// under the lock when the thread has left without a grant, and is told whether the list is empty now. Both
    /// only look at and change the primitive's own state. [`wait_for`](super::wait_for) is the same with a
    /// [`Goal`](super::Goal), which tasks and selections need.
    #[cold]
    pub(crate) fn wait(
        &self,
        wait: &Wait,
        place: Place,
        since: Option<Instant>,
        validate: impl FnOnce() -> bool,
        left: impl FnOnce(bool),
    ) -> Result<Waited, WaitError> {
        self.wait_noted(wait, place, Note { since, ..Note::NONE }, validate, left)
    }

    /// The same with a whole note.
    pub(super) fn wait_noted(
        &self,
        wait: &Wait,
        place: Place,
        note: Note,
        validate: impl FnOnce() -> bool,
        left: impl FnOnce(bool),
    ) -> Result<Waited, WaitError> {
        self.wait_and(wait, place, note, validate, left, || {}, None)
    }

    /// The same; `joined` runs when the thread is in the list and the lock is free again. If it panics, the process
    /// ends. `leave`, if there is one, decides alone whether the thread may leave, in place of the node: false means that
    /// it was granted, or soon will be. It is a compare-exchange on the primitive's own state, so that leaving is one
    /// step with a change there.
    #[expect(clippy::too_many_arguments, reason = "each of them is one step of the wait")]
    pub(super) fn wait_and(
        &self,
        wait: &Wait,
        place: Place,
        note: Note,
        validate: impl FnOnce() -> bool,
        left: impl FnOnce(bool),
        joined: impl FnOnce(),
        leave: Option<&dyn Fn() -> bool>,
    ) -> Result<Waited, WaitError> {
        let me = current();
        let node = Node::new(note);
        // SAFETY: ours, and in no list.
        unsafe { node.links() }.waiter = Some(Waiter::Thread(me.clone()));
        {
            let list = self.lock();
            if !validate() {
                return Ok(Waited::Refused);
            }
            // SAFETY: we hold the lock. The node stays in place until it is unlinked: below if the thread leaves, by
            // the granter otherwise; `InList` sees to it that nothing unwinds past it before.
            unsafe { list.link(&node, place) };
        }
        let in_list = InList;
        joined();
        let done = || node.granted().is_some();
        look::before_sleep(wait, done);
        let ended = match leave {
            None => block(&me, wait, done, || node.leave()),
            Some(leave) => block(&me, wait, done, leave),
        };
        if ended.is_err() {
            let list = self.lock();
            // SAFETY: the node is in this list, or in none: where `leave` decided, it may have been granted since.
            if unsafe { list.has(&node) } {
                // SAFETY: it is in this list.
                unsafe { list.unlink(&node) };
                left(list.is_empty());
            }
        }
        std::mem::forget(in_list);
        ended.map(|()| Waited::Granted(node.granted().expect("it ended well")))
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

    pub(super) fn lock(&self) -> List<'_> {
        self.lock.lock();
        List { queue: self }
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
