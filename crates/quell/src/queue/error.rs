//! How the queue's operations fail.

use crate::interrupt::Interrupted;
use std::error::Error;
use std::fmt;

/// An item was not put. It is in here, untouched.
pub enum PutError<T> {
    /// No room, and the operation does not wait.
    Full(T),
    /// The queue is shut down.
    ShutDown(T),
    /// No room until the deadline.
    TimedOut(T),
    /// A signal handler ran in the thread, or it was nudged, and the wait had asked to know.
    Signalled(T),
    /// The thread was interrupted.
    Interrupted(T, Interrupted),
}

impl<T> PutError<T> {
    /// The item.
    pub fn into_item(self) -> T {
        match self {
            PutError::Full(item)
            | PutError::ShutDown(item)
            | PutError::TimedOut(item)
            | PutError::Signalled(item)
            | PutError::Interrupted(item, _) => item,
        }
    }
}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PutError({self})")
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PutError::Full(_) => f.write_str("the queue is full"),
            PutError::ShutDown(_) => f.write_str("the queue is shut down"),
            PutError::TimedOut(_) => f.write_str("the queue stayed full until the deadline"),
            PutError::Signalled(_) => f.write_str("the put was ended by a signal"),
            PutError::Interrupted(_, interrupted) => interrupted.fmt(f),
        }
    }
}

impl<T> Error for PutError<T> {}

/// No item was taken.
#[derive(Debug)]
pub enum GetError {
    /// No item, and the operation does not wait.
    Empty,
    /// The queue is shut down, and empty.
    ShutDown,
    /// No item until the deadline.
    TimedOut,
    /// A signal handler ran in the thread, or it was nudged, and the wait had asked to know.
    Signalled,
    /// The thread was interrupted.
    Interrupted(Interrupted),
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GetError::Empty => f.write_str("the queue is empty"),
            GetError::ShutDown => f.write_str("the queue is shut down, and empty"),
            GetError::TimedOut => f.write_str("the queue stayed empty until the deadline"),
            GetError::Signalled => f.write_str("the get was ended by a signal"),
            GetError::Interrupted(interrupted) => interrupted.fmt(f),
        }
    }
}

impl Error for GetError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            GetError::Interrupted(interrupted) => Some(interrupted),
            _ => None,
        }
    }
}

/// More tasks were reported done than items were put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskDoneError;

impl fmt::Display for TaskDoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("task_done() was called more often than items were put")
    }
}

impl Error for TaskDoneError {}

/// The queue of an arm of a [`Select`](super::Select) is shut down; to get from it, also empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutDown;

impl fmt::Display for ShutDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue is shut down")
    }
}

impl Error for ShutDown {}
