//! The handle to a thread, and its id.

use super::clock::CpuClock;
use super::{current, registry};
use crate::deadlock::{Record, What, want};
use crate::interrupt::{Interrupt, Receipt, Slot};
use crate::park::Parker;
use crate::sync::Event;
use crate::sys::atomic::AtomicBool;
use crate::sys::atomic::Ordering::{AcqRel, Acquire};
use crate::syscall::Calls;
use crate::wait::{Wait, WaitError};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU64;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// A thread's number. Never reused within a process, and never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ThreadId(NonZeroU64);

impl ThreadId {
    /// The next number that nobody had.
    pub(super) fn next() -> ThreadId {
        // std's atomic also in models: nothing is decided by it. Relaxed: only uniqueness counts.
        static LAST: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let id = LAST.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        ThreadId(NonZeroU64::new(id).expect("2^64 threads"))
    }

    /// As a number, for embedders that hand it to another language.
    pub const fn get(self) -> NonZeroU64 {
        self.0
    }

    /// From the number that [`get`](ThreadId::get) gave. Of a number that no thread has, [`lookup`](crate::lookup)
    /// finds nothing.
    pub const fn from_number(number: NonZeroU64) -> ThreadId {
        ThreadId(number)
    }
}

impl fmt::Display for ThreadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A handle to a thread. Cheap to clone; outlives the thread; two are equal if they speak of the same one.
#[derive(Clone)]
pub struct Thread {
    inner: Arc<Inner>,
}

struct Inner {
    id: ThreadId,
    name: Option<Box<str>>,
    slot: Slot,
    parker: Parker,
    /// The token of the public `park` and `unpark`; the parker's own token belongs to the waits.
    permit: AtomicBool,
    /// Set when the thread has ended.
    ended: Event,
    cpu: CpuClock,
    calls: Calls,
    record: Record,
    depths: Depths,
}

/// How many masks and shields a thread is in, for who looks from outside. std's atomics also in models, and Relaxed: nothing is
/// decided by them.
#[derive(Default)]
struct Depths {
    mask: AtomicU32,
    shield: AtomicU32,
}

impl Thread {
    pub(super) fn new(name: Option<String>) -> Thread {
        Thread::with_id(ThreadId::next(), name)
    }

    pub(super) fn with_id(id: ThreadId, name: Option<String>) -> Thread {
        Thread {
            inner: Arc::new(Inner {
                id,
                name: name.map(String::into_boxed_str),
                slot: Slot::new(),
                parker: Parker::new(),
                permit: AtomicBool::new(false),
                ended: Event::new(),
                cpu: CpuClock::new(),
                calls: Calls::new(),
                record: Record::new(),
                depths: Depths::default(),
            }),
        }
    }

    /// A handle for a thread that has not used quell yet, made by somebody else. It can be interrupted at once; the
    /// thread takes the handle over with [`adopt`](crate::adopt) before it first runs quell code. If it never will,
    /// say so with [`mark_exited`](Thread::mark_exited); until then it counts as alive.
    pub fn unattached(name: Option<String>) -> Thread {
        let thread = Thread::new(name);
        registry::add(&thread);
        thread
    }

    /// The thread's id.
    pub fn id(&self) -> ThreadId {
        self.inner.id
    }

    /// The thread's name, if it was given one.
    pub fn name(&self) -> Option<String> {
        self.inner.name.as_deref().map(str::to_owned)
    }

    /// Whether the thread has not ended yet.
    pub fn is_alive(&self) -> bool {
        !self.inner.slot.is_exited()
    }

    /// Interrupts the thread: the interrupt becomes pending and is delivered at the thread's next interruption
    /// point; if the thread is blocked in a quell wait, that is now.
    ///
    /// Any thread may call this, for itself too. It never waits for the target. If the target has ended, the
    /// receipt says so at once.
    ///
    /// ```
    /// use quell::{Interrupt, Outcome, thread};
    ///
    /// let sleeper = thread::spawn(|| quell::sleep(std::time::Duration::from_secs(3600)).is_err());
    /// let receipt = sleeper.thread().interrupt(Interrupt::new("wake up"));
    /// assert_eq!(receipt.wait(None).unwrap(), Outcome::Delivered);
    /// assert!(sleeper.join().unwrap());
    /// ```
    pub fn interrupt(&self, interrupt: Interrupt) -> Receipt {
        self.inner.slot.send(self, interrupt.unaimed())
    }

    /// Waits until the thread has ended. For who has no [`JoinHandle`](super::JoinHandle) of it: of a thread that somebody
    /// else started, or that several wait for. An interruption point of the waiting thread, if it has to wait.
    ///
    /// ```
    /// use quell::{Wait, spawn};
    ///
    /// let thread = spawn(|| 6 * 7);
    /// thread.thread().wait_ended(&Wait::new()).unwrap();
    /// assert!(!thread.thread().is_alive());
    /// assert_eq!(thread.join().unwrap(), 42);
    /// ```
    ///
    /// # Errors
    /// As the options allow; [`WaitError::Deadlock`] if the thread waits for this one.
    #[track_caller]
    pub fn wait_ended(&self, wait: &Wait) -> Result<(), WaitError> {
        if self.inner.ended.is_set() {
            return Ok(());
        }
        // It is the thread itself that holds its end.
        let (me, what) = (current(), What::End(self.clone()));
        let _wanting = want(&me, what, Location::caller(), wait).map_err(WaitError::Deadlock)?;
        self.inner.ended.wait_with(wait)
    }

    /// Whether an interrupt is pending. One load.
    #[inline]
    pub fn has_pending(&self) -> bool {
        self.inner.slot.has_pending()
    }

    /// Shows `look` what is pending, first in line first. False: the list is being changed in this moment, and nothing was shown;
    /// so this waits for nobody. For embedders that show what their threads do.
    ///
    /// `look` is called under the lock of the list: it only looks, and uses nothing of quell.
    ///
    /// ```
    /// use quell::Interrupt;
    ///
    /// let me = quell::current();
    /// let receipt = me.interrupt(Interrupt::new("stop"));
    /// let mut reasons = Vec::new();
    /// assert!(me.look_at_pending(|interrupt| reasons.extend(interrupt.downcast_ref::<&str>().copied())));
    /// assert_eq!(reasons, ["stop"]);
    /// receipt.withdraw();
    /// ```
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub fn look_at_pending(&self, look: impl FnMut(&Interrupt)) -> bool {
        self.inner.slot.look(look)
    }

    /// How many [masks](crate::mask) the thread is in. Out of date as soon as it is known, unless the thread asks.
    ///
    /// ```
    /// let _mask = quell::mask();
    /// let me = quell::current();
    /// assert_eq!((me.mask_depth(), me.shield_depth()), (1, 0));
    /// ```
    pub fn mask_depth(&self) -> u32 {
        self.inner.depths.mask.load(Relaxed)
    }

    /// The same of [shields](crate::shield).
    pub fn shield_depth(&self) -> u32 {
        self.inner.depths.shield.load(Relaxed)
    }

    /// The thread itself says how many.
    #[inline]
    pub(super) fn show_depths(&self, mask: u32, shield: u32) {
        self.inner.depths.mask.store(mask, Relaxed);
        self.inner.depths.shield.store(shield, Relaxed);
    }

    /// Takes back everything that is pending, and says how many that were.
    pub fn withdraw_all(&self) -> usize {
        self.inner.slot.withdraw_all()
    }

    /// For an embedder that learnt that a thread is gone which never [`adopt`](crate::adopt)ed its handle: what is
    /// pending becomes *target exited*, and so does what is sent later. Of a thread that has ended already, nothing
    /// changes.
    ///
    /// Not for a thread that runs quell code: it would go on, but nobody could interrupt it any more.
    pub fn mark_exited(&self) {
        self.exit();
    }

    /// Has the thread's current or next wait with [`signals`](crate::Wait::signals) end with
    /// [`Signalled`](crate::WaitError::Signalled). For an embedder's signal handlers: a signal that arrives just
    /// before the sleep interrupts no system call, a nudge is remembered. Any number before that wait count as one.
    ///
    /// It ends a system call made through [`syscall`](crate::syscall) in the same way.
    ///
    /// Async-signal-safe where threads sleep on futexes and system calls go through the stub (Linux on x86-64 and aarch64, unless a
    /// `Setup` says otherwise).
    pub fn nudge(&self) {
        self.inner.slot.nudge(self);
    }

    /// Ends the thread's current or next [`park`](super::park). Any number before that count as one.
    pub fn unpark(&self) {
        // AcqRel, with the swap in `take_permit`: what came before `unpark` is visible after `park`.
        if !self.inner.permit.swap(true, AcqRel) {
            self.inner.parker.unpark();
        }
    }

    /// How much processor time the thread has used since it was started. `None`: it has ended, has not run yet, or the
    /// system does not tell (Linux does).
    ///
    /// Any thread may ask, at the cost of a system call or so. A thread in a long system call, or waiting, uses none.
    ///
    /// ```
    /// let me = quell::current();
    /// let before = me.cpu_time();
    /// let mut sum = 0_u64;
    /// (0..100_000).for_each(|i| sum = std::hint::black_box(sum + i));
    /// assert!(me.cpu_time() > before || before.is_none());
    /// ```
    pub fn cpu_time(&self) -> Option<Duration> {
        let time = self.inner.cpu.read();
        // After the reading: until then the clock was this thread's.
        if self.is_alive() { time } else { None }
    }

    /// The current thread is the one this handle speaks of.
    pub(super) fn attach_clock(&self) {
        self.inner.cpu.attach();
    }

    pub(super) fn has_permit(&self) -> bool {
        self.inner.permit.load(Acquire)
    }

    pub(super) fn take_permit(&self) -> bool {
        self.inner.permit.swap(false, AcqRel)
    }

    /// Set when the thread has ended.
    pub(crate) fn ended(&self) -> &Event {
        &self.inner.ended
    }

    /// Inlined into other crates, as a part of `checkpoint`.
    #[inline]
    pub(crate) fn slot(&self) -> &Slot {
        &self.inner.slot
    }

    pub(crate) fn calls(&self) -> &Calls {
        &self.inner.calls
    }

    /// The thread may be in a system call that has to end, for `bit` was set in its slot.
    #[cold]
    pub(crate) fn kick(&self, bit: u32) {
        crate::syscall::kick(self, bit);
    }

    /// What it has written down about what it wants and holds.
    pub(crate) fn record(&self) -> &Record {
        &self.inner.record
    }

    pub(crate) fn parker(&self) -> &Parker {
        &self.inner.parker
    }

    /// Has the thread look again at what it waits for.
    pub(crate) fn unpark_internal(&self) {
        self.inner.parker.unpark();
    }

    /// The thread has ended: nothing can be sent any more, what is pending is settled, who joins is woken.
    pub(super) fn exit(&self) {
        /// Even if a reason's drop handler panics.
        struct Ended<'a> {
            thread: &'a Thread,
            removed: bool,
        }
        impl Drop for Ended<'_> {
            fn drop(&mut self) {
                self.thread.inner.ended.set();
                if self.removed {
                    registry::forget(self.thread);
                }
            }
        }
        // Until it is forgotten, a fork tells in its place.
        let _ended = Ended { thread: self, removed: registry::remove(self) };
        self.inner.slot.close();
    }

    /// The same in the child of a fork, for a thread that exists in the parent only. The registry is the caller's.
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(super) fn exit_after_fork(&self) {
        self.inner.slot.close_after_fork();
        self.inner.ended.reset_to(true);
    }

    /// In the child of a fork, for the thread that is there: nobody waits for its end, or for what is pending.
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(super) fn keep_after_fork(&self) {
        self.inner.cpu.attach();
        self.inner.calls.keep_after_fork();
        self.inner.slot.keep_after_fork();
        self.inner.ended.reset_to(false);
    }

    pub(super) fn into_raw(self) -> *const () {
        Arc::into_raw(self.inner).cast()
    }

    /// # Safety
    /// `raw` came from `into_raw`; each call uses up one reference.
    #[inline]
    pub(super) unsafe fn from_raw(raw: *const ()) -> Thread {
        // SAFETY: as the caller promises.
        Thread { inner: unsafe { Arc::from_raw(raw.cast()) } }
    }
}

impl PartialEq for Thread {
    fn eq(&self, other: &Thread) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Eq for Thread {}

impl Hash for Thread {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.id.hash(state);
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread")
            .field("id", &self.inner.id.0)
            .field("name", &self.inner.name)
            .field("alive", &self.is_alive())
            .finish_non_exhaustive()
    }
}

/// As messages name it: `thread 3 "worker"`.
impl fmt::Display for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {}", self.inner.id)?;
        match &self.inner.name {
            Some(name) => write!(f, " {name:?}"),
            None => Ok(()),
        }
    }
}
