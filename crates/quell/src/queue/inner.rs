//! A queue whose users hold another lock, the *outer* lock, whenever they do not wait: what [`InnerLock`](crate::InnerLock) is to a
//! lock. The protocol is that one's: who waits without the outer lock is counted under it, and while nobody is counted, whoever
//! has the outer lock is alone with the queue, and moves its item without taking the queue's own lock.
//!
//! Only the straight way is made so: an item that is put while nobody waits for one, or got while nobody waits for room. Everything
//! else takes the queue's lock, also alone. A task is polled and dropped under the outer lock, and counts for nothing: it is in a line
//! while it waits, where the straight way finds it.

use super::base::QueueOf;
use super::error::{GetError, PutError};
use super::kind::Kind;
use crate::sys::atomic::AtomicU32;
use crate::sys::atomic::Ordering::Relaxed;

/// A queue for those who hold another lock, the *outer* one, whenever they use it without waiting: then an item is moved without any
/// atomic operation, as long as nobody waits.
///
/// For embedders: the outer lock is the interpreter's. Which lock it is, is the users' affair; it must be the same for all.
///
/// ```
/// use quell::queue::{Fifo, InnerQueue};
/// use std::sync::Mutex;
///
/// static INTERPRETER: Mutex<()> = Mutex::new(());
/// let queue: InnerQueue<u32, Fifo> = InnerQueue::unbounded();
///
/// let held = INTERPRETER.lock().unwrap();
/// // SAFETY: under INTERPRETER, as everything below but the wait.
/// unsafe { queue.try_put(1) }.unwrap();
/// assert_eq!(unsafe { queue.try_get() }.unwrap(), 1);
///
/// unsafe { queue.go_outside() };
/// drop(held);
/// let got = unsafe { queue.whole() }.get_timeout(std::time::Duration::from_millis(1));
/// assert!(got.is_err());
/// let held = INTERPRETER.lock().unwrap();
/// unsafe { queue.come_back() };
/// # drop(held);
/// ```
#[derive(Debug)]
pub struct InnerQueue<T, K: Kind<T>> {
    queue: QueueOf<T, K>,
    outside: AtomicU32,
}

impl<T, K: Kind<T>> InnerQueue<T, K> {
    const_fn! {
        /// A queue that takes any number of items.
        pub fn unbounded() -> Self {
            InnerQueue { queue: QueueOf::unbounded(), outside: AtomicU32::new(0) }
        }
    }

    /// Relaxed, here and where it is written: under the outer lock.
    #[inline(always)]
    fn is_alone(&self) -> bool {
        self.outside.load(Relaxed) == 0
    }

    /// Puts an item if there is room, or if somebody waits for one. Does not block, and is no interruption point.
    ///
    /// # Errors
    /// [`PutError::Full`], [`PutError::ShutDown`]. The item comes back in the error.
    ///
    /// # Safety
    /// The calling thread has the outer lock.
    #[inline(always)]
    pub unsafe fn try_put(&self, item: T) -> Result<(), PutError<T>> {
        if !self.is_alone() {
            return self.queue.try_put(item);
        }
        // SAFETY: alone, until this returns.
        unsafe { self.queue.put_alone(item) }.or_else(|item| self.queue.try_put(item))
    }

    /// Takes the next item if there is one, or if somebody waits to put one. Does not block, and is no interruption point.
    ///
    /// # Errors
    /// [`GetError::Empty`]; [`GetError::ShutDown`] if the queue is shut down and empty.
    ///
    /// # Safety
    /// The calling thread has the outer lock.
    #[inline(always)]
    pub unsafe fn try_get(&self) -> Result<T, GetError> {
        if !self.is_alone() {
            return self.queue.try_get();
        }
        // SAFETY: alone, until this returns.
        unsafe { self.queue.get_alone() }.ok_or(()).or_else(|()| self.queue.try_get())
    }

    /// Says that the calling thread is about to give the outer lock up, to wait at the queue.
    ///
    /// # Safety
    /// The calling thread has the outer lock.
    #[inline]
    pub unsafe fn go_outside(&self) {
        self.outside.store(self.outside.load(Relaxed) + 1, Relaxed);
    }

    /// The thread has the outer lock again.
    ///
    /// # Safety
    /// It has, does not wait any more, and has gone outside before.
    #[inline]
    pub unsafe fn come_back(&self) {
        self.outside.store(self.outside.load(Relaxed) - 1, Relaxed);
    }

    /// Everything that a queue can do.
    ///
    /// # Safety
    /// It is used by a thread that has the outer lock, or has [gone outside](Self::go_outside); a future is polled and dropped so.
    #[inline(always)]
    pub unsafe fn whole(&self) -> &QueueOf<T, K> {
        &self.queue
    }
}
