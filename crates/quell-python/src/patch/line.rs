//! Who waits for what another thread does: in line, until told.
//!
//! Locks from CPython 3.14 on, and `SimpleQueue` on every version, wait in the interpreter's own way, which nothing ends. So who
//! would wait there waits here: it joins the line under the object's address, and sleeps until it is told to look. Who releases
//! the lock, or puts an item, tells the first one. The original is used to take, to release and to put, never to wait: so who waits
//! in the original, as the main thread does, and who waits here get in each other's way no more than two of the same kind.
//!
//! Everything but the sleep happens with the GIL held (in the model, with its lock).
//!
//! | place | meaning | next |
//! | --- | --- | --- |
//! | in line | sleeps, or is about to | told, given or left |
//! | told | out of line, its event is set: it looks before it joins again or gives up | in line again, or left |
//! | given | out of line, its event is set: what it waits for is its own | left |
//! | left | out of line: it is awake, or the wait is over | in line again |
//!
//! **No wake-up is lost.** As long as something can be taken, the line is empty, or somebody is told, or somebody who has not come
//! yet is in its place: whoever makes it so that something can be taken tells the first in the same step, and whoever is told looks. Who
//! finds nothing then has been overtaken, by somebody who will release it and tell again. It joins in the same step in
//! which it has looked. Who gives up, by time or by interrupt, looks once more, whether it was told or not; and who ends with an
//! error, which may be for want of a look, tells the next.
//!
//! **Nothing is given to who may not want it.** In line one sleeps and does nothing else: who wakes leaves it in the same step. What
//! it does then, such as raising an interrupt or looking for a deadlock, may give up the GIL, and is done out of line.
//!
//! **Nobody is overtaken for ever.** A line is in the order in which its waits have begun, whenever they joined. A lock is released for
//! whoever comes first, which may be the thread that has released it, since that holds the GIL. So to one who has waited for long
//! a lock is *given*: it is not released, but changes hands.
//!
//! **Nothing depends on who tells being there.** When the calls that tell are restored, all are told, see that nobody will tell
//! them again, and are left to the original.
//!
//! May be called by the patched calls, through [`told`](super::told), and by its model.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use quell::Event;
use quell::wait::WaitError;

/// One who waits.
pub(crate) struct Place {
    /// Its `threading.get_ident()`.
    thread: u64,
    since: Instant,
    told: Event,
    /// Relaxed: written and read with the GIL.
    given: AtomicBool,
}

/// All who wait, by the addresses of what they wait for.
pub(crate) struct Line(Option<HashMap<usize, VecDeque<Arc<Place>>>>);

impl Line {
    pub(crate) const fn new() -> Line {
        Line(None)
    }

    /// Whether nobody waits for anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(HashMap::is_empty)
    }

    /// Whether somebody waits for this.
    fn is_wanted(&self, at: usize) -> bool {
        self.0.as_ref().is_some_and(|all| all.contains_key(&at))
    }

    /// Tells the first one to look.
    pub(crate) fn tell(&mut self, at: usize) {
        if let Some(first) = self.take_first(at, |_| true) {
            first.told.set();
        }
    }

    /// Gives it to the first one, if that has waited so long; its thread, if so.
    pub(crate) fn give(&mut self, at: usize, after: Duration) -> Option<u64> {
        let first = self.take_first(at, |first| first.since.elapsed() >= after)?;
        first.given.store(true, Relaxed);
        first.told.set();
        Some(first.thread)
    }

    /// Tells everybody to look.
    pub(crate) fn tell_all(&mut self) {
        for place in self.0.take().into_iter().flatten().flat_map(|(_, places)| places) {
            place.told.set();
        }
    }

    /// In the child of a fork nobody waits. What the others waited on stays as it is, for ever.
    pub(crate) fn after_fork(&mut self) {
        std::mem::forget(self.0.take());
    }

    fn take_first(&mut self, at: usize, when: impl Fn(&Place) -> bool) -> Option<Arc<Place>> {
        let all = self.0.as_mut()?;
        let places = all.get_mut(&at)?;
        let first = when(places.front()?).then(|| places.pop_front())?;
        if places.is_empty() {
            all.remove(&at);
        }
        first
    }

    /// One who is out of line is in it again, behind those that have waited for longer.
    fn join(&mut self, at: usize, place: &Arc<Place>) {
        place.told.clear();
        let places = self.0.get_or_insert_default().entry(at).or_default();
        let longer = places.partition_point(|other| other.since <= place.since);
        places.insert(longer, place.clone());
    }

    /// Who was told is out of line.
    fn leave(&mut self, at: usize, place: &Arc<Place>) {
        let Some(all) = self.0.as_mut().filter(|_| !place.told.is_set()) else { return };
        if let Some(places) = all.get_mut(&at) {
            places.retain(|other| !Arc::ptr_eq(other, place));
            if places.is_empty() {
                all.remove(&at);
            }
        }
    }
}

/// One who is about to wait: what differs between locks and queues, and between the interpreter and the model. All with the GIL
/// held.
pub(crate) trait Waits {
    type Item;
    type Error;

    fn with<R>(&self, f: impl FnOnce(&mut Line) -> R) -> R;

    /// What is to be done before a sleep, outside the line. May give up the GIL.
    fn prepare(&mut self) -> Result<(), Self::Error>;

    /// Whether everybody who can end the wait tells.
    fn is_told(&self) -> bool;

    /// Takes what is there, without waiting. Keeps the GIL if there is nothing.
    fn look(&mut self) -> Result<Option<Self::Item>, Self::Error>;

    /// What it has been given.
    fn given(&mut self) -> Self::Item;

    /// Lets go of the GIL until the event is set, or the wait is to end for another reason.
    fn sleep(&mut self, told: &Event) -> Result<(), WaitError>;

    /// The sleep was ended for an interrupt: raises it, or sees to it that it does not end the next one. May give up the GIL.
    fn stopped(&mut self) -> Result<(), Self::Error>;
}

/// How a wait has ended that was not interrupted.
pub(crate) enum Ended<T> {
    Got(T),
    /// The deadline has passed.
    Late,
    /// Nobody would tell: the original may wait for the rest of the time.
    Untold,
}

/// Waits for what is at this address, in the thread of this ident.
pub(crate) fn wait<W: Waits>(
    waiter: &mut W,
    at: usize,
    thread: u64,
) -> Result<Ended<W::Item>, W::Error> {
    let (told, given) = (Event::new(), AtomicBool::new(false));
    let place = Arc::new(Place { thread, since: Instant::now(), told, given });
    let ended = wait_in(waiter, at, &place);
    if ended.is_err() {
        waiter.with(|line| line.tell(at));
    }
    ended
}

/// Out of line at its beginning and at its end.
fn wait_in<W: Waits>(
    waiter: &mut W,
    at: usize,
    place: &Arc<Place>,
) -> Result<Ended<W::Item>, W::Error> {
    loop {
        waiter.prepare()?;
        if let Some(item) = waiter.look()? {
            return Ok(Ended::Got(item));
        }
        if !waiter.is_told() {
            return Ok(Ended::Untold);
        }
        waiter.with(|line| line.join(at, place));
        let slept = waiter.sleep(&place.told);
        waiter.with(|line| line.leave(at, place));
        if place.given.load(Relaxed) {
            return Ok(Ended::Got(waiter.given()));
        }
        let why = match slept {
            Ok(()) | Err(WaitError::Deadlock(_)) => continue,
            Err(why) => why,
        };
        if let Some(item) = waiter.look()? {
            return Ok(Ended::Got(item));
        }
        match why {
            WaitError::TimedOut => return Ok(Ended::Late),
            _ => waiter.stopped()?,
        }
    }
}

/// One who has what others may wait for, and is about to let go of it: what differs, as for [`Waits`].
pub(crate) trait Releases {
    type Answer;

    fn with<R>(&self, f: impl FnOnce(&mut Line) -> R) -> R;

    /// Whether it may change hands as it is.
    fn may_give(&self) -> bool;

    /// It belongs to this thread now.
    fn give_to(&mut self, thread: u64) -> Self::Answer;

    /// Releases it as if nobody waited here.
    fn let_go(&mut self) -> Self::Answer;

    /// Whether it can be taken now. If not, who has it will release it in the same way.
    fn is_free(&self) -> bool;
}

/// Releases what is at this address: gives it to who has waited so long, or lets go of it and tells. The GIL is held all along, so
/// nobody joins meanwhile.
pub(crate) fn release<R: Releases>(releaser: &mut R, at: usize, after: Duration) -> R::Answer {
    if !releaser.with(|line| line.is_wanted(at)) {
        return releaser.let_go();
    }
    if releaser.may_give()
        && let Some(next) = releaser.with(|line| line.give(at, after))
    {
        return releaser.give_to(next);
    }
    let answer = releaser.let_go();
    if releaser.is_free() {
        releaser.with(|line| line.tell(at));
    }
    answer
}

#[cfg(all(test, not(quell_loom)))]
mod tests {
    use super::*;

    const AT: usize = 1;

    #[test]
    fn who_comes_back_is_where_it_was() {
        let begun = Instant::now();
        let place = |n: u64| {
            let since = begun + Duration::from_secs(n);
            Arc::new(Place { thread: n, since, told: Event::new(), given: AtomicBool::new(false) })
        };
        let places: Vec<_> = (0..4).map(place).collect();
        let mut line = Line::new();
        for n in [0, 2, 1, 3] {
            line.join(AT, &places[n]);
        }
        // One was told and found nothing, one was disturbed.
        line.tell(AT);
        assert!(places[0].told.is_set());
        line.leave(AT, &places[2]);
        for n in [2, 0] {
            line.join(AT, &places[n]);
        }
        let given: Vec<_> = (0..4).filter_map(|_| line.give(AT, Duration::ZERO)).collect();
        assert_eq!(given, [0, 1, 2, 3]);
        assert!(line.is_empty());
    }
}
