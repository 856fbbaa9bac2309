//! Waiting for the first of several things: an item of a queue, room in one, an event.
//!
//! # The protocol
//!
//! All arms share one turn, so one granter wins, at most: see [`line`](super::line) and the selections of
//! [`wait`](crate::wait). A round of a selection:
//!
//! 1. Each arm is tried, in random order, without waiting. The first that can be done is, and wins: it is done in the step
//!    that tries it.
//! 2. If none can, the arms join their lines, one after the other. One that need not wait (somebody else has come in
//!    between) ends the joining; then the selection leaves its turn, and all lines, and begins a new round. If it cannot
//!    leave, it was granted in the meantime.
//! 3. It waits for its turn, in which one arm is granted: an item was moved for that arm, and for no other.
//!
//! **Both sides in a selection.** Who grants to a selection has no turn of its own in any line at that moment: it tries in
//! step 1, when it has not joined, or after it has left. So no two turns have to be won in one step.
//!
//! **It ends.** Arms join in the order of their queues' addresses. A selection that begins a new round because of another
//! selection it saw in a line has joined lines before that one only; a chain of selections that give way to each other
//! climbs, and the last of it does not give way. (Dijkstra's ordered resources.)
//!
//! **No wake-up is lost.** An arm that joins looks under the lock of its line whether it must wait, and is found by whoever
//! comes later. Whoever passed over a selection because it had left its turn for a new round waits in that line itself, and
//! the new round finds it.

mod arm;
mod task;

use self::arm::{Arm, EventArm, GetArm, PutArm};
use self::task::Selected;
use super::base::QueueOf;

use super::error::ShutDown;
use super::kind::Kind;
use super::line::Turn;
use super::wait::InLine;
use crate::deadlock::{self, Asleep};
use crate::sync::Event;
use crate::thread::current;
use crate::wait::{Wait, WaitError, Waiter, block};
use std::fmt;
use std::task::Waker;
use std::time::{Duration, Instant};

/// Waits for the first of several things, and does that one alone.
///
/// An *arm* is something to wait for, and what to do with it. The arms can be of different types, over queues of different
/// kinds; what is done with each gives a value of one type, `R`. When the selection ends, one arm has happened, and its
/// value is the result, or none has, and an error says why: an item was taken from one queue and no other.
///
/// ```
/// use quell::{Event, Queue, Select};
///
/// let (jobs, results, stop) = (Queue::unbounded(), Queue::bounded(1), Event::new());
/// jobs.put("sweep").unwrap();
/// let mut result = Some(42);
/// for _ in 0..2 {
///     let done = Select::new()
///         .get(&jobs, |job| format!("got {}", job.unwrap()))
///         .put(&results, &mut result, |put| format!("put: {put:?}"))
///         .event(&stop, || "told to stop".to_string())
///         .wait()
///         .unwrap();
///     assert!(done == "got sweep" || done == "put: Ok(())");
///     if result.is_none() {
///         break; // it was put
///     }
/// }
/// ```
///
/// # Which arm
///
/// Of the arms that can be done at once, one is chosen at random, each with the same probability (Go's rule). If none can,
/// it is the one that can first: whoever serves a queue serves those who wait in order, selections among them.
///
/// # A queue that is shut down
///
/// An arm whose queue is shut down (and empty, to get from it) can be done at once: it gets [`ShutDown`]. Leave such an arm
/// out of the next selection.
///
/// # What it costs
///
/// Each arm is an allocation. Waiting allocates nothing.
#[must_use = "a selection does nothing unless it is waited for"]
pub struct Select<'a, R> {
    arms: Vec<Box<dyn Arm<R> + 'a>>,
    /// In which order they are tried, shuffled for each round.
    order: Vec<usize>,
}

impl<'a, R: 'a> Select<'a, R> {
    /// A selection without arms. Waiting for it is waiting for a deadline or an interrupt.
    pub fn new() -> Select<'a, R> {
        Select { arms: Vec::new(), order: Vec::new() }
    }

    /// An arm that takes the next item of a queue.
    pub fn get<T, K>(
        self,
        queue: &'a QueueOf<T, K>,
        then: impl FnOnce(Result<T, ShutDown>) -> R + Send + 'a,
    ) -> Select<'a, R>
    where
        T: Send + 'a,
        K: Kind<T> + 'a,
    {
        self.arm(GetArm::new(queue, then))
    }

    /// An arm that puts the item out of `item` into a queue. If the arm does not happen, or the queue is shut down, the
    /// item is in `item` again when the selection ends.
    ///
    /// ```
    /// use quell::{Queue, Select};
    /// use std::time::Duration;
    ///
    /// let full: Queue<u32> = Queue::rendezvous();
    /// let mut item = Some(1);
    /// let selected = Select::new()
    ///     .put(&full, &mut item, |put| put.is_ok())
    ///     .wait_timeout(Duration::from_millis(1));
    /// assert!(selected.is_err() && item == Some(1));
    /// ```
    ///
    /// # Panics
    /// If there is no item.
    pub fn put<T, K>(
        self,
        queue: &'a QueueOf<T, K>,
        item: &'a mut Option<T>,
        then: impl FnOnce(Result<(), ShutDown>) -> R + Send + 'a,
    ) -> Select<'a, R>
    where
        T: Send + 'a,
        K: Kind<T> + 'a,
    {
        assert!(item.is_some(), "an item to put");
        self.arm(PutArm::new(queue, item, then))
    }

    /// An arm that happens when an event is set.
    pub fn event(self, event: &'a Event, then: impl FnOnce() -> R + Send + 'a) -> Select<'a, R> {
        self.arm(EventArm::new(event, then))
    }

    fn arm(mut self, arm: impl Arm<R> + 'a) -> Select<'a, R> {
        self.order.push(self.arms.len());
        self.arms.push(Box::new(arm));
        self
    }

    /// Waits for the first of the arms. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// [`WaitError::Interrupted`]. No arm has happened.
    pub fn wait(self) -> Result<R, WaitError> {
        self.wait_with(&Wait::new())
    }

    /// Waits for the first of the arms, for `time` at most. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`], [`WaitError::Interrupted`]. No arm has happened.
    pub fn wait_timeout(self, time: Duration) -> Result<R, WaitError> {
        self.wait_with(&Wait::new().timeout(time))
    }

    /// Waits for the first of the arms, until `deadline` at most. An interruption point, if it has to wait.
    ///
    /// # Errors
    /// As [`wait_timeout`](Select::wait_timeout).
    pub fn wait_until(self, deadline: Instant) -> Result<R, WaitError> {
        self.wait_with(&Wait::new().until(deadline))
    }

    /// Waits for the first of the arms, for as long as it takes. No interruption point.
    pub fn wait_uninterruptible(self) -> R {
        self.wait_with(&Wait::new().shielded()).expect("nothing else ends it")
    }

    /// Waits for the first of the arms, with every option.
    ///
    /// # Errors
    /// As the options allow. No arm has happened.
    pub fn wait_with(mut self, wait: &Wait) -> Result<R, WaitError> {
        self.sort();
        loop {
            if let Some(at) = self.attempt() {
                return Ok(self.finish(at));
            }
            let me = current();
            let _asleep = Asleep::enter(&me, deadlock::Kind::Select, std::ptr::from_ref(&self));
            let sleep = |turn: &Turn| block(&me, wait, || turn.is_granted(), || turn.state.leave());
            if let Some(at) = self.round(|| Waiter::Thread(me.clone()), sleep)? {
                return Ok(self.finish(at));
            }
        }
    }

    /// Does one of the arms, if one can be done at once. If not, there was a moment at which none could. Does not block,
    /// and is no interruption point.
    ///
    /// # Errors
    /// The selection itself, if none can.
    pub fn try_now(mut self) -> Result<R, Select<'a, R>> {
        self.sort();
        loop {
            if let Some(at) = self.attempt() {
                return Ok(self.finish(at));
            }
            // One arm can become ready when its turn in `attempt` is over, and another cease to be before it comes. So
            // they join, and if all are in line when it leaves, none is ready at that moment.
            let waiter = || Waiter::Task(Waker::noop().clone());
            let leave = |turn: &Turn| if turn.state.leave() { Err(()) } else { Ok(()) };
            match self.round(waiter, leave) {
                Ok(Some(at)) => return Ok(self.finish(at)),
                Ok(None) => {}
                Err(()) => return Err(self),
            }
        }
    }

    /// Waits for the first of the arms, as a task. No interruption point.
    ///
    /// Dropped before it was ready, the future has done none of them: an item it wanted to put is where it came from, and
    /// one that was handed to it, and that it did not see, goes to the next who waits for one, or back into its queue.
    ///
    /// ```
    /// # smol::block_on(async {
    /// use quell::{Event, Queue, Select};
    ///
    /// let (queue, stop) = (Queue::<u32>::unbounded(), Event::new());
    /// stop.set();
    /// let got = Select::new().get(&queue, Result::ok).event(&stop, || None).wait_async().await;
    /// assert_eq!(got, None);
    /// # });
    /// ```
    pub async fn wait_async(mut self) -> R {
        self.sort();
        Selected::new(self).await
    }

    /// In the order in which they join. In a model, whose addresses differ from one execution to the next, the order in
    /// which they were added is taken for it.
    fn sort(&mut self) {
        if cfg!(not(any(quell_loom, quell_shuttle))) {
            self.arms.sort_by_key(|arm| arm.address());
        }
    }

    /// Tries each. Says which one was done.
    fn attempt(&mut self) -> Option<usize> {
        shuffle(&mut self.order);
        // SAFETY: none is in a line.
        self.order.iter().copied().find(|&at| unsafe { self.arms[at].attempt() })
    }

    /// Has them join. Says how many have, and whether all have; if not, the next one need not wait.
    ///
    /// # Safety
    /// None is in a line, but one that a fork has left behind. The boxes and the turn stay in place until
    /// [`quit`](Select::quit).
    unsafe fn join(&self, turn: &Turn, waiter: impl Fn() -> Waiter) -> (usize, bool) {
        for (at, arm) in self.arms.iter().enumerate() {
            // SAFETY: as the caller promises.
            if !unsafe { arm.join(turn, at, waiter()) } {
                return (at, false);
            }
        }
        (self.arms.len(), true)
    }

    /// Steps 2 and 3 of a round: all join, and `wait` waits, until the turn is granted, or fails after it has left the
    /// turn. Says which arm was done. `None`: one need not wait.
    fn round<E>(
        &self,
        waiter: impl Fn() -> Waiter,
        wait: impl FnOnce(&Turn) -> Result<(), E>,
    ) -> Result<Option<usize>, E> {
        let turn = Turn::asleep();
        let in_line = InLine;
        // SAFETY: arms and turn stay in place until all have quit; `in_line` sees to it that nothing unwinds past that.
        let (joined, all) = unsafe { self.join(&turn, waiter) };
        let granted = match all {
            true => wait(&turn).map(|()| true),
            // If it cannot leave, it is being granted.
            false => Ok(!turn.state.leave()),
        };
        self.quit(joined);
        std::mem::forget(in_line);
        turn.use_slots();
        Ok(if granted? { Some(granted_arm(&turn)) } else { None })
    }

    /// Has the first so many leave their lines. After this, who had claimed the turn has granted.
    fn quit(&self, joined: usize) {
        self.arms[..joined].iter().for_each(|arm| arm.quit());
    }

    /// That arm was done. The others give back what they have.
    fn finish(mut self, at: usize) -> R {
        let arm = self.arms.swap_remove(at);
        drop(self);
        arm.finish()
    }
}

/// Which arm was granted.
fn granted_arm(turn: &Turn) -> usize {
    turn.state.granted().expect("it ended well").0
}

impl<'a, R: 'a> Default for Select<'a, R> {
    fn default() -> Select<'a, R> {
        Select::new()
    }
}

impl<R> fmt::Debug for Select<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select").field("arms", &self.arms.len()).finish_non_exhaustive()
    }
}

/// Into a random order; every one is as probable.
#[cfg(not(any(quell_loom, quell_shuttle)))]
fn shuffle(order: &mut [usize]) {
    use std::hash::{BuildHasher, RandomState};
    thread_local! {
        /// Marsaglia's xorshift.
        static STATE: std::cell::Cell<u64> = std::cell::Cell::new(RandomState::new().hash_one(0) | 1);
    }
    for left in (2..=order.len()).rev() {
        let number = STATE.with(|state| {
            let mut number = state.get();
            number ^= number << 13;
            number ^= number >> 7;
            number ^= number << 17;
            state.set(number);
            number
        });
        order.swap(left - 1, (number % left as u64) as usize);
    }
}

/// A model of every interleaving, or of random ones, takes the arms as they come.
#[cfg(any(quell_loom, quell_shuttle))]
fn shuffle(_order: &mut [usize]) {}
