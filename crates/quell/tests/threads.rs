//! Threads: how they begin, how they end, and who they are.

#![cfg(not(any(quell_loom, quell_shuttle)))]

use quell::thread::{Builder, JoinError};
use quell::wait::Look;
use quell::{Event, Interrupt, Outcome, RawRLock, Thread, Wait, WaitError, thread};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

#[test]
fn a_result_comes_out_of_join() {
    assert_eq!(thread::spawn(|| "done").join().unwrap(), "done");
}

#[test]
fn a_panic_comes_out_of_join() {
    let handle = thread::spawn(|| -> () { std::panic::resume_unwind(Box::new("on purpose")) });
    match handle.join() {
        Err(error @ JoinError::Panicked(_)) => {
            assert_eq!(error.to_string(), "the thread panicked: on purpose");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_join_that_timed_out_can_be_repeated() {
    let go_on = Arc::new(Event::new());
    let handle = {
        let go_on = Arc::clone(&go_on);
        thread::spawn(move || go_on.wait().is_ok())
    };
    let handle = match handle.join_until(Instant::now() + Duration::from_millis(1)) {
        Err(error @ JoinError::TimedOut(_)) => error.into_handle().unwrap(),
        other => panic!("{other:?}"),
    };
    assert!(!handle.is_finished());
    go_on.set();
    assert!(handle.join().unwrap());
}

#[test]
fn a_thread_can_be_interrupted_before_it_has_run() {
    let handle = thread::spawn(|| quell::checkpoint().is_err());
    let receipt = handle.thread().interrupt(Interrupt::new(()));
    let interrupted = handle.join().unwrap();
    assert_eq!(interrupted, receipt.state() == Outcome::Delivered);
    assert_ne!(receipt.state(), Outcome::Pending);
}

#[test]
fn a_detached_threads_result_is_dropped() {
    struct Tell(mpsc::Sender<()>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }
    let (tell, told) = mpsc::channel();
    drop(thread::spawn(move || Tell(tell)));
    told.recv().unwrap();
}

#[test]
fn names() {
    let handle = Builder::new().name("worker".to_owned()).spawn(quell::current).unwrap();
    assert_eq!(handle.thread().name().as_deref(), Some("worker"));
    let thread = handle.join().unwrap();
    assert_eq!(thread.to_string(), format!("thread {} \"worker\"", thread.id()));
    let foreign = std::thread::Builder::new().name("foreign".to_owned());
    let foreign = foreign.spawn(quell::current).unwrap().join().unwrap();
    assert_eq!(foreign.name().as_deref(), Some("foreign"));
    assert!(!foreign.is_alive());
}

#[test]
fn a_foreign_thread_is_registered_by_its_first_use() {
    std::thread::spawn(|| {
        assert!(!quell::is_registered());
        // None of these needs to know who it is.
        quell::checkpoint().unwrap();
        drop(quell::mask());
        let lock = quell::Lock::new(());
        drop(lock.lock().unwrap());
        assert!(!quell::is_registered());
        let me = quell::current();
        assert!(quell::is_registered());
        assert_eq!(quell::lookup(me.id()), Some(me));
    })
    .join()
    .unwrap();
}

#[test]
fn a_handle_is_adopted_with_what_is_pending() {
    let handle = Thread::unattached(Some("adopted".to_owned()));
    assert_eq!(quell::lookup(handle.id()).as_ref(), Some(&handle));
    let receipt = handle.interrupt(Interrupt::new(1));
    let mine = handle.clone();
    std::thread::spawn(move || {
        quell::adopt(&mine).unwrap();
        quell::adopt(&mine).unwrap();
        assert_eq!(quell::current(), mine);
        assert!(quell::sleep(Duration::from_secs(3600)).is_err());
        let stranger = Thread::unattached(None);
        let refused = quell::adopt(&stranger).unwrap_err();
        assert_eq!(refused.thread(), &mine);
        stranger.mark_exited();
    })
    .join()
    .unwrap();
    assert_eq!(receipt.state(), Outcome::Delivered);
    assert!(!handle.is_alive());
}

#[test]
fn a_handle_nobody_adopts_can_be_given_up() {
    let handle = Thread::unattached(None);
    let receipt = handle.interrupt(Interrupt::new(1));
    handle.mark_exited();
    handle.mark_exited();
    assert_eq!(receipt.wait(None).unwrap(), Outcome::TargetExited);
    assert!(quell::lookup(handle.id()).is_none());
}

#[test]
fn unpark_is_remembered_once() {
    let me = quell::current();
    me.unpark();
    me.unpark();
    thread::park().unwrap();
    let again = thread::park_with(&Wait::new().timeout(Duration::from_millis(1)));
    assert!(again.is_err());
}

#[test]
fn park_and_unpark_take_turns() {
    let me = quell::current();
    let other = thread::spawn(move || {
        for _ in 0..10_000 {
            me.unpark();
            thread::park().unwrap();
        }
    });
    for _ in 0..10_000 {
        thread::park().unwrap();
        other.thread().unpark();
    }
    other.join().unwrap();
}

#[test]
fn sleep_is_never_short() {
    for micros in [0, 1, 50, 2_000] {
        let time = Duration::from_micros(micros);
        let start = Instant::now();
        quell::sleep(time).unwrap();
        assert!(start.elapsed() >= time);
    }
    quell::sleep_until(Instant::now()).unwrap();
}

/// quell in another thread-local's destructor, before and after its own has run.
#[test]
fn thread_local_destructors_may_wait() {
    struct Late {
        lock: RawRLock,
        told: mpsc::Sender<bool>,
    }
    impl Drop for Late {
        fn drop(&mut self) {
            quell::sleep(Duration::from_micros(10)).unwrap();
            let event = Event::new();
            assert!(event.wait_until(Instant::now()).is_err());
            assert!(self.lock.try_lock());
            let me = quell::current();
            me.interrupt(Interrupt::new(()));
            let alive = quell::checkpoint().is_err();
            self.told.send(alive || !me.is_alive()).unwrap();
        }
    }
    thread_local! {
        static FIRST: RefCell<Option<Late>> = const { RefCell::new(None) };
        static SECOND: RefCell<Option<Late>> = const { RefCell::new(None) };
    }
    let (told, hear) = mpsc::channel();
    let late = |told: &mpsc::Sender<bool>| Late { lock: RawRLock::new(), told: told.clone() };
    for spawned in [false, true] {
        let told = told.clone();
        let body = move || {
            FIRST.set(Some(late(&told)));
            quell::current();
            SECOND.set(Some(late(&told)));
        };
        if spawned {
            drop(thread::spawn(body));
        } else {
            drop(std::thread::spawn(body));
        }
        assert!(hear.recv().unwrap());
        assert!(hear.recv().unwrap());
    }
}

#[test]
fn a_nudge_ends_a_wait_that_asked() {
    let target = thread::spawn(|| {
        let ended = Event::new().wait_with(&Wait::new().signals());
        matches!(ended, Err(quell::WaitError::Signalled))
    });
    target.thread().nudge();
    assert!(target.join().unwrap());
}

#[test]
fn a_nudge_ends_no_other_wait() {
    let me = quell::current();
    me.nudge();
    quell::sleep(Duration::from_micros(10)).unwrap();
    let ended = thread::sleep_with(&Wait::new().signals());
    assert!(matches!(ended, Err(quell::WaitError::Signalled)));
}

#[test]
fn a_wait_looks_again_when_it_is_time() {
    let soon = || Instant::now() + Duration::from_millis(5);
    let (event, at) = (Event::new(), soon());
    let ended = event.wait_with(&Wait { look_again: Some(at), ..Wait::new().signals() });
    assert!(matches!(ended, Err(quell::WaitError::Signalled)));
    assert!(Instant::now() >= at);
    // A deadline that is earlier counts, and who does not ask for signals is not told.
    let past = Some(Instant::now());
    let wait = Wait { look_again: Some(soon()), deadline: past, ..Wait::new().signals() };
    assert!(matches!(event.wait_with(&wait), Err(quell::WaitError::TimedOut)));
    let wait = Wait { look_again: past, deadline: Some(soon()), ..Wait::new() };
    assert!(matches!(event.wait_with(&wait), Err(quell::WaitError::TimedOut)));
}

/// One that would look for ever looks for as long as there is nothing to be done.
#[test]
fn a_wait_that_stays_awake_is_ended_by_all_that_ends_a_sleep() {
    fn look(news: &dyn Fn() -> bool) {
        while !news() {
            std::hint::spin_loop();
        }
    }
    let wait = Wait { look: Look::With(look), ..Wait::new() };
    let event = Event::new();
    thread::scope(|s| {
        let waiter = s.spawn(|| event.wait_with(&wait));
        event.set();
        assert!(waiter.join().unwrap().is_ok());
        event.clear();
        let waiter = s.spawn(|| event.wait_with(&wait));
        waiter.thread().interrupt(Interrupt::new("wake up"));
        assert!(matches!(waiter.join().unwrap(), Err(WaitError::Interrupted(_))));
        let waiter = s.spawn(|| event.wait_with(&wait.signals()));
        waiter.thread().nudge();
        assert!(matches!(waiter.join().unwrap(), Err(WaitError::Signalled)));
    });
    let queue = quell::Queue::unbounded();
    thread::scope(|s| {
        let getter = s.spawn(|| queue.get_with(&wait));
        queue.put(1).unwrap();
        assert_eq!(getter.join().unwrap().unwrap(), 1);
    });
}

/// A grant that has come is returned; the interrupt stays pending in any case.
#[test]
fn a_wait_may_leave_the_interrupt_pending() {
    let wait = Wait { leave_pending: true, ..Wait::new() };
    let me = quell::current();
    let event = Event::new();
    let receipt = me.interrupt(Interrupt::new("later"));
    assert!(matches!(event.wait_with(&wait), Err(WaitError::Signalled)));
    let shield = quell::shield();
    let timed = wait.timeout(Duration::from_millis(1));
    assert!(matches!(event.wait_with(&timed), Err(WaitError::TimedOut)));
    assert!(shield.leave().is_err());
    assert_eq!(receipt.state(), Outcome::Delivered);
    event.set();
    let receipt = me.interrupt(Interrupt::new("again"));
    assert!(event.wait_with(&wait).is_ok());
    assert_eq!(receipt.state(), Outcome::Pending);
    assert!(receipt.withdraw());
}

#[cfg(all(target_os = "linux", not(quell_portable_park)))]
mod signals {
    use super::*;
    use std::sync::atomic::{AtomicI32, Ordering::SeqCst};

    extern "C" fn handler(_: libc::c_int) {}

    /// Installed with SA_RESTART, as most programs do.
    fn install() {
        // SAFETY: the handler does nothing; the struct is valid zeroed.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as extern "C" fn(libc::c_int) as usize;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
        }
    }

    /// A wait without a deadline is ended by a signal handler, if it asked; otherwise it goes on.
    #[test]
    fn a_signal_ends_a_wait_that_asked() {
        install();
        for asked in [true, false] {
            let (tid, go_on) = (Arc::new(AtomicI32::new(0)), Arc::new(Event::new()));
            let waiter = {
                let (tid, go_on) = (Arc::clone(&tid), Arc::clone(&go_on));
                thread::spawn(move || {
                    // SAFETY: cannot fail.
                    tid.store(unsafe { libc::gettid() }, SeqCst);
                    go_on.wait_with(&Wait { signals: asked, ..Wait::new() }).is_ok()
                })
            };
            let mut sent = 0;
            while !waiter.is_finished() && (asked || sent < 100) {
                let tid = tid.load(SeqCst);
                if tid != 0 {
                    // SAFETY: the thread is of this process, and has not been reaped.
                    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, libc::SIGUSR1) };
                    sent += 1;
                }
                std::thread::yield_now();
            }
            go_on.set();
            assert_eq!(waiter.join().unwrap(), !asked);
        }
    }
}

#[test]
fn a_timed_join_and_a_timed_park() {
    let go_on = Arc::new(Event::new());
    let handle = {
        let go_on = Arc::clone(&go_on);
        thread::spawn(move || go_on.wait().is_ok())
    };
    let handle = match handle.join_timeout(Duration::from_millis(1)) {
        Err(JoinError::TimedOut(handle)) => handle,
        other => panic!("{other:?}"),
    };
    go_on.set();
    assert!(handle.join().unwrap());
    assert!(thread::park_timeout(Duration::from_millis(1)).is_err());
    assert!(thread::park_until(Instant::now()).is_err());
    quell::current().unpark();
    thread::park_timeout(Duration::from_secs(3600)).unwrap();
}

#[test]
fn a_thread_starts_in_the_masks_it_was_given() {
    let depths = || (quell::mask_depth(), quell::shield_depth());
    let started = |builder: Builder| builder.spawn(depths).unwrap().join().unwrap();
    assert_eq!(started(Builder::new()), (0, 0));
    assert_eq!(started(Builder::new().masked()), (1, 0));
    assert_eq!(started(Builder::new().shielded()), (0, 1));
    assert_eq!(started(Builder::new().inherit_masks()), (0, 0));
    let _mask = quell::mask();
    assert_eq!(started(Builder::new().inherit_masks()), (1, 0));
    let _shield = quell::shield();
    assert_eq!(started(Builder::new().inherit_masks()), (1, 1));
    assert_eq!(started(Builder::new()), (0, 0));
}

/// A thread that starts shielded, interrupted before it has run, gets it where it lets it in and nowhere before.
#[test]
fn a_shielded_thread_is_reached_where_it_lets_it_in() {
    let builder = Builder::new().shielded();
    let handle = builder
        .spawn(|| {
            quell::sleep(Duration::from_micros(10)).expect("shielded");
            let unmasked = quell::unmask();
            let inside =
                quell::checkpoint().is_err() || quell::sleep(Duration::from_secs(3600)).is_err();
            drop(unmasked);
            inside && quell::shield_depth() == 1
        })
        .unwrap();
    handle.thread().interrupt(Interrupt::new(()));
    assert!(handle.join().unwrap());
}

#[test]
#[cfg(target_os = "linux")]
fn the_processor_time_of_any_thread() {
    let (go_on, spin) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let thread = {
        let (go_on, spin) = (Arc::clone(&go_on), Arc::clone(&spin));
        thread::spawn(move || {
            spin.wait().unwrap();
            let mine = quell::current();
            let before = mine.cpu_time().unwrap();
            while mine.cpu_time().unwrap() < before + Duration::from_millis(5) {}
            go_on.wait().unwrap();
        })
    };
    spin.set();
    while thread.thread().cpu_time().is_none_or(|time| time < Duration::from_millis(5)) {
        std::thread::yield_now();
    }
    let handle = thread.thread().clone();
    go_on.set();
    thread.join().unwrap();
    assert_eq!(handle.cpu_time(), None);
    let nobody = Thread::unattached(None);
    assert_eq!(nobody.cpu_time(), None);
    nobody.mark_exited();
}
