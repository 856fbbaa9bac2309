//! The functions of Python's by which a script replaces or stops itself; see [`natives`](super::super::natives).
//!
//! A call that certainly does neither costs one comparison more than it did. Forks of the script are watched while they
//! stop, but not when they become another program: they are then a child process of the script like any other.

use std::ffi::{CString, c_int};

use pyo3::ffi;
use pyo3::prelude::*;

use super::super::natives::{Native, Object, Ours, integer};
use super::super::session::Session;
use super::launch;
use super::leash::Intent;
use crate::delivery::NoKicks;

static EXECV: Native = Native::new();
static EXECVE: Native = Native::new();
static KILL: Native = Native::new();
static KILLPG: Native = Native::new();
static RAISE_SIGNAL: Native = Native::new();
static PTHREAD_KILL: Native = Native::new();
static PIDFD_SEND_SIGNAL: Native = Native::new();

/// Stands in for all of them. GIL held, before the script starts.
///
/// # Errors
/// When there is no such module. One of the functions may be missing.
pub(in super::super) fn install(py: Python<'_>) -> PyResult<()> {
    let posix = py.import("posix")?;
    let signal = py.import("_signal")?;
    for (native, module, name, ours) in [
        (&EXECV, &posix, "execv", Ours::Fast(execv)),
        (&EXECVE, &posix, "execve", Ours::Keywords(execve)),
        (&KILL, &posix, "kill", Ours::Fast(kill)),
        (&KILLPG, &posix, "killpg", Ours::Fast(killpg)),
        (&RAISE_SIGNAL, &signal, "raise_signal", Ours::One(raise_signal)),
        (&PTHREAD_KILL, &signal, "pthread_kill", Ours::Fast(pthread_kill)),
        (&PIDFD_SEND_SIGNAL, &signal, "pidfd_send_signal", Ours::Fast(pidfd_send_signal)),
    ] {
        if module.hasattr(name)? {
            native.replace(module, name, ours)?;
        }
    }
    Ok(())
}

/// A watchdog for the length of a call.
struct Watched(&'static Session);

impl Watched {
    /// GIL held, which is released while the watchdog gets ready.
    fn start(intent: Intent) -> Option<Self> {
        let session = Session::current()?;
        let limits = &session.plan.limits;
        let has_limits = limits.time.is_some() || limits.cpu.is_some() || limits.memory.is_some();
        let is_wanted = intent == Intent::Stop || !session.is_fork;
        if !has_limits || !is_wanted || session.pid != std::process::id() as i32 {
            return None;
        }
        let environment: Vec<CString> = launch::environment();
        // SAFETY: called by the interpreter, so the GIL is held.
        let py = unsafe { Python::assume_attached() };
        py.detach(|| session.leash.stand_ready(session, intent, environment));
        Some(Self(session))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // SAFETY: as above; the call that was watched has returned with the GIL held.
        let py = unsafe { Python::assume_attached() };
        py.detach(|| self.0.leash.over(self.0));
    }
}

// ---- replacing

/// Nothing of quell's on the terminal for the length of a call.
struct Hidden(Option<&'static Session>);

impl Hidden {
    fn start() -> Self {
        let own = std::process::id() as i32;
        let session = Session::current().filter(|session| session.pid == own);
        if let Some(session) = session {
            session.progress.hide();
        }
        Self(session)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(session) = self.0 {
            session.progress.unhide();
        }
    }
}

/// Makes the call that replaces the script, with all that goes with it.
fn replace(call: impl FnOnce() -> Object) -> Object {
    let (_watched, _hidden) = (Watched::start(Intent::Exec), Hidden::start());
    // SAFETY: called by the interpreter, so the GIL is held, and the call does not release it.
    let _no_kicks = NoKicks::begin(unsafe { Python::assume_attached() });
    call()
}

unsafe extern "C" fn execv(
    module: Object,
    arguments: *mut Object,
    count: ffi::Py_ssize_t,
) -> Object {
    // SAFETY: called by the interpreter, as the original is to be.
    replace(|| unsafe { EXECV.fast(module, arguments, count) })
}

unsafe extern "C" fn execve(
    module: Object,
    arguments: *mut Object,
    count: ffi::Py_ssize_t,
    names: Object,
) -> Object {
    // SAFETY: as above.
    replace(|| unsafe { EXECVE.keywords(module, arguments, count, names) })
}

// ---- stopping

/// Whether a signal with this number would stop this process.
fn would_stop(signal: i64) -> bool {
    let Ok(signal) = c_int::try_from(signal) else { return false };
    if signal == libc::SIGSTOP {
        return true;
    }
    if !matches!(signal, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU) {
        return false;
    }
    // SAFETY: asks only; fills a structure on this stack.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut now) == 0
            && now.sa_sigaction == libc::SIG_DFL
    }
}

/// Whether `kill` with this number means this process among others.
fn is_this_process(pid: i64) -> bool {
    let Ok(pid) = c_int::try_from(pid) else { return false };
    // SAFETY: asks only. The id of any thread of a process means the process; nothing is sent by signal 0.
    unsafe {
        let own = libc::getpid();
        pid == own
            || pid == 0
            || pid == -libc::getpgrp()
            || (pid > 0 && libc::syscall(libc::SYS_tgkill, own, pid, 0) == 0)
    }
}

/// A watchdog if the call would stop this process.
///
/// # Safety
/// GIL held, the arguments of a call.
unsafe fn watch_stop(
    arguments: *mut Object,
    count: ffi::Py_ssize_t,
    is_meant: impl Fn(i64) -> bool,
) -> Option<Watched> {
    // SAFETY: the caller's.
    let (target, signal) =
        unsafe { (integer(arguments, count, 0)?, integer(arguments, count, 1)?) };
    if would_stop(signal) && is_meant(target) { Watched::start(Intent::Stop) } else { None }
}

unsafe extern "C" fn kill(
    module: Object,
    arguments: *mut Object,
    count: ffi::Py_ssize_t,
) -> Object {
    // SAFETY: called by the interpreter, as the original is to be.
    unsafe {
        let _watched = watch_stop(arguments, count, is_this_process);
        KILL.fast(module, arguments, count)
    }
}

unsafe extern "C" fn killpg(
    module: Object,
    arguments: *mut Object,
    count: ffi::Py_ssize_t,
) -> Object {
    // SAFETY: as above.
    unsafe {
        let own = i64::from(libc::getpgrp());
        let _watched = watch_stop(arguments, count, |group| group == own || group == 0);
        KILLPG.fast(module, arguments, count)
    }
}

unsafe extern "C" fn raise_signal(module: Object, argument: Object) -> Object {
    // SAFETY: as above.
    unsafe {
        let mut arguments = [argument];
        let _watched = integer(arguments.as_mut_ptr(), 1, 0)
            .filter(|signal| would_stop(*signal))
            .and_then(|_| Watched::start(Intent::Stop));
        RAISE_SIGNAL.one(module, argument)
    }
}

unsafe extern "C" fn pthread_kill(
    module: Object,
    arguments: *mut Object,
    count: ffi::Py_ssize_t,
) -> Object {
    // SAFETY: as above. The threads it can name are this process's.
    unsafe {
        let _watched = integer(arguments, count, 1)
            .filter(|signal| would_stop(*signal))
            .and_then(|_| Watched::start(Intent::Stop));
        PTHREAD_KILL.fast(module, arguments, count)
    }
}

unsafe extern "C" fn pidfd_send_signal(
    module: Object,
    arguments: *mut Object,
    count: ffi::Py_ssize_t,
) -> Object {
    // SAFETY: as above.
    unsafe {
        let _watched = watch_stop(arguments, count, is_own_pidfd);
        PIDFD_SEND_SIGNAL.fast(module, arguments, count)
    }
}

/// Whether a descriptor stands for this process.
fn is_own_pidfd(fd: i64) -> bool {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
    let own = std::process::id().to_string();
    text.lines().any(|line| line.strip_prefix("Pid:").is_some_and(|pid| pid.trim() == own))
}
