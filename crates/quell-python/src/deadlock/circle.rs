//! Following who waits for whom, and choosing who gives up: the part that knows nothing of Python.

use crate::delivery::want::MayFail;

/// The chain from `me`, who wants `what`, back to `me`: who wants what, each held by the next. None: it ends elsewhere.
///
/// `holder` says who holds something, `want` what somebody waits for who cannot go on before he has it. Somebody who waits for
/// nothing, or may yet go on, ends the chain. `most` is how many there are.
pub(super) fn circle<N: Copy + PartialEq, W: Copy>(
    me: N,
    what: W,
    holder: impl Fn(W) -> Option<N>,
    want: impl Fn(N) -> Option<W>,
    most: usize,
) -> Option<Vec<(N, W)>> {
    let mut chain = vec![(me, what)];
    let mut what = what;
    loop {
        let next = holder(what)?;
        if next == me {
            return Some(chain);
        }
        // Into a circle that `me` is not part of: those in it know.
        if chain.len() > most {
            return None;
        }
        what = want(next)?;
        chain.push((next, what));
    }
}

/// Whose wait fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The one that closed the circle, if it can; otherwise the youngest.
    Closing,
    Youngest,
    Eldest,
    /// The thread with this number, and no other.
    This(u64),
}

/// Whose wait fails, by its place in the circle; of those that can, and rather of those that can well. None: nobody's.
///
/// For each, its number, which grows from thread to thread, and how it can fail. The first is the one that closed the circle.
pub(super) fn choose(circle: &[(u64, MayFail)], choice: Choice) -> Option<usize> {
    let most = circle.iter().map(|(_, may)| *may).max().filter(|may| *may != MayFail::No)?;
    let able = || (0..circle.len()).filter(|at| circle[*at].1 == most);
    let youngest = || able().max_by_key(|at| circle[*at].0);
    match choice {
        Choice::Closing if circle[0].1 == most => Some(0),
        Choice::Closing | Choice::Youngest => youngest(),
        Choice::Eldest => able().min_by_key(|at| circle[*at].0),
        Choice::This(number) => {
            circle.iter().position(|(n, may)| *n == number && *may != MayFail::No)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from a seed, each different enough from the last.
    struct Dice(u64);

    impl Dice {
        fn throw(&mut self, sides: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 33) as usize % sides
        }
    }

    /// Who of `threads` can ever go on, if a lock is given up by a thread that goes on: the rest is in deadlock, or waits
    /// for one that is.
    fn stuck(wants: &[Option<usize>], holders: &[Option<usize>]) -> Vec<bool> {
        let mut goes: Vec<bool> = wants.iter().map(Option::is_none).collect();
        loop {
            let before = goes.clone();
            for (thread, want) in wants.iter().enumerate() {
                let free = |lock: usize| holders[lock].is_none_or(|holder| before[holder]);
                goes[thread] |= want.is_none_or(free);
            }
            if goes == before {
                return goes.iter().map(|goes| !goes).collect();
            }
        }
    }

    #[test]
    fn a_circle_is_found_if_and_only_if_its_members_are_stuck() {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        let (mut found, mut beside) = (0, 0);
        for _ in 0..20_000 {
            let (threads, locks) = (1 + dice.throw(8), 1 + dice.throw(8));
            let mut pick = |from: usize, odds: usize| {
                (0..from)
                    .map(|_| (dice.throw(odds) > 0).then(|| dice.throw(64)))
                    .collect::<Vec<_>>()
            };
            let holders: Vec<_> =
                pick(locks, 5).into_iter().map(|h| h.map(|h| h % threads)).collect();
            let wants: Vec<_> =
                pick(threads, 5).into_iter().map(|w| w.map(|w| w % locks)).collect();
            let stuck = stuck(&wants, &holders);
            for me in 0..threads {
                let Some(what) = wants[me] else { continue };
                let circle = circle(me, what, |lock| holders[lock], |other| wants[other], threads);
                match circle {
                    Some(circle) => {
                        found += 1;
                        assert!(circle.iter().all(|(thread, _)| stuck[*thread]));
                        for (at, (thread, what)) in circle.iter().enumerate() {
                            assert_eq!(wants[*thread], Some(*what));
                            assert_eq!(holders[*what], Some(circle[(at + 1) % circle.len()].0));
                        }
                    }
                    // Stuck behind a circle, not in it.
                    None if stuck[me] => beside += 1,
                    None => {}
                }
            }
            // Where somebody is stuck, somebody is in a circle.
            let in_circle = |me: &usize| {
                wants[*me].is_some_and(|w| {
                    circle(*me, w, |lock| holders[lock], |other| wants[other], threads).is_some()
                })
            };
            assert_eq!(stuck.contains(&true), (0..threads).any(|me| in_circle(&me)));
        }
        assert!(found > 1_000 && beside > 100, "{found} {beside}");
    }

    #[test]
    fn who_gives_up() {
        use MayFail::{Badly, No, Yes};
        let all = [(5, Yes), (9, Yes), (2, Yes)];
        assert_eq!(choose(&all, Choice::Closing), Some(0));
        assert_eq!(choose(&all, Choice::Youngest), Some(1));
        assert_eq!(choose(&all, Choice::Eldest), Some(2));
        assert_eq!(choose(&all, Choice::This(2)), Some(2));
        assert_eq!(choose(&all, Choice::This(3)), None);
        let some = [(5, Badly), (9, No), (2, Yes)];
        assert_eq!(choose(&some, Choice::Closing), Some(2));
        assert_eq!(choose(&some, Choice::Youngest), Some(2));
        assert_eq!(choose(&some, Choice::This(5)), Some(0));
        assert_eq!(choose(&some, Choice::This(9)), None);
        let badly = [(5, Badly), (9, Badly), (2, No)];
        assert_eq!(choose(&badly, Choice::Closing), Some(0));
        assert_eq!(choose(&badly, Choice::Eldest), Some(0));
        assert_eq!(choose(&[(5, No), (2, No)], Choice::Closing), None);
    }
}
