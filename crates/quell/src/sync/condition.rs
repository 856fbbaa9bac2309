//! The condition: threads wait, with a lock released, until they are told that something has changed.
//!
//! # The protocol
//!
//! A waiter joins the condition's queue while it holds the lock, then releases the lock, then sleeps. Whoever changes
//! under the lock what the waiter looks at does so before the waiter took the lock, and is seen; or after it released
//! it, and then finds the waiter in the queue. So no notification is lost. (`notify` may look at the queue without its
//! lock for the same reason: what the waiter did before it released the lock is visible to who held the lock later.)
//!
//! Notification and interrupt compete for the waiter's node, as everywhere in [`wait`](crate::wait):
//!
//! - If the notification wins, the waiter takes the lock again and returns well, and the interrupt stays pending.
//! - If the interrupt wins, the waiter takes the lock again and returns the interrupt; the notification went to the
//!   next. That order is the rule of Java's `AbstractQueuedSynchronizer.ConditionObject`.
//!
//! Taking the lock again is no interruption point and knows no deadline: the caller has its guard in every case.
//!
//! **A notification under the lock** wakes nobody: the waiter could only sleep again, for the lock. It is moved to the lock's
//! queue (`wait::transfer`), and woken when it has its turn there; `notify_all` makes no system call, and one thread after the
//! other has the lock. If the lock is free, who is notified is woken; so is a task, and every waiter while
//! [detection of deadlocks](crate::deadlock) is on, because who wants a lock has to say so itself before it is in the queue.
//!
//! A task that was notified and then dropped, before or while it takes the lock again, passes the notification on.

use super::guard::Guard;
use super::holder::ByTask;
use super::lock::LockGuard;
use super::raw_lock::{RawLock, Site, since};
use crate::deadlock::{Kind, is_on};
use crate::interrupt::Interrupted;
use crate::wait::{
    Goal, Granting, Note, Place, Transfer, Wait, WaitError, WaitQueue, Waited, wait_async,
    wait_for_and,
};
use std::fmt;
use std::future::poll_fn;
use std::ops::Deref;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

/// The token of a notification: take the lock again, or: you are in its queue.
const WOKEN: u32 = 0;
const MOVED: u32 = 1;

/// How many are notified under one hold of the queue's lock.
const BATCH: usize = if cfg!(any(quell_loom, quell_shuttle)) { 2 } else { 32 };

/// A place to wait, with a lock released, for something to change under that lock. Also called a condition variable.
///
/// The waits take the guard of a [`Lock`](crate::Lock) or [`RLock`](crate::RLock), release the lock, and have taken it
/// again when they return, however they end. They are interruption points. None wakes for nothing: one that returns well
/// was notified; but what it waits for may have changed again before it had the lock, so prefer
/// [`wait_while`](Condition::wait_while).
///
/// A notification that competes with an interrupt or a deadline is never lost: if the waiter was notified, it returns
/// well, and the interrupt stays pending; if not, the notification went to the next waiter.
///
/// ```
/// use quell::{Condition, Lock, thread};
/// use std::sync::Arc;
///
/// let shared = Arc::new((Lock::new(Vec::new()), Condition::new()));
/// let consumer = {
///     let shared = Arc::clone(&shared);
///     thread::spawn(move || {
///         let (items, changed) = &*shared;
///         let mut items = items.lock().unwrap();
///         changed.wait_while(&mut items, |items| items.is_empty()).unwrap();
///         items.pop()
///     })
/// };
/// shared.0.lock().unwrap().push(7);
/// shared.1.notify_one();
/// assert_eq!(consumer.join().unwrap(), Some(7));
/// ```
#[doc(alias = "Condvar")]
#[doc(alias = "condition variable")]
pub struct Condition {
    queue: WaitQueue,
}

impl Condition {
    const_fn! {
        /// A condition nobody waits for.
        pub fn new() -> Condition {
            Condition { queue: WaitQueue::new(0) }
        }
    }

    /// Waits until notified. An interruption point.
    ///
    /// # Errors
    /// If the thread is interrupted. The lock is held again then, too.
    #[track_caller]
    pub fn wait<G: Guard>(&self, guard: &mut G) -> Result<(), Interrupted> {
        self.wait_with(guard, &Wait::new()).map_err(WaitError::only_interrupt)
    }

    /// Waits until notified, for `time` at most. An interruption point. Taking the lock again may take longer.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`], [`WaitError::Interrupted`]. The lock is held again then, too.
    #[doc(alias = "wait_for")]
    #[track_caller]
    pub fn wait_timeout<G: Guard>(&self, guard: &mut G, time: Duration) -> Result<(), WaitError> {
        self.wait_with(guard, &Wait::new().timeout(time))
    }

    /// Waits until notified, until `deadline` at most. An interruption point. Taking the lock again may take longer.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`], [`WaitError::Interrupted`]. The lock is held again then, too.
    #[track_caller]
    pub fn wait_until<G: Guard>(&self, guard: &mut G, deadline: Instant) -> Result<(), WaitError> {
        self.wait_with(guard, &Wait::new().until(deadline))
    }

    /// Waits until notified, as long as it takes. No interruption point: interrupts stay pending.
    #[track_caller]
    pub fn wait_uninterruptible<G: Guard>(&self, guard: &mut G) {
        let waited = self.wait_with(guard, &Wait::new().shielded());
        debug_assert!(waited.is_ok(), "nothing else ends this wait");
    }

    /// Waits until notified, with every option.
    ///
    /// # Errors
    /// As the options allow. The lock is held again then, too.
    ///
    /// # Panics
    /// If the guard is an [`RLock`](crate::RLock)'s and its thread has another one: see
    /// [`RLockGuard::whole`](crate::RLockGuard::whole).
    #[track_caller]
    pub fn wait_with<G: Guard>(&self, guard: &mut G, wait: &Wait) -> Result<(), WaitError> {
        guard.check();
        let mut depth = 0;
        let (lock, again) = guard.parts();
        let transfer = Transfer::new(lock);
        // The lock is released when this thread is in the queue.
        let release = || depth = guard.release();
        let waited = wait_for_and(self, wait, Place::Back, transfer.note(), release, None);
        if !matches!(waited, Ok(Waited::Granted(MOVED))) {
            guard.reacquire(depth);
            return waited.map(drop);
        }
        let site = Site::here();
        match again {
            None => lock.lock_moved(&transfer, site),
            Some(again) => {
                lock.lock_moved(&transfer, site.part_of(again));
                again.restore(depth);
            }
        }
        Ok(())
    }

    /// Waits until notified, with a lock of the caller's own, for embedders: `release` is called once, as soon as this
    /// thread is in line, and releases that lock. Taking it again is left to the caller. As the options allow, an
    /// interruption point.
    ///
    /// ```
    /// use quell::{Condition, RawLock, Wait, WaitError};
    /// use std::time::Duration;
    ///
    /// let (lock, changed) = (RawLock::new(), Condition::new());
    /// assert!(lock.try_lock());
    /// let waited = changed.wait_releasing(|| lock.unlock(), &Wait::new().timeout(Duration::from_millis(1)));
    /// assert!(matches!(waited, Err(WaitError::TimedOut)));
    /// assert!(!lock.is_locked());
    /// ```
    ///
    /// # Errors
    /// As the options allow. The lock is released then, too.
    ///
    /// # Panics
    /// `release` must not panic: the process would end.
    pub fn wait_releasing(&self, release: impl FnOnce(), wait: &Wait) -> Result<(), WaitError> {
        wait_for_and(self, wait, Place::Back, Note::NONE, release, None).map(drop)
    }

    /// Waits while `condition` says so of the value. Looks first, and after each notification. An interruption point, if
    /// it has to wait.
    ///
    /// # Errors
    /// If the thread is interrupted. The lock is held again then, too.
    #[track_caller]
    pub fn wait_while<G: Guard + Deref>(
        &self,
        guard: &mut G,
        condition: impl FnMut(&G::Target) -> bool,
    ) -> Result<(), Interrupted> {
        self.wait_while_with(guard, condition, &Wait::new()).map_err(WaitError::only_interrupt)
    }

    /// [`wait_while`](Condition::wait_while) for `time` at most.
    ///
    /// ```
    /// use quell::{Condition, Lock, WaitError};
    /// use std::time::Duration;
    ///
    /// let (ready, changed) = (Lock::new(false), Condition::new());
    /// let mut ready = ready.lock().unwrap();
    /// let waited = changed.wait_while_timeout(&mut ready, |ready| !ready, Duration::from_millis(1));
    /// assert!(matches!(waited, Err(WaitError::TimedOut)));
    /// ```
    ///
    /// # Errors
    /// [`WaitError::TimedOut`] if at the end `condition` still says so; [`WaitError::Interrupted`]. The lock is held
    /// again then, too.
    #[track_caller]
    pub fn wait_while_timeout<G: Guard + Deref>(
        &self,
        guard: &mut G,
        condition: impl FnMut(&G::Target) -> bool,
        time: Duration,
    ) -> Result<(), WaitError> {
        self.wait_while_with(guard, condition, &Wait::new().timeout(time))
    }

    /// [`wait_while`](Condition::wait_while) with every option.
    ///
    /// # Errors
    /// As the options allow; [`WaitError::TimedOut`] only if at the end `condition` still says so. The lock is held
    /// again then, too.
    #[track_caller]
    pub fn wait_while_with<G: Guard + Deref>(
        &self,
        guard: &mut G,
        mut condition: impl FnMut(&G::Target) -> bool,
        wait: &Wait,
    ) -> Result<(), WaitError> {
        while condition(guard) {
            match self.wait_with(guard, wait) {
                Err(WaitError::TimedOut) if !condition(guard) => break,
                waited => waited?,
            }
        }
        Ok(())
    }

    /// Waits until notified, as a task. No interruption point.
    ///
    /// It takes the guard, and gives it back: a future that is dropped in between cannot take the lock again, and the
    /// guard is gone with it. If it had been notified, the next waiter is, in its place.
    ///
    /// ```
    /// # smol::block_on(async {
    /// use quell::{Condition, Lock};
    ///
    /// static READY: Lock<bool> = Lock::new(false);
    /// static CHANGED: Condition = Condition::new();
    ///
    /// std::thread::spawn(|| {
    ///     *READY.lock().unwrap() = true;
    ///     CHANGED.notify_all();
    /// });
    /// let mut ready = READY.lock_async().await;
    /// while !*ready {
    ///     ready = CHANGED.wait_async(ready).await;
    /// }
    /// # });
    /// ```
    pub async fn wait_async<'a, T: ?Sized>(
        &self,
        guard: LockGuard<'a, T, ByTask>,
    ) -> LockGuard<'a, T, ByTask> {
        /// Passes the notification on, unless it was used.
        struct Notified<'a>(&'a Condition);
        impl Drop for Notified<'_> {
            fn drop(&mut self) {
                self.0.notify_one();
            }
        }
        let lock = guard.lock();
        {
            let mut wait = pin!(wait_async(self, Place::Back, Note::NONE));
            // Joins the queue, before the lock is released.
            let joined = poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx))).await;
            drop(guard);
            if joined.is_pending() {
                wait.await;
            }
        }
        let notified = Notified(self);
        let guard = lock.lock_async().await;
        std::mem::forget(notified);
        guard
    }

    /// Waits while `condition` says so of the value, as a task. No interruption point. As for dropping it, see
    /// [`wait_async`](Condition::wait_async).
    pub async fn wait_while_async<'a, T: ?Sized>(
        &self,
        mut guard: LockGuard<'a, T, ByTask>,
        mut condition: impl FnMut(&T) -> bool,
    ) -> LockGuard<'a, T, ByTask> {
        while condition(&guard) {
            guard = self.wait_async(guard).await;
        }
        guard
    }

    /// Wakes the waiter that has waited longest. Says whether there was one. Does not block. Best called with the lock
    /// held, or after it was held to make the change.
    #[doc(alias = "signal")]
    #[inline]
    pub fn notify_one(&self) -> bool {
        self.notify(1) == 1
    }

    /// Wakes the `count` waiters that have waited longest, or as many as there are. Says how many that were. Does not
    /// block.
    #[inline]
    pub fn notify(&self, count: usize) -> usize {
        // See the module's documentation on why looking is enough.
        if count == 0 || self.queue.is_quiet() { 0 } else { self.notify_slow(count) }
    }

    #[cold]
    fn notify_slow(&self, count: usize) -> usize {
        let mut now = None;
        if count == 1 {
            // Room for one is made faster than for many.
            return tell_first(&mut self.queue.granting::<1>(), 1, &mut now);
        }
        let mut notified = 0;
        loop {
            let mut granting = self.queue.granting::<BATCH>();
            let told = tell_first(&mut granting, count - notified, &mut now);
            notified += told;
            if told == 0 || notified == count {
                return notified;
            }
        }
    }

    /// Wakes everybody who waits now. Says how many that were. Does not block.
    #[doc(alias = "broadcast")]
    #[inline]
    pub fn notify_all(&self) -> usize {
        if self.queue.is_quiet() { 0 } else { self.notify_all_slow() }
    }

    #[cold]
    fn notify_all_slow(&self) -> usize {
        let mut now = None;
        self.queue.grant_all_by(|granting, note| tell(granting, note, &mut now), || {})
    }

    /// In the child of a fork: forgets who waited, since those threads do not exist here.
    pub fn forget_waiters_after_fork(&self) {
        self.queue.reset(0);
    }

    /// As new. Only for the child of a fork, where no other thread is.
    pub fn reset_after_fork(&self) {
        self.queue.reset(0);
    }
}

/// Notifies the first `count` waiters, or as many as there are, or may be in one go. Says how many.
fn tell_first<const N: usize>(
    granting: &mut Granting<'_, N>,
    count: usize,
    now: &mut Option<Instant>,
) -> usize {
    let mut told = 0;
    while told < count
        && !granting.is_full()
        && let Some(note) = granting.claim()
    {
        tell(granting, note, now);
        told += 1;
    }
    told
}

/// Notifies the waiter of the last claim, whose note this is: it goes to its lock's queue, if that is held, or is woken.
/// `now` is read when it is needed.
fn tell<const N: usize>(granting: &mut Granting<'_, N>, note: Note, now: &mut Option<Instant>) {
    let transfer: *const Transfer<'_, RawLock> = note.slot.cast_const().cast();
    // Who is looked at for deadlocks says itself that it wants a lock, before it joins the queue.
    let moved = !transfer.is_null() && !is_on() && {
        let now = *now.get_or_insert_with(since);
        // SAFETY: from the claim's note, which is null or the place of such a thing.
        unsafe { granting.transfer(MOVED, transfer, now) }
    };
    if !moved {
        granting.publish(WOKEN);
    }
}

impl Goal for Condition {
    fn queue(&self) -> &WaitQueue {
        &self.queue
    }

    fn kind(&self) -> Kind {
        Kind::Condition
    }

    fn must_wait(&self) -> bool {
        true
    }

    fn left(&self, _empty: bool) {}

    fn pass_on(&self, _token: u32) {
        self.notify_one();
    }
}

impl Default for Condition {
    fn default() -> Condition {
        Condition::new()
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").field("quiet", &self.queue.is_quiet()).finish_non_exhaustive()
    }
}
