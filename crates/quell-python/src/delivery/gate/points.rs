//! Where in a code object the gate may raise: computed once per code object, kept with it.
//!
//! An exception that is raised before instruction *i* is handled as if *i* had raised it, so the choice of *i*
//! decides which `try` catches it and what is lost. The places chosen are those at which a statement has just ended
//! or a body begins, so that no value is on its way from a call to where it is kept:
//!
//! - the start of a function's body;
//! - the target of a backward jump (the head of a loop);
//! - the first instruction of the body of a `try` or a `with`;
//! - after a statement that calls something, if the next instruction has the same handlers as the call; where the
//!   statement throws the call's result away, the `POP_TOP` that does it.
//!
//! Of these, not the ones after a statement that is followed by a `try` or a `with`, at once or after assignments that call
//! nothing: `lock.acquire(); try:` is whole for any lock. And none inside the body of a `finally`, or of an `except` that cleans up and
//! raises again, or in the methods of `contextlib.ExitStack`.
//!
//! *Where statements end.* The compiler keeps no record of it, but between statements the value stack holds nothing
//! but what the enclosing blocks keep there (iterators of loops, exits of `with`, exceptions being handled). The
//! depth at each instruction follows from the stack effects; what the blocks keep follows from the exception
//! table, whose rows name the depth their handler starts from, and from the loops around.
//!
//! *Where `finally` bodies are.* The compiler writes the body twice: once as an exception handler, once or more for
//! the ways out without exception. The first is found from the exception table; the others come from the same
//! lines and columns of the source as the first.

use std::ffi::c_void;
use std::sync::atomic::{AtomicIsize, Ordering};

use pyo3::prelude::*;

use super::guards::Guards;
use super::opcodes::{Kind, Opcodes};
use super::structure::Structure;
use crate::cpython::code::{self, Code, Handler, Location};

/// The gate may raise before this instruction.
pub(super) const SAFE: u8 = 1;
/// As `SAFE`, but the next statement opens a `try` or a `with`, or this is a `finally` body: only by force.
pub(super) const RUDE: u8 = 2;
/// Part of the body of a `finally`, or of an exit stack.
pub(super) const IN_FINALLY: u8 = 4;
/// The enter of a context manager runs here.
pub(super) const ENTERING: u8 = 8;
/// The exit of a context manager runs here.
pub(super) const LEAVING: u8 = 16;
/// A call whose statement is followed by a `try` or a `with`, in the same sense.
pub(super) const BEFORE_TRY: u8 = 32;

/// What is known of a code object.
pub(in super::super) struct Points {
    /// One byte of flags for each code unit.
    flags: Vec<u8>,
    guards: Guards,
}

impl Points {
    /// The points of `code`, computed on first use. None if the code is too strange to be understood; the gate
    /// then raises nowhere in it.
    pub(in super::super) fn of(py: Python<'_>, code: Code) -> PyResult<&'static Points> {
        let index = extra_index();
        let known = code.extra(index).cast::<Points>();
        if known.is_null() {
            let points = Box::into_raw(Box::new(analyse(code, Opcodes::get())));
            if !code.set_extra(index, points.cast()) {
                // SAFETY: not stored, so still ours.
                drop(unsafe { Box::from_raw(points) });
                return Err(PyErr::fetch(py));
            }
            // SAFETY: stored with the code object, which outlives every use of it by frames and events.
            return Ok(unsafe { &*points });
        }
        // SAFETY: as above.
        Ok(unsafe { &*known })
    }

    /// Flags of the instruction at this byte offset (caches count to the instruction before them).
    pub(super) fn at(&self, offset: i32) -> u8 {
        usize::try_from(offset / 2).ok().and_then(|i| self.flags.get(i)).copied().unwrap_or(0)
    }

    /// The call at `acquired`, by a number of its own, if an exception at `now` would give back what it has acquired. Both are
    /// byte offsets.
    pub(in super::super) fn guarded(&self, acquired: i32, now: i32) -> Option<usize> {
        self.guards.in_force(acquired, now)
    }

    /// Whether the call at the byte offset `acquired` has a guard, wherever it is in force.
    pub(in super::super) fn has_guard(&self, acquired: i32) -> bool {
        self.guards.has(acquired)
    }
}

fn extra_index() -> isize {
    static INDEX: AtomicIsize = AtomicIsize::new(-1);
    // Relaxed: written and read with the GIL held, which orders both.
    let index = INDEX.load(Ordering::Relaxed);
    if index >= 0 {
        return index;
    }
    let index = code::request_extra_index(free);
    INDEX.store(index, Ordering::Relaxed);
    index
}

unsafe extern "C" fn free(points: *mut c_void) {
    if !points.is_null() {
        // SAFETY: stored by `Points::of` as a box of this type, freed once by the interpreter.
        drop(unsafe { Box::from_raw(points.cast::<Points>()) });
    }
}

fn analyse(code: Code, opcodes: &Opcodes) -> Points {
    let mut structure = Structure::of(code, opcodes);
    let finally = structure.finally_handlers();
    if !finally.is_empty() {
        structure.locations = code.locations();
    }
    let mut flags = structure.flags(&finally);
    if is_of_exit_stack(code) {
        for flag in &mut flags {
            let rude = if *flag & SAFE != 0 { RUDE } else { 0 };
            *flag = *flag & !SAFE | rude | IN_FINALLY;
        }
    }
    Points { flags, guards: Guards::of(code, &structure) }
}

/// Whether this is a method of an exit stack of contextlib's: what a `with` statement does in one instruction, to enter a manager
/// and remember its exit, or to forget the exit and run it, they do in several statements. So all of it counts as cleaning up.
fn is_of_exit_stack(code: Code) -> bool {
    const CLASSES: [&str; 3] = ["_BaseExitStack.", "ExitStack.", "AsyncExitStack."];
    CLASSES.iter().any(|class| code.is_qualified_with(class))
}

impl Structure {
    fn mark_finally(&self, finally: &[Handler], flags: &mut [u8]) {
        for handler in finally {
            let copy = self.exceptional_copy(handler);
            let mut span: Option<Location> = None;
            for &unit in &copy {
                flags[unit] |= IN_FINALLY;
                let kind = self.index(unit).map(|i| self.instructions[i].kind);
                if matches!(kind, Some(Kind::Reraise | Kind::PushExcInfo) | None) {
                    continue;
                }
                if let Some(l) = self.locations.get(unit).copied().flatten() {
                    let s = span.get_or_insert(l);
                    s.start = s.start.min(l.start);
                    s.end = s.end.max(l.end);
                }
            }
            let Some(span) = span else { continue };
            for (unit, location) in self.locations.iter().enumerate().take(self.units) {
                if location.is_some_and(|l| span.start <= l.start && l.end <= span.end) {
                    flags[unit] |= IN_FINALLY;
                }
            }
        }
    }

    /// Marks the instructions from `index` up to the one that `last` accepts: more than one only where the enter or
    /// the exit is awaited.
    fn mark_until(&self, flags: &mut [u8], flag: u8, index: usize, last: impl Fn(usize) -> bool) {
        const LONGEST: usize = 12;
        for at in index..self.instructions.len().min(index + LONGEST) {
            if at > index && last(at) {
                return;
            }
            let i = &self.instructions[at];
            for unit in &mut flags[i.first..i.next.min(self.units)] {
                *unit |= flag;
            }
        }
    }

    fn flags(&self, finally: &[Handler]) -> Vec<u8> {
        let mut flags = vec![0; self.units];
        self.mark_finally(finally, &mut flags);
        let mark = |flags: &mut [u8], index: usize, or_with: bool| {
            if self.depth[index].is_none() {
                return;
            }
            let i = &self.instructions[index];
            let rest =
                if i.kind == Kind::PopTop { (index + 1).min(self.depth.len() - 1) } else { index };
            // A discarded result: what counts is what comes after the POP_TOP.
            let opens = if rest != index && or_with {
                self.begins_body(rest) || self.opens_block(rest, true)
            } else {
                self.opens_block(index, or_with)
            };
            let rude = opens || flags[i.first] & IN_FINALLY != 0;
            for flag in &mut flags[i.first..=i.unit] {
                *flag |= if rude { RUDE } else { SAFE };
            }
        };
        for (index, i) in self.instructions.iter().enumerate() {
            match i.kind {
                Kind::Jump { back: true, .. } => {
                    let target = i.jump_target().and_then(|unit| self.index(unit));
                    // Where an `await` goes on, what it waits for is not told yet: SEND.
                    let sends = Kind::Jump { back: false, conditional: true };
                    let is_head = |at: &usize| self.instructions[*at].kind != sends;
                    if let Some(target) = target.filter(is_head) {
                        let first = self.instructions[target].first;
                        let instead = if self.begins_with_exit(target) {
                            // The end of a handler, last in the body of the `with`: the exit is not covered.
                            Some(SAFE)
                        } else if self.opens_block(target, false)
                            && self.target(first) != self.target(i.unit)
                        {
                            // A `try` at the head of a loop is a NOP that no handler covers, not even the one around
                            // the loop. The jump to it is covered.
                            Some(RUDE)
                        } else {
                            None
                        };
                        if let Some(kind) = instead {
                            for flag in &mut flags[i.first..=i.unit] {
                                *flag |= kind;
                            }
                        } else {
                            mark(&mut flags, target, false);
                        }
                    }
                }
                Kind::Resume if index + 1 < self.instructions.len() && i.argument & 3 == 0 => {
                    mark(&mut flags, index + 1, false);
                }
                Kind::Call | Kind::Resume => {
                    if self.is_with_exit(index) {
                        self.mark_until(&mut flags, LEAVING, index, |at| {
                            self.instructions[at].kind == Kind::PopTop
                        });
                    }
                    if let Some(end) = self.end_of_statement(index) {
                        let last = &self.instructions[end];
                        if self.target(last.first) == self.target(i.unit) {
                            mark(&mut flags, end, true);
                        }
                        let after = if last.kind == Kind::PopTop { end + 1 } else { end };
                        if after < self.instructions.len()
                            && (self.begins_body(after) || self.opens_block(after, true))
                        {
                            self.mark_until(&mut flags, BEFORE_TRY, index, |_| true);
                        }
                    }
                }
                Kind::BeforeWith => {
                    self.mark_until(&mut flags, ENTERING, index, |at| self.begins_body(at));
                }
                Kind::WithExceptStart => {
                    self.mark_until(&mut flags, LEAVING, index, |at| {
                        matches!(self.instructions[at].kind, Kind::Jump { conditional: true, .. })
                    });
                }
                _ => {}
            }
            if self.begins_body(index) {
                mark(&mut flags, index, false);
            }
        }
        // A caller is found with its position inside the caches of its call on some versions.
        let lasting = IN_FINALLY | ENTERING | LEAVING | BEFORE_TRY;
        for i in &self.instructions {
            let own = flags[i.unit] & lasting;
            flags[i.unit + 1..i.next.min(self.units)].iter_mut().for_each(|f| *f |= own);
        }
        flags
    }
}
