//! Waiting for signals: `signal.sigwait` and its kin, and `pause`.
//!
//! The signal by which quell ends calls may be among those that are waited for, or blocked. So it is let through, and where it comes
//! out of the wait all the same, in place of ending it, it is taken for what it is.

use std::ffi::c_int;
use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::{PyInt, PyList};
use quell::{CallError, Wait, syscall};

use super::call::{Call, int};
use super::site::loaded;
use super::wait::{self, Ended, Listens};
use crate::primitives::call::Obj;
use crate::primitives::wait::after;

/// What the kernel takes for a set: a bit for each signal, from 1 on.
type Set = u64;

/// The signals of an iterable, if all of them are some; and the list of them, for the original, as it can be read but once.
fn signals<'py>(py: Python<'py>, iterable: Obj) -> PyResult<(Option<Set>, Bound<'py, PyList>)> {
    // SAFETY: a live argument.
    let iterable = unsafe { Bound::<PyAny>::from_borrowed_ptr(py, iterable) };
    let list = PyList::new(py, iterable.try_iter()?.collect::<PyResult<Vec<_>>>()?)?;
    let bit = |number: Bound<'py, PyAny>| {
        let number = int(number.as_ptr())?;
        // The C library keeps some for itself, between these two.
        let known = (1..32).contains(&number)
            || (i64::from(libc::SIGRTMIN())..=i64::from(libc::SIGRTMAX())).contains(&number);
        known.then(|| 1 << (number - 1))
    };
    let set = list.iter().map(bit).try_fold(0, |set, bit| Some(set | bit?));
    Ok((set, list))
}

/// A `siginfo_t` of 64-bit Linux, as far as Python tells of it.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Info {
    signal: c_int,
    errno: c_int,
    code: c_int,
    _gap: c_int,
    /// Here the union begins. What else may stand in it is as wide as a pointer.
    process: c_int,
    user: u32,
    status: c_int,
    _rest: [u32; 25],
}

/// Waits for one of these signals, and takes it.
fn take(py: Python<'_>, set: Set, deadline: Option<Instant>) -> PyResult<Ended<Info>> {
    const { assert!(size_of::<Info>() == size_of::<libc::siginfo_t>()) };
    let ours = syscall::signal();
    let_through(ours);
    let me = std::process::id().cast_signed();
    wait::blocking(py, deadline, |wait| {
        let mut info = Info::default();
        let (set, at) = (&raw const set as usize, &raw mut info as usize);
        let arguments = [set, at, 0, size_of::<Set>(), 0, 0];
        // SAFETY: the kernel reads the set and writes what the signal was.
        unsafe { syscall::call(libc::SYS_rt_sigtimedwait, arguments, wait)? };
        // Of all that is in this process only quell queues signals to it.
        let kick = (info.signal, info.code, info.process) == (ours, libc::SI_QUEUE, me);
        if kick { Err(CallError::Signalled) } else { Ok(info) }
    })
}

/// `signal.sigwait(sigset)`, under the function of `signal.py`.
pub(super) fn sigwait(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    wait_for(py, call, None, |info| Ok(PyInt::new(py, info.signal).into_any().into_ptr()))
}

/// `signal.sigwaitinfo(sigset)`.
pub(super) fn sigwaitinfo(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    wait_for(py, call, None, |info| described(py, &info))
}

/// `signal.sigtimedwait(sigset, timeout)`.
pub(super) fn sigtimedwait(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let &[_, timeout] = call.positional() else { return Ok(call.original()) };
    // SAFETY: a live argument; errors are taken back, for the original to make them again.
    let seconds = unsafe { Bound::<PyAny>::from_borrowed_ptr(py, timeout) }.extract::<f64>();
    match seconds.ok().filter(|&seconds| seconds > 0.0).and_then(after) {
        Some(deadline) => wait_for(py, call, Some(deadline), |info| described(py, &info)),
        None => Ok(call.original()),
    }
}

fn wait_for(
    py: Python<'_>,
    call: &Call,
    deadline: Option<Instant>,
    answer: impl FnOnce(Info) -> PyResult<Obj>,
) -> PyResult<Obj> {
    let [first, rest @ ..] = call.positional() else { return Ok(call.original()) };
    let (set, list) = signals(py, *first)?;
    let Some(set) = set else {
        let all: Vec<Obj> = std::iter::once(list.as_ptr()).chain(rest.iter().copied()).collect();
        return call.original_with(py, &all);
    };
    match take(py, set, deadline)? {
        Ended::Done(info) => answer(info),
        Ended::Failed(errno) => Err(wait::os_error(py, errno)),
        Ended::Late => Ok(py.None().into_ptr()),
    }
}

/// A `struct_siginfo`, with the fields that the original fills.
fn described(py: Python<'_>, info: &Info) -> PyResult<Obj> {
    let Some(module) = loaded(py, c"_signal") else { return Ok(py.None().into_ptr()) };
    let band = i64::from(info.user) << 32 | i64::from(info.process.cast_unsigned());
    let Info { signal, code, errno, process, user, status, .. } = *info;
    let fields = (signal, code, errno, process, user, status, band);
    Ok(module.getattr("struct_siginfo")?.call1((fields,))?.into_ptr())
}

/// `signal.pause()`: until a signal has come to this thread. An interrupt that may not be raised here is one as well.
pub(super) fn pause(py: Python<'_>, _call: &Call) -> PyResult<Obj> {
    let_through(syscall::signal());
    let mut listens = Listens::begin(py);
    let wait = Wait { signals: true, ..listens.wait(None) };
    let ended = py.detach(|| {
        let never: [c_int; 0] = [];
        // SAFETY: no descriptors and no time: the kernel reads nothing.
        unsafe { syscall::call(libc::SYS_ppoll, [never.as_ptr() as usize, 0, 0, 0, 0, 0], &wait) }
    });
    match ended {
        Err(CallError::Os(error)) => Err(error.into()),
        _ => listens.look(py).map(|()| py.None().into_ptr()),
    }
}

/// `signal.pthread_sigmask(how, mask)`: whatever a thread blocks, the signal that ends its calls comes through. What it is told
/// of its mask is what it has made of it.
pub(super) fn sigmask(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    thread_local! {
        /// Whether the thread has blocked the signal, as far as it knows.
        static BLOCKED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }
    let &[how, mask] = call.positional() else { return Ok(call.original()) };
    let (set, list) = signals(py, mask)?;
    let answer = call.original_with(py, &[how, list.as_ptr()])?;
    let (Some(set), false) = (set, answer.is_null()) else { return Ok(answer) };
    let ours = syscall::signal();
    // SAFETY: a new set object that nobody else has.
    let before = unsafe { Bound::<PyAny>::from_owned_ptr(py, answer) };
    let was = BLOCKED.get() || before.contains(ours)?;
    if was {
        before.call_method1("add", (ours,))?;
    }
    let named = set & (1 << (ours - 1)) != 0;
    let is = match int(how).and_then(|how| c_int::try_from(how).ok()) {
        Some(libc::SIG_BLOCK) => was || named,
        Some(libc::SIG_UNBLOCK) => was && !named,
        _ => named,
    };
    BLOCKED.set(is);
    if is {
        let_through(ours);
    }
    Ok(before.into_ptr())
}

/// Lets a signal through to the calling thread.
fn let_through(number: c_int) {
    // SAFETY: the set is made here. The call changes this thread's mask only.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut set, number);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
    }
}
