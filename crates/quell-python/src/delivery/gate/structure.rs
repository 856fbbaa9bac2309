//! The structure of a code object, as far as it can be read from its bytecode: where statements end, which blocks are
//! around, which handlers belong to a `finally` or a `with`.
//!
//! Positions are code units unless they are called an index, which counts instructions.

use std::collections::HashSet;
use std::ffi::c_int;

use super::opcodes::{Kind, Opcodes};
use crate::cpython::code::{Code, Handler, Location};

/// An instruction, decoded.
#[derive(Clone, Copy)]
pub(super) struct Instruction {
    /// Where it stands, in code units; its EXTENDED_ARG prefixes stand before it.
    pub(super) unit: usize,
    /// Where its first prefix stands.
    pub(super) first: usize,
    /// Where the next instruction starts, caches skipped.
    pub(super) next: usize,
    pub(super) opcode: u8,
    pub(super) argument: u32,
    pub(super) kind: Kind,
}

impl Instruction {
    pub(super) fn jump_target(&self) -> Option<usize> {
        let argument = self.argument as usize;
        match self.kind {
            Kind::Jump { back: true, .. } => self.next.checked_sub(argument),
            Kind::Jump { back: false, .. } | Kind::ForIter => Some(self.next + argument),
            _ => None,
        }
    }

    pub(super) fn falls_through(&self) -> bool {
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
        let enters =
            |last: &Instruction| last.kind == Kind::LoadSpecial && last.argument.is_multiple_of(2);
        let kind = match kind {
            Kind::Call if instructions.last().is_some_and(enters) => Kind::BeforeWith,
            kind => kind,
        };
        let opcode = pair[0];
        instructions.push(Instruction { unit, first: start, next, opcode, argument, kind });
        (argument, first) = (0, None);
    }
    instructions
}

unsafe extern "C" {
    fn PyCompile_OpcodeStackEffectWithJump(opcode: c_int, argument: c_int, jump: c_int) -> c_int;
}

/// A code object, taken apart. Positions are code units.
pub(super) struct Structure {
    pub(super) units: usize,
    pub(super) instructions: Vec<Instruction>,
    pub(super) handlers: Vec<Handler>,
    pub(super) locations: Vec<Option<Location>>,
    /// Instruction that a unit belongs to, prefixes included; caches belong to none.
    at: Vec<Option<usize>>,
    /// Depth of the value stack before each instruction, where control can reach it.
    pub(super) depth: Vec<Option<i32>>,
    /// Bodies of `for` loops: from after FOR_ITER to its exit.
    loops: Vec<(usize, usize)>,
}

impl Structure {
    /// Takes `code` apart.
    pub(super) fn of(code: Code, opcodes: &Opcodes) -> Structure {
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
        let mut structure = Structure {
            units,
            depth: vec![None; instructions.len()],
            instructions,
            handlers: code.handlers(),
            locations: Vec::new(),
            at,
            loops,
        };
        structure.find_depths();
        structure
    }

    /// The handler that an exception before this unit goes to.
    pub(super) fn handler(&self, unit: usize) -> Option<&Handler> {
        self.handlers.iter().find(|h| h.start <= unit && unit < h.end)
    }

    pub(super) fn target(&self, unit: usize) -> Option<usize> {
        self.handler(unit).map(|h| h.target)
    }

    pub(super) fn index(&self, unit: usize) -> Option<usize> {
        self.at.get(unit).copied().flatten()
    }

    /// Follows control flow from the start and from every handler.
    pub(super) fn find_depths(&mut self) {
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
    pub(super) fn base(&self, unit: usize) -> i32 {
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
    pub(super) fn is_boundary(&self, index: usize) -> bool {
        self.depth[index] == Some(self.base(self.instructions[index].first))
    }

    /// Handlers that are bodies of `finally`, or clauses that do the same for exceptions only: `except: … raise`.
    pub(super) fn finally_handlers(&self) -> Vec<Handler> {
        let mut found: Vec<Handler> = Vec::new();
        for handler in &self.handlers {
            if found.iter().any(|h| h.target == handler.target) {
                continue;
            }
            let Some(start) = self.index(handler.target) else { continue };
            let cleans_up = || self.is_finally(start) || self.always_raises(handler);
            if self.instructions[start].kind == Kind::PushExcInfo && cleans_up() {
                found.push(*handler);
            }
        }
        found
    }

    /// A handler starts here; does it belong to a `finally`, neither to an `except` nor to a `with`?
    pub(super) fn is_finally(&self, start: usize) -> bool {
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

    /// Whether the clauses that start here can only be left by an exception, and are not endless.
    fn always_raises(&self, handler: &Handler) -> bool {
        let clauses: HashSet<usize> = self.exceptional_copy(handler).into_iter().collect();
        let mut raises = false;
        for i in &self.instructions {
            if !clauses.contains(&i.unit) {
                continue;
            }
            let next = i.falls_through().then_some(i.next);
            let mut ways = i.jump_target().into_iter().chain(next).map(|u| self.after_nops(u));
            if ways.any(|unit| !clauses.contains(&unit)) {
                return false;
            }
            raises |= i.kind == Kind::Leave;
        }
        raises
    }

    /// Where control goes on from this unit. A `try` is a NOP that no handler covers.
    fn after_nops(&self, mut unit: usize) -> usize {
        while let Some(index) = self.index(unit)
            && self.instructions[index].kind == Kind::Nop
        {
            unit = self.instructions[index].next;
        }
        unit
    }

    /// Units of the exceptional copy of a `finally` body: what its own clean-up handler covers.
    pub(super) fn exceptional_copy(&self, handler: &Handler) -> Vec<usize> {
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

    /// Whether what begins at `index` opens a `try`, or (if asked) a `with`: as the very next statement or, if asked for a
    /// `with` too, after a few simple ones, which call nothing and go straight on.
    pub(super) fn opens_block(&self, index: usize, or_with: bool) -> bool {
        /// If more comes before it, the point counts as harmless.
        const LONGEST: usize = 24;
        let here = self.target(self.instructions[index].first);
        let (mut only_nops, mut calls) = (true, false);
        for (n, i) in self.instructions[index..].iter().take(LONGEST).enumerate() {
            let at = index + n;
            // `try:` itself is a NOP, if anything; its body starts a row of the table.
            if n > 0 && !calls && self.begins_body(at) && self.target(i.first) != here {
                return true;
            }
            only_nops &= i.kind == Kind::Nop;
            if n > 0 && calls && self.is_boundary(at) {
                return false;
            }
            match i.kind {
                Kind::BeforeWith => return or_with,
                Kind::ForIter | Kind::Jump { .. } => return false,
                _ if !i.falls_through() || !(or_with || only_nops) => return false,
                Kind::Call => calls = true,
                _ => {}
            }
        }
        false
    }

    /// Whether this row of the table covers the body of a `try` or a `with` (not a handler's own clean-up).
    pub(super) fn opens_body(&self, handler: &Handler) -> bool {
        self.index(handler.target).is_some_and(|i| self.instructions[i].kind == Kind::PushExcInfo)
    }

    /// The instruction after a call at which its statement is over, and the call's result in place or gone.
    pub(super) fn end_of_statement(&self, call: usize) -> Option<usize> {
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
    pub(super) fn is_with_exit(&self, call: usize) -> bool {
        // Up to 3.13 the first of the constants is found where a call has its receiver.
        const ARGUMENTS: u32 = if cfg!(Py_3_14) { 3 } else { 2 };
        let i = &self.instructions[call];
        // PRECALL stands between the arguments and the call on 3.11.
        let before = &self.instructions[..call];
        let before = match before.last() {
            Some(last) if last.kind == Kind::Other => &before[..call - 1],
            _ => before,
        };
        // The same constant three times: what else is called with constants has its callable or its names among them.
        i.kind == Kind::Call
            && i.argument == ARGUMENTS
            && before.len() > 3
            // Where the call is an ordinary one, its callable comes right before its arguments.
            && !(cfg!(Py_3_14) && before[before.len() - 4].kind == Kind::LoadCallable)
            && before[before.len() - 3..].iter().all(|b| {
                b.kind == Kind::LoadConst && b.argument == before[before.len() - 1].argument
            })
    }

    /// Whether the call that leaves a `with` block begins here.
    pub(super) fn begins_with_exit(&self, index: usize) -> bool {
        let mut call = index;
        while self.instructions.get(call).is_some_and(|i| i.kind == Kind::LoadConst) {
            call += 1;
        }
        // PRECALL stands between the arguments and the call on 3.11.
        let precall = self.instructions.get(call).is_some_and(|i| i.kind == Kind::Other);
        let call = call + usize::from(precall);
        call > index && call < self.instructions.len() && self.is_with_exit(call)
    }

    /// The first instruction of the body of a `try`, or of a `with` after its enter.
    pub(super) fn begins_body(&self, index: usize) -> bool {
        let i = &self.instructions[index];
        self.handlers.iter().any(|h| {
            let result_of_enter = i32::from(self.is_with(h));
            h.start == i.first
                && self.opens_body(h)
                && self.depth[index] == Some(h.depth + result_of_enter)
                // The body goes on in a row of its own where another block in it has ended.
                && self.handlers.iter().all(|o| o.target != h.target || o.start >= h.start)
        })
    }

    /// Whether this row covers the body of a `with`.
    pub(super) fn is_with(&self, handler: &Handler) -> bool {
        let first = self.index(handler.target).and_then(|i| self.instructions.get(i + 1));
        first.is_some_and(|i| i.kind == Kind::WithExceptStart)
    }
}
