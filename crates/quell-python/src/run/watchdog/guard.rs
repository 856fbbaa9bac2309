//! The watchdog's own process: the states of the [module above](super), and how it ends what it watches.
//!
//! It has nothing of the script's but its standard error, for the report. One thread, which sleeps until the process ends, a
//! message comes or it is time to look.

use std::io::{Error, ErrorKind};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use super::super::end::{LEAVING, LIMIT_STATUS};
use super::super::facts::{Ended, Facts, Outside};
use super::super::ladder::PACE;
use super::super::limits::Reached;
use super::super::process::Handle;
use super::super::{FAILURE_STATUS, meter, report};
use super::grip::Grip;
use super::launch::SOCKET;
use super::orders::{Orders, Passed, monotonic};
use super::states::{Event, Process, State};
use super::tree::Tree;
use super::{EXEC, LEASH, READY, STOP};
use crate::procfs;

struct Guard<'a> {
    orders: &'a Orders,
    process: Handle,
    /// None once the other end is closed.
    socket: Option<OwnedFd>,
    started: Instant,
    state: State,
    /// The limit, and when the process ends at the latest.
    passed: Option<(Reached, Instant)>,
    /// When to look at what the process uses.
    next_look: Instant,
}

fn is_stopped(pid: i32) -> bool {
    procfs::stat(pid).is_some_and(|stat| stat.is_stopped())
}

fn look_at(pid: i32) -> Process {
    if !procfs::has_thread(pid, LEASH) {
        Process::Replaced
    } else if is_stopped(pid) {
        Process::Stopped
    } else {
        Process::Running
    }
}

/// A time on the monotonic clock as a moment of this process.
fn moment(time: Duration) -> Instant {
    let (now, clock) = (Instant::now(), monotonic());
    match time.checked_sub(clock) {
        Some(ahead) => now + ahead,
        None => now.checked_sub(clock - time).unwrap_or(now),
    }
}

/// Watches until the process has ended, or nobody needs it any more.
pub(super) fn watch(orders: &Orders) -> ! {
    // SAFETY: changes the mask, the directory and the name of this process; the descriptor is the one it was started with.
    let socket = unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        libc::chdir(c"/".as_ptr());
        libc::prctl(libc::PR_SET_NAME, c"quell-watchdog".as_ptr());
        if libc::fcntl(SOCKET, libc::F_SETFD, libc::FD_CLOEXEC) != 0 {
            leave(FAILURE_STATUS);
        }
        OwnedFd::from_raw_fd(SOCKET)
    };
    // The process waits for the first word, so it is the one that was meant.
    let Ok(process) = Handle::of(orders.pid) else { leave(FAILURE_STATUS) };
    let now = Instant::now();
    let mut guard = Guard {
        orders,
        process,
        socket: Some(socket),
        started: moment(orders.started),
        state: State::first(now),
        passed: None,
        next_look: now,
    };
    guard.say_ready();
    loop {
        guard.step();
    }
}

impl Guard<'_> {
    fn step(&mut self) {
        loop {
            let event = self.receive();
            let (now, pid) = (Instant::now(), self.orders.pid);
            match self.state.after(event, now, || look_at(pid)) {
                Some(state) => self.state = state,
                None => leave(0),
            }
            match event {
                Event::Nothing => break,
                Event::Exec | Event::Stop => self.say_ready(),
                Event::Over | Event::Closed => {}
            }
            self.next_look = now;
        }
        let now = Instant::now();
        match self.state {
            State::Replaced => {
                self.look(now);
                if let Some((reached, end)) = self.passed {
                    self.end_program(reached, end);
                }
            }
            State::Stop => self.keep_going(now),
            State::Idle { .. } | State::Exec { .. } => {}
        }
        self.wait(match self.state {
            State::Idle { until } | State::Exec { until } => until,
            State::Stop if self.passed.is_some() => now + PACE,
            State::Stop | State::Replaced => self.next_look,
        });
    }

    /// Until a message has come or the time is over; does not return if the process ends.
    fn wait(&self, until: Instant) {
        let socket = self.socket.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut polled = [entry(self.process.as_raw_fd()), entry(socket)];
        let left = until.saturating_duration_since(Instant::now());
        let left = left.min(Duration::from_secs(3600)).as_micros().div_ceil(1_000);
        // SAFETY: two entries, on this stack; a negative descriptor is passed over.
        unsafe { libc::poll(polled.as_mut_ptr(), 2, left as libc::c_int) };
        if polled[0].revents != 0 {
            leave(0);
        }
    }

    /// The next message, if one has come.
    fn receive(&mut self) -> Event {
        let Some(socket) = &self.socket else { return Event::Nothing };
        let mut buffer = [0_u8; 256];
        // SAFETY: the buffer is on this stack.
        let received = unsafe {
            let flags = libc::MSG_DONTWAIT;
            libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), flags)
        };
        let length = match usize::try_from(received) {
            Err(_) if Error::last_os_error().kind() == ErrorKind::WouldBlock => {
                return Event::Nothing;
            }
            Ok(length @ 1..) => length,
            Ok(_) | Err(_) => {
                self.socket = None;
                return Event::Closed;
            }
        };
        let mut parts = buffer[..length].splitn(2, |byte| *byte == b' ');
        let word = parts.next().unwrap_or_default();
        let passed =
            parts.next().and_then(|rest| Passed::from_text(std::str::from_utf8(rest).ok()?));
        if let Some(Passed { reached, end }) = passed {
            self.passed = Some((reached, moment(end)));
        }
        match word {
            EXEC => Event::Exec,
            STOP => Event::Stop,
            // No leash says anything else.
            _ => Event::Over,
        }
    }

    fn say_ready(&self) {
        if let Some(socket) = &self.socket {
            // SAFETY: a static string. Nobody listens to it if the process has ended.
            unsafe {
                let flags = libc::MSG_NOSIGNAL;
                libc::send(socket.as_raw_fd(), READY.as_ptr().cast(), READY.len(), flags);
            }
        }
    }

    /// Looks whether a limit has been reached, and when to look again.
    fn look(&mut self, now: Instant) {
        let plan = &self.orders.plan;
        let limits = &plan.limits;
        if self.passed.is_some() || now < self.next_look {
            return;
        }
        self.next_look = now + Duration::from_secs(3600);
        if let Some(limit) = limits.time {
            let at = self.started.checked_add(limit).unwrap_or(self.next_look);
            if now >= at {
                let reached = Reached::Time { limit, used: now - self.started };
                self.passed = Some((reached, at + plan.grace));
                return;
            }
            self.next_look = self.next_look.min(at);
        }
        if limits.cpu.is_some() || limits.memory.is_some() {
            let readings = meter::of_tree(self.orders.pid, limits);
            self.passed = readings.reached(limits).map(|reached| (reached, now + plan.grace));
            self.next_look = self.next_look.min(now + meter::pause(&readings, limits));
        }
    }

    /// A process that stops itself: continues it at a limit, for what is inside it to do the rest. Kills it if that has not
    /// been enough.
    fn keep_going(&mut self, now: Instant) {
        // While it runs it looks after itself.
        if self.passed.is_none() && is_stopped(self.orders.pid) {
            self.look(now);
        } else if self.passed.is_none() {
            self.next_look = self.next_look.max(now + PACE);
        }
        let Some((reached, end)) = self.passed else { return };
        if now >= end + LEAVING {
            self.end_all(reached, end, Outside::Stopped);
        }
        if is_stopped(self.orders.pid) {
            let _ = self.process.signal(libc::SIGCONT);
        }
    }

    /// The script is another program now, and a limit has been reached.
    fn end_program(&self, reached: Reached, end: Instant) -> ! {
        let program = procfs::program(self.orders.pid).map(|path| path.display().to_string());
        let name = procfs::stat(self.orders.pid).map(|stat| stat.name);
        let program = program.or(name).unwrap_or_else(|| "another program".to_owned());
        self.end_all(reached, end, Outside::Replaced(program))
    }

    /// Ends the process and all below it, reports, and ends itself.
    fn end_all(&self, reached: Reached, end: Instant, outside: Outside) -> ! {
        let since = Instant::now();
        let mut facts = Facts {
            reached: Some(reached),
            outside: Some(outside),
            ended: Ended::Terminated,
            ..Facts::default()
        };
        if let Some(stat) = procfs::stat(self.orders.pid) {
            let mut tree = Tree::new(stat);
            tree.end(since, end);
            let root = tree.found.remove(0);
            if root.killed {
                facts.ended = Ended::Killed;
            }
            facts.unwinding = tree.root_ended.map(|at| at - since);
            facts.children = tree.found;
            facts.notes.extend(tree.refused.map(|error| format!("it could not be ended: {error}")));
            facts.status = tree.grip.as_ref().ok().and_then(Grip::ended_with);
            let unheld = tree.grip.map_or_else(Some, Grip::unable);
            facts.notes.extend(unheld.map(|error| {
                format!(
                    "its exit status is not {LIMIT_STATUS}, because it could not be held: {error}"
                )
            }));
        }
        facts.elapsed = self.started.elapsed();
        if !self.orders.is_fork {
            report::write_as(&self.orders.plan, &facts);
        }
        leave(0)
    }
}

fn leave(status: i32) -> ! {
    // SAFETY: ends the process; nothing in it needs to be told.
    unsafe { libc::_exit(status) }
}
