//! The progress line: time against the limit, processor time, memory, threads. Shown on a terminal, in place.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::output;
use super::session::Session;
use super::units::{show_duration, show_size};

const EVERY: Duration = Duration::from_millis(200);

/// A terminal that takes nothing, as after Ctrl-S, must not keep anybody from the time.
const PATIENCE: Duration = Duration::from_millis(2);

/// The line on the terminal; part of the session. Drawn by the monitor, hidden by whoever ends the process or the script.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<Line>);

#[derive(Debug, Default)]
struct Line {
    /// When it is drawn the next time; never if it is not to be shown at all.
    due: Option<Instant>,
    shown: bool,
    hidden: bool,
}

impl Line {
    fn erase(&mut self) {
        if std::mem::take(&mut self.shown) {
            output::to_stderr(b"\r\x1b[K", PATIENCE);
        }
    }
}

impl Progress {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks whether it is wanted, and there is a terminal.
    pub(super) fn prepare(&self, session: &Session) {
        // SAFETY: asks only.
        let terminal = || unsafe { libc::isatty(libc::STDERR_FILENO) } == 1;
        if session.plan.progress && !session.is_fork && terminal() {
            self.line().due = Some(session.started + EVERY);
        }
    }

    /// Shows the figures if it is time to, and says when it will be again.
    pub(super) fn show(&self, session: &Session, now: Instant) -> Option<Instant> {
        let mut it = self.line();
        let due = it.due?;
        if now < due {
            return Some(due);
        }
        if !it.hidden && session.readings.are_complete() {
            // In one write, so that a line of the script is not cut; back to the first column, rest of the line erased.
            let text = format!("\r{}\x1b[K\r", line(session, now));
            output::to_stderr(text.as_bytes(), PATIENCE);
            it.shown = true;
        }
        let next = now + EVERY;
        it.due = Some(next);
        Some(next)
    }

    /// Takes the line away. When this returns none is there, and none will be drawn until [`unhide`](Self::unhide).
    pub(super) fn hide(&self) {
        let mut it = self.line();
        it.hidden = true;
        it.erase();
    }

    pub(super) fn unhide(&self) {
        self.line().hidden = false;
    }
}

fn line(session: &Session, now: Instant) -> String {
    let limits = &session.plan.limits;
    let readings = &session.readings;
    let elapsed = now - session.started;
    let of = |limit: Option<String>| limit.map(|l| format!(" of {l}")).unwrap_or_default();
    let mut text = format!(
        "quell: {:.1}s{}, cpu {:.1}s{}, {}{}, {} thread{}",
        elapsed.as_secs_f64(),
        of(limits.time.map(show_duration)),
        readings.cpu().as_secs_f64(),
        of(limits.cpu.map(show_duration)),
        show_size(readings.memory()),
        of(limits.memory.map(show_size)),
        readings.threads(),
        if readings.threads() == 1 { "" } else { "s" },
    );
    match readings.processes() {
        0 => {}
        1 => text.push_str(", 1 child"),
        n => text.push_str(&format!(", {n} children")),
    }
    text
}
