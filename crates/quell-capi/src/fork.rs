//! Fork: what the child calls.

use crate::barrier::quell_barrier;
use crate::condition::quell_condition;
use crate::event::quell_event;
use crate::lock::quell_lock;
use crate::object::hold;
use crate::queue::quell_queue;
use crate::semaphore::quell_semaphore;
use crate::status::{call, quell_status};

/// What fork requires in the child's only thread, if the fork went around libc. After fork() it is done already, and doing it
/// again does no harm. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn quell_after_fork_child() {
    let _recorded = call("quell_after_fork_child", || {
        quell_core::after_fork_child();
        Ok(())
    });
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
/// changing at the very moment of the fork stays locked, as in POSIX.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_queue_after_fork(queue: *mut quell_queue) -> quell_status {
    call("quell_queue_after_fork", || {
        // SAFETY: the caller's promise: NULL or a queue.
        unsafe { hold(queue, "queue") }?.forget_waiters_after_fork();
        Ok(())
    })
}
