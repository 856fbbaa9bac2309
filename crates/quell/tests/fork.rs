//! Fork: the child finds quell's own state whole, is alone in it, and goes on.

#![cfg(all(target_os = "linux", not(any(quell_loom, quell_shuttle))))]

mod common;

use common::child::in_child;
use quell::{
    Barrier, BoundedSemaphore, Condition, Event, Interrupt, Lock, Outcome, Receipt, Semaphore,
    Thread, monitor, thread,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// What must work in a child as it does anywhere.
fn lives() -> bool {
    let me = quell::current();
    me.withdraw_all();
    me.interrupt(Interrupt::new(()));
    let reached = quell::sleep(Duration::from_secs(3600)).is_err();
    me.withdraw_all();
    let joined = quell::spawn(|| 7).join().unwrap() == 7;
    monitor::at(Instant::now(), move || me.unpark());
    reached && joined && thread::park().is_ok()
}

#[test]
fn the_others_have_ended_and_the_forker_goes_on() {
    let go_on = Arc::new(Event::new());
    let other = {
        let go_on = Arc::clone(&go_on);
        thread::spawn(move || {
            let _shield = quell::shield();
            go_on.wait().unwrap();
        })
    };
    let theirs = other.thread().interrupt(Interrupt::new(()));
    let unattached = Thread::unattached(None);
    let nobodys = unattached.interrupt(Interrupt::new(()));
    let me = quell::current();
    let mine = me.interrupt(Interrupt::new(()));
    // Somebody waits for what becomes of it: not in the child.
    let asked = mine.clone();
    let asker = thread::spawn(move || asked.wait(None).unwrap());
    in_child(|| {
        quell::after_fork_child();
        let alone = quell::enumerate() == [me.clone()] && quell::main() == me;
        let ended = !other.thread().is_alive()
            && theirs.wait(None).unwrap() == Outcome::TargetExited
            && nobodys.state() == Outcome::TargetExited;
        let kept = mine.state() == Outcome::Pending && quell::checkpoint().is_err();
        alone && ended && kept && mine.state() == Outcome::Delivered && lives()
    });
    // The parent has noticed nothing.
    assert_eq!(theirs.state(), Outcome::Pending);
    assert!(mine.withdraw());
    assert_eq!(asker.join().unwrap(), Outcome::Withdrawn);
    go_on.set();
    other.join().unwrap();
    assert_eq!(nobodys.state(), Outcome::Pending);
    unattached.mark_exited();
    assert!(lives());
}

#[test]
fn from_a_thread_that_quell_does_not_know() {
    std::thread::spawn(|| in_child(|| quell::current() == quell::main() && lives()))
        .join()
        .unwrap();
}

#[test]
fn a_child_may_reset_what_others_held() {
    let lock = Arc::new(quell::RawLock::new());
    let go_on = Arc::new(Event::new());
    let holder = {
        let (lock, go_on) = (Arc::clone(&lock), Arc::clone(&go_on));
        thread::spawn(move || {
            lock.lock().unwrap();
            go_on.wait().unwrap();
            lock.unlock();
        })
    };
    while !lock.is_locked() {
        std::thread::yield_now();
    }
    in_child(|| {
        lock.reset_after_fork();
        lock.try_lock()
    });
    go_on.set();
    holder.join().unwrap();
    assert!(lock.try_lock());
}

/// Somebody waits at each of the primitives when the process forks. In the child they are forgotten, and it works.
#[test]
fn a_child_may_forget_who_waited() {
    struct All {
        lock: Lock<()>,
        changed: Condition,
        semaphore: Semaphore,
        bounded: BoundedSemaphore,
        barrier: Barrier,
    }
    let all = Arc::new(All {
        lock: Lock::new(()),
        changed: Condition::new(),
        semaphore: Semaphore::new(0),
        bounded: BoundedSemaphore::new(1),
        barrier: Barrier::new(2),
    });
    all.bounded.acquire().unwrap().forget();
    let waiters: Vec<_> = (0..4)
        .map(|kind| {
            let all = Arc::clone(&all);
            thread::spawn(move || match kind {
                0 => all.changed.wait(&mut all.lock.lock().unwrap()).is_err(),
                1 => all.semaphore.acquire().is_err(),
                2 => all.bounded.acquire().is_err(),
                _ => all.barrier.wait().is_err(),
            })
        })
        .collect();
    let waits = |semaphore: &dyn std::fmt::Debug| format!("{semaphore:?}").contains("true");
    while !waits(&all.semaphore) || !waits(&all.bounded) || all.barrier.waiting() == 0 {
        std::thread::yield_now();
    }
    in_child(|| {
        all.changed.forget_waiters_after_fork();
        all.semaphore.forget_waiters_after_fork();
        all.bounded.forget_waiters_after_fork();
        all.barrier.forget_waiters_after_fork();
        let condition = all.changed.notify_all() == 0;
        all.semaphore.release(1);
        let semaphore = all.semaphore.try_acquire().is_some();
        let bounded = all.bounded.release(1).is_ok() && all.bounded.release(1).is_err();
        let other = Arc::clone(&all);
        let other = thread::spawn(move || other.barrier.wait().is_ok());
        let barrier = all.barrier.wait().is_ok() && other.join().unwrap();
        all.semaphore.reset_after_fork(3);
        condition && semaphore && bounded && barrier && all.semaphore.value() == 3
    });
    for waiter in &waiters {
        waiter.thread().interrupt(Interrupt::new(()));
    }
    for waiter in waiters {
        assert!(waiter.join().unwrap());
    }
}

/// A future of the thread that forked was in a queue. In the child that was reset, it may be dropped, or go on.
#[test]
fn a_childs_futures_are_as_new() {
    fn poll(future: std::pin::Pin<&mut impl Future>) -> bool {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready()
    }
    let lock = Lock::new(());
    let held = lock.lock().unwrap();
    let (mut goes_on, mut dropped) = (Box::pin(lock.lock_async()), Box::pin(lock.lock_async()));
    assert!(!poll(dropped.as_mut()) && !poll(goes_on.as_mut()));
    in_child(|| {
        lock.forget_waiters_after_fork();
        drop(dropped);
        let waits = !poll(goes_on.as_mut());
        drop(held);
        waits && poll(goes_on.as_mut()) && !lock.is_locked()
    });
}

/// Forks while other threads send, arm, cancel, begin and end: at whatever moment, the child's state is whole.
#[test]
fn at_any_moment() {
    let stop = Arc::new(AtomicBool::new(false));
    let target = Thread::unattached(None);
    let me = quell::current();
    let busy: Vec<_> = (0..3)
        .map(|kind| {
            let (stop, target, me) = (Arc::clone(&stop), target.clone(), me.clone());
            thread::spawn(move || {
                let lock = Lock::new(0);
                while !stop.load(SeqCst) {
                    match kind {
                        0 => {
                            let one: Receipt = target.interrupt(Interrupt::new(()));
                            let two = me.interrupt(Interrupt::new(()));
                            one.withdraw();
                            two.withdraw();
                        }
                        1 => {
                            let timer = monitor::at(Instant::now(), || ());
                            timer.cancel();
                        }
                        _ => {
                            *lock.lock().unwrap() += quell::spawn(|| 1).join().unwrap();
                        }
                    }
                }
            })
        })
        .collect();
    for _ in 0..50 {
        in_child(lives);
    }
    stop.store(true, SeqCst);
    // The first of them may still send.
    let shield = quell::shield();
    for thread in busy {
        thread.join().unwrap();
    }
    drop(shield);
    me.withdraw_all();
    target.mark_exited();
}

/// Forks while threads begin and end, in the middle of what the standard library has to do for that: the child starts its own.
/// Each fork meets a bad moment once in some thousands.
#[test]
fn while_threads_begin_and_end() {
    let stop = Arc::new(AtomicBool::new(false));
    let starters: Vec<_> = (0..3)
        .map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(SeqCst) {
                    quell::spawn(|| ()).join().unwrap();
                }
            })
        })
        .collect();
    for _ in 0..common::stress(50) {
        in_child(|| quell::spawn(|| 7).join().unwrap() == 7);
    }
    stop.store(true, SeqCst);
    for starter in starters {
        starter.join().unwrap();
    }
}

/// Forks while other threads use quell for the first time in the process: many processes, since each has one first time.
#[test]
fn at_the_first_moment() {
    const TRIAL: &str = "QUELL_TEST_FIRST_MOMENT";
    if let Ok(trial) = std::env::var(TRIAL) {
        return first_moment(trial.parse().unwrap());
    }
    for trial in 0..common::stress(150) {
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "at_the_first_moment", "--nocapture"]).env(TRIAL, trial.to_string());
        let output = again.output().unwrap();
        assert!(
            output.status.success(),
            "trial {trial}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

fn first_moment(trial: u64) {
    let ready = Arc::new(AtomicBool::new(false));
    let (forked, end) = std::sync::mpsc::channel::<()>();
    let first = {
        let ready = Arc::clone(&ready);
        std::thread::spawn(move || {
            ready.store(true, SeqCst);
            if trial.is_multiple_of(2) {
                let _runs = monitor::at(Instant::now(), || ());
            }
            assert!(quell::current().is_alive());
            nothing_to_poll();
            // For threads of std's that are ending just then, a fork does not wait.
            end.recv().unwrap_err();
        })
    };
    while !ready.load(SeqCst) {
        std::hint::spin_loop();
    }
    for _ in 0..trial % 25 * 10 {
        std::hint::spin_loop();
    }
    in_child(|| {
        nothing_to_poll();
        lives()
    });
    drop(forked);
    first.join().unwrap();
}

/// The first system call installs what all need.
fn nothing_to_poll() {
    #[cfg(quell_calls)]
    quell::syscall::poll(&mut [], &quell::Wait::new().timeout(Duration::ZERO)).unwrap_err();
}
