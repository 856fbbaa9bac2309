//! Which threads want something that others hold, and the chain from one to the next. The protocol is in the module's
//! documentation.

use super::gate::with_number;
use super::judge::{Describer, Detection, Reporter};
use super::name::Names;
use super::record::{Held, Pages};
use super::report::{Deadlock, Holder, Waiting};
use crate::park::Short;
use crate::thread::Thread;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is under the one lock.
pub(super) struct Graph {
    /// The threads with a want, by id. Who is not enrolled wants nothing that others hold, or did so before detection
    /// was on.
    waiting: BTreeMap<u64, Thread>,
    /// The last want's number.
    pub(super) last: u64,
    pub(super) detection: Detection,
    pub(super) reporter: Option<Arc<Reporter>>,
    pub(super) describer: Option<Arc<Describer>>,
    pub(super) names: Names,
}

impl Graph {
    const fn new() -> Graph {
        Graph {
            waiting: BTreeMap::new(),
            last: 0,
            detection: Detection::Off,
            reporter: None,
            describer: None,
            names: Names::new(),
        }
    }
}

#[cfg(not(any(quell_loom, quell_shuttle)))]
pub(super) static GRAPH: Short<Graph> = Short::new(Graph::new());

// In a model every execution starts with an empty graph.
#[cfg(quell_loom)]
loom::lazy_static! {
    pub(super) static ref GRAPH: Short<Graph> = Short::new(Graph::new());
}
#[cfg(quell_shuttle)]
shuttle::lazy_static! {
    pub(super) static ref GRAPH: Short<Graph> = Short::new(Graph::new());
}

/// One step of a chain.
pub(super) struct Step {
    pub(super) thread: Thread,
    /// The number of its want.
    pub(super) want: u64,
    /// Whether it can be told to fail.
    pub(super) may_fail: bool,
}

impl Graph {
    pub(super) fn enrol(&mut self, thread: &Thread) {
        self.waiting.insert(id(thread), thread.clone());
    }

    pub(super) fn strike(&mut self, thread: &Thread) {
        self.waiting.remove(&id(thread));
    }

    /// The chain from `first`, which is enrolled, back to itself. `None`: it ends elsewhere.
    pub(super) fn circle(&self, first: &Thread) -> Option<Vec<Step>> {
        let mut chain = Vec::new();
        let mut thread = first;
        loop {
            let pages = thread.record().pages.lock();
            let want = pages.want.as_ref().filter(|want| want.number != 0 && !want.leaving)?;
            // SAFETY: we hold the record's lock.
            let held = unsafe { want.what.holder() };
            let address = want.what.address();
            chain.push(Step {
                thread: thread.clone(),
                want: want.number,
                may_fail: want.may_fail && !want.judging,
            });
            drop(pages);
            thread = self.who(held, address)?;
            if thread == first {
                return Some(chain);
            }
            // Into a circle that `first` is not part of: those in it know.
            if chain.len() > self.waiting.len() {
                return None;
            }
        }
    }

    /// The enrolled thread that is meant.
    fn who(&self, held: Held, address: usize) -> Option<&Thread> {
        match held {
            Held::Unknown => None,
            Held::Id(id) => self.waiting.get(&id),
            Held::Number(number) => {
                let last = *self.waiting.last_key_value()?.0;
                let mut meant = with_number(number, last).filter_map(|id| self.waiting.get(&id));
                // Numbers repeat after half a billion threads; the list of its holds tells who it is.
                meant.find(|thread| thread.record().pages.lock().taken_at(address).is_some())
            }
        }
    }

    /// The chain in words and numbers. Nobody leaves it meanwhile.
    pub(super) fn report(&self, circle: &[Step]) -> Deadlock {
        let holder = |at: usize| &circle[(at + 1) % circle.len()].thread;
        let waits = circle.iter().enumerate().filter_map(|(at, step)| {
            let mut waiting = self.waiting(&step.thread, &step.thread.record().pages.lock())?;
            waiting.taken_at = holder(at).record().pages.lock().taken_at(waiting.address);
            waiting.holder = Holder::Thread(holder(at).clone());
            Some(waiting)
        });
        Deadlock::new(waits.collect())
    }

    /// What a thread wants, but for who holds it.
    pub(super) fn waiting(&self, thread: &Thread, pages: &Pages) -> Option<Waiting> {
        let want = pages.want.as_ref()?;
        let address = want.what.address();
        Some(Waiting {
            thread: thread.clone(),
            kind: want.what.kind(),
            address,
            name: self.names.get(address),
            at: Some(want.place),
            since: Some(want.since),
            limited: want.limited,
            may_fail: want.may_fail,
            holder: Holder::Unknown,
            taken_at: None,
            description: None,
        })
    }
}

fn id(thread: &Thread) -> u64 {
    thread.id().get().get()
}

/// Before fork: nobody enters, leaves, or looks at another's record.
#[cfg(not(any(quell_loom, quell_shuttle)))]
pub(crate) fn hold() {
    GRAPH.raw().lock();
}

/// After fork, in both processes: undoes [`hold`].
#[cfg(not(any(quell_loom, quell_shuttle)))]
pub(crate) fn release() {
    GRAPH.raw().unlock();
}

/// In the child of a fork: of the threads that waited, none is there but, at most, the one that forked.
#[cfg(not(any(quell_loom, quell_shuttle)))]
pub(crate) fn after_fork() {
    let me = crate::thread::registered(Thread::clone);
    let mut graph = GRAPH.lock();
    let mut gone = std::mem::take(&mut graph.waiting);
    if let Some(me) = me.filter(|me| gone.remove(&id(me)).is_some()) {
        graph.enrol(&me);
    }
    drop(graph);
    // Handles only; but the last of one drops what was pending, for which the child may not be fit.
    std::mem::forget(gone);
}
