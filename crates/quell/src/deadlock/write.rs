//! Waits as JSON and as a graph in the language of `dot`. Both are small enough to be written by hand; names are a
//! user's, and escaped.

use super::report::{Holder, Kind, Waiting, Waits};
use crate::thread::Thread;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Instant;

impl Waits {
    /// As JSON: `{"waits": […]}`, an object for each, without line breaks.
    ///
    /// | key | value |
    /// | --- | --- |
    /// | `thread` | `{"id": number, "name": string or null}` |
    /// | `for` | `{"kind": string, "address": string or null, "name": string or null}` |
    /// | `at` | where it was called, or null |
    /// | `seconds` | for how long, or null |
    /// | `limited`, `may_fail` | whether it has a deadline, whether it may end with an error |
    /// | `holder` | null if such a thing has none; `{"state": "thread" or "ended", "id": …, "name": …}`; `{"state": "unknown"}` |
    /// | `taken_at` | where the holder took it, or null |
    /// | `description` | what the embedder says, or null |
    pub fn to_json(&self) -> String {
        let now = Instant::now();
        let mut out = String::from("{\"waits\":[");
        for (at, waiting) in self.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            json(&mut out, waiting, now);
        }
        out.push_str("]}");
        out
    }

    /// As a directed graph for `dot`: threads are boxes, locks and the like ellipses; an arrow goes from who waits to what it
    /// waits for, and from there to who holds it.
    pub fn to_dot(&self) -> String {
        let mut out = String::from("digraph waits {\n");
        let mut seen = BTreeSet::new();
        for waiting in self {
            let from = thread_node(&mut out, &mut seen, &waiting.thread);
            let at = match (&waiting.description, waiting.at) {
                (Some(description), _) => description.clone(),
                (None, at) => at.map(|at| at.to_string()).unwrap_or_default(),
            };
            if let (Kind::Thread, Holder::Thread(other)) = (waiting.kind, &waiting.holder) {
                let to = thread_node(&mut out, &mut seen, other);
                arrow(&mut out, &from, &to, &at);
                continue;
            }
            let to = thing_node(&mut out, &mut seen, waiting);
            arrow(&mut out, &from, &to, &at);
            let holder = match &waiting.holder {
                Holder::Thread(thread) => thread_node(&mut out, &mut seen, thread),
                Holder::Ended(id) => {
                    let node = format!("t{id}");
                    define(&mut out, &mut seen, &node, &format!("thread {id} (ended)"), "box");
                    node
                }
                Holder::Unknown | Holder::None => continue,
            };
            let taken_at = waiting.taken_at.map(|at| at.to_string()).unwrap_or_default();
            arrow(&mut out, &to, &holder, &taken_at);
        }
        out.push_str("}\n");
        out
    }
}

fn json(out: &mut String, waiting: &Waiting, now: Instant) {
    out.push_str("{\"thread\":");
    json_thread(out, None, &waiting.thread);
    out.push_str(",\"for\":{\"kind\":");
    json_text(out, Some(waiting.kind.word()));
    out.push_str(",\"address\":");
    let address = (waiting.address != 0).then(|| format!("{:#x}", waiting.address));
    json_text(out, address.as_deref());
    out.push_str(",\"name\":");
    json_text(out, waiting.name.as_deref());
    out.push_str("},\"at\":");
    json_text(out, waiting.at.map(|at| at.to_string()).as_deref());
    out.push_str(",\"seconds\":");
    match waiting.since {
        Some(since) => {
            let time = now.saturating_duration_since(since);
            write!(out, "{}.{:06}", time.as_secs(), time.subsec_micros())
        }
        None => write!(out, "null"),
    }
    .expect("a string takes everything");
    write!(out, ",\"limited\":{},\"may_fail\":{}", waiting.limited, waiting.may_fail)
        .expect("a string takes everything");
    out.push_str(",\"holder\":");
    match &waiting.holder {
        Holder::Thread(thread) => json_thread(out, Some("thread"), thread),
        Holder::Ended(id) => {
            write!(out, "{{\"state\":\"ended\",\"id\":{id},\"name\":null}}")
                .expect("a string takes everything");
        }
        Holder::Unknown => out.push_str("{\"state\":\"unknown\"}"),
        Holder::None => out.push_str("null"),
    }
    out.push_str(",\"taken_at\":");
    json_text(out, waiting.taken_at.map(|at| at.to_string()).as_deref());
    out.push_str(",\"description\":");
    json_text(out, waiting.description.as_deref());
    out.push('}');
}

fn json_thread(out: &mut String, state: Option<&str>, thread: &Thread) {
    out.push('{');
    if let Some(state) = state {
        write!(out, "\"state\":\"{state}\",").expect("a string takes everything");
    }
    write!(out, "\"id\":{},\"name\":", thread.id()).expect("a string takes everything");
    json_text(out, thread.name().as_deref());
    out.push('}');
}

/// A string, or null.
fn json_text(out: &mut String, text: Option<&str>) {
    let Some(text) = text else { return out.push_str("null") };
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => {
                write!(out, "\\u{:04x}", u32::from(c)).expect("a string takes everything");
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn thread_node(out: &mut String, seen: &mut BTreeSet<String>, thread: &Thread) -> String {
    let node = format!("t{}", thread.id());
    define(out, seen, &node, &thread.to_string(), "box");
    node
}

fn thing_node(out: &mut String, seen: &mut BTreeSet<String>, waiting: &Waiting) -> String {
    let word = waiting.kind.word();
    // What is nowhere is each waiter's own.
    let (node, address) = match waiting.address {
        0 => (format!("{word}_t{}", waiting.thread.id()), String::new()),
        address => (format!("{word}_{address:x}"), format!(" {address:#x}")),
    };
    let label = match &waiting.name {
        Some(name) => format!("{word} {name}"),
        None => format!("{word}{address}"),
    };
    define(out, seen, &node, &label, "ellipse");
    node
}

/// A node, the first time.
fn define(out: &mut String, seen: &mut BTreeSet<String>, node: &str, label: &str, shape: &str) {
    if seen.insert(node.to_owned()) {
        writeln!(out, "  {node} [shape={shape}, label={}];", dot_text(label))
            .expect("a string takes everything");
    }
}

fn arrow(out: &mut String, from: &str, to: &str, label: &str) {
    match label {
        "" => writeln!(out, "  {from} -> {to};"),
        label => writeln!(out, "  {from} -> {to} [label={}];", dot_text(label)),
    }
    .expect("a string takes everything");
}

/// A quoted string of dot's, in which a backslash begins an escape.
fn dot_text(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
