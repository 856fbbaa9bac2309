//! Which quell locks a Python thread holds, and whether an exception here would release them.
//!
//! A hold is *covered* at an instruction if an exception there runs the handler that belongs to the acquire: the
//! `finally` of the `try` that starts right after it, or the exit of its `with`. Where every hold is covered a wait
//! may be interrupted as if nothing were held; where one is not, the interrupt waits for the release.
//!
//! A *lock* guards what must not be seen half changed: while one is held, running code is not interrupted at all. A
//! *permit* of a semaphore guards nothing but itself, often for as long as the work takes that it admits: running code is
//! interrupted where the permit is covered, so that it is given back.

use pyo3::prelude::*;

use super::record::Record;
use crate::cpython::code::{Code, Handler};
use crate::cpython::frame::Frame;
use crate::cpython::thread::ThreadState;

/// What is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A lock.
    Lock,
    /// A permit that a `with` statement has taken.
    Permit,
}

/// A lock or a permit that was acquired, and where.
#[derive(Debug)]
pub struct Hold {
    key: *const (),
    kind: Kind,
    /// Address of the frame that acquired, and of the instruction it was at then; what that means in its code is found
    /// out when somebody asks.
    frame: usize,
    instruction: usize,
}

// SAFETY: the key is compared, never followed.
unsafe impl Send for Hold {}

impl Hold {
    /// A hold of the calling thread, whose state this is, acquired by its running frame.
    #[inline]
    pub(super) fn here(key: *const (), kind: Kind, thread: ThreadState) -> Self {
        let (frame, instruction) =
            thread.top().map_or((0, 0), |frame| (frame.address(), frame.instruction()));
        Self { key, kind, frame, instruction }
    }

    #[inline]
    pub(super) fn key(&self) -> *const () {
        self.key
    }

    #[inline]
    pub(super) fn is_lock(&self) -> bool {
        self.kind == Kind::Lock
    }

    fn is_covered(&self, stack: Option<Frame>) -> bool {
        stack
            .and_then(|top| top.stack().find(|f| f.address() == self.frame))
            .and_then(|frame| {
                let code = frame.code()?;
                Some(is_covered_in(code, code.offset_of(self.instruction), frame.lasti()))
            })
            .unwrap_or(false)
    }
}

/// The first body starts at most so many code units after the call: its caches, a store, a NOP.
const NEAR: usize = 8;

fn is_covered_in(code: Code, acquired: i32, now: i32) -> bool {
    let (Ok(acquired), Ok(now)) = (usize::try_from(acquired), usize::try_from(now)) else {
        return false;
    };
    let (acquired, now) = (acquired / 2, now / 2);
    let handlers = code.handlers();
    let home = handlers.iter().filter(|h| h.start > acquired).min_by_key(|h| h.start);
    let Some(home) = home.filter(|h| h.start - acquired <= NEAR) else { return false };
    let handler =
        |unit: usize| handlers.iter().find(|h: &&Handler| h.start <= unit && unit < h.end);
    let mut at = now;
    for _ in 0..handlers.len() + 1 {
        match handler(at) {
            Some(h) if h.target == home.target => return true,
            Some(h) => at = h.target,
            None => return false,
        }
    }
    false
}

/// Whether running code of the calling thread, whose record this is, may be interrupted where it is now: it holds no lock,
/// and what else it holds is covered.
pub(super) fn let_in(py: Python<'_>, record: &Record) -> PyResult<bool> {
    let (holds, locks) =
        record.state(py, |s| (!s.holds.is_empty(), s.holds.iter().any(Hold::is_lock)));
    Ok(!locks && (!holds || covered(py, record)?))
}

/// Whether every hold of the calling thread is covered where it is now.
pub(super) fn covered(py: Python<'_>, record: &Record) -> PyResult<bool> {
    Ok(record.state(py, |s| {
        if s.holds.is_empty() {
            return true;
        }
        let top = ThreadState::current().top();
        s.holds.iter().all(|hold| hold.is_covered(top))
    }))
}
