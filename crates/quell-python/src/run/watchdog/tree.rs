//! Ending a process and all that is below it, from outside.
//!
//! All are asked to end (SIGTERM), and killed at the end of the grace. The process itself is held meanwhile, if that is
//! possible, so that its status is that of a limit (see [`grip`](super::grip)).

use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use super::super::children;
use super::super::end::LIMIT_STATUS;
use super::super::facts::ChildFacts;
use super::super::process::Handle;
use super::grip::Grip;
use crate::procfs::{self, Stat};

/// Between two looks at processes that have been asked to end.
const LOOK: Duration = Duration::from_millis(20);
/// How long killed processes may take to be gone.
const GONE: Duration = Duration::from_millis(500);
/// How long the threads of the process may take to be held, and at its end to end it, before it is ended without.
const PATIENCE: Duration = Duration::from_millis(250);

/// A process and all that was ever seen below it. What loses its parent on the way is not lost to this.
pub(super) struct Tree {
    known: HashMap<i32, (u64, Option<Handle>)>,
    /// The process itself comes first.
    pub(super) found: Vec<ChildFacts>,
    pub(super) root_ended: Option<Instant>,
    /// Why the process itself took no signal.
    pub(super) refused: Option<std::io::Error>,
    /// The hold on the process itself, or why there is none.
    pub(super) grip: std::io::Result<Grip>,
}

impl Tree {
    pub(super) fn new(root: Stat) -> Self {
        let mut tree = Self {
            known: HashMap::new(),
            found: Vec::new(),
            root_ended: None,
            refused: None,
            grip: Err(std::io::ErrorKind::NotFound.into()),
        };
        tree.note(&root);
        if let Some((_, Some(handle))) = tree.known.get(&root.pid) {
            tree.grip = Grip::take(root.pid, handle, LIMIT_STATUS);
        }
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
    pub(super) fn end(&mut self, since: Instant, end: Instant) {
        self.hold_firmly(end);
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
                self.kill(now >= end + PATIENCE);
            } else {
                let is_late = now >= half;
                let again = is_late && !std::mem::replace(&mut asked_again, true);
                self.ask(again, is_late);
            }
            let next = if now < half { half } else { end };
            let pause = next.saturating_duration_since(now).clamp(Duration::from_millis(2), LOOK);
            self.wait(now + pause, |_| false);
        }
    }

    /// Before the process is asked to end, all that it does must be seen. A thread in uninterruptible sleep is not waited for.
    fn hold_firmly(&mut self, end: Instant) {
        let until = end.min(Instant::now() + PATIENCE);
        self.wait(until, |tree| !matches!(&tree.grip, Ok(grip) if !grip.is_firm()));
    }

    /// Sees to the threads that are held, until one of the processes has ended, it is `done`, or the time is over.
    fn wait(&mut self, until: Instant, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let held = self.grip.as_ref().map(Grip::as_raw_fd);
            let fds = self.alive().map(|(_, handle)| handle.as_raw_fd()).chain(held);
            let left = until.saturating_duration_since(Instant::now());
            Handle::wait_for_any(fds, left);
            let attended = self.grip.as_mut().is_ok_and(Grip::attend);
            if !attended || left.is_zero() {
                return;
            }
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
                let sent = match &mut self.grip {
                    Ok(grip) if index == 0 => grip.ask(handle),
                    _ => handle.signal(libc::SIGTERM),
                };
                let sent = sent.and_then(|()| handle.signal(libc::SIGCONT));
                if index == 0 {
                    self.refused = sent.err().filter(|e| e.raw_os_error() == Some(libc::EPERM));
                }
            }
        }
    }

    /// The process itself is made to end where it is held, unless that `has_failed`.
    fn kill(&mut self, has_failed: bool) {
        for (index, child) in self.found.iter_mut().enumerate() {
            let Some((_, Some(handle))) = self.known.get(&child.pid) else { continue };
            child.killed = true;
            match &mut self.grip {
                Ok(grip) if index == 0 && !has_failed => grip.force(),
                _ => drop(handle.signal(libc::SIGKILL)),
            }
        }
    }
}
