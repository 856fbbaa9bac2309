//! Which handlers give back what a call has acquired, and where an exception would run them.
//!
//! A lock that is acquired by a `with` statement is guarded by that statement's exit; one that a method has acquired by the
//! `try` that comes next, if nothing is called in between and one of its clauses runs for every exception: a `finally`, an
//! `except:` or an `except BaseException:`. What such a clause does is the program's business, as it is for any exception. Any
//! other acquire has no guard.
//!
//! A guard is in force at an instruction if an exception there comes to it: through handlers that raise again, at worst. So
//! not between the acquire and the body, and not in the guard itself.

use std::collections::HashSet;

use super::opcodes::Kind;
use super::structure::{Instruction, Structure};
use crate::cpython::code::{Code, Handler};

/// The guards of one code object. Positions are code units.
pub(super) struct Guards {
    handlers: Vec<Handler>,
    calls: Vec<Guarded>,
}

/// A call that has a guard, if it acquires anything.
struct Guarded {
    /// Where the call stands, and the next instruction.
    start: usize,
    end: usize,
    /// Where its guards start.
    targets: Vec<usize>,
}

impl Guards {
    pub(super) fn of(code: Code, structure: &Structure) -> Guards {
        let calls = (0..structure.instructions.len())
            .filter_map(|call| {
                let targets = structure.guards(code, call);
                let i = &structure.instructions[call];
                // Up to 3.11 a C function may run in the instruction before the call, PRECALL.
                let before = call.checked_sub(1).map(|at| &structure.instructions[at]);
                let precall = |b: &&Instruction| {
                    i.kind == Kind::Call && b.kind == Kind::Other && !cfg!(Py_3_12)
                };
                let start = before.filter(precall).map_or(i.unit, |b| b.unit);
                (!targets.is_empty()).then_some(Guarded { start, end: i.next, targets })
            })
            .collect();
        Guards { handlers: structure.handlers.clone(), calls }
    }

    /// The call at the byte offset `acquired`, by its number, if it has a guard that is in force at `now`.
    pub(super) fn in_force(&self, acquired: i32, now: i32) -> Option<usize> {
        let (at, now) = (self.call(acquired)?, unit(now)?);
        let targets = &self.calls[at].targets;
        chain(&self.handlers, now).any(|target| targets.contains(&target)).then_some(at)
    }

    /// Whether the call at the byte offset `acquired` has a guard.
    pub(super) fn has(&self, acquired: i32) -> bool {
        self.call(acquired).is_some()
    }

    fn call(&self, acquired: i32) -> Option<usize> {
        let acquired = unit(acquired)?;
        self.calls.iter().position(|c| c.start <= acquired && acquired < c.end)
    }
}

/// The code unit at a byte offset.
fn unit(offset: i32) -> Option<usize> {
    usize::try_from(offset).ok().map(|offset| offset / 2)
}

/// Where the handlers start that an exception before `unit` comes to, if each of them raises it again.
fn chain(handlers: &[Handler], unit: usize) -> impl Iterator<Item = usize> {
    let next =
        |unit: usize| handlers.iter().find(|h| h.start <= unit && unit < h.end).map(|h| h.target);
    std::iter::successors(next(unit), move |&target| next(target)).take(handlers.len() + 1)
}

impl Structure {
    /// Where the guards of the call with this index start.
    fn guards(&self, code: Code, call: usize) -> Vec<usize> {
        let i = &self.instructions[call];
        let enters = match i.kind {
            Kind::BeforeWith => true,
            Kind::Call => false,
            _ => return Vec::new(),
        };
        let body = if enters {
            Some(call + 1).filter(|&at| at < self.instructions.len() && self.begins_body(at))
        } else {
            self.body_after(call)
        };
        let Some(body) = body else { return Vec::new() };
        let outside: HashSet<usize> = chain(&self.handlers, i.unit).collect();
        chain(&self.handlers, self.instructions[body].first)
            .filter(|target| !outside.contains(target))
            .filter(|&target| self.is_guard(code, target, enters))
            .collect()
    }

    /// The first instruction of the body of the `try` that comes next after a call, on one of the ways that go on from there.
    fn body_after(&self, call: usize) -> Option<usize> {
        /// If more comes before it, the call has no guard.
        const LONGEST: usize = 48;
        let here = self.target(self.instructions[call].unit);
        let mut ways = vec![call + 1];
        let mut seen = HashSet::new();
        while let Some(mut at) = ways.pop() {
            while seen.len() < LONGEST && seen.insert(at) {
                let Some(i) = self.instructions.get(at) else { break };
                if self.begins_body(at) && self.target(i.first) != here {
                    return Some(at);
                }
                let target = i.jump_target().and_then(|unit| self.index(unit));
                match i.kind {
                    Kind::Call | Kind::BeforeWith | Kind::Resume | Kind::ForIter => break,
                    Kind::Jump { back: true, .. } => break,
                    Kind::Jump { conditional: true, .. } => ways.extend(target),
                    Kind::Jump { conditional: false, .. } => {
                        let Some(target) = target else { break };
                        at = target;
                        continue;
                    }
                    _ if !i.falls_through() => break,
                    _ => {}
                }
                at += 1;
            }
        }
        None
    }

    /// Whether the handler that starts here is the exit of a `with`, or else a clause for every exception.
    fn is_guard(&self, code: Code, target: usize, of_with: bool) -> bool {
        let Some(start) = self.index(target) else { return false };
        let kind = |at: usize| self.instructions.get(at).map(|i| i.kind);
        if kind(start) != Some(Kind::PushExcInfo) {
            return false;
        }
        if of_with || kind(start + 1) == Some(Kind::WithExceptStart) {
            return of_with && kind(start + 1) == Some(Kind::WithExceptStart);
        }
        let except = kind(start + 1) == Some(Kind::PopTop);
        except || self.is_finally(start) || self.names_base_exception(code, start + 1)
    }

    /// Whether an `except` clause that begins with this instruction names `BaseException`.
    fn names_base_exception(&self, code: Code, index: usize) -> bool {
        let Some([name, check]) = self.instructions.get(index..index + 2) else { return false };
        // LOAD_GLOBAL keeps a flag in the lowest bit.
        name.kind == Kind::LoadCallable
            && check.kind == Kind::CheckMatch
            && code.has_name(name.argument as usize >> 1, c"BaseException")
    }
}
