//! The rules of Ruby's `Thread.handle_interrupt` and `pending_interrupt?`, and of asynchronous exceptions in GHC (Marlow,
//! Peyton Jones, Moran and Reppy, *Asynchronous Exceptions in Haskell*, 2001, and the documentation of
//! `Control.Exception`), held against masks, shields and waits. Each test names its rule.

#![cfg(not(any(quell_loom, quell_shuttle)))]

use quell::{Event, Interrupt, Lock, Outcome, Queue, Semaphore, Wait, WaitError, thread};
use std::sync::Arc;
use std::time::Duration;

fn pending() -> quell::Receipt {
    quell::current().interrupt(Interrupt::new(()))
}

mod ruby {
    use super::*;

    /// `handle_interrupt(Error => :never)`: "Never invoke interrupts", not where the thread blocks either; deferred to the
    /// end of the block.
    #[test]
    fn never() {
        let receipt = pending();
        let shield = quell::shield();
        assert!(quell::checkpoint().is_ok());
        assert!(quell::sleep(Duration::from_millis(1)).is_ok());
        assert!(Semaphore::new(0).acquire_timeout(Duration::from_millis(1)).is_err());
        assert_eq!(receipt.state(), Outcome::Pending);
        assert!(shield.leave().is_err());
    }

    /// `handle_interrupt(Error => :on_blocking)`: "Invoke interrupts while BlockingOperation".
    #[test]
    fn on_blocking() {
        let receipt = pending();
        let mask = quell::mask();
        assert!(quell::checkpoint().is_ok());
        assert_eq!(receipt.state(), Outcome::Pending);
        assert!(Semaphore::new(0).acquire().is_err());
        assert!(mask.leave().is_ok(), "it was delivered where the thread blocked");
    }

    /// `handle_interrupt(Error => :immediate)` inside `:never`: invoked at once, there.
    #[test]
    fn immediate_inside_never() {
        let shield = quell::shield();
        let receipt = pending();
        let inside = quell::unmask();
        assert!(quell::checkpoint().is_err());
        drop(inside);
        assert_eq!(receipt.state(), Outcome::Delivered);
        pending();
        assert!(quell::checkpoint().is_ok(), "outside it, never again");
        assert!(shield.leave().is_err());
    }

    /// Nested: the inner `:never` holds inside an outer `:on_blocking`, and that holds again behind it.
    #[test]
    fn nested() {
        let _mask = quell::mask();
        pending();
        let shield = quell::shield();
        assert!(quell::sleep(Duration::from_millis(1)).is_ok());
        assert!(shield.leave().is_ok(), "the mask holds still");
        assert!(quell::sleep(Duration::from_secs(3600)).is_err());
    }

    /// `pending_interrupt?`: whether the thread's queue of interrupts is not empty; from any thread.
    #[test]
    fn pending_interrupt() {
        let (go_on, deferred) = (Arc::new(Event::new()), Arc::new(Event::new()));
        let target = {
            let (go_on, deferred) = (Arc::clone(&go_on), Arc::clone(&deferred));
            thread::spawn(move || {
                let shield = quell::shield();
                deferred.set();
                go_on.wait().unwrap();
                assert!(quell::current().has_pending());
                let raised = shield.leave().is_err();
                (raised, quell::current().has_pending())
            })
        };
        deferred.wait().unwrap();
        let handle = target.thread().clone();
        assert!(!handle.has_pending());
        handle.interrupt(Interrupt::new(()));
        assert!(handle.has_pending());
        go_on.set();
        assert_eq!(target.join().unwrap(), (true, false));
    }

    /// Interrupts are invoked in the order they were sent, one at each point.
    #[test]
    fn in_order() {
        for number in 0..3_u32 {
            quell::current().interrupt(Interrupt::new(number));
        }
        for number in 0..3_u32 {
            let interrupted = quell::checkpoint().unwrap_err();
            assert_eq!(interrupted.downcast_ref(), Some(&number));
        }
        assert!(quell::checkpoint().is_ok());
    }

    /// The pattern of the documentation: allocate under `:never`, use under `:immediate`, free whatever happened.
    #[test]
    fn what_is_allocated_is_freed() {
        let semaphore = Semaphore::new(1);
        let shield = quell::shield();
        let permit = semaphore.acquire().unwrap();
        pending();
        let used = {
            let _interruptible = quell::unmask();
            quell::checkpoint()
        };
        drop(permit);
        assert!(used.is_err());
        assert_eq!(semaphore.value(), 1);
        assert!(shield.leave().is_ok());
    }

    /// `Thread#raise` for a thread that has ended changes nothing.
    #[test]
    fn raise_for_the_dead() {
        let ended = thread::spawn(|| ());
        let handle = ended.thread().clone();
        ended.join().unwrap();
        assert_eq!(handle.interrupt(Interrupt::new(())).state(), Outcome::TargetExited);
    }
}

mod ghc {
    use super::*;

    /// `mask`: an interruptible operation may receive an exception "only if it actually blocks": taking from a full `MVar`
    /// never does.
    #[test]
    fn an_operation_that_does_not_block_is_not_interruptible() {
        let receipt = pending();
        let _mask = quell::mask();
        let queue = Queue::bounded(1);
        queue.put(1).unwrap();
        assert_eq!(queue.get().unwrap(), 1);
        drop(Lock::new(()).lock().unwrap());
        drop(Semaphore::new(1).acquire().unwrap());
        assert_eq!(receipt.state(), Outcome::Pending);
        assert!(queue.get().is_err(), "taking from an empty one blocks");
        assert_eq!(receipt.state(), Outcome::Delivered);
    }

    /// `uninterruptibleMask`: not even where it blocks.
    #[test]
    fn uninterruptible_mask() {
        let receipt = pending();
        let _shield = quell::shield();
        let soon = Wait::new().timeout(Duration::from_millis(1));
        assert!(matches!(Event::new().wait_with(&soon), Err(WaitError::TimedOut)));
        assert!(receipt.withdraw());
    }

    /// `mask $ \restore -> …`: `restore` brings back the state outside, and the mask holds again behind it.
    #[test]
    fn restore() {
        let _mask = quell::mask();
        pending();
        pending();
        let restored = quell::unmask();
        assert!(quell::checkpoint().is_err());
        drop(restored);
        assert!(quell::checkpoint().is_ok());
        assert!(quell::current().withdraw_all() == 1);
    }

    /// `forkIO`: "The newly created thread inherits the masked state of the parent". In quell by choice.
    #[test]
    fn fork_inherits_the_mask() {
        let states = || (quell::mask_depth() > 0, quell::shield_depth() > 0);
        let inherits = || thread::Builder::new().inherit_masks().spawn(states).unwrap();
        assert_eq!(inherits().join().unwrap(), (false, false));
        let mask = quell::mask();
        assert_eq!(inherits().join().unwrap(), (true, false));
        assert_eq!(quell::spawn(states).join().unwrap(), (false, false));
        drop(mask);
        let _shield = quell::shield();
        assert_eq!(inherits().join().unwrap(), (false, true));
    }

    /// `throwTo` "does not return until the exception has been raised in the target thread": that is what a receipt waits
    /// for. The wait "is always interruptible, even if it does not actually block" is not taken over.
    #[test]
    fn throw_to_waits_for_the_raise() {
        let event = Arc::new(Event::new());
        let target = {
            let event = Arc::clone(&event);
            thread::spawn(move || event.wait().is_err())
        };
        let receipt = target.thread().interrupt(Interrupt::new(()));
        assert_eq!(receipt.wait(None).unwrap(), Outcome::Delivered);
        assert!(target.join().unwrap());
    }

    /// `bracket`: what was acquired under the mask is released, however the part between ends.
    #[test]
    fn bracket() {
        let lock = Arc::new(Lock::new(0));
        let worker = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || {
                let mask = quell::mask();
                let mut guard = lock.lock_uninterruptible();
                *guard += 1;
                let between = {
                    let _restored = quell::unmask();
                    quell::sleep(Duration::from_secs(3600))
                };
                drop(guard);
                (between.is_err(), mask.leave().is_ok())
            })
        };
        worker.thread().interrupt(Interrupt::new(()));
        assert_eq!(worker.join().unwrap(), (true, true));
        assert!(lock.try_lock().is_some());
    }
}
