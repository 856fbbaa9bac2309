//! The thread that keeps the time. It never asks the interpreter anything, so nothing a script does can stop it.
//!
//! It sleeps until the time limit, wakes when the meter or a signal rings, and
//! after a limit until the end of the grace, when it ends the process. It takes no descriptor of files before a limit is
//! reached; from then on it has a table of its own, so that a script which has used up all
//! descriptors can still be reported on.
//!
//! It starts the [`deliverer`](super::deliverer), in [`A_MOMENT`] or as soon as there is something to deliver: the start of a thread,
//! and its end, are what a short script would pay for it.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::ladder::PACE;
use super::limits::Reached;
use super::session::{Fired, Session};
use super::{children, deliverer, end, meter, place, unblockable};
use crate::delivery;

/// A script that runs longer has a deliverer, before it can have used up what a thread needs.
const A_MOMENT: Duration = Duration::from_millis(50);

/// The body of the thread.
pub(super) fn body(session: &'static Session) {
    let mut deliverer = Deliverer::Due(Instant::now() + A_MOMENT);
    let progress = &session.progress;
    progress.prepare(session);
    if session.fired().is_some() {
        // A fork made after the limit.
        prepare_to_end(session);
    }
    loop {
        let ticket = session.bell.ticket();
        if session.is_stopping() {
            return;
        }
        if session.presses.count() >= 3 {
            progress.hide();
            end::insisted(session);
        }
        let now = Instant::now();
        let next = match session.fired() {
            None => {
                if let Some(reached) = reached(session, now) {
                    progress.hide();
                    fire(session, reached, now);
                    continue;
                }
                let due = progress.show(session, now);
                time_limit(session).into_iter().chain(due).min()
            }
            Some(fired) => {
                if now >= fired.end {
                    end::killed(session, fired);
                }
                Some(urge(session, now).min(fired.end))
            }
        };
        let next = next.into_iter().chain(deliverer.start(session, now)).min();
        session.bell.wait(ticket, next);
    }
}

/// Whether the deliverer's thread is there.
enum Deliverer {
    /// Not yet; it is to be started then.
    Due(Instant),
    Started,
}

impl Deliverer {
    /// Starts the thread if it is due, or there is something to deliver. Says when to come again. Without a thread, which is tried
    /// again and again, the main one is still [urged](urge), and the process ends with the grace.
    fn start(&mut self, session: &'static Session, now: Instant) -> Option<Instant> {
        let Self::Due(at) = *self else { return None };
        let has_work = session.fired().is_some() || session.presses.count() > 0;
        if now < at && !has_work {
            return Some(at);
        }
        match session.crew.start("quell-deliverer", move || deliverer::body(session)) {
            Ok(()) => {
                *self = Self::Started;
                None
            }
            Err(error) => {
                if session.fired().is_some() {
                    session.facts().note(format!("no thread to interrupt from, so far: {error}"));
                }
                Some(now + PACE)
            }
        }
    }
}

/// While nobody has got through to the main thread, signals it: native code that keeps the GIL may run signal handlers now
/// and then, as regular expressions do, and the handler interrupts ([`on_main_signal`](super::deliverer::on_main_signal)). Afterwards the
/// delivery does, but for a thread that blocks its signal ([`unblockable`]). Returns when to look again.
fn urge(session: &Session, now: Instant) -> Instant {
    if session.is_ready() {
        if !session.asked_main.load(SeqCst) {
            delivery::kick_main();
        }
        unblockable::kick(session);
    }
    now + PACE
}

/// When the time limit is over; `None` without one.
fn time_limit(session: &Session) -> Option<Instant> {
    session.plan.limits.time.and_then(|limit| session.started.checked_add(limit))
}

fn reached(session: &Session, now: Instant) -> Option<Reached> {
    let limits = &session.plan.limits;
    if let Some(limit) = limits.time
        && time_limit(session).is_some_and(|end| now >= end)
    {
        return Some(Reached::Time { limit, used: now - session.started });
    }
    session.readings.reached(limits)
}

/// A limit has been reached: notes where everything is, before anything changes, and wakes the deliverer.
fn fire(session: &'static Session, reached: Reached, now: Instant) {
    // The clock's limit is exact: what this thread woke late is taken off the grace. Unless that is all of it, as when
    // the user had stopped the process (Ctrl-Z) and continues it long after.
    let from = match reached {
        Reached::Time { .. } => {
            time_limit(session).filter(|at| *at + session.plan.grace > now).unwrap_or(now)
        }
        Reached::Cpu { .. } | Reached::Memory { .. } => now,
    };
    prepare_to_end(session);
    let seen = place::look(session.pid);
    {
        let mut facts = session.facts();
        facts.reached = Some(reached);
        facts.note_threads(session.pid, &seen, session.is_ready());
    }
    session.fire(Fired { reached, at: Instant::now(), end: from + session.plan.grace });
}

fn prepare_to_end(session: &Session) {
    meter::have_own_descriptors(true);
    if !session.is_fork {
        children::adopt_orphans();
    }
}
