//! What the loom models share.

#![allow(dead_code, reason = "every test file uses its own part")]

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
pub(crate) fn poll<F: Future>(future: &mut std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}
