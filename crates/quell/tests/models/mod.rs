//! What the loom models share.

#![allow(dead_code, reason = "every test file uses its own part")]

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, Wake, Waker};

/// Every interleaving with at most `preemptions` switches away from a thread that could go on;
/// `LOOM_MAX_PREEMPTIONS` overrides. For models that are too large for all. Almost every known race shows within
/// two or three (Musuvathi and Qadeer, *Iterative context bounding*, 2007).
pub(crate) fn bounded(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(preemptions);
    builder.check(model);
}

/// A thread that is `handle`'s.
pub(crate) fn with_handle<T: 'static>(
    handle: &quell::Thread,
    f: impl FnOnce() -> T + 'static,
) -> loom::thread::JoinHandle<T> {
    let handle = handle.clone();
    loom::thread::spawn(move || {
        quell::adopt(&handle).unwrap();
        f()
    })
}

/// Polls once. Nobody is woken by it.
pub(crate) fn poll<F: Future>(future: &mut Pin<&mut F>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// A waker that counts its calls.
#[derive(Default)]
pub(crate) struct Count(AtomicU32);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Count {
    pub(crate) fn new() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count), Waker::from(count))
    }

    pub(crate) fn calls(&self) -> u32 {
        self.0.load(SeqCst)
    }
}
