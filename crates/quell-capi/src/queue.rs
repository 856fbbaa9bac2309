//! The queues of pointers: first in first out, last in first out, by priority. One type, of whatever order.

use crate::object::{Waiting, answer, free, hand_out, hold, null};
use crate::reason::quell_destroy;
use crate::status::quell_status::{
    QUELL_EMPTY, QUELL_FULL, QUELL_INTERNAL, QUELL_OVERFLOW, QUELL_SHUT_DOWN, QUELL_TIMED_OUT,
};
use crate::status::{Failure, call, call_for, quell_status};
use crate::time::{quell_deadline, until};
use quell_core::fork::Keep;
use quell_core::{GetError, LifoQueue, PriorityQueue, PutError, Queue, Wait};
use std::cmp::Ordering;
use std::ffi::{c_int, c_void};
use std::mem::ManuallyDrop;

/// Compares two items of a queue by priority, with the context that the queue was made with: less than 0 if the first comes
/// before the second, more than 0 if it comes after it, 0 if they are equals. For the items of one queue it must always give the
/// same order. It is called by puts and gets, in their threads, inside the queue: it must be short, and must not call quell.
pub type quell_compare = Option<
    extern "C" fn(first: *const c_void, second: *const c_void, context: *mut c_void) -> c_int,
>;

/// A queue of pointers, for any number of threads at both ends. Made by quell_queue_new() (first in, first out),
/// quell_lifo_queue_new() (last in, first out) or quell_priority_queue_new(). NULL is an item like any other.
///
/// An item belongs to the queue from the moment that a put returns QUELL_OK until a get returns it; a put that
/// ends otherwise leaves it to the caller. What is still in the queue when that is freed, or shut down immediately, goes to
/// the queue's destructor, once each, with nothing locked. No item is lost and none comes twice, whatever interrupts,
/// deadlines and shut-downs come.
pub struct quell_queue {
    pub(crate) queue: Order,
    destroy: quell_destroy,
    pub(crate) waiting: Waiting,
}

/// The core's queues.
pub(crate) enum Order {
    Fifo(Queue<Item>),
    Lifo(LifoQueue<Item>),
    Priority(PriorityQueue<Ranked>, Rank),
}

/// The same for each of them, that of the core's method. An item goes in and comes out as such.
macro_rules! each {
    ($order:expr, $queue:ident => $call:expr) => {
        match $order {
            Order::Fifo($queue) => $call,
            Order::Lifo($queue) => $call,
            Order::Priority($queue, _) => $call,
        }
    };
}

/// How the items of a queue by priority are compared.
#[derive(Clone, Copy)]
pub(crate) struct Rank {
    compare: extern "C" fn(*const c_void, *const c_void, *mut c_void) -> c_int,
    context: *mut c_void,
}

// SAFETY: quell only carries the context; the program knows that its function is called in every thread that uses the queue.
unsafe impl Send for Rank {}
// SAFETY: as above.
unsafe impl Sync for Rank {}

/// An item that has a priority.
pub(crate) struct Ranked {
    item: Item,
    rank: Rank,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Ranked) -> Ordering {
        let Rank { compare, context } = self.rank;
        compare(self.item.pointer, other.item.pointer, context).cmp(&0)
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Ranked) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Ranked) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}

/// What a queue has of an item.
trait Carries {
    fn into_item(self) -> Item;
}

impl Carries for Item {
    fn into_item(self) -> Item {
        self
    }
}

impl Carries for Ranked {
    fn into_item(self) -> Item {
        self.item
    }
}

impl Order {
    fn put(&self, item: Item, wait: &Wait) -> Result<(), PutError<Item>> {
        match self {
            Order::Fifo(queue) => queue.put_with(item, wait),
            Order::Lifo(queue) => queue.put_with(item, wait),
            Order::Priority(queue, rank) => {
                queue.put_with(Ranked { item, rank: *rank }, wait).map_err(unranked)
            }
        }
    }

    fn try_put(&self, item: Item) -> Result<(), PutError<Item>> {
        match self {
            Order::Fifo(queue) => queue.try_put(item),
            Order::Lifo(queue) => queue.try_put(item),
            Order::Priority(queue, rank) => {
                queue.try_put(Ranked { item, rank: *rank }).map_err(unranked)
            }
        }
    }
}

impl Keep for Order {
    fn hold(&self) {
        each!(self, queue => queue.hold());
    }

    unsafe fn release(&self) {
        // SAFETY: it is held, as this is.
        each!(self, queue => unsafe { queue.release() });
    }

    fn forget_waiters(&self) {
        each!(self, queue => queue.forget_waiters());
    }
}

fn unranked(error: PutError<Ranked>) -> PutError<Item> {
    match error {
        PutError::Full(ranked) => PutError::Full(ranked.item),
        PutError::ShutDown(ranked) => PutError::ShutDown(ranked.item),
        PutError::TimedOut(ranked) => PutError::TimedOut(ranked.item),
        PutError::Signalled(ranked) => PutError::Signalled(ranked.item),
        PutError::Interrupted(ranked, interrupted) => {
            PutError::Interrupted(ranked.item, interrupted)
        }
    }
}

/// A pointer that the queue owns; dropped, it goes to the destructor.
pub(crate) struct Item {
    pointer: *mut c_void,
    destroy: quell_destroy,
}

// SAFETY: quell only carries it; what it points to is the program's affair, which knows that it goes to another thread.
unsafe impl Send for Item {}

impl Item {
    /// The pointer, which is not the queue's any more.
    fn into_pointer(self) -> *mut c_void {
        ManuallyDrop::new(self).pointer
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        if let Some(destroy) = self.destroy {
            destroy(self.pointer);
        }
    }
}

impl quell_queue {
    fn item(&self, pointer: *mut c_void) -> Item {
        Item { pointer, destroy: self.destroy }
    }
}

/// Why an item was not put; the caller keeps it.
impl From<PutError<Item>> for Failure {
    fn from(error: PutError<Item>) -> Failure {
        let (item, failure) = match error {
            PutError::Full(item) => (item, QUELL_FULL.into()),
            PutError::ShutDown(item) => (item, QUELL_SHUT_DOWN.into()),
            PutError::TimedOut(item) => {
                let what = "the queue stayed full until the deadline";
                (item, Failure::new(QUELL_TIMED_OUT, what))
            }
            PutError::Signalled(item) => (item, QUELL_INTERNAL.into()),
            PutError::Interrupted(item, interrupted) => (item, interrupted.into()),
        };
        item.into_pointer();
        failure
    }
}

impl From<GetError> for Failure {
    fn from(error: GetError) -> Failure {
        match error {
            GetError::Empty => QUELL_EMPTY.into(),
            GetError::ShutDown => {
                Failure::new(QUELL_SHUT_DOWN, "the queue is shut down, and empty")
            }
            GetError::TimedOut => {
                Failure::new(QUELL_TIMED_OUT, "the queue stayed empty until the deadline")
            }
            GetError::Signalled => QUELL_INTERNAL.into(),
            GetError::Interrupted(interrupted) => interrupted.into(),
        }
    }
}

/// Makes a queue that takes `capacity` items at most, to be freed with quell_queue_free(). QUELL_UNBOUNDED: any number. 0:
/// none; each item goes from the hands of a putter into those of a getter, and whoever comes first waits for the other.
/// `destroy` is called with each item that is left in the end; NULL: nothing is. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn quell_queue_new(capacity: usize, destroy: quell_destroy) -> *mut quell_queue {
    call_for("quell_queue_new", std::ptr::null_mut(), || {
        Ok(make(Order::Fifo(Queue::bounded(capacity)), destroy))
    })
}

/// Makes a queue from which the item that was put last is got first; otherwise as quell_queue_new(). Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn quell_lifo_queue_new(
    capacity: usize,
    destroy: quell_destroy,
) -> *mut quell_queue {
    call_for("quell_lifo_queue_new", std::ptr::null_mut(), || {
        Ok(make(Order::Lifo(LifoQueue::bounded(capacity)), destroy))
    })
}

/// Makes a queue from which the item is got first that comes before all others, as `compare` says, which is called with
/// `context`; of equals, the one that was put first. Otherwise as quell_queue_new(). Does not block. NULL if `compare` is NULL.
///
/// Items that wait for room are not yet in the queue, whatever their priority.
#[unsafe(no_mangle)]
pub extern "C" fn quell_priority_queue_new(
    capacity: usize,
    compare: quell_compare,
    context: *mut c_void,
    destroy: quell_destroy,
) -> *mut quell_queue {
    call_for("quell_priority_queue_new", std::ptr::null_mut(), || {
        let compare = compare.ok_or_else(|| null("function that compares"))?;
        let queue = PriorityQueue::bounded(capacity);
        Ok(make(Order::Priority(queue, Rank { compare, context }), destroy))
    })
}

fn make(queue: Order, destroy: quell_destroy) -> *mut quell_queue {
    hand_out(quell_queue { queue, destroy, waiting: Waiting::new() })
}

/// Puts an item; waits for room until the deadline.
///
/// Interruption point, if it has to wait. QUELL_OK: the item is the queue's, or a getter has it. QUELL_INTERRUPTED,
/// QUELL_TIMED_OUT, QUELL_SHUT_DOWN: it is still the caller's.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_queue_put(
    queue: *mut quell_queue,
    item: *mut c_void,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_queue_put", || {
        // SAFETY: the caller's promise: NULL or a queue.
        let queue = unsafe { hold(queue, "queue") }?;
        match queue.queue.try_put(queue.item(item)) {
            Err(PutError::Full(item)) => {
                Ok(queue.waiting.during(|| queue.queue.put(item, &until(deadline)))?)
            }
            other => Ok(other?),
        }
    })
}

/// Puts an item if there is room, or if somebody waits for one. Does not block; no interruption point.
///
/// QUELL_OK: the item is the queue's, or a getter has it. QUELL_FULL, QUELL_SHUT_DOWN: it is still the caller's.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_queue_try_put(
    queue: *mut quell_queue,
    item: *mut c_void,
) -> quell_status {
    call("quell_queue_try_put", || {
        // SAFETY: the caller's promise: NULL or a queue.
        let queue = unsafe { hold(queue, "queue") }?;
        Ok(queue.queue.try_put(queue.item(item))?)
    })
}

/// Takes the next item and writes it to `item`, which must not be NULL; waits for one until the deadline.
///
/// Interruption point, if it has to wait. QUELL_OK: the item is the caller's. QUELL_INTERRUPTED, QUELL_TIMED_OUT: none was
/// taken. QUELL_SHUT_DOWN: and the queue is empty. Where no item was taken, `item` is not written to.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_queue_get(
    queue: *mut quell_queue,
    item: *mut *mut c_void,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_queue_get", || {
        // SAFETY: the caller's promise: NULL or a queue.
        let queue = unsafe { hold(queue, "queue") }?;
        if item.is_null() {
            return Err(null("place for the item"));
        }
        let wait = || until(deadline);
        let got: Item = each!(&queue.queue, inner => match inner.try_get() {
            Err(GetError::Empty) => queue.waiting.during(|| inner.get_with(&wait()))?.into_item(),
            other => other?.into_item(),
        });
        // SAFETY: the caller's promise: a place for it.
        unsafe { answer(item, got.into_pointer()) };
        Ok(())
    })
}

/// Takes the next item, if there is one or somebody waits to put one, and writes it to `item`, which must not be NULL. Does
/// not block; no interruption point.
///
/// QUELL_OK: the item is the caller's. QUELL_EMPTY. QUELL_SHUT_DOWN: and the queue is empty.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_queue_try_get(
    queue: *mut quell_queue,
    item: *mut *mut c_void,
) -> quell_status {
    call("quell_queue_try_get", || {
        // SAFETY: the caller's promise: NULL or a queue.
        let queue = unsafe { hold(queue, "queue") }?;
        if item.is_null() {
            return Err(null("place for the item"));
        }
        let got: Item = each!(&queue.queue, inner => inner.try_get()?.into_item());
        // SAFETY: the caller's promise: a place for it.
        unsafe { answer(item, got.into_pointer()) };
        Ok(())
    })
}

/// How many items are in the queue; those that somebody waits to put do not count. Out of date as soon as it is known. Does
/// not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_queue_size(queue: *const quell_queue) -> usize {
    call_for("quell_queue_size", 0, || {
        // SAFETY: the caller's promise: NULL or a queue.
        Ok(each!(&unsafe { hold(queue, "queue") }?.queue, inner => inner.len()))
    })
}

/// Reports that the work on an item that was got is done. When all are, quell_queue_join() returns. Does not block; no
/// interruption point.
///
/// QUELL_OK. QUELL_OVERFLOW: called more often than items were put.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_queue_task_done(queue: *mut quell_queue) -> quell_status {
    call("quell_queue_task_done", || {
        // SAFETY: the caller's promise: NULL or a queue.
        let queue = unsafe { hold(queue, "queue") }?;
        let what = "a task was reported done more often than items were put";
        each!(&queue.queue, inner => inner.task_done())
            .map_err(|_| Failure::new(QUELL_OVERFLOW, what))
    })
}

/// Waits until every item that was put was reported done, or the deadline.
///
/// Interruption point, if it has to wait. QUELL_OK, QUELL_INTERRUPTED, QUELL_TIMED_OUT.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_queue_join(
    queue: *mut quell_queue,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_queue_join", || {
        // SAFETY: the caller's promise: NULL or a queue.
        let queue = unsafe { hold(queue, "queue") }?;
        let join = || each!(&queue.queue, inner => inner.join_with(&until(deadline)));
        Ok(queue.waiting.during(join)?)
    })
}

/// Shuts the queue down: every put fails from now on, and every get as soon as the queue is empty, with QUELL_SHUT_DOWN. Who
/// waits is woken; who waits to put keeps its item. With `immediate`, the items that are left go to the destructor, and
/// count as done. Does not block; no interruption point.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_queue_shutdown(
    queue: *mut quell_queue,
    immediate: bool,
) -> quell_status {
    call("quell_queue_shutdown", || {
        // SAFETY: the caller's promise: NULL or a queue.
        let queue = unsafe { hold(queue, "queue") }?;
        each!(&queue.queue, inner => inner.shutdown(immediate));
        Ok(())
    })
}

/// Frees a queue that nobody waits at. The items that are left go to the destructor. NULL is ignored. Does not block.
///
/// QUELL_OK. QUELL_BUSY: somebody waits at it; it was not freed. Shut it down first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_queue_free(queue: *mut quell_queue) -> quell_status {
    call("quell_queue_free", || {
        // SAFETY: the caller's promise: NULL or a queue that it does not use again.
        unsafe { free(queue, |queue| queue.waiting.check("queue")) }
    })
}

impl quell_queue {
    pub(crate) fn forget_waiters_after_fork(&self) {
        each!(&self.queue, inner => inner.forget_waiters_after_fork());
        self.waiting.forget();
    }
}
