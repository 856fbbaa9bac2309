//! A queue that Python code may look into: its items in a Python container, a mutex and three conditions, as in the standard
//! library.
//!
//! Three kinds of queue are open. A priority queue, because its order is Python's `<`. One whose class says itself how items are
//! kept (`_init`, `_qsize`, `_put`, `_get`). And any queue from the moment on when somebody asked for `queue`, `mutex` or one
//! of the conditions.
//!
//! Python code runs under the mutex here, so nothing relies on the GIL between two steps; everything that is not atomic
//! is done with the mutex held. It is a `quell.Lock`, so who takes it from outside is in the same line.
//!
//! **Interrupts.** The wait for the mutex is an interruption point, and so is the wait for a condition, with the mutex released. As
//! long as methods of the class run, the mutex is one of the thread's holds: an interrupt is deferred until they have
//! returned and the operation is complete. The heap needs none of that: an exception that comes out of a comparison has changed
//! nothing (see [`heap`]).
//!
//! **No wake-up is lost.** Who waits joins a condition before the mutex is free, and looks again when it has the mutex back. An
//! operation that was woken and then fails passes the wake-up on. The conditions are objects that Python code can have: threads in
//! their methods, threads in those of the queue and tasks wait in the same lines.

use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering::Relaxed};
use std::time::Instant;

use pyo3::exceptions::{PyAttributeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyType};

use super::Queue;
use super::heap;
use super::lean::{Order, Retired};
use super::refusal::Refusal;
use crate::delivery;
use crate::delivery::gil_cell::GilCell;
use crate::primitives::condition::Condition;
use crate::primitives::lock::Lock;
use crate::primitives::wait::{Patience, Waitable};
use crate::primitives::waiters::{Ended, Occasion, Place, Wakes};

/// Which of the methods that keep the items a class defines itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Overrides {
    init: bool,
    qsize: bool,
    put: bool,
    get: bool,
}

impl Overrides {
    /// Those of a class derived from `Queue`.
    pub(super) fn of(class: &Bound<'_, PyType>) -> PyResult<Self> {
        let ours = class.py().get_type::<Queue>();
        let is_own = |name: &Bound<'_, pyo3::types::PyString>| {
            Ok::<_, PyErr>(!class.getattr(name)?.is(&ours.getattr(name)?))
        };
        let py = class.py();
        Ok(Self {
            init: is_own(intern!(py, "_init"))?,
            qsize: is_own(intern!(py, "_qsize"))?,
            put: is_own(intern!(py, "_put"))?,
            get: is_own(intern!(py, "_get"))?,
        })
    }

    #[inline(always)]
    pub(super) fn any(self) -> bool {
        self.init | self.qsize | self.put | self.get
    }
}

/// See the module. Everything is used with the GIL held, and changes with the mutex held too.
pub(super) struct Open {
    order: Order,
    overrides: Overrides,
    pub(super) mutex: Py<Lock>,
    /// Of the mutex.
    pub(super) not_empty: Py<Condition>,
    pub(super) not_full: Py<Condition>,
    pub(super) all_tasks_done: Py<Condition>,
    /// `Queue.queue`. None before `_init` has run.
    container: GilCell<Option<Py<PyAny>>>,
    unfinished: AtomicIsize,
    is_shut_down: AtomicBool,
}

impl Open {
    pub(super) fn new(py: Python<'_>, order: Order, overrides: Overrides) -> PyResult<Self> {
        let mutex = Lock::new_object(py)?;
        Ok(Self {
            order,
            overrides,
            not_empty: Condition::new_object(py, &mutex)?,
            not_full: Condition::new_object(py, &mutex)?,
            all_tasks_done: Condition::new_object(py, &mutex)?,
            mutex,
            container: GilCell::new(None),
            unfinished: AtomicIsize::new(0),
            is_shut_down: AtomicBool::new(false),
        })
    }

    /// What `Queue.__init__` does.
    pub(super) fn initialize(&self, slf: &Bound<'_, Queue>, maxsize: isize) -> PyResult<()> {
        self.unfinished.store(0, Relaxed);
        self.is_shut_down.store(false, Relaxed);
        if self.overrides.init {
            slf.call_method1(intern!(slf.py(), "_init"), (maxsize,)).map(drop)
        } else {
            self.empty_container(slf.py()).map(|container| self.set_container(slf.py(), container))
        }
    }

    /// What `_init` keeps items in.
    pub(super) fn empty_container(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(match self.order {
            Order::Fifo => py.import("collections")?.getattr("deque")?.call0()?.unbind(),
            Order::Lifo | Order::Priority => PyList::empty(py).into_any().unbind(),
        })
    }

    pub(super) fn set_container(&self, py: Python<'_>, container: Py<PyAny>) {
        let old = self.container.with(py, |slot| slot.replace(container));
        drop(old);
    }

    /// Takes over what a queue was that nobody had looked into. The mutex is nobody's yet but the caller's.
    pub(super) fn inherit(&self, append: &Bound<'_, PyAny>, mut retired: Retired) -> PyResult<()> {
        // Wraps for nobody: so many tasks do not fit into memory.
        self.unfinished.store(isize::try_from(retired.unfinished).unwrap_or(isize::MAX), Relaxed);
        self.is_shut_down.store(retired.is_shut_down, Relaxed);
        if self.order == Order::Lifo {
            retired.items.reverse();
        }
        retired.items.into_iter().try_for_each(|item| append.call1((item,)).map(drop))
    }

    pub(super) fn container<'py>(&self, slf: &Bound<'py, Queue>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let container = self.container.with(py, |slot| slot.as_ref().map(|c| c.clone_ref(py)));
        container.map(|c| c.into_bound(py)).ok_or_else(|| {
            let name = slf.get_type().name();
            let name = name.map_or_else(|_| "Queue".to_owned(), |name| name.to_string());
            PyAttributeError::new_err(format!("'{name}' object has no attribute 'queue'"))
        })
    }

    // ---- how items are kept: by the class, or as the standard library's classes do

    fn qsize(&self, slf: &Bound<'_, Queue>) -> PyResult<isize> {
        if self.overrides.qsize {
            slf.call_method0(intern!(slf.py(), "_qsize"))?.extract()
        } else {
            self.own_qsize(slf)
        }
    }

    fn put_item(&self, slf: &Bound<'_, Queue>, item: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.overrides.put {
            slf.call_method1(intern!(slf.py(), "_put"), (item,)).map(drop)
        } else {
            self.own_put(slf, item)
        }
    }

    fn get_item<'py>(&self, slf: &Bound<'py, Queue>) -> PyResult<Bound<'py, PyAny>> {
        if self.overrides.get {
            slf.call_method0(intern!(slf.py(), "_get"))
        } else {
            self.own_get(slf)
        }
    }

    /// `Queue._qsize()`, and its like.
    pub(super) fn own_qsize(&self, slf: &Bound<'_, Queue>) -> PyResult<isize> {
        Ok(self.container(slf)?.len()?.cast_signed())
    }

    /// `Queue._put()`, and its like.
    pub(super) fn own_put(&self, slf: &Bound<'_, Queue>, item: &Bound<'_, PyAny>) -> PyResult<()> {
        let container = self.container(slf)?;
        if self.order == Order::Priority {
            return heap::push(container.cast::<PyList>()?, item);
        }
        container.call_method1(intern!(slf.py(), "append"), (item,)).map(drop)
    }

    /// `Queue._get()`, and its like.
    pub(super) fn own_get<'py>(&self, slf: &Bound<'py, Queue>) -> PyResult<Bound<'py, PyAny>> {
        let container = self.container(slf)?;
        match self.order {
            Order::Fifo => container.call_method0(intern!(slf.py(), "popleft")),
            Order::Lifo => container.call_method0(intern!(slf.py(), "pop")),
            Order::Priority => heap::pop(container.cast::<PyList>()?),
        }
    }

    // ---- the operations

    pub(super) fn put(
        &self,
        slf: &Bound<'_, Queue>,
        item: &Bound<'_, PyAny>,
        patience: Patience,
    ) -> PyResult<()> {
        let mut section = Section::enter(slf, self)?;
        let mut woken = false;
        let result = section.put(item, patience, &mut woken);
        if woken && result.is_err() {
            section.tell(&self.not_full, 1);
        }
        drop(section);
        result.map_err(|stop| stop.error(slf.py()))
    }

    pub(super) fn get<'py>(
        &self,
        slf: &Bound<'py, Queue>,
        patience: Patience,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut section = Section::enter(slf, self)?;
        let mut woken = false;
        let result = section.get(patience, &mut woken);
        if woken && result.is_err() {
            section.tell(&self.not_empty, 1);
        }
        drop(section);
        result.map_err(|stop| stop.error(slf.py()))
    }

    pub(super) fn task_done(&self, slf: &Bound<'_, Queue>) -> PyResult<()> {
        let mut section = Section::enter(slf, self)?;
        let unfinished = self.unfinished.load(Relaxed) - 1;
        if unfinished < 0 {
            return Err(too_many_done());
        }
        self.unfinished.store(unfinished, Relaxed);
        if unfinished == 0 {
            section.tell(&self.all_tasks_done, usize::MAX);
        }
        Ok(())
    }

    pub(super) fn join(&self, slf: &Bound<'_, Queue>) -> PyResult<()> {
        let mut section = Section::enter(slf, self)?;
        while self.unfinished.load(Relaxed) != 0 {
            section.wait(&self.all_tasks_done, None)?;
        }
        Ok(())
    }

    pub(super) fn shutdown(&self, slf: &Bound<'_, Queue>, immediate: bool) -> PyResult<()> {
        let mut section = Section::enter(slf, self)?;
        self.is_shut_down.store(true, Relaxed);
        let dropped = if immediate { self.drop_items(slf) } else { Ok(()) };
        if immediate {
            section.tell(&self.all_tasks_done, usize::MAX);
        }
        section.tell(&self.not_empty, usize::MAX);
        section.tell(&self.not_full, usize::MAX);
        dropped
    }

    // ---- the operations of a heap where nothing is in the way: not if a class keeps the items itself, somebody has the mutex,
    // or there is something to wait for

    //
    // Whoever has the mutex may do anything in between. If nobody has it, and the comparisons run no Python code, the operation is
    // over before another thread can do anything: then it is done without the mutex, as if it had been taken and released. A thread
    // that gets the mutex in this moment does so without the GIL, and finds the operation done when it has that.

    /// The heap, if nobody has the mutex.
    #[inline(always)]
    fn heap_at_once<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyList>> {
        let plain = self.order == Order::Priority && !self.overrides.any();
        if plain && !self.mutex.get().raw.is_locked() { self.heap(py) } else { None }
    }

    /// None: nothing was done.
    #[inline(always)]
    pub(super) fn put_at_once(
        &self,
        slf: &Bound<'_, Queue>,
        item: &Bound<'_, PyAny>,
    ) -> Option<PyResult<()>> {
        let heap = self.heap_at_once(slf.py())?;
        let maxsize = slf.get().maxsize();
        if self.is_shut_down() || maxsize > 0 && heap.len().cast_signed() >= maxsize {
            return None;
        }
        Some(heap::push_plainly(&heap, item)?.map(|()| drop(self.added(slf.py()))))
    }

    /// As [`put_at_once`](Self::put_at_once).
    #[inline(always)]
    pub(super) fn get_at_once<'py>(
        &self,
        slf: &Bound<'py, Queue>,
    ) -> Option<PyResult<Bound<'py, PyAny>>> {
        let py = slf.py();
        let heap = self.heap_at_once(py)?;
        Some(heap::pop_plainly(&heap)?.inspect(|_| drop(tell(py, &self.not_full, 1))))
    }

    /// An item was added. The answer is dropped when the operation is complete.
    #[inline(always)]
    fn added(&self, py: Python<'_>) -> Wakes {
        self.unfinished.store(self.unfinished.load(Relaxed) + 1, Relaxed);
        tell(py, &self.not_empty, 1)
    }

    /// The container, if it is a list, as that of a heap is unless somebody put another in its place.
    #[inline(always)]
    fn heap<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyList>> {
        self.container.with(py, |slot| slot.as_ref()?.bind(py).cast::<PyList>().ok().cloned())
    }

    // ---- the operations of tasks, which have taken the mutex: done, or to be tried again when the place was told

    pub(super) fn put_now(
        &self,
        slf: &Bound<'_, Queue>,
        item: &Bound<'_, PyAny>,
    ) -> PyResult<Turn<'_, ()>> {
        match Section::begin(slf, self).put(item, Patience::Try, &mut false) {
            Ok(()) => Ok(Turn::Done(())),
            Err(Stop::Refused(Refusal::Full)) => Ok(Turn::wait(slf, &self.not_full)),
            Err(stop) => Err(stop.error(slf.py())),
        }
    }

    pub(super) fn get_now(&self, slf: &Bound<'_, Queue>) -> PyResult<Turn<'_, Py<PyAny>>> {
        match Section::begin(slf, self).get(Patience::Try, &mut false) {
            Ok(item) => Ok(Turn::Done(item.unbind())),
            Err(Stop::Refused(Refusal::Empty)) => Ok(Turn::wait(slf, &self.not_empty)),
            Err(stop) => Err(stop.error(slf.py())),
        }
    }

    pub(super) fn join_now(&self, slf: &Bound<'_, Queue>) -> Turn<'_, ()> {
        let _section = Section::begin(slf, self);
        match self.unfinished.load(Relaxed) {
            0 => Turn::Done(()),
            _ => Turn::wait(slf, &self.all_tasks_done),
        }
    }

    fn drop_items(&self, slf: &Bound<'_, Queue>) -> PyResult<()> {
        while self.qsize(slf)? > 0 {
            self.get_item(slf)?;
            let unfinished = self.unfinished.load(Relaxed);
            self.unfinished.store((unfinished - 1).max(0), Relaxed);
        }
        Ok(())
    }

    pub(super) fn len(&self, slf: &Bound<'_, Queue>) -> PyResult<isize> {
        if !self.overrides.qsize {
            return self.own_qsize(slf);
        }
        let _section = Section::enter(slf, self)?;
        self.qsize(slf)
    }

    pub(super) fn unfinished(&self) -> isize {
        self.unfinished.load(Relaxed)
    }

    pub(super) fn set_unfinished(&self, count: isize) {
        self.unfinished.store(count, Relaxed);
    }

    pub(super) fn is_shut_down(&self) -> bool {
        self.is_shut_down.load(Relaxed)
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.mutex)?;
        visit.call(&self.not_empty)?;
        visit.call(&self.not_full)?;
        visit.call(&self.all_tasks_done)?;
        // SAFETY: the collector runs attached, and as long as it does, no Python code.
        let py = unsafe { Python::assume_attached() };
        self.container.with(py, |slot| slot.as_ref().map_or(Ok(()), |c| visit.call(c)))
    }

    pub(super) fn clear(&self, py: Python<'_>) {
        drop(self.container.with(py, Option::take));
    }
}

#[cold]
pub(super) fn too_many_done() -> PyErr {
    PyValueError::new_err("task_done() called too many times")
}

/// Tells so many of those who wait for a condition.
#[inline(always)]
fn tell(py: Python<'_>, condition: &Py<Condition>, count: usize) -> Wakes {
    condition.get().waiters.tell(py, count, ())
}

/// Why an operation did nothing.
enum Stop {
    Refused(Refusal),
    Raised(PyErr),
}

impl Stop {
    fn error(self, py: Python<'_>) -> PyErr {
        match self {
            Self::Refused(refusal) => refusal.error(py),
            Self::Raised(error) => error,
        }
    }
}

impl From<PyErr> for Stop {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

fn refuse<T>(refusal: Refusal) -> Result<T, Stop> {
    Err(Stop::Refused(refusal))
}

/// What became of an operation of a task.
pub(super) enum Turn<'a, T> {
    Done(T),
    Wait(Place<'a, ()>),
}

impl<'a, T> Turn<'a, T> {
    /// To be made while the mutex is held, after a look; the section that looked ends only when the caller does.
    fn wait(slf: &Bound<'_, Queue>, condition: &'a Py<Condition>) -> Self {
        Self::Wait(condition.get().waiters.join(slf.py()).passing_on())
    }
}

/// A wait with the mutex released.
struct Releasing<'a, 'py> {
    py: Python<'py>,
    condition: &'a Condition,
    mutex: &'a Lock,
}

impl Occasion for Releasing<'_, '_> {
    fn object(&self) -> &dyn Waitable {
        self.condition
    }

    fn joined(&mut self) -> PyResult<()> {
        self.mutex.raw.unlock(self.py);
        Ok(())
    }
}

/// The time in which the calling thread has the mutex.
struct Section<'a, 'py> {
    slf: &'a Bound<'py, Queue>,
    open: &'a Open,
    /// Tasks to be woken when the mutex is free: by the drop that comes after the section's own.
    wakes: Wakes,
}

impl<'a, 'py> Section<'a, 'py> {
    /// Takes the mutex. An interruption point where it blocks.
    fn enter(slf: &'a Bound<'py, Queue>, open: &'a Open) -> PyResult<Self> {
        let (py, lock) = (slf.py(), open.mutex.get());
        if !lock.raw.try_lock(py) {
            lock.raw.wait(py, lock, None)?;
        }
        Ok(Self::begin(slf, open))
    }

    /// With the mutex, which the caller has taken.
    fn begin(slf: &'a Bound<'py, Queue>, open: &'a Open) -> Self {
        let section = Self { slf, open, wakes: Wakes::default() };
        section.hold();
        section
    }

    /// A hold only where methods of the class run: see the module.
    fn hold(&self) {
        self.open.mutex.get().busy.store(delivery::my_number(), Relaxed);
        if self.open.overrides.any() {
            delivery::hold(self.slf.py(), self.open.mutex.get().key());
        }
    }

    /// What is pending stays so: the operation is complete, and says so first.
    fn unhold(&self) {
        self.open.mutex.get().busy.store(0, Relaxed);
        if self.open.overrides.any() {
            delivery::unhold(self.slf.py(), self.open.mutex.get().key());
        }
    }

    /// Tells so many of those who wait for a condition.
    #[inline(always)]
    fn tell(&mut self, condition: &Py<Condition>, count: usize) {
        self.wakes.and(tell(self.slf.py(), condition, count));
    }

    /// Waits for a condition with the mutex released. False: the deadline has passed. However it ends, the mutex is taken
    /// again.
    fn wait(&mut self, condition: &Py<Condition>, deadline: Option<Instant>) -> PyResult<bool> {
        let (py, mutex) = (self.slf.py(), self.open.mutex.get());
        let patience = deadline.map_or(Patience::Forever, Patience::Until);
        let condition = condition.get();
        self.unhold();
        let ended = condition.waiters.wait(py, patience, Releasing { py, condition, mutex });
        mutex.raw.insist(py, mutex);
        self.hold();
        match ended {
            Ended::Told(()) => Ok(true),
            Ended::Left(None) => Ok(false),
            Ended::Left(Some(error)) => Err(error),
            Ended::Both((), error) => {
                self.wakes.and(condition.waiters.tell(py, 1, ()));
                Err(error)
            }
        }
    }

    /// `woken`: a wake-up came, and nobody else knows of it.
    fn put(
        &mut self,
        item: &Bound<'py, PyAny>,
        patience: Patience,
        woken: &mut bool,
    ) -> Result<(), Stop> {
        let (slf, open) = (self.slf, self.open);
        let is_full = || {
            let maxsize = slf.get().maxsize();
            Ok::<_, PyErr>(maxsize > 0 && open.qsize(slf)? >= maxsize)
        };
        if open.is_shut_down() {
            return refuse(Refusal::ShutDown);
        }
        let mut limit = Limit::new(patience);
        while is_full()? {
            let Some(deadline) = limit.next() else { return refuse(Refusal::Full) };
            *woken = self.wait(&open.not_full, deadline)?;
            if open.is_shut_down() {
                return refuse(Refusal::ShutDown);
            }
        }
        open.put_item(slf, item)?;
        self.wakes.and(open.added(slf.py()));
        Ok(())
    }

    /// As [`put`](Self::put).
    fn get(&mut self, patience: Patience, woken: &mut bool) -> Result<Bound<'py, PyAny>, Stop> {
        let (slf, open) = (self.slf, self.open);
        let mut limit = Limit::new(patience);
        while open.qsize(slf)? == 0 {
            if open.is_shut_down() {
                return refuse(Refusal::ShutDown);
            }
            let Some(deadline) = limit.next() else { return refuse(Refusal::Empty) };
            *woken = self.wait(&open.not_empty, deadline)?;
        }
        let item = open.get_item(slf)?;
        self.tell(&open.not_full, 1);
        Ok(item)
    }
}

impl Drop for Section<'_, '_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.unhold();
        // Somebody who released the mutex behind our back has released it for us.
        let raw = &self.open.mutex.get().raw;
        if raw.is_locked() {
            raw.unlock(self.slf.py());
        }
    }
}

/// How much patience is left.
struct Limit {
    patience: Patience,
    /// Since the first wait.
    deadline: Option<Instant>,
    waited: bool,
}

impl Limit {
    fn new(patience: Patience) -> Self {
        Self { patience, deadline: None, waited: false }
    }

    /// The deadline of the next wait. None: no more waiting.
    fn next(&mut self) -> Option<Option<Instant>> {
        if self.patience == Patience::Try {
            return None;
        }
        if !std::mem::replace(&mut self.waited, true) {
            self.deadline = self.patience.deadline();
        } else if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return None;
        }
        Some(self.deadline)
    }
}
