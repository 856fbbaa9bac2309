//! Selections: one waiter in several queues, granted by exactly one of them. The protocol is in the module's
//! documentation.

use super::goal::Goal;
use super::node::{Node, Note, State, Waiter};
use super::queue::{InList, Place, Waited};
use super::task::{Stage, replace_waker};
use super::{Wait, WaitError, block};
use crate::thread::current;
use std::marker::{PhantomData, PhantomPinned};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// One of the things that a selection waits for.
pub(crate) struct Case<'a, G: Goal + ?Sized> {
    goal: &'a G,
    place: Place,
    node: Node,
}

impl<'a, G: Goal + ?Sized> Case<'a, G> {
    /// Waits for `goal`, with a note for who grants it.
    pub(crate) fn new(goal: &'a G, note: Note) -> Case<'a, G> {
        Case { goal, place: Place::Back, node: Node::new(note) }
    }

    /// Where the next wait joins this case's list.
    pub(crate) fn set_place(&mut self, place: Place) {
        self.place = place;
    }

    /// The goal.
    pub(crate) fn goal(&self) -> &'a G {
        self.goal
    }

    /// Joins its list as case `at` of a selection that has `state`, and cases of other kinds too. False: it need not wait.
    ///
    /// # Safety
    /// The node is in no list, or in one that a fork has left behind. It and the state stay in place until
    /// [`unlink`](Case::unlink).
    pub(crate) unsafe fn join(&mut self, state: *const State, at: usize, waiter: Waiter) -> bool {
        self.node.share(state, at);
        let mut waiter = Some(waiter);
        // SAFETY: as the caller promises.
        unsafe { self.link(&mut waiter) }
    }

    /// Joins its list, unless it need not wait. What is left in `waiter` is to be dropped outside the lock.
    ///
    /// # Safety
    /// As [`join`](Case::join), the state being the one it shares.
    unsafe fn link(&self, waiter: &mut Option<Waiter>) -> bool {
        let list = self.goal.queue().lock();
        if !self.goal.must_wait() {
            return false;
        }
        // SAFETY: as the caller promises; and we hold the lock.
        unsafe {
            std::mem::swap(&mut self.node.links().waiter, waiter);
            list.link(&self.node, self.place);
        }
        true
    }

    /// Sees to it that the next grant wakes through `waker`. False: the node is no longer in the list.
    pub(crate) fn replace_waker(&self, waker: &Waker) -> bool {
        replace_waker(self.goal, &self.node, waker)
    }

    /// Out of the list, if a granter has not taken it out.
    pub(crate) fn unlink(&self) {
        let list = self.goal.queue().lock();
        // SAFETY: the node is in this list or in none.
        if unsafe { list.has(&self.node) } {
            // SAFETY: it is in this list.
            unsafe { list.unlink(&self.node) };
            self.goal.left(list.is_empty());
            drop(list);
            self.goal.gone();
        }
    }
}

// SAFETY: a case in no list is plain data; in a list, it belongs to a future that answers for it.
unsafe impl<G: Goal + Sync + ?Sized> Send for Case<'_, G> {}
// SAFETY: as above.
unsafe impl<G: Goal + Sync + ?Sized> Sync for Case<'_, G> {}

/// How a selection ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// The case that ended it.
    pub(crate) case: usize,
    /// How: it was granted, or it need not wait.
    pub(crate) waited: Waited,
}

/// Waits as the current thread until one of the cases is granted, or one need not wait. Exactly one is granted: the
/// others are as if they had never waited. Without a case it waits for the deadline or an interrupt. Blocks; an
/// interruption point, as `wait` says. Does not allocate. The cases can be used again.
pub(crate) fn wait_any<G: Goal + ?Sized>(
    cases: &mut [Case<'_, G>],
    wait: &Wait,
) -> Result<Chosen, WaitError> {
    let me = current();
    let state = State::new();
    share(cases, &state);
    let in_list = InList;
    let mut joined = 0;
    // SAFETY: the nodes and the state stay in place until `unlink_all`; `in_list` sees to it that nothing unwinds
    // past that.
    let ended = if unsafe { join(cases, &mut joined, || Waiter::Thread(me.clone())) } {
        block(&me, wait, || state.granted().is_some(), || state.leave()).map(|()| None)
    } else {
        // If it cannot leave, it is being granted.
        Ok(state.leave().then_some(joined))
    };
    unlink_all(&cases[..joined]);
    std::mem::forget(in_list);
    ended.map(|refused| chosen(refused, &state))
}

/// The same for the current task. No interruption point.
///
/// The future owns the cases. It joins the queues when it is first polled. Dropped before it was ready, it leaves them;
/// a grant that was made by then goes to its case's [`Goal::pass_on`].
pub(crate) fn wait_any_async<'a, G, S>(cases: S) -> SelectFuture<'a, G, S>
where
    G: Goal + ?Sized + 'a,
    S: Cases<'a, G>,
{
    let (stage, goals, pinned) = (Stage::New, PhantomData, PhantomPinned);
    SelectFuture { state: State::new(), cases, joined: 0, stage, goals, _pinned: pinned }
}

/// Where a future keeps its cases.
///
/// # Safety
/// `cases` and `cases_mut` are the same slice, always, as long as the storage stays where it is, and nothing else
/// reaches it.
pub(crate) unsafe trait Cases<'a, G: Goal + ?Sized + 'a> {
    /// The cases.
    fn cases(&self) -> &[Case<'a, G>];
    /// The cases.
    fn cases_mut(&mut self) -> &mut [Case<'a, G>];
}

// SAFETY: an array's elements are in it.
unsafe impl<'a, G: Goal + ?Sized + 'a, const N: usize> Cases<'a, G> for [Case<'a, G>; N] {
    fn cases(&self) -> &[Case<'a, G>] {
        self
    }

    fn cases_mut(&mut self) -> &mut [Case<'a, G>] {
        self
    }
}

// SAFETY: a vector that nobody changes keeps its elements where they are.
unsafe impl<'a, G: Goal + ?Sized + 'a> Cases<'a, G> for Vec<Case<'a, G>> {
    fn cases(&self) -> &[Case<'a, G>] {
        self
    }

    fn cases_mut(&mut self) -> &mut [Case<'a, G>] {
        self
    }
}

/// See [`wait_any_async`].
#[must_use = "a future does nothing unless it is awaited"]
pub(crate) struct SelectFuture<'a, G: Goal + ?Sized + 'a, S: Cases<'a, G>> {
    state: State,
    cases: S,
    /// How many of them have joined.
    joined: usize,
    stage: Stage,
    goals: PhantomData<&'a G>,
    _pinned: PhantomPinned,
}

// SAFETY: as with `WaitFuture`.
unsafe impl<'a, G: Goal + Sync + ?Sized + 'a, S: Cases<'a, G>> Send for SelectFuture<'a, G, S> {}

impl<'a, G: Goal + ?Sized + 'a, S: Cases<'a, G>> Future for SelectFuture<'a, G, S> {
    type Output = Chosen;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Chosen> {
        assert!(self.stage != Stage::Ready, "polled again after it was ready");
        if self.stage.is_joined() { self.look(cx) } else { self.enter(cx) }
    }
}

impl<'a, G: Goal + ?Sized + 'a, S: Cases<'a, G>> SelectFuture<'a, G, S> {
    fn enter(self: Pin<&mut Self>, cx: &Context<'_>) -> Poll<Chosen> {
        // SAFETY: nothing is moved out of it.
        let this = unsafe { self.get_unchecked_mut() };
        this.state.renew();
        let state = &raw const this.state;
        share(this.cases.cases_mut(), state);
        this.joined = 0;
        this.stage = Stage::joined();
        let cases = this.cases.cases();
        // SAFETY: the future is pinned, and `drop` unlinks what has joined, also if a waker's clone panics.
        let joined = unsafe { join(cases, &mut this.joined, || Waiter::Task(cx.waker().clone())) };
        if joined {
            return Poll::Pending;
        }
        let refused = this.state.leave().then_some(this.joined);
        this.end(refused)
    }

    fn look(self: Pin<&mut Self>, cx: &Context<'_>) -> Poll<Chosen> {
        // SAFETY: nothing is moved out of it.
        let this = unsafe { self.get_unchecked_mut() };
        let cases = &this.cases.cases()[..this.joined];
        // A case that is no longer in its list was granted; then the others need no waker.
        let waits = this.state.granted().is_none()
            && cases.iter().all(|case| replace_waker(case.goal, &case.node, cx.waker()));
        if waits { Poll::Pending } else { this.end(None) }
    }

    /// Leaves all lists.
    fn end(&mut self, refused: Option<usize>) -> Poll<Chosen> {
        self.stage = Stage::Ready;
        unlink_all(&self.cases.cases()[..self.joined]);
        Poll::Ready(chosen(refused, &self.state))
    }
}

impl<'a, G: Goal + ?Sized + 'a, S: Cases<'a, G>> Drop for SelectFuture<'a, G, S> {
    fn drop(&mut self) {
        if !self.stage.is_joined() {
            return;
        }
        let cases = self.cases.cases();
        // If it cannot leave, it is being granted, under the lock of a list; that lock is taken below.
        self.state.leave();
        unlink_all(&cases[..self.joined]);
        if let Some((case, token)) = self.state.granted() {
            cases[case].goal.pass_on(token);
        }
    }
}

/// Makes the cases compete for one state.
fn share<G: Goal + ?Sized>(cases: &mut [Case<'_, G>], state: *const State) {
    for (at, case) in cases.iter_mut().enumerate() {
        case.node.share(state, at);
    }
}

/// Joins the lists one after the other, and counts in `joined`, until all have joined or a case need not wait: then it
/// answers false, and the next one is that case.
///
/// # Safety
/// The nodes are in no list, or in one that a fork has left behind. They and their state stay in place until they are
/// unlinked.
unsafe fn join<G: Goal + ?Sized>(
    cases: &[Case<'_, G>],
    joined: &mut usize,
    waiter: impl Fn() -> Waiter,
) -> bool {
    for case in cases {
        // Made, and if need be dropped, outside the lock.
        let mut waiter = Some(waiter());
        // SAFETY: as the caller promises.
        if !unsafe { case.link(&mut waiter) } {
            return false;
        }
        *joined += 1;
    }
    true
}

/// Leaves the lists. After this, who had claimed one of the nodes has published: it did both under a lock that was
/// taken here.
fn unlink_all<G: Goal + ?Sized>(cases: &[Case<'_, G>]) {
    for case in cases {
        case.unlink();
    }
}

/// How it ended, when nobody can grant any more.
fn chosen(refused: Option<usize>, state: &State) -> Chosen {
    match refused {
        Some(case) => Chosen { case, waited: Waited::Refused },
        None => {
            let (case, token) = state.granted().expect("neither refused nor left");
            Chosen { case, waited: Waited::Granted(token) }
        }
    }
}
