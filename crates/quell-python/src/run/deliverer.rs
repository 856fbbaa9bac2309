//! The thread that asks the interpreter, and so may wait for the GIL. The monitor never does.
//!
//! At a limit it climbs the [`ladder`](super::ladder): it looks, decides for every thread, interrupts, and looks again.
//! Between the looks it waits for the receipt of what it sent, so that it knows when that was delivered.
//!
//! *Shutdown.* It visits the interpreter through a [`Door`](crate::native::Door), which an `atexit` function closes.

use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};
use quell::{Outcome, Receipt};

use super::ladder::{self, Act, Answer, MainAt, PACE, Rung};
use super::session::{Fired, Session};
use super::{exception, signals};
use crate::cpython::thread::ThreadState;
use crate::delivery::gil_cell::GilCell;
use crate::delivery::{self, Options, Target};

/// The body of the thread.
pub(super) fn body(session: &'static Session) {
    let mut insisting = None;
    loop {
        let ticket = session.summons.ticket();
        if session.is_stopping() || session.is_finalized() {
            return;
        }
        // What is to be done before the interpreter is ready has to wait for it. Readiness rings no bell: that would wake this thread in
        // every run, for the few that reach a limit while they start.
        let mut early = false;
        if session.is_ready() {
            if let Some(fired) = session.fired() {
                return climb(session, fired);
            }
            insist(session, &mut insisting);
        } else {
            early = session.fired().is_some() || session.presses.count() >= 2;
        }
        let passed = matches!(insisting, Some(Insistence::Passed(_)));
        session.summons.wait(ticket, (early || passed).then(|| Instant::now() + PACE));
    }
}

/// The functions at the bottom of a main thread's stack while it runs the script: of a file or `-c`, of `-m` and archives, and
/// of a thread that became the main one by forking.
const OUTERMOST: [&std::ffi::CStr; 3] = [c"<module>", c"_run_module_as_main", c"_bootstrap"];

// ---- the limit

/// A thread that was interrupted.
struct Struck {
    target: Target,
    /// The last exception sent.
    exception: Py<PyAny>,
    receipt: Receipt,
    sent: Instant,
    is_main: bool,
    /// Rounds by force so far.
    forced: u32,
}

impl Struck {
    fn answer(&self, py: Python<'_>) -> Answer {
        if !self.target.is_alive(py) {
            return Answer::Gone;
        }
        match self.receipt.state() {
            Outcome::Pending => Answer::Pending,
            Outcome::Delivered => {
                // One reference is ours: nobody else holds it, nobody handles it.
                // SAFETY: GIL held, a live object.
                match unsafe { ffi::Py_REFCNT(self.exception.as_ptr()) } {
                    1 => Answer::Swallowed,
                    _ => Answer::Unwinding,
                }
            }
            _ => Answer::Gone,
        }
    }
}

/// What [`on_main_signal`] has sent, until the deliverer takes it over.
static BY_SIGNAL: GilCell<Option<Struck>> = GilCell::new(None);

/// In the main thread, in the handler of the signal that the monitor sends while nobody gets through: interrupts the
/// main thread, unless the deliverer has done it.
pub(super) fn on_main_signal(py: Python<'_>) {
    let Some(session) = Session::current() else { return };
    let Some(fired) = session.fired() else { return };
    // Whoever turns the flag sends the interrupt, or turns it back.
    if main_at() != MainAt::Script || session.asked_main.swap(true, SeqCst) {
        return;
    }
    let struck = delivery::main_target(py)
        .and_then(|main| strike(py, session, fired, &main, Rung::Ask, None));
    match struck {
        Ok(struck) => drop(BY_SIGNAL.with(py, |slot| slot.replace(struck))),
        // The deliverer tries again, and notes why it fails if it does.
        Err(_) => session.asked_main.store(false, SeqCst),
    }
}

/// In a thread that was interrupted in a blocking call of the standard library, which [`patch`](crate::patch) has made
/// interruptible.
pub(super) fn on_raise_in_call(ident: u64) {
    if let Some(session) = Session::current().filter(|session| session.fired().is_some()) {
        session.facts().thread(ident).in_call = true;
    }
}

/// Up the ladder, until the process ends or cannot be asked any more.
fn climb(session: &'static Session, fired: &Fired) {
    let mut struck: HashMap<u64, Struck> = HashMap::new();
    loop {
        if session.is_stopping() || session.is_finalized() || session.is_claimed() {
            break;
        }
        let rung = Rung::at(fired.at.elapsed(), session.plan.grace);
        if session.door.visit(|py| look(py, session, fired, rung, &mut struck)).is_none() {
            break;
        }
        note_deliveries(session, fired, &struck, Instant::now() + PACE);
    }
    // Dropped without the GIL, references are kept until somebody has it; the process ends anyway.
    std::mem::forget(struck);
}

fn look(
    py: Python<'_>,
    session: &Session,
    fired: &Fired,
    rung: Rung,
    struck: &mut HashMap<u64, Struck>,
) {
    if let Some(sent) = BY_SIGNAL.with(py, Option::take) {
        struck.insert(sent.target.tstate_id(), sent);
    }
    let main_at = main_at();
    let mut wanted = Vec::new();
    if let Ok(main) = delivery::main_target(py) {
        if rung.strikes_main(main_at) {
            wanted.push(main);
        } else {
            // What the script did not need any more must not hit what runs after it.
            delivery::withdraw_all(py, &main);
        }
    }
    for thread in threads(py) {
        let mut facts = session.facts();
        let known = facts.thread(thread.ident);
        known.name = Some(thread.name);
        known.daemon = Some(thread.daemon);
        drop(facts);
        if !thread.daemon
            && rung.strikes_others(main_at)
            && let Ok(target) = delivery::target_by_ident(py, thread.ident)
        {
            wanted.push(target);
        }
    }
    for target in wanted {
        let now = Instant::now();
        let last = struck.get(&target.tstate_id());
        let answer = last.map_or(Answer::NotAsked, |s| s.answer(py));
        let since_last = last.map_or(Duration::ZERO, |s| now - s.sent);
        match ladder::decide(rung, answer, since_last) {
            Act::Leave => {}
            Act::Poke => {
                let _ = delivery::poke(py, &target, options(rung));
            }
            Act::Strike
                if target.is_main()
                    && answer == Answer::NotAsked
                    && session.asked_main.swap(true, SeqCst) =>
            {
                // The signal was faster; the next look finds what it sent.
            }
            Act::Strike => match strike(py, session, fired, &target, rung, last) {
                Ok(new) => {
                    struck.insert(target.tstate_id(), new);
                }
                Err(error) => {
                    if target.is_main() && answer == Answer::NotAsked {
                        session.asked_main.store(false, SeqCst);
                    }
                    let note = format!("an interrupt could not be sent: {}", error.value(py));
                    session.facts().note(note);
                }
            },
        }
    }
}

/// Interrupts a thread, once or several times at once.
fn strike(
    py: Python<'_>,
    session: &Session,
    fired: &Fired,
    target: &Target,
    rung: Rung,
    last: Option<&Struck>,
) -> PyResult<Struck> {
    let forced = last.map_or(0, |s| s.forced);
    let burst = ladder::burst(rung, last.map_or(Answer::NotAsked, |s| s.answer(py)), forced);
    let is_main = target.is_main();
    let mut sent = None;
    for _ in 0..burst {
        let (instance, note) =
            exception::make(py, session.plan.exception.as_ref(), &fired.reached)?;
        {
            let name = exception::name(&instance.get_type());
            let mut facts = session.facts();
            facts.exception = name;
            if let Some(note) = note {
                facts.note(note);
            }
        }
        let receipt = match delivery::interrupt(py, target, &instance, options(rung)) {
            Ok(receipt) => receipt,
            Err(error) => {
                // The interpreter's own way raises outside the enclosing `try`; better than nothing when pressed.
                if rung.forces() {
                    set_async_exception(target, &instance.get_type());
                }
                return Err(error);
            }
        };
        let mut facts = session.facts();
        if is_main {
            facts.strikes += 1;
            facts.receipt.get_or_insert(receipt.clone());
        } else {
            let thread = facts.thread(target.ident());
            thread.strikes += 1;
            thread.receipt.get_or_insert(receipt.clone());
        }
        sent = Some((instance.unbind(), receipt));
    }
    // At least one was sent.
    let Some((exception, receipt)) = sent else { unreachable!() };
    let forced = forced + u32::from(rung.forces());
    Ok(Struck { target: target.clone(), exception, receipt, sent: Instant::now(), is_main, forced })
}

fn options(rung: Rung) -> Options {
    Options { insist: rung.forces(), force: rung == Rung::Leave, impersonate: true }
}

fn set_async_exception(target: &Target, class: &Bound<'_, PyType>) {
    // SAFETY: GIL held; an id without a thread is ignored.
    unsafe {
        ffi::PyThreadState_SetAsyncExc(target.ident() as std::ffi::c_long, class.as_ptr());
    }
}

/// Waits without the GIL until `until`, and notes what is delivered meanwhile.
fn note_deliveries(
    session: &Session,
    fired: &Fired,
    struck: &HashMap<u64, Struck>,
    until: Instant,
) {
    let mut open: Vec<&Struck> = struck.values().collect();
    loop {
        open.retain(|s| {
            if s.receipt.state() != Outcome::Delivered {
                return s.receipt.state() == Outcome::Pending;
            }
            let after = fired.at.elapsed();
            let mut facts = session.facts();
            let known = match s.is_main {
                true => &mut facts.delivery,
                false => &mut facts.thread(s.target.ident()).delivery,
            };
            known.get_or_insert(after);
            false
        });
        if Instant::now() >= until || session.is_finalized() {
            return;
        }
        match open.first() {
            Some(first) => {
                let soon = (Instant::now() + Duration::from_millis(1)).min(until);
                let one = if open.len() == 1 { until } else { soon };
                let _ = first.receipt.wait(Some(one));
            }
            None => session.summons.wait(session.summons.ticket(), Some(until)),
        }
    }
}

/// Where the main thread is. GIL held.
fn main_at() -> MainAt {
    let main = std::process::id() as u64;
    let Some(state) = ThreadState::all().find(|ts| ts.native_id() == main) else {
        return MainAt::After;
    };
    let Some(code) = state.top().and_then(|top| top.stack().last()).and_then(|f| f.code()) else {
        return MainAt::After;
    };
    if OUTERMOST.iter().any(|name| code.is_named(name)) {
        MainAt::Script
    } else if code.is_named(c"_shutdown") && is_of_module(code, c"threading") {
        MainAt::Waiting
    } else {
        MainAt::After
    }
}

/// Whether `code` is a function's of a module, by name.
fn is_of_module(code: crate::cpython::code::Code, module: &std::ffi::CStr) -> bool {
    // SAFETY: GIL held; borrowed references, or null; no error is left set; nothing here runs Python code.
    unsafe {
        let modules = ffi::PyImport_GetModuleDict();
        let module = ffi::PyDict_GetItemString(modules, module.as_ptr());
        if module.is_null() {
            return false;
        }
        let dict = ffi::PyModule_GetDict(module);
        let name = ffi::PyDict_GetItem(dict, code.name());
        !name.is_null()
            && ffi::PyFunction_Check(name) != 0
            && ffi::PyFunction_GetCode(name).cast() == code.as_ptr()
    }
}

/// Whether a thread still runs that the process has to wait for.
pub(super) fn others_remain(py: Python<'_>) -> bool {
    threads(py)
        .iter()
        .any(|thread| !thread.daemon && delivery::target_by_ident(py, thread.ident).is_ok())
}

/// A thread that `threading` knows, other than the main one.
struct Known {
    ident: u64,
    name: String,
    daemon: bool,
}

fn threads(py: Python<'_>) -> Vec<Known> {
    let known = || -> PyResult<Vec<Known>> {
        let modules = py.import("sys")?.getattr("modules")?;
        let Some(threading) = modules.cast::<PyDict>()?.get_item("threading")? else {
            return Ok(Vec::new());
        };
        let main = delivery::main_target(py).map_or(0, |target| target.ident());
        let active = threading.getattr("_active")?;
        // The methods and properties of Thread are Python code; the attributes behind them are not.
        let items = active.cast::<PyDict>()?.iter().map(|(ident, thread)| {
            Ok(Known {
                ident: ident.extract()?,
                name: thread.getattr("_name")?.extract()?,
                daemon: thread.getattr("_daemonic")?.is_truthy()?,
            })
        });
        let items: PyResult<Vec<Known>> = items.collect();
        Ok(items?.into_iter().filter(|thread| thread.ident != main).collect())
    };
    known().unwrap_or_default()
}

// ---- the second Ctrl-C

/// How far the second Ctrl-C was carried.
enum Insistence {
    /// The script's own handler was told, at this time; it may have its own way to end.
    Passed(Instant),
    /// KeyboardInterrupt was sent.
    Sent,
}

/// How long a script's own handler has for the second Ctrl-C.
const OWN_HANDLER: Duration = Duration::from_millis(300);

fn insist(session: &Session, so_far: &mut Option<Insistence>) {
    if session.presses.count() < 2 {
        *so_far = None;
        return;
    }
    let next = match so_far {
        Some(Insistence::Sent) => return,
        Some(Insistence::Passed(when)) if when.elapsed() < OWN_HANDLER => return,
        Some(Insistence::Passed(_)) => session.door.visit(interrupt_main),
        // The signal handler has passed it on.
        None if signals::has_own_function() => Some(Insistence::Passed(Instant::now())),
        None => session.door.visit(interrupt_main),
    };
    *so_far = next.or(Some(Insistence::Sent));
}

fn interrupt_main(py: Python<'_>) -> Insistence {
    if main_at() == MainAt::Script
        && let Ok(main) = delivery::main_target(py)
    {
        let exception = py.get_type::<pyo3::exceptions::PyKeyboardInterrupt>();
        let options = Options { force: true, ..Options::default() };
        // If it cannot be sent, the third press remains.
        let _ = delivery::interrupt(py, &main, exception.as_any(), options);
    }
    Insistence::Sent
}
