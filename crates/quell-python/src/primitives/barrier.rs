//! `quell.Barrier`: `threading.Barrier` whose wait is interruptible, and which is never left with half of its parties.
//!
//! # The protocol
//!
//! Every step is made with the GIL. [`waiters`](super::waiters) has the sleep, and what comes first of being told and leaving.
//!
//! | phase | meaning | left for |
//! | --- | --- | --- |
//! | `Filling` | some have not arrived yet | `Acting` when the last one arrives; `Broken` when one leaves, or by `abort()` |
//! | `Acting` | all have arrived, and the last one runs the action | `Filling`; `Broken` if the action raised, or `abort()` was called |
//! | `Broken` | nobody gets through | `Filling`, by `reset()` |
//!
//! Who has arrived is told one of two words: *through*, by the last one when the action has ended; or *stopped*, in the step
//! that breaks the barrier or resets it. While the action runs nobody who has arrived leaves: an interrupt stays pending, a
//! time-out is too late. So whether a round got through or not is the same for all of its parties. Who comes while the
//! action runs waits at the gate for its end, and has not arrived.
//!
//! As in Java's `CyclicBarrier`, and unlike the standard library's, a party that is interrupted breaks the barrier: the
//! others would wait for it in vain.

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

use super::awaiting::{Operation, attached};
use super::call::{self, Method, Obj, Parameters, this, throw};
use super::wait::{Patience, Waitable};
use super::waiters::{Ended, Occasion, Place, Waiters};
use crate::delivery::gil_cell::GilCell;
use crate::delivery::want::{Kind, What};

/// A place where a number of threads wait for each other: none gets through before all have arrived. Then it is ready for
/// the next round. Used like threading.Barrier.
///
/// The last thread to arrive calls the action before anybody gets through. The timeout is that of each wait() which is not
/// given one.
///
/// wait() is an interruption point. One that times out or is interrupted breaks the barrier for all, until reset(); so
/// does an action that raises. Once all have arrived, an interrupt stays pending.
#[pyclass(frozen, subclass, weakref, module = "quell", name = "Barrier")]
pub struct Barrier {
    state: GilCell<State>,
    arrived: Waiters<Word>,
    gate: Waiters<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Filling,
    Acting,
    Broken,
}

/// What those who have arrived are told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Through,
    Stopped,
}

struct State {
    phase: Phase,
    /// While the action runs: the barrier is broken after it.
    aborted: bool,
    /// How many have arrived in this round.
    count: isize,
    parties: isize,
    action: Option<Py<PyAny>>,
    timeout: Option<Py<PyAny>>,
}

/// What there is to do for one who arrives.
enum Arrival<'py> {
    /// The last one, with the action.
    Last(Option<Bound<'py, PyAny>>),
    Early,
    AtGate,
    Broken,
}

/// `threading.BrokenBarrierError`.
#[cold]
fn broken(py: Python<'_>) -> PyErr {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    match CLASS.import(py, "threading", "BrokenBarrierError") {
        Ok(class) => PyErr::from_type(class.clone(), ()),
        Err(error) => error,
    }
}

impl Barrier {
    #[inline]
    fn state<R>(&self, py: Python<'_>, f: impl FnOnce(&mut State) -> R) -> R {
        self.state.with(py, f)
    }

    /// Arrives if that is possible now.
    fn arrive<'py>(&self, py: Python<'py>) -> (isize, Arrival<'py>) {
        self.state(py, |s| match s.phase {
            Phase::Broken => (0, Arrival::Broken),
            Phase::Acting => (0, Arrival::AtGate),
            Phase::Filling => {
                let index = s.count;
                if index + 1 != s.parties {
                    s.count += 1;
                    return (index, Arrival::Early);
                }
                match &s.action {
                    None => (index, Arrival::Last(None)),
                    Some(action) => {
                        s.phase = Phase::Acting;
                        s.count += 1;
                        (index, Arrival::Last(Some(action.bind(py).clone())))
                    }
                }
            }
        })
    }

    /// Ends a round: tells all who have arrived.
    fn decide(&self, py: Python<'_>, phase: Phase, word: Word) {
        self.state(py, |s| {
            s.phase = phase;
            s.aborted = false;
            s.count = 0;
        });
        let mut wakes = self.arrived.tell(py, usize::MAX, word);
        wakes.and(self.gate.tell(py, usize::MAX, ()));
    }

    /// Breaks it, unless it is too late for that.
    fn give_up(&self, py: Python<'_>) {
        let broken = self.state(py, |s| match s.phase {
            Phase::Acting => {
                s.aborted = true;
                false
            }
            _ => true,
        });
        if broken {
            self.decide(py, Phase::Broken, Word::Stopped);
        }
    }

    /// The last one has arrived.
    fn let_through(&self, py: Python<'_>, action: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        if let Some(action) = action
            && let Err(error) = action.call0()
        {
            self.decide(py, Phase::Broken, Word::Stopped);
            return Err(error);
        }
        let aborted = self.state(py, |s| s.aborted);
        self.decide(py, if aborted { Phase::Broken } else { Phase::Filling }, Word::Through);
        Ok(())
    }

    /// Arrives, if that makes the last one of a round in which nothing is to be called, and lets all through. None: it does not,
    /// and nothing was done.
    #[inline(always)]
    fn arrive_last(&self, py: Python<'_>) -> Option<isize> {
        let index = self.state(py, |s| {
            let last = s.phase == Phase::Filling && s.count + 1 == s.parties && s.action.is_none();
            last.then(|| std::mem::replace(&mut s.count, 0))
        })?;
        // Nobody is at the gate: those who come while an action runs wait there.
        if index > 0 {
            drop(self.arrived.tell(py, usize::MAX, Word::Through));
        }
        Some(index)
    }

    #[inline(never)]
    fn wait(&self, py: Python<'_>, timeout: Obj) -> PyResult<isize> {
        loop {
            let (index, arrival) = self.arrive(py);
            let ended = match arrival {
                Arrival::Last(action) => return self.let_through(py, action).map(|()| index),
                Arrival::Broken => return Err(broken(py)),
                Arrival::AtGate => {
                    let at = At { barrier: self, py, gate: true };
                    match self.gate.wait(py, Patience::Forever, at) {
                        Ended::Told(()) => continue,
                        Ended::Both((), error) => {
                            self.give_up(py);
                            return Err(error);
                        }
                        Ended::Left(error) => return Err(error.unwrap_or_else(|| broken(py))),
                    }
                }
                Arrival::Early => {
                    let at = At { barrier: self, py, gate: false };
                    match self.patience(py, timeout) {
                        Ok(patience) => self.arrived.wait(py, patience, at),
                        Err(error) => {
                            self.give_up(py);
                            Ended::Left(Some(error))
                        }
                    }
                }
            };
            return match ended {
                Ended::Told(Word::Through) => Ok(index),
                Ended::Told(Word::Stopped) | Ended::Left(None) => Err(broken(py)),
                Ended::Left(Some(error)) | Ended::Both(_, error) => Err(error),
            };
        }
    }

    /// Arrives as a task.
    fn come<'a>(&'a self, py: Python<'_>) -> PyResult<Came<'a>> {
        let (index, arrival) = self.arrive(py);
        match arrival {
            Arrival::Last(action) => self.let_through(py, action).map(|()| Came::Through(index)),
            Arrival::Broken => Err(broken(py)),
            Arrival::AtGate => Ok(Came::Gate(self.gate.join(py))),
            Arrival::Early => {
                let place = self.arrived.join(py);
                Ok(Came::Early(index, Party { barrier: self, place }))
            }
        }
    }

    async fn wait_as_task(&self) -> PyResult<isize> {
        loop {
            match attached(|py| self.come(py))? {
                Came::Through(index) => return Ok(index),
                Came::Gate(place) => place.told().await,
                Came::Early(index, party) => {
                    party.place.told().await;
                    return match party.place.word() {
                        Some(Word::Through) => Ok(index),
                        _ => Err(attached(broken)),
                    };
                }
            }
        }
    }

    /// How long a wait takes at most.
    fn patience(&self, py: Python<'_>, timeout: Obj) -> PyResult<Patience> {
        // SAFETY: attached; an argument of the running call, or null, or kept alive here.
        unsafe {
            if !timeout.is_null() && timeout != pyo3::ffi::Py_None() {
                return Patience::of_wait(timeout);
            }
            let usual = self.state(py, |s| s.timeout.as_ref().map(|usual| usual.bind(py).clone()));
            Patience::of_wait(usual.as_ref().map_or(std::ptr::null_mut(), Bound::as_ptr))
        }
    }
}

/// What a task finds that comes.
enum Came<'a> {
    Through(isize),
    Gate(Place<'a, ()>),
    Early(isize, Party<'a>),
}

/// A task that has arrived. If it is gone before the last one comes, the others would wait for it in vain; after that it
/// counts as through, like a thread whose interrupt comes too late.
struct Party<'a> {
    barrier: &'a Barrier,
    place: Place<'a, Word>,
}

impl Drop for Party<'_> {
    fn drop(&mut self) {
        attached(|py| {
            let waits = self.place.word().is_none();
            if waits && self.barrier.state(py, |s| s.phase != Phase::Acting) {
                self.barrier.give_up(py);
            }
        });
    }
}

/// One who waits: to be let through, or at the gate.
struct At<'a, 'py> {
    barrier: &'a Barrier,
    py: Python<'py>,
    gate: bool,
}

impl Occasion for At<'_, '_> {
    fn object(&self) -> &dyn Waitable {
        self.barrier
    }

    fn may_leave(&self) -> bool {
        self.gate || self.barrier.state(self.py, |s| s.phase != Phase::Acting)
    }

    fn left(&self) {
        self.barrier.give_up(self.py);
    }
}

impl Waitable for Barrier {
    fn what(&self) -> What {
        What::value(Kind::Barrier, self)
    }

    /// Who had arrived does not exist in the child, and neither does who ran the action.
    fn forget_waiters_after_fork(&self) {
        // SAFETY: called by the thread that forked, attached.
        let py = unsafe { Python::assume_attached() };
        let mine = self.arrived.forget_others(py);
        self.gate.forget_others(py);
        self.state(py, |s| {
            s.count = mine as isize;
            if s.phase == Phase::Acting {
                s.phase = Phase::Filling;
            }
        });
    }
}

#[pymethods]
impl Barrier {
    // Arguments are for `__init__`, a subclass's or the one below.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(parties, action=None, timeout=None)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        let state = State {
            phase: Phase::Filling,
            aborted: false,
            count: 0,
            parties: 0,
            action: None,
            timeout: None,
        };
        Self { state: GilCell::new(state), arrived: Waiters::new(), gate: Waiters::new() }
    }

    #[pyo3(signature = (parties, action=None, timeout=None))]
    fn __init__(
        &self,
        py: Python<'_>,
        parties: isize,
        action: Option<Py<PyAny>>,
        timeout: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        if parties < 1 {
            return Err(PyValueError::new_err("parties must be > 0"));
        }
        let started = self.state(py, |s| s.count > 0 || s.phase == Phase::Acting);
        if started {
            return Err(PyRuntimeError::new_err(
                "Barrier.__init__() was called again while threads wait at the barrier",
            ));
        }
        let before = self.state(py, |s| {
            s.parties = parties;
            (std::mem::replace(&mut s.action, action), std::mem::replace(&mut s.timeout, timeout))
        });
        drop(before);
        Ok(())
    }

    /// Wait until all have arrived, as a task, and return which one this was: await barrier.wait_async().
    ///
    /// Threads and tasks may meet. The barrier's own timeout is for threads. A task that is cancelled before the last one has
    /// come breaks the barrier, as wait() does; the last one calls the action.
    fn wait_async(slf: &Bound<'_, Self>) -> PyResult<Py<Operation>> {
        let barrier = slf.clone().unbind();
        Operation::new(slf.py(), "wait_async", async move {
            let index = barrier.get().wait_as_task().await?;
            attached(|py| Ok(index.into_pyobject(py)?.into_any().unbind()))
        })
    }

    /// Break the barrier: who waits, and who comes, is told so by BrokenBarrierError. While the action runs, those who have
    /// arrived still get through.
    fn abort(&self, py: Python<'_>) {
        self.give_up(py);
    }

    /// As new. Who waits is told by BrokenBarrierError; who comes begins a new round. While the action runs there is nothing
    /// to reset.
    fn reset(&self, py: Python<'_>) {
        let acting = self.state(py, |s| {
            s.aborted = false;
            s.phase == Phase::Acting
        });
        if !acting {
            self.decide(py, Phase::Filling, Word::Stopped);
        }
    }

    /// How many threads it is for.
    #[getter]
    fn parties(&self, py: Python<'_>) -> isize {
        self.state(py, |s| s.parties)
    }

    /// How many threads wait at the barrier. Out of date as soon as it is known.
    #[getter]
    fn n_waiting(&self, py: Python<'_>) -> isize {
        self.state(py, |s| s.count)
    }

    /// Whether it is broken.
    #[getter]
    fn broken(&self, py: Python<'_>) -> bool {
        self.state(py, |s| s.phase == Phase::Broken)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        let (name, at) = (super::type_name(slf), slf.as_ptr());
        slf.get().state(slf.py(), |s| match s.phase {
            Phase::Broken => format!("<{name} at {at:p}: broken>"),
            _ => format!("<{name} at {at:p}: waiters={}/{}>", s.count, s.parties),
        })
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        Err(PyTypeError::new_err(format!("cannot pickle '{}' object", super::type_name(slf))))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the collector runs attached; nothing in the closure gives the GIL away.
        let py = unsafe { Python::assume_attached() };
        self.state(py, |s| {
            visit.call(&s.action)?;
            visit.call(&s.timeout)
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        let kept = self.state(py, |s| (s.action.take(), s.timeout.take()));
        drop(kept);
    }
}

/// `Barrier.wait(timeout=None)`.
unsafe extern "C" fn wait(slf: Obj, args: *const Obj, count: isize, keywords: Obj) -> Obj {
    // SAFETY: called by the method descriptor, attached, with an instance of Barrier and a call's arguments.
    unsafe {
        let py = Python::assume_attached();
        let barrier = this::<Barrier>(slf);
        if count == 0 && keywords.is_null() {
            return match barrier.arrive_last(py) {
                Some(index) => pyo3::ffi::PyLong_FromSsize_t(index),
                None => wait_for_others(py, barrier, Ok([std::ptr::null_mut()])),
            };
        }
        wait_for_others(py, barrier, parameters(py).bind(args, count, keywords))
    }
}

/// # Safety
/// The time-out is an argument of the running call, or null.
#[cold]
#[inline(never)]
unsafe fn wait_for_others(py: Python<'_>, barrier: &Barrier, timeout: PyResult<[Obj; 1]>) -> Obj {
    // SAFETY: attached; the caller's promise.
    unsafe {
        match timeout.and_then(|[timeout]| barrier.wait(py, timeout)) {
            Ok(index) => pyo3::ffi::PyLong_FromSsize_t(index),
            Err(error) => throw(error),
        }
    }
}

fn parameters(py: Python<'_>) -> &'static Parameters<1> {
    static PARAMETERS: std::sync::OnceLock<Parameters<1>> = std::sync::OnceLock::new();
    PARAMETERS.get_or_init(|| Parameters::new(py, "wait", ["timeout"]))
}

const METHODS: &[Method] = &[call::keywords(
    c"wait",
    wait,
    c"wait($self, /, timeout=None)\n--\n\n\
      Block until all have arrived, and return which one this was: 0 for the first, the number of parties\n\
      less one for the last, which calls the action.\n\n\
      With a timeout in seconds block at most so long. BrokenBarrierError if the barrier is or gets broken:\n\
      by a time-out, an interrupt, an action that raised, abort(), or for those who waited by reset().\n\n\
      An interruption point where it blocks; the barrier is then broken for the others.",
)];

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    crate::lazy::add_class::<Barrier>(module)?;
    call::install::<Barrier>(module.py(), METHODS)
}
