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
