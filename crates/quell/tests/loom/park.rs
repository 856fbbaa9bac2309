//! Every interleaving of the parker and of the short lock. Loom runs each closure once per interleaving.

use crate::models;
use loom::sync::Arc;
use loom::sync::atomic::AtomicBool;
use loom::sync::atomic::Ordering::{Relaxed, SeqCst};
use quell::model::{Parked, Parker};

/// The owner looks at a flag and sleeps; a waker sets the flag, and unparks. A lost wake-up is a deadlock, which loom
/// reports. The flag is Relaxed: the parker's own ordering must carry it.
#[test]
fn no_wake_up_is_lost() {
    models::all(|| {
        let shared = Arc::new((Parker::new(), AtomicBool::new(false)));
        let waker = Arc::clone(&shared);
        let waker = models::spawn(move || {
            waker.1.store(true, Relaxed);
            waker.0.unpark();
        });
        // One park is enough, and what came before `unpark` is visible after it.
        assert_eq!(shared.0.park(false), Parked::Woken);
        assert!(shared.1.load(Relaxed));
        waker.join().unwrap();
    });
}

#[test]
fn two_wakers_leave_one_token_or_two_wake_ups() {
    models::bounded(3, || {
        let shared = Arc::new((Parker::new(), AtomicBool::new(false), AtomicBool::new(false)));
        let wakers: Vec<_> = (0..2)
            .map(|i| {
                let shared = Arc::clone(&shared);
                models::spawn(move || {
                    if i == 0 { &shared.1 } else { &shared.2 }.store(true, SeqCst);
                    shared.0.unpark();
                })
            })
            .collect();
        while !(shared.1.load(SeqCst) && shared.2.load(SeqCst)) {
            shared.0.park(false);
        }
        for waker in wakers {
            waker.join().unwrap();
        }
    });
}

/// A deadline that passes while a token comes: the token is taken now, or is still there for the next time.
#[test]
fn a_time_out_loses_no_token() {
    models::all(|| {
        let parker = Arc::new(Parker::new());
        let waker = Arc::clone(&parker);
        let waker = models::spawn(move || waker.unpark());
        let clock = Arc::clone(&parker);
        let clock = models::spawn(move || clock.expire());
        if parker.park(true) == Parked::TimedOut {
            assert_eq!(parker.park(false), Parked::Woken);
        }
        waker.join().unwrap();
        clock.join().unwrap();
    });
}

#[cfg(quell_futex)]
#[test]
fn a_signal_loses_no_token() {
    models::all(|| {
        let parker = Arc::new(Parker::new());
        let waker = Arc::clone(&parker);
        let waker = models::spawn(move || waker.unpark());
        let handler = Arc::clone(&parker);
        let handler = models::spawn(move || handler.signal());
        if parker.park(false) == Parked::Signalled {
            assert_eq!(parker.park(false), Parked::Woken);
        }
        waker.join().unwrap();
        handler.join().unwrap();
    });
}

/// The three-state lock: one at a time, writes are handed over, nobody sleeps for ever.
#[cfg(quell_futex)]
#[test]
fn the_short_lock_excludes() {
    use loom::cell::UnsafeCell;
    use quell::model::ShortLock;

    struct Counter {
        lock: ShortLock,
        // Loom itself checks that two accesses never overlap and are ordered.
        value: UnsafeCell<u32>,
    }
    // SAFETY: the value is reached under the lock.
    unsafe impl Sync for Counter {}
    // SAFETY: as above.
    unsafe impl Send for Counter {}

    fn add(counter: &Counter) {
        counter.lock.lock();
        // SAFETY: we hold the lock.
        counter.value.with_mut(|value| unsafe { *value += 1 });
        counter.lock.unlock();
    }

    models::bounded(3, || {
        let counter = Counter { lock: ShortLock::new(), value: UnsafeCell::new(0) };
        let counter = std::sync::Arc::new(counter);
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let counter = std::sync::Arc::clone(&counter);
                models::spawn(move || add(&counter))
            })
            .collect();
        add(&counter);
        for thread in threads {
            thread.join().unwrap();
        }
        // SAFETY: nobody else is left.
        assert_eq!(counter.value.with(|value| unsafe { *value }), 3);
    });
}
