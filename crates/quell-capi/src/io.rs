//! System calls that can be interrupted: on Linux, on 64-bit processors.

use crate::object::{answer, null};
use crate::status::quell_status::{QUELL_INTERNAL, QUELL_TIMED_OUT};
use crate::status::{Failure, call, call_for, quell_status};
use crate::time::{quell_deadline, until};
use libc::{c_int, c_long, nfds_t, pid_t, pollfd};
use quell_core::CallError;
use quell_core::syscall::{self, PollFd, Setup};
use std::ffi::c_void;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

impl From<CallError> for Failure {
    fn from(error: CallError) -> Failure {
        match error {
            CallError::Os(error) => Failure::system(&error),
            CallError::TimedOut => QUELL_TIMED_OUT.into(),
            CallError::Interrupted(interrupted) => interrupted.into(),
            CallError::Signalled => QUELL_INTERNAL.into(),
        }
    }
}

/// Reads up to `size` bytes, as read(2): waits until there is something to read, or the deadline, and writes how much was read
/// to `count`, unless that is NULL. 0 is the end. With QUELL_NOW it reads what is there. A signal that the program handles
/// does not end it.
///
/// Interruption point. QUELL_OK: bytes that were read are never discarded, the interrupt stays pending. QUELL_INTERRUPTED,
/// QUELL_TIMED_OUT: nothing was read. QUELL_SYSTEM: errno says why.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_read(
    fd: c_int,
    buffer: *mut c_void,
    size: usize,
    count: *mut usize,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_read", || {
        let start = bytes(buffer, size)?;
        // SAFETY: the caller's promise: so many bytes may be written. Only the kernel does.
        let buffer = unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), size) };
        // SAFETY: the caller's promise: nobody closes it meanwhile.
        let fd = unsafe { descriptor(fd) }?;
        let read = syscall::read(fd, buffer, &until(deadline))?;
        // SAFETY: the caller's promise: NULL or a place for it.
        unsafe { answer(count, read) };
        Ok(())
    })
}

/// Writes up to `size` bytes, as write(2): waits until some can be written, or the deadline, and writes how many were to
/// `count`, unless that is NULL; that may be fewer. With QUELL_NOW it writes what there is room for. A signal that the
/// program handles does not end it; SIGPIPE is sent as ever.
///
/// Interruption point. QUELL_OK: bytes that were written are always told, the interrupt stays pending. QUELL_INTERRUPTED,
/// QUELL_TIMED_OUT: nothing was written. QUELL_SYSTEM: errno says why.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_write(
    fd: c_int,
    buffer: *const c_void,
    size: usize,
    count: *mut usize,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_write", || {
        let start = bytes(buffer.cast_mut(), size)?;
        // SAFETY: the caller's promise: so many bytes may be read.
        let buffer = unsafe { std::slice::from_raw_parts(start.as_ptr(), size) };
        // SAFETY: the caller's promise: nobody closes it meanwhile.
        let fd = unsafe { descriptor(fd) }?;
        let written = syscall::write(fd, buffer, &until(deadline))?;
        // SAFETY: the caller's promise: NULL or a place for it.
        unsafe { answer(count, written) };
        Ok(())
    })
}

/// Waits until one of `count` descriptors is ready, as poll(2), or the deadline, and writes how many are to `ready`, unless
/// that is NULL. With QUELL_NOW it only looks. A signal that the program handles does not end it.
///
/// Interruption point. QUELL_OK: one at least. QUELL_INTERRUPTED, QUELL_TIMED_OUT. QUELL_SYSTEM: errno says why.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_poll(
    fds: *mut pollfd,
    count: nfds_t,
    ready: *mut usize,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_poll", || {
        let length = usize::try_from(count)
            .ok()
            .filter(|length| *length <= isize::MAX as usize / size_of::<pollfd>())
            .ok_or_else(|| {
                Failure::invalid(format!("{count} descriptors do not fit into memory"))
            })?;
        let start = match NonNull::new(fds) {
            Some(start) => start,
            None if length == 0 => NonNull::dangling(),
            None => return Err(null("list of descriptors")),
        };
        // SAFETY: a PollFd is a pollfd, transparently. The caller's promise: so many are there, and nobody closes the
        // descriptors meanwhile.
        let fds =
            unsafe { std::slice::from_raw_parts_mut(start.as_ptr().cast::<PollFd<'_>>(), length) };
        let found = syscall::poll(fds, &until(deadline))?;
        // SAFETY: the caller's promise: NULL or a place for it.
        unsafe { answer(ready, found) };
        Ok(())
    })
}

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

/// Makes any other system call, by its number (`SYS_accept4`, say), with `arguments`, which has six places; and writes what the
/// kernel answered to `result`, unless that is NULL. The deadline is kept by quell; one that has passed keeps the call from
/// being made. A call that a signal of the program has ended with EINTR is made again with the same arguments.
///
/// Interruption point. QUELL_OK: the call has done something, if only in part, and the interrupt stays pending.
/// QUELL_INTERRUPTED, QUELL_TIMED_OUT: it has done nothing, as far as the kernel keeps that promise for the call: the book
/// has a table. QUELL_SYSTEM: errno says why.
///
/// The call must return in this thread to where it was made: no fork, vfork, clone that shares the stack, rt_sigreturn.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_syscall(
    number: c_long,
    arguments: *const usize,
    result: *mut isize,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_syscall", || {
        if arguments.is_null() {
            return Err(null("list of arguments"));
        }
        // SAFETY: the caller's promise: six of them.
        let arguments = unsafe { arguments.cast::<[usize; 6]>().read() };
        // SAFETY: the caller's promise: they are what the call expects.
        let answered = unsafe { syscall::call(number, arguments, &until(deadline)) }?;
        // SAFETY: the caller's promise: NULL or a place for it.
        unsafe { answer(result, answered.cast_signed()) };
        Ok(())
    })
}

/// Chooses the signal that ends system calls, instead of SIGURG: a real-time signal, or a standard one whose default is to be
/// ignored. To be called before the first system call is made through quell, once. A handler that the program has for it
/// goes on being called. Does not block.
///
/// QUELL_OK. QUELL_INVALID: it is too late, or there is no such signal; nothing has changed.
#[unsafe(no_mangle)]
pub extern "C" fn quell_set_signal(signal: c_int) -> quell_status {
    call("quell_set_signal", || {
        let setup = Setup::new().signal(signal);
        setup.install().map_err(|error| Failure::invalid(error.to_string()))
    })
}

/// The signal that ends system calls; installs its handler, if that has not been done. 0 if it cannot be had. Do not block
/// it in threads that are to be interrupted in system calls. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn quell_get_signal() -> c_int {
    call_for("quell_get_signal", 0, || Ok(syscall::signal()))
}

/// The first of `size` bytes.
fn bytes(start: *mut c_void, size: usize) -> Result<NonNull<u8>, Failure> {
    if size > isize::MAX as usize {
        return Err(Failure::invalid(format!("{size} bytes do not fit into memory")));
    }
    match NonNull::new(start.cast()) {
        Some(start) => Ok(start),
        None if size == 0 => Ok(NonNull::dangling()),
        None => Err(null("buffer")),
    }
}

/// A descriptor, if it can be one.
///
/// # Safety
/// If it is open, it stays so as long as what is returned.
unsafe fn descriptor<'a>(fd: c_int) -> Result<BorrowedFd<'a>, Failure> {
    if fd < 0 {
        return Err(Failure::system(&io::Error::from_raw_os_error(libc::EBADF)));
    }
    // SAFETY: the caller's promise, and it is not -1.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}
