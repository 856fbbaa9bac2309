//! A socket that for a moment does not block: for operations that must not wait inside the original.
//!
//! While an attempt is made the socket object has a timeout of 0, and its descriptor does not block. Who asks for the timeout
//! meanwhile is told the real one, and who sets it changes that; several threads may be in attempts at once. The first one
//! changes the socket, the last one changes it back, each in one step with the GIL held.

use std::collections::HashMap;
use std::ffi::c_int;

use pyo3::ffi;
use pyo3::prelude::*;

use super::call::Call;
use super::site::loaded;
use crate::cpython::layout::read;
use crate::delivery::gil_cell::GilCell;
use crate::primitives::call::{Obj, boolean};

// Where the fields of a socket object are, on every version that is patched; verified before use.
const FD: usize = 16;
const FAMILY: usize = 20;
const KIND: usize = 24;
/// Nanoseconds; negative for none.
const TIMEOUT: usize = 40;

/// Sockets that are in an attempt: in how many, and the real timeout.
static ATTEMPTS: GilCell<Option<HashMap<usize, (usize, i64)>>> = GilCell::new(None);

fn field<T: Copy>(socket: Obj, offset: usize) -> T {
    // SAFETY: the callers pass live socket objects, whose layout was verified.
    unsafe { read(socket.cast(), offset) }
}

/// The descriptor, -1 if it is closed.
pub(super) fn fd(socket: Obj) -> c_int {
    field(socket, FD)
}

pub(super) fn family(socket: Obj) -> c_int {
    field(socket, FAMILY)
}

pub(super) fn kind(socket: Obj) -> c_int {
    field(socket, KIND)
}

/// The timeout in seconds; None: it blocks.
pub(super) fn timeout(py: Python<'_>, socket: Obj) -> Option<f64> {
    seconds(real(py, socket).unwrap_or_else(|| field(socket, TIMEOUT)))
}

fn seconds(nanoseconds: i64) -> Option<f64> {
    (nanoseconds >= 0).then(|| nanoseconds as f64 / 1e9)
}

/// The real timeout of a socket that is in an attempt.
fn real(py: Python<'_>, socket: Obj) -> Option<i64> {
    ATTEMPTS.with(py, |all| Some(all.as_ref()?.get(&(socket as usize))?.1))
}

fn set(socket: Obj, nanoseconds: i64) {
    // SAFETY: as in `field`; the GIL is held.
    unsafe { socket.cast::<u8>().add(TIMEOUT).cast::<i64>().write(nanoseconds) };
}

fn set_blocking(socket: Obj, blocks: bool) {
    let mut flag = c_int::from(!blocks);
    // SAFETY: the system reads the flag. Does not wait, so the GIL is kept. Of a closed socket it refuses it.
    unsafe { libc::ioctl(fd(socket), libc::FIONBIO, &raw mut flag) };
}

/// See the module. Begun and dropped with the GIL held.
pub(super) struct Attempt<'py> {
    py: Python<'py>,
    socket: Obj,
}

impl<'py> Attempt<'py> {
    pub(super) fn begin(py: Python<'py>, socket: Obj) -> Self {
        let timeout: i64 = field(socket, TIMEOUT);
        let first = ATTEMPTS.with(py, |all| {
            let entry = all.get_or_insert_default().entry(socket as usize).or_insert((0, timeout));
            entry.0 += 1;
            entry.0 == 1
        });
        if first {
            set(socket, 0);
            if timeout < 0 {
                set_blocking(socket, false);
            }
        }
        Attempt { py, socket }
    }

    /// Gives the original this long, in place of no time: for an error that only it can make.
    pub(super) fn give(&self, nanoseconds: i64) {
        set(self.socket, nanoseconds);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let over = ATTEMPTS.with(self.py, |all| {
            let all = all.as_mut()?;
            let entry = all.get_mut(&(self.socket as usize))?;
            entry.0 -= 1;
            if entry.0 > 0 { None } else { all.remove(&(self.socket as usize)) }
        });
        if let Some((_, timeout)) = over {
            set(self.socket, timeout);
            if timeout < 0 {
                set_blocking(self.socket, true);
            }
        }
    }
}

/// `socket.gettimeout()`, in every thread.
pub(super) fn gettimeout(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    match real(py, call.slf) {
        Some(real) => Ok(seconds(real).into_pyobject(py)?.into_ptr()),
        None => Ok(call.original()),
    }
}

/// `socket.getblocking()`, in every thread.
pub(super) fn getblocking(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    match real(py, call.slf) {
        // SAFETY: attached.
        Some(real) => Ok(unsafe { boolean(real != 0) }),
        None => Ok(call.original()),
    }
}

/// `socket.settimeout(value)` and `socket.setblocking(flag)`, in every thread.
pub(super) fn settimeout(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let answer = call.original();
    if answer.is_null() || real(py, call.slf).is_none() {
        return Ok(answer);
    }
    // The attempts have their way again, and leave the new value behind them.
    let timeout = field(call.slf, TIMEOUT);
    ATTEMPTS.with(py, |all| {
        if let Some(entry) = all.as_mut().and_then(|all| all.get_mut(&(call.slf as usize))) {
            entry.1 = timeout;
            set(call.slf, 0);
            set_blocking(call.slf, false);
        }
    });
    Ok(answer)
}

/// Whether socket objects are laid out as this file says: by what the class tells of its members, and by an object that was
/// made and never initialised, so that it has no descriptor, and no audit hook hears of it.
pub(super) fn verify(py: Python<'_>) -> PyResult<bool> {
    let Some(module) = loaded(py, c"_socket") else { return Ok(true) };
    let class = module.getattr("socket")?;
    let member = |name| -> PyResult<Option<usize>> {
        let descriptor = class.getattr(name)?;
        // SAFETY: the type says what the object is; a member descriptor has a definition with the offset.
        unsafe {
            let found = ffi::Py_TYPE(descriptor.as_ptr()) == &raw mut ffi::PyMemberDescr_Type;
            let descriptor = descriptor.as_ptr().cast::<MemberDescriptor>();
            Ok(found.then(|| (*(*descriptor).member).offset as usize))
        }
    };
    // SAFETY: a class, whose size is known.
    let size = unsafe { (*class.as_ptr().cast::<ffi::PyTypeObject>()).tp_basicsize as usize };
    if member("family")? != Some(FAMILY)
        || member("type")? != Some(KIND)
        || size < TIMEOUT + size_of::<i64>()
    {
        return Ok(false);
    }
    let socket = class.call_method1("__new__", (&class,))?;
    let object = socket.as_ptr();
    let mut right = fd(object) == -1 && field::<i64>(object, TIMEOUT) < 0;
    for value in [1.5, 0.0] {
        // It keeps the value, and fails for the want of a descriptor.
        right &= socket.call_method1("settimeout", (value,)).is_err();
        right &= field::<i64>(object, TIMEOUT) == (value * 1e9) as i64;
    }
    Ok(right)
}

/// A descriptor of a member, as CPython lays it out.
#[repr(C)]
struct MemberDescriptor {
    common: ffi::PyDescrObject,
    member: *const ffi::PyMemberDef,
}

/// In the child of a fork the other threads' attempts never end: their sockets become as they were.
pub(super) fn after_fork(py: Python<'_>) {
    // The objects are alive: the threads that kept them are gone, and never drop them.
    for (socket, (_, timeout)) in ATTEMPTS.with(py, std::mem::take).into_iter().flatten() {
        set(socket as Obj, timeout);
    }
}
