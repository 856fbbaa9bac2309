//! What is known about the end of a run: collected by the monitor and the deliverer, written out by
//! [`report`](super::report).

use std::time::Duration;

use quell::{Outcome, Receipt};

use super::limits::Reached;
use super::place::Seen;
use crate::cpython::snapshot::Frame;
pub(super) use crate::look::kernel::State;

/// Everything a report tells.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// The limit, once one was reached.
    pub(super) reached: Option<Reached>,
    /// The exception as a traceback names it.
    pub(super) exception: String,
    /// The main thread when the limit was reached.
    pub(super) main: Option<Place>,
    /// From the limit to the raise in the main thread.
    pub(super) delivery: Option<Duration>,
    /// Of the first interrupt of the main thread.
    pub(super) receipt: Option<Receipt>,
    /// How often the main thread was interrupted.
    pub(super) strikes: u32,
    /// Every other Python thread, as it was when the limit was reached or when it was first seen after.
    pub(super) threads: Vec<ThreadFacts>,
    /// The processes that had to be ended.
    pub(super) children: Vec<ChildFacts>,
    /// What did not go as asked.
    pub(super) notes: Vec<String>,
    /// From the limit to the end.
    pub(super) unwinding: Option<Duration>,
    /// From the start to the end.
    pub(super) elapsed: Duration,
    /// How it ended.
    pub(super) ended: Ended,
    /// What the process's parent is told, where that is known.
    pub(super) status: Option<i32>,
    /// Set by the watchdog, which sees the process from outside and nothing of what Python did in it.
    pub(super) outside: Option<Outside>,
}

/// Why the watchdog had to end it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outside {
    /// The script had replaced itself by this program.
    Replaced(String),
    /// It had stopped itself and did not end when it was continued.
    Stopped,
}

/// How a run ended after a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Ended {
    /// The script ended by itself.
    #[default]
    Unwound,
    /// The process was ended at the end of the grace.
    Killed,
    /// Another program, which the script had become, ended when it was asked to.
    Terminated,
}

/// Where a thread was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) function: String,
    pub(super) file: String,
    pub(super) line: u32,
    pub(super) state: State,
    /// The innermost line of the program's own, where this is one of a library.
    pub(super) called_from: Option<Frame>,
}

/// A Python thread other than the main one.
#[derive(Debug, Clone)]
pub(super) struct ThreadFacts {
    pub(super) ident: u64,
    /// `threading.Thread.name`, where it was to be had.
    pub(super) name: Option<String>,
    /// Whether the process waits for it; unknown where the interpreter could not be asked.
    pub(super) daemon: Option<bool>,
    pub(super) place: Option<Place>,
    /// Of the first interrupt.
    pub(super) receipt: Option<Receipt>,
    /// From the first interrupt to its raise.
    pub(super) delivery: Option<Duration>,
    pub(super) strikes: u32,
    /// The interrupt was raised in the blocking call itself, which had been made interruptible.
    pub(super) in_call: bool,
    pub(super) ended: bool,
}

impl ThreadFacts {
    /// What became of it, in a word.
    pub(super) fn outcome(&self) -> &'static str {
        match (self.strikes > 0, self.delivery.is_some(), self.ended) {
            (_, true, true) => "interrupted, ended",
            (_, true, false) => "interrupted, did not end",
            (true, false, true) => "ended",
            (true, false, false) => "not reached",
            (false, _, true) => "ended by itself",
            (false, _, false) => "left alone",
        }
    }
}

/// A process below this one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ChildFacts {
    pub(super) pid: i32,
    pub(super) name: String,
    /// SIGTERM was sent.
    pub(super) asked: bool,
    /// SIGKILL was sent.
    pub(super) killed: bool,
}

impl Facts {
    /// Notes what did not go as asked, once.
    pub(super) fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// The threads as they were seen when the limit was reached, which may have been before the script started.
    pub(super) fn note_threads(&mut self, pid: i32, seen: &[Seen], has_started: bool) {
        for thread in seen {
            if thread.is_main(pid) {
                self.main = Some(if has_started && thread.has_left_script() {
                    let frame = thread.frames.first();
                    Place {
                        function: frame.map(|f| f.function.clone()).unwrap_or_default(),
                        file: frame.map(|f| f.file.clone()).unwrap_or_default(),
                        line: frame.map_or(0, |f| f.line),
                        state: State::Ended,
                        called_from: None,
                    }
                } else {
                    match thread.place() {
                        Some(place) => place,
                        None => continue,
                    }
                });
            } else {
                self.thread(thread.ident).place = thread.place();
            }
        }
    }

    /// The threads as they are at the hard end: which of them have ended meanwhile.
    pub(super) fn see_again(&mut self, seen: &[Seen]) {
        for thread in &mut self.threads {
            thread.ended = !seen.iter().any(|s| s.ident == thread.ident);
        }
        // It never came to a point where Python would have raised, though it did not sleep.
        if self.delivery.is_none()
            && let Some(main) = &mut self.main
            && main.state == State::Running
        {
            main.state = State::Native;
        }
    }

    /// The interpreter has been finalized. Daemon threads do not end then: they never run again.
    pub(super) fn everything_ended(&mut self, unwinding: Duration) {
        // Delivered, and all over before that was noted.
        let delivered = |receipt: &Option<Receipt>| {
            receipt.as_ref().is_some_and(|r| r.state() == Outcome::Delivered)
        };
        if delivered(&self.receipt) {
            self.delivery.get_or_insert(unwinding);
        }
        for thread in &mut self.threads {
            if delivered(&thread.receipt) {
                thread.delivery.get_or_insert(unwinding);
            }
            thread.ended |= thread.daemon != Some(true) || thread.delivery.is_some();
        }
    }

    /// The facts of a thread, new ones if it was not known.
    pub(super) fn thread(&mut self, ident: u64) -> &mut ThreadFacts {
        let at = self.threads.iter().position(|t| t.ident == ident).unwrap_or_else(|| {
            self.threads.push(ThreadFacts {
                ident,
                name: None,
                daemon: None,
                place: None,
                receipt: None,
                delivery: None,
                strikes: 0,
                in_call: false,
                ended: false,
            });
            self.threads.len() - 1
        });
        &mut self.threads[at]
    }
}
