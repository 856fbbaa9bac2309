//! Deadlocks of Python threads: a wait that could never end fails, with an exception that says who waits for whom.
//!
//! Off until [`set_detection`] switches it on. On, a thread that is about to wait for something that has a holder follows the chain:
//! who holds it, what that one waits for, and so on. If that leads back to itself, nobody in the circle can go on, and one of them
//! has its wait ended with a [`Deadlock`](crate::exceptions::deadlock_type), an ordinary exception: locks are released as it
//! unwinds.
//!
//! | a wait for … | waits for the thread that … |
//! | --- | --- |
//! | a `Lock` or `RLock`, also as a condition or a queue takes it again | acquired it |
//! | the end of a `quell.threading.Thread` | is to end |
//! | the same of the standard library's, where they are [patched](crate::patch) | acquired it ([who that is](crate::patch::held)); is to end |
//! | anything else | is not known: any thread may end it |
//!
//! The core can do the same for its own locks (`quell::deadlock`), and is not asked here: it would have to be told of every acquire
//! and release, while Python's threads keep note of their [holds](crate::delivery::Hold) anyway, with the place, and change them
//! with the GIL only. So detection costs nothing where nobody waits, and knows what was acquired before it was switched on.
//!
//! # The protocol
//!
//! The GIL is the one lock of the graph. Three things are changed with it only:
//!
//! | what | where | changed by |
//! | --- | --- | --- |
//! | the holds | the record of each thread | the holder, after it has taken the lock; who releases it, before the lock is free |
//! | the want | the record of each thread | the thread itself, right before it sleeps and right after |
//! | the verdict | the want | who has looked, as long as the want stands |
//!
//! A thread looks and enters its want in one hold of the GIL. Of the standard library's locks the holds are notes, kept
//! elsewhere by the same rule: see [`held`](crate::patch::held).
//!
//! **What is found is there.** Whoever is seen to want something is inside its operation; whoever is seen to hold a lock holds it, and
//! releases nothing while it wants. So none in the circle can have been given what it wants, because that is held by the next.
//! (A thread that was granted a lock and has not noted it yet is not its holder for anybody: a chain ends there. It still
//! wants, and comes to note it.) Who may yet go on by itself ends the chain too: a wait with a deadline, one that an interrupt
//! is about to end, one that was told to fail. A `Lock` may be released by any thread; a program in which others than the
//! holder do that should ask, or report only.
//!
//! **What is there is found.** Each thread of a circle has noted what it holds before it wanted anything. The last one to enter its want
//! sees all others. If an interrupt that would have ended one of the waits is withdrawn, that thread was nudged by who
//! relied on it; so it comes back, enters its want anew, and looks itself.
//!
//! **Who fails.** The one that looks fails before it has waited. Another one gets the verdict into its want, by the number of the
//! want, and is nudged: that ends its wait as a signal does, by the one compare-exchange against being granted; it finds the
//! verdict when it has the GIL. If it was granted what it waited for after all, the verdict ends with the want. Making the report, and
//! asking a policy, may run Python code; afterwards the chain is followed again, and the decision counts only if it is the
//! same, want by want.

mod circle;
mod left;

use std::collections::HashSet;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use quell::wait::Wait;

use crate::delivery;
use crate::delivery::gil_cell::GilCell;
use crate::delivery::record::{self, Record};
use crate::delivery::want::{self, MayFail, What};
use crate::exceptions::deadlock_type;
use crate::lazy::Part;
use crate::look::facts::{Facts, Look};
use crate::look::objects::ThreadInfo;
use crate::look::{dump, text};
use crate::patch::held;
use circle::{Choice, choose, circle};
use left::{Key, Left};

/// What is done about a deadlock.
enum Policy {
    Off,
    Report,
    Fail(Choice),
    Ask(Py<PyAny>),
}

static POLICY: GilCell<Policy> = GilCell::new(Policy::Off);

impl Policy {
    /// As somebody has asked for it.
    fn of(policy: &Bound<'_, PyAny>) -> PyResult<Policy> {
        if let Ok(word) = policy.cast::<PyString>() {
            return match word.to_cow()?.as_ref() {
                "off" => Ok(Policy::Off),
                "report" => Ok(Policy::Report),
                word => choice(word).map(Policy::Fail).ok_or_else(|| {
                    PyValueError::new_err(format!(
                        "'{word}' is no policy: 'off', 'report', 'fail', 'youngest', 'eldest', or a function"
                    ))
                }),
            };
        }
        if policy.is_callable() {
            return Ok(Policy::Ask(policy.clone().unbind()));
        }
        Err(PyTypeError::new_err(format!(
            "a policy is one of 'off', 'report', 'fail', 'youngest' and 'eldest', or a function, not {}",
            policy.get_type()
        )))
    }

    fn clone_ref(&self, py: Python<'_>) -> Policy {
        match self {
            Policy::Off => Policy::Off,
            Policy::Report => Policy::Report,
            Policy::Fail(choice) => Policy::Fail(*choice),
            Policy::Ask(function) => Policy::Ask(function.clone_ref(py)),
        }
    }

    fn into_object(self, py: Python<'_>) -> Py<PyAny> {
        let word = match self {
            Policy::Off => "off",
            Policy::Report => "report",
            Policy::Fail(Choice::Youngest) => "youngest",
            Policy::Fail(Choice::Eldest) => "eldest",
            Policy::Fail(_) => "fail",
            Policy::Ask(function) => return function,
        };
        PyString::intern(py, word).into_any().unbind()
    }
}

fn choice(word: &str) -> Option<Choice> {
    match word {
        "fail" => Some(Choice::Closing),
        "youngest" => Some(Choice::Youngest),
        "eldest" => Some(Choice::Eldest),
        _ => None,
    }
}

/// A thread of a circle: its number, what it waits for, and in which want.
#[derive(Clone, Copy)]
struct Link {
    number: u64,
    what: What,
    want: u64,
    may_fail: MayFail,
}

fn key(circle: &[Link]) -> Key {
    let mut key: Key = circle.iter().map(|link| (link.number, link.want)).collect();
    key.sort_unstable();
    key
}

static LEFT: GilCell<Left> = GilCell::new(Left::new());

fn leave(py: Python<'_>, key: Key) {
    LEFT.with(py, |left| left.add(key));
}

/// The circle that `me` closes or is in. Runs no Python code.
fn find(py: Python<'_>, me: Link) -> Option<Vec<Link>> {
    let want = |number: u64| standing(py, number).map(|link| link.what);
    let found =
        circle(me.number, me.what, |what| what.holder_for_sure(py), want, record::all(py).len())?;
    let rest = found.iter().skip(1).map(|(number, _)| standing(py, *number));
    std::iter::once(Some(me)).chain(rest).collect()
}

/// The want of a thread that cannot go on without what it wants.
fn standing(py: Python<'_>, number: u64) -> Option<Link> {
    let record = record::find(py, number)?;
    let (link, goes, interruptible) = record.want(py, |want| {
        let link = Link { number, what: want.what, want: want.number, may_fail: want.may_fail };
        (link, want.limited || want.verdict.is_some(), want.interruptible)
    })?;
    if goes {
        return None;
    }
    if interruptible && record.thread().has_pending() {
        // Should the interrupt be withdrawn: see the protocol.
        if want::is_detecting() {
            record.thread().nudge();
        }
        return None;
    }
    Some(link)
}

/// What is known of each in a circle. Runs no Python code.
fn facts(py: Python<'_>, circle: &[Link]) -> Vec<Facts> {
    let look = Look::begin(py);
    let facts = circle.iter().filter_map(|link| {
        let mut facts = look.thread(link.number)?;
        if facts.waits.is_none() {
            facts.waits = Some(look.about_to_wait(&link.what));
        }
        Some(facts)
    });
    facts.collect()
}

/// The exception.
fn error(py: Python<'_>, circle: &[Link]) -> PyResult<Py<PyAny>> {
    let all = facts(py, circle);
    let error = deadlock_type(py).call1((text::deadlock(&all),))?;
    let threads = all.into_iter().map(|facts| ThreadInfo::new(py, facts));
    let threads = threads.collect::<PyResult<Vec<_>>>()?;
    error.setattr("threads", PyTuple::new(py, threads)?)?;
    Ok(error.unbind())
}

/// What was decided about a circle.
enum Decision {
    Leave,
    Fail(Choice, Py<PyAny>),
}

/// The calling thread is about to wait for `what`, in the want `number`: see the protocol. When this returns without an error the want
/// must be entered before the GIL is given up.
///
/// # Errors
/// The exception by which the wait fails; or what a policy raised. None if it may not fail.
#[cold]
pub(crate) fn look(
    py: Python<'_>,
    what: &What,
    wait: &Wait,
    may_fail: MayFail,
    number: u64,
) -> PyResult<()> {
    let me = Record::current(py);
    if wait.deadline.is_some() || me.is_judging(py) {
        return Ok(());
    }
    let mine = Link { number: me.tstate_id(), what: *what, want: number, may_fail };
    let mut decided: Option<(Key, Decision)> = None;
    loop {
        if wait.interruptible && quell::shield_depth() == 0 && me.thread().has_pending() {
            return Ok(());
        }
        let Some(circle) = find(py, mine) else { return Ok(()) };
        let key = key(&circle);
        match decided.take_if(|(of, _)| *of == key) {
            Some((_, Decision::Fail(choice, error))) => {
                let able: Vec<_> = circle.iter().map(|l| (l.number, l.may_fail)).collect();
                match choose(&able, choice) {
                    Some(0) => return Err(PyErr::from_value(error.into_bound(py))),
                    Some(at) => {
                        condemn(py, &circle[at], error);
                        return Ok(());
                    }
                    None => {
                        leave(py, key);
                        report(py, &error);
                        continue;
                    }
                }
            }
            Some((_, Decision::Leave)) => {
                leave(py, key);
                return Ok(());
            }
            None => {}
        }
        if LEFT.with(py, |left| left.has(&key)) {
            return Ok(());
        }
        match error(py, &circle).and_then(|error| decide(py, me, error)) {
            Ok(decision) => decided = Some((key, decision)),
            Err(error) if may_fail == MayFail::No => {
                error.write_unraisable(py, None);
                leave(py, key);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Asks the policy. May run Python code.
fn decide(py: Python<'_>, me: &Record, error: Py<PyAny>) -> PyResult<Decision> {
    match POLICY.with(py, |policy| policy.clone_ref(py)) {
        Policy::Off => Ok(Decision::Leave),
        Policy::Report => {
            report(py, &error);
            Ok(Decision::Leave)
        }
        Policy::Fail(choice) => Ok(Decision::Fail(choice, error)),
        Policy::Ask(function) => {
            // What the function itself waits for closes no circle that it would be asked about.
            me.set_judging(py, true);
            let answer = delivery::shielded(py, || function.bind(py).call1((&error,)));
            me.set_judging(py, false);
            let answer = answer?;
            Ok(match victim(&answer)? {
                Some(choice) => Decision::Fail(choice, error),
                None => Decision::Leave,
            })
        }
    }
}

/// Whom a function has named.
fn victim(answer: &Bound<'_, PyAny>) -> PyResult<Option<Choice>> {
    if answer.is_none() {
        return Ok(None);
    }
    let wrong = || {
        PyTypeError::new_err(format!(
            "a policy answers None, 'fail', 'youngest', 'eldest', or a thread of the deadlock, not {}",
            answer.repr().map_or_else(|_| answer.get_type().to_string(), |r| r.to_string())
        ))
    };
    if let Ok(word) = answer.cast::<PyString>() {
        return choice(&word.to_cow()?).map(Some).ok_or_else(wrong);
    }
    if let Ok(thread) = answer.cast::<ThreadInfo>() {
        return Ok(Some(Choice::This(thread.get().facts().number)));
    }
    let ident = match answer.extract::<u64>() {
        Ok(ident) => ident,
        Err(_) => answer.getattr("ident").and_then(|it| it.extract()).map_err(|_| wrong())?,
    };
    let target = delivery::target_by_ident(answer.py(), ident)?;
    Ok(Some(Choice::This(target.tstate_id())))
}

/// Has another's wait fail, which stands.
fn condemn(py: Python<'_>, link: &Link, error: Py<PyAny>) {
    let Some(record) = record::find(py, link.number) else { return };
    let mut error = Some(error);
    record.want(py, |want| {
        if want.number == link.want {
            want.verdict = error.take();
        }
    });
    record.thread().nudge();
}

/// Tells of a deadlock that is left as it is. Gives up the GIL.
fn report(py: Python<'_>, error: &Py<PyAny>) {
    let words = error.bind(py).str().map(|text| text.to_string());
    dump::to_stderr(py, &format!("quell: {}\n", words.unwrap_or_default()));
}

/// The circles that there are now, each once: as the thread that has waited longest sees it.
fn circles(py: Python<'_>) -> Vec<Vec<Link>> {
    let mut known = HashSet::new();
    let mut numbers: Vec<u64> = record::all(py).iter().map(|record| record.tstate_id()).collect();
    numbers.sort_unstable();
    let all = numbers.into_iter().filter_map(|number| find(py, standing(py, number)?));
    all.filter(|circle| known.insert(key(circle))).collect()
}

/// The threads of each circle that there is now, for [`dump`].
pub(crate) fn standing_circles(py: Python<'_>) -> Vec<Vec<Facts>> {
    circles(py).iter().map(|circle| facts(py, circle)).collect()
}

/// Switch the detection of deadlocks, for all threads, from now on; return what was set before. Does not block.
///
/// With 'fail', a wait that could never end, because who holds what it needs waits in turn for this thread, raises Deadlock at
/// once; if it cannot, the youngest thread's wait does that can. With 'youngest' and 'eldest' it is the wait of that thread, of
/// those in the circle. With 'report' the deadlock is written to standard error, and stays. 'off', as at first: nothing is looked for.
///
/// A function is asked, in the thread that closed the circle, with the Deadlock as its argument. It answers with one of these words,
/// with a thread of the circle whose wait is to fail (a threading.Thread, its ident, or one of deadlock.threads), or with None:
/// then all go on waiting. It should not wait for any of the threads concerned; it is not interrupted. What it raises is raised by
/// the wait.
///
///     quell.set_detection("fail")
///     lock = quell.Lock()
///     lock.acquire()
///     try:
///         lock.acquire()            # for ever, otherwise
///     except quell.Deadlock as deadlock:
///         print(deadlock)           # who waits, for what, and where it was acquired
///
/// A circle is found if each wait in it is for a Lock, an RLock or the end of a quell.threading.Thread, or for one of the standard
/// library's that quell.patch() has replaced the waits of, and none has a time-out or is about to be interrupted. Of
/// a threading.Lock it must be seen that its thread releases it: it was acquired by a with statement, or before a try that does. A wait that cannot fail, such as one in a shield, or a condition that takes its lock again, is part
/// of a circle, but another one fails.
#[pyfunction]
#[pyo3(signature = (policy, /))]
fn set_detection(policy: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    let py = policy.py();
    let policy = Policy::of(policy)?;
    want::set_detecting(py, !matches!(policy, Policy::Off));
    let before = POLICY.with(py, |now| std::mem::replace(now, policy));
    held::update(py)?;
    Ok(before.into_object(py))
}

/// What set_detection() has set last.
#[pyfunction]
fn detection(py: Python<'_>) -> Py<PyAny> {
    POLICY.with(py, |policy| policy.clone_ref(py)).into_object(py)
}

/// The deadlocks that there are now, whether detection is on or not: a list of Deadlock, not raised. Changes nothing and does not
/// block.
#[pyfunction]
fn find_deadlocks(py: Python<'_>) -> PyResult<Vec<Py<PyAny>>> {
    circles(py).iter().map(|circle| error(py, circle)).collect()
}

/// Exports of this folder.
pub(crate) static PARTS: [Part; 1] =
    [Part::new(&["Deadlock", "set_detection", "detection", "find_deadlocks"], register)];

fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("Deadlock", deadlock_type(module.py()))?;
    module.add_function(wrap_pyfunction!(set_detection, module)?)?;
    module.add_function(wrap_pyfunction!(detection, module)?)?;
    module.add_function(wrap_pyfunction!(find_deadlocks, module)?)
}
