//! Waiting for child processes.

use crate::object::answer;
use crate::status::{call, quell_status};
use crate::time::{quell_deadline, until};
use libc::{c_int, pid_t};
use quell_core::syscall;

/// Waits for a child process, as waitpid(2), or until the deadline; writes which one it was to `waited` and its status to
/// `status`, unless those are NULL. With QUELL_NOW it only looks. With WNOHANG in `options` too; there, QUELL_OK and a
/// `waited` of 0 say that there was nothing. A signal that the program handles does not end it.
///
/// Interruption point. QUELL_OK. QUELL_INTERRUPTED, QUELL_TIMED_OUT: the child is still there to be waited for.
/// QUELL_SYSTEM: errno says why.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_waitpid(
    child: pid_t,
    status: *mut c_int,
    options: c_int,
    waited: *mut pid_t,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_waitpid", || {
        let (which, what) = syscall::waitpid(child, options, &until(deadline))?;
        // SAFETY: the caller's promise: NULL or a place for it.
        unsafe {
            answer(waited, which);
            answer(status, what);
        }
        Ok(())
    })
}
