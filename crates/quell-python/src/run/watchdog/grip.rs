//! The hold on a process that is to end with a status of the watchdog's choice.
//!
//! A process's exit status is told to its parent by the kernel alone, so the process itself has to end with the status 124. The
//! watchdog attaches to it as a debugger does (`ptrace`), when a limit has been reached and not before. From then on
//! every thread of it stops at each system call and before each signal, and is let go on:
//!
//! | the thread stops | what is done |
//! | --- | --- |
//! | before `exit` or `exit_group` | the status becomes 124: it has ended because of the limit, whatever it makes of that |
//! | before a signal that has the default action, which is to end the process | it calls `exit_group(124)` instead |
//! | before any other signal | it gets it: handlers run; a crash (SIGSEGV, SIGABRT) stays one, with its core |
//! | because the process is stopped (SIGSTOP) | it stays stopped, until SIGCONT |
//! | anywhere, once the end is forced | it calls `exit_group(124)` |
//!
//! A thread is made to call by setting its registers: at the entry of a system call it makes that one instead; elsewhere
//! it goes on at an instruction of the kernel's own code in every process (vdso). No memory of the program is written to.
//!
//! Only threads of the process are held, new ones too, and none of its children. Nothing is kept about a thread but whether it has
//! stopped once; what kind of stop it is, the kernel is asked each time. If a thread cannot be made to call (a program of 32
//! bits), it gets the signal. A process that cannot be held at all (it is held by a debugger already, runs as another user, or the
//! system forbids it) is for the caller to end by signals. If the watchdog ends, the kernel lets the process go.

use std::collections::HashSet;
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use super::super::process::Handle;
use super::registers::{self, ptrace};
use crate::procfs;

// The library has them in types that differ.
const PTRACE_CONT: u32 = 7;
const PTRACE_DETACH: u32 = 17;
const PTRACE_SYSCALL: u32 = 24;
const PTRACE_SEIZE: u32 = 0x4206;
const PTRACE_INTERRUPT: u32 = 0x4207;
const PTRACE_LISTEN: u32 = 0x4208;
const PTRACE_O_TRACESYSGOOD: usize = 1;
const PTRACE_O_TRACECLONE: usize = 1 << 3;
/// The event of a stop that was asked for, or of the whole process.
const EVENT_STOP: i32 = 128;
/// Marks the stop at a system call.
const SYSCALL_STOP: i32 = libc::SIGTRAP | 0x80;

/// See the module. One per process: it takes every SIGCHLD and every child's end.
pub(super) struct Grip {
    pid: i32,
    status: i32,
    /// Readable when a thread has stopped or ended.
    stops: OwnedFd,
    held: HashSet<i32>,
    /// Those that have not stopped yet, and may still do what nobody has seen.
    loose: HashSet<i32>,
    is_forced: bool,
    ended_with: Option<i32>,
    unable: Option<Error>,
}

impl Grip {
    /// Takes hold of all threads of a process, to end it with `status`. They have stopped once when
    /// [`is_firm`](Self::is_firm) says so.
    ///
    /// # Errors
    /// When it cannot be held; then nothing has happened to it.
    pub(super) fn take(pid: i32, process: &Handle, status: i32) -> Result<Self> {
        let stops = stops()?;
        let (held, loose) = (HashSet::new(), HashSet::new());
        let mut grip = Self {
            pid,
            status,
            stops,
            held,
            loose,
            is_forced: false,
            ended_with: None,
            unable: None,
        };
        grip.seize(process)?;
        Ok(grip)
    }

    /// Again until no new thread is found: those that are held cannot make any unseen, the others can.
    fn seize(&mut self, process: &Handle) -> Result<()> {
        let mut refused = None;
        loop {
            let before = self.held.len();
            for tid in procfs::threads(self.pid) {
                if self.held.contains(&tid) {
                    continue;
                }
                let options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE;
                // SAFETY: no address is passed.
                match unsafe { ptrace(PTRACE_SEIZE, tid, 0, options) } {
                    Ok(_) if process.has_ended() => {
                        // Of another process, which has its number now: it notices nothing.
                        return Err(Error::from_raw_os_error(libc::ESRCH));
                    }
                    Ok(_) => {
                        self.held.insert(tid);
                        self.loose.insert(tid);
                        interrupt(tid);
                    }
                    // It has ended, or is held since the thread was that made it.
                    Err(error) => refused = Some(error),
                }
            }
            if self.held.len() == before {
                break;
            }
        }
        match refused {
            Some(error) if self.held.is_empty() => Err(error),
            _ => Ok(()),
        }
    }

    /// Becomes readable when there is something to [`attend`](Self::attend) to.
    pub(super) fn as_raw_fd(&self) -> RawFd {
        self.stops.as_raw_fd()
    }

    /// Whether every thread has stopped once, so that nothing it does will be missed.
    pub(super) fn is_firm(&self) -> bool {
        self.loose.is_empty()
    }

    /// Asks the process to end: SIGTERM, to the thread that would take it if none was held. Left to itself the kernel passes over
    /// one that happens to be stopped, and a thread that should notice the signal would sleep on.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub(super) fn ask(&mut self, process: &Handle) -> Result<()> {
        let (pid, signal) = (self.pid, libc::SIGTERM);
        if !self.held.contains(&pid) && is_fatal(pid, signal) {
            // Its first thread has ended and is not held. For such a process the kernel carries out a default action at once,
            // without a stop before.
            self.force();
            return Ok(());
        }
        let blocked = procfs::signals(pid, &["SigBlk:"]).unwrap_or(u64::MAX);
        if !self.held.contains(&pid) || blocked >> (signal - 1) & 1 != 0 {
            return process.signal(signal);
        }
        // SAFETY: sends a signal; the thread cannot have gone as long as it is held.
        match unsafe { libc::syscall(libc::SYS_tgkill, pid, pid, signal) } {
            0 => Ok(()),
            _ => Err(Error::last_os_error()),
        }
    }

    /// With what status the process has ended, as a shell would say it.
    pub(super) fn ended_with(&self) -> Option<i32> {
        self.ended_with
    }

    /// Why the process could not be made to end with the status, if that was tried.
    pub(super) fn unable(self) -> Option<Error> {
        self.unable.filter(|_| self.ended_with != Some(self.status))
    }

    /// Has the first thread that can be had end the process. To be repeated until it has ended.
    pub(super) fn force(&mut self) {
        self.is_forced = true;
        procfs::threads(self.pid).into_iter().for_each(interrupt);
    }

    /// Sees to all threads that have stopped or ended; false if there was none.
    pub(super) fn attend(&mut self) -> bool {
        let mut taken = [0_u8; 4096];
        let mut any = false;
        loop {
            let mut status = 0;
            // SAFETY: the buffer and the status are on this stack; neither call waits.
            let tid = unsafe {
                libc::read(self.stops.as_raw_fd(), taken.as_mut_ptr().cast(), taken.len());
                libc::waitpid(-1, &raw mut status, libc::__WALL | libc::WNOHANG)
            };
            if tid <= 0 {
                return any;
            }
            any = true;
            self.loose.remove(&tid);
            if libc::WIFSTOPPED(status) {
                self.stopped(tid, libc::WSTOPSIG(status), status >> 16);
            } else {
                // Of the last of them in the end, which is the process's.
                self.ended_with = Some(match libc::WIFSIGNALED(status) {
                    true => 128 + libc::WTERMSIG(status),
                    false => libc::WEXITSTATUS(status),
                });
            }
        }
    }

    /// Lets a thread go on.
    fn stopped(&mut self, tid: i32, signal: i32, event: i32) {
        if self.held.insert(tid) && !Path::new(&format!("/proc/{}/task/{tid}", self.pid)).exists() {
            // Made as a thread is, but a process of its own.
            return resume(PTRACE_DETACH, tid, 0);
        }
        let call = if signal == SYSCALL_STOP { registers::entered_call(tid) } else { None };
        let is_signal = event == 0 && signal != SYSCALL_STOP;
        let is_fatal = || is_signal && is_fatal(tid, signal);
        if call.is_some_and(registers::ends) {
            let _ = registers::change_status(tid, self.status as u64);
        } else if self.is_forced || is_fatal() {
            match registers::make_it_exit(tid, call.is_some(), self.status as u64) {
                Ok(()) => return resume(PTRACE_CONT, tid, 0),
                Err(error) => self.unable = Some(error),
            }
        }
        match is_signal {
            true => resume(PTRACE_SYSCALL, tid, signal),
            // The process is stopped; to let a thread of it run would be to continue it.
            false if event == EVENT_STOP && signal != libc::SIGTRAP => {
                resume(PTRACE_LISTEN, tid, 0)
            }
            false => resume(PTRACE_SYSCALL, tid, 0),
        }
    }
}

/// Whether a signal to this thread would end its process now, by its default action and without a core.
fn is_fatal(tid: i32, signal: i32) -> bool {
    let ends = match signal {
        libc::SIGHUP | libc::SIGINT | libc::SIGUSR1 | libc::SIGUSR2 => true,
        libc::SIGPIPE | libc::SIGALRM | libc::SIGTERM | libc::SIGSTKFLT => true,
        libc::SIGVTALRM | libc::SIGPROF | libc::SIGIO | libc::SIGPWR => true,
        // The real-time signals.
        _ => signal >= 32,
    };
    ends && procfs::signals(tid, &["SigCgt:", "SigIgn:"])
        .is_some_and(|handled| handled >> (signal - 1) & 1 == 0)
}

/// All SIGCHLD of this process from now on.
fn stops() -> Result<OwnedFd> {
    // SAFETY: the set is on this stack, the mask this thread's own; a new descriptor, owned by the result.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        // Were it ignored, the kernel would say nothing.
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        match libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            fd if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
            _ => Err(Error::last_os_error()),
        }
    }
}

/// Has a thread stop soon. One that has ended, or is not held, does not mind.
fn interrupt(tid: i32) {
    // SAFETY: no address is passed.
    let _ = unsafe { ptrace(PTRACE_INTERRUPT, tid, 0, 0) };
}

/// Lets a stopped thread go on. One that was killed meanwhile has ended.
fn resume(request: u32, tid: i32, signal: i32) {
    // SAFETY: no address is passed.
    let _ = unsafe { ptrace(request, tid, 0, signal as usize) };
}
