//! Sockets: all methods that wait.
//!
//! A socket of Python's blocks, has a timeout, or neither; with a timeout its descriptor does not block, and the method waits for it
//! to be ready first. The methods that programs live on (`recv`, `recv_into`, `send`, `sendall`, `accept`) are made here as a
//! whole, by quell's calls. The others wait here, and then let the original do the rest: told not to block, by the flag that
//! these calls have for it, so that what somebody else has taken in between is waited for again. Where a socket has a timeout the
//! original keeps it itself, in that one case from the beginning.

use std::ffi::{CStr, c_int};
use std::time::Instant;

use pyo3::exceptions::PyBlockingIOError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyTuple};
use quell::syscall;
use quell::syscall::Address;

use super::attempt::{self, Attempt};
use super::call::{Call, int};
use super::descriptors::{Fresh, View, borrowed, number};
use super::wait::{self, Ended, ready, timed_out};
use crate::primitives::call::Obj;
use crate::primitives::wait::after;

/// A socket, as far as a method that waits must know it.
pub(super) struct Socket {
    pub(super) fd: c_int,
    /// Seconds; None: it blocks.
    pub(super) timeout: Option<f64>,
}

impl Socket {
    /// None: it is closed, or does not wait. Then the original is called.
    pub(super) fn of(py: Python<'_>, object: Obj) -> Option<Socket> {
        let (fd, timeout) = (attempt::fd(object), attempt::timeout(py, object));
        (fd >= 0 && timeout != Some(0.0)).then_some(Socket { fd, timeout })
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timeout.and_then(after)
    }

    /// Waits until it is ready; the error that sockets raise when their time is over.
    pub(super) fn ready(
        &self,
        py: Python<'_>,
        events: i16,
        deadline: Option<Instant>,
    ) -> PyResult<()> {
        if ready(py, self.fd, events, deadline)? { Ok(()) } else { Err(timed_out()) }
    }

    /// Makes a call until it has come back with something else than that it would block.
    fn until_done<T: Send>(
        &self,
        py: Python<'_>,
        events: i16,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(c_int, &quell::Wait) -> Result<T, quell::CallError> + Send,
    ) -> PyResult<T> {
        let fd = self.fd;
        loop {
            if self.timeout.is_some() {
                self.ready(py, events, deadline)?;
            }
            // Where there is a timeout the descriptor does not block.
            match wait::unlimited(py, |wait| attempt(fd, wait))? {
                Ok(value) => return Ok(value),
                Err(libc::EAGAIN) if self.timeout.is_some() => {}
                Err(errno) => return Err(wait::os_error(py, errno)),
            }
        }
    }
}

/// The flags argument of these methods: 0 if it was not given.
fn flags(argument: Obj) -> Option<c_int> {
    if argument.is_null() { Some(0) } else { int(argument)?.try_into().ok() }
}

/// `socket.recv(bufsize, flags=0)`.
pub(super) fn recv(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let Some([size, given]) = call.bind([c"", c""]) else { return Ok(call.original()) };
    let size = int(size).and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
    let (Some(size), Some(flags)) = (size, flags(given)) else { return Ok(call.original()) };
    let Some(socket) = Socket::of(py, call.slf) else { return Ok(call.original()) };
    let bytes = Fresh::new(py, size)?;
    let count = receive(py, &socket, bytes.address(), size, flags)?;
    Ok(bytes.cut(count))
}

/// `socket.recv_into(buffer, nbytes=0, flags=0)`.
pub(super) fn recv_into(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let Some([buffer, size, given]) = call.bind([c"buffer", c"nbytes", c"flags"]) else {
        return Ok(call.original());
    };
    let size = if size.is_null() { Some(0) } else { int(size) };
    let (Some(size), Some(flags)) = (size.and_then(|n| usize::try_from(n).ok()), flags(given))
    else {
        return Ok(call.original());
    };
    let Some(socket) = Socket::of(py, call.slf) else { return Ok(call.original()) };
    let Some(view) = View::of(buffer, ffi::PyBUF_WRITABLE) else { return Ok(call.original()) };
    let wanted = if size == 0 { view.len() } else { size };
    if wanted == 0 || wanted > view.len() {
        drop(view);
        return Ok(call.original());
    }
    Ok(number(py, receive(py, &socket, view.address(), wanted, flags)?))
}

fn receive(
    py: Python<'_>,
    socket: &Socket,
    at: usize,
    size: usize,
    flags: c_int,
) -> PyResult<usize> {
    socket.until_done(py, libc::POLLIN, socket.deadline(), |fd, wait| {
        // SAFETY: a buffer that the caller keeps.
        let buffer = unsafe { std::slice::from_raw_parts_mut(at as *mut u8, size) };
        syscall::recv(borrowed(fd), buffer, flags, wait)
    })
}

/// `socket.send(data, flags=0)`.
pub(super) fn send(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let Some([data, given]) = call.bind([c"", c""]) else { return Ok(call.original()) };
    let Some(flags) = flags(given) else { return Ok(call.original()) };
    let Some(socket) = Socket::of(py, call.slf) else { return Ok(call.original()) };
    let Some(view) = View::of(data, ffi::PyBUF_SIMPLE) else { return Ok(call.original()) };
    let deadline = socket.deadline();
    Ok(number(py, transmit(py, &socket, view.address(), view.len(), flags, deadline)?))
}

/// `socket.sendall(data, flags=0)`.
pub(super) fn sendall(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let Some([data, given]) = call.bind([c"", c""]) else { return Ok(call.original()) };
    let Some(flags) = flags(given) else { return Ok(call.original()) };
    let Some(socket) = Socket::of(py, call.slf) else { return Ok(call.original()) };
    let Some(view) = View::of(data, ffi::PyBUF_SIMPLE) else { return Ok(call.original()) };
    // One time for all of it.
    let deadline = socket.deadline();
    let mut sent = 0;
    loop {
        let rest = view.len() - sent;
        sent += transmit(py, &socket, view.address() + sent, rest, flags, deadline)?;
        if sent >= view.len() {
            return Ok(py.None().into_ptr());
        }
    }
}

fn transmit(
    py: Python<'_>,
    socket: &Socket,
    at: usize,
    size: usize,
    flags: c_int,
    deadline: Option<Instant>,
) -> PyResult<usize> {
    socket.until_done(py, libc::POLLOUT, deadline, |fd, wait| {
        // SAFETY: a buffer that the caller keeps.
        let buffer = unsafe { std::slice::from_raw_parts(at as *const u8, size) };
        syscall::send(borrowed(fd), buffer, flags, wait)
    })
}

/// `socket._accept()`, under `socket.accept()`.
pub(super) fn accept(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    use std::os::fd::{AsRawFd, IntoRawFd};
    let Some(socket) = Socket::of(py, call.slf) else { return Ok(call.original()) };
    let family = attempt::family(call.slf);
    if !matches!(family, libc::AF_INET | libc::AF_INET6 | libc::AF_UNIX) {
        // Nobody writes such an address as the original does.
        socket.ready(py, libc::POLLIN, socket.deadline())?;
        return Ok(call.original());
    }
    let (fd, address) = socket.until_done(py, libc::POLLIN, socket.deadline(), |fd, wait| {
        syscall::accept(borrowed(fd), wait)
    })?;
    let address = address_of(py, call.slf, fd.as_raw_fd(), &address)?;
    let answer = PyTuple::new(py, [PyInt::new(py, fd.into_raw_fd()).into_any(), address])?;
    Ok(answer.into_ptr())
}

/// Whom a listening socket has accepted as `fd`, as the original writes it.
fn address_of<'py>(
    py: Python<'py>,
    listener: Obj,
    fd: c_int,
    address: &Address,
) -> PyResult<Bound<'py, PyAny>> {
    use std::net::SocketAddr;
    match address.to_inet() {
        Some(SocketAddr::V4(v4)) => {
            Ok((v4.ip().to_string(), v4.port()).into_pyobject(py)?.into_any())
        }
        Some(SocketAddr::V6(v6)) => {
            let octets = PyBytes::new(py, &v6.ip().octets());
            let module = py.import("_socket")?;
            let host = module.getattr("inet_ntop")?.call1((libc::AF_INET6, octets))?;
            let all = (host, v6.port(), u32::from_be(v6.flowinfo()), v6.scope_id());
            Ok(all.into_pyobject(py)?.into_any())
        }
        None => {
            // A Unix socket: with a path, a name that is none, or nothing.
            let class = py.import("_socket")?.getattr("socket")?;
            let (family, kind) = (attempt::family(listener), attempt::kind(listener));
            let other = class.call1((family, kind, 0, fd))?;
            let name = other.call_method0("getpeername");
            other.call_method0("detach")?;
            Ok(name.unwrap_or_else(|_| pyo3::types::PyString::new(py, "").into_any()))
        }
    }
}

/// How the attempt of a connection ended that was told not to wait.
enum Begun {
    /// As this, which is for the caller.
    Answer(Obj),
    /// It goes on.
    Underway,
}

/// `socket.connect(address)`.
pub(super) fn connect(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let Some(socket) = Socket::of(py, call.slf) else { return Ok(call.original()) };
    match begin(py, call, &socket, |py, answer| {
        if !answer.is_null() {
            return Ok(None);
        }
        let error = PyErr::fetch(py);
        if error.is_instance_of::<PyBlockingIOError>(py) {
            return Ok(wait::errno_of(py, &error));
        }
        Err(error)
    })? {
        Begun::Answer(answer) => Ok(answer),
        Begun::Underway => match finish(py, &socket)? {
            Some(0) => Ok(py.None().into_ptr()),
            Some(errno) => Err(wait::os_error(py, errno)),
            None => Err(timed_out()),
        },
    }
}

/// `socket.connect_ex(address)`.
pub(super) fn connect_ex(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let Some(socket) = Socket::of(py, call.slf) else { return Ok(call.original()) };
    match begin(py, call, &socket, |_, answer| {
        Ok(if answer.is_null() { None } else { int(answer).and_then(|n| n.try_into().ok()) })
    })? {
        Begun::Answer(answer) => Ok(answer),
        Begun::Underway => {
            let errno = finish(py, &socket)?.unwrap_or(libc::EWOULDBLOCK);
            Ok(PyInt::new(py, errno).into_any().into_ptr())
        }
    }
}

/// Has the original begin a connection and not wait for it. `errno` says what an answer means.
fn begin(
    py: Python<'_>,
    call: &Call,
    socket: &Socket,
    errno: impl Fn(Python<'_>, Obj) -> PyResult<Option<c_int>>,
) -> PyResult<Begun> {
    let family = attempt::family(call.slf);
    if !matches!(family, libc::AF_INET | libc::AF_INET6 | libc::AF_UNIX) {
        return Ok(Begun::Answer(call.original()));
    }
    let answer = {
        let _attempt = Attempt::begin(py, call.slf);
        call.original()
    };
    match errno(py, answer)? {
        Some(libc::EINPROGRESS) => {}
        // A Unix socket whose listener is not quick enough, which says so at once: waited for by trying again, and there is
        // nothing that could be waited for in between.
        Some(libc::EAGAIN) if family == libc::AF_UNIX && socket.timeout.is_none() => {
            return connect_unix(py, call, socket);
        }
        _ => return Ok(Begun::Answer(answer)),
    }
    if !answer.is_null() {
        // SAFETY: ours.
        unsafe { ffi::Py_DECREF(answer) };
    }
    Ok(Begun::Underway)
}

/// Connects a Unix socket that blocks.
fn connect_unix(py: Python<'_>, call: &Call, socket: &Socket) -> PyResult<Begun> {
    let Some(&address) = call.positional().first() else {
        return Ok(Begun::Answer(call.original()));
    };
    // SAFETY: a live argument.
    let address = unsafe { Bound::<PyAny>::from_borrowed_ptr(py, address) };
    let path = match address.cast::<PyBytes>() {
        Ok(bytes) => bytes.as_bytes().to_vec(),
        Err(_) => py.import("os")?.getattr("fsencode")?.call1((&address,))?.extract()?,
    };
    use std::os::unix::ffi::OsStringExt;
    let path = std::path::PathBuf::from(std::ffi::OsString::from_vec(path));
    let Ok(address) = Address::unix(path) else { return Ok(Begun::Answer(call.original())) };
    let fd = socket.fd;
    match wait::unlimited(py, |wait| syscall::connect(borrowed(fd), &address, wait))? {
        // Now the original finds it connected, or finds the same error.
        Err(errno) if errno != libc::EISCONN => Err(wait::os_error(py, errno)),
        _ => Ok(Begun::Underway),
    }
}

/// Waits for a connection that is being made; the system's number for how it went, or None: the time was over first.
fn finish(py: Python<'_>, socket: &Socket) -> PyResult<Option<c_int>> {
    let fd = socket.fd;
    let ended =
        wait::blocking(py, socket.deadline(), |wait| syscall::connected(borrowed(fd), wait))?;
    Ok(match ended {
        Ended::Done(()) | Ended::Failed(libc::EISCONN) => Some(0),
        Ended::Failed(errno) => Some(errno),
        Ended::Late => None,
    })
}

/// Waits, and has the original do the rest, with a flag that keeps it from waiting where the socket blocks. `at` is the
/// position of the flags, and `parameters` are the names of what comes up to them.
fn rest<const N: usize>(
    py: Python<'_>,
    call: &Call,
    events: i16,
    parameters: [&CStr; N],
    defaults: [c_int; N],
) -> PyResult<Obj> {
    let Some(bound) = call.bind(parameters) else { return Ok(call.original()) };
    // What follows the flags (an address) cannot be told from here: N is how many there are up to them.
    let Some(given) = flags(bound[N - 1]) else { return Ok(call.original()) };
    let Some(socket) = Socket::of(py, call.slf) else { return Ok(call.original()) };
    if given & (libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_ERRQUEUE) != 0 {
        return Ok(call.original());
    }
    let deadline = socket.deadline();
    if socket.timeout.is_some() {
        socket.ready(py, events, deadline)?;
        return Ok(call.original());
    }
    let mut arguments = Vec::new();
    for (argument, default) in bound.iter().zip(defaults) {
        arguments.push(match argument.is_null() {
            true => PyInt::new(py, default).into_any(),
            // SAFETY: a live argument.
            false => unsafe { Bound::from_borrowed_ptr(py, *argument) },
        });
    }
    if bound[0].is_null() {
        return Ok(call.original());
    }
    arguments[N - 1] = PyInt::new(py, given | libc::MSG_DONTWAIT).into_any();
    let raw: Vec<Obj> = arguments.iter().map(Bound::as_ptr).collect();
    again(py, &socket, events, || call.original_with(py, &raw))
}

/// Has the original try, and waits as often as it would have blocked.
fn again(
    py: Python<'_>,
    socket: &Socket,
    events: i16,
    mut attempt: impl FnMut() -> PyResult<Obj>,
) -> PyResult<Obj> {
    loop {
        socket.ready(py, events, None)?;
        let answer = attempt()?;
        if !answer.is_null() {
            return Ok(answer);
        }
        let error = PyErr::fetch(py);
        if !error.is_instance_of::<PyBlockingIOError>(py) {
            return Err(error);
        }
    }
}

/// `socket.recvfrom(bufsize, flags=0)`.
pub(super) fn recvfrom(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    rest(py, call, libc::POLLIN, [c"", c""], [0, 0])
}

/// `socket.recvfrom_into(buffer, nbytes=0, flags=0)`.
pub(super) fn recvfrom_into(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    rest(py, call, libc::POLLIN, [c"buffer", c"nbytes", c"flags"], [0; 3])
}

/// `socket.recvmsg(bufsize, ancbufsize=0, flags=0)`, and with buffers.
pub(super) fn recvmsg(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    rest(py, call, libc::POLLIN, [c"", c"", c""], [0; 3])
}

/// `socket.sendto(data, address)`, and with flags in between.
pub(super) fn sendto(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let (data, given, address) = match *call.positional() {
        [data, address] => (data, std::ptr::null_mut(), address),
        [data, flags, address] => (data, flags, address),
        _ => return Ok(call.original()),
    };
    let (Some(flags), Some(socket)) = (flags(given), Socket::of(py, call.slf)) else {
        return Ok(call.original());
    };
    if flags & libc::MSG_DONTWAIT != 0 {
        return Ok(call.original());
    }
    if socket.timeout.is_some() {
        socket.ready(py, libc::POLLOUT, socket.deadline())?;
        return Ok(call.original());
    }
    if attempt::kind(call.slf) & 0xf != libc::SOCK_DGRAM {
        // A stream takes all of it, however long that is.
        socket.ready(py, libc::POLLOUT, None)?;
        return Ok(call.original());
    }
    let flags = PyInt::new(py, flags | libc::MSG_DONTWAIT);
    let arguments = [data, flags.as_ptr(), address];
    again(py, &socket, libc::POLLOUT, || call.original_with(py, &arguments))
}

/// `socket.sendmsg(buffers, ancdata=[], flags=0, address=None)`.
pub(super) fn sendmsg(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let given = call.positional().get(2).map_or(Some(0), |&given| flags(given));
    if given.is_some_and(|given| given & libc::MSG_DONTWAIT == 0)
        && let Some(socket) = Socket::of(py, call.slf)
    {
        socket.ready(py, libc::POLLOUT, socket.deadline())?;
    }
    Ok(call.original())
}
