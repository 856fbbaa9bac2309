//! Fork: what the child calls.

use crate::barrier::quell_barrier;
use crate::condition::quell_condition;
use crate::event::quell_event;
use crate::lock::quell_lock;
use crate::object::hold;
use crate::queue::quell_queue;
use crate::semaphore::quell_semaphore;
use crate::status::{Failure, call, quell_status};
use quell_core::fork::{self, Keep};

/// What fork requires in the child's only thread, if the fork went around libc. After fork() it is done already, and doing it
/// again does no harm. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn quell_after_fork_child() {
    let _recorded = call("quell_after_fork_child", || {
        quell_core::after_fork_child();
        Ok(())
    });
}

/// Keeps a lock through every fork from now on, until it is freed: fork() waits for the few instructions that another thread may
/// need to finish changing it, and in the child nobody waits for it any more when fork() returns. Who holds it, holds it there
/// too. Keeping it again changes nothing. Does not block for longer than a fork takes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_lock_keep(lock: *mut quell_lock) -> quell_status {
    // SAFETY: as the caller promises.
    call("quell_lock_keep", || unsafe { keep(lock, "lock") })
}

/// The same as quell_lock_keep(), for a condition.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_condition_keep(condition: *mut quell_condition) -> quell_status {
    // SAFETY: as the caller promises.
    call("quell_condition_keep", || unsafe { keep(condition, "condition") })
}

/// The same as quell_lock_keep(), for a semaphore.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_semaphore_keep(semaphore: *mut quell_semaphore) -> quell_status {
    // SAFETY: as the caller promises.
    call("quell_semaphore_keep", || unsafe { keep(semaphore, "semaphore") })
}

/// The same as quell_lock_keep(), for an event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_event_keep(event: *mut quell_event) -> quell_status {
    // SAFETY: as the caller promises.
    call("quell_event_keep", || unsafe { keep(event, "event") })
}

/// The same as quell_lock_keep(), for a barrier.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_barrier_keep(barrier: *mut quell_barrier) -> quell_status {
    // SAFETY: as the caller promises.
    call("quell_barrier_keep", || unsafe { keep(barrier, "barrier") })
}

/// The same as quell_lock_keep(), for a queue. The items stay, and the queue is whole.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_queue_keep(queue: *mut quell_queue) -> quell_status {
    // SAFETY: as the caller promises.
    call("quell_queue_keep", || unsafe { keep(queue, "queue") })
}

/// # Safety
/// NULL or an object of this type.
unsafe fn keep<T: Keep>(object: *mut T, what: &str) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    fork::keep(&unsafe { hold(object, what) }?);
    Ok(())
}

/// What is kept of an object is the core's primitive in it. In the child, nobody waits any more.
macro_rules! keep_part {
    ($($Object:ty, $part:ident;)*) => {$(
        impl Keep for $Object {
            fn hold(&self) {
                self.$part.hold();
            }

            unsafe fn release(&self) {
                // SAFETY: the part is held, as this is.
                unsafe { self.$part.release() };
            }

            fn forget_waiters(&self) {
                self.$part.forget_waiters();
                self.waiting.forget();
            }
        }
    )*};
}

keep_part! {
    quell_lock, raw;
    quell_condition, condition;
    quell_semaphore, kind;
    quell_event, event;
    quell_barrier, barrier;
    quell_queue, queue;
}

/// In the child of a fork: the lock is free, whoever had it or waited, the calling thread included.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_lock_after_fork(lock: *mut quell_lock) -> quell_status {
    call("quell_lock_after_fork", || {
        // SAFETY: the caller's promise: NULL or a lock.
        let lock = unsafe { hold(lock, "lock") }?;
        lock.raw.reset_after_fork();
        lock.waiting.forget();
        Ok(())
    })
}

/// In the child of a fork: nobody waits for the condition.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_condition_after_fork(
    condition: *mut quell_condition,
) -> quell_status {
    call("quell_condition_after_fork", || {
        // SAFETY: the caller's promise: NULL or a condition.
        unsafe { hold(condition, "condition") }?.reset_after_fork();
        Ok(())
    })
}

/// In the child of a fork: nobody waits for the semaphore. Permits that other threads had stay taken; give them back with
/// quell_semaphore_release().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_semaphore_after_fork(
    semaphore: *mut quell_semaphore,
) -> quell_status {
    call("quell_semaphore_after_fork", || {
        // SAFETY: the caller's promise: NULL or a semaphore.
        unsafe { hold(semaphore, "semaphore") }?.forget_waiters_after_fork();
        Ok(())
    })
}

/// In the child of a fork: nobody waits for the event. Set or not, it stays as it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_event_after_fork(event: *mut quell_event) -> quell_status {
    call("quell_event_after_fork", || {
        // SAFETY: the caller's promise: NULL or an event.
        unsafe { hold(event, "event") }?.forget_waiters_after_fork();
        Ok(())
    })
}

/// In the child of a fork: the barrier is as new.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_barrier_after_fork(barrier: *mut quell_barrier) -> quell_status {
    call("quell_barrier_after_fork", || {
        // SAFETY: the caller's promise: NULL or a barrier.
        unsafe { hold(barrier, "barrier") }?.reset_after_fork();
        Ok(())
    })
}

/// In the child of a fork: nobody waits at the queue. Its items stay. A queue that another thread was in the middle of
/// changing at the very moment of the fork stays locked, unless it is kept: see quell_queue_keep().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_queue_after_fork(queue: *mut quell_queue) -> quell_status {
    call("quell_queue_after_fork", || {
        // SAFETY: the caller's promise: NULL or a queue.
        unsafe { hold(queue, "queue") }?.forget_waiters_after_fork();
        Ok(())
    })
}
