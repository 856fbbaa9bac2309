//! The script's side: a thread that starts the watchdog and speaks to it for whoever is about to exec or to stop.
//!
//! The thread is there because a thread can have its own table of descriptors, in which nobody meddles; see the
//! [module above](super). It starts with the first request and lives as long as the session's other threads. One request
//! is made at a time.

use std::ffi::CString;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::bell::Bell;
use super::super::children::NoOrphans;
use super::super::session::Session;
use super::super::{meter, output};
use super::orders::{Orders, Passed, on_the_clock};
use super::{EXEC, LEASH, OVER, READY, STOP, launch};

/// How long a watchdog has to start and to answer, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the script is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    Exec,
    Stop,
}

/// Part of the session.
#[derive(Debug, Default)]
pub(in super::super) struct Leash {
    /// One at a time.
    turn: Mutex<()>,
    desk: Mutex<Desk>,
    /// For the thread.
    pub(in super::super) bell: Bell,
    /// For whoever has asked.
    answered: Bell,
}

/// What lies between the thread and who asks it.
#[derive(Debug, Default)]
struct Desk {
    is_staffed: bool,
    request: Option<Request>,
    answer: Option<bool>,
    has_complained: bool,
}

#[derive(Debug)]
enum Request {
    Stand { intent: Intent, environment: Vec<CString> },
    Over,
}

impl Leash {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when a watchdog stands ready for what the script is about to do, or cannot be had, which is said on standard
    /// error. Blocks without the GIL, which the caller must not hold.
    pub(super) fn stand_ready(
        &self,
        session: &'static Session,
        intent: Intent,
        environment: Vec<CString>,
    ) {
        let request = Request::Stand { intent, environment };
        if self.ask(session, request, PATIENCE) {
            return;
        }
        if !std::mem::replace(&mut self.desk().has_complained, true) && !session.plan.quiet {
            let text = match intent {
                Intent::Exec => "if the script replaces itself by another program",
                Intent::Stop => "while the script is stopped",
            };
            let text =
                format!("quell: no process for the watchdog: the limits do not hold {text}\n");
            output::to_stderr(text.as_bytes(), Duration::from_millis(10));
        }
    }

    /// The script is still there, and goes on.
    pub(super) fn over(&self, session: &'static Session) {
        self.ask(session, Request::Over, PATIENCE);
    }

    /// Has the thread do it; false if it did not work.
    fn ask(&self, session: &'static Session, request: Request, patience: Duration) -> bool {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut desk = self.desk();
            if !desk.is_staffed {
                if matches!(request, Request::Over) {
                    return true;
                }
                desk.is_staffed = session.crew.start(LEASH, move || body(session)).is_ok();
            }
            if !desk.is_staffed {
                return false;
            }
            desk.answer = None;
            desk.request = Some(request);
        }
        self.bell.ring();
        let until = Instant::now() + patience;
        loop {
            let ticket = self.answered.ticket();
            let mut desk = self.desk();
            if let Some(answer) = desk.answer.take() {
                return answer;
            }
            if Instant::now() >= until {
                desk.request = None;
                return false;
            }
            drop(desk);
            self.answered.wait(ticket, Some(until));
        }
    }
}

/// The body of the thread.
fn body(session: &'static Session) {
    meter::have_own_descriptors(true);
    let leash = &session.leash;
    let mut socket = None;
    loop {
        let ticket = leash.bell.ticket();
        if session.is_stopping() {
            leash.desk().is_staffed = false;
            return;
        }
        let Some(request) = leash.desk().request.take() else {
            leash.bell.wait(ticket, None);
            continue;
        };
        let done = match &request {
            Request::Stand { intent, environment } => {
                stand(session, &mut socket, *intent, environment).is_ok()
            }
            Request::Over => socket.as_ref().is_none_or(|socket| send(socket, OVER).is_ok()),
        };
        leash.desk().answer = Some(done);
        leash.answered.ring();
    }
}

/// Tells the watchdog, after starting one if there is none, and waits for its word.
fn stand(
    session: &Session,
    socket: &mut Option<OwnedFd>,
    intent: Intent,
    environment: &[CString],
) -> Result<()> {
    let mut message = match intent {
        Intent::Exec => EXEC.to_vec(),
        Intent::Stop => STOP.to_vec(),
    };
    if let Some(fired) = session.fired() {
        let passed = Passed { reached: fired.reached, end: on_the_clock(fired.end) };
        message.extend_from_slice(format!(" {}", passed.to_text()).as_bytes());
    }
    let until = Instant::now() + PATIENCE;
    // One that has waited for long enough has left.
    if let Some(standing) = socket.as_ref()
        && send(standing, &message).and_then(|()| await_ready(standing, until)).is_ok()
    {
        return Ok(());
    }
    *socket = None;
    let (ours, its) = pair()?;
    // The watchdog is nobody's child, whether or not a limit is reached just now.
    let no_orphans = NoOrphans::begin();
    let launched = launch::launch(Orders::of(session).to_words(), environment, &its);
    drop((no_orphans, its));
    let_hold(launched?);
    await_ready(&ours, until)?;
    send(&ours, &message)?;
    await_ready(&ours, until)?;
    *socket = Some(ours);
    Ok(())
}

/// Lets the watchdog hold this process, where the security module Yama lets nobody but its ancestors. What the process becomes
/// inherits the permission.
fn let_hold(watchdog: i32) {
    let scope = std::fs::read("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    if scope.starts_with(b"1") {
        // SAFETY: sets an attribute of this process.
        unsafe { libc::prctl(libc::PR_SET_PTRACER, watchdog) };
    }
}

/// Two sockets that keep the bounds of messages, and tell when the other one is closed.
fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: two new descriptors, owned by the results.
    unsafe {
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        if libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) != 0 {
            return Err(Error::last_os_error());
        }
        Ok((OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])))
    }
}

fn send(socket: &OwnedFd, message: &[u8]) -> Result<()> {
    // SAFETY: the bytes live until the call returns; no signal if the other end is closed.
    let sent = unsafe {
        let flags = libc::MSG_NOSIGNAL;
        libc::send(socket.as_raw_fd(), message.as_ptr().cast(), message.len(), flags)
    };
    if sent == message.len() as isize { Ok(()) } else { Err(Error::last_os_error()) }
}

/// Waits for the watchdog's word.
fn await_ready(socket: &OwnedFd, until: Instant) -> Result<()> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let mut polled = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let mut buffer = [0_u8; 16];
        // SAFETY: one entry and one buffer, on this stack.
        let received = unsafe {
            if libc::poll(&raw mut polled, 1, left.as_millis() as libc::c_int) == 0 {
                return Err(ErrorKind::TimedOut.into());
            }
            libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0)
        };
        match usize::try_from(received) {
            Ok(length) if &buffer[..length] == READY => return Ok(()),
            Err(_) if Error::last_os_error().kind() == ErrorKind::Interrupted => {}
            // Closed, or what no watchdog says.
            _ => return Err(ErrorKind::BrokenPipe.into()),
        }
    }
}
