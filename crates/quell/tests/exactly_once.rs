//! Guarantee 2, exactly once: delivered, withdrawn or target exited; one of them, once, in the order of sending. The
//! sender can ask which, and wait for it.

#![cfg(not(any(quell_loom, quell_shuttle)))]

mod common;

use common::{Random, stress};
use quell::{Event, Interrupt, Outcome, Receipt, Thread, Wait, WaitError, thread};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

#[test]
fn in_the_order_of_sending() {
    let me = quell::current();
    for i in 0..100_u32 {
        me.interrupt(Interrupt::new(i));
    }
    for i in 0..100_u32 {
        let interrupted = quell::checkpoint().unwrap_err();
        assert_eq!(interrupted.downcast_ref::<u32>(), Some(&i));
    }
    assert!(quell::checkpoint().is_ok());
}

#[test]
fn withdrawn_from_the_middle() {
    let me = quell::current();
    let receipts: Vec<Receipt> = (0..3).map(|i: u32| me.interrupt(Interrupt::new(i))).collect();
    assert!(receipts[1].withdraw());
    assert!(!receipts[1].withdraw());
    let got: Vec<u32> = std::iter::from_fn(|| quell::take_pending(false))
        .map(|interrupt| *interrupt.downcast_ref::<u32>().unwrap())
        .collect();
    assert_eq!(got, [0, 2]);
    let states: Vec<Outcome> = receipts.iter().map(Receipt::state).collect();
    assert_eq!(states, [Outcome::Delivered, Outcome::Withdrawn, Outcome::Delivered]);
    assert!(!receipts[0].withdraw());
}

#[test]
fn withdrawn_before_it_is_sent() {
    let interrupt = Interrupt::new(());
    let receipt = interrupt.receipt();
    assert!(receipt.withdraw());
    let sent = quell::current().interrupt(interrupt);
    assert_eq!(sent.state(), Outcome::Withdrawn);
    assert!(quell::checkpoint().is_ok());
}

#[test]
fn dropped_without_being_sent_is_withdrawn() {
    let receipt = Interrupt::new(()).receipt();
    assert_eq!(receipt.wait(None).unwrap(), Outcome::Withdrawn);
}

#[test]
fn sent_on_to_another_is_a_request_of_its_own() {
    let me = quell::current();
    let first = me.interrupt(Interrupt::new("pass it on"));
    let interrupt = quell::checkpoint().unwrap_err().into_interrupt();
    let other = Thread::unattached(None);
    let second = other.interrupt(interrupt);
    assert_eq!(first.state(), Outcome::Delivered);
    assert_eq!(second.state(), Outcome::Pending);
    other.mark_exited();
    assert_eq!(first.state(), Outcome::Delivered);
    assert_eq!(second.state(), Outcome::TargetExited);
}

#[test]
fn put_back_is_first_in_line_and_pending_again() {
    let me = quell::current();
    let receipts = [me.interrupt(Interrupt::new(1)), me.interrupt(Interrupt::new(2))];
    let first = quell::take_pending(false).unwrap();
    assert_eq!(receipts[0].state(), Outcome::Delivered);
    quell::requeue_front(first);
    assert_eq!(receipts[0].state(), Outcome::Pending);
    let asked = receipts[0].wait_with(&Wait::new().until(Instant::now()).shielded());
    assert!(matches!(asked, Err(WaitError::TimedOut)));
    let order: Vec<i32> = std::iter::from_fn(|| quell::take_pending(false))
        .map(|interrupt| *interrupt.downcast_ref::<i32>().unwrap())
        .collect();
    assert_eq!(order, [1, 2]);
    assert!(receipts.iter().all(|receipt| receipt.state() == Outcome::Delivered));
}

#[test]
fn pending_at_the_end_of_the_thread() {
    let receipts = thread::spawn(|| {
        let me = quell::current();
        [me.interrupt(Interrupt::new(1)), me.interrupt(Interrupt::new(2))]
    });
    let target = receipts.thread().clone();
    for receipt in receipts.join().unwrap() {
        assert_eq!(receipt.wait(None).unwrap(), Outcome::TargetExited);
    }
    assert!(!target.is_alive());
    assert_eq!(target.interrupt(Interrupt::new(3)).state(), Outcome::TargetExited);
    assert_eq!(target.withdraw_all(), 0);
}

#[test]
fn pending_at_the_end_of_a_foreign_thread() {
    let receipt = std::thread::spawn(|| quell::current().interrupt(Interrupt::new(1)));
    let receipt = receipt.join().unwrap();
    assert_eq!(receipt.wait(None).unwrap(), Outcome::TargetExited);
}

#[test]
fn pending_at_a_panic() {
    let handle = thread::spawn(|| {
        quell::current().interrupt(Interrupt::new(()));
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    let receipt = handle.thread().interrupt(Interrupt::new(()));
    assert!(handle.join().is_err());
    assert_eq!(receipt.wait(None).unwrap(), Outcome::TargetExited);
}

#[test]
fn the_sender_can_wait_for_it() {
    let target = thread::spawn(|| quell::sleep(Duration::from_secs(3600)).is_err());
    let receipt = target.thread().interrupt(Interrupt::new(()));
    assert_eq!(receipt.wait(None).unwrap(), Outcome::Delivered);
    assert!(target.join().unwrap());
}

#[test]
fn waiting_for_it_ends_at_the_deadline() {
    let nobody = Thread::unattached(None);
    let receipt = nobody.interrupt(Interrupt::new(()));
    let deadline = Instant::now() + Duration::from_millis(2);
    assert!(matches!(receipt.wait(Some(deadline)), Err(WaitError::TimedOut)));
    assert!(Instant::now() >= deadline);
    assert!(receipt.withdraw());
    nobody.mark_exited();
}

#[test]
fn a_reason_is_dropped_once_and_outside_every_lock() {
    struct Reason {
        dropped: Arc<AtomicU64>,
        target: Thread,
    }
    impl Drop for Reason {
        fn drop(&mut self) {
            self.dropped.fetch_add(1, SeqCst);
            // Would hang if the slot or the registry were locked here.
            self.target.has_pending();
            self.target.withdraw_all();
            quell::lookup(self.target.id());
            self.target.interrupt(Interrupt::new("from a drop handler")).withdraw();
        }
    }
    let dropped = Arc::new(AtomicU64::new(0));
    let target = Thread::unattached(None);
    let send = || {
        target.interrupt(Interrupt::new(Reason {
            dropped: Arc::clone(&dropped),
            target: target.clone(),
        }))
    };
    assert!(send().withdraw());
    assert_eq!(dropped.load(SeqCst), 1);
    send();
    send();
    assert_eq!(quell::set_async_exc(target.id(), None), 1);
    assert_eq!(dropped.load(SeqCst), 3);
    send();
    target.mark_exited();
    assert_eq!(dropped.load(SeqCst), 4);
    assert_eq!(send().state(), Outcome::TargetExited);
    assert_eq!(dropped.load(SeqCst), 5);
}

/// Senders and withdrawers against a target that takes, waits and goes through several lives. Every interrupt is
/// counted where it ended, and the receipts must agree.
#[test]
fn every_interrupt_ends_once() {
    let rounds = stress(40_000);
    let stop = Arc::new(AtomicBool::new(false));
    let event = Arc::new(Event::new());
    let delivered = Arc::new(AtomicU64::new(0));
    let twice = Arc::new(AtomicBool::new(false));
    let target = {
        let (stop, delivered, twice) = (stop.clone(), delivered.clone(), twice.clone());
        let event = Arc::clone(&event);
        thread::spawn(move || {
            let mut last = [0_u64; 3];
            let mut take = |interrupted: quell::Interrupted| {
                let (sender, number) = *interrupted.downcast_ref::<(usize, u64)>().unwrap();
                // In order, per sender; so never twice.
                twice.fetch_or(number <= last[sender], SeqCst);
                last[sender] = number;
                delivered.fetch_add(1, SeqCst);
            };
            while !stop.load(SeqCst) {
                let wait = Wait::new().timeout(Duration::from_micros(20));
                if let Err(WaitError::Interrupted(interrupted)) = event.wait_with(&wait) {
                    take(interrupted);
                }
                if let Err(interrupted) = quell::checkpoint() {
                    take(interrupted);
                }
            }
        })
    };
    let senders: Vec<_> = (0..3)
        .map(|sender: usize| {
            let target = target.thread().clone();
            thread::spawn(move || {
                let mut random = Random::new(sender as u64 + 1);
                let mut withdrawn = 0;
                let mut receipts = Vec::new();
                for number in 1..=rounds {
                    let receipt = target.interrupt(Interrupt::new((sender, number)));
                    for _ in 0..random.below(50) {
                        std::hint::spin_loop();
                    }
                    if random.below(3) == 0 {
                        withdrawn += u64::from(receipt.withdraw());
                    }
                    receipts.push(receipt);
                }
                (withdrawn, receipts)
            })
        })
        .collect();
    let mut withdrawn = 0;
    let mut receipts = Vec::new();
    for sender in senders {
        let (some, mut more) = sender.join().unwrap();
        withdrawn += some;
        receipts.append(&mut more);
    }
    stop.store(true, SeqCst);
    target.join().unwrap();
    assert!(!twice.load(SeqCst));
    let count = |outcome| receipts.iter().filter(|r| r.state() == outcome).count() as u64;
    assert_eq!(count(Outcome::Pending), 0);
    assert_eq!(count(Outcome::Withdrawn), withdrawn);
    assert_eq!(count(Outcome::Delivered), delivered.load(SeqCst));
    assert_eq!(receipts.len() as u64, 3 * rounds);
}

/// Threads end while others send to them: whatever was not delivered says so.
#[test]
fn sent_to_a_thread_that_ends() {
    for _ in 0..stress(1_000) {
        let target = thread::spawn(|| u64::from(quell::checkpoint().is_err()));
        let handle = target.thread().clone();
        let receipts: Vec<Receipt> =
            (0..100).map(|i: u32| handle.interrupt(Interrupt::new(i))).collect();
        let delivered = target.join().unwrap();
        let count = |outcome| receipts.iter().filter(|r| r.state() == outcome).count() as u64;
        assert_eq!(count(Outcome::Delivered), delivered);
        assert_eq!(count(Outcome::TargetExited), 100 - delivered);
    }
}
