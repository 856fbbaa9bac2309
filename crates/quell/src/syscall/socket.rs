//! Sockets: accept, connect, and what they send and receive.

use super::bytes::{Look, on_fd, word};
use super::call::{Ended, Expiry, caller, result};
use super::ready::PollFd;
use super::{Address, CallError, poll};
use crate::wait::Wait;
use libc::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Takes the next connection of a listening socket, as `accept4(2)` with `SOCK_CLOEXEC`: blocks until there is one. An
/// interruption point.
///
/// Interrupted, timed out or ended by a signal, it has taken none: the connection stays in the queue, and no descriptor is
/// lost.
///
/// # Errors
/// As [`call`](super::call()).
pub fn accept(listener: impl AsFd, wait: &Wait) -> Result<(OwnedFd, Address), CallError> {
    accept4(listener, libc::SOCK_CLOEXEC, wait)
}

/// [`accept`] with flags of one's own.
///
/// # Errors
/// As [`accept`].
pub fn accept4(
    listener: impl AsFd,
    flags: c_int,
    wait: &Wait,
) -> Result<(OwnedFd, Address), CallError> {
    let fd = listener.as_fd();
    let mut address = Address::empty();
    let (at, length) = address.room();
    let arguments = [word(fd), at, length, flags as usize, 0, 0];
    // SAFETY: the kernel writes the address and its length.
    let new = unsafe { on_fd(fd, Look::Ready(libc::POLLIN), wait, libc::SYS_accept4, arguments) }?;
    // SAFETY: a new descriptor, which nobody else knows.
    Ok((unsafe { OwnedFd::from_raw_fd(new as c_int) }, address))
}

/// Connects a socket, as `connect(2)`: blocks until the connection stands. An interruption point.
///
/// Interrupted, timed out or ended by a signal, it leaves a connection that is being made, if it had begun: the kernel goes
/// on with it. [`connected`] waits for the rest; or close the socket. It may even stand already.
///
/// # Errors
/// As [`call`](super::call()).
pub fn connect(socket: impl AsFd, address: &Address, wait: &Wait) -> Result<(), CallError> {
    let fd = socket.as_fd();
    let (at, length) = address.at();
    let arguments = [word(fd), at, length, 0, 0, 0];
    let (raw, again) = caller(wait, |caller| {
        let _expiry = wait.deadline.map(|deadline| Expiry::arm(caller.thread(), deadline));
        let mut again = false;
        loop {
            // SAFETY: the kernel reads the address.
            match unsafe { caller.once(libc::SYS_connect as usize, &arguments) } {
                Ended::Done(raw) => return Ok((raw, again)),
                ended => caller.look(&ended)?,
            }
            again = true;
        }
    })
    .map_err(|ended: crate::wait::WaitError| CallError::from(ended))?;
    match result(raw) {
        Ok(_) => Ok(()),
        // The first of several attempts was not undone: it goes on, or is done.
        Err(error) if again => match error.os_error() {
            Some(libc::EISCONN) => Ok(()),
            Some(libc::EALREADY | libc::EINPROGRESS) => connected(fd, wait),
            _ => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// Waits for a connection that is being made: after a [`connect`] that was interrupted, or one of a socket that does not
/// block. An interruption point.
///
/// # Errors
/// As [`call`](super::call()); and if the connection has failed.
pub fn connected(socket: impl AsFd, wait: &Wait) -> Result<(), CallError> {
    poll(&mut [PollFd::new(&socket, libc::POLLOUT)], wait)?;
    let (mut failed, mut size): (c_int, _) = (0, size_of::<c_int>() as libc::socklen_t);
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes an int.
    let answer = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            (&raw mut failed).cast(),
            &raw mut size,
        )
    };
    match (answer, failed) {
        (0, 0) => Ok(()),
        (0, number) => Err(CallError::Os(io::Error::from_raw_os_error(number))),
        _ => Err(CallError::Os(io::Error::last_os_error())),
    }
}

/// Receives, as `recv(2)`: blocks until there is something, and says how much it was; 0 is the end of a stream. An
/// interruption point.
///
/// Interrupted, timed out or ended by a signal, it has taken nothing. With `MSG_WAITALL`, what has arrived by then is
/// returned as such.
///
/// # Errors
/// As [`call`](super::call()).
pub fn recv(
    socket: impl AsFd,
    buffer: &mut [u8],
    flags: c_int,
    wait: &Wait,
) -> Result<usize, CallError> {
    receive(socket.as_fd(), buffer, flags, (0, 0), wait)
}

/// [`recv`], and from whom.
///
/// # Errors
/// As [`recv`].
pub fn recvfrom(
    socket: impl AsFd,
    buffer: &mut [u8],
    flags: c_int,
    wait: &Wait,
) -> Result<(usize, Address), CallError> {
    let mut address = Address::empty();
    let got = receive(socket.as_fd(), buffer, flags, address.room(), wait)?;
    Ok((got, address))
}

fn receive(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
    flags: c_int,
    from: (usize, usize),
    wait: &Wait,
) -> Result<usize, CallError> {
    let at = buffer.as_mut_ptr() as usize;
    let arguments = [word(fd), at, buffer.len(), flags as usize, from.0, from.1];
    // SAFETY: the kernel writes into the buffer and the address, if there is one.
    unsafe { on_fd(fd, Look::Flags(3), wait, libc::SYS_recvfrom, arguments) }
}

/// Sends, as `send(2)` with `MSG_NOSIGNAL`: blocks until there is room, and says how much it has sent. An interruption
/// point.
///
/// Interrupted, timed out or ended by a signal, it has sent nothing: what was sent in part is returned as such.
///
/// # Errors
/// As [`call`](super::call()).
pub fn send(
    socket: impl AsFd,
    buffer: &[u8],
    flags: c_int,
    wait: &Wait,
) -> Result<usize, CallError> {
    transmit(socket.as_fd(), buffer, flags, (0, 0), wait)
}

/// [`send`] to this address.
///
/// # Errors
/// As [`send`].
pub fn sendto(
    socket: impl AsFd,
    buffer: &[u8],
    flags: c_int,
    to: &Address,
    wait: &Wait,
) -> Result<usize, CallError> {
    transmit(socket.as_fd(), buffer, flags, to.at(), wait)
}

fn transmit(
    fd: BorrowedFd<'_>,
    buffer: &[u8],
    flags: c_int,
    to: (usize, usize),
    wait: &Wait,
) -> Result<usize, CallError> {
    let flags = (flags | libc::MSG_NOSIGNAL) as usize;
    let arguments = [word(fd), buffer.as_ptr() as usize, buffer.len(), flags, to.0, to.1];
    // SAFETY: the kernel reads the buffer and the address, if there is one.
    unsafe { on_fd(fd, Look::Flags(3), wait, libc::SYS_sendto, arguments) }
}

/// [`recv`] with everything that a message can have: several buffers, an address, ancillary data, as `recvmsg(2)`.
///
/// # Errors
/// As [`recv`]. Then `message` is as it was.
///
/// # Safety
/// What `message` points to can be written to.
pub unsafe fn recvmsg(
    socket: impl AsFd,
    message: &mut libc::msghdr,
    flags: c_int,
    wait: &Wait,
) -> Result<usize, CallError> {
    let fd = socket.as_fd();
    let arguments = [word(fd), &raw mut *message as usize, flags as usize, 0, 0, 0];
    // SAFETY: as the caller promises.
    unsafe { on_fd(fd, Look::Flags(2), wait, libc::SYS_recvmsg, arguments) }
}

/// [`send`] with everything that a message can have, as `sendmsg(2)`.
///
/// # Errors
/// As [`send`].
///
/// # Safety
/// What `message` points to can be read.
pub unsafe fn sendmsg(
    socket: impl AsFd,
    message: &libc::msghdr,
    flags: c_int,
    wait: &Wait,
) -> Result<usize, CallError> {
    let fd = socket.as_fd();
    let flags = (flags | libc::MSG_NOSIGNAL) as usize;
    let arguments = [word(fd), &raw const *message as usize, flags, 0, 0, 0];
    // SAFETY: as the caller promises.
    unsafe { on_fd(fd, Look::Flags(2), wait, libc::SYS_sendmsg, arguments) }
}
