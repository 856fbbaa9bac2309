//! A thread's system calls, as those see them who want to end one. The protocol is in the module's documentation.
//!
//! Part of every thread's handle; the owner enters and leaves, any thread kicks.

use super::fence;
use super::line::Line;
use crate::interrupt::{EXPIRED, Slot};
use crate::sys::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sys::atomic::{AtomicU32, AtomicU64};

/// What became of a kick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kick {
    /// The owner is in no call that listens. One that it makes now will look first.
    Nobody,
    /// The signal was sent.
    Sent,
    /// The owner is in a call, but the system had no room for the signal.
    NoRoom,
}

/// One thread's side of the protocol.
pub(crate) struct Calls {
    /// What the call in progress listens to: bits of the slot's word. 0: no call, or one that cannot be ended. The
    /// owner's to write.
    hears: AtomicU32,
    /// How many are between the decision to kick and the end of it. The owner does not leave a call before that is 0.
    pins: AtomicU32,
    /// Signals sent into the call in progress.
    sent: AtomicU32,
    /// Which of the thread's calls with a deadline is the latest, so that a deadline that comes late ends no other.
    turn: AtomicU64,
    line: Line,
}

impl Calls {
    pub(crate) fn new() -> Calls {
        Calls {
            hears: AtomicU32::new(0),
            pins: AtomicU32::new(0),
            sent: AtomicU32::new(0),
            turn: AtomicU64::new(0),
            line: Line::new(),
        }
    }

    pub(super) fn line(&self) -> &Line {
        &self.line
    }

    /// Owner: from here to [`leave`](Calls::leave), whoever sets one of these bits ends the call. The owner must look
    /// at the bits after this and before it blocks.
    #[inline]
    pub(super) fn enter(&self, hears: u32) {
        self.line.enter(self);
        // Release: who sees it sees `turn`. The fence orders it before the look at the bits.
        self.hears.store(hears, Release);
        fence::light();
    }

    /// Owner: the call is over. When this returns no signal is on its way to this thread.
    #[inline]
    pub(super) fn leave(&self) {
        // Relaxed: the fence orders it, before the look at the pins.
        self.hears.store(0, Relaxed);
        fence::light();
        // Acquire, with the kickers' Release: what they have sent is counted, and the signals are with the kernel. The
        // changes of `pins` are read-modify-writes, so one load is enough for all of them.
        if self.pins.load(Acquire) != 0 {
            self.wait_for_pins();
        }
        if self.sent.load(Relaxed) != 0 {
            self.settle();
        }
        self.line.leave();
    }

    #[cold]
    fn wait_for_pins(&self) {
        let mut round = 0;
        while self.pins.load(Acquire) != 0 {
            stay_away(round);
            round += 1;
        }
    }

    /// Sees to it that the handler has run for every signal that was sent.
    #[cold]
    fn settle(&self) {
        self.line.flush(self.sent.load(Relaxed));
        self.sent.store(0, Relaxed);
    }

    /// Any thread, after it has set `bit` in the owner's slot by a read-modify-write: ends the call that the owner is
    /// in, if there is one that listens to the bit. Async-signal-safe.
    pub(super) fn kick(&self, bit: u32) -> Kick {
        self.pinned(|| self.hears.load(Acquire) & bit != 0)
    }

    /// The deadline of call `turn` has passed: sets EXPIRED and ends the call, if the owner is in it.
    pub(super) fn expire(&self, slot: &Slot, turn: u64) -> Kick {
        self.pinned(|| {
            // Relaxed for the turn: it was written before `hears`, and Acquire on that has seen it.
            let current =
                self.hears.load(Acquire) & EXPIRED != 0 && self.turn.load(Relaxed) == turn;
            if current {
                slot.expire();
            }
            current
        })
    }

    /// Sends the signal if `listens`, with the owner pinned.
    fn pinned(&self, listens: impl FnOnce() -> bool) -> Kick {
        // Relaxed: the fence orders it, before the look at `hears`.
        self.pins.fetch_add(1, Relaxed);
        fence::heavy();
        let kick = if !listens() {
            Kick::Nobody
        } else if self.line.signal() {
            // Relaxed: published by the Release below.
            self.sent.fetch_add(1, Relaxed);
            Kick::Sent
        } else {
            Kick::NoRoom
        };
        self.pins.fetch_sub(1, Release);
        kick
    }

    /// Owner, before a call with a deadline: its number.
    pub(super) fn next_turn(&self) -> u64 {
        // Relaxed: `enter` publishes it with `hears`, by the fence.
        let turn = self.turn.load(Relaxed) + 1;
        self.turn.store(turn, Relaxed);
        turn
    }

    #[cfg(any(quell_loom, quell_shuttle))]
    pub(super) fn turn(&self) -> u64 {
        self.turn.load(Relaxed)
    }

    /// Handler on the owner's thread: one more signal was sent, by itself.
    #[cfg(quell_calls)]
    pub(super) fn count_resent(&self) {
        self.sent.fetch_add(1, Relaxed);
    }

    /// In the child of a fork, for the thread that is there. It is in no call; who was kicking is not here.
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(crate) fn keep_after_fork(&self) {
        self.pins.store(0, Relaxed);
        self.sent.store(0, Relaxed);
        self.line.keep_after_fork();
    }
}

/// Waits a moment for who has pinned this thread: it is between two instructions, or the scheduler has stopped it.
fn stay_away(round: u32) {
    if round < 8 || cfg!(any(quell_loom, quell_shuttle)) {
        crate::sys::thread::yield_now();
    } else {
        // A pinner of lower priority must get to run.
        std::thread::sleep(std::time::Duration::from_micros(50));
    }
}
