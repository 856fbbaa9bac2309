//! What the loom models share.

use loom::model::Builder;
use loom::thread::JoinHandle;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, Wake, Waker};

/// Every interleaving.
pub(crate) fn all(model: impl Fn() + Sync + Send + 'static) {
    explore(Builder::new(), Box::new(model));
}

/// Every interleaving with at most `preemptions` switches away from a thread that could go on;
/// `LOOM_MAX_PREEMPTIONS` overrides. For models that are too large for all. Almost every known race shows within
/// two or three (Musuvathi and Qadeer, *Iterative context bounding*, 2007).
pub(crate) fn bounded(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound.get_or_insert(preemptions);
    explore(builder, Box::new(model));
}

/// One for all models: what loom does around each is much code, which would be compiled again for each.
fn explore(builder: Builder, model: Box<dyn Fn() + Sync + Send>) {
    builder.check(model);
}

/// A thread of the model; boxed for the same reason.
#[track_caller]
pub(crate) fn spawn<T: 'static>(f: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    let f: Box<dyn FnOnce() -> T> = Box::new(f);
    loom::thread::spawn(f)
}

/// A thread that is `handle`'s.
#[track_caller]
pub(crate) fn with_handle<T: 'static>(
    handle: &quell::Thread,
    f: impl FnOnce() -> T + 'static,
) -> JoinHandle<T> {
    let handle = handle.clone();
    spawn(move || {
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
