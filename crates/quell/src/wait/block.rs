//! The sleep itself: until something is done, or the thread leaves for one of its own reasons.

use super::{Look, Wait, WaitError};
use crate::interrupt::{Interrupted, Taken};
use crate::park::Parked;
use crate::thread::{Thread, local};

/// Puts the current thread, `me`, to sleep until `done` says true; or until the options let it go, if `leave` then
/// agrees.
///
/// Whoever makes `done` true must unpark `me` afterwards. `leave` is the compare-exchange against that: false means
/// that the thing is done, or about to be, and the wait goes on to its end. It is called under the slot's lock.
///
/// An interrupt that is to stay pending is a reason like a signal. If it is withdrawn in this moment, the wait was ended for
/// nothing, as its caller finds out when it tries to take it.
///
/// If several reasons are there at once: done comes first, then the interrupt, a deadlock's verdict, the signal, the
/// deadline.
pub(crate) fn block(
    me: &Thread,
    wait: &Wait,
    done: impl Fn() -> bool,
    leave: impl Fn() -> bool,
) -> Result<(), WaitError> {
    if done() {
        return Ok(());
    }
    let interruptible = wait.interruptible && local(|l| l.shield()) == 0;
    let look_again =
        wait.look_again.filter(|&at| wait.signals && wait.deadline.is_none_or(|end| at < end));
    let awake = Blocked::enter(me);
    if let Look::With(look) = wait.look {
        look(&|| done() || me.slot().has_news());
    }
    let mut why = Parked::Woken;
    loop {
        if done() {
            return Ok(());
        }
        // The slot's bits are looked at after BLOCKED was set and before each sleep: see `interrupt`.
        if interruptible && me.slot().has_pending() {
            if wait.leave_pending {
                if leave() {
                    return Err(WaitError::Signalled);
                }
                break;
            }
            match me.slot().take_if(&leave) {
                Taken::Interrupt(interrupt) => {
                    drop(awake);
                    return Err(Interrupted::new(interrupt, me.clone()).into());
                }
                Taken::Refused => break,
                Taken::Nothing => {}
            }
        }
        // Seen in time for the same reason. Only the thread itself ends the want that the verdict goes with.
        if interruptible
            && me.slot().is_condemned()
            && let Some(deadlock) = me.record().verdict()
        {
            if leave() {
                return Err(WaitError::Deadlock(deadlock));
            }
            break;
        }
        if wait.signals && (why == Parked::Signalled || me.slot().is_nudged()) {
            if leave() {
                me.slot().take_nudge();
                return Err(WaitError::Signalled);
            }
            break;
        }
        if why == Parked::TimedOut {
            if leave() {
                return Err(WaitError::TimedOut);
            }
            break;
        }
        why = match me.parker().park(look_again.or(wait.deadline)) {
            // The deadline is later.
            Parked::TimedOut if look_again.is_some() => Parked::Signalled,
            why => why,
        };
    }
    // `leave` lost: it is being done, and nothing else counts.
    while !done() {
        me.parker().park(None);
    }
    Ok(())
}

/// While it lives, the thread's BLOCKED bit is set.
struct Blocked<'a> {
    thread: &'a Thread,
}

impl Blocked<'_> {
    fn enter(thread: &Thread) -> Blocked<'_> {
        thread.slot().blocked();
        Blocked { thread }
    }
}

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        self.thread.slot().unblocked();
    }
}
