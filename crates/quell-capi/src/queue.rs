//! The queue of pointers.

use crate::object::{Waiting, answer, free, hand_out, hold, null};
use crate::reason::quell_destroy;
use crate::status::quell_status::{
    QUELL_EMPTY, QUELL_FULL, QUELL_INTERNAL, QUELL_OVERFLOW, QUELL_SHUT_DOWN, QUELL_TIMED_OUT,
};
use crate::status::{Failure, call, call_for, quell_status};
use crate::time::{quell_deadline, until};
use quell_core::{GetError, PutError, Queue};
use std::ffi::c_void;
use std::mem::ManuallyDrop;

/// A queue of pointers, first in, first out, for any number of threads at both ends. NULL is an item like any other.
///
/// An item belongs to the queue from the moment that a put returns QUELL_OK until a get returns it; a put that
/// ends otherwise leaves it to the caller. What is still in the queue when that is freed, or shut down immediately, goes to
/// the queue's destructor, once each, with nothing locked. No item is lost and none comes twice, whatever interrupts,
/// deadlines and shut-downs come.
pub struct quell_queue {
    queue: Queue<Item>,
    destroy: quell_destroy,
    waiting: Waiting,
}

/// A pointer that the queue owns; dropped, it goes to the destructor.
struct Item {
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
        let queue = Queue::bounded(capacity);
        Ok(hand_out(quell_queue { queue, destroy, waiting: Waiting::new() }))
    })
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
                Ok(queue.waiting.during(|| queue.queue.put_with(item, &until(deadline)))?)
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
        let got = match queue.queue.try_get() {
            Err(GetError::Empty) => {
                queue.waiting.during(|| queue.queue.get_with(&until(deadline)))?
            }
            other => other?,
        };
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
        let got = queue.queue.try_get()?;
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
        Ok(unsafe { hold(queue, "queue") }?.queue.len())
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
        queue.queue.task_done().map_err(|_| Failure::new(QUELL_OVERFLOW, what))
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
        Ok(queue.waiting.during(|| queue.queue.join_with(&until(deadline)))?)
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
        unsafe { hold(queue, "queue") }?.queue.shutdown(immediate);
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
        self.queue.forget_waiters_after_fork();
        self.waiting.forget();
    }
}
