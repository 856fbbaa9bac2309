//! Every Python thread's stack, read without the GIL.
//!
//! A report about a process whose GIL is held for ever cannot ask the interpreter. This walks the interpreter's
//! records from outside, as `faulthandler` does from its signal handler, through [`Memory`](super::memory::Memory),
//! so a record that changes under the reader gives a wrong or shorter stack, never a fault. Callable from any
//! thread, with or without the GIL; never blocks.

use std::mem::size_of;

use pyo3::ffi;

use super::code::parse_locations;
use super::layout;
use super::memory::Memory;

/// One frame of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Qualified name of the function, `<module>` for a script's own code.
    pub function: String,
    /// The file as the code object names it.
    pub file: String,
    /// Line being executed; the function's first line where it is not known.
    pub line: u32,
}

/// One thread's stack.
#[derive(Clone, Debug)]
pub struct ThreadSnapshot {
    /// `threading.get_ident()` of the thread.
    pub ident: u64,
    /// The kernel's id of the thread.
    pub native_id: u64,
    /// `PyThreadState.id`.
    pub tstate_id: u64,
    /// The frames, innermost first. Empty if the thread runs no Python code.
    pub frames: Vec<Frame>,
}

/// Longer stacks are cut: a report is read by people.
pub const MAX_FRAMES: usize = 256;
const MAX_THREADS: usize = 4096;
const MAX_TEXT: usize = 1024;
const MAX_TABLE: usize = 1 << 20;

/// The stacks of all Python threads of the main interpreter, in the interpreter's order (newest first).
pub fn all() -> Vec<ThreadSnapshot> {
    walk().unwrap_or_default()
}

fn walk() -> Option<Vec<ThreadSnapshot>> {
    let memory = Memory::open()?;
    let interpreter = memory.pointer(layout::runtime() + layout::RT_INTERP_MAIN)?;
    let mut thread = memory.pointer(interpreter + layout::IS_THREADS_HEAD)?;
    let mut threads = Vec::new();
    while thread != 0 && threads.len() < MAX_THREADS {
        threads.push(ThreadSnapshot {
            ident: memory.u64(thread + layout::TS_THREAD_ID)?,
            native_id: memory.u64(thread + layout::TS_NATIVE_ID)?,
            tstate_id: memory.u64(thread + layout::TS_ID)?,
            frames: stack(&memory, thread),
        });
        thread = memory.pointer(thread + layout::TS_NEXT).unwrap_or(0);
    }
    Some(threads)
}

fn stack(memory: &Memory, thread: usize) -> Vec<Frame> {
    #[cfg(Py_3_13)]
    let first = memory.pointer(thread + layout::TS_CURRENT_FRAME);
    #[cfg(not(Py_3_13))]
    let first = memory
        .pointer(thread + layout::TS_CFRAME)
        .and_then(|cframe| memory.pointer(cframe + layout::CFRAME_CURRENT));
    let mut at = first.unwrap_or(0);
    let mut frames = Vec::new();
    while at != 0 && frames.len() < MAX_FRAMES {
        if !is_entry_record(memory, at) && !runs_a_constant(memory, at) {
            match frame(memory, at) {
                Some(frame) => frames.push(frame),
                None => break,
            }
        }
        at = memory.pointer(at + layout::F_PREVIOUS).unwrap_or(0);
    }
    frames
}

#[cfg(Py_3_12)]
fn is_entry_record(memory: &Memory, frame: usize) -> bool {
    memory.u8(frame + layout::F_OWNER).is_some_and(|owner| owner >= layout::OWNED_BY_C_STACK)
}

#[cfg(not(Py_3_12))]
fn is_entry_record(_memory: &Memory, _frame: usize) -> bool {
    false
}

/// Whether the frame is one of the interpreter's own, which runs none of the program's code.
fn runs_a_constant(memory: &Memory, frame: usize) -> bool {
    let code = memory.pointer(frame + layout::F_CODE).map(layout::untagged);
    let flags = code.and_then(|code| memory.u32(code + layout::CO_FLAGS));
    flags.is_some_and(|flags| super::code::is_constant(flags as i32))
}

/// Where the instruction at an address is, if a code object stands at `code`, as it did when somebody ran it, and has such an
/// instruction.
pub(crate) fn place(code: usize, instruction: usize) -> Option<Frame> {
    /// Of an object in use. What is free has the address of other memory in this place, or a pattern.
    const MOST_REFERENCES: u64 = 0xffff_ffff;
    let memory = Memory::open()?;
    let references = memory.u64(code)?;
    // How many units it has follows the type.
    let units = memory.u64(code + 2 * size_of::<usize>())? as usize;
    let first = code + layout::CO_CODE;
    let known = (1..=MOST_REFERENCES).contains(&references)
        && (first..first.saturating_add(units.saturating_mul(2))).contains(&instruction);
    if known { at(&memory, code, instruction) } else { None }
}

fn frame(memory: &Memory, frame: usize) -> Option<Frame> {
    let code = layout::untagged(memory.pointer(frame + layout::F_CODE)?);
    at(memory, code, memory.pointer(frame + layout::F_INSTR)?)
}

fn at(memory: &Memory, code: usize, at: usize) -> Option<Frame> {
    // The type pointer follows the reference count.
    if memory.pointer(code + size_of::<usize>())? != &raw const ffi::PyCode_Type as usize {
        return None;
    }
    let unit = at.wrapping_sub(code + layout::CO_CODE) as isize / 2;
    let first_line = memory.u32(code + layout::CO_FIRSTLINENO)? as i32;
    let line = usize::try_from(unit)
        .ok()
        .and_then(|unit| {
            let table = table(memory, memory.pointer(code + layout::CO_LINETABLE)?)?;
            parse_locations(&table, first_line).get(unit).copied().flatten()
        })
        .map_or(first_line, |location| location.start.0);
    Some(Frame {
        function: text(memory, memory.pointer(code + layout::CO_QUALNAME)?)?,
        file: text(memory, memory.pointer(code + layout::CO_FILENAME)?)?,
        line: line.max(0) as u32,
    })
}

/// The content of a bytes object.
fn table(memory: &Memory, bytes: usize) -> Option<Vec<u8>> {
    const SIZE: usize = 16;
    const DATA: usize = 32;
    let length = memory.u64(bytes + SIZE)? as usize;
    let mut content = vec![0; length.min(MAX_TABLE)];
    memory.bytes(bytes + DATA, &mut content).then_some(content)
}

/// The text of a compact str object.
fn text(memory: &Memory, object: usize) -> Option<String> {
    const LENGTH: usize = 16;
    const STATE: usize = 32;
    let length = (memory.u64(object + LENGTH)? as usize).min(MAX_TEXT);
    let state = memory.u32(object + STATE)?;
    let (kind, compact, ascii) = ((state >> 2 & 7) as usize, state >> 5 & 1, state >> 6 & 1);
    if compact == 0 || !matches!(kind, 1 | 2 | 4) {
        return None;
    }
    let data = object + if ascii == 1 { layout::STR_ASCII_DATA } else { layout::STR_COMPACT_DATA };
    let mut content = vec![0; length * kind];
    if !memory.bytes(data, &mut content) {
        return None;
    }
    let characters = content.chunks_exact(kind).map(|unit| {
        let mut wide = [0; 4];
        wide[..kind].copy_from_slice(unit);
        char::from_u32(u32::from_ne_bytes(wide)).unwrap_or(char::REPLACEMENT_CHARACTER)
    });
    Some(characters.collect())
}
