//! Time limits of a stretch of code: scopes that interrupt the thread inside when their deadline passes.

use crate::reason::text;
use crate::scope::{Guard, begin, end, quell_scope, with};
use crate::status::quell_status::{QUELL_OK, QUELL_TIMED_OUT, QUELL_TOO_LATE};
use crate::status::{Failure, call, call_for, quell_status};
use crate::time::{quell_deadline, until};
use quell_core::Timeout;
use quell_core::monitor::TimeoutScope;
use std::ffi::c_char;

/// Begins a time limit: at the deadline the calling thread is interrupted, wherever it is inside the scope, as by
/// quell_interrupt(), once. The interrupt is delivered inside the scope or never: quell_timeout_end() takes back one that was
/// not, so a limit ends nothing but its own code, however late it comes. `name` is for messages and is copied; it may be NULL.
///
/// Scopes nest, with masks and shields too, which hold this interrupt back as any other. At QUELL_NOW the first
/// interruption point is interrupted; at QUELL_FOREVER none, until quell_timeout_reschedule(). Does not block.
///
///     quell_scope limit = quell_timeout_begin(quell_after(QUELL_SECONDS(2)), "request");
///     quell_status status = answer(request);          // returns what its calls return
///     status = quell_timeout_end(limit, status);      // QUELL_TIMED_OUT, if it was the limit that ended it
///
/// Returns the scope, for quell_timeout_end().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_timeout_begin(
    deadline: quell_deadline,
    name: *const c_char,
) -> quell_scope {
    // SAFETY: the caller's promise: NULL, or a string that ends.
    let name = unsafe { text(name) };
    begin("quell_timeout_begin", || {
        let limit = match until(deadline).deadline {
            Some(deadline) => Timeout::at(deadline),
            None => Timeout::never(),
        };
        let limit = match name {
            Some(name) => limit.named(name.to_string_lossy().into_owned()),
            None => limit,
        };
        Guard::Limit(limit.enter())
    })
}

/// Ends a time limit, the innermost scope of the calling thread, with what came out of the code inside. Afterwards nothing that
/// the limit has sent is pending, and it sends nothing more. Does not block; no interruption point.
///
/// Returns what there is to pass on. QUELL_OK if `status` is that, whatever the time. QUELL_TIMED_OUT if `status` is another, and
/// the limit's interrupt was delivered inside; quell_last_error() names the limit. Otherwise `status` itself: the interrupt of
/// somebody else, or of an outer limit, stays what it is.
///
/// QUELL_MISNESTED: nothing has changed; the scope is not the innermost one, or has ended, or belongs to another thread.
/// QUELL_INVALID: nothing has changed; the scope is no time limit, or `status` no status.
#[unsafe(no_mangle)]
pub extern "C" fn quell_timeout_end(scope: quell_scope, status: i32) -> quell_status {
    let mut passed_on = QUELL_OK;
    let ended = call("quell_timeout_end", || {
        let status = quell_status::from_number(status);
        let status =
            status.ok_or_else(|| Failure::invalid("what came out of the scope is no status"))?;
        let guard = end(scope, |guard| match guard {
            Guard::Limit(_) => Ok(()),
            _ => Err(no_limit(scope)),
        })?;
        let Guard::Limit(limit) = guard else { return Err(no_limit(scope)) };
        let result = if status == QUELL_OK { Ok(()) } else { Err(()) };
        match limit.finish(result) {
            Err(error) if error.reached().is_some() => {
                let words = error.reached().map(ToString::to_string);
                Err(Failure::new(QUELL_TIMED_OUT, words.unwrap_or_default()))
            }
            _ => {
                passed_on = status;
                Ok(())
            }
        }
    });
    if ended == QUELL_OK { passed_on } else { ended }
}

/// Whether the calling thread is in this time limit, and its interrupt was delivered inside: tells whose interrupt it was that
/// a call has just returned with, where limits nest. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn quell_timeout_reached(scope: quell_scope) -> bool {
    call_for("quell_timeout_reached", false, || limit(scope, |limit| Ok(limit.was_delivered())))
}

/// Gives a time limit of the calling thread another deadline. Does not block.
///
/// QUELL_OK. QUELL_TOO_LATE: the old one has passed, and its interrupt was sent. QUELL_MISNESTED: the scope has ended, or belongs
/// to another thread. QUELL_INVALID: it is no time limit.
#[unsafe(no_mangle)]
pub extern "C" fn quell_timeout_reschedule(
    scope: quell_scope,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_timeout_reschedule", || {
        limit(scope, |limit| match limit.reschedule(until(deadline).deadline) {
            true => Ok(()),
            false => Err(Failure::new(QUELL_TOO_LATE, "the time limit was reached already")),
        })
    })
}

fn limit<R>(
    scope: quell_scope,
    f: impl FnOnce(&mut TimeoutScope) -> Result<R, Failure>,
) -> Result<R, Failure> {
    with(scope, |guard| match guard {
        Guard::Limit(limit) => f(limit),
        _ => Err(no_limit(scope)),
    })
}

fn no_limit(scope: quell_scope) -> Failure {
    Failure::invalid(format!("scope {scope} is no time limit: quell_scope_end() ends it"))
}
