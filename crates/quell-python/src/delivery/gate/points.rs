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
//! Of these, not the ones after which the next statement opens a `try` or a `with`: `lock.acquire(); try:` is whole
//! for any lock. And none inside the body of a `finally`.
//!
//! *Where statements end.* The compiler keeps no record of it, but between statements the value stack holds nothing
//! but what the enclosing blocks keep there (iterators of loops, exits of `with`, exceptions being handled). The
//! depth at each instruction follows from the stack effects; what the blocks keep follows from the exception
//! table, whose rows name the depth their handler starts from, and from the loops around.
//!
//! *Where `finally` bodies are.* The compiler writes the body twice: once as an exception handler, once or more for
//! the ways out without exception. The first is found from the exception table; the others come from the same
//! lines and columns of the source as the first.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicIsize, Ordering};

use pyo3::prelude::*;

use super::opcodes::{Kind, Opcodes};
use crate::cpython::code::{self, Code, Handler, Location};

/// The gate may raise before this instruction.
pub(super) const SAFE: u8 = 1;
/// As `SAFE`, but the next statement opens a `try` or a `with`, or this is a `finally` body: only by force.
pub(super) const RUDE: u8 = 2;
/// Part of the body of a `finally`.
pub(super) const IN_FINALLY: u8 = 4;
/// The enter of a context manager runs here.
pub(super) const ENTERING: u8 = 8;
/// The exit of a context manager runs here.
pub(super) const LEAVING: u8 = 16;
/// A call whose statement is followed by one that opens a `try`.
pub(super) const BEFORE_TRY: u8 = 32;

/// What the gate knows of a code object: one byte of flags per code unit.
pub(super) struct Points(Vec<u8>);

impl Points {
    /// The points of `code`, computed on first use. None if the code is too strange to be understood; the gate
    /// then raises nowhere in it.
    pub(super) fn of(py: Python<'_>, code: Code) -> PyResult<&'static Points> {
        let index = extra_index();
        let known = code.extra(index).cast::<Points>();
        if known.is_null() {
            let points = Box::into_raw(Box::new(analyse(code, Opcodes::get(py)?)));
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
        usize::try_from(offset / 2).ok().and_then(|i| self.0.get(i)).copied().unwrap_or(0)
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

/// An instruction, decoded.
#[derive(Clone, Copy)]
struct Instruction {
    /// Where it stands, in code units; its EXTENDED_ARG prefixes stand before it.
    unit: usize,
    /// Where its first prefix stands.
    first: usize,
    /// Where the next instruction starts, caches skipped.
    next: usize,
    opcode: u8,
    argument: u32,
    kind: Kind,
}

impl Instruction {
    fn jump_target(&self) -> Option<usize> {
        let argument = self.argument as usize;
        match self.kind {
            Kind::Jump { back: true, .. } => self.next.checked_sub(argument),
            Kind::Jump { back: false, .. } | Kind::ForIter => Some(self.next + argument),
            _ => None,
        }
    }

    fn falls_through(&self) -> bool {
        !matches!(self.kind, Kind::Jump { conditional: false, .. } | Kind::Leave | Kind::Reraise)
    }
}

fn decode(bytecode: &[u8], opcodes: &Opcodes) -> Vec<Instruction> {
    let mut instructions = Vec::with_capacity(bytecode.len() / 2);
    let (mut argument, mut first) = (0, None);
    for (unit, pair) in bytecode.chunks_exact(2).enumerate() {
        let kind = opcodes.kind(pair[0]);
        if kind == Kind::Cache {
            if let Some(last) = instructions.last_mut() {
                let last: &mut Instruction = last;
                last.next = unit + 1;
            }
            continue;
        }
        argument = argument << 8 | u32::from(pair[1]);
        let start = *first.get_or_insert(unit);
        if kind == Kind::ExtendedArg {
            continue;
        }
        let next = unit + 1;
        instructions.push(Instruction {
            unit,
            first: start,
            next,
            opcode: pair[0],
            argument,
            kind,
        });
        (argument, first) = (0, None);
    }
    instructions
}

unsafe extern "C" {
    fn PyCompile_OpcodeStackEffectWithJump(opcode: c_int, argument: c_int, jump: c_int) -> c_int;
}

/// A code object under analysis. Positions are code units.
struct Analysis {
    units: usize,
    instructions: Vec<Instruction>,
    handlers: Vec<Handler>,
    locations: Vec<Option<Location>>,
    /// Instruction that a unit belongs to, prefixes included; caches belong to none.
    at: Vec<Option<usize>>,
    /// Depth of the value stack before each instruction, where control can reach it.
    depth: Vec<Option<i32>>,
    /// Bodies of `for` loops: from after FOR_ITER to its exit.
    loops: Vec<(usize, usize)>,
}

fn analyse(code: Code, opcodes: &Opcodes) -> Points {
    let bytecode = code.bytecode();
    let instructions = decode(&bytecode, opcodes);
    let units = bytecode.len() / 2;
    let mut at = vec![None; units];
    for (index, i) in instructions.iter().enumerate() {
        at[i.first..=i.unit].fill(Some(index));
    }
    let loops = instructions
        .iter()
        .filter(|i| i.kind == Kind::ForIter)
        .filter_map(|i| Some((i.next, i.jump_target()?)))
        .collect();
    let mut analysis = Analysis {
        units,
        depth: vec![None; instructions.len()],
        instructions,
        handlers: code.handlers(),
        locations: Vec::new(),
        at,
        loops,
    };
    analysis.find_depths();
    let finally = analysis.finally_handlers();
    if !finally.is_empty() {
        analysis.locations = code.locations();
    }
    Points(analysis.flags(&finally))
}

impl Analysis {
    /// The handler that an exception before this unit goes to.
    fn handler(&self, unit: usize) -> Option<&Handler> {
        self.handlers.iter().find(|h| h.start <= unit && unit < h.end)
    }

    fn target(&self, unit: usize) -> Option<usize> {
        self.handler(unit).map(|h| h.target)
    }

    fn index(&self, unit: usize) -> Option<usize> {
        self.at.get(unit).copied().flatten()
    }

    /// Follows control flow from the start and from every handler.
    fn find_depths(&mut self) {
        let mut work = Vec::new();
        let seed = |unit: usize, depth: i32, work: &mut Vec<(usize, i32)>| {
            if let Some(index) = self.index(unit) {
                work.push((index, depth));
            }
        };
        seed(0, 0, &mut work);
        for handler in &self.handlers {
            seed(handler.target, handler.depth + i32::from(handler.lasti) + 1, &mut work);
        }
        while let Some((index, depth)) = work.pop() {
            if self.depth[index].is_some() {
                continue;
            }
            self.depth[index] = Some(depth);
            let i = self.instructions[index];
            let effect = |jump: c_int| {
                // SAFETY: a pure function of its arguments.
                unsafe {
                    PyCompile_OpcodeStackEffectWithJump(
                        c_int::from(i.opcode),
                        i.argument as c_int,
                        jump,
                    )
                }
            };
            if let Some(target) = i.jump_target().and_then(|unit| self.index(unit)) {
                work.push((target, depth + effect(1)));
            }
            if i.falls_through()
                && let Some(next) = self.index(i.next)
            {
                // The caller gets the generator; the frame goes on with what POP_TOP takes away.
                let after = if i.kind == Kind::ReturnGenerator { 1 } else { depth + effect(0) };
                work.push((next, after));
            }
        }
    }

    /// What the blocks around this unit keep on the stack between statements.
    fn base(&self, unit: usize) -> i32 {
        let handler = self.handler(unit);
        let inside = |start: usize| self.target(start) == handler.map(|h| h.target);
        let loops = self
            .loops
            .iter()
            .filter(|&&(start, end)| start <= unit && unit < end && inside(start - 1))
            .count();
        handler.map_or(0, |h| h.depth) + loops as i32
    }

    /// Whether a statement can begin at this instruction.
    fn is_boundary(&self, index: usize) -> bool {
        self.depth[index] == Some(self.base(self.instructions[index].first))
    }

    /// Handlers that are bodies of `finally`, with the part of the source they come from.
    fn finally_handlers(&self) -> Vec<Handler> {
        let mut found: Vec<Handler> = Vec::new();
        for handler in &self.handlers {
            if found.iter().any(|h| h.target == handler.target) {
                continue;
            }
            let Some(start) = self.index(handler.target) else { continue };
            if self.instructions[start].kind == Kind::PushExcInfo && self.is_finally(start) {
                found.push(*handler);
            }
        }
        found
    }

    /// A handler starts here; does it belong to a `finally`, neither to an `except` nor to a `with`?
    fn is_finally(&self, start: usize) -> bool {
        let inner = self.depth[start].map(|d| d + 1);
        for (n, i) in self.instructions[start + 1..].iter().enumerate() {
            match i.kind {
                Kind::WithExceptStart | Kind::CheckMatch => return false,
                // `except:` throws the exception away at once.
                Kind::PopTop if n == 0 => return false,
                Kind::PushExcInfo | Kind::Reraise => return true,
                _ if n > 0 && self.depth[start + 1 + n] == inner => return true,
                _ => {}
            }
        }
        true
    }

    /// Units of the exceptional copy of a `finally` body: what its own clean-up handler covers.
    fn exceptional_copy(&self, handler: &Handler) -> Vec<usize> {
        let Some(cleanup) = self.target(handler.target) else { return Vec::new() };
        (handler.target + 1..self.units)
            .filter(|&unit| {
                let mut at = unit;
                for _ in 0..32 {
                    match self.target(at) {
                        Some(target) if target == cleanup => return true,
                        Some(target) if target != at => at = target,
                        _ => return false,
                    }
                }
                false
            })
            .collect()
    }

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

    /// Whether the statement that begins at `index` opens a `try`, or (if asked) a `with`.
    fn opens_block(&self, index: usize, or_with: bool) -> bool {
        /// The expression of a `with` is rarely longer; if it is, the point counts as harmless.
        const LONGEST: usize = 24;
        let here = self.target(self.instructions[index].first);
        let mut only_nops = true;
        for (n, i) in self.instructions[index..].iter().take(LONGEST).enumerate() {
            // `try:` itself is a NOP, if anything; its body starts a row of the table.
            if n > 0 && only_nops && self.begins_body(index + n) && self.target(i.first) != here {
                return true;
            }
            only_nops &= i.kind == Kind::Nop;
            let ended = n > 0 && !only_nops && self.is_boundary(index + n);
            match i.kind {
                Kind::BeforeWith => return or_with,
                Kind::ForIter => return false,
                _ if ended || !i.falls_through() || !(or_with || only_nops) => return false,
                _ => {}
            }
        }
        false
    }

    /// Whether this row of the table covers the body of a `try` or a `with` (not a handler's own clean-up).
    fn opens_body(&self, handler: &Handler) -> bool {
        self.index(handler.target).is_some_and(|i| self.instructions[i].kind == Kind::PushExcInfo)
    }

    /// The instruction after a call at which its statement is over, and the call's result in place or gone.
    fn end_of_statement(&self, call: usize) -> Option<usize> {
        let next = call + 1;
        if self.instructions.get(next)?.kind == Kind::PopTop
            && self.depth[next] == Some(self.base(self.instructions[next].first) + 1)
        {
            return Some(next);
        }
        for index in next..self.instructions.len().min(next + 64) {
            let i = &self.instructions[index];
            if self.is_boundary(index) {
                return Some(index);
            }
            if !i.falls_through() || matches!(i.kind, Kind::Call | Kind::Resume | Kind::ForIter) {
                return None;
            }
        }
        None
    }

    /// The call that leaves a `with` block without exception: `exit(None, None, None)`.
    fn is_with_exit(&self, call: usize) -> bool {
        let i = &self.instructions[call];
        // PRECALL stands between the arguments and the call on 3.11.
        let before = &self.instructions[..call];
        let before = match before.last() {
            Some(last) if last.kind == Kind::Other => &before[..call - 1],
            _ => before,
        };
        // The same constant three times: what else is called with constants has its callable or its names among them.
        i.kind == Kind::Call
            && i.argument == 2
            && before.len() >= 3
            && before[before.len() - 3..].iter().all(|b| {
                b.kind == Kind::LoadConst && b.argument == before[before.len() - 1].argument
            })
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
                    if let Some(target) = i.jump_target().and_then(|unit| self.index(unit)) {
                        let first = self.instructions[target].first;
                        if self.opens_block(target, false)
                            && self.target(first) != self.target(i.unit)
                        {
                            // A `try` at the head of a loop is a NOP that no handler covers, not even the one around
                            // the loop. The jump to it is covered.
                            for flag in &mut flags[i.first..=i.unit] {
                                *flag |= RUDE;
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
                            && (self.begins_body(after) || self.opens_block(after, false))
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

    /// The first instruction of the body of a `try`, or of a `with` after its enter.
    fn begins_body(&self, index: usize) -> bool {
        let i = &self.instructions[index];
        self.handlers.iter().any(|h| {
            let result_of_enter = i32::from(self.is_with(h));
            h.start == i.first
                && self.opens_body(h)
                && self.depth[index] == Some(h.depth + result_of_enter)
        })
    }

    /// Whether this row covers the body of a `with`.
    fn is_with(&self, handler: &Handler) -> bool {
        let first = self.index(handler.target).and_then(|i| self.instructions.get(i + 1));
        first.is_some_and(|i| i.kind == Kind::WithExceptStart)
    }
}
