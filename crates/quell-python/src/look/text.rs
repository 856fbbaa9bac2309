//! How stacks, and what is known of a thread, are written for people. The same for [`dump`](super::dump) and for what `quell run` leaves
//! behind at the end of its grace; so none of it asks the interpreter.

use std::collections::HashMap;
use std::fmt::Write;

use super::facts::{Facts, Held, Holder};
use super::kernel::State;
use crate::cpython::snapshot::Frame;

/// Source files that were read, for all the stacks of one report.
#[derive(Default)]
pub(crate) struct Sources(HashMap<String, Option<Vec<u8>>>);

/// A stack as Python prints it, the most recent call last. `frames` has the innermost first.
pub(crate) fn stack(frames: &[Frame], sources: &mut Sources) -> String {
    let mut text = String::new();
    for frame in frames.iter().rev() {
        let Frame { function, file, line } = frame;
        let _ = writeln!(text, "  File \"{file}\", line {line}, in {function}");
        if let Some(source) = sources.line(file, *line) {
            let _ = writeln!(text, "    {source}");
        }
    }
    text
}

impl Sources {
    /// A line of a source file, if there is such a file.
    fn line(&mut self, file: &str, line: u32) -> Option<String> {
        if !self.0.contains_key(file) {
            self.0.insert(file.to_owned(), read(file));
        }
        let bytes = self.0.get(file)?.as_ref()?;
        let line = bytes.split(|b| *b == b'\n').nth(line.checked_sub(1)? as usize)?;
        let text = String::from_utf8_lossy(line).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }
}

fn read(file: &str) -> Option<Vec<u8>> {
    /// Nobody wants a report to read more than that.
    const LARGEST: u64 = 16 << 20;
    let meta = std::fs::metadata(file).ok()?;
    if meta.is_file() && meta.len() <= LARGEST { std::fs::read(file).ok() } else { None }
}

fn place(frame: &Frame) -> String {
    format!("{}:{} in {}", frame.file, frame.line, frame.function)
}

/// By what a reader knows the thread.
fn name(name: Option<&str>, ident: u64) -> String {
    name.map_or_else(|| format!("thread {ident:#x}"), str::to_owned)
}

fn title(thread: &Facts) -> String {
    name(thread.name.as_deref(), thread.ident)
}

/// `Lock 0x7f… at a.py:3 in f, which Thread-2 acquired at b.py:4 in g`
pub(crate) fn waits(thread: &Facts) -> Option<String> {
    let waits = thread.waits.as_ref()?;
    let at = caller(thread).map(|frame| format!(" at {}", place(frame))).unwrap_or_default();
    let holder = waits.holder.as_ref();
    if waits.thing.address == 0 {
        let what = match holder {
            Some(other) => format!("the end of {}", name(other.name.as_deref(), other.ident)),
            None => waits.thing.kind.clone(),
        };
        return Some(what + &at);
    }
    let held = holder.map(|holder| held_by(thread, holder)).unwrap_or_default();
    Some(format!("{} {:#x}{at}{held}", waits.thing.kind, waits.thing.address))
}

/// Where the program waits: past what `threading` does for it.
fn caller(thread: &Facts) -> Option<&Frame> {
    let within = |frame: &&Frame| frame.file.ends_with("/threading.py");
    thread.stack.iter().find(|frame| !within(frame)).or_else(|| thread.place())
}

fn held_by(thread: &Facts, holder: &Holder) -> String {
    let who = if holder.number == thread.number {
        "it".to_owned()
    } else {
        name(holder.name.as_deref(), holder.ident)
    };
    let ended = if holder.has_ended { ", which has ended," } else { "" };
    match &holder.taken {
        Some(taken) => format!(", which {who}{ended} acquired at {}", place(taken)),
        None => format!(", which {who}{ended} has acquired"),
    }
}

/// `Lock 0x7f… acquired at a.py:3 in f`
pub(crate) fn held(held: &Held) -> String {
    let thing = format!("{} {:#x}", held.thing.kind, held.thing.address);
    match &held.taken {
        Some(taken) => format!("{thing} acquired at {}", place(taken)),
        None => thing,
    }
}

/// One line: which thread, and what it does.
pub(crate) fn headline(thread: &Facts) -> String {
    let mut notes = Vec::new();
    notes.extend(thread.id.map(|id| format!("id {id}")));
    notes.extend((thread.native_id != 0).then(|| format!("native {}", thread.native_id)));
    notes.extend((thread.daemon == Some(true)).then(|| "daemon".to_owned()));
    let doing = match (thread.state, waits(thread)) {
        (_, Some(waits)) => format!("waits for {waits}"),
        (State::Running, None) => "runs Python code".to_owned(),
        (State::Blocked(call), None) => format!("is blocked in {call}"),
        (State::Native, None) => "runs native code".to_owned(),
        (State::Ended, None) => "has ended".to_owned(),
    };
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
    format!("{}{notes} {doing}", title(thread))
}

/// A circle, in words; each waits for the next.
pub(crate) fn deadlock(circle: &[Facts]) -> String {
    let mut text = match circle.len() {
        1 => "deadlock of a thread with itself:".to_owned(),
        count => format!("deadlock of {count} threads:"),
    };
    for thread in circle {
        let what = waits(thread).unwrap_or_default();
        let _ = write!(text, "\n  {} waits for {what}", title(thread));
    }
    text.push_str(match circle.len() {
        1 => "\nrelease it first, or use an RLock",
        _ => "\nacquire these in one order everywhere, or release what is held before waiting for the next",
    });
    text
}

/// All threads.
pub(crate) fn report(threads: &[Facts], circles: &[Vec<Facts>], stacks: bool) -> String {
    let mut sources = Sources::default();
    let count = match threads.len() {
        1 => "1 thread".to_owned(),
        count => format!("{count} threads"),
    };
    let mut text = format!("quell: {count} in process {}\n", std::process::id());
    for circle in circles {
        let _ = writeln!(text, "\n{}", deadlock(circle));
    }
    for thread in threads {
        let stuck = circles.iter().flatten().any(|other| other.number == thread.number);
        let mark = if stuck { " [deadlock]" } else { "" };
        let _ = writeln!(text, "\n{}{mark}", headline(thread));
        if let Some(waits) = &thread.waits {
            let limit = if waits.limited { ", with a time-out" } else { "" };
            let _ = writeln!(text, "  has waited for {:.1} s{limit}", waits.seconds);
        }
        for hold in &thread.holds {
            let _ = writeln!(text, "  holds {}", held(hold));
        }
        if !thread.pending.is_empty() {
            let _ = writeln!(text, "  pending: {}", thread.pending.join(", "));
        }
        match (thread.shielded, thread.masked) {
            (true, _) => text.push_str("  in a shield\n"),
            (false, true) => text.push_str("  in a mask\n"),
            (false, false) => {}
        }
        if stacks && !thread.stack.is_empty() {
            text.push_str(&stack(&thread.stack, &mut sources));
        }
    }
    text
}
