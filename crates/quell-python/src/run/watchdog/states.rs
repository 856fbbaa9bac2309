//! The states of the watchdog, as they are listed in the [module above](super), and what leads from one to the next.
//!
//! Nothing here looks at the world, so the tests can try every order of events.

use std::time::{Duration, Instant};

/// How long it waits for the first request, which comes at once, on a machine that has other things to do.
pub(super) const STARTING: Duration = Duration::from_secs(10);
/// How long it waits for the next request: a search along a path makes one for each directory.
pub(super) const LINGER: Duration = Duration::from_secs(1);
/// Between two looks at a process that has not said how its exec went. As a rule the closed socket says so at once; but where a
/// thread cannot have its own table of descriptors, a fork of the script's may keep that open.
pub(super) const SETTLED: Duration = Duration::from_millis(100);

/// See the table in the module above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum State {
    Idle { until: Instant },
    Exec { until: Instant },
    Stop,
    Replaced,
}

/// What the process is seen to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Process {
    /// The script.
    Running,
    /// The script, stopped.
    Stopped,
    /// Another program: the leash's thread is gone.
    Replaced,
}

/// What can happen to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Event {
    /// The script is about to be replaced.
    Exec,
    /// The script is about to stop.
    Stop,
    /// The call has returned.
    Over,
    /// The other end is closed, and all that was sent before has been read.
    Closed,
    /// Nothing has come.
    Nothing,
}

impl State {
    /// That of a watchdog that has just started.
    pub(super) fn first(now: Instant) -> Self {
        Self::Idle { until: now + STARTING }
    }

    /// The next state, or `None` if nobody needs it any more. Time counts only where nothing has come: a word that was sent
    /// in time is heard in time, however late it is read. That the script has been replaced is seen, never guessed.
    pub(super) fn after(
        self,
        event: Event,
        now: Instant,
        look: impl FnOnce() -> Process,
    ) -> Option<Self> {
        let calling = Self::Exec { until: now + SETTLED };
        match (event, self) {
            (Event::Exec, _) => Some(calling),
            (Event::Stop, _) => Some(Self::Stop),
            (Event::Over, _) => Some(Self::Idle { until: now + LINGER }),
            (Event::Nothing, Self::Idle { until } | Self::Exec { until }) if now < until => {
                Some(self)
            }
            (Event::Closed, Self::Idle { .. }) => None,
            (Event::Nothing, Self::Idle { .. }) => {
                (look() == Process::Stopped).then_some(Self::Stop)
            }
            (Event::Closed | Event::Nothing, Self::Exec { .. }) => match look() {
                Process::Replaced => Some(Self::Replaced),
                Process::Running | Process::Stopped => Some(calling),
            },
            (Event::Closed | Event::Nothing, Self::Stop | Self::Replaced) => Some(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, VecDeque};

    use super::*;

    /// What a script does in turn.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Act {
        FailToExec,
        Exec,
        Stop,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Script {
        Running,
        /// It has asked for a watchdog and waits for its word.
        Asking(Act),
        /// It has had it, and makes the call.
        Calling(Act),
        Stopped,
        Replaced,
        Ended,
    }

    /// Script, socket and watchdog at one moment.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
    struct World {
        acts: VecDeque<Act>,
        script: Script,
        sent: VecDeque<Event>,
        answered: bool,
        is_open: bool,
        watchdog: Option<State>,
        now: Instant,
    }

    impl World {
        fn ask(&mut self, act: Act) {
            self.script = Script::Asking(act);
            self.answered = false;
            self.sent.push_back(if act == Act::Stop { Event::Stop } else { Event::Exec });
        }

        /// A new one, and a new pair of sockets.
        fn launch(&mut self, act: Act) {
            self.watchdog = Some(State::first(self.now));
            self.is_open = true;
            self.sent.clear();
            self.ask(act);
        }

        /// It goes on after the call.
        fn goes_on(&mut self) {
            self.script = Script::Running;
            self.sent.push_back(Event::Over);
        }

        /// Every world that one step of anybody leads to.
        fn next(&self) -> Vec<Self> {
            let mut found = Vec::new();
            let mut add = |change: &dyn Fn(&mut Self)| {
                let mut world = self.clone();
                change(&mut world);
                if world.watchdog.is_none() {
                    // Nobody reads any more.
                    world.sent.clear();
                }
                found.push(world);
            };
            match self.script {
                Script::Running => match self.acts.front() {
                    Some(&act) => add(&|world| {
                        world.acts.pop_front();
                        match world.watchdog {
                            Some(_) => world.ask(act),
                            None => world.launch(act),
                        }
                    }),
                    None => add(&|world| {
                        world.script = Script::Ended;
                        world.is_open = false;
                    }),
                },
                // One that left as it was asked is known by its closed socket.
                Script::Asking(act) if self.watchdog.is_none() => add(&|world| world.launch(act)),
                Script::Asking(act) if self.answered => {
                    add(&|world| world.script = Script::Calling(act));
                }
                Script::Calling(Act::FailToExec) => add(&Self::goes_on),
                Script::Calling(Act::Exec) => {
                    add(&|world| {
                        world.script = Script::Replaced;
                        world.is_open = false;
                    });
                    // A fork holds the socket open.
                    add(&|world| world.script = Script::Replaced);
                }
                Script::Calling(Act::Stop) => add(&|world| world.script = Script::Stopped),
                Script::Stopped => add(&Self::goes_on),
                Script::Asking(_) | Script::Replaced | Script::Ended => {}
            }
            if self.watchdog.is_some() {
                add(&|world| {
                    let seen = match world.script {
                        Script::Stopped => Process::Stopped,
                        Script::Replaced => Process::Replaced,
                        _ => Process::Running,
                    };
                    let event = match world.sent.pop_front() {
                        Some(event) => event,
                        None if !world.is_open => Event::Closed,
                        None => Event::Nothing,
                    };
                    world.answered |= matches!(event, Event::Exec | Event::Stop);
                    let state = world.watchdog.expect("it is there");
                    world.watchdog = state.after(event, world.now, || seen);
                });
            }
            // Time passes, at any moment, up to what it is there for. (It is that which moves, so that the worlds stay finite.)
            add(&|world| {
                if let Some(State::Idle { until } | State::Exec { until }) = &mut world.watchdog {
                    *until = world.now;
                }
            });
            found
        }

        fn check(&self) {
            if self.watchdog == Some(State::Replaced) {
                assert_eq!(self.script, Script::Replaced, "would end the script: {self:?}");
            }
            if matches!(self.script, Script::Replaced | Script::Stopped | Script::Calling(_)) {
                assert!(self.watchdog.is_some(), "nobody watches: {self:?}");
            }
        }
    }

    /// All worlds that can come of a script that does these things.
    fn explore(acts: &[Act]) -> BTreeSet<World> {
        let first = World {
            acts: acts.iter().copied().collect(),
            script: Script::Running,
            sent: VecDeque::new(),
            answered: false,
            is_open: false,
            watchdog: None,
            now: Instant::now(),
        };
        let mut seen = BTreeSet::from([first.clone()]);
        let mut open = vec![first];
        while let Some(world) = open.pop() {
            world.check();
            let next = world.next();
            if next.iter().all(|next| *next == world) {
                // Nothing will ever change again.
                let done = match world.script {
                    Script::Ended => world.watchdog.is_none(),
                    Script::Replaced => world.watchdog == Some(State::Replaced),
                    _ => false,
                };
                assert!(done, "it hangs: {world:?}");
            }
            open.extend(next.into_iter().filter(|next| seen.insert(next.clone())));
        }
        seen
    }

    #[test]
    fn every_order_of_events() {
        let all = [Act::FailToExec, Act::Exec, Act::Stop];
        let mut worlds = 0;
        for first in all {
            for second in all {
                for third in all {
                    for fourth in all {
                        worlds += explore(&[first, second, third, fourth]).len();
                    }
                }
            }
        }
        assert!(worlds > 2_000, "{worlds}");
    }

    #[test]
    fn one_that_nobody_needs_leaves() {
        let now = Instant::now();
        let first = State::first(now);
        let idle = first.after(Event::Over, now, || Process::Running).unwrap();
        let after = |time, seen| idle.after(Event::Nothing, now + time, || seen);
        assert_eq!(after(Duration::ZERO, Process::Stopped), Some(idle));
        assert_eq!(after(LINGER, Process::Running), None);
        assert_eq!(after(LINGER, Process::Stopped), Some(State::Stop));
        // Before the first request it waits longer.
        assert_eq!(first.after(Event::Nothing, now + LINGER, || Process::Running), Some(first));
        assert_eq!(first.after(Event::Nothing, now + STARTING, || Process::Running), None);
    }

    #[test]
    fn a_closed_socket_alone_proves_nothing() {
        let now = Instant::now();
        let calling = State::Exec { until: now + SETTLED };
        assert_eq!(calling.after(Event::Closed, now, || Process::Running), Some(calling));
        assert_eq!(calling.after(Event::Closed, now, || Process::Replaced), Some(State::Replaced));
    }
}
