//! System calls that can be interrupted: bytes in and out of descriptors, and waiting for them. On 64-bit Linux, as all that
//! follow.

use crate::object::{answer, null};
use crate::status::quell_status::{QUELL_INTERNAL, QUELL_TIMED_OUT};
use crate::status::{Failure, call, quell_status};
use crate::time::{quell_deadline, until};
use libc::{c_int, epoll_event, iovec, nfds_t, pollfd};
use quell_core::syscall::{self, PollFd};
use quell_core::{CallError, Wait};
use std::ffi::c_void;
use std::io::{self, IoSlice, IoSliceMut};
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

/// Makes a call that moves bytes, and writes how many to `count`.
///
/// # Safety
/// Nobody closes the descriptor meanwhile, and `count` is null or may be written to.
pub(crate) unsafe fn moved(
    fd: c_int,
    count: *mut usize,
    deadline: quell_deadline,
    moves: impl FnOnce(BorrowedFd<'_>, &Wait) -> Result<usize, CallError>,
) -> Result<(), Failure> {
    // SAFETY: as the caller promises.
    let fd = unsafe { descriptor(fd) }?;
    let bytes = moves(fd, &until(deadline))?;
    // SAFETY: as the caller promises.
    unsafe { answer(count, bytes) };
    Ok(())
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
        // SAFETY: the caller's promise: nobody closes it meanwhile; and NULL or a place for it.
        unsafe { moved(fd, count, deadline, |fd, wait| syscall::read(fd, buffer, wait)) }
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
        // SAFETY: the caller's promise: nobody closes it meanwhile; and NULL or a place for it.
        unsafe { moved(fd, count, deadline, |fd, wait| syscall::write(fd, buffer, wait)) }
    })
}

/// quell_read() into several buffers, one after the other, as readv(2). Of more than 1024 of them, the others are left alone.
///
/// Interruption point. As quell_read().
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_readv(
    fd: c_int,
    buffers: *const iovec,
    length: c_int,
    count: *mut usize,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_readv", || {
        // SAFETY: the caller's promise: so many are there.
        let buffers = unsafe { vectors(buffers, length) }?;
        let mut mine: Vec<IoSliceMut<'_>> = Vec::with_capacity(buffers.len().min(IOV_MAX));
        // SAFETY: an IoSliceMut is an iovec. The caller's promise: what it points to may be written. Only the kernel does.
        let buffer =
            |buffer: &iovec| unsafe { std::mem::transmute::<iovec, IoSliceMut<'_>>(*buffer) };
        mine.extend(buffers.iter().take(IOV_MAX).map(buffer));
        // SAFETY: the caller's promise: nobody closes it meanwhile; and NULL or a place for it.
        unsafe { moved(fd, count, deadline, |fd, wait| syscall::readv(fd, &mut mine, wait)) }
    })
}

/// quell_write() from several buffers, one after the other, as writev(2). Of more than 1024 of them, the others are not
/// written.
///
/// Interruption point. As quell_write().
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_writev(
    fd: c_int,
    buffers: *const iovec,
    length: c_int,
    count: *mut usize,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_writev", || {
        // SAFETY: the caller's promise: so many are there.
        let buffers = unsafe { vectors(buffers, length) }?;
        // SAFETY: an IoSlice is an iovec. The caller's promise: what they point to may be read.
        let buffers = unsafe { &*(std::ptr::from_ref(buffers) as *const [IoSlice<'_>]) };
        // SAFETY: the caller's promise: nobody closes it meanwhile; and NULL or a place for it.
        unsafe { moved(fd, count, deadline, |fd, wait| syscall::writev(fd, buffers, wait)) }
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

/// Waits until an epoll has events, as epoll_wait(2), or the deadline; writes `capacity` of them at most to `events`, and how
/// many there are to `count`, unless that is NULL. With QUELL_NOW it only looks. A signal that the program handles does not
/// end it.
///
/// Interruption point. QUELL_OK: one at least. QUELL_INTERRUPTED, QUELL_TIMED_OUT: none was taken; those of an edge-triggered
/// epoll are still there. QUELL_SYSTEM: errno says why.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_epoll_wait(
    epoll: c_int,
    events: *mut epoll_event,
    capacity: c_int,
    count: *mut usize,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_epoll_wait", || {
        let capacity = usize::try_from(capacity).ok().filter(|capacity| *capacity > 0);
        let capacity =
            capacity.ok_or_else(|| Failure::invalid("there is no room for one event"))?;
        let events = NonNull::new(events).ok_or_else(|| null("room for events"))?;
        // SAFETY: the caller's promise: so many may be written. Only the kernel does.
        let events = unsafe { std::slice::from_raw_parts_mut(events.as_ptr(), capacity) };
        // SAFETY: the caller's promise: nobody closes it meanwhile.
        let epoll = unsafe { descriptor(epoll) }?;
        let found = syscall::epoll_wait(epoll, events, &until(deadline))?;
        // SAFETY: the caller's promise: NULL or a place for it.
        unsafe { answer(count, found) };
        Ok(())
    })
}

/// The first of `size` bytes.
pub(crate) fn bytes(start: *mut c_void, size: usize) -> Result<NonNull<u8>, Failure> {
    if size > isize::MAX as usize {
        return Err(Failure::invalid(format!("{size} bytes do not fit into memory")));
    }
    match NonNull::new(start.cast()) {
        Some(start) => Ok(start),
        None if size == 0 => Ok(NonNull::dangling()),
        None => Err(null("buffer")),
    }
}

/// More of them in one call are an error in the kernel.
const IOV_MAX: usize = libc::UIO_MAXIOV as usize;

/// # Safety
/// So many are there, or none.
unsafe fn vectors<'a>(buffers: *const iovec, length: c_int) -> Result<&'a [iovec], Failure> {
    let length = usize::try_from(length)
        .map_err(|_| Failure::invalid(format!("{length} is no number of buffers")))?;
    match NonNull::new(buffers.cast_mut()) {
        // SAFETY: the caller's promise.
        Some(start) => Ok(unsafe { std::slice::from_raw_parts(start.as_ptr(), length) }),
        None if length == 0 => Ok(&[]),
        None => Err(null("list of buffers")),
    }
}

/// A descriptor, if it can be one.
///
/// # Safety
/// If it is open, it stays so as long as what is returned.
pub(crate) unsafe fn descriptor<'a>(fd: c_int) -> Result<BorrowedFd<'a>, Failure> {
    if fd < 0 {
        return Err(Failure::system(&io::Error::from_raw_os_error(libc::EBADF)));
    }
    // SAFETY: the caller's promise, and it is not -1.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}
