//! Bytes in and out of a descriptor: read, write, and their vectored forms.

use super::CallError;
use super::call::{caller, result};
use super::ready::is_ready;
use crate::wait::Wait;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

/// How a call on a descriptor can be made if it need not wait.
#[derive(Clone, Copy)]
pub(super) enum Look {
    /// One of its arguments, at this place, is of flags that `MSG_DONTWAIT` belongs to.
    Flags(usize),
    /// It has no such form: if the descriptor is ready for one of these events.
    Ready(i16),
}

/// Makes a call on a descriptor. At the deadline, which may have passed before, it is made if it need not wait.
///
/// # Safety
/// As the call itself, and as often.
pub(super) unsafe fn on_fd(
    fd: BorrowedFd<'_>,
    look: Look,
    wait: &Wait,
    number: libc::c_long,
    arguments: [usize; 6],
) -> Result<usize, CallError> {
    let call = |wait: &Wait, arguments: &[usize; 6]| -> Result<usize, CallError> {
        let number = number as usize;
        // SAFETY: as the caller promises.
        result(caller(wait, |caller| unsafe { caller.until_done(number, arguments) })?)
    };
    if wait.deadline.is_none_or(|deadline| deadline > Instant::now()) {
        match call(wait, &arguments) {
            // It may have passed before the call could begin.
            Err(CallError::TimedOut) => {}
            ended => return ended,
        }
    }
    match look {
        Look::Flags(at) => {
            let asked = arguments[at] & libc::MSG_DONTWAIT as usize != 0;
            let mut arguments = arguments;
            arguments[at] |= libc::MSG_DONTWAIT as usize;
            match call(&Wait { deadline: None, ..*wait }, &arguments) {
                Err(error) if !asked && error.os_error() == Some(libc::EAGAIN) => {
                    Err(CallError::TimedOut)
                }
                ended => ended,
            }
        }
        Look::Ready(events) => {
            // Somebody else may take what is there, so it has a moment; and this thread may not get to run in that moment,
            // so it has a few of them.
            let mut moment = Duration::from_millis(1);
            while moment < Duration::from_secs(1) && is_ready(fd, events) {
                match call(&wait.timeout(moment), &arguments) {
                    Err(CallError::TimedOut) => moment *= 2,
                    ended => return ended,
                }
            }
            // Not made any more, but the other options are looked at.
            call(wait, &arguments)
        }
    }
}

/// A descriptor as an argument.
pub(super) fn word(fd: BorrowedFd<'_>) -> usize {
    fd.as_raw_fd() as usize
}

/// Reads, as `read(2)`: blocks until there is something to read, and says how much it has read; 0 is the end. An
/// interruption point.
///
/// Interrupted, timed out or ended by a signal, it has read nothing. With a deadline that has passed it reads what is
/// there.
///
/// ```
/// use quell::{CallError, Interrupt, Wait, syscall, thread};
///
/// let (reader, _writer) = std::io::pipe().unwrap();
/// // Nobody writes: without the interrupt this would wait for ever.
/// let waits = thread::spawn(move || syscall::read(&reader, &mut [0; 8], &Wait::new()));
/// waits.thread().interrupt(Interrupt::new("enough"));
/// assert!(matches!(waits.join().unwrap(), Err(CallError::Interrupted(_))));
/// ```
///
/// # Errors
/// As [`call`](super::call()).
pub fn read(fd: impl AsFd, buffer: &mut [u8], wait: &Wait) -> Result<usize, CallError> {
    let fd = fd.as_fd();
    let arguments = [word(fd), buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0];
    // SAFETY: the kernel writes into the buffer, which is ours until the call is over.
    unsafe { on_fd(fd, Look::Ready(libc::POLLIN), wait, libc::SYS_read, arguments) }
}

/// Writes, as `write(2)`: blocks until there is room, and says how much it has written. An interruption point.
///
/// Interrupted, timed out or ended by a signal, it has written nothing: what was written in part is returned as such.
/// (So a caller that writes the rest in a loop knows how far it came.)
///
/// # Errors
/// As [`call`](super::call()). If nobody reads, SIGPIPE, or EPIPE where that is ignored, as Rust programs do.
pub fn write(fd: impl AsFd, buffer: &[u8], wait: &Wait) -> Result<usize, CallError> {
    let fd = fd.as_fd();
    let arguments = [word(fd), buffer.as_ptr() as usize, buffer.len(), 0, 0, 0];
    // SAFETY: the kernel reads the buffer.
    unsafe { on_fd(fd, Look::Ready(libc::POLLOUT), wait, libc::SYS_write, arguments) }
}

/// [`read`] into several buffers, one after the other, as `readv(2)`. At most 1024 of them.
///
/// # Errors
/// As [`read`].
pub fn readv(
    fd: impl AsFd,
    buffers: &mut [IoSliceMut<'_>],
    wait: &Wait,
) -> Result<usize, CallError> {
    let fd = fd.as_fd();
    let count = buffers.len().min(IOV_MAX);
    let arguments = [word(fd), buffers.as_mut_ptr() as usize, count, 0, 0, 0];
    // SAFETY: an IoSliceMut is an iovec; the kernel writes into the buffers, which are ours until the call is over.
    unsafe { on_fd(fd, Look::Ready(libc::POLLIN), wait, libc::SYS_readv, arguments) }
}

/// [`write()`] from several buffers, one after the other, as `writev(2)`. At most 1024 of them.
///
/// # Errors
/// As [`write()`].
pub fn writev(fd: impl AsFd, buffers: &[IoSlice<'_>], wait: &Wait) -> Result<usize, CallError> {
    let fd = fd.as_fd();
    let count = buffers.len().min(IOV_MAX);
    let arguments = [word(fd), buffers.as_ptr() as usize, count, 0, 0, 0];
    // SAFETY: an IoSlice is an iovec; the kernel reads the buffers.
    unsafe { on_fd(fd, Look::Ready(libc::POLLOUT), wait, libc::SYS_writev, arguments) }
}

/// More buffers than this are an error in the kernel; in a partial transfer they are the part that was not done.
const IOV_MAX: usize = libc::UIO_MAXIOV as usize;
