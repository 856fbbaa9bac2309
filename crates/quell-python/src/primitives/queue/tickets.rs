//! Tasks that wait for something of an open queue: a ticket each.
//!
//! Beside each condition an open queue has a line of tickets. Whoever notifies a condition wakes the first ticket as well: so
//! both lines look, and one of them finds what there is. A ticket is taken while the mutex is held, after a look. One that
//! was woken, and whose task is gone before it could look, wakes the next.

use std::collections::VecDeque;
use std::sync::Arc;

use pyo3::prelude::*;
use quell::Event;

use crate::delivery::gil_cell::GilCell;

/// The tasks that wait for one thing, in their order.
pub(super) struct Tickets(GilCell<VecDeque<Arc<Event>>>);

impl Tickets {
    pub(super) const fn new() -> Self {
        Self(GilCell::new(VecDeque::new()))
    }

    pub(super) fn take(&self, py: Python<'_>) -> Ticket<'_> {
        let event = Arc::new(Event::new());
        self.0.with(py, |line| line.push_back(event.clone()));
        Ticket { line: self, event, used: false }
    }

    /// Wakes the first. May run Python code: that of an event loop.
    pub(super) fn wake_one(&self, py: Python<'_>) {
        if let Some(event) = self.0.with(py, VecDeque::pop_front) {
            event.set();
        }
    }

    /// As [`wake_one`](Self::wake_one).
    pub(super) fn wake_all(&self, py: Python<'_>) {
        for event in self.0.with(py, std::mem::take) {
            event.set();
        }
    }
}

/// A place in the line.
pub(super) struct Ticket<'a> {
    line: &'a Tickets,
    event: Arc<Event>,
    /// Its task goes on, and will look.
    used: bool,
}

impl Ticket<'_> {
    /// Waits to be woken.
    pub(super) async fn wait(mut self) {
        self.event.wait_async().await;
        self.used = true;
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.used {
            return;
        }
        // SAFETY: a ticket lives in an operation, whose future is polled and dropped attached.
        let py = unsafe { Python::assume_attached() };
        if self.event.is_set() {
            self.line.wake_one(py);
        } else {
            self.line.0.with(py, |line| line.retain(|event| !Arc::ptr_eq(event, &self.event)));
        }
    }
}
