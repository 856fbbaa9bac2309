//! The signal that ends system calls: which one it is, its handler, and who had it before.
//!
//! One signal per process, chosen once, SIGURG unless [`Setup`](super::Setup) says otherwise: its default is to be
//! ignored, so one too many does no harm, and unlike a real-time signal it never finds the kernel's queue full. (Go
//! stops its threads with it for the same reasons.) It is installed on first use and chained: a handler that was there
//! goes on being called. Of a standard signal the kernel keeps one at most, so a kick can swallow somebody else's and
//! the other way round; therefore whoever was there before is called for kicks too, and ours looks where the thread
//! is whoever has sent it. Real-time signals are queued one by one, and kicks are kept to ourselves.

use super::mechanism::{self, Mechanism};
use super::stub::{self, Position};
use super::{Calls, line};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::mem;
use std::ptr;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize};

/// What kicks carry, so that a handler can tell them: the address of something of ours.
static MARK: u8 = 0;

/// The signal; 0: not chosen yet. Written before the handler is installed.
static NUMBER: AtomicI32 = AtomicI32::new(0);

/// How many kicks are on their way, in the whole process. While there are none, a thread that has never used quell does
/// not touch its thread-locals in the handler.
static FLYING: AtomicU32 = AtomicU32::new(0);

/// Who had the signal before, the latest last: handlers' addresses, or SIG_DFL or SIG_IGN; and their flags. More than one
/// if somebody installed a handler over ours, and it was taken back.
static BEFORE: [Before; 8] = [const { Before::none() }; 8];
static BEFORE_COUNT: AtomicUsize = AtomicUsize::new(0);

struct Before {
    action: AtomicUsize,
    flags: AtomicI32,
}

impl Before {
    const fn none() -> Before {
        Before { action: AtomicUsize::new(libc::SIG_DFL), flags: AtomicI32::new(0) }
    }
}

/// The signal, if it has been installed.
pub(super) fn number() -> Option<c_int> {
    Some(NUMBER.load(Relaxed)).filter(|n| *n != 0)
}

/// Installs the handler. Once; and again where somebody has replaced it.
pub(super) fn install(number: c_int) -> std::io::Result<()> {
    let before = present(number)?;
    remember(&before);
    NUMBER.store(number, SeqCst);
    let mut action = before;
    action.sa_sigaction = handler as Handler as usize;
    // What was there decides whether the calls of other people are restarted after its signals; where nobody was, they are:
    // then a signal that was ignored so far still is. The stub wants neither.
    let restart = if is_handler(before.sa_sigaction) {
        before.sa_flags & libc::SA_RESTART
    } else {
        // SAFETY: a valid set.
        unsafe { libc::sigemptyset(&raw mut action.sa_mask) };
        libc::SA_RESTART
    };
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | restart;
    if mechanism::current() == Mechanism::Resend {
        // Without the stub, EINTR is all there is.
        action.sa_flags &= !libc::SA_RESTART;
    }
    let mut replaced = before;
    // SAFETY: the handler is a function of this library, async-signal-safe, and knows what it replaces.
    if unsafe { libc::sigaction(number, &raw const action, &raw mut replaced) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    // If somebody was faster between the two calls.
    if replaced.sa_sigaction != action.sa_sigaction {
        remember(&replaced);
    }
    Ok(())
}

/// What happens on the signal at present.
fn present(number: c_int) -> std::io::Result<libc::sigaction> {
    // SAFETY: plain data, for which zero is a value.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: reads the disposition, and changes nothing.
    match unsafe { libc::sigaction(number, ptr::null(), &raw mut action) } {
        0 => Ok(action),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Somebody is about to take the signal back.
static BUSY: AtomicBool = AtomicBool::new(false);

/// In the child of a fork: whoever was about to, or had sent a kick, is not here.
pub(crate) fn after_fork() {
    BUSY.store(false, SeqCst);
    FLYING.store(0, SeqCst);
}

/// Before a kick: takes the signal back from who has installed a handler over ours, who then is called as any that was
/// there before. Async-signal-safe.
fn take_back(number: c_int) {
    let ours = handler as Handler as usize;
    if present(number).is_ok_and(|action| action.sa_sigaction == ours) || BUSY.swap(true, SeqCst) {
        // Or another kicker is about to.
        return;
    }
    // Looked at again, as the only one.
    if present(number).is_ok_and(|action| action.sa_sigaction != ours) {
        // It was installed once, so the system allows it.
        let _ = install(number);
    }
    BUSY.store(false, SeqCst);
}

/// A handler with SA_SIGINFO.
type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// By who installs ours.
fn remember(before: &libc::sigaction) {
    let count = BEFORE_COUNT.load(SeqCst);
    let latest = count.checked_sub(1).map(|at| BEFORE[at].action.load(SeqCst));
    if latest == Some(before.sa_sigaction) {
        return;
    }
    // Those that come and go more often than there is room for take the place of the last.
    let at = count.min(BEFORE.len() - 1);
    BEFORE[at].flags.store(before.sa_flags, SeqCst);
    BEFORE[at].action.store(before.sa_sigaction, SeqCst);
    BEFORE_COUNT.store(at + 1, SeqCst);
}

fn is_handler(action: usize) -> bool {
    action != libc::SIG_DFL && action != libc::SIG_IGN
}

/// Sends a kick. False: the system had no room for one more signal.
pub(super) fn send(process: i32, thread: i32) -> bool {
    let number = NUMBER.load(Relaxed);
    take_back(number);
    /// A `siginfo_t` as `sigqueue` makes it: its union begins with these.
    #[repr(C)]
    struct Queued {
        pid: libc::pid_t,
        uid: libc::uid_t,
        value: *const u8,
    }
    // SAFETY: plain data, for which zero is a value.
    let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
    info.si_signo = number;
    info.si_code = libc::SI_QUEUE;
    // SAFETY: on 64-bit Linux the union begins 16 bytes into the 128 of a siginfo_t, and is aligned for pointers.
    unsafe {
        let queued = (&raw mut info).cast::<u8>().add(16).cast::<Queued>();
        queued.write(Queued { pid: process, uid: libc::getuid(), value: &raw const MARK });
    }
    FLYING.fetch_add(1, SeqCst);
    // SAFETY: a system call that reads `info`. errno is kept: this may run in a handler.
    let sent = unsafe {
        let errno = libc::__errno_location();
        let kept = *errno;
        let sent =
            libc::syscall(libc::SYS_rt_tgsigqueueinfo, process, thread, number, &raw const info)
                == 0;
        *errno = kept;
        sent
    };
    if !sent {
        FLYING.fetch_sub(1, SeqCst);
    }
    sent
}

/// So many kicks have arrived for sure.
pub(super) fn landed(kicks: u32) {
    FLYING.fetch_sub(kicks, SeqCst);
}

/// Lets the signal through to the current thread.
pub(super) fn unblock() {
    let number = NUMBER.load(Relaxed);
    // SAFETY: the set is made here. The call changes this thread's mask only.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigaddset(&raw mut set, number);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, ptr::null_mut());
    }
}

/// Whether a kick has brought this.
///
/// # Safety
/// `info` is what a handler with SA_SIGINFO was given.
unsafe fn is_kick(info: *mut libc::siginfo_t) -> bool {
    // SAFETY: as the caller promises. The value is what `sigqueue` leaves there, if the code says so.
    unsafe {
        (*info).si_code == libc::SI_QUEUE
            && (*info).si_value().sival_ptr.addr() == (&raw const MARK).addr()
    }
}

extern "C" fn handler(number: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let depth = depth();
    // SAFETY: the kernel's arguments.
    let ours = unsafe { is_kick(info) };
    if depth == 0 {
        // Coalesced with one of ours, a signal of somebody else carries their mark only.
        let calls = if ours || FLYING.load(SeqCst) != 0 { line::current() } else { None };
        if ours && let Some(calls) = calls {
            calls.line().count_handled();
        }
        if mechanism::current() == Mechanism::Stub {
            // SAFETY: the kernel's argument.
            unsafe { end_call(calls, number, context) };
        }
    }
    if !ours || number < libc::SIGRTMIN() {
        // SAFETY: the kernel's arguments.
        unsafe { chain(depth, number, info, context) };
    }
}

/// The heart of the handler: see where the thread is.
///
/// # Safety
/// `context` is what the handler was given.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
unsafe fn end_call(calls: Option<&Calls>, number: c_int, context: *mut c_void) {
    // SAFETY: as the caller promises.
    let counter = unsafe { stub::counter(context) };
    match stub::position(*counter) {
        // Also if it was somebody else's signal: the caller looks, finds nothing, and makes the call again.
        Position::Between(cancel) => *counter = cancel,
        Position::Beside => {}
        Position::Outside => {
            if let Some(calls) = calls.filter(|c| c.line().inside().load(Relaxed) != 0) {
                // The thread runs another handler, which has interrupted the stub. When that returns, the call would go on:
                // the signal is sent once more, and blocked until then. (`sigreturn` brings back the mask that the
                // other handler had found.)
                // SAFETY: the context of this handler's own interruption; the mask in it is what `sigreturn` sets.
                unsafe {
                    let context = context.cast::<libc::ucontext_t>();
                    libc::sigaddset(&raw mut (*context).uc_sigmask, number);
                }
                if calls.line().signal() {
                    calls.count_resent();
                }
            }
        }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn end_call(_calls: Option<&Calls>, _number: c_int, _context: *mut c_void) {}

thread_local! {
    /// How many handlers the thread is in that ours has called.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// How deep in the chain this is. Somebody who was installed over ours, and calls what was there before, calls ours again:
/// that goes on with who was there before them.
fn depth() -> usize {
    // With one only, it cannot be; then a thread that has never used quell does not touch its thread-locals.
    if BEFORE_COUNT.load(SeqCst) < 2 {
        return 0;
    }
    // A thread that is past its thread-locals calls nobody.
    DEPTH.try_with(Cell::get).unwrap_or(usize::MAX)
}

/// Calls who had the signal before.
///
/// # Safety
/// The arguments are what the handler was given.
unsafe fn chain(depth: usize, number: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let count = BEFORE_COUNT.load(SeqCst);
    let Some(before) = count.checked_sub(1).and_then(|last| last.checked_sub(depth)) else {
        return;
    };
    let (before, flags) = (BEFORE[before].action.load(SeqCst), BEFORE[before].flags.load(SeqCst));
    if !is_handler(before) {
        return;
    }
    if count > 1 {
        DEPTH.set(depth + 1);
    }
    if flags & libc::SA_SIGINFO != 0 {
        // SAFETY: it was installed as such a function.
        let handler = unsafe { mem::transmute::<usize, Handler>(before) };
        handler(number, info, context);
    } else {
        // SAFETY: it was installed as such a function.
        let handler = unsafe { mem::transmute::<usize, extern "C" fn(c_int)>(before) };
        handler(number);
    }
    if count > 1 {
        DEPTH.set(depth);
    }
}
