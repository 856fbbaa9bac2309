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

use std::cell::UnsafeCell;

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

/// What a release meant for the holds of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unheld {
    /// The thread holds nothing now.
    Last,
    /// It holds other locks still, or the same one again.
    NotLast,
    /// The thread does not hold this lock: another thread acquired it.
    NotMine,
}

/// The holds of a thread, the oldest first. Guarded by the GIL.
#[derive(Default)]
pub(super) struct Holds(UnsafeCell<Vec<Hold>>);

// SAFETY: each method has a `Python`, so the accesses of different threads are ordered by the GIL.
unsafe impl Sync for Holds {}

impl Holds {
    /// The only way to the list. Not a `GilCell`, which would be asked twice each time whether somebody is using it: nobody is, as long as `f`
    /// is a few lines of this file about the list, which call nothing else.
    #[inline(always)]
    fn with<R>(&self, _py: Python<'_>, f: impl FnOnce(&mut Vec<Hold>) -> R) -> R {
        // SAFETY: with the GIL, and not from inside another `f`: the only reference there is.
        f(unsafe { &mut *self.0.get() })
    }

    /// One more, of the calling thread, whose state this is.
    #[inline]
    pub(super) fn begin(&self, py: Python<'_>, key: *const (), thread: ThreadState) {
        if !self.begin_at_once(py, key, thread) {
            self.begin_slow(py, key, thread);
        }
    }

    /// The same where it takes no memory. False: nothing was done.
    #[inline(always)]
    pub(super) fn begin_at_once(
        &self,
        py: Python<'_>,
        key: *const (),
        thread: ThreadState,
    ) -> bool {
        self.with(py, |all| {
            let count = all.len();
            let Some(place) = all.spare_capacity_mut().first_mut() else { return false };
            // Made in its place, not on the stack and copied.
            place.write(Hold::here(key, thread));
            // SAFETY: one more is initialised.
            unsafe { all.set_len(count + 1) };
            true
        })
    }

    #[cold]
    #[inline(never)]
    fn begin_slow(&self, py: Python<'_>, key: *const (), thread: ThreadState) {
        let hold = Hold::here(key, thread);
        self.with(py, |all| all.push(hold));
    }

    /// Ends the one of this lock if it is the newest. False: it is not, and nothing was done.
    #[inline(always)]
    pub(super) fn end_newest(&self, py: Python<'_>, key: *const ()) -> bool {
        self.with(py, |all| all.pop_if(|hold| hold.key == key).is_some())
    }

    /// Ends the newest one of this lock.
    #[inline]
    pub(super) fn end(&self, py: Python<'_>, key: *const ()) -> Unheld {
        self.with(py, |all| {
            // Nearly always the last one.
            if all.pop_if(|hold| hold.key == key).is_none() {
                let Some(at) = all.iter().rposition(|hold| hold.key == key) else {
                    return Unheld::NotMine;
                };
                all.remove(at);
            }
            if all.is_empty() { Unheld::Last } else { Unheld::NotLast }
        })
    }

    /// Ends those of this lock for a while.
    pub(super) fn lift(&self, py: Python<'_>, key: *const ()) -> Vec<Hold> {
        self.with(py, |all| all.extract_if(.., |hold| hold.key == key).collect())
    }

    /// Puts back what was lifted.
    pub(super) fn put_down(&self, py: Python<'_>, holds: Vec<Hold>) {
        self.with(py, |all| all.extend(holds));
    }

    pub(super) fn all(&self, py: Python<'_>) -> Vec<Hold> {
        self.with(py, |all| all.clone())
    }

    pub(super) fn has(&self, py: Python<'_>, key: *const ()) -> bool {
        self.with(py, |all| all.iter().any(|hold| hold.key == key))
    }

    #[inline]
    pub(super) fn is_empty(&self, py: Python<'_>) -> bool {
        self.with(py, |all| all.is_empty())
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
    let holds = record.held();
    if holds.is_empty(py) {
        return Ok(true);
    }
    let Some(top) = ThreadState::current().top() else { return Ok(false) };
    let holds = holds.all(py);
    let mut calls = Vec::with_capacity(holds.len());
    for hold in &holds {
        match hold.covered_by(py, top)? {
            // Twice by the same call, in a loop or because the function was called again: the clause after it gives
            // back what came last.
            Some(call) if !calls.contains(&call) => calls.push(call),
            _ => return Ok(false),
        }
    }
    Ok(true)
}
