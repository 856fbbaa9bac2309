//! Where in a program something was called, for who reads reports.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;

/// Where in a program a quell operation was called. In words by `Display`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(Known);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// In Rust, as the compiler knows it.
    Here(&'static Location<'static>),
    /// In another language, as the embedding says.
    Told(&'static str),
}

thread_local! {
    /// What the embedding says, while it does.
    static TOLD: Cell<Option<&'static str>> = const { Cell::new(None) };
}

impl Place {
    /// That of a call from here, unless the embedding says otherwise.
    pub(super) fn of(location: &'static Location<'static>) -> Place {
        // A thread that is past its thread-locals has no embedding.
        let told = TOLD.try_with(Cell::get).ok().flatten();
        Place(told.map_or(Known::Here(location), Known::Told))
    }

    /// File, line and column, if it is in Rust.
    pub fn location(&self) -> Option<&'static Location<'static>> {
        match self.0 {
            Known::Here(location) => Some(location),
            Known::Told(_) => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Known::Here(location) => location.fmt(f),
            Known::Told(words) => f.write_str(words),
        }
    }
}

/// Runs `f`, whose waits and locks are, for [`waits`](super::waits) and a [`Deadlock`](super::Deadlock), called from `place`:
/// for embeddings of quell in other languages, whose callers a Rust location does not tell. Costs a few instructions.
///
/// ```
/// use quell::Lock;
/// use quell::deadlock::{Detection, called_from, set_detection};
///
/// set_detection(Detection::Fail);
/// let lock = Lock::new(());
/// let _held = called_from("main.c:12", || lock.lock()).unwrap();
/// let deadlock = called_from("main.c:13", || lock.lock().map(drop)).unwrap_err().to_string();
/// assert!(deadlock.contains("at main.c:13, which thread 1") && deadlock.contains("at main.c:12"));
/// # set_detection(Detection::Off);
/// ```
pub fn called_from<R>(place: &'static str, f: impl FnOnce() -> R) -> R {
    /// Also if it panics.
    struct Restore(Option<&'static str>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let _ = TOLD.try_with(|told| told.set(self.0));
        }
    }
    let _restore = Restore(TOLD.try_with(|told| told.replace(Some(place))).ok().flatten());
    f()
}
