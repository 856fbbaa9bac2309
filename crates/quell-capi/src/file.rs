//! Files: opening what makes the opener wait, and locks.

use crate::io::descriptor;
use crate::object::null;
use crate::status::{Failure, call, quell_status};
use crate::time::{quell_deadline, until};
use libc::{c_int, mode_t};
use quell_core::syscall::{self, RangeOwner};
use std::ffi::{CStr, OsStr, c_char};
use std::os::fd::IntoRawFd;
use std::os::unix::ffi::OsStrExt;

/// Opens a file, as open(2) with O_CLOEXEC, and writes its descriptor to `fd`, which must not be NULL. Waits for what has to
/// wait for its other end, such as a FIFO, until the deadline. `mode` counts if the file is made.
///
/// Interruption point. QUELL_OK. QUELL_INTERRUPTED, QUELL_TIMED_OUT: nothing was opened; a file that was to be made may have
/// been. QUELL_SYSTEM: errno says why.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_open(
    path: *const c_char,
    flags: c_int,
    mode: mode_t,
    fd: *mut c_int,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_open", || {
        if path.is_null() {
            return Err(null("path"));
        }
        if fd.is_null() {
            return Err(null("place for the descriptor"));
        }
        // SAFETY: the caller's promise: a string that ends.
        let path = OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes());
        let file = syscall::open(path, flags, mode, &until(deadline))?;
        // SAFETY: the caller's promise: a place for it.
        unsafe { fd.write(file.into_raw_fd()) };
        Ok(())
    })
}

/// Locks a file, or frees it, as flock(2): waits while others have it, until the deadline. With QUELL_NOW, or LOCK_NB in
/// `operation`, it only tries; with the latter, QUELL_SYSTEM and EWOULDBLOCK say that others have it.
///
/// Interruption point. QUELL_OK. QUELL_INTERRUPTED, QUELL_TIMED_OUT: it is not locked by this; a lock that was to be converted
/// may be lost, as flock(2) says. QUELL_SYSTEM: errno says why.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_flock(
    fd: c_int,
    operation: c_int,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_flock", || {
        // SAFETY: the caller's promise: nobody closes it meanwhile.
        let file = unsafe { descriptor(fd) }?;
        Ok(syscall::flock(file, operation, &until(deadline))?)
    })
}

/// Locks a range of a file, or frees it, as fcntl(2) with `command` F_SETLKW, or F_OFD_SETLKW for a lock of the open file:
/// waits while others have it, until the deadline. With QUELL_NOW it only tries.
///
/// Interruption point. QUELL_OK. QUELL_INTERRUPTED, QUELL_TIMED_OUT: nothing has changed. QUELL_INVALID: another command.
/// QUELL_SYSTEM: errno says why; EDEADLK, if processes would wait for each other.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_fcntl_lock(
    fd: c_int,
    command: c_int,
    range: *const libc::flock,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_fcntl_lock", || {
        let owner = match command {
            libc::F_SETLKW => RangeOwner::Process,
            libc::F_OFD_SETLKW => RangeOwner::OpenFile,
            _ => {
                let what = format!("{command} is neither F_SETLKW nor F_OFD_SETLKW");
                return Err(Failure::invalid(what));
            }
        };
        // SAFETY: the caller's promise: NULL, or a range.
        let range = unsafe { range.as_ref() }.ok_or_else(|| null("range"))?;
        // SAFETY: the caller's promise: nobody closes it meanwhile.
        let file = unsafe { descriptor(fd) }?;
        Ok(syscall::lock_range(file, owner, range, &until(deadline))?)
    })
}
