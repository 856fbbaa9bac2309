//! The rules of `java.util.concurrent`, as its documentation states them, held against quell's locks, conditions,
//! barriers and semaphores. Each test names the class and the rule. Where quell decides otherwise, the test says so.

#![cfg(not(any(quell_loom, quell_shuttle)))]

use quell::sync::BarrierError;
use quell::thread::JoinHandle;
use quell::{
    Barrier, Condition, Interrupt, Lock, Outcome, RLock, Semaphore, Wait, WaitError, thread,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// A lock and its condition.
type Monitor = Arc<(Lock<u32>, Condition)>;

fn monitor() -> Monitor {
    Arc::new((Lock::new(0), Condition::new()))
}

/// A thread that waits for the condition once, having said under the lock that it does; then `f` is told how that ended,
/// with the lock held.
fn awaits<T: Send + 'static>(
    monitor: &Monitor,
    wait: Wait,
    f: impl FnOnce(Result<(), WaitError>, &mut u32) -> T + Send + 'static,
) -> JoinHandle<T> {
    let before = *monitor.0.lock().unwrap();
    let shared = Arc::clone(monitor);
    let waiter = thread::spawn(move || {
        let mut guard = shared.0.lock_uninterruptible();
        *guard += 1;
        let waited = shared.1.wait_with(&mut guard, &wait);
        f(waited, &mut guard)
    });
    // It has the lock from the one to the other: when the lock is free again, it waits.
    while *monitor.0.lock().unwrap() == before {
        std::thread::yield_now();
    }
    waiter
}

/// `Lock.lockInterruptibly`: "is interrupted while acquiring the lock … then InterruptedException is thrown", and the
/// caller does not have the lock.
#[test]
fn lock_interruptibly_while_acquiring() {
    let lock = Arc::new(Lock::new(()));
    let held = lock.lock().unwrap();
    let acquiring = Arc::clone(&lock);
    let waiter = thread::spawn(move || acquiring.lock().is_err());
    waiter.thread().interrupt(Interrupt::new(()));
    assert!(waiter.join().unwrap());
    drop(held);
    assert!(lock.try_lock().is_some());
}

/// `Lock.lockInterruptibly`: "has its interrupted status set on entry" throws at once. Not in quell: an acquire that does
/// not have to wait is no interruption point.
#[test]
fn lock_interruptibly_with_an_interrupt_on_entry() {
    let lock = Lock::new(());
    let receipt = quell::current().interrupt(Interrupt::new(()));
    let held = lock.lock().expect("it was free");
    assert_eq!(receipt.state(), Outcome::Pending);
    assert!(lock.lock().is_err(), "it was not free");
    assert_eq!(receipt.state(), Outcome::Delivered);
    drop(held);
}

/// `Lock.lock`: an interrupt does not end it; the status is set when it returns.
#[test]
fn lock_is_not_ended_by_an_interrupt() {
    let lock = Arc::new(Lock::new(()));
    let held = lock.lock().unwrap();
    let acquiring = Arc::clone(&lock);
    let waiter = thread::spawn(move || {
        drop(acquiring.lock_uninterruptible());
        quell::checkpoint().is_err()
    });
    waiter.thread().interrupt(Interrupt::new(()));
    drop(held);
    assert!(waiter.join().unwrap());
}

/// `ReentrantLock.tryLock(time, unit)`: "If the time is less than or equal to zero, the method will not wait at all";
/// a free lock is taken all the same.
#[test]
fn try_lock_for_no_time() {
    let lock = Lock::new(());
    let past = Instant::now();
    let held = lock.lock_until(past).unwrap();
    assert!(matches!(lock.lock_until(past), Err(WaitError::TimedOut)));
    assert!(matches!(lock.lock_timeout(Duration::ZERO), Err(WaitError::TimedOut)));
    drop(held);
}

/// `Condition.await`: "When the thread returns it is guaranteed to hold this lock", also when it throws.
#[test]
fn await_returns_with_the_lock() {
    let monitor = monitor();
    let timed = Wait::new().timeout(Duration::from_millis(1));
    for (wait, ends) in [(Wait::new(), 0), (Wait::new(), 1), (timed, 2)] {
        let shared = Arc::clone(&monitor);
        let waiter = awaits(&monitor, wait, move |waited, _| {
            assert!(shared.0.try_lock().is_none(), "held by this thread");
            waited
        });
        match ends {
            0 => assert!(monitor.1.notify_one()),
            1 => drop(waiter.thread().interrupt(Interrupt::new(()))),
            _ => {}
        }
        let waited = waiter.join().unwrap();
        assert_eq!(waited.is_ok(), ends == 0);
        assert_eq!(matches!(waited, Err(WaitError::TimedOut)), ends == 2);
    }
}

/// `AbstractQueuedSynchronizer.ConditionObject.await`: "if interrupted … before signalled" it throws, after it has the
/// lock again: while another has the lock, the interrupted waiter does not come back.
#[test]
fn await_interrupted_before_it_was_signalled() {
    let monitor = monitor();
    let order = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&order);
    let waiter =
        awaits(&monitor, Wait::new(), move |waited, _| (waited.is_err(), seen.load(SeqCst)));
    let held = monitor.0.lock().unwrap();
    let receipt = waiter.thread().interrupt(Interrupt::new(()));
    // Delivered: the wait is over; but the lock is ours.
    assert_eq!(receipt.wait(None).unwrap(), Outcome::Delivered);
    assert!(!monitor.1.notify_one(), "it is no waiter any more");
    order.store(1, SeqCst);
    drop(held);
    assert_eq!(waiter.join().unwrap(), (true, 1));
}

/// The same: "… after signalled" it returns, with the interrupted status set.
#[test]
fn await_interrupted_after_it_was_signalled() {
    let monitor = monitor();
    let waiter =
        awaits(&monitor, Wait::new(), |waited, _| (waited.is_ok(), quell::checkpoint().is_err()));
    let held = monitor.0.lock().unwrap();
    assert!(monitor.1.notify_one());
    // Now it wants the lock back; this ends nothing.
    waiter.thread().interrupt(Interrupt::new(()));
    drop(held);
    assert_eq!(waiter.join().unwrap(), (true, true));
}

/// `Condition.awaitUninterruptibly`: it "will continue to wait until signalled", and the status is still set.
#[test]
fn await_uninterruptibly() {
    let monitor = monitor();
    let waiter = awaits(&monitor, Wait::new().shielded(), |waited, _| {
        waited.unwrap();
        quell::checkpoint().is_err()
    });
    let receipt = waiter.thread().interrupt(Interrupt::new(()));
    assert_eq!(receipt.state(), Outcome::Pending);
    assert!(monitor.1.notify_one());
    assert!(waiter.join().unwrap());
}

/// `ConditionObject.signal`: "Moves the longest-waiting thread".
#[test]
fn signal_wakes_the_longest_waiting() {
    let monitor = monitor();
    let first = awaits(&monitor, Wait::new(), |waited, _| waited.unwrap());
    let second = awaits(&monitor, Wait::new(), |waited, _| waited.unwrap());
    assert!(monitor.1.notify_one());
    first.join().unwrap();
    assert!(!second.is_finished());
    assert!(monitor.1.notify_one());
    second.join().unwrap();
    assert!(!monitor.1.notify_one());
}

/// `ConditionObject.signalAll`: all that wait; none that comes later.
#[test]
fn signal_all() {
    let monitor = monitor();
    let waiters: Vec<_> =
        (0..3).map(|_| awaits(&monitor, Wait::new(), |waited, _| waited.unwrap())).collect();
    assert_eq!(monitor.1.notify_all(), 3);
    for waiter in waiters {
        waiter.join().unwrap();
    }
    assert_eq!(monitor.1.notify_all(), 0);
}

/// A signal that competes with an interrupt is not lost: either the interrupted thread had it, or the next has it.
#[test]
fn a_signal_is_not_lost_to_an_interrupted_thread() {
    for _ in 0..200 {
        let monitor = monitor();
        let leaves = awaits(&monitor, Wait::new(), |waited, _| waited.is_ok());
        let stays = awaits(&monitor, Wait::new(), |waited, _| waited.unwrap());
        let handle = leaves.thread().clone();
        let interrupter = thread::spawn(move || drop(handle.interrupt(Interrupt::new(()))));
        assert!(monitor.1.notify_one());
        if leaves.join().unwrap() {
            assert!(monitor.1.notify_one());
        }
        stays.join().unwrap();
        interrupter.join().unwrap();
    }
}

/// `ConditionObject.await`: releases all holds of a reentrant lock, and takes them again.
#[test]
fn await_releases_all_holds() {
    let shared = Arc::new((RLock::new(AtomicU32::new(0)), Condition::new()));
    let other = Arc::clone(&shared);
    let other = thread::spawn(move || {
        let outer = other.0.lock().unwrap();
        let mut inner = other.0.lock().unwrap();
        outer.store(1, SeqCst);
        other.1.wait_while(&mut inner.whole(), |value| value.load(SeqCst) == 1).unwrap();
        drop(inner);
        other.0.is_owned()
    });
    loop {
        let guard = shared.0.lock().unwrap();
        if guard.swap(2, SeqCst) == 1 {
            break;
        }
        guard.store(0, SeqCst);
    }
    shared.1.notify_all();
    assert!(other.join().unwrap());
}

/// Parties at a barrier for one more than that, who say how they came back.
fn at_the_barrier(
    barrier: &Arc<Barrier>,
    count: u32,
) -> Vec<JoinHandle<Result<usize, BarrierError>>> {
    let threads = (0..count)
        .map(|_| {
            let barrier = Arc::clone(barrier);
            thread::spawn(move || barrier.wait())
        })
        .collect();
    while barrier.waiting() < count {
        std::thread::yield_now();
    }
    threads
}

fn all_broken(threads: Vec<JoinHandle<Result<usize, BarrierError>>>) {
    for thread in threads {
        assert!(matches!(thread.join().unwrap(), Err(BarrierError::Broken(_))));
    }
}

fn all_through(threads: Vec<JoinHandle<Result<usize, BarrierError>>>) {
    for thread in threads {
        assert!(thread.join().unwrap().is_ok());
    }
}

/// `CyclicBarrier.await`: "If any thread is interrupted while waiting, then all other waiting threads will throw
/// BrokenBarrierException and the barrier is placed in the broken state."
#[test]
fn a_barrier_is_broken_by_an_interrupt() {
    let barrier = Arc::new(Barrier::new(4));
    let mut threads = at_the_barrier(&barrier, 3);
    let interrupted = threads.swap_remove(1);
    interrupted.thread().interrupt(Interrupt::new(()));
    assert!(matches!(interrupted.join().unwrap(), Err(BarrierError::Interrupted(_))));
    all_broken(threads);
    assert!(barrier.is_broken());
    assert_eq!(barrier.waiting(), 0);
    // "if the barrier is broken when await is invoked … then BrokenBarrierException is thrown."
    assert!(matches!(barrier.wait(), Err(BarrierError::Broken(_))));
}

/// `CyclicBarrier.await(timeout, unit)`: "If the specified waiting time elapses then TimeoutException is thrown", in the
/// others BrokenBarrierException. With no time at all "the method will not wait at all", and breaks the barrier.
#[test]
fn a_barrier_is_broken_by_a_timeout() {
    let barrier = Arc::new(Barrier::new(3));
    let others = at_the_barrier(&barrier, 1);
    assert!(matches!(barrier.wait_timeout(Duration::ZERO), Err(BarrierError::TimedOut)));
    all_broken(others);
}

/// `CyclicBarrier.reset`: "If any parties are currently waiting at the barrier, they will return with a
/// BrokenBarrierException"; then the barrier is in its initial state.
#[test]
fn a_barrier_is_reset() {
    let barrier = Arc::new(Barrier::new(3));
    let others = at_the_barrier(&barrier, 2);
    barrier.reset();
    all_broken(others);
    assert!(!barrier.is_broken());
    let others = at_the_barrier(&barrier, 2);
    assert_eq!(barrier.wait().unwrap(), 2);
    all_through(others);
}

/// `CyclicBarrier`: "If the barrier action throws, … the exception is propagated in the current thread and the barrier is
/// placed in the broken state." (Shown for panics in `sync_holds.rs`.) It runs "before any thread is released".
#[test]
fn a_barriers_action_runs_before_anybody_gets_through() {
    let acted = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&acted);
    let action = move || {
        std::thread::yield_now();
        counted.fetch_add(1, SeqCst);
    };
    let barrier = Arc::new(Barrier::with_action(3, action));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (barrier, acted) = (Arc::clone(&barrier), Arc::clone(&acted));
            thread::spawn(move || {
                for round in 1..50 {
                    barrier.wait().unwrap();
                    assert!(acted.load(SeqCst) >= round);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(acted.load(SeqCst), 49);
}

/// An interrupt that comes when all have arrived does not break the barrier: `CyclicBarrier` sets the status again.
#[test]
fn an_interrupt_that_comes_too_late_stays_pending() {
    let barrier = Arc::new(Barrier::new(2));
    let receipt = quell::current().interrupt(Interrupt::new(()));
    let others = at_the_barrier(&barrier, 1);
    // The last one need not wait.
    assert_eq!(barrier.wait().unwrap(), 1);
    assert!(receipt.withdraw());
    all_through(others);
}

/// `Semaphore.acquire(permits)`, interrupted: "any permits that were to be assigned to this thread are instead assigned to
/// other threads trying to acquire permits".
#[test]
fn permits_of_an_interrupted_thread_go_to_others() {
    let semaphore = Arc::new(Semaphore::new(0));
    let spawn = |count| {
        let semaphore = Arc::clone(&semaphore);
        thread::spawn(move || semaphore.acquire_many(count).map(quell::Permit::forget))
    };
    let wants_three = spawn(3);
    // It waits when somebody is waited for.
    while !format!("{semaphore:?}").contains("waited_for: true") {
        std::thread::yield_now();
    }
    let wants_one = spawn(1);
    semaphore.release(2);
    wants_three.thread().interrupt(Interrupt::new(()));
    assert!(wants_three.join().unwrap().is_err());
    wants_one.join().unwrap().unwrap();
    assert_eq!(semaphore.value(), 1);
}

/// `Semaphore.acquireUninterruptibly`, `tryAcquire`, and "there is no requirement that a thread that releases a permit
/// must have acquired that permit".
#[test]
fn permits_belong_to_nobody() {
    let semaphore = Semaphore::new(0);
    assert!(semaphore.try_acquire().is_none());
    std::thread::scope(|scope| scope.spawn(|| semaphore.release(2)).join().unwrap());
    quell::current().interrupt(Interrupt::new(()));
    semaphore.acquire_uninterruptible().forget();
    assert!(semaphore.try_acquire_many(2).is_none(), "all of them or none");
    assert_eq!(semaphore.value(), 1);
    assert!(quell::checkpoint().is_err());
}
