//! To whom the signal goes, and to whom not: only to a thread inside a registered call that listens. Included by one file for
//! each mechanism, as the guarantees.

use crate::calls::{self, Blocks, kinds};
use crate::common::{Random, Turns, disturber, stress};
use quell::{CallError, Interrupt, Wait, syscall, thread};
use std::ffi::c_int;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};

/// Blocks the signal in the current thread, so that one that is sent to it stays where it can be seen.
fn block() {
    mask(libc::SIG_BLOCK);
}

fn unblock() {
    mask(libc::SIG_UNBLOCK);
}

fn mask(how: c_int) {
    // SAFETY: the set is made here, and the call changes this thread's mask only.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut set, libc::SIGURG);
        assert_eq!(libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut()), 0);
    }
}

/// Whether the kernel has one for this thread.
fn is_pending(tid: c_int) -> bool {
    let status = std::fs::read_to_string(format!("/proc/self/task/{tid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("SigPnd:")).unwrap();
    let pending = u64::from_str_radix(line.trim(), 16).unwrap();
    pending & (1 << (libc::SIGURG - 1)) != 0
}

fn tid() -> c_int {
    // SAFETY: asks who this is.
    unsafe { libc::syscall(libc::SYS_gettid) as c_int }
}

/// The signal is never sent to a thread outside a registered call: one that makes such calls, and is interrupted all the time,
/// has none pending in between, though it blocks it there, and its handler runs only inside.
#[test]
fn never_sent_to_a_thread_outside_a_registered_call() {
    calls::install();
    let rounds = stress(5_000);
    let target = thread::spawn(move || {
        let me = tid();
        let mut read = calls::read();
        let (mut outside, mut seen, mut round) = (0, 0, 0);
        // Until some came inside: else nothing was tried.
        while round < rounds || seen == 0 {
            let before = calls::hits();
            if round % 2 == 0 {
                // The call has to wait for the next one.
                quell::current().withdraw_all();
            }
            assert!(matches!(read(&Wait::new()), Err(CallError::Interrupted(_))));
            seen += calls::hits() - before;
            // From here on nobody may send it any more, interrupts or not.
            block();
            for _ in 0..round % 500 {
                std::hint::spin_loop();
            }
            // Whoever has a kick for us has it now: something is pending.
            while !quell::current().has_pending() {
                std::hint::spin_loop();
            }
            // The file takes a while to read; the kernel's answer to the thread itself does not.
            let mut set = 0_u64;
            let at = &raw mut set;
            // SAFETY: the kernel writes eight bytes.
            assert_eq!(unsafe { libc::syscall(libc::SYS_rt_sigpending, at, 8) }, 0);
            outside += u64::from(set & (1 << (libc::SIGURG - 1)) != 0);
            if round % 100 == 0 {
                outside += u64::from(is_pending(me));
            }
            unblock();
            round += 1;
        }
        let seen_after = calls::hits();
        quell::current().withdraw_all();
        (outside, calls::hits() - seen_after)
    });
    let stop = Arc::new(AtomicBool::new(false));
    let disturber = disturber(21, 2, vec![target.thread().clone()], &stop, u64::MAX);
    let (outside, later) = target.join().unwrap();
    stop.store(true, SeqCst);
    disturber.join().unwrap();
    assert_eq!((outside, later), (0, 0));
}

/// A thread that has made no registered call, or that is in a call of its own, is not signalled, whoever interrupts it.
#[test]
fn never_sent_to_a_thread_in_a_call_of_its_own() {
    calls::install();
    for has_called in [false, true] {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let number = Arc::new(AtomicI32::new(0));
        let target = {
            let number = Arc::clone(&number);
            thread::spawn(move || {
                if has_called {
                    let now = Wait::new().until(std::time::Instant::now());
                    assert!(syscall::read(&reader, &mut [0], &now).is_err());
                }
                block();
                number.store(tid(), SeqCst);
                let mut byte = 0_u8;
                // SAFETY: a byte of ours. A bare call: EINTR would be seen.
                let got = unsafe {
                    use std::os::fd::AsRawFd;
                    libc::read(reader.as_raw_fd(), (&raw mut byte).cast(), 1)
                };
                (got, quell::current().withdraw_all())
            })
        };
        while number.load(SeqCst) == 0 {
            std::thread::yield_now();
        }
        let sent = stress(2_000) as usize;
        for round in 0..sent {
            target.thread().interrupt(Interrupt::new(round));
        }
        assert!(!is_pending(number.load(SeqCst)), "a call before: {has_called}");
        writer.write_all(b"x").unwrap();
        assert_eq!(target.join().unwrap(), (1, sent));
    }
}

/// A shielded thread is never signalled, in no call: its interrupts wait, and its handler does not run once.
#[test]
fn never_sent_to_a_shielded_thread() {
    calls::install();
    for (name, mut blocks) in kinds() {
        // One that ends on its own says when the call has begun, and how often the handler has run.
        let turns = Arc::new(Turns::new());
        let target = {
            let turns = Arc::clone(&turns);
            thread::spawn(move || {
                // Quell knows the thread as one that makes calls.
                assert!(blocks(&Wait::new().until(std::time::Instant::now())).is_err());
                let before = calls::hits();
                let shield = quell::shield();
                turns.done();
                // A nudge ends it, without a signal of quell's own meaning: it is counted below.
                let ended = blocks(&Wait::new().signals());
                assert!(matches!(ended, Err(CallError::Signalled)), "{name}: {ended:?}");
                let hits = calls::hits() - before;
                drop(shield);
                assert!(matches!(blocks(&Wait::new()), Err(CallError::Interrupted(_))), "{name}");
                (hits, blocks)
            })
        };
        turns.wait_for(0);
        let mut random = Random::new(22);
        for round in 0..100 {
            target.thread().interrupt(Interrupt::new(round));
            for _ in 0..random.below(500) {
                std::hint::spin_loop();
            }
        }
        target.thread().nudge();
        let (hits, blocks): (u64, Blocks) = target.join().unwrap();
        drop(blocks);
        // Of a hundred interrupts none, and one of the nudge, which is sent again only where there is no stub.
        let resent = crate::MECHANISM == syscall::Mechanism::Resend;
        assert!(hits <= 1 || resent, "{name}: {hits}");
    }
}

/// The same in a call that nothing of quell's ends: there it is none at all.
#[test]
fn never_sent_to_a_shielded_thread_at_all() {
    calls::install();
    for round in 0..stress(20) {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let turns = Arc::new(Turns::new());
        let target = {
            let turns = Arc::clone(&turns);
            thread::spawn(move || {
                let now = Wait::new().until(std::time::Instant::now());
                assert!(syscall::read(&reader, &mut [0], &now).is_err());
                let before = calls::hits();
                let wait = if round % 2 == 0 { Wait::new() } else { Wait::new().shielded() };
                let shield = (round % 2 == 0).then(quell::shield);
                turns.done();
                assert_eq!(syscall::read(&reader, &mut [0], &wait).unwrap(), 1);
                let hits = calls::hits() - before;
                drop(shield);
                (hits, quell::current().withdraw_all())
            })
        };
        turns.wait_for(0);
        for number in 0..200 {
            target.thread().interrupt(Interrupt::new(number));
        }
        writer.write_all(b"x").unwrap();
        assert_eq!(target.join().unwrap(), (0, 200));
    }
}
