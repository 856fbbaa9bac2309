//! Wanting something that has a holder: entering the want, looking whether it closes a circle, and who gives up if so.

use super::gate;
use super::graph::{GRAPH, Graph, Step};
use super::place::Place;
use super::record::{Want, What};
use super::report::{Deadlock, Waiting};
use crate::park::ShortGuard;
use crate::thread::{Thread, ThreadId, local};
use crate::wait::Wait;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

/// What is to be done about a deadlock, by who is [asked](Detection::Ask).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Nothing: all of them go on waiting, until a deadline, an interrupt, or for ever.
    Wait,
    /// The wait that closed the circle fails; in its place, if it cannot fail, that of the youngest thread which can.
    Fail,
    /// The wait of the youngest thread fails, of those that can.
    Youngest,
    /// The wait of this thread fails. If it cannot, or the thread is not one of them, nothing is done.
    Thread(ThreadId),
}

/// Says what is to be done about a deadlock.
pub type Judge = dyn Fn(&Deadlock) -> Verdict + Send + Sync;

/// Is told of a deadlock.
pub type Reporter = dyn Fn(&Deadlock) + Send + Sync;

/// Says where a waiting thread is, in words of the embedder's.
pub type Describer = dyn Fn(&Waiting) -> Option<String> + Send + Sync;

/// Whether deadlocks are looked for, and what is done about one. See [`set_detection`].
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Detection {
    /// They are not looked for.
    #[default]
    Off,
    /// They are reported, and left as they are. Without a [reporter](set_reporter), on standard error.
    Report,
    /// The wait that closes the circle fails. If it is one that cannot fail, such as
    /// [`lock_uninterruptible`](crate::Lock::lock_uninterruptible) or one under a [shield](crate::shield), the youngest
    /// thread's that can; if there is none, the deadlock is reported, and stays.
    Fail,
    /// The youngest thread's wait fails, of those that can: the one that was started last has, likely, least to lose. If none
    /// can, the deadlock is reported, and stays.
    Youngest,
    /// Somebody says, case by case: see [`Detection::ask`].
    Ask(Arc<Judge>),
}

impl Detection {
    /// `judge` is asked what to do, each time.
    ///
    /// It is called in the thread that closed the circle, which has no lock of quell's own then, but still what it had
    /// taken; it may use quell, and should not wait for any of the threads concerned. If meanwhile one of those gives
    /// up for another reason, the answer is void.
    ///
    /// ```
    /// use quell::deadlock::{Detection, Verdict, set_detection};
    ///
    /// // A deadline may have its way; otherwise the wait that closes the circle fails.
    /// set_detection(Detection::ask(|deadlock| {
    ///     let passes = deadlock.waits().iter().any(|waiting| waiting.limited);
    ///     if passes { Verdict::Wait } else { Verdict::Fail }
    /// }));
    /// # set_detection(Detection::Off);
    /// ```
    pub fn ask(judge: impl Fn(&Deadlock) -> Verdict + Send + Sync + 'static) -> Detection {
        Detection::Ask(Arc::new(judge))
    }

    /// What is done without asking.
    fn built_in(&self) -> Option<Verdict> {
        match self {
            Detection::Off | Detection::Report => Some(Verdict::Wait),
            Detection::Fail => Some(Verdict::Fail),
            Detection::Youngest => Some(Verdict::Youngest),
            Detection::Ask(_) => None,
        }
    }
}

impl fmt::Debug for Detection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Detection::Off => "Off",
            Detection::Report => "Report",
            Detection::Fail => "Fail",
            Detection::Youngest => "Youngest",
            Detection::Ask(_) => "Ask(..)",
        })
    }
}

/// Switches the detection of deadlocks, for the whole process, from now on; returns what was set before. Does not block.
///
/// It is off at the start, because on, every acquire and release of a lock takes the slow path: some four times as long.
/// Locks that were taken before it was switched on, and not released since, have no holder that it knows of, so
/// switch it on before the threads start. [`waits`](super::waits) works in either case.
///
/// ```
/// use quell::deadlock::{Detection, set_detection};
/// use quell::{Lock, WaitError};
///
/// set_detection(Detection::Fail);
/// let lock = Lock::new(1);
/// let _held = lock.lock().unwrap();
/// let again = lock.lock_with(&quell::Wait::new()); // for ever, otherwise
/// assert!(matches!(again, Err(WaitError::Deadlock(_))));
/// # set_detection(Detection::Off);
/// ```
pub fn set_detection(detection: Detection) -> Detection {
    let on = !matches!(detection, Detection::Off);
    let mut graph = GRAPH.lock();
    let before = std::mem::replace(&mut graph.detection, detection);
    gate::switch(on);
    drop(graph);
    before
}

/// What [`set_detection`] set last.
pub fn detection() -> Detection {
    GRAPH.lock().detection.clone()
}

/// `reporter` is told of every deadlock that is found, before anything is done about it. With `None`, as at the start,
/// those that are left as they are go to standard error.
///
/// It is called in the thread that closed the circle, as [`Detection::ask`] says.
pub fn set_reporter(reporter: Option<Arc<Reporter>>) {
    let before = std::mem::replace(&mut GRAPH.lock().reporter, reporter);
    // Outside the lock: it is somebody's value.
    drop(before);
}

/// `describer` says where a waiting thread is, in words of the embedder's, say the line of a script; they are shown in
/// place of the position in Rust code. For embedders.
///
/// It is called for each thread of a deadlock as it is reported, in the thread that closed the circle, and by
/// [`waits`](super::waits); never under a lock of quell's.
pub fn set_where(describer: Option<Arc<Describer>>) {
    let before = std::mem::replace(&mut GRAPH.lock().describer, describer);
    drop(before);
}

/// The current thread, `me`, is about to wait for something that has a holder. The want ends when the answer is dropped.
///
/// # Errors
/// If it is to give up at once, because of a deadlock.
pub(crate) fn want<'a>(
    me: &'a Thread,
    what: What,
    location: &'static Location<'static>,
    wait: &Wait,
) -> Result<Wanting<'a>, Deadlock> {
    let looking = gate::is_on();
    if cfg!(any(quell_loom, quell_shuttle)) && !looking {
        // Nobody looks, and it would only multiply the states of other models.
        return Ok(Wanting { thread: me, number: 0, is_one: false });
    }
    let want = Want {
        what,
        place: Place::of(location),
        since: Instant::now(),
        limited: wait.deadline.is_some(),
        may_fail: wait.interruptible && local(|l| l.shield()) == 0,
        number: 0,
        leaving: false,
        judging: false,
        verdict: None,
    };
    if !looking {
        let mut pages = me.record().pages.lock();
        let is_one = pages.want.is_none();
        if is_one {
            pages.want = Some(want);
        }
        return Ok(Wanting { thread: me, number: 0, is_one });
    }
    let mut graph = GRAPH.lock();
    graph.last += 1;
    let number = graph.last;
    let mut pages = me.record().pages.lock();
    if pages.want.is_some() {
        // Who judges waits for something of its own.
        return Ok(Wanting { thread: me, number: 0, is_one: false });
    }
    pages.want = Some(Want { number, ..want });
    drop(pages);
    graph.enrol(me);
    let circle = graph.circle(me);
    // From here on it is left in every case.
    let wanting = Wanting { thread: me, number, is_one: true };
    match circle {
        None => {}
        Some(circle) => wanting.judge(graph, &circle)?,
    }
    Ok(wanting)
}

/// While it lives, its thread wants something.
pub(crate) struct Wanting<'a> {
    thread: &'a Thread,
    /// The want's; 0: not in the graph.
    number: u64,
    /// False: it is inside another, and not written down.
    is_one: bool,
}

impl Wanting<'_> {
    /// Has somebody decide about a circle that was found in this hold of the graph's lock, and carries it out.
    fn judge(&self, graph: ShortGuard<'_, Graph>, circle: &[Step]) -> Result<(), Deadlock> {
        let mut deadlock = graph.report(circle);
        let detection = graph.detection.clone();
        let (reporter, describer) = (graph.reporter.clone(), graph.describer.clone());
        let decided = detection.built_in();
        let mut victim = decided.and_then(|verdict| choose(circle, verdict));
        if let Some(victim) = victim {
            graph.dismiss(&circle[victim]);
        }
        set_judging(self.thread, true);
        drop(graph);
        let judging = Judging(self.thread);
        deadlock.describe(describer.as_deref());
        if let Some(reporter) = &reporter {
            reporter(&deadlock);
        }
        let mut verdict = decided;
        if let Detection::Ask(judge) = &detection {
            let answer = judge(&deadlock);
            match GRAPH.lock().dismiss_if_same(circle, answer) {
                Ok(chosen) => victim = chosen,
                // One of them has given up. If there is another circle now, who closed it has found it.
                Err(()) => return Ok(()),
            }
            verdict = Some(answer);
        }
        drop(judging);
        match victim {
            Some(0) => return Err(deadlock),
            Some(other) => condemn(&circle[other], deadlock),
            // Not in silence, unless somebody has heard of it.
            None if reporter.is_none() && (decided.is_some() || verdict != Some(Verdict::Wait)) => {
                eprintln!("quell: {deadlock}");
            }
            None => {}
        }
        Ok(())
    }
}

impl Drop for Wanting<'_> {
    fn drop(&mut self) {
        if !self.is_one {
            return;
        }
        let mut graph = (self.number != 0).then(|| GRAPH.lock());
        let mut pages = self.thread.record().pages.lock();
        let ended = pages.want.take();
        // Set, if it is, under the record's lock.
        if ended.as_ref().is_some_and(|want| want.verdict.is_some()) {
            self.thread.slot().acquit();
        }
        drop(pages);
        if let Some(graph) = &mut graph {
            graph.strike(self.thread);
        }
        drop(graph);
        // A report is dropped outside the locks.
        drop(ended);
    }
}

/// While it lives, its thread asks what to do about a deadlock.
struct Judging<'a>(&'a Thread);

impl Drop for Judging<'_> {
    fn drop(&mut self) {
        // Another's look at it is under the graph's lock.
        let _graph = GRAPH.lock();
        set_judging(self.0, false);
    }
}

fn set_judging(thread: &Thread, judging: bool) {
    if let Some(want) = &mut thread.record().pages.lock().want {
        want.judging = judging;
    }
}

/// Whose wait fails, by its place in the circle.
fn choose(circle: &[Step], verdict: Verdict) -> Option<usize> {
    let able = || (0..circle.len()).filter(|&at| circle[at].may_fail);
    let youngest = || able().max_by_key(|&at| circle[at].thread.id());
    match verdict {
        Verdict::Wait => None,
        Verdict::Fail if circle[0].may_fail => Some(0),
        Verdict::Fail | Verdict::Youngest => youngest(),
        Verdict::Thread(id) => able().find(|&at| circle[at].thread.id() == id),
    }
}

/// Has another's wait fail, if it has not ended yet.
fn condemn(step: &Step, deadlock: Deadlock) {
    let _graph = GRAPH.lock();
    let mut pages = step.thread.record().pages.lock();
    let Some(want) = pages.want.as_mut().filter(|want| want.number == step.want) else { return };
    want.verdict = Some(deadlock);
    // Under the record's lock: it goes with the want.
    let blocked = step.thread.slot().condemn();
    drop(pages);
    if blocked {
        step.thread.unpark_internal();
    }
}

impl Graph {
    /// Whose wait fails, and no part of a chain is from here on. Of a circle that is the same as it was.
    fn dismiss_if_same(&self, circle: &[Step], verdict: Verdict) -> Result<Option<usize>, ()> {
        let wants = |steps: &[Step]| steps.iter().map(|step| step.want).collect::<Vec<_>>();
        let now = self.circle(&circle[0].thread).ok_or(())?;
        if wants(&now) != wants(circle) {
            return Err(());
        }
        let victim = choose(circle, verdict);
        if let Some(victim) = victim {
            self.dismiss(&circle[victim]);
        }
        Ok(victim)
    }

    /// The want will fail: from here on it is no part of a chain.
    fn dismiss(&self, step: &Step) {
        let mut pages = step.thread.record().pages.lock();
        if let Some(want) = pages.want.as_mut().filter(|want| want.number == step.want) {
            want.leaving = true;
        }
    }
}
