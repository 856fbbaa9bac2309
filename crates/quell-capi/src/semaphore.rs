//! Semaphore and BoundedSemaphore, one type: a bounded one finds out if more is given back than was taken.

use crate::object::{Waiting, free, hand_out, hold};
use crate::status::quell_status::{QUELL_BUSY, QUELL_OVERFLOW};
use crate::status::{Failure, call, call_for, quell_status};
use crate::time::{quell_deadline, until};
use quell_core::fork::Keep;
use quell_core::{BoundedSemaphore, Permit, Semaphore, Wait, WaitError};

/// The most permits that the core's semaphores count.
const MOST: u32 = (1 << 30) - 1;

/// A number of permits. Who takes some has them until they are given back, by any thread; when there are too few, it waits.
/// Made by quell_semaphore_new(), or by quell_bounded_semaphore_new() for one that never has more than at first.
pub struct quell_semaphore {
    pub(crate) kind: Kind,
    pub(crate) waiting: Waiting,
}

pub(crate) enum Kind {
    Plain(Semaphore),
    Bounded(BoundedSemaphore),
}

impl Kind {
    fn most(&self) -> u32 {
        match self {
            Kind::Plain(_) => MOST,
            Kind::Bounded(semaphore) => semaphore.bound(),
        }
    }

    fn value(&self) -> u32 {
        match self {
            Kind::Plain(semaphore) => semaphore.value(),
            Kind::Bounded(semaphore) => semaphore.value(),
        }
    }

    fn try_acquire(&self, count: u32) -> bool {
        let permit = match self {
            Kind::Plain(semaphore) => semaphore.try_acquire_many(count),
            Kind::Bounded(semaphore) => semaphore.try_acquire_many(count),
        };
        permit.map(Permit::forget).is_some()
    }

    fn acquire(&self, count: u32, wait: &Wait) -> Result<(), WaitError> {
        let permit = match self {
            Kind::Plain(semaphore) => semaphore.acquire_many_with(count, wait),
            Kind::Bounded(semaphore) => semaphore.acquire_many_with(count, wait),
        };
        permit.map(Permit::forget)
    }

    fn release(&self, count: u32) -> Result<(), Failure> {
        match self {
            Kind::Bounded(semaphore) => semaphore
                .release(count)
                .map_err(|error| Failure::new(QUELL_OVERFLOW, error.to_string())),
            Kind::Plain(semaphore) => {
                let value = semaphore.value();
                if count > MOST - value {
                    let what = format!(
                        "{count} permits given to a semaphore that has {value}; it can have {MOST}"
                    );
                    return Err(Failure::new(QUELL_OVERFLOW, what));
                }
                semaphore.release(count);
                Ok(())
            }
        }
    }
}

impl Keep for Kind {
    fn hold(&self) {
        match self {
            Kind::Plain(semaphore) => semaphore.hold(),
            Kind::Bounded(semaphore) => semaphore.hold(),
        }
    }

    unsafe fn release(&self) {
        // SAFETY: it is held, as this is.
        unsafe {
            match self {
                Kind::Plain(semaphore) => Keep::release(semaphore),
                Kind::Bounded(semaphore) => Keep::release(semaphore),
            }
        }
    }

    fn forget_waiters(&self) {
        match self {
            Kind::Plain(semaphore) => semaphore.forget_waiters(),
            Kind::Bounded(semaphore) => semaphore.forget_waiters(),
        }
    }
}

/// Makes a Semaphore with so many permits to begin with, to be freed with quell_semaphore_free(). Does not block. NULL if it
/// is 2 to the power of 30 or more.
#[unsafe(no_mangle)]
pub extern "C" fn quell_semaphore_new(permits: u32) -> *mut quell_semaphore {
    make("quell_semaphore_new", permits, || Kind::Plain(Semaphore::new(permits)))
}

/// Makes a BoundedSemaphore with so many permits, never more, to be freed with quell_semaphore_free(). Does not block. NULL
/// if it is 2 to the power of 30 or more.
#[unsafe(no_mangle)]
pub extern "C" fn quell_bounded_semaphore_new(permits: u32) -> *mut quell_semaphore {
    make("quell_bounded_semaphore_new", permits, || Kind::Bounded(BoundedSemaphore::new(permits)))
}

fn make(function: &'static str, permits: u32, kind: impl FnOnce() -> Kind) -> *mut quell_semaphore {
    call_for(function, std::ptr::null_mut(), || {
        if permits > MOST {
            return Err(Failure::invalid(format!("{permits} permits, and {MOST} is the most")));
        }
        Ok(hand_out(quell_semaphore { kind: kind(), waiting: Waiting::new() }))
    })
}

/// Takes `count` permits at once; waits for them until the deadline. Threads are served in the order they came, but somebody
/// who comes along may be faster.
///
/// Interruption point, if it has to wait. QUELL_OK. QUELL_INTERRUPTED, QUELL_TIMED_OUT: none was taken. QUELL_INVALID: there
/// never can be so many.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_semaphore_acquire(
    semaphore: *mut quell_semaphore,
    count: u32,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_semaphore_acquire", || {
        // SAFETY: the caller's promise: NULL or a semaphore.
        let semaphore = unsafe { hold(semaphore, "semaphore") }?;
        check(&semaphore.kind, count)?;
        if semaphore.kind.try_acquire(count) {
            return Ok(());
        }
        Ok(semaphore.waiting.during(|| semaphore.kind.acquire(count, &until(deadline)))?)
    })
}

/// Takes `count` permits at once if they are there. Does not block; no interruption point.
///
/// QUELL_OK. QUELL_BUSY: none was taken. QUELL_INVALID: there never can be so many.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_semaphore_try_acquire(
    semaphore: *mut quell_semaphore,
    count: u32,
) -> quell_status {
    call("quell_semaphore_try_acquire", || {
        // SAFETY: the caller's promise: NULL or a semaphore.
        let semaphore = unsafe { hold(semaphore, "semaphore") }?;
        check(&semaphore.kind, count)?;
        if semaphore.kind.try_acquire(count) { Ok(()) } else { Err(QUELL_BUSY.into()) }
    })
}

fn check(kind: &Kind, count: u32) -> Result<(), Failure> {
    let most = kind.most();
    if count > most {
        let what = format!(
            "{count} permits of a semaphore that has {most} at most: it would wait for ever"
        );
        return Err(Failure::invalid(what));
    }
    Ok(())
}

/// Gives `count` permits back, or adds them, and wakes who waits for them. Any thread. Does not block; no interruption point.
///
/// QUELL_OK. QUELL_OVERFLOW: a bounded semaphore would have more than at first, or a plain one 2 to the power of 30; none
/// was given back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_semaphore_release(
    semaphore: *mut quell_semaphore,
    count: u32,
) -> quell_status {
    call("quell_semaphore_release", || {
        // SAFETY: the caller's promise: NULL or a semaphore.
        unsafe { hold(semaphore, "semaphore") }?.kind.release(count)
    })
}

/// How many permits nobody has. Out of date as soon as it is known. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_semaphore_value(semaphore: *const quell_semaphore) -> u32 {
    call_for("quell_semaphore_value", 0, || {
        // SAFETY: the caller's promise: NULL or a semaphore.
        Ok(unsafe { hold(semaphore, "semaphore") }?.kind.value())
    })
}

/// Frees a semaphore that nobody waits for, whoever has permits. NULL is ignored. Does not block.
///
/// QUELL_OK. QUELL_BUSY: somebody waits for it; it was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_semaphore_free(semaphore: *mut quell_semaphore) -> quell_status {
    call("quell_semaphore_free", || {
        // SAFETY: the caller's promise: NULL or a semaphore that it does not use again.
        unsafe { free(semaphore, |semaphore| semaphore.waiting.check("semaphore")) }
    })
}

impl quell_semaphore {
    pub(crate) fn forget_waiters_after_fork(&self) {
        match &self.kind {
            Kind::Plain(semaphore) => semaphore.forget_waiters_after_fork(),
            Kind::Bounded(semaphore) => semaphore.forget_waiters_after_fork(),
        }
        self.waiting.forget();
    }
}
