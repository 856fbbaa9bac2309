//! Guarantee 6, masks hold: nothing is raised inside a shield; inside a mask only where the thread blocks.

#![cfg(not(any(quell_loom, quell_shuttle)))]

mod common;

use common::{Sender, stress};
use quell::{Event, Interrupt, Lock, Outcome, Wait, WaitError, thread};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

fn send() -> quell::Receipt {
    quell::current().interrupt(Interrupt::new(()))
}

#[test]
fn a_mask_holds_at_a_checkpoint_but_not_where_the_thread_blocks() {
    let mask = quell::mask();
    send();
    assert!(quell::checkpoint().is_ok());
    assert!(quell::sleep(Duration::from_secs(3600)).is_err());
    mask.leave().unwrap();
}

#[test]
fn a_shield_holds_everywhere() {
    let shield = quell::shield();
    let receipt = send();
    assert!(quell::checkpoint().is_ok());
    quell::sleep(Duration::from_millis(1)).unwrap();
    let event = Event::new();
    let timed = event.wait_with(&Wait::new().timeout(Duration::from_millis(1)));
    assert!(matches!(timed, Err(WaitError::TimedOut)));
    assert!(quell::take_pending(true).is_none());
    assert_eq!(receipt.state(), Outcome::Pending);
    assert!(shield.leave().is_err());
    assert_eq!(receipt.state(), Outcome::Delivered);
}

#[test]
fn leaving_the_last_one_delivers() {
    let outer = quell::mask();
    let middle = quell::shield();
    let inner = quell::mask();
    send();
    assert_eq!((quell::mask_depth(), quell::shield_depth()), (2, 1));
    inner.leave().unwrap();
    middle.leave().unwrap();
    assert!(outer.leave().is_err());
    assert_eq!((quell::mask_depth(), quell::shield_depth()), (0, 0));
}

#[test]
fn a_dropped_guard_leaves_it_to_the_next_point() {
    drop({
        let mask = quell::mask();
        send();
        mask
    });
    assert!(quell::checkpoint().is_err());
}

#[test]
fn a_guard_is_left_by_a_panic() {
    let caught = std::panic::catch_unwind(|| {
        let _shield = quell::shield();
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    assert!(caught.is_err());
    assert_eq!(quell::shield_depth(), 0);
}

#[test]
fn without_guards_the_depths_count() {
    quell::enter_mask();
    quell::enter_shield();
    send();
    assert!(quell::take_pending(true).is_none());
    quell::leave_shield();
    assert!(quell::take_pending(false).is_none());
    assert!(quell::take_pending(true).is_some());
    quell::leave_mask();
}

#[test]
#[should_panic(expected = "leave_mask() without enter_mask()")]
fn leaving_without_entering_is_a_bug() {
    quell::leave_mask();
}

#[test]
fn a_wait_that_is_not_interruptible_is_a_shield() {
    let receipt = send();
    let timed = Event::new().wait_with(&Wait::new().timeout(Duration::from_millis(1)).shielded());
    assert!(matches!(timed, Err(WaitError::TimedOut)));
    assert_eq!(receipt.state(), Outcome::Pending);
    assert!(quell::checkpoint().is_err());
}

#[test]
fn masks_are_the_threads_own() {
    let _shield = quell::shield();
    let other = thread::spawn(|| {
        send();
        (quell::shield_depth(), quell::checkpoint().is_err())
    });
    let joined = other.join_with(&Wait::new()).unwrap();
    assert_eq!(joined, (0, true));
}

/// The target alternates between a shield, a mask and neither, and notes where each interrupt came.
#[test]
fn no_interrupt_is_raised_inside() {
    let stop = Arc::new(AtomicBool::new(false));
    let lock = Arc::new(Lock::new(()));
    let target = {
        let (stop, lock) = (Arc::clone(&stop), Arc::clone(&lock));
        thread::spawn(move || {
            let mut received = 0_u64;
            for round in 0_u64.. {
                if stop.load(SeqCst) {
                    break;
                }
                // A lock that another holds now and then; most rounds do without, and there are so many more of them.
                let waits = round % 8 == 0;
                let shield = quell::shield();
                if waits {
                    drop(lock.lock().expect("a shield holds where the thread blocks"));
                }
                quell::checkpoint().expect("a shield holds at a checkpoint");
                received += u64::from(shield.leave().is_err());
                let mask = quell::mask();
                quell::checkpoint().expect("a mask holds at a checkpoint");
                if waits {
                    received += u64::from(lock.lock().is_err());
                }
                quell::checkpoint().expect("a mask holds at a checkpoint");
                received += u64::from(mask.leave().is_err());
            }
            received + quell::current().withdraw_all() as u64
        })
    };
    let holder = {
        let (stop, lock) = (Arc::clone(&stop), Arc::clone(&lock));
        thread::spawn(move || {
            while !stop.load(SeqCst) {
                drop(lock.lock().unwrap());
                std::thread::yield_now();
            }
        })
    };
    let rounds = stress(100_000);
    let mut sender = Sender::new(target.thread().clone());
    for _ in 0..rounds {
        sender.send();
        sender.pace();
    }
    assert_eq!(sender.finish(), rounds);
    stop.store(true, SeqCst);
    assert_eq!(target.join().unwrap(), rounds);
    holder.join().unwrap();
}

/// What `unmask` lets in is delivered inside; what it suspended is back afterwards, whatever the stretch left behind.
#[test]
fn an_unmasked_stretch_lets_in_and_is_undone() {
    let _mask = quell::mask();
    let _shield = quell::shield();
    let me = quell::current();
    me.interrupt(Interrupt::new(()));
    {
        let _unmasked = quell::unmask();
        assert!(quell::checkpoint().is_err());
        quell::enter_mask();
    }
    assert_eq!((quell::mask_depth(), quell::shield_depth()), (1, 1));
    me.interrupt(Interrupt::new(()));
    let _ = std::panic::catch_unwind(|| {
        let _unmasked = quell::unmask();
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    assert_eq!((quell::mask_depth(), quell::shield_depth()), (1, 1));
    assert!(quell::checkpoint().is_ok());
    assert_eq!(me.withdraw_all(), 1);
}

/// Who looks from outside sees how deep a thread is in masks, and what is pending, also of one that was in a mask before it was known.
#[test]
fn others_see_masks_and_what_is_pending() {
    let (inside, leave) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let handle = Arc::new(std::sync::OnceLock::new());
    let target = {
        let (inside, leave, handle) = (inside.clone(), leave.clone(), handle.clone());
        std::thread::spawn(move || {
            quell::enter_mask();
            let _shields = (quell::shield(), quell::shield());
            handle.set(quell::current()).unwrap();
            inside.set();
            leave.wait().unwrap();
            let me = quell::current();
            let open = quell::unmask();
            assert_eq!((me.mask_depth(), me.shield_depth()), (0, 0));
            assert!(quell::checkpoint().is_err());
            drop(open);
            (me.mask_depth(), me.shield_depth())
        })
    };
    inside.wait().unwrap();
    let thread = handle.get().unwrap();
    assert_eq!((thread.mask_depth(), thread.shield_depth()), (1, 2));
    let pending = || {
        let mut reasons = Vec::new();
        while !thread.look_at_pending(|it| reasons.extend(it.downcast_ref::<u32>().copied())) {}
        reasons
    };
    assert_eq!(pending(), []);
    thread.interrupt(Interrupt::new(1_u32));
    let second = thread.interrupt(Interrupt::new(2_u32));
    assert_eq!(pending(), [1, 2]);
    second.withdraw();
    assert_eq!(pending(), [1]);
    leave.set();
    assert_eq!(target.join().unwrap(), (1, 2));
}
