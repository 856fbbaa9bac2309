//! Which quell locks a Python thread holds, and whether an exception here would release them.
//!
//! A hold is *covered* at an instruction if an exception there runs the clause that belongs to the acquire: the exit of its
//! `with`, or the `finally` (or `except:`) of the `try` that comes next after it. Where every hold is covered the thread is
//! interrupted as if it held nothing, in running code and in waits; where one is not, the interrupt waits, at the latest for
//! the release that ends the last hold. So no lock is left held: neither one that a function acquired for its caller, nor
//! one whose release has begun.
//!
//! Permits that `with` statements have taken of a semaphore are holds too.
//!
//! A hold remembers where its acquire stands in which frame, which is cheap; what that means in the frame's code is found out
//! when somebody asks, by the code's [guards](super::gate::Points::guarded).

use pyo3::prelude::*;

use super::gate::Points;
use super::record::Record;
use crate::cpython::frame::Frame;
use crate::cpython::thread::ThreadState;

/// A lock or a permit that was acquired, and where.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    key: *const (),
    /// Addresses of the frame that acquired, of the instruction it was at, and of the code that it runs.
    frame: usize,
    instruction: usize,
    code: usize,
}

// SAFETY: the key is compared, never followed.
unsafe impl Send for Hold {}

impl Hold {
    /// A hold of the calling thread, whose state this is, acquired by its running frame.
    #[inline]
    pub(super) fn here(key: *const (), thread: ThreadState) -> Self {
        Self::by(key, thread.top())
    }

    /// A hold that this frame has acquired.
    #[inline]
    pub(crate) fn by(key: *const (), frame: Option<Frame>) -> Self {
        let (frame, instruction, code) = frame.map_or((0, 0, 0), |frame| {
            (frame.address(), frame.instruction(), frame.code_address())
        });
        Self { key, frame, instruction, code }
    }

    #[inline]
    pub(crate) fn key(&self) -> *const () {
        self.key
    }

    /// The instruction that acquired, and the code it is in: of a function that has returned, that may be gone.
    pub(crate) fn place(&self) -> (usize, usize) {
        (self.code, self.instruction)
    }

    /// The frame and the call in it that acquired, if an exception in the thread with this stack gives back what it has
    /// acquired.
    fn covered_by(&self, py: Python<'_>, top: Frame) -> PyResult<Option<(usize, usize)>> {
        // A frame that has ended is not there, or another one is in its place: it runs other code, in which this is no
        // place of an acquire, or the same function again, for which see `covered`.
        let Some(frame) = top.stack().find(|f| f.address() == self.frame) else {
            return Ok(None);
        };
        let Some(code) = frame.code() else { return Ok(None) };
        let call = Points::of(py, code)?.guarded(code.offset_of(self.instruction), frame.lasti());
        Ok(call.map(|call| (self.frame, call)))
    }
}

/// Whether what the call acquires that a frame is at is given back by a `with` or a `try` in the frame's own code.
pub(crate) fn is_guarded(py: Python<'_>, frame: Frame) -> bool {
    let Some(code) = frame.code() else { return false };
    // Who cannot be told, because there is no memory for it, is not.
    Points::of(py, code).is_ok_and(|p| p.has_guard(code.offset_of(frame.instruction())))
}

/// Whether every hold of the calling thread, whose record this is, is covered where the thread is now.
pub(super) fn covered(py: Python<'_>, record: &Record) -> PyResult<bool> {
    record.state(py, |s| {
        if s.holds.is_empty() {
            return Ok(true);
        }
        let Some(top) = ThreadState::current().top() else { return Ok(false) };
        let mut calls = Vec::with_capacity(s.holds.len());
        for hold in &s.holds {
            match hold.covered_by(py, top)? {
                // Twice by the same call, in a loop or because the function was called again: the clause after it gives
                // back what came last.
                Some(call) if !calls.contains(&call) => calls.push(call),
                _ => return Ok(false),
            }
        }
        Ok(true)
    })
}
