//! The two hard ends of a process: at the end of the grace, and at the third Ctrl-C. Both run in the
//! monitor's thread, take no lock that another thread may hold for long, and do not come back.

use std::time::{Duration, Instant};

use super::facts::Ended;
use super::session::{Ending, Fired, Session};
use super::{children, place, report, signals};

/// The exit status after a limit, as of timeout(1).
pub(super) const LIMIT_STATUS: i32 = 124;

/// How long the script's own end, when it came first, may take to write its report and leave.
pub(super) const LEAVING: Duration = Duration::from_millis(300);

/// The grace is over: shows where every thread is, ends the children, reports, and ends the process.
pub(super) fn killed(session: &Session, fired: &Fired) -> ! {
    if !session.claim(Ending::Killed) {
        // The script has ended in the last moment and reports itself; only its way out is still to be watched.
        let until = fired.end + LEAVING;
        while Instant::now() < until {
            session.bell.wait(session.bell.ticket(), Some(until));
        }
        leave(LIMIT_STATUS);
    }
    let seen = place::look(session.pid);
    report::write_tracebacks(session, &seen);
    let now = Instant::now();
    let ended = children::end_all(session.pid, now, now);
    let facts = {
        let mut facts = session.facts();
        facts.see_again(&seen);
        facts.children.extend(ended);
        facts.ended = Ended::Killed;
        facts.unwinding = Some(fired.at.elapsed());
        facts.elapsed = session.started.elapsed();
        facts.clone()
    };
    report::write(session, &facts);
    leave(LIMIT_STATUS)
}

/// Ctrl-C for the third time.
pub(super) fn insisted(session: &Session) -> ! {
    if session.claim(Ending::Killed) {
        let seen = place::look(session.pid);
        report::write_tracebacks(session, &seen);
        children::adopt_orphans();
        let now = Instant::now();
        children::end_all(session.pid, now, now);
    }
    signals::die_of_sigint()
}

fn leave(status: i32) -> ! {
    // SAFETY: ends the process without running anything of it any more.
    unsafe { libc::_exit(status) }
}
