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
//! | told | out of line, its event is set: it looks before it does anything else | in line again, in front; or left |
//! | given | out of line, its event is set: what it waits for is its own | left |
//! | left | the wait is over | |
//!
//! **No wake-up is lost.** As long as something can be taken, the line is empty, or somebody is told, or somebody who has not come
//! yet is in its place: whoever makes it so that something can be taken tells the first in the same step, and whoever is told looks. Who
//! finds nothing then has been overtaken, by somebody who will release it and tell again; it joins again in the same step in
//! which it has looked. Who gives up, by time or by interrupt, looks once more, whether it was told or not; and if it cannot look,
//! tells the next.
//!
//! **Nobody is overtaken for ever.** A lock is released for whoever comes first, which may be the thread that has released it, since that
//! holds the GIL. So to one who has waited for long a lock is *given*: it is not released, but changes hands.
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

    /// One who was told and has found nothing is in front, for it has been in line before; one that is in line stays where it is.
    fn join(&mut self, at: usize, place: &Arc<Place>, again: bool) {
        let places = self.0.get_or_insert_default().entry(at).or_default();
        if again && !place.told.is_set() {
            return;
        }
        place.told.clear();
        if again {
            places.push_front(place.clone());
        } else {
            places.push_back(place.clone());
        }
    }

    fn leave(&mut self, at: usize, place: &Arc<Place>) {
        let Some(all) = &mut self.0 else { return };
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

    /// Whether everybody who can end the wait tells.
    fn is_told(&self) -> bool;

    /// Takes what is there, without waiting.
    fn look(&mut self) -> Result<Option<Self::Item>, Self::Error>;

    /// What it has been given.
    fn given(&mut self) -> Self::Item;

    /// Lets go of the GIL until the event is set, or the wait is to end for another reason.
    fn sleep(&mut self, told: &Event) -> Result<(), WaitError>;

    /// The sleep was ended for an interrupt: raises it, or sees to it that it does not end the next one.
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
    if let Some(item) = waiter.look()? {
        return Ok(Ended::Got(item));
    }
    let (told, given) = (Event::new(), AtomicBool::new(false));
    let place = Arc::new(Place { thread, since: Instant::now(), told, given });
    let ended = wait_in(waiter, at, &place);
    waiter.with(|line| line.leave(at, &place));
    ended
}

fn wait_in<W: Waits>(
    waiter: &mut W,
    at: usize,
    place: &Arc<Place>,
) -> Result<Ended<W::Item>, W::Error> {
    let mut again = false;
    while waiter.is_told() {
        waiter.with(|line| line.join(at, place, again));
        again = true;
        let slept = waiter.sleep(&place.told);
        if place.given.load(Relaxed) {
            return Ok(Ended::Got(waiter.given()));
        }
        match waiter.look() {
            Ok(Some(item)) => return Ok(Ended::Got(item)),
            Ok(None) => {}
            Err(error) => {
                waiter.with(|line| line.tell(at));
                return Err(error);
            }
        }
        match slept {
            Ok(()) | Err(WaitError::Deadlock(_)) => {}
            Err(WaitError::TimedOut) => return Ok(Ended::Late),
            Err(WaitError::Signalled | WaitError::Interrupted(_)) => waiter.stopped()?,
        }
    }
    Ok(Ended::Untold)
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
