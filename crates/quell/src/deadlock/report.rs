//! What is shown: a wait, all waits, a deadlock; in words.

use super::graph::GRAPH;
use super::judge::Describer;
use super::place::Place;
use super::record::Held;
use crate::thread::{Thread, ThreadId, enumerate, lookup, lookup_number};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A [`Lock`](crate::Lock) or [`RawLock`](crate::RawLock).
    Lock,
    /// An [`RLock`](crate::RLock) or [`RawRLock`](crate::RawRLock).
    RLock,
    /// The end of a thread.
    Thread,
    /// A notification of a [`Condition`](crate::Condition).
    Condition,
    /// A permit of a [`Semaphore`](crate::Semaphore).
    Semaphore,
    /// An [`Event`](crate::Event).
    Event,
    /// The others at a [`Barrier`](crate::Barrier).
    Barrier,
    /// An item of a queue, room in it, or the end of its tasks.
    Queue,
    /// One of several things: a [`Select`](crate::Select).
    Select,
    /// A time: [`sleep`](crate::sleep).
    Sleep,
    /// To be unparked: [`park`](crate::thread::park).
    Park,
    /// Something else.
    Other,
}

impl Kind {
    const ALL: [Kind; 12] = [
        Kind::Lock,
        Kind::RLock,
        Kind::Thread,
        Kind::Condition,
        Kind::Semaphore,
        Kind::Event,
        Kind::Barrier,
        Kind::Queue,
        Kind::Select,
        Kind::Sleep,
        Kind::Park,
        Kind::Other,
    ];

    /// Not zero.
    pub(super) fn number(self) -> u8 {
        self as u8 + 1
    }

    pub(super) fn from_number(number: u8) -> Option<Kind> {
        Kind::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// In a word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Kind::Lock => "lock",
            Kind::RLock => "rlock",
            Kind::Thread => "thread",
            Kind::Condition => "condition",
            Kind::Semaphore => "semaphore",
            Kind::Event => "event",
            Kind::Barrier => "barrier",
            Kind::Queue => "queue",
            Kind::Select => "select",
            Kind::Sleep => "sleep",
            Kind::Park => "park",
            Kind::Other => "other",
        }
    }
}

/// Who holds what a thread waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// This thread; of a thread's end, the thread itself.
    Thread(Thread),
    /// A thread that has ended without releasing it, or that exists in the parent of a fork only.
    Ended(ThreadId),
    /// It may have a holder, but it is not known: it was taken while detection was off, or by a task; or it has just been
    /// released.
    Unknown,
    /// Such a thing has no holder: any thread may end the wait.
    None,
}

/// One thread that waits.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Waiting {
    /// The thread.
    pub thread: Thread,
    /// What it waits for.
    pub kind: Kind,
    /// Where that is in memory: it tells two locks from each other. 0: nowhere.
    pub address: usize,
    /// What it was [named](super::name()).
    pub name: Option<Arc<str>>,
    /// Where it was called. Known of waits that can have a holder.
    pub at: Option<Place>,
    /// Since when. Known of waits that can have a holder.
    pub since: Option<Instant>,
    /// Whether it has a deadline. Known of waits that can have a holder.
    pub limited: bool,
    /// Whether it may end with an error. Known of waits that can have a holder.
    pub may_fail: bool,
    /// Who holds it.
    pub holder: Holder,
    /// Where the holder took it: known if that was with detection on.
    pub taken_at: Option<Place>,
    /// Where the thread is, as the embedder [says](super::set_where).
    pub description: Option<String>,
}

impl Waiting {
    fn describe(&mut self, describer: &Describer) {
        self.description = describer(self);
    }
}

/// `thread 2 "b" waits for lock "right" (0x7f…) at src/main.rs:9:20, which thread 1 "a" took at src/main.rs:5:20`
impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.thread)?;
        let holder = match (&self.kind, &self.holder) {
            (Kind::Sleep, _) => return f.write_str("sleeps"),
            (Kind::Park, _) => return f.write_str("is parked"),
            (Kind::Thread, Holder::Thread(other)) => {
                return self.place(f, &format!("joins {other}"));
            }
            (Kind::Thread, _) => return self.place(f, "joins a thread that has ended"),
            (_, Holder::Thread(holder)) => format!(", which {holder} took"),
            (_, Holder::Ended(id)) => format!(", which thread {id} took, and has ended since"),
            (_, Holder::Unknown) => ", held by nobody that is known".to_owned(),
            (_, Holder::None) => String::new(),
        };
        let name = self.name.as_ref().map(|name| format!(" {name:?}")).unwrap_or_default();
        let what = match self.kind {
            Kind::Other => "something".to_owned(),
            Kind::Select => "one of several things".to_owned(),
            kind => format!("{}{name} ({:#x})", kind.word(), self.address),
        };
        self.place(f, &format!("waits for {what}"))?;
        f.write_str(&holder)?;
        match (&self.holder, self.taken_at) {
            (Holder::Thread(_), Some(place)) => write!(f, " at {place}"),
            _ => Ok(()),
        }
    }
}

impl Waiting {
    fn place(&self, f: &mut fmt::Formatter<'_>, what: &str) -> fmt::Result {
        match (&self.description, self.at) {
            (Some(description), _) => write!(f, "{what} at {description}"),
            (None, Some(at)) => write!(f, "{what} at {at}"),
            (None, None) => f.write_str(what),
        }
    }
}

/// Threads that wait, and for whom. As text, a line each.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    list: Vec<Waiting>,
}

impl Waits {
    /// One by one, oldest thread first; of a deadlock, each waits for the next, and the last for the first.
    pub fn iter(&self) -> std::slice::Iter<'_, Waiting> {
        self.list.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What this thread waits for.
    pub fn of(&self, thread: &Thread) -> Option<&Waiting> {
        self.iter().find(|waiting| waiting.thread == *thread)
    }
}

impl<'a> IntoIterator for &'a Waits {
    type Item = &'a Waiting;
    type IntoIter = std::slice::Iter<'a, Waiting>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("no thread waits\n");
        }
        self.iter().try_for_each(|waiting| writeln!(f, "{waiting}"))
    }
}

/// Who waits for whom, of all threads that quell knows, whether detection is on or not. Blocks for moments only.
///
/// Each line was true when it was looked at; threads go on meanwhile. Who holds a [`Lock`](crate::Lock) is known if it was
/// taken with detection on; who holds an [`RLock`](crate::RLock), always. (But of a thread that a notification has sent from its
/// condition to its lock, with detection off, it is known only which lock that is, until it is woken.)
///
/// ```
/// use quell::{Event, deadlock, thread};
///
/// let event = Event::new();
/// thread::scope(|s| {
///     let waiter = s.spawn(|| event.wait());
///     while deadlock::waits().of(waiter.thread()).is_none() {
///         std::thread::yield_now();
///     }
///     let waits = deadlock::waits();
///     println!("{waits}{}", waits.to_json()); // or `waits.to_dot()`, to be drawn by `dot -Tsvg`
///     assert!(waits.to_string().contains("waits for event"));
///     event.set();
///     waiter.join().unwrap().unwrap();
/// });
/// ```
pub fn waits() -> Waits {
    let mut list = Vec::new();
    for thread in enumerate() {
        let Some((mut waiting, held)) = look(&thread) else { continue };
        if let Some(held) = held {
            waiting.holder = held.resolve();
        }
        if let Holder::Thread(holder) = &waiting.holder {
            let _graph = GRAPH.lock();
            waiting.taken_at = holder.record().pages.lock().taken_at(waiting.address);
        }
        list.push(waiting);
    }
    let describer = GRAPH.lock().describer.clone();
    if let Some(describer) = describer {
        list.iter_mut().for_each(|waiting| waiting.describe(&*describer));
    }
    Waits { list }
}

/// What the thread waits for now, and who holds that.
fn look(thread: &Thread) -> Option<(Waiting, Option<Held>)> {
    let graph = GRAPH.lock();
    let pages = thread.record().pages.lock();
    if let Some(waiting) = graph.waiting(thread, &pages) {
        // SAFETY: we hold the record's lock.
        let held = pages.want.as_ref().map(|want| unsafe { want.what.holder() });
        return Some((waiting, held));
    }
    let (kind, address) = thread.record().asleep()?;
    let waiting = Waiting {
        thread: thread.clone(),
        kind,
        address,
        name: graph.names.get(address),
        at: None,
        since: None,
        limited: false,
        may_fail: false,
        holder: Holder::None,
        taken_at: None,
        description: None,
    };
    Some((waiting, None))
}

impl Held {
    /// The thread that is meant.
    fn resolve(self) -> Holder {
        let (thread, id) = match self {
            Held::Unknown => return Holder::Unknown,
            Held::Id(id) => (id_of(id).and_then(lookup), id),
            Held::Number(number) => (lookup_number(number), u64::from(number)),
        };
        match (thread, id_of(id)) {
            (Some(thread), _) => Holder::Thread(thread),
            (None, Some(id)) => Holder::Ended(id),
            (None, None) => Holder::Unknown,
        }
    }
}

fn id_of(id: u64) -> Option<ThreadId> {
    std::num::NonZeroU64::new(id).map(ThreadId::from_number)
}

/// Threads that wait for each other in a circle, so that none of them can go on. Cheap to clone.
///
/// A wait that was ended because of it returns it: as [`WaitError::Deadlock`](crate::WaitError::Deadlock), or, from
/// operations with no other error than [`Interrupted`](crate::Interrupted), as the reason of that, which
/// [`Interrupted::deadlock`](crate::Interrupted::deadlock) gives out. The operation had no effect. What the thread holds
/// it still holds: pass the error up, so that the guards are dropped, and begin again, or give up.
#[derive(Clone, Debug)]
pub struct Deadlock {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    waits: Waits,
    words: String,
}

impl Deadlock {
    pub(super) fn new(list: Vec<Waiting>) -> Deadlock {
        Deadlock { inner: Arc::new(Inner { waits: Waits { list }, words: String::new() }) }
    }

    /// Completes it, outside all locks.
    pub(super) fn describe(&mut self, describer: Option<&Describer>) {
        let inner = Arc::get_mut(&mut self.inner).expect("nobody else has it yet");
        if let Some(describer) = describer {
            inner.waits.list.iter_mut().for_each(|waiting| waiting.describe(describer));
        }
        inner.words = words(&inner.waits);
    }

    /// The waits, each for the next, and the last for the first. The first is the one that closed the circle.
    pub fn waits(&self) -> &Waits {
        &self.inner.waits
    }

    /// The threads, in the same order.
    pub fn threads(&self) -> impl Iterator<Item = &Thread> {
        self.waits().iter().map(|waiting| &waiting.thread)
    }
}

fn words(waits: &Waits) -> String {
    let mut words = match waits.len() {
        1 => "deadlock of a thread with itself:".to_owned(),
        count => format!("deadlock of {count} threads:"),
    };
    for waiting in waits {
        words.push_str(&format!("\n  {waiting}"));
    }
    words.push_str(match waits.len() {
        1 => "\nrelease it first, or use an RLock",
        _ => "\ntake these in one order everywhere, or release what is held before waiting for the next",
    });
    words
}

impl AsRef<str> for Deadlock {
    fn as_ref(&self) -> &str {
        &self.inner.words
    }
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.words)
    }
}

impl std::error::Error for Deadlock {}
