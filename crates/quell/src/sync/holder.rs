//! Who holds a guard: a thread, or a task.

use std::marker::PhantomData;

/// The guard was taken by a thread, and is dropped in that thread.
#[derive(Debug)]
pub struct ByThread {
    // Neither Send nor Sync.
    here: PhantomData<*const ()>,
}

/// The guard was taken by a task, and goes with it from thread to thread.
#[derive(Debug)]
pub struct ByTask(());
