//! The signal of system calls, where others use it too: before quell, after it, and instead of it.

#![cfg(all(target_os = "linux", not(any(quell_loom, quell_shuttle))))]

use quell::{CallError, Interrupt, Outcome, Wait, syscall, thread};
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

static EARLIER: AtomicU64 = AtomicU64::new(0);
static LATER: AtomicU64 = AtomicU64::new(0);
/// What the later handler has found.
static FOUND: AtomicUsize = AtomicUsize::new(0);

extern "C" fn earlier(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    EARLIER.fetch_add(1, SeqCst);
}

/// Calls on, as a good neighbour does.
extern "C" fn later(number: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    LATER.fetch_add(1, SeqCst);
    // SAFETY: the handler that was found there.
    let found = unsafe { std::mem::transmute::<usize, Handler>(FOUND.load(SeqCst)) };
    found(number, info, context);
}

/// Installs a handler, and says which was there.
fn install(handler: usize) -> usize {
    // SAFETY: the handlers of this test are async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let mut before: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGURG, &raw const action, &raw mut before), 0);
        before.sa_sigaction
    }
}

/// Interrupts a read so many times, each time from another thread that is in it, or about to be.
fn interrupt_reads(times: u64) {
    let target = thread::spawn(move || {
        let (reader, _writer) = std::io::pipe().unwrap();
        for _ in 0..times {
            let ended = syscall::read(&reader, &mut [0], &Wait::new());
            assert!(matches!(ended, Err(CallError::Interrupted(_))), "{ended:?}");
        }
    });
    for round in 0..times {
        let receipt = target.thread().interrupt(Interrupt::new(round));
        assert_eq!(receipt.wait(None).unwrap(), Outcome::Delivered);
    }
    target.join().unwrap();
}

/// Raises the signal, and says how often each of the two saw it.
fn raise() -> (u64, u64) {
    let before = (EARLIER.load(SeqCst), LATER.load(SeqCst));
    // SAFETY: the signal has a handler.
    unsafe { libc::raise(libc::SIGURG) };
    (EARLIER.load(SeqCst) - before.0, LATER.load(SeqCst) - before.1)
}

/// One test, because the signal is the process's.
#[test]
fn everybody_is_called_and_nothing_is_lost() {
    install(earlier as Handler as usize);
    interrupt_reads(100);
    assert_eq!(raise(), (1, 0));

    // Installed over quell's, and calling it.
    FOUND.store(install(later as Handler as usize), SeqCst);
    assert_eq!(raise(), (1, 1));
    interrupt_reads(100);
    // Quell has taken it back and calls the later one, which calls quell, which calls the earlier one.
    assert_eq!(raise(), (1, 1));
    interrupt_reads(100);
    assert_eq!(raise(), (1, 1));

    // Without a thought for who was there.
    install(libc::SIG_IGN);
    interrupt_reads(100);
    assert_eq!(raise(), (0, 0));
    install(libc::SIG_DFL);
    interrupt_reads(100);

    // Too late for another.
    let late = syscall::Setup::new().signal(libc::SIGRTMIN() + 1).install().unwrap_err();
    assert!(late.to_string().contains("already"), "{late}");
    assert_eq!(syscall::signal(), libc::SIGURG);
}
