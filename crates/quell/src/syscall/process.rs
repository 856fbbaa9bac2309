//! Waiting for child processes.

use super::CallError;
use super::call::{caller, result};
use crate::wait::{Wait, WaitError};
use libc::{c_int, pid_t};
use std::time::Instant;

/// Waits for a child process, as `waitpid(2)`: says which it was, and its status. An interruption point. With
/// `libc::WNOHANG`, and at a deadline that has passed, it only looks; with the first, a process number of 0 says that
/// there was nothing.
///
/// Interrupted, timed out or ended by a signal, it has taken no status: the child is still there to be waited for.
///
/// ```
/// use quell::{CallError, Interrupt, Wait, syscall};
/// use std::process::Command;
///
/// let mut child = Command::new("sleep").arg("3600").spawn().unwrap();
/// let number = child.id() as i32;
/// quell::current().interrupt(Interrupt::new("not that long"));
/// let waited = syscall::waitpid(number, 0, &Wait::new());
/// assert!(matches!(waited, Err(CallError::Interrupted(_))));
/// child.kill().unwrap();
/// assert_eq!(syscall::waitpid(number, 0, &Wait::new()).unwrap(), (number, libc::SIGKILL));
/// ```
///
/// # Errors
/// As [`call`](super::call()).
pub fn waitpid(child: pid_t, options: c_int, wait: &Wait) -> Result<(pid_t, c_int), CallError> {
    let mut status: c_int = 0;
    let at = &raw mut status as usize;
    let raw = looking(wait, options, |look, wait| {
        let arguments = [child as usize, at, look as usize, 0, 0, 0];
        let number = libc::SYS_wait4 as usize;
        // SAFETY: the kernel writes into the status, which is ours.
        caller(wait, |caller| unsafe { caller.until_done(number, &arguments) })
    })?;
    let child = result(raw)? as pid_t;
    if child == 0 && options & libc::WNOHANG == 0 {
        return Err(CallError::TimedOut);
    }
    Ok((child, status))
}

/// Waits for a change of a child's state, as `waitid(2)`: which children, and which changes, as there. An interruption
/// point. As with [`waitpid`], nothing is taken unless it succeeds.
///
/// # Errors
/// As [`call`](super::call()).
pub fn waitid(
    kind: libc::idtype_t,
    id: libc::id_t,
    options: c_int,
    wait: &Wait,
) -> Result<libc::siginfo_t, CallError> {
    // SAFETY: plain data, for which zero is a value: without a child, si_pid stays 0.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let at = &raw mut info as usize;
    let raw = looking(wait, options, |look, wait| {
        let arguments = [kind as usize, id as usize, at, look as usize, 0, 0];
        let number = libc::SYS_waitid as usize;
        // SAFETY: the kernel writes into the info, which is ours.
        caller(wait, |caller| unsafe { caller.until_done(number, &arguments) })
    })?;
    result(raw)?;
    // SAFETY: filled in by waitid, or 0.
    let nobody = unsafe { info.si_pid() } == 0;
    if nobody && options & libc::WNOHANG == 0 {
        return Err(CallError::TimedOut);
    }
    Ok(info)
}

/// Makes a call with its options and how it waits. At a deadline that has passed, be it before the call could begin, it
/// looks and does not wait, and then needs none.
fn looking(
    wait: &Wait,
    options: c_int,
    call: impl Fn(c_int, &Wait) -> Result<isize, WaitError>,
) -> Result<isize, WaitError> {
    if wait.deadline.is_none_or(|deadline| deadline > Instant::now()) {
        match call(options, wait) {
            Err(WaitError::TimedOut) => {}
            ended => return ended,
        }
    }
    call(options | libc::WNOHANG, &Wait { deadline: None, ..*wait })
}
