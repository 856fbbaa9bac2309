//! Fork: the child finds quell's own state whole, is alone in it, and goes on.

#![cfg(all(target_os = "linux", not(any(quell_loom, quell_shuttle))))]

use quell::{Event, Interrupt, Lock, Outcome, Receipt, Thread, monitor, thread};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Runs `f` in a child and expects it to say true. A child that hangs is ended by an alarm.
fn in_child(f: impl FnOnce() -> bool) {
    // SAFETY: the child calls nothing that needs the parent's other threads: that is what is tested.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        // SAFETY: ends the child after a while; cannot fail.
        unsafe { libc::alarm(20) };
        let well = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).unwrap_or(false);
        // SAFETY: ends the child without running the test harness's own exit.
        unsafe { libc::_exit(if well { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: the child is ours.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status), "the child was ended by a signal: {status}");
    assert_eq!(libc::WEXITSTATUS(status), 0);
}

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
