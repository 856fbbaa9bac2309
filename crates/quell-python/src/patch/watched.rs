//! Waiting for what a thread holds: one of the standard library's locks, or the thread's own end; or for what any thread may give.
//!
//! Such a wait is a [want](crate::delivery::want), so who looks sees it; and while deadlocks are looked for, it looks itself before it
//! sleeps, and fails if it is told to. In the main thread, which comes here only then, Python's signal handlers run as they do
//! in the original.

use std::time::Instant;

use pyo3::prelude::*;
use quell::wait::Wait;

use super::wait::{Listens, breaks_caller};
use crate::deadlock;
use crate::delivery;
use crate::delivery::want::{self, MayFail, What};

/// One wait, of as many sleeps as it takes. Made and dropped with the GIL held.
pub(super) struct Watched<'py> {
    py: Python<'py>,
    what: What,
    deadline: Option<Instant>,
    /// Whether it may end without what it waits for.
    gives_up: bool,
    listens: Listens<'py>,
    number: u64,
    /// For the next sleep, as it was when the thread looked.
    signals: bool,
    may_fail: MayFail,
    /// The exception by which it was told to end.
    verdict: Option<Py<PyAny>>,
}

impl<'py> Watched<'py> {
    /// `what` and what it points to stay as long as this.
    pub(super) fn begin(py: Python<'py>, what: What, deadline: Option<Instant>) -> Self {
        let (listens, number) = (Listens::begin(py), want::next_number());
        let (signals, may_fail, verdict) = (false, MayFail::No, None);
        let gives_up = true;
        Self { py, what, deadline, gives_up, listens, number, signals, may_fail, verdict }
    }

    /// The same for a wait that ends in success only, whatever comes.
    pub(super) fn insist(py: Python<'py>, what: What) -> Self {
        let mut wait = Self::begin(py, what, None);
        wait.listens.stop();
        wait.gives_up = false;
        wait
    }

    /// Looks, and sleeps, until `until` if that comes before the deadline.
    ///
    /// # Errors
    /// The wait would close a circle, and is the one to fail.
    pub(super) fn sleep<T: Send>(
        &mut self,
        until: Option<Instant>,
        sleep: impl FnOnce(&Wait) -> T + Send,
    ) -> PyResult<T> {
        self.look()?;
        Ok(self.sleep_now(until, sleep))
    }

    /// Looks, while deadlocks are looked for. May run Python code. The sleep follows in the same hold of the GIL in which this
    /// ends.
    ///
    /// # Errors
    /// As for [`sleep`](Self::sleep).
    pub(super) fn look(&mut self) -> PyResult<()> {
        let detecting = want::is_detecting();
        self.signals = self.gives_up && (detecting || delivery::is_reached_by_signals());
        self.may_fail = MayFail::No;
        if !detecting {
            return Ok(());
        }
        self.may_fail = self.whether_it_may_fail()?;
        deadlock::look(self.py, &self.what, &self.options(), self.may_fail, self.number)
    }

    /// Sleeps, after a look.
    pub(super) fn sleep_now<T: Send>(
        &mut self,
        until: Option<Instant>,
        sleep: impl FnOnce(&Wait) -> T + Send,
    ) -> T {
        let (py, wait) = (self.py, self.options());
        want::begin(py, self.what, &wait, self.may_fail, self.number);
        let wait = Wait { deadline: until.or(self.deadline), ..wait };
        let slept = py.detach(|| sleep(&wait));
        self.verdict = want::end(py);
        slept
    }

    fn options(&self) -> Wait {
        Wait { signals: self.signals, ..self.listens.wait(self.deadline) }
    }

    fn whether_it_may_fail(&self) -> PyResult<MayFail> {
        if !self.gives_up || quell::shield_depth() > 0 || breaks_caller() {
            return Ok(MayFail::No);
        }
        let well = delivery::may_raise_where_blocked(self.py)?;
        Ok(if well { MayFail::Yes } else { MayFail::Badly })
    }

    /// After a sleep that was stopped: raises what has stopped it, or sees to it that the next one is not stopped for it.
    pub(super) fn stopped(&mut self) -> PyResult<()> {
        self.listens.look(self.py)?;
        if let Some(verdict) = self.verdict.take() {
            return Err(PyErr::from_value(verdict.into_bound(self.py)));
        }
        if delivery::is_reached_by_signals() {
            self.py.check_signals()?;
        }
        Ok(())
    }
}
