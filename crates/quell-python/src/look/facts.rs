//! What is known of each thread at a moment, as plain values.
//!
//! Everything is read with the GIL and without giving it up: thread states, frames, holds and wants change with the GIL only, so what
//! is said of one thread belongs together, and so does what is said of all. Nothing is asked of a target, and no lock is
//! waited for: of a list of pending interrupts that is being changed in this moment it is known that there are some. No Python
//! code runs. What a thread does where it is in no wait of quell's, the kernel tells.
//!
//! Objects are kept until the look is over ([`Thing::weaken`]); from then on by weak references.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pyo3::ffi;
use pyo3::prelude::*;

use super::kernel::{self, State};
use super::names::{Named, Names};
use crate::cpython::frame::Frame;
use crate::cpython::snapshot::{self, Frame as Place};
use crate::cpython::thread::ThreadState;
use crate::delivery::Hold;
use crate::delivery::reason::Reason;
use crate::delivery::record::{self, Record};
use crate::delivery::want::{Kind, What};
use crate::patch::held;
use crate::primitives::call;

/// Longer stacks are cut: what is known is read by people.
const MAX_FRAMES: usize = snapshot::MAX_FRAMES;

/// One thread.
pub(crate) struct Facts {
    /// `PyThreadState.id`.
    pub(crate) number: u64,
    pub(crate) ident: u64,
    pub(crate) native_id: u64,
    /// Its id in the core, if it has one.
    pub(crate) id: Option<u64>,
    pub(crate) name: Option<String>,
    pub(crate) daemon: Option<bool>,
    pub(crate) state: State,
    pub(crate) waits: Option<Waits>,
    /// The oldest first.
    pub(crate) holds: Vec<Held>,
    /// The names of the exceptions, the first in line first.
    pub(crate) pending: Vec<String>,
    pub(crate) masked: bool,
    pub(crate) shielded: bool,
    /// Innermost first.
    pub(crate) stack: Vec<Place>,
}

/// A wait.
pub(crate) struct Waits {
    pub(crate) thing: Thing,
    /// On the clock of `time.monotonic()`.
    pub(crate) since: f64,
    /// For how long.
    pub(crate) seconds: f64,
    pub(crate) limited: bool,
    pub(crate) holder: Option<Holder>,
}

/// Who holds what is waited for.
pub(crate) struct Holder {
    pub(crate) number: u64,
    pub(crate) ident: u64,
    pub(crate) name: Option<String>,
    /// Where it was taken; None of a thread's end.
    pub(crate) taken: Option<Place>,
    pub(crate) has_ended: bool,
}

/// A lock or a permit that is held.
pub(crate) struct Held {
    pub(crate) thing: Thing,
    pub(crate) taken: Option<Place>,
}

/// An object.
pub(crate) struct Thing {
    /// Its class, in a word.
    pub(crate) kind: String,
    /// What `id()` says of it; 0 of nothing.
    pub(crate) address: usize,
    pub(crate) reference: Reference,
}

pub(crate) enum Reference {
    None,
    Strong(Py<PyAny>),
    Weak(Py<PyAny>),
}

impl Thing {
    /// # Safety
    /// With the GIL; the object is alive, or null.
    unsafe fn of(py: Python<'_>, kind: &str, object: *mut ffi::PyObject) -> Thing {
        // SAFETY: the caller's promise.
        let bound = unsafe { Bound::from_borrowed_ptr_or_opt(py, object) };
        let kind = bound.as_ref().map_or_else(
            || kind.to_owned(),
            |object| {
                // SAFETY: a live type's name.
                let name =
                    unsafe { std::ffi::CStr::from_ptr((*ffi::Py_TYPE(object.as_ptr())).tp_name) };
                match name.to_bytes() {
                    // By the names that users know, and not quell's.
                    b"_thread.lock" => Kind::StandardLock.word().to_owned(),
                    b"_thread.RLock" => Kind::StandardRLock.word().to_owned(),
                    _ => name.to_string_lossy().rsplit('.').next().unwrap_or_default().to_owned(),
                }
            },
        );
        let reference =
            bound.map_or(Reference::None, |it: Bound<'_, PyAny>| Reference::Strong(it.unbind()));
        Thing { kind, address: object.addr(), reference }
    }

    /// The look is over: the object is kept no longer.
    fn weaken(&mut self, py: Python<'_>) {
        if let Reference::Strong(object) = &self.reference {
            // SAFETY: attached, a live object; a new reference, or an error of objects that have none.
            let weak = unsafe {
                let weak = ffi::PyWeakref_NewRef(object.as_ptr(), std::ptr::null_mut());
                Bound::from_owned_ptr_or_err(py, weak)
            };
            self.reference = weak.map_or(Reference::None, |weak| Reference::Weak(weak.unbind()));
        }
    }

    /// The object, if it is still there.
    pub(crate) fn object(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        match &self.reference {
            Reference::None => None,
            Reference::Strong(object) => Some(object.clone_ref(py)),
            Reference::Weak(weak) => {
                weak.bind(py).call0().ok().filter(|object| !object.is_none()).map(Bound::unbind)
            }
        }
    }
}

impl Facts {
    /// The look is over: no object is kept any longer.
    pub(crate) fn weaken(&mut self, py: Python<'_>) {
        let held = self.holds.iter_mut().map(|held| &mut held.thing);
        self.waits.iter_mut().map(|waits| &mut waits.thing).chain(held).for_each(|t| t.weaken(py));
    }

    /// Where the thread is.
    pub(crate) fn place(&self) -> Option<&Place> {
        self.stack.first()
    }
}

/// One look at the threads of the process.
pub(crate) struct Look<'py> {
    py: Python<'py>,
    states: HashMap<u64, ThreadState>,
    names: Names,
}

impl<'py> Look<'py> {
    pub(crate) fn begin(py: Python<'py>) -> Self {
        // One that is being started has no ident until it begins.
        let begun = ThreadState::all().filter(|state| state.ident() != 0);
        let states = begun.map(|state| (state.id(), state)).collect();
        Self { py, states, names: Names::read() }
    }

    /// All threads: the main one first, then as they were started; then those that have ended with something in hand.
    pub(crate) fn all(&self) -> Vec<Facts> {
        let mut numbers: Vec<u64> = self.states.keys().copied().collect();
        numbers.sort_unstable();
        let mut all: Vec<Facts> =
            numbers.iter().filter_map(|number| self.thread(*number)).collect();
        let mut ended: Vec<_> = record::all(self.py)
            .into_iter()
            .filter(|r| !self.states.contains_key(&r.tstate_id()) && self.holds_anything(r))
            .collect();
        ended.sort_unstable_by_key(|record| record.tstate_id());
        all.extend(ended.iter().map(|record| self.ended(record)));
        let main = self.names.main();
        all.sort_by_key(|thread| thread.ident != main);
        all
    }

    /// The thread with this state.
    pub(crate) fn thread(&self, number: u64) -> Option<Facts> {
        let state = *self.states.get(&number)?;
        let record = record::find(self.py, number);
        if state.top().is_none() && record.is_none() && kernel::is_own(state.native_id()) {
            return None;
        }
        let stack: Vec<Place> = frames(state).filter_map(Frame::place).take(MAX_FRAMES).collect();
        let waits = record.as_ref().and_then(|record| self.waits(record));
        let doing = match &waits {
            _ if state == ThreadState::current() => State::Running,
            Some(_) => State::Blocked("a quell operation"),
            None => kernel::state_beside(state.native_id()),
        };
        let mut facts = Facts {
            number,
            ident: state.ident(),
            native_id: state.native_id(),
            state: doing,
            waits,
            stack,
            ..self.nobody()
        };
        self.complete(&mut facts, record.as_ref());
        Some(facts)
    }

    /// A thread that has ended, and holds something.
    fn ended(&self, record: &Arc<Record>) -> Facts {
        let mut facts =
            Facts { number: record.tstate_id(), ident: record.ident(), ..self.nobody() };
        self.complete(&mut facts, Some(record));
        facts.name = None;
        facts.daemon = None;
        facts
    }

    fn holds_anything(&self, record: &Record) -> bool {
        !record.holds(self.py).is_empty() || !held::held_by(self.py, record.tstate_id()).is_empty()
    }

    fn nobody(&self) -> Facts {
        Facts {
            number: 0,
            ident: 0,
            native_id: 0,
            id: None,
            name: None,
            daemon: None,
            state: State::Ended,
            waits: None,
            holds: Vec::new(),
            pending: Vec::new(),
            masked: false,
            shielded: false,
            stack: Vec::new(),
        }
    }

    fn complete(&self, facts: &mut Facts, record: Option<&Arc<Record>>) {
        if let Some(Named { name, daemon }) = self.names.get(facts.ident) {
            facts.name = Some(name.clone());
            facts.daemon = Some(*daemon);
        }
        let Some(record) = record else { return };
        let thread = record.thread();
        facts.id = Some(thread.id().get().get());
        facts.masked = thread.mask_depth() > 0;
        facts.shielded = thread.shield_depth() > 0;
        facts.pending = self.pending(record);
        let held = |object, hold: &Hold| Held {
            // SAFETY: what is held is alive: an object that ends is held by nobody any more.
            thing: unsafe { Thing::of(self.py, "lock", object) },
            taken: self.taken(facts.number, hold),
        };
        let own = record.holds(self.py);
        let own = own.iter().map(|hold| held(call::object_behind(hold.key()), hold));
        let standard = held::held_by(self.py, facts.number);
        let standard = standard.iter().map(|note| held(note.object(), &note.hold));
        facts.holds = own.chain(standard).collect();
    }

    fn pending(&self, record: &Record) -> Vec<String> {
        /// A thread that changes the list is done in a few instructions, if it has a processor.
        const LOOKS: u32 = 100;
        if !record.thread().has_pending() {
            return Vec::new();
        }
        for _ in 0..LOOKS {
            let mut names = Vec::new();
            let seen = record.thread().look_at_pending(|interrupt| {
                let reason = interrupt.downcast_ref::<Reason>();
                names.push(reason.and_then(|reason| reason.name(self.py)));
            });
            if seen {
                let unnamed = || "interrupt".to_owned();
                return names.into_iter().map(|name| name.unwrap_or_else(unnamed)).collect();
            }
            std::hint::spin_loop();
        }
        vec!["interrupt".to_owned()]
    }

    /// Where a thread has acquired what it holds.
    fn taken(&self, number: u64, hold: &Hold) -> Option<Place> {
        let (code, instruction) = hold.place();
        let running = self.states.get(&number).and_then(|state| {
            let code = frames(*state).find(|f| f.code_address() == code)?.code()?;
            Some(code.place(code.offset_of(instruction)))
        });
        // The function has returned: its code is there still, mostly.
        running.or_else(|| snapshot::place(code, instruction))
    }

    fn waits(&self, record: &Record) -> Option<Waits> {
        let (what, since, limited) =
            record.want(self.py, |want| (want.what, want.since, want.limited))?;
        Some(self.waiting(&what, since.elapsed(), limited))
    }

    /// A wait of the calling thread that is about to begin, as if it had begun.
    pub(crate) fn about_to_wait(&self, what: &What) -> Waits {
        self.waiting(what, Duration::ZERO, false)
    }

    fn waiting(&self, what: &What, elapsed: Duration, limited: bool) -> Waits {
        // SAFETY: the want stands, or is about to, so the object is kept.
        let thing = unsafe { Thing::of(self.py, what.kind.word(), what.object) };
        let (since, seconds) = (monotonic() - elapsed.as_secs_f64(), elapsed.as_secs_f64());
        Waits { thing, since, seconds, limited, holder: self.holder(what) }
    }

    /// Who holds what a want is for.
    fn holder(&self, what: &What) -> Option<Holder> {
        let number = what.holder(self.py)?;
        let record = record::find(self.py, number);
        let state = self.states.get(&number);
        let ident = match (state, &record) {
            (Some(state), _) => state.ident(),
            (None, Some(record)) => record.ident(),
            (None, None) => return None,
        };
        let hold = match what.kind {
            Kind::Thread => None,
            Kind::StandardLock | Kind::StandardRLock => held::note_of(self.py, what.object)
                .filter(|note| note.number == number)
                .map(|note| note.hold),
            // The first one: of a lock that was acquired again, where it began.
            _ => record.as_ref().and_then(|record| {
                record.holds(self.py).into_iter().find(|hold| hold.key() == what.key)
            }),
        };
        let taken = hold.and_then(|hold| self.taken(number, &hold));
        let name = state.and_then(|_| self.names.get(ident)).map(|named| named.name.clone());
        Some(Holder { number, ident, name, taken, has_ended: state.is_none() })
    }
}

/// What `time.monotonic()` says.
fn monotonic() -> f64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place is ours; the clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

fn frames(state: ThreadState) -> impl Iterator<Item = Frame> {
    state.top().into_iter().flat_map(Frame::stack)
}
