//! Reaching a main thread that blocks every signal.
//!
//! The real-time signal that ends the main thread's blocking calls ([`delivery::kick_main`]) does nothing where a script has
//! blocked it, as `signal.pthread_sigmask(SIG_BLOCK, valid_signals())` does. But the C library keeps a signal for itself
//! that none of its functions blocks: the one behind `pthread_cancel`, which has no handler until somebody cancels a thread.
//! While it has none it is given one, which does nothing but end the call; that there is a signal to handle has been
//! noted in the interpreter before.
//!
//! Only after a limit, and only if the main thread has the real-time signal blocked, so nobody else ever sees any of it. Should a
//! library begin to cancel threads, the C library installs its own handler over this one, and the signal is not sent any more.

use std::ffi::{c_int, c_ulong};

use super::session::Session;
use crate::delivery;
use crate::procfs;

/// `SIGCANCEL` of the GNU C library.
const CANCEL: c_int = 32;

unsafe extern "C" {
    /// Notes a signal as if it had come. Needs no interpreter lock.
    fn PyErr_SetInterruptEx(signal: c_int) -> c_int;
}

/// What the kernel keeps of a signal's action. The C library's own functions refuse its own signals.
#[repr(C)]
#[derive(Clone, Copy)]
struct Action {
    handler: usize,
    flags: c_ulong,
    restorer: usize,
    mask: u64,
}

/// Signals the main thread, if it blocks the signal that is used otherwise. Called by the monitor, after a limit.
pub(super) fn kick(session: &Session) {
    if !cfg!(target_env = "gnu") {
        return;
    }
    let Some(blocked) = procfs::blocked_signals(session.pid) else { return };
    delivery::kick_main_by(|number| {
        let is_blocked = blocked >> (number - 1) & 1 == 1;
        if !is_blocked || blocked >> (CANCEL - 1) & 1 == 1 || !is_prepared(number) {
            return false;
        }
        // SAFETY: the signal has a handler of the script's interpreter, which is still there; the other one has ours.
        unsafe {
            PyErr_SetInterruptEx(number);
            libc::syscall(libc::SYS_tgkill, session.pid, session.pid, CANCEL) == 0
        }
    });
}

extern "C" fn nothing(_signal: c_int) {}

/// Whether our handler stands, which it does from now on if there was none.
fn is_prepared(model: c_int) -> bool {
    let ours = nothing as extern "C" fn(c_int) as usize;
    match action(CANCEL) {
        Some(now) if now.handler == ours => true,
        // Nobody's. (Ignored, it is inherited from a process that the C library has prepared with posix_spawn.) How to return
        // from a handler is copied from one that the library has installed.
        Some(now) if matches!(now.handler, libc::SIG_DFL | libc::SIG_IGN) => {
            action(model).is_some_and(|model| install(Action { handler: ours, mask: 0, ..model }))
        }
        _ => false,
    }
}

fn action(signal: c_int) -> Option<Action> {
    let mut action = Action { handler: 0, flags: 0, restorer: 0, mask: 0 };
    // SAFETY: asks only; the structure is the kernel's, on this stack.
    let done = unsafe {
        let none = std::ptr::null::<Action>();
        libc::syscall(libc::SYS_rt_sigaction, signal, none, &raw mut action, size_of::<u64>())
    };
    (done == 0).then_some(action)
}

fn install(action: Action) -> bool {
    // SAFETY: the handler does nothing, which every thread can do at any time.
    unsafe {
        let none = std::ptr::null_mut::<Action>();
        libc::syscall(libc::SYS_rt_sigaction, CANCEL, &raw const action, none, size_of::<u64>())
            == 0
    }
}
