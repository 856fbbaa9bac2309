//! One call, from the registration to the result: the loop around the stub.

use super::calls::Kick;
#[cfg(quell_calls)]
use super::mechanism::{self, Mechanism};
use super::stub;
use crate::interrupt::{EXPIRED, Interrupted, NUDGED, PENDING, Taken};
use crate::thread::{Thread, current, is_registered, local, registered};
use crate::wait::{Wait, WaitError};
#[cfg(quell_calls)]
use std::time::Instant;

/// The current thread, about to make calls with these options.
pub(super) struct Caller<'a> {
    me: &'a Thread,
    wait: &'a Wait,
    /// The bits that end its calls.
    hears: u32,
}

/// How one attempt ended.
pub(super) enum Ended {
    /// The call came back, with this from the kernel.
    Done(isize),
    /// A signal kept it from beginning, or ended it before it did anything.
    Signal,
    /// The deadline had passed before it began.
    Late,
}

/// Runs `f` with the current thread as the caller.
pub(super) fn caller<R>(wait: &Wait, f: impl FnOnce(&Caller<'_>) -> R) -> R {
    if !is_registered() {
        current();
    }
    let run = |me: &Thread| {
        let interruptible = wait.interruptible && local(|l| l.shield()) == 0;
        let mut hears = if interruptible { PENDING } else { 0 };
        if wait.signals {
            hears |= NUDGED;
        }
        if wait.deadline.is_some() {
            hears |= EXPIRED;
        }
        if hears != 0 {
            prepare(me);
        }
        f(&Caller { me, wait, hears })
    };
    registered(run).expect("just registered")
}

/// What a thread needs before its first call that can be ended.
#[inline]
fn prepare(me: &Thread) {
    if !me.calls().line().is_open() {
        open(me);
    }
}

#[cold]
fn open(me: &Thread) {
    #[cfg(quell_calls)]
    mechanism::ensure();
    me.calls().line().open();
    me.slot().makes_calls();
}

impl Caller<'_> {
    /// The thread.
    #[cfg(quell_calls)]
    pub(super) fn thread(&self) -> &Thread {
        self.me
    }

    /// Makes the call once.
    ///
    /// # Safety
    /// As the call itself.
    #[inline]
    pub(super) unsafe fn once(&self, number: usize, arguments: &[usize; 6]) -> Ended {
        let calls = self.me.calls();
        let word = self.me.slot().word();
        if self.hears == 0 {
            // SAFETY: the caller's call.
            let raw = unsafe { stub::stub(word, 0, number, arguments, calls.line().inside()) };
            return Ended::from(raw);
        }
        calls.enter(self.hears);
        // After `enter`: a deadline that passed before it has ended nothing.
        if self.is_late() {
            calls.leave();
            return Ended::Late;
        }
        // SAFETY: the caller's call.
        let raw = unsafe { stub::stub(word, self.hears, number, arguments, calls.line().inside()) };
        calls.leave();
        Ended::from(raw)
    }

    /// Looks what there is to end the wait for, after an attempt that did not come back with a result. `Ok`: nothing;
    /// the call is to be made again.
    pub(super) fn look(&self, ended: &Ended) -> Result<(), WaitError> {
        let slot = self.me.slot();
        if self.hears & PENDING != 0 && slot.has_pending() {
            if self.wait.leave_pending {
                return Err(WaitError::Signalled);
            }
            if let Taken::Interrupt(interrupt) = slot.take_if(|| true) {
                return Err(Interrupted::new(interrupt, self.me.clone()).into());
            }
        }
        if self.wait.signals && slot.is_nudged() {
            slot.take_nudge();
            return Err(WaitError::Signalled);
        }
        if self.is_late() {
            return Err(WaitError::TimedOut);
        }
        if self.wait.signals && matches!(ended, Ended::Signal) {
            return Err(WaitError::Signalled);
        }
        Ok(())
    }

    #[inline]
    fn is_late(&self) -> bool {
        self.wait.deadline.is_some_and(|deadline| is_past(self.me, deadline))
    }

    /// Makes the call until it comes back or the options end it. Its deadline is kept by the monitor.
    ///
    /// # Safety
    /// As the call itself, and as often.
    #[inline]
    pub(super) unsafe fn until_done(
        &self,
        number: usize,
        arguments: &[usize; 6],
    ) -> Result<isize, WaitError> {
        let _expiry = self.wait.deadline.map(|deadline| Expiry::arm(self.me, deadline));
        loop {
            // SAFETY: the caller's call.
            match unsafe { self.once(number, arguments) } {
                Ended::Done(raw) => return Ok(raw),
                ended => self.look(&ended)?,
            }
        }
    }

    /// The same for a call that keeps deadlines itself: `arguments` makes them from the time that is left, each time
    /// anew.
    ///
    /// # Safety
    /// As the call itself, and as often.
    #[cfg(quell_calls)]
    pub(super) unsafe fn until_done_by(
        &self,
        number: usize,
        mut arguments: impl FnMut() -> [usize; 6],
    ) -> Result<isize, WaitError> {
        let own_clock = Caller { hears: self.hears & !EXPIRED, wait: &untimed(self.wait), ..*self };
        loop {
            let arguments = arguments();
            // SAFETY: the caller's call.
            match unsafe { own_clock.once(number, &arguments) } {
                Ended::Done(raw) => return Ok(raw),
                ended => self.look(&ended)?,
            }
        }
    }
}

#[cfg(quell_calls)]
fn untimed(wait: &Wait) -> Wait {
    Wait { deadline: None, ..*wait }
}

impl Ended {
    #[inline]
    fn from(raw: isize) -> Ended {
        const EINTR: isize = -(libc::EINTR as isize);
        match raw {
            EINTR | stub::CANCELLED => Ended::Signal,
            raw => Ended::Done(raw),
        }
    }
}

/// What the kernel said, in Rust's terms.
#[cfg(quell_calls)]
#[inline]
pub(super) fn result(raw: isize) -> Result<usize, super::CallError> {
    if (-4095..0).contains(&raw) {
        Err(super::CallError::last(-raw))
    } else {
        Ok(raw.cast_unsigned())
    }
}

/// Makes the system call `number` with these arguments, and says what the kernel answers. Blocks as the call does; an
/// interruption point, as `wait` says. On Linux only.
///
/// Completion beats interruption: a call that has done something, if only in part, returns its result, and the interrupt
/// stays pending. An interrupted one has done nothing, as far as the kernel keeps that promise for the call: the
/// book's chapter on system calls has a table. A call that another signal has ended with EINTR is made again, with the
/// same arguments, unless [`Wait::signals`] is set. So for a call that is given a time to wait, or that must not be made
/// twice, set it, and decide yourself; or let the deadline of `wait` be the only clock. (A handler that was installed with
/// `SA_RESTART` has asked for most calls to go on, and they do; a [`nudge`](crate::Thread::nudge) ends them all the same.)
///
/// ```
/// use quell::{CallError, Wait, syscall};
///
/// let mut bytes = [0u8; 16];
/// let arguments = [bytes.as_mut_ptr() as usize, bytes.len(), 0, 0, 0, 0];
/// // SAFETY: the kernel writes into `bytes`, and not beyond.
/// let got = unsafe { syscall::call(libc::SYS_getrandom, arguments, &Wait::new()) };
/// assert_eq!(got.unwrap(), 16);
/// ```
///
/// # Errors
/// [`CallError::Os`](super::CallError::Os) with the kernel's error; the others as the options allow. At a deadline that has passed before,
/// the call is not made.
///
/// # Safety
/// As the call itself, and as often: what its arguments point to is as it expects. It must return, in this thread, to
/// where it was made: no `fork`, `vfork`, `clone` that shares the stack, or `rt_sigreturn`.
#[cfg(quell_calls)]
#[inline]
pub unsafe fn call(
    number: libc::c_long,
    arguments: [usize; 6],
    wait: &Wait,
) -> Result<usize, super::CallError> {
    // SAFETY: as the caller promises.
    let raw = caller(wait, |caller| unsafe { caller.until_done(number as usize, &arguments) })?;
    result(raw)
}

#[cfg(quell_calls)]
fn is_past(_me: &Thread, deadline: Instant) -> bool {
    Instant::now() >= deadline
}

/// The monitor ends the call at its deadline. Cancelled when it goes.
#[cfg(quell_calls)]
pub(super) struct Expiry<'a> {
    me: &'a Thread,
    timer: crate::monitor::Timer,
}

#[cfg(quell_calls)]
impl Expiry<'_> {
    pub(super) fn arm(me: &Thread, deadline: Instant) -> Expiry<'_> {
        let turn = me.calls().next_turn();
        let owner = me.clone();
        let timer = crate::monitor::at(deadline, move || {
            insist(&owner, EXPIRED, owner.calls().expire(owner.slot(), turn));
        });
        Expiry { me, timer }
    }
}

#[cfg(quell_calls)]
impl Drop for Expiry<'_> {
    fn drop(&mut self) {
        if !self.timer.cancel() {
            self.me.slot().clear_expired();
        }
    }
}

/// Ends the call that the thread is in, if there is one that listens to `bit`, which was set in its slot.
#[cold]
pub(crate) fn kick(thread: &Thread, bit: u32) {
    insist(thread, bit, thread.calls().kick(bit));
}

/// Where there is no stub, or the signal found no room: sends it again until the call has ended.
#[cfg(quell_calls)]
fn insist(thread: &Thread, bit: u32, kick: Kick) {
    use std::time::Duration;
    let enough = kick == Kick::Sent && mechanism::current() == Mechanism::Stub;
    if enough || kick == Kick::Nobody {
        return;
    }
    let thread = thread.clone();
    let mut pause = Duration::from_micros(50);
    crate::monitor::repeat(Instant::now() + pause, move || {
        // Another call that has begun since with the bit set will not block, so one signal more does no harm.
        let again = thread.slot().word().load(std::sync::atomic::Ordering::Acquire) & bit != 0
            && thread.calls().kick(bit) != Kick::Nobody;
        pause = (pause * 2).min(Duration::from_millis(10));
        again.then(|| Instant::now() + pause)
    });
}

/// What stands for the monitor and the clock in a model, and what it reaches into.
#[cfg(any(quell_loom, quell_shuttle))]
pub(crate) mod model {
    use super::{Kick, Thread, Wait, WaitError, caller};
    use std::time::Instant;

    pub(super) struct Expiry<'a>(&'a Thread);

    impl Expiry<'_> {
        pub(super) fn arm(me: &Thread, _deadline: Instant) -> Expiry<'_> {
            me.calls().next_turn();
            Expiry(me)
        }
    }

    impl Drop for Expiry<'_> {
        fn drop(&mut self) {
            self.0.slot().clear_expired();
        }
    }

    pub(super) fn is_past(me: &Thread, _deadline: Instant) -> bool {
        me.calls().line().is_late(me.calls().turn())
    }

    pub(super) fn insist(_thread: &Thread, _bit: u32, _kick: Kick) {}

    /// A call that blocks until [`complete`].
    pub(crate) fn call(wait: &Wait) -> Result<(), WaitError> {
        // SAFETY: nothing is called.
        caller(wait, |caller| unsafe { caller.until_done(0, &[0; 6]) }).map(drop)
    }

    /// One call of the thread completes, this one or the next.
    pub(crate) fn complete(thread: &Thread) {
        thread.calls().line().complete();
    }

    /// The deadline of the thread's call number `turn` with one, counted from 1, passes.
    pub(crate) fn expire(thread: &Thread, turn: u64) {
        thread.calls().line().set_late(turn);
        thread.calls().expire(thread.slot(), turn);
    }
}

#[cfg(any(quell_loom, quell_shuttle))]
use model::{Expiry, insist, is_past};
