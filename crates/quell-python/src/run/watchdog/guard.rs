//! The watchdog's own process: the states of the [module above](super), and how it ends what it watches.
//!
//! It has nothing of the script's but its standard error, for the report. One thread, which sleeps until the process ends, a
//! message comes or it is time to look.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use super::super::facts::{ChildFacts, Ended, Facts, Outside};
use super::super::ladder::PACE;
use super::super::limits::Reached;
use super::super::process::Handle;
use super::super::procfs::{self, Stat};
use super::super::{FAILURE_STATUS, children, end, meter, report};
use super::launch::SOCKET;
use super::orders::{Orders, Passed, monotonic};
use super::{EXEC, OVER, READY, STOP};

/// How long it waits for the next request: a search along a path makes one for each directory.
const LINGER: Duration = Duration::from_secs(1);
/// An exec that has not failed after so long has not failed.
const SETTLED: Duration = Duration::from_millis(100);
/// Between two looks at processes that have been asked to end.
const LOOK: Duration = Duration::from_millis(20);
/// How long killed processes may take to be gone.
const GONE: Duration = Duration::from_millis(500);

/// See the module above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle { until: Instant },
    Exec { until: Instant },
    Stop,
    Replaced,
}

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
        state: State::Idle { until: now + LINGER },
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
        let now = Instant::now();
        match self.state {
            State::Idle { until } if now >= until => match self.is_stopped() {
                true => self.state = State::Stop,
                false => leave(0),
            },
            State::Exec { until } if now >= until => self.state = State::Replaced,
            State::Replaced => {
                self.look(now);
                if let Some((reached, end)) = self.passed {
                    self.end_program(reached, end);
                }
            }
            State::Stop => self.keep_going(now),
            State::Idle { .. } | State::Exec { .. } => {}
        }
        let until = match self.state {
            State::Idle { until } | State::Exec { until } => until,
            State::Stop if self.passed.is_some() => now + PACE,
            State::Stop | State::Replaced => self.next_look,
        };
        self.wait(until);
    }

    /// Until a message comes or the time is over; does not return if the process ends.
    fn wait(&mut self, until: Instant) {
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
        if polled[1].revents != 0 {
            self.receive();
        }
    }

    fn receive(&mut self) {
        let Some(socket) = &self.socket else { return };
        let mut buffer = [0_u8; 256];
        // SAFETY: the buffer is on this stack.
        let received =
            unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        let Ok(length @ 1..) = usize::try_from(received) else { return self.is_alone() };
        let mut parts = buffer[..length].splitn(2, |byte| *byte == b' ');
        let word = parts.next().unwrap_or_default();
        let passed =
            parts.next().and_then(|rest| Passed::from_text(std::str::from_utf8(rest).ok()?));
        if let Some(Passed { reached, end }) = passed {
            self.passed = Some((reached, moment(end)));
        }
        let now = Instant::now();
        match word {
            EXEC => self.state = State::Exec { until: now + SETTLED },
            STOP => self.state = State::Stop,
            OVER => self.state = State::Idle { until: now + LINGER },
            _ => {}
        }
        self.next_look = now;
        if word != OVER {
            self.say_ready();
        }
    }

    /// The other end is closed.
    fn is_alone(&mut self) {
        self.socket = None;
        match self.state {
            State::Idle { .. } => leave(0),
            State::Exec { .. } => self.state = State::Replaced,
            State::Stop | State::Replaced => {}
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

    fn is_stopped(&self) -> bool {
        procfs::stat(self.orders.pid).is_some_and(|stat| stat.is_stopped())
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
        if self.passed.is_none() && self.is_stopped() {
            self.look(now);
        } else if self.passed.is_none() {
            self.next_look = self.next_look.max(now + PACE);
        }
        let Some((reached, end)) = self.passed else { return };
        if now >= end + end::LEAVING {
            self.end_all(reached, end, Outside::Stopped);
        }
        if self.is_stopped() {
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
        }
        facts.elapsed = self.started.elapsed();
        if !self.orders.is_fork {
            report::write_as(&self.orders.plan, &facts);
        }
        leave(0)
    }
}

/// A process and all that was ever seen below it. What loses its parent on the way is not lost to this.
struct Tree {
    known: HashMap<i32, (u64, Option<Handle>)>,
    /// The process itself comes first.
    found: Vec<ChildFacts>,
    root_ended: Option<Instant>,
    /// Why the process itself took no signal.
    refused: Option<std::io::Error>,
}

impl Tree {
    fn new(root: Stat) -> Self {
        let mut tree =
            Self { known: HashMap::new(), found: Vec::new(), root_ended: None, refused: None };
        tree.note(&root);
        tree
    }

    /// Takes it up if it is new.
    fn note(&mut self, stat: &Stat) {
        if self.known.get(&stat.pid).is_some_and(|(started, _)| *started == stat.started)
            || children::is_resource_tracker(stat.pid)
        {
            return;
        }
        if let Some(handle) = Handle::open(stat) {
            self.known.insert(stat.pid, (stat.started, Some(handle)));
            let (pid, name) = (stat.pid, stat.name.clone());
            self.found.push(ChildFacts { pid, name, ..ChildFacts::default() });
        }
    }

    /// Asks all to end, once more after half of the time, and kills what is left at the end of it. What runs the script's
    /// own program, and so may be a fork of it that unwinds at its limit, is asked only then.
    fn end(&mut self, since: Instant, end: Instant) {
        let half = since + end.saturating_duration_since(since) / 2;
        let mut asked_again = false;
        loop {
            self.forget_the_ended();
            let pids: Vec<i32> = self.alive().map(|(pid, _)| pid).collect();
            for stat in procfs::below(&pids, false) {
                self.note(&stat);
            }
            let now = Instant::now();
            if self.alive().next().is_none() || now >= end + GONE {
                return;
            }
            if now >= end {
                self.kill();
            } else {
                let is_late = now >= half;
                let again = is_late && !std::mem::replace(&mut asked_again, true);
                self.ask(again, is_late);
            }
            let next = if now < half { half } else { end };
            let pause = next.saturating_duration_since(now).clamp(Duration::from_millis(2), LOOK);
            Handle::wait_for_any(self.alive().map(|(_, handle)| handle), pause);
        }
    }

    fn alive(&self) -> impl Iterator<Item = (i32, &Handle)> {
        self.known.iter().filter_map(|(pid, (_, handle))| Some((*pid, handle.as_ref()?)))
    }

    fn forget_the_ended(&mut self) {
        let root = self.found.first().map(|root| root.pid);
        for (pid, (_, handle)) in &mut self.known {
            if handle.as_ref().is_some_and(Handle::has_ended) {
                *handle = None;
                if Some(*pid) == root {
                    self.root_ended = Some(Instant::now());
                }
            }
        }
    }

    /// SIGTERM for those that have not had it, or for all `again`; and they are to take it also if they are stopped.
    fn ask(&mut self, again: bool, is_late: bool) {
        let own = procfs::program(std::process::id() as i32);
        for (index, child) in self.found.iter_mut().enumerate() {
            let Some((_, Some(handle))) = self.known.get(&child.pid) else { continue };
            let is_due = index == 0 || is_late || procfs::program(child.pid) != own;
            if again || (is_due && !child.asked) {
                child.asked = true;
                let sent = handle.signal(libc::SIGTERM).and_then(|()| handle.signal(libc::SIGCONT));
                if index == 0 {
                    self.refused = sent.err().filter(|e| e.raw_os_error() == Some(libc::EPERM));
                }
            }
        }
    }

    fn kill(&mut self) {
        for child in &mut self.found {
            let Some((_, Some(handle))) = self.known.get(&child.pid) else { continue };
            child.killed = true;
            let _ = handle.signal(libc::SIGKILL);
        }
    }
}

fn leave(status: i32) -> ! {
    // SAFETY: ends the process; nothing in it needs to be told.
    unsafe { libc::_exit(status) }
}
