//! Masks, shields and time limits. Each thread has a stack of the scopes it is in; only the innermost can be ended, so a scope
//! that was begun and not ended, or ended twice, is found out at the next end.

use crate::status::quell_status::QUELL_MISNESTED;
use crate::status::{Failure, call, call_for, quell_status};
use quell_core::monitor::TimeoutScope;
use quell_core::{MaskGuard, ShieldGuard, UnmaskGuard};
use std::cell::RefCell;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// A scope of the calling thread: what a ..._begin() returned, for quell_scope_end(). Never used again within a process.
pub type quell_scope = u64;

/// A scope that is open.
struct Open {
    scope: quell_scope,
    guard: Guard,
}

/// What a scope does, undone by being dropped.
#[expect(dead_code, reason = "most are only dropped")]
pub(crate) enum Guard {
    Mask(MaskGuard),
    Shield(ShieldGuard),
    Unmask(UnmaskGuard),
    Limit(TimeoutScope),
}

thread_local! {
    static OPEN: RefCell<Vec<Open>> = const { RefCell::new(Vec::new()) };
}

/// Begins a mask: inside, interrupts are delivered only where the thread blocks, and quell_checkpoint() delivers none. For a
/// stretch of code that must not be cut in the middle, but may wait. Scopes nest. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn quell_mask_begin() -> quell_scope {
    begin("quell_mask_begin", || Guard::Mask(quell_core::mask()))
}

/// Begins a shield: inside, interrupts are not delivered at all; every wait is as if nobody had sent any. For cleanup that
/// must finish. Scopes nest. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn quell_shield_begin() -> quell_scope {
    begin("quell_shield_begin", || Guard::Shield(quell_core::shield()))
}

/// Begins a stretch in which the masks and shields around it do not hold. Scopes nest. Does not block, and delivers nothing
/// itself.
#[unsafe(no_mangle)]
pub extern "C" fn quell_unmask_begin() -> quell_scope {
    begin("quell_unmask_begin", || Guard::Unmask(quell_core::unmask()))
}

/// Ends a mask, a shield or an unmask, the innermost scope of the calling thread. Does not block.
///
/// Interruption point. QUELL_OK. QUELL_INTERRUPTED: the scope is ended too, and an interrupt was delivered that it had held
/// back. QUELL_MISNESTED: nothing has changed; the scope is not the innermost one, or has ended, or belongs to another
/// thread. QUELL_INVALID: nothing has changed; it is a time limit, which quell_timeout_end() ends.
#[unsafe(no_mangle)]
pub extern "C" fn quell_scope_end(scope: quell_scope) -> quell_status {
    call("quell_scope_end", || {
        let limits = |guard: &Guard| matches!(guard, Guard::Limit(_));
        drop(end(scope, |guard| match limits(guard) {
            true => Err(Failure::invalid(format!(
                "scope {scope} is a time limit: quell_timeout_end() ends it"
            ))),
            false => Ok(()),
        })?);
        Ok(quell_core::checkpoint()?)
    })
}

/// How many scopes the calling thread is in, of all kinds. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn quell_scope_depth() -> usize {
    call_for("quell_scope_depth", 0, || Ok(OPEN.with(|open| open.borrow().len())))
}

/// Begins a scope of the calling thread.
pub(crate) fn begin(function: &'static str, guard: impl FnOnce() -> Guard) -> quell_scope {
    static LAST: AtomicU64 = AtomicU64::new(0);
    call_for(function, 0, || {
        let guard = guard();
        // Relaxed: only that each is another.
        let scope = LAST.fetch_add(1, Relaxed) + 1;
        OPEN.with(|open| open.borrow_mut().push(Open { scope, guard }));
        Ok(scope)
    })
}

/// Takes the innermost scope of the calling thread off its stack, if it is this one and `fits`.
pub(crate) fn end(
    scope: quell_scope,
    fits: impl FnOnce(&Guard) -> Result<(), Failure>,
) -> Result<Guard, Failure> {
    OPEN.with(|open| {
        let mut open = open.borrow_mut();
        match open.pop_if(|last| last.scope == scope) {
            Some(last) => match fits(&last.guard) {
                Ok(()) => Ok(last.guard),
                Err(failure) => {
                    open.push(last);
                    Err(failure)
                }
            },
            None => match open.last() {
                Some(inner) if open.iter().any(|outer| outer.scope == scope) => {
                    let inner = inner.scope;
                    let what = format!("scope {inner}, inside scope {scope}, has not ended");
                    Err(Failure::new(QUELL_MISNESTED, what))
                }
                _ => Err(ended(scope)),
            },
        }
    })
}

/// Does something with a scope of the calling thread that is open.
pub(crate) fn with<R>(
    scope: quell_scope,
    f: impl FnOnce(&mut Guard) -> Result<R, Failure>,
) -> Result<R, Failure> {
    OPEN.with(|open| {
        let mut open = open.borrow_mut();
        let found = open.iter_mut().find(|open| open.scope == scope);
        f(&mut found.ok_or_else(|| ended(scope))?.guard)
    })
}

fn ended(scope: quell_scope) -> Failure {
    let what = format!("scope {scope} has ended, or was begun by another thread");
    Failure::new(QUELL_MISNESTED, what)
}
