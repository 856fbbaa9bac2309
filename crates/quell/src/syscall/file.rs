//! Files: opening what makes the opener wait, and locks.

use super::CallError;
use super::bytes::word;
use super::call::{caller, result};
use crate::wait::{Wait, WaitError};
use libc::c_int;
use std::ffi::CString;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

/// Opens a file, as `open(2)` with `O_CLOEXEC`. Blocks for what has to wait for its other end, such as a FIFO. An
/// interruption point. Interrupted, timed out or ended by a signal, it has opened nothing.
///
/// `mode` counts if the file is made.
///
/// # Errors
/// As [`call`](super::call()).
pub fn open(
    path: impl AsRef<Path>,
    flags: c_int,
    mode: libc::mode_t,
    wait: &Wait,
) -> Result<OwnedFd, CallError> {
    let path = CString::new(path.as_ref().as_os_str().as_bytes())
        .map_err(|zero| CallError::Os(zero.into()))?;
    let flags = (flags | libc::O_CLOEXEC) as usize;
    let here = libc::AT_FDCWD as usize;
    let arguments = [here, path.as_ptr() as usize, flags, mode as usize, 0, 0];
    let number = libc::SYS_openat as usize;
    // SAFETY: the kernel reads the path.
    let raw = caller(wait, |caller| unsafe { caller.until_done(number, &arguments) })?;
    // SAFETY: a new descriptor, which nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(result(raw)? as c_int) })
}

/// Locks a file, or frees it, as `flock(2)`: blocks while others have it. An interruption point. Interrupted, timed out
/// or ended by a signal, it holds no lock that it had not before; one that was to be converted may be lost, as there.
///
/// # Errors
/// As [`call`](super::call()).
pub fn flock(file: impl AsFd, operation: c_int, wait: &Wait) -> Result<(), CallError> {
    let fd = file.as_fd();
    let number = libc::SYS_flock as usize;
    let asks = operation & libc::LOCK_NB != 0;
    lock(wait, asks, |looks| {
        let operation = operation | if looks { libc::LOCK_NB } else { 0 };
        (number, [word(fd), operation as usize, 0, 0, 0, 0])
    })
}

/// Who owns a lock on a range of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeOwner {
    /// The process: `F_SETLKW`. Closing any descriptor of the file frees it.
    Process,
    /// The open file: `F_OFD_SETLKW`.
    OpenFile,
}

/// Locks a range of a file, or frees it, as `fcntl(2)` with `F_SETLKW` or `F_OFD_SETLKW`: blocks while others have it.
/// An interruption point. Interrupted, timed out or ended by a signal, it has changed nothing.
///
/// # Errors
/// As [`call`](super::call()).
pub fn lock_range(
    file: impl AsFd,
    owner: RangeOwner,
    range: &libc::flock,
    wait: &Wait,
) -> Result<(), CallError> {
    let fd = file.as_fd();
    let at = &raw const *range as usize;
    lock(wait, false, |looks| {
        let command = match (owner, looks) {
            (RangeOwner::Process, false) => libc::F_SETLKW,
            (RangeOwner::Process, true) => libc::F_SETLK,
            (RangeOwner::OpenFile, false) => libc::F_OFD_SETLKW,
            (RangeOwner::OpenFile, true) => libc::F_OFD_SETLK,
        };
        (libc::SYS_fcntl as usize, [word(fd), command as usize, at, 0, 0, 0])
    })
}

/// Makes a call that locks; with a deadline that has passed, in the form that only looks. If the caller itself `asks` for
/// that form, what it says is for the caller.
fn lock(
    wait: &Wait,
    asks: bool,
    call: impl Fn(bool) -> (usize, [usize; 6]),
) -> Result<(), CallError> {
    let looks = !asks && wait.deadline.is_some_and(|deadline| deadline <= Instant::now());
    let chosen = if looks { Wait { deadline: None, ..*wait } } else { *wait };
    let (number, arguments) = call(looks);
    // SAFETY: the kernel reads what the arguments point to, which the callers of this own.
    let raw = match caller(&chosen, |caller| unsafe { caller.until_done(number, &arguments) }) {
        // It may have passed before the call could begin.
        Err(WaitError::TimedOut) => return lock(wait, asks, call),
        ended => ended?,
    };
    match result(raw) {
        Ok(_) => Ok(()),
        Err(error) if looks => match error.os_error() {
            Some(libc::EAGAIN | libc::EACCES) => Err(CallError::TimedOut),
            _ => Err(error),
        },
        Err(error) => Err(error),
    }
}
