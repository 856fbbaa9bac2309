//! `ssl`: the methods of the C object under an `SSLSocket`.
//!
//! One of them may read and write the socket several times, inside OpenSSL, and a record may come in pieces. So the original is
//! only called in [attempts](super::attempt), with a socket that does not block, which OpenSSL knows how to deal with: it says
//! which way it has to wait. The waiting is done here, and then the same is attempted again.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use super::attempt::Attempt;
use super::call::Call;
use super::sockets::Socket;
use super::wait::{is_of, ready};
use crate::primitives::call::Obj;

/// `_SSLSocket.do_handshake()`, `read`, `write`, `shutdown`.
pub(super) fn operation(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    static SOCKET: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    // SAFETY: a live object.
    let object = unsafe { Bound::<PyAny>::from_borrowed_ptr(py, call.slf) };
    let Ok(owner) = object.getattr("owner") else { return Ok(call.original()) };
    if !owner.is_instance(SOCKET.import(py, "_socket", "socket")?)? {
        // It works on memory, and does not wait.
        return Ok(call.original());
    }
    let Some(socket) = Socket::of(py, owner.as_ptr()) else { return Ok(call.original()) };
    let deadline = socket.deadline();
    loop {
        let answer = {
            let _attempt = Attempt::begin(py, owner.as_ptr());
            call.original()
        };
        if !answer.is_null() {
            return Ok(answer);
        }
        let error = PyErr::fetch(py);
        let Some(events) = wants(py, &error) else { return Err(error) };
        if !ready(py, socket.fd, events, deadline)? {
            // The original is given a moment, and says in its own words that it is too late.
            let attempt = Attempt::begin(py, owner.as_ptr());
            attempt.give(1_000);
            return Ok(call.original());
        }
    }
}

/// Which way OpenSSL has to wait, if that is what an error says.
fn wants(py: Python<'_>, error: &PyErr) -> Option<i16> {
    if is_of(py, error, c"SSLWantReadError") {
        Some(libc::POLLIN)
    } else if is_of(py, error, c"SSLWantWriteError") {
        Some(libc::POLLOUT)
    } else {
        None
    }
}
