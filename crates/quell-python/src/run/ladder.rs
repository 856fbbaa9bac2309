//! The ladder: what to do about a thread, given the time since the limit and what became of the last attempt.
//!
//! | rung | from | main thread | other threads that keep the process alive |
//! | --- | --- | --- | --- |
//! | ask | the limit | interrupted in the script | interrupted once the main thread has left the script |
//! | press | half of the grace | by force, and in what runs after the script | interrupted, by force |
//! | leave | three quarters of it | also while it waits for the others | as before |
//! | end | the whole of it | the monitor ends the process | |
//!
//! A thread whose last interrupt is still pending gets no other one. One that was delivered is answered
//! by unwinding, which takes as long as the cleanup takes; so as long as anything still holds the exception, the
//! thread is left alone until it is pressed. If the exception is gone and the thread is still there, it was swallowed,
//! and the next one comes after [`PACE`]. A loop around a handler that swallows everything lets an exception out only
//! between the handler and the next `try`; so by force several are sent at once, and the second one meets the script there
//! when the first has been swallowed ([`burst`]).
//!
//! Nothing here waits or asks the interpreter: it decides, and the [`deliverer`](super::deliverer) acts.

use std::time::Duration;

/// Between two looks, and at least between two interrupts of one thread.
pub(super) const PACE: Duration = Duration::from_millis(10);

/// How far up the ladder it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rung {
    Ask,
    Press,
    Leave,
}

impl Rung {
    /// The rung at a time after the limit.
    pub(super) fn at(since: Duration, grace: Duration) -> Self {
        if since < grace / 2 {
            Rung::Ask
        } else if since < grace * 3 / 4 {
            Rung::Press
        } else {
            Rung::Leave
        }
    }

    /// Whether interrupts may go where they are not polite.
    pub(super) fn forces(self) -> bool {
        self >= Rung::Press
    }

    /// Whether the main thread is interrupted.
    pub(super) fn strikes_main(self, at: MainAt) -> bool {
        match at {
            MainAt::Script => true,
            MainAt::After => self.forces(),
            MainAt::Waiting => self == Rung::Leave,
        }
    }

    /// Whether the other threads are.
    pub(super) fn strikes_others(self, main: MainAt) -> bool {
        main != MainAt::Script || self.forces()
    }
}

/// Where the main thread is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MainAt {
    /// In the script.
    Script,
    /// In what runs after it: the printing of its traceback, exit functions, finalizers.
    After,
    /// Waiting for the other threads to end.
    Waiting,
}

/// What became of the last interrupt of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// There was none yet.
    NotAsked,
    /// It waits to be delivered.
    Pending,
    /// It was delivered, and something still holds the exception.
    Unwinding,
    /// It was delivered, and nothing does.
    Swallowed,
    /// The thread has ended.
    Gone,
}

/// What to do about a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// A new interrupt.
    Strike,
    /// The pending one, with what this rung allows.
    Poke,
    /// Nothing now.
    Leave,
}

/// The decision for one thread that is to be interrupted on this rung.
pub(super) fn decide(rung: Rung, answer: Answer, since_last: Duration) -> Act {
    match answer {
        Answer::NotAsked => Act::Strike,
        Answer::Gone => Act::Leave,
        Answer::Pending if rung.forces() => Act::Poke,
        Answer::Pending => Act::Leave,
        Answer::Swallowed if since_last >= PACE => Act::Strike,
        Answer::Unwinding if rung.forces() && since_last >= PACE => Act::Strike,
        Answer::Swallowed | Answer::Unwinding => Act::Leave,
    }
}

/// How many interrupts to send at once, after so many rounds by force. One more each time: a script that swallows as
/// many as it has nested loops is left with none to spare for the cleanup outside.
pub(super) fn burst(rung: Rung, answer: Answer, forced_rounds: u32) -> u32 {
    match (rung.forces(), answer) {
        (false, _) | (true, Answer::NotAsked) => 1,
        (true, Answer::Swallowed) => forced_rounds + 2,
        (true, _) => forced_rounds + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(1);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn rungs_by_time() {
        assert_eq!(Rung::at(ms(0), GRACE), Rung::Ask);
        assert_eq!(Rung::at(ms(499), GRACE), Rung::Ask);
        assert_eq!(Rung::at(ms(500), GRACE), Rung::Press);
        assert_eq!(Rung::at(ms(750), GRACE), Rung::Leave);
        assert_eq!(Rung::at(ms(0), ms(0)), Rung::Leave);
    }

    #[test]
    fn others_when_main_has_left_or_half_of_the_grace_is_over() {
        assert!(!Rung::Ask.strikes_others(MainAt::Script));
        assert!(Rung::Ask.strikes_others(MainAt::After));
        assert!(Rung::Ask.strikes_others(MainAt::Waiting));
        assert!(Rung::Press.strikes_others(MainAt::Script));
    }

    #[test]
    fn a_main_thread_that_waits_for_the_others_is_interrupted_last() {
        assert!(Rung::Ask.strikes_main(MainAt::Script));
        assert!(!Rung::Ask.strikes_main(MainAt::After));
        assert!(Rung::Press.strikes_main(MainAt::After));
        assert!(!Rung::Press.strikes_main(MainAt::Waiting));
        assert!(Rung::Leave.strikes_main(MainAt::Waiting));
    }

    #[test]
    fn several_at_once_only_by_force_and_after_one_was_not_enough() {
        assert_eq!(burst(Rung::Ask, Answer::Swallowed, 30), 1);
        assert_eq!(burst(Rung::Press, Answer::NotAsked, 0), 1);
        assert_eq!(burst(Rung::Press, Answer::Unwinding, 0), 1);
        assert_eq!(burst(Rung::Press, Answer::Swallowed, 0), 2);
        assert_eq!(burst(Rung::Leave, Answer::Swallowed, 10), 12);
    }
}
