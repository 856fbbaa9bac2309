//! `put_async`, `get_async` and `join_async`.

use pyo3::prelude::*;
use quell::queue::{GetError, PutError};

use super::lean::Lean;
use super::open::{Open, Turn};
use super::refusal::Refusal;
use super::{Body, Queue};
use crate::primitives::awaiting::{Operation, attached};
use crate::primitives::waiters::Place;

pub(super) fn put(slf: &Bound<'_, Queue>, item: Py<PyAny>) -> PyResult<Py<Operation>> {
    let queue = slf.clone().unbind();
    Operation::new(slf.py(), "put_async", async move {
        let put = match &queue.get().lean {
            // SAFETY: an operation is polled and dropped attached.
            Lean::Fifo(items) => unsafe { items.whole() }.put_async(item).await,
            // SAFETY: an operation is polled and dropped attached.
            Lean::Lifo(items) => unsafe { items.whole() }.put_async(item).await,
            Lean::None => Err(PutError::ShutDown(item)),
        };
        match put {
            Ok(()) => {}
            Err(error) => put_open(&queue, error.into_item()).await?,
        }
        Ok(attached(|py| py.None()))
    })
}

pub(super) fn get(slf: &Bound<'_, Queue>) -> PyResult<Py<Operation>> {
    let queue = slf.clone().unbind();
    Operation::new(slf.py(), "get_async", async move {
        let got = match &queue.get().lean {
            // SAFETY: an operation is polled and dropped attached.
            Lean::Fifo(items) => unsafe { items.whole() }.get_async().await,
            // SAFETY: an operation is polled and dropped attached.
            Lean::Lifo(items) => unsafe { items.whole() }.get_async().await,
            Lean::None => Err(GetError::ShutDown),
        };
        match got {
            Ok(item) => Ok(item),
            Err(_) => get_open(&queue).await,
        }
    })
}

pub(super) fn join(slf: &Bound<'_, Queue>) -> PyResult<Py<Operation>> {
    let queue = slf.clone().unbind();
    Operation::new(slf.py(), "join_async", async move {
        if let Body::Lean(_) = queue.get().body() {
            match &queue.get().lean {
                // SAFETY: an operation is polled and dropped attached.
                Lean::Fifo(items) => unsafe { items.whole() }.join_async().await,
                // SAFETY: an operation is polled and dropped attached.
                Lean::Lifo(items) => unsafe { items.whole() }.join_async().await,
                Lean::None => {}
            }
        }
        // It may have been opened meanwhile, and then nothing was done.
        if let Some(open) = queue.get().open.get() {
            join_open(&queue, open).await?;
        }
        Ok(attached(|py| py.None()))
    })
}

/// The open queue, if a queue of the core was shut down because it was opened.
fn opened(queue: &Py<Queue>) -> PyResult<&Open> {
    queue
        .get()
        .open
        .get()
        .map(|open| &**open)
        .ok_or_else(|| attached(|py| Refusal::ShutDown.error(py)))
}

async fn put_open(queue: &Py<Queue>, item: Py<PyAny>) -> PyResult<()> {
    let open = opened(queue)?;
    until_done(open, |py| open.put_now(queue.bind(py), item.bind(py))).await
}

async fn get_open(queue: &Py<Queue>) -> PyResult<Py<PyAny>> {
    let open = opened(queue)?;
    until_done(open, |py| open.get_now(queue.bind(py))).await
}

async fn join_open(queue: &Py<Queue>, open: &Open) -> PyResult<()> {
    until_done(open, |py| Ok(open.join_now(queue.bind(py)))).await
}

/// Looks, with the mutex, each time that it was told to. What it was told goes to the next if it is gone before it has looked, or
/// if that fails.
async fn until_done<'a, T>(
    open: &'a Open,
    look: impl Fn(Python<'_>) -> PyResult<Turn<'a, T>> + Send,
) -> PyResult<T> {
    let mut told: Option<Place<'a, ()>> = None;
    loop {
        open.mutex.get().raw.lock_as_task().await;
        let turn = attached(&look)?;
        if let Some(place) = told.take() {
            place.used();
        }
        match turn {
            Turn::Done(value) => return Ok(value),
            Turn::Wait(place) => {
                place.told().await;
                told = Some(place);
            }
        }
    }
}
