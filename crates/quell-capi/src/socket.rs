//! Sockets: accepting, connecting, and what they send and receive.

use crate::io::{bytes, descriptor, moved};
use crate::object::{answer, null};
use crate::status::{Failure, call, quell_status};
use crate::time::{quell_deadline, until};
use libc::{c_int, msghdr, sockaddr};
use quell_core::syscall::{self, Address};
use std::ffi::c_void;
use std::os::fd::IntoRawFd;

/// Takes the next connection of a listening socket, as accept4(2): waits for one until the deadline. Writes its descriptor to
/// `accepted`, which must not be NULL, and the peer's address to `address`, unless that is NULL: `length` says how much room is
/// there, and then how long the whole address is. `flags` are accept4's, such as SOCK_CLOEXEC. With QUELL_NOW it takes one that
/// is there.
///
/// Interruption point. QUELL_OK. QUELL_INTERRUPTED, QUELL_TIMED_OUT: none was taken, the next one stays in the queue.
/// QUELL_SYSTEM: errno says why.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_accept(
    socket: c_int,
    address: *mut sockaddr,
    length: *mut u32,
    flags: c_int,
    accepted: *mut c_int,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_accept", || {
        if accepted.is_null() {
            return Err(null("place for the descriptor"));
        }
        if !address.is_null() && length.is_null() {
            return Err(null("length of the address"));
        }
        // SAFETY: the caller's promise: nobody closes it meanwhile.
        let socket = unsafe { descriptor(socket) }?;
        let (connection, peer) = syscall::accept4(socket, flags, &until(deadline))?;
        // SAFETY: the caller's promise: places for them.
        unsafe {
            accepted.write(connection.into_raw_fd());
            tell(&peer, address, length);
        }
        Ok(())
    })
}

/// Connects a socket, as connect(2): waits until the connection stands, or the deadline.
///
/// Interruption point. QUELL_OK. QUELL_INTERRUPTED, QUELL_TIMED_OUT: a connection whose making had begun goes on in the kernel,
/// and may stand already; quell_connected() waits for the rest, or close the socket. Over Unix sockets nothing goes on.
/// QUELL_SYSTEM: errno says why.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_connect(
    socket: c_int,
    address: *const sockaddr,
    length: u32,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_connect", || {
        // SAFETY: the caller's promise: so many bytes may be read.
        let address = unsafe { read_address(address, length) }?;
        // SAFETY: the caller's promise: nobody closes it meanwhile.
        let socket = unsafe { descriptor(socket) }?;
        Ok(syscall::connect(socket, &address, &until(deadline))?)
    })
}

/// Waits for a connection that is being made, until the deadline: after a quell_connect() that was interrupted, or a connect() of
/// a socket that does not block.
///
/// Interruption point. QUELL_OK: it stands. QUELL_INTERRUPTED, QUELL_TIMED_OUT: the making goes on. QUELL_SYSTEM: it has failed;
/// errno says why.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_connected(socket: c_int, deadline: quell_deadline) -> quell_status {
    call("quell_connected", || {
        // SAFETY: the caller's promise: nobody closes it meanwhile.
        let socket = unsafe { descriptor(socket) }?;
        Ok(syscall::connected(socket, &until(deadline))?)
    })
}

/// Receives up to `size` bytes, as recv(2): waits until there is something, or the deadline, and writes how much it was to
/// `count`, unless that is NULL. 0 is the end of a stream. With QUELL_NOW it receives what is there. With MSG_WAITALL, what has
/// come when an interrupt or the deadline does is QUELL_OK.
///
/// Interruption point. QUELL_OK: bytes that were received are never discarded, the interrupt stays pending. QUELL_INTERRUPTED,
/// QUELL_TIMED_OUT: nothing was received. QUELL_SYSTEM: errno says why.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_recv(
    socket: c_int,
    buffer: *mut c_void,
    size: usize,
    flags: c_int,
    count: *mut usize,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_recv", || {
        let start = bytes(buffer, size)?;
        // SAFETY: the caller's promise: so many bytes may be written. Only the kernel does.
        let buffer = unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), size) };
        // SAFETY: the caller's promise: nobody closes it meanwhile; and NULL or a place for it.
        unsafe { moved(socket, count, deadline, |fd, wait| syscall::recv(fd, buffer, flags, wait)) }
    })
}

/// quell_recv(), and from whom, as recvfrom(2): writes the address to `address`, unless that is NULL; `length` says how much room
/// is there, and then how long the whole address is.
///
/// Interruption point. As quell_recv().
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_recvfrom(
    socket: c_int,
    buffer: *mut c_void,
    size: usize,
    flags: c_int,
    address: *mut sockaddr,
    length: *mut u32,
    count: *mut usize,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_recvfrom", || {
        if !address.is_null() && length.is_null() {
            return Err(null("length of the address"));
        }
        let start = bytes(buffer, size)?;
        // SAFETY: the caller's promise: so many bytes may be written. Only the kernel does.
        let buffer = unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), size) };
        // SAFETY: the caller's promise: nobody closes it meanwhile.
        let socket = unsafe { descriptor(socket) }?;
        let (received, from) = syscall::recvfrom(socket, buffer, flags, &until(deadline))?;
        // SAFETY: the caller's promise: NULL or places for them.
        unsafe {
            tell(&from, address, length);
            answer(count, received);
        }
        Ok(())
    })
}

/// quell_recv() with everything that a message can have: several buffers, an address, ancillary data, as recvmsg(2).
///
/// Interruption point. As quell_recv(). Descriptors that a message brings come with QUELL_OK only.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_recvmsg(
    socket: c_int,
    message: *mut msghdr,
    flags: c_int,
    count: *mut usize,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_recvmsg", || {
        // SAFETY: the caller's promise: NULL, or a message that nobody else uses.
        let message = unsafe { message.as_mut() }.ok_or_else(|| null("message"))?;
        // SAFETY: the caller's promise: nobody closes it meanwhile; NULL or a place for it; and what it points to may be written.
        unsafe {
            moved(socket, count, deadline, |fd, wait| syscall::recvmsg(fd, message, flags, wait))
        }
    })
}

/// Sends up to `size` bytes, as send(2) with MSG_NOSIGNAL: waits until there is room for some, or the deadline, and writes how
/// many were sent to `count`, unless that is NULL; that may be fewer. With QUELL_NOW it sends what there is room for. If the peer
/// is gone, QUELL_SYSTEM and EPIPE; there is no SIGPIPE.
///
/// Interruption point. QUELL_OK: bytes that were sent are always told, the interrupt stays pending. QUELL_INTERRUPTED,
/// QUELL_TIMED_OUT: nothing was sent. QUELL_SYSTEM: errno says why.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_send(
    socket: c_int,
    buffer: *const c_void,
    size: usize,
    flags: c_int,
    count: *mut usize,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_send", || {
        let start = bytes(buffer.cast_mut(), size)?;
        // SAFETY: the caller's promise: so many bytes may be read.
        let buffer = unsafe { std::slice::from_raw_parts(start.as_ptr(), size) };
        // SAFETY: the caller's promise: nobody closes it meanwhile; and NULL or a place for it.
        unsafe { moved(socket, count, deadline, |fd, wait| syscall::send(fd, buffer, flags, wait)) }
    })
}

/// quell_send() to this address, as sendto(2).
///
/// Interruption point. As quell_send().
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_sendto(
    socket: c_int,
    buffer: *const c_void,
    size: usize,
    flags: c_int,
    address: *const sockaddr,
    length: u32,
    count: *mut usize,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_sendto", || {
        // SAFETY: the caller's promise: so many bytes may be read.
        let address = unsafe { read_address(address, length) }?;
        let start = bytes(buffer.cast_mut(), size)?;
        // SAFETY: the caller's promise: so many bytes may be read.
        let buffer = unsafe { std::slice::from_raw_parts(start.as_ptr(), size) };
        // SAFETY: the caller's promise: nobody closes it meanwhile; and NULL or a place for it.
        unsafe {
            moved(socket, count, deadline, |fd, wait| {
                syscall::sendto(fd, buffer, flags, &address, wait)
            })
        }
    })
}

/// quell_send() with everything that a message can have, as sendmsg(2).
///
/// Interruption point. As quell_send(). Descriptors go with QUELL_OK only.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_sendmsg(
    socket: c_int,
    message: *const msghdr,
    flags: c_int,
    count: *mut usize,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_sendmsg", || {
        // SAFETY: the caller's promise: NULL, or a message.
        let message = unsafe { message.as_ref() }.ok_or_else(|| null("message"))?;
        // SAFETY: the caller's promise: nobody closes it meanwhile; NULL or a place for it; and what it points to may be read.
        unsafe {
            moved(socket, count, deadline, |fd, wait| syscall::sendmsg(fd, message, flags, wait))
        }
    })
}

/// # Safety
/// `address` is null, or so many bytes of it may be read.
unsafe fn read_address(address: *const sockaddr, length: u32) -> Result<Address, Failure> {
    if address.is_null() {
        return Err(null("address"));
    }
    // SAFETY: the caller's promise.
    let bytes = unsafe { std::slice::from_raw_parts(address.cast::<u8>(), length as usize) };
    Address::from_bytes(bytes).map_err(|error| Failure::invalid(error.to_string()))
}

/// Writes as much of an address as there is room for, and how long it is.
///
/// # Safety
/// `address` is null, or `length` says how many bytes of it may be written.
unsafe fn tell(from: &Address, address: *mut sockaddr, length: *mut u32) {
    if address.is_null() {
        return;
    }
    let bytes = from.as_bytes();
    // SAFETY: the caller's promise.
    unsafe {
        let room = bytes.len().min(*length as usize);
        address.cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), room);
        *length = bytes.len() as u32;
    }
}
