//! A thread's pending interrupts and its state word. The protocol is in the module's documentation.

use super::Interrupt;
use super::fate::{Fate, Outcome, Receipt, same};
use super::scope::Shared;
#[cfg(not(any(quell_loom, quell_shuttle)))]
use crate::park::RawShort;
use crate::park::Short;
use crate::sys::atomic::AtomicU32;
use crate::sys::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use crate::thread::Thread;
use std::collections::VecDeque;
use std::sync::Arc;

/// The FIFO is not empty.
pub(crate) const PENDING: u32 = 1;
/// The owner sleeps or is about to: who sets another bit must unpark it.
const BLOCKED: u32 = 2;
/// The embedder asked a wait with `signals` to end.
pub(crate) const NUDGED: u32 = 4;
/// The thread has ended; nothing can become pending any more.
const EXITED: u32 = 8;
/// The owner has made a system call that can be ended, and may be in one: who sets PENDING or NUDGED must look (see
/// `syscall`). Set by the owner, once and for good.
const CALLS: u32 = 16;
/// The deadline of the owner's system call has passed.
pub(crate) const EXPIRED: u32 = 32;
/// The owner's wait is to fail, because of a deadlock.
const CONDEMNED: u32 = 64;

/// What [`Slot::take_if`] found.
pub(crate) enum Taken {
    /// An interrupt; it is delivered now.
    Interrupt(Interrupt),
    /// An interrupt, but the condition refused it; it stays first in line.
    Refused,
    /// Nothing: it was withdrawn in between.
    Nothing,
}

/// One thread's pending interrupts.
pub(crate) struct Slot {
    word: AtomicU32,
    fifo: Short<VecDeque<Interrupt>>,
}

impl Slot {
    pub(crate) fn new() -> Slot {
        Slot { word: AtomicU32::new(0), fifo: Short::new(VecDeque::new()) }
    }

    /// Whether something is pending. One load; Acquire, so that who acts on it sees what the sender did before.
    #[inline]
    pub(crate) fn has_pending(&self) -> bool {
        self.word.load(Acquire) & PENDING != 0
    }

    pub(crate) fn is_exited(&self) -> bool {
        self.word.load(Acquire) & EXITED != 0
    }

    /// Appends an interrupt and, if the owner is blocked, wakes it. Any thread.
    pub(crate) fn send(&self, target: &Thread, interrupt: Interrupt) -> Receipt {
        self.send_if(target, interrupt, || true)
    }

    /// [`send`](Slot::send), if `admit` then agrees; both in one step as seen by who holds the lock. It is a
    /// read-modify-write and nothing more. An interrupt that was refused is dropped unsent, and so withdrawn.
    pub(super) fn send_if(
        &self,
        target: &Thread,
        mut interrupt: Interrupt,
        admit: impl FnOnce() -> bool,
    ) -> Receipt {
        if interrupt.fate().is_spent() {
            interrupt.renew();
        }
        let receipt = interrupt.receipt();
        let mut fifo = self.fifo.lock();
        if !admit() {
            drop(fifo);
            return receipt;
        }
        // Relaxed: EXITED is set under this lock.
        if self.word.load(Relaxed) & EXITED != 0 {
            // Nobody else has it: a receipt can have withdrawn it, which `send` then respects.
            let sent = interrupt.fate().send(target);
            if sent {
                interrupt.fate().settle(Outcome::TargetExited);
            }
            drop(fifo);
            if sent {
                interrupt.fate().announce();
            }
            return receipt;
        }
        if !interrupt.fate().send(target) {
            drop(fifo);
            return receipt;
        }
        fifo.push_back(interrupt);
        let before = self.word.fetch_or(PENDING, AcqRel);
        drop(fifo);
        wake(target, before, PENDING);
        receipt
    }

    /// Takes the first pending interrupt, if `condition` then holds; both in one step as seen by everybody else. The
    /// condition is a compare-exchange and nothing more. Owner only.
    pub(crate) fn take_if(&self, condition: impl FnOnce() -> bool) -> Taken {
        let mut fifo = self.fifo.lock();
        if fifo.is_empty() {
            return Taken::Nothing;
        }
        if !condition() {
            return Taken::Refused;
        }
        let interrupt = fifo.pop_front().expect("not empty");
        interrupt.fate().settle(Outcome::Delivered);
        self.update(&fifo);
        drop(fifo);
        interrupt.fate().announce();
        if let Some(scope) = interrupt.aim() {
            scope.count_delivered();
        }
        Taken::Interrupt(interrupt)
    }

    /// Undoes a delivery: first in line again. Owner only. If the owner counts as ended, what was delivered stays so.
    pub(crate) fn put_back(&self, owner: &Thread, mut interrupt: Interrupt) {
        let undone = interrupt.fate().went_to(owner);
        if !undone {
            interrupt.renew();
            interrupt.set_aim(None);
        }
        let mut fifo = self.fifo.lock();
        // Relaxed: EXITED is set under this lock. A scope is left by the owner, which is here.
        if self.word.load(Relaxed) & EXITED != 0 || interrupt.aim().is_some_and(|s| s.is_closed()) {
            drop(fifo);
            return;
        }
        if let Some(scope) = interrupt.aim() {
            scope.uncount_delivered();
        }
        if undone {
            interrupt.fate().unsettle();
        } else if !interrupt.fate().send(owner) {
            unreachable!("nobody else has its new fate");
        }
        self.insert_front(&mut fifo, interrupt);
    }

    fn insert_front(&self, fifo: &mut VecDeque<Interrupt>, interrupt: Interrupt) {
        fifo.push_front(interrupt);
        self.word.fetch_or(PENDING, AcqRel);
    }

    /// Takes one interrupt out, if it is still here. Any thread.
    pub(super) fn withdraw(&self, fate: &Arc<Fate>) -> bool {
        let mut fifo = self.fifo.lock();
        let Some(at) = fifo.iter().position(|i| same(i.fate(), fate)) else { return false };
        let interrupt = fifo.remove(at).expect("just found");
        interrupt.fate().settle(Outcome::Withdrawn);
        self.update(&fifo);
        drop(fifo);
        interrupt.fate().announce();
        true
    }

    /// Takes out what is aimed at a scope. The scope's owner, which has closed it.
    pub(super) fn withdraw_aimed(&self, scope: &Arc<Shared>) {
        let aimed = |i: &Interrupt| i.aim().is_some_and(|aim| Arc::ptr_eq(aim, scope));
        let mut taken = VecDeque::new();
        let mut fifo = self.fifo.lock();
        let mut at = 0;
        while at < fifo.len() {
            if aimed(&fifo[at]) {
                let interrupt = fifo.remove(at).expect("just seen");
                interrupt.fate().settle(Outcome::Withdrawn);
                taken.push_back(interrupt);
            } else {
                at += 1;
            }
        }
        self.update(&fifo);
        drop(fifo);
        announce_all(taken);
    }

    /// Shows what is pending to `look`, which only looks. False: somebody is changing it. Any thread.
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(crate) fn look(&self, look: impl FnMut(&Interrupt)) -> bool {
        self.fifo.try_lock().map(|fifo| fifo.iter().for_each(look)).is_some()
    }

    /// Takes all of them out. Any thread.
    pub(crate) fn withdraw_all(&self) -> usize {
        let mut fifo = self.fifo.lock();
        let all = self.empty(&mut fifo, Outcome::Withdrawn);
        drop(fifo);
        announce_all(all)
    }

    /// The thread ends: nothing is accepted any more. False: it had ended before.
    pub(crate) fn close(&self) -> bool {
        let mut fifo = self.fifo.lock();
        if self.word.fetch_or(EXITED, AcqRel) & EXITED != 0 {
            return false;
        }
        let all = self.empty(&mut fifo, Outcome::TargetExited);
        drop(fifo);
        announce_all(all);
        true
    }

    /// [`close`](Slot::close) in the child of a fork, for a thread that exists in the parent only. Wakes nobody,
    /// for nobody is there; and leaks the reasons, because the child may not be fit to drop them.
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(crate) fn close_after_fork(&self) {
        let mut fifo = self.fifo.lock();
        self.word.fetch_or(EXITED, AcqRel);
        let all = self.empty(&mut fifo, Outcome::TargetExited);
        drop(fifo);
        for interrupt in &all {
            interrupt.fate().announce_after_fork();
        }
        std::mem::forget(all);
    }

    /// In the child of a fork, for the thread that is there: what is pending stays so, but nobody waits for it.
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(crate) fn keep_after_fork(&self) {
        for interrupt in self.fifo.lock().iter() {
            interrupt.fate().forget_waiters();
        }
    }

    fn empty(&self, fifo: &mut VecDeque<Interrupt>, outcome: Outcome) -> VecDeque<Interrupt> {
        let all = std::mem::take(fifo);
        for interrupt in &all {
            interrupt.fate().settle(outcome);
        }
        self.update(fifo);
        all
    }

    /// Makes the bit agree with the FIFO again, after a removal, under its lock.
    fn update(&self, fifo: &VecDeque<Interrupt>) {
        if fifo.is_empty() {
            // Relaxed: the bit only says "look under the lock".
            self.word.fetch_and(!PENDING, Relaxed);
        }
    }

    /// The owner is about to sleep. From here to [`unblocked`](Slot::unblocked) every new bit comes with an unpark.
    /// The owner must look at the bits after this and before it sleeps.
    pub(crate) fn blocked(&self) {
        // AcqRel: this is the owner's half of the protocol; the sender's is the `fetch_or` in `send`.
        self.word.fetch_or(BLOCKED, AcqRel);
    }

    /// The owner is awake.
    pub(crate) fn unblocked(&self) {
        // Relaxed: an unpark too many is harmless.
        self.word.fetch_and(!BLOCKED, Relaxed);
    }

    /// Sets the nudge. Async-signal-safe.
    pub(crate) fn nudge(&self, owner: &Thread) {
        wake(owner, self.word.fetch_or(NUDGED, AcqRel), NUDGED);
    }

    /// Whether there is something for a waiter to see to: an interrupt, a nudge, a verdict. One load.
    pub(crate) fn has_news(&self) -> bool {
        // Relaxed: what is done about it begins with a look of its own.
        self.word.load(Relaxed) & (PENDING | NUDGED | CONDEMNED) != 0
    }

    pub(crate) fn is_nudged(&self) -> bool {
        self.word.load(Acquire) & NUDGED != 0
    }

    /// The owner answers the nudge. AcqRel: a nudge that comes later is not wiped out by this one's answer.
    pub(crate) fn take_nudge(&self) {
        self.word.fetch_and(!NUDGED, AcqRel);
    }

    /// The owner will make system calls. AcqRel: it takes part in the same order as the senders' read-modify-writes, so
    /// who does not see the bit is seen by the owner's next look.
    pub(crate) fn makes_calls(&self) {
        self.word.fetch_or(CALLS, AcqRel);
    }

    /// The word that a system call's stub looks at.
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.word
    }

    /// The deadline of the owner's call has passed. The owner is pinned in that call.
    pub(crate) fn expire(&self) {
        self.word.fetch_or(EXPIRED, AcqRel);
    }

    /// Owner: its call with a deadline is over, whether the deadline has passed or not.
    pub(crate) fn clear_expired(&self) {
        // Relaxed: the bit only says "look at the clock".
        self.word.fetch_and(!EXPIRED, Relaxed);
    }

    /// The owner's wait is to fail: its record says why. True: it is blocked and must be unparked. The caller holds the
    /// record's lock, as for [`acquit`](Slot::acquit).
    pub(crate) fn condemn(&self) -> bool {
        self.word.fetch_or(CONDEMNED, AcqRel) & BLOCKED != 0
    }

    /// Relaxed: what is to be known stands under the record's lock.
    pub(crate) fn is_condemned(&self) -> bool {
        self.word.load(Relaxed) & CONDEMNED != 0
    }

    /// The wait has ended, and its verdict with it. Relaxed: as above.
    pub(crate) fn acquit(&self) {
        self.word.fetch_and(!CONDEMNED, Relaxed);
    }

    /// The FIFO's lock, for fork.
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(crate) fn raw(&self) -> &RawShort {
        self.fifo.raw()
    }
}

/// Wakes the owner of a slot, in which `bit` was set when its word was `before`, from where it sleeps.
#[inline]
fn wake(owner: &Thread, before: u32, bit: u32) {
    if before & BLOCKED != 0 {
        // Asleep in a wait, so not in a system call.
        owner.unpark_internal();
    } else if before & (CALLS | bit) == CALLS {
        // If the bit was there before, who set it kicks, or the owner's next call sees it.
        owner.kick(bit);
    }
}

/// Wakes who waits for these, then drops them, outside every lock.
fn announce_all(all: VecDeque<Interrupt>) -> usize {
    for interrupt in &all {
        interrupt.fate().announce();
    }
    all.len()
}
