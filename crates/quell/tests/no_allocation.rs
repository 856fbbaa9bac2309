//! No wait allocates, and a lock is small.

#![cfg(not(any(quell_loom, quell_shuttle)))]

use quell::{Barrier, Condition, Event, Lock, Queue, Semaphore, Wait, thread};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

/// Counts what each thread allocates.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `f` allocates in this thread.
fn allocations(f: impl FnOnce()) -> u64 {
    // Being registered is not part of any wait.
    quell::current();
    let before = COUNT.get();
    f();
    COUNT.get() - before
}

fn soon() -> Wait {
    Wait::new().timeout(Duration::from_micros(200))
}

#[test]
fn no_wait_that_times_out_allocates() {
    let event = Event::new();
    let queue: Queue<u8> = Queue::unbounded();
    let full = Queue::bounded(1);
    full.put(1).unwrap();
    let lock = Lock::new(());
    let held = lock.lock().unwrap();
    assert_eq!(allocations(|| assert!(event.wait_with(&soon()).is_err())), 0);
    assert_eq!(allocations(|| assert!(queue.get_with(&soon()).is_err())), 0);
    assert_eq!(allocations(|| assert!(full.put_with(2, &soon()).is_err())), 0);
    assert_eq!(allocations(|| assert!(full.join_with(&soon()).is_err())), 0);
    assert_eq!(allocations(|| assert!(lock.lock_with(&soon()).is_err())), 0);
    assert_eq!(allocations(|| assert!(thread::park_with(&soon()).is_err())), 0);
    assert_eq!(allocations(|| assert!(quell::sleep(Duration::from_micros(50)).is_ok())), 0);
    drop(held);
}

#[test]
fn no_wait_that_is_granted_or_interrupted_allocates() {
    let lock = Arc::new(Lock::new(()));
    let events = Arc::new((Event::new(), Event::new()));
    let held = lock.lock().unwrap();
    let waiter = {
        let (lock, events) = (Arc::clone(&lock), Arc::clone(&events));
        thread::spawn(move || {
            let interrupted = allocations(|| assert!(events.0.wait().is_err()));
            events.1.set();
            let granted = allocations(|| assert!(lock.lock().is_ok()));
            (interrupted, granted)
        })
    };
    waiter.thread().interrupt(quell::Interrupt::new(()));
    events.1.wait().unwrap();
    drop(held);
    assert_eq!(waiter.join().unwrap(), (0, 0));
}

#[test]
fn no_wait_of_the_other_primitives_allocates() {
    let (lock, condition) = (Lock::new(()), Condition::new());
    let mut held = lock.lock().unwrap();
    assert_eq!(allocations(|| assert!(condition.wait_with(&mut held, &soon()).is_err())), 0);
    let semaphore = Semaphore::new(1);
    assert_eq!(allocations(|| assert!(semaphore.acquire_many_with(1, &soon()).is_ok())), 0);
    let _permit = semaphore.acquire().unwrap();
    assert_eq!(allocations(|| assert!(semaphore.acquire_with(&soon()).is_err())), 0);
    let barrier = Barrier::new(2);
    assert_eq!(allocations(|| assert!(barrier.wait_with(&soon()).is_err())), 0);
}

/// Tasks: neither joining the queue, nor leaving it, nor being granted allocates.
#[test]
fn no_wait_of_a_task_allocates() {
    fn once(future: impl Future) {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(std::pin::pin!(future).poll(&mut cx).is_pending());
    }
    let lock = Lock::new(());
    let held = lock.lock().unwrap();
    assert_eq!(allocations(|| once(lock.lock_async())), 0);
    assert_eq!(allocations(|| once(Event::new().wait_async())), 0);
    assert_eq!(allocations(|| once(Semaphore::new(0).acquire_async())), 0);
    assert_eq!(allocations(|| once(Barrier::new(2).wait_async())), 0);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut waits = std::pin::pin!(lock.lock_async());
    let granted = allocations(|| {
        assert!(waits.as_mut().poll(&mut cx).is_pending());
        drop(held);
        assert!(waits.as_mut().poll(&mut cx).is_ready());
    });
    assert_eq!(granted, 0);
}

#[test]
#[cfg(all(target_os = "linux", target_pointer_width = "64", not(quell_portable_park)))]
fn a_lock_is_small() {
    assert_eq!(size_of::<Lock<()>>(), 16);
    assert_eq!(size_of::<Event>(), 16);
    assert_eq!((size_of::<Condition>(), size_of::<Semaphore>()), (16, 16));
    assert!(size_of::<quell::RLock<()>>() <= 32);
}
