//! The guarantees of system calls. Included by one file for each mechanism, which says which it is.

use crate::calls::{self, Blocks, kinds};
use crate::common::{Random, Turns, stress};
use quell::{CallError, Interrupt, Outcome, Wait, syscall, thread};
use std::ffi::{c_int, c_void};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Interrupts a thread that makes this call, `rounds` times, at random moments around its beginning. What was sent was
/// delivered, each in its round; a lost one hangs the test.
fn none_is_lost(name: &str, mut blocks: Blocks, rounds: u64) {
    calls::install();
    let turns = Arc::new(Turns::new());
    let target = {
        let turns = Arc::clone(&turns);
        thread::spawn(move || {
            for round in 0..rounds {
                turns.done();
                match blocks(&Wait::new()) {
                    Err(CallError::Interrupted(i)) => {
                        assert_eq!(i.downcast_ref::<u64>(), Some(&round));
                    }
                    other => panic!("{other:?}"),
                }
            }
        })
    };
    let mut random = Random::new(rounds);
    for round in 0..rounds {
        turns.wait_for(round);
        for _ in 0..random.below(3000) {
            std::hint::spin_loop();
        }
        let receipt = target.thread().interrupt(Interrupt::new(round));
        assert_eq!(receipt.wait(None).unwrap(), Outcome::Delivered, "{name}");
    }
    target.join().unwrap();
}

#[test]
fn no_interrupt_of_a_read_is_lost() {
    none_is_lost("read", calls::read(), stress(20_000));
}

#[test]
fn no_interrupt_of_an_accept_is_lost() {
    none_is_lost("accept", calls::accept(), stress(20_000));
}

#[test]
fn no_interrupt_of_any_call_is_lost() {
    for (name, blocks) in kinds() {
        none_is_lost(name, blocks, stress(2_000));
    }
}

#[test]
fn before_the_call() {
    calls::install();
    for (name, mut blocks) in kinds() {
        quell::current().interrupt(Interrupt::new("early"));
        let ended = blocks(&Wait::new());
        assert!(matches!(ended, Err(CallError::Interrupted(_))), "{name}: {ended:?}");
    }
}

/// Shielded threads are not signalled, nor are their calls interrupted.
#[test]
fn a_shielded_thread_is_never_signalled() {
    calls::install();
    for (name, mut blocks) in kinds() {
        let turns = Arc::new(Turns::new());
        let target = {
            let turns = Arc::clone(&turns);
            thread::spawn(move || {
                // One call that can be ended, so that quell knows the thread as one that makes calls.
                assert!(blocks(&Wait::new().timeout(Duration::ZERO)).is_err());
                let before = calls::hits();
                let shield = quell::shield();
                turns.done();
                let short = Wait::new().timeout(Duration::from_millis(30));
                let ended = blocks(&short);
                assert!(matches!(ended, Err(CallError::TimedOut)), "{name}: {ended:?}");
                let signals = calls::hits() - before;
                drop(shield);
                assert!(matches!(blocks(&Wait::new()), Err(CallError::Interrupted(_))), "{name}");
                signals
            })
        };
        turns.wait_for(0);
        let receipt = target.thread().interrupt(Interrupt::new("not yet"));
        // The deadline, where the monitor keeps it, is one signal, or a few if it is sent again; without it there is none.
        let signals = target.join().unwrap();
        let resent = crate::MECHANISM == syscall::Mechanism::Resend;
        assert!(signals <= 1 || resent, "{name}: {signals}");
        assert_eq!(receipt.state(), Outcome::Delivered);
    }
}

/// A mask lets interrupts in where the thread blocks, and a call blocks.
#[test]
fn a_masked_call_is_interrupted() {
    calls::install();
    let mask = quell::mask();
    quell::current().interrupt(Interrupt::new("stop"));
    quell::checkpoint().unwrap();
    assert!(matches!(calls::read()(&Wait::new()), Err(CallError::Interrupted(_))));
    drop(mask);
}

/// An interrupt that is taken back while it is on its way ends no call.
#[test]
fn a_withdrawn_interrupt_ends_no_call() {
    calls::install();
    let rounds = stress(2_000);
    let (reader, mut writer) = std::io::pipe().unwrap();
    let turns = Arc::new(Turns::new());
    let target = {
        let turns = Arc::clone(&turns);
        thread::spawn(move || {
            let (mut got, mut interrupted) = (0, 0);
            while got < rounds {
                if interrupted == 0 || got > 0 {
                    turns.done();
                }
                match syscall::read(&reader, &mut [0; 1], &Wait::new()) {
                    Ok(1) => got += 1,
                    Err(CallError::Interrupted(_)) => interrupted += 1,
                    other => panic!("{other:?}"),
                }
            }
            interrupted
        })
    };
    let mut random = Random::new(2);
    let mut delivered = 0;
    for _ in 0..rounds {
        let receipt = target.thread().interrupt(Interrupt::new(()));
        for _ in 0..random.below(2000) {
            std::hint::spin_loop();
        }
        delivered += u64::from(!receipt.withdraw());
        writer.write_all(b"x").unwrap();
    }
    assert_eq!(target.join().unwrap(), delivered);
}

static FLOODED: AtomicU64 = AtomicU64::new(0);

extern "C" fn count_flood(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    FLOODED.fetch_add(1, SeqCst);
    // Long enough to be interrupted itself.
    for _ in 0..200 {
        std::hint::spin_loop();
    }
}

/// Sends a signal to the thread that made it, until that drops it. Each test has a signal of its own: they may share a
/// process.
struct Flood {
    stop: Arc<AtomicBool>,
    sender: Option<std::thread::JoinHandle<()>>,
}

impl Flood {
    fn start(signal: c_int) -> Flood {
        let stop = Arc::new(AtomicBool::new(false));
        // SAFETY: asks who this is.
        let target = unsafe { libc::pthread_self() } as usize;
        let stopped = Arc::clone(&stop);
        let sender = std::thread::spawn(move || {
            let mut random = Random::new(3);
            while !stopped.load(SeqCst) {
                // SAFETY: the thread does not end before it has joined this one.
                unsafe { libc::pthread_kill(target as libc::pthread_t, signal) };
                for _ in 0..random.below(3000) {
                    std::hint::spin_loop();
                }
            }
        });
        Flood { stop, sender: Some(sender) }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        self.sender.take().unwrap().join().unwrap();
    }
}

/// Signals of other people, with and without SA_RESTART, arrive at the same time, and run on top of the call: the call goes
/// on, and no interrupt is lost in their handlers.
#[test]
fn foreign_signals_lose_no_interrupt() {
    calls::install();
    for flags in [0, libc::SA_RESTART] {
        calls::on_signal(libc::SIGUSR1, count_flood, flags);
        let mut read = calls::read();
        let mut flood = None;
        let blocks: Blocks = Box::new(move |wait| {
            flood.get_or_insert_with(|| Flood::start(libc::SIGUSR1));
            read(wait)
        });
        none_is_lost("read", blocks, stress(5_000));
    }
    assert!(FLOODED.load(SeqCst) > 0);
}

/// The same with signals reported: each ends the call, which has had no effect, and is made again.
#[test]
fn foreign_signals_are_reported_if_asked_for() {
    calls::install();
    calls::on_signal(libc::SIGWINCH, count_flood, 0);
    let _flood = Flood::start(libc::SIGWINCH);
    let mut read = calls::read();
    for _ in 0..stress(200) {
        // Without the report, it would never come back.
        assert!(matches!(read(&Wait::new().signals()), Err(CallError::Signalled)));
    }
}

/// Nudges from another thread, at random moments.
#[test]
fn no_nudge_is_lost() {
    calls::install();
    let rounds = stress(5_000);
    let turns = Arc::new(Turns::new());
    let target = {
        let turns = Arc::clone(&turns);
        thread::spawn(move || {
            let mut read = calls::read();
            for _ in 0..rounds {
                turns.done();
                assert!(matches!(read(&Wait::new().signals()), Err(CallError::Signalled)));
            }
        })
    };
    let mut random = Random::new(4);
    for round in 0..rounds {
        turns.wait_for(round);
        for _ in 0..random.below(3000) {
            std::hint::spin_loop();
        }
        target.thread().nudge();
    }
    target.join().unwrap();
}

/// Calls that quell has not made, between those that it has, on a thread that is interrupted all the time, and on others:
/// none of them ever ends with EINTR.
#[test]
fn other_calls_never_see_it() {
    calls::install();
    let rounds = stress(3_000);
    let stop = Arc::new(AtomicBool::new(false));
    // Sleeps of a few microseconds, which any handler would end.
    fn nap() -> bool {
        let time = libc::timespec { tv_sec: 0, tv_nsec: 20_000 };
        // SAFETY: a valid time.
        unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) != 0 }
    }
    let bystander = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            let mut ended = 0;
            while !stop.load(SeqCst) {
                ended += u64::from(nap());
            }
            ended
        })
    };
    let target = thread::spawn(move || {
        let mut read = calls::read();
        let mut ended = 0;
        for _ in 0..rounds {
            assert!(read(&Wait::new()).is_err());
            ended += u64::from(nap());
        }
        ended
    });
    let mut random = Random::new(8);
    for _ in 0..rounds {
        target.thread().interrupt(Interrupt::new(()));
        for _ in 0..random.below(20_000) {
            std::hint::spin_loop();
        }
    }
    assert_eq!(target.join().unwrap(), 0);
    stop.store(true, SeqCst);
    assert_eq!(bystander.join().unwrap(), 0);
}

/// Who had the signal before goes on being called, for every one of its own.
#[test]
fn the_foreign_handler_keeps_working() {
    calls::install();
    let before = calls::foreign_hits();
    let rounds = stress(500);
    let target = thread::spawn(move || {
        let mut read = calls::read();
        (0..rounds).for_each(|_| assert!(read(&Wait::new()).is_err()));
    });
    for round in 0..rounds {
        let seen = calls::foreign_hits();
        calls::send_foreign();
        target.thread().interrupt(Interrupt::new(round));
        while calls::foreign_hits() == seen {
            std::thread::yield_now();
        }
    }
    target.join().unwrap();
    assert_eq!(calls::foreign_hits() - before, rounds);
}

/// A thread that blocks every signal when it makes its first call can be interrupted all the same.
#[test]
fn the_signal_is_let_through() {
    calls::install();
    let target = thread::spawn(|| {
        // SAFETY: this thread's own mask.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut set);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        }
        calls::read()(&Wait::new())
    });
    target.thread().interrupt(Interrupt::new(()));
    assert!(matches!(target.join().unwrap(), Err(CallError::Interrupted(_))));
}

/// Slept over signals, the time counts from the beginning.
#[test]
fn a_sleep_over_signals_is_not_longer() {
    calls::install();
    calls::on_signal(libc::SIGIO, count_flood, 0);
    let flood = Flood::start(libc::SIGIO);
    let start = Instant::now();
    syscall::nanosleep(Duration::from_millis(50), &Wait::new()).unwrap();
    let slept = start.elapsed();
    drop(flood);
    assert!(slept >= Duration::from_millis(50));
    // Begun anew with each signal, it would not have ended before the flood.
    assert!(slept < Duration::from_secs(30), "{slept:?}");
}

/// In the child of a fork, calls are interrupted as anywhere.
#[test]
fn after_a_fork() {
    calls::install();
    let mut read = calls::read();
    let first = read(&Wait::new().timeout(Duration::from_millis(1)));
    assert!(matches!(first, Err(CallError::TimedOut)));
    let mut in_child = move || {
        let late = read(&Wait::new().timeout(Duration::from_millis(5)));
        let me = quell::current();
        let sender = thread::spawn(move || {
            for round in 0..100 {
                me.interrupt(Interrupt::new(round)).wait(None).unwrap();
            }
        });
        let reached = (0..100).all(|_| read(&Wait::new()).is_err());
        sender.join().is_ok() && reached && matches!(late, Err(CallError::TimedOut))
    };
    // SAFETY: the child uses nothing of the parent's other threads.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: ends the child, in time and without the test harness.
        unsafe {
            libc::alarm(60);
            let well = std::panic::catch_unwind(std::panic::AssertUnwindSafe(&mut in_child));
            libc::_exit(i32::from(!well.unwrap_or(false)));
        }
    }
    assert_eq!(syscall::waitpid(child, 0, &Wait::new()).unwrap(), (child, 0));
}
