//! Where every Python thread is, and what it does there: seen from outside, without the interpreter's help.
//!
//! The stacks come from the interpreter's own records, read as they stand; whether a thread runs or sleeps, and in
//! which system call, from the kernel.

use super::facts::{Place, State};
use crate::cpython::snapshot::{self, Frame, ThreadSnapshot};
use crate::look::kernel::{is_own, state_of};
use crate::look::text::{self, Sources};

/// A Python thread, with what it does.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) ident: u64,
    pub(super) native_id: u64,
    /// Innermost first; empty when it runs no Python code.
    pub(super) frames: Vec<Frame>,
    pub(super) state: State,
}

impl Seen {
    pub(super) fn is_main(&self, pid: i32) -> bool {
        self.native_id == pid as u64
    }

    /// Whether a main thread with this stack has left the script: nothing of it is on the stack, or what runs after it.
    pub(super) fn has_left_script(&self) -> bool {
        self.frames.len() < snapshot::MAX_FRAMES
            && self.frames.last().is_none_or(|outermost| {
                !matches!(
                    outermost.function.as_str(),
                    "<module>" | "_run_module_as_main" | "Thread._bootstrap"
                )
            })
    }

    /// Where it is, if it is in Python code.
    pub(super) fn place(&self) -> Option<Place> {
        let frame = self.frames.first()?;
        Some(Place {
            function: frame.function.clone(),
            file: frame.file.clone(),
            line: frame.line,
            state: self.state,
            called_from: match is_of_library(frame) {
                true => self.frames.iter().find(|f| !is_of_library(f)).cloned(),
                false => None,
            },
        })
    }
}

/// Whether a frame is of the standard library or of an installed package.
fn is_of_library(frame: &Frame) -> bool {
    frame.file.starts_with("<frozen ")
        || frame.file.contains("/lib/python3.")
        || frame.file.contains("/site-packages/")
}

/// All Python threads of the process, the main thread first.
pub(super) fn look(pid: i32) -> Vec<Seen> {
    let mut seen: Vec<Seen> = snapshot::all()
        .into_iter()
        .filter(|thread| !is_own(thread.native_id))
        .map(|ThreadSnapshot { ident, native_id, frames, .. }| Seen {
            ident,
            native_id,
            state: state_of(native_id, frames.is_empty()),
            frames,
        })
        .collect();
    // The interpreter lists the newest first.
    seen.reverse();
    seen.sort_by_key(|thread| !thread.is_main(pid));
    seen
}

/// The traceback of a thread as Python prints it, the most recent call last, with a title.
pub(super) fn traceback(title: &str, thread: &Seen, sources: &mut Sources) -> String {
    if thread.frames.is_empty() {
        return format!("quell: {title}: in no Python code\n");
    }
    format!("quell: {title} (most recent call last):\n{}", text::stack(&thread.frames, sources))
}
