//! The progress line: time against the limit, processor time, memory, threads. Shown on a terminal, in place.

use std::io::Write;
use std::time::{Duration, Instant};

use super::session::Session;
use super::units::{show_duration, show_size};

const EVERY: Duration = Duration::from_millis(200);

/// The line on the terminal, if it is to be shown at all.
pub(super) struct Progress {
    due: Option<Instant>,
    shown: bool,
}

impl Progress {
    pub(super) fn new(session: &Session) -> Self {
        // SAFETY: asks only.
        let terminal = unsafe { libc::isatty(libc::STDERR_FILENO) } == 1;
        let wanted = session.plan.progress && terminal && !session.is_fork;
        Self { due: wanted.then(|| session.started + EVERY), shown: false }
    }

    /// Shows the figures if it is time to, and says when it will be again.
    pub(super) fn show(&mut self, session: &Session, now: Instant) -> Option<Instant> {
        let due = self.due?;
        if session.is_finalized() {
            self.clear();
            return None;
        }
        if now < due {
            return Some(due);
        }
        let line = line(session, now);
        // In one write, so that a line of the script is not cut; back to the first column, rest of the line erased.
        let _ = std::io::stderr().write_all(format!("\r{line}\x1b[K\r").as_bytes());
        self.shown = true;
        let next = now + EVERY;
        self.due = Some(next);
        Some(next)
    }

    /// Takes the line away.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
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
