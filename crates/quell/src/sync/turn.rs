//! Turns of a processor: who has had its processor for long, and finds a lock held, gives way at once.
//!
//! Two threads on two processors that take turns in a lock find it free, or soon free, every time. They look for it without
//! giving way, and so keep their processors until the system's clock takes them away, some milliseconds later, while others that
//! have given way for the lock wait for both; of sixteen threads, the last waits for seven of those. A lock cannot help
//! who gives way: they are in no queue, and it does not know of them. So each thread remembers since when it has had its
//! processor, as far as it knows, and when its turn is over it gives way before it looks again: after that the others have
//! had theirs.
//!
//! For locks only. Other waits give way in their queues, where they are seen.

use std::cell::Cell;
use std::thread::yield_now;
use std::time::{Duration, Instant};

/// How long a turn is, at least. Long beside a change of threads, 1 to 2 µs, and short beside the 3 to 8 ms after which the
/// system takes the processor away.
const TURN: Duration = Duration::from_micros(100);

thread_local! {
    /// Since when the current thread's turn lasts; `None`: it has not been asked before.
    static SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Whether the current thread should give way rather than wait without.
pub(super) fn is_over() -> bool {
    let now = Instant::now();
    let since = SINCE.get();
    if since.is_none() {
        SINCE.set(Some(now));
    }
    since.is_some_and(|since| now.saturating_duration_since(since) >= TURN)
}

/// Lets another thread have the processor, if one wants it. The next turn begins.
pub(super) fn give_way() {
    yield_now();
    SINCE.set(Some(Instant::now()));
}

#[cfg(all(test, not(any(quell_loom, quell_shuttle))))]
mod tests {
    use super::*;

    /// Begins a turn at this moment.
    fn begin(at: Instant) {
        SINCE.set(Some(at));
    }

    #[test]
    fn a_turn_ends_and_begins_anew() {
        std::thread::spawn(|| {
            assert!(!is_over(), "it begins when it is first asked for");
            let first = SINCE.get();
            assert!(first.is_some());
            begin(Instant::now() - TURN);
            assert!(is_over() && is_over());
            give_way();
            assert!(SINCE.get() > first);
            begin(Instant::now() + Duration::from_secs(3600));
            assert!(!is_over());
        })
        .join()
        .unwrap();
    }
}
